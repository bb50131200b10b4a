//! One process, start to drain: settings, the data directory, the socket, and the cluster's parts in their order.

pub mod address;
pub mod data_dir;
mod files;
pub mod keystore;
pub mod logging;
pub mod member;
pub mod notify;
pub mod operators;
pub mod settings;
pub mod socket;
