//! Compose files into service specs: load, fill in, merge, check, convert. Pure: files and environment come in as values.
//!
//! [`load`] gives a [`Document`], which can be written (`stack config`) or read as a [`Project`] under
//! the name of a stack (`stack deploy`). Every error is a [`ComposeError`]: file, line, column, path
//! into the document, and never a value.

mod document;
mod project;

mod objects;
mod service;

mod deploy;
mod ports;
mod unsupported;
mod volumes;

mod canonical;
mod merge;
mod view;

mod dotenv;
mod environment;
mod interpolate;
mod units;
mod words;

mod error;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

pub use self::{
    document::{Document, File, FileError, Files, load, load_unfilled},
    environment::Environment,
    error::ComposeError,
    objects::{ObjectPlan, Source},
    project::{BadStackName, IMAGE_LABEL, MissingObject, Project, StackName},
    service::{ServicePlan, Use},
};
