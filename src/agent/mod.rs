//! A worker: follows its assignment, puts files in place, runs tasks, reports.
//!
//! ```text
//! manager ⇄ session ── updates ──▶ worker ── one controller per task ──▶ runtime
//!              ▲                                     │
//!              └────────────── reports ◀─────────────┘
//! ```
//!
//! The worker does not know whether a manager is there: without one its tasks go on, and what there is to report waits.

mod assignments;
mod controller;
mod describe;
mod logs;
mod plan;
mod removals;
mod report;
mod run;
mod session;
mod shelf;
mod worker;

pub mod place;
pub mod runtime;

#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod testing;

pub use run::{Agent, AgentConfig, Ended, Handle, Manager, Seen};
