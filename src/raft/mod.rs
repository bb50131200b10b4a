//! openraft fitted to us: the log, the state file, snapshots, the network, the batching proposer.
//!
//! A [`Raft`] is one manager's hand on the replicated store: propose commands, read the state, fetch sealed bodies,
//! hear of changes and of leadership. Below it: `log` (durable before it answers), `state_file` (rows and bodies; `load` reads it, `shrink` keeps it small),
//! `machine` (applies entries to the state in memory), `write_behind` (brings that to the file), `propose` (packs
//! commands into entries), `read` (one confirmation for all who wait), `keeper` (tells who leads, keeps the log short),
//! `members` (who belongs to the group), `succession` (who leads after a leader that goes), `silence` (and after one
//! that fell silent), `backup` (the store in one file), `recover` (a group of one from what is left), `network`,
//! `service` and `forward` (other managers: the way to them, what they may ask, what is asked of the leader), `compare` and
//! `digest` (managers whose disks forgot or whose states differ), `damage` (a store that must take no part any more).

pub mod backup;
mod codec;
mod compare;
mod damage;
mod digest;
mod forward;
mod handle;
mod hearing;
mod keeper;
mod load;
mod log;
mod machine;
mod members;
mod network;
mod propose;
mod read;
mod recover;
mod service;
mod shorten;
mod shrink;
mod silence;
mod snapshot;
mod state_file;
mod succession;
mod types;
mod write_behind;

#[cfg(test)]
mod failpoint_test;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
mod network_test;
#[cfg(test)]
mod snapshot_test;
#[cfg(test)]
mod suite_test;
#[cfg(test)]
mod testing;

pub use compare::report as report_damage;
pub use forward::Contact;
pub use handle::{Options, Raft, StartError, Status};
pub use keeper::Leadership;
pub use log::LogError;
pub use machine::{BodyError, Changes};
pub use members::{Group, MemberError};
pub use network::{Alone, PeerError, Peers};
pub use propose::{COMMAND_SIZE, ProposeError};
pub use read::ReadError;
pub use service::PeerService;
pub use shorten::ShortenError;
pub use shrink::RewriteError;
pub use state_file::StateFileError;
pub use types::Member;
