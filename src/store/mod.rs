//! The pure state machine: what a command does to the store, and what the store can be asked.
//!
//! No clock, no randomness, no I/O: the same commands in the same order give the same state everywhere. Payload
//! bodies are not here; a change tells the state file where to keep or forget them.

mod apply;
mod entity;
mod holders;
mod linear;
mod list;
mod lookup;
mod state;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use entity::{Change, Entity, Key};
pub use holders::Holder;
pub use linear::{Comparison, Confirms, Denied, Disclosure, Linear, Opening, Quorum, Release};
pub use state::State;
