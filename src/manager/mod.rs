//! What a manager does: the control API, the dispatcher, the scheduler, the orchestrator.
//!
//! Decisions are plain functions of the state and the time (`orchestrator`, `scheduler`); `chores` is the shell that
//! runs them on the leader and proposes what they decide. `control` serves operators, `dispatcher` serves workers.

pub mod ca;
pub mod chores;
pub mod control;
pub mod debts;
pub mod dispatcher;
pub mod group;
pub mod orchestrator;
pub mod rekey;
pub mod root_key;
pub mod scheduler;

mod answers;
mod copies;
mod descriptions;
mod payloads;
mod task_changes;

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;
