//! Runs a task as a sandboxed process: the node's own file system and network, private mounts and pids, no engine.
//!
//! The sandbox shows the node's files, with the task's secrets, configs and mounts at their targets and the daemon's own
//! directories covered. A task as another user than root is kept away from what that user may not touch; a task as
//! root is only held by the capabilities it lacks. It is made for trying things out and for trusted programs, not
//! for strangers' code.
//!
//! What a spec asks for and this runtime has no hand in (image, ports, resources, health check, tty, extra hosts) is passed over:
//! there is no image, and the network is the node's.

mod control;
mod home;
mod init;
mod job;
mod output;
mod root;
mod runtime;
pub mod shim;
mod users;
mod words;

#[cfg(test)]
mod testing;

pub use runtime::{Options, ProcessRuntime};
