//! One process, start to drain: settings, the data directory, the socket, and the cluster's parts in their order.

pub mod address;
pub mod data_dir;
pub mod logging;
pub mod notify;
pub mod operators;
pub mod settings;
pub mod socket;
