//! One process, start to drain: settings, the data directory, the socket, and the cluster's parts in their order.
//!
//! `main` is the program, `daemon` its life, `active` its part in a cluster, `work` its part as a worker.

mod active;
mod active_error;
pub mod address;
mod backup;
mod daemon;
pub mod data_dir;
mod files;
pub mod keystore;
mod local;
pub mod logging;
mod main;
mod managing;
pub mod member;
mod moving;
pub mod notify;
pub mod operators;
mod protection;
mod recover;
mod refill;
mod renewal;
mod root_key;
pub mod settings;
pub mod socket;
mod switch;
mod turning;
mod unlocking;
mod work;

pub use main::main;
