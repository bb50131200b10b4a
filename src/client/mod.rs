//! Reaches a manager: the operator's [`Client`] over the daemon's Unix socket, with request ids and patience.
//!
//! A request that changes something carries an id, so it may be sent again when its answer was lost; the daemon does
//! it once. What cannot be reached, what refuses and what is not ready yet are different [`ClientError`]s.

pub mod enroll;

mod backups;
mod book;
mod error;
mod holders;
mod host;
mod keys;
mod node;
mod nodes;
mod objects;
mod operator;
mod services;
mod streams;
mod trust;
mod unlockers;

pub use backups::{BackupStream, Opening};
pub use book::Book;
pub use error::ClientError;
pub use holders::HolderSummary;
pub use host::{BadHost, Host};
pub use nodes::{Joining, NodeSummary};
pub use objects::{Ensured, PendingRemoval};
pub use operator::Client;
pub use services::ServiceSummary;
pub use streams::{LogStream, Seen, ServiceWatch};
pub use trust::Trust;
pub use unlockers::{MadeUnlocker, NewUnlocker};

#[cfg(test)]
mod tests;
