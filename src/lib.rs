//! secretd: an encrypted store for secrets and configs that delivers them as files into containers.
//!
//! The house has floors; imports go only downward. `tests/tidy.rs` checks the arrows.
//!
//! ```text
//! 7  bin/secretd        bin/secretctl
//! 6  node               ctl                 one process, start to drain · the commands
//! 5  manager      |     agent               never import each other
//! 4  raft         |     client              openraft fitted to us · reach a manager, keep a stream
//! 3  store | compose | wire | pki           neighbours that do not import each other
//! 2  model                                  what there is and the rules it obeys; plain values
//! 1  crypto                                 the only floor that touches key bytes
//! 0  kit                                    ids, names, clock, limits, back-off, tasks
//! ```
//!
//! What is not there, on purpose: `store` reads no clock and draws nothing at random; `agent` never imports `manager`; no call
//! returns a secret's payload to an operator; plaintext is in no type that can be printed, compared or copied.
//!
//! Beside the floors stands [`manual`], the book.

pub mod kit;

pub mod crypto;

pub mod model;

pub mod compose;
pub mod pki;
pub mod store;
pub mod wire;

pub mod client;
pub mod raft;

pub mod agent;
pub mod manager;

pub mod ctl;
pub mod node;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub mod manual;
