//! A worker: follows its assignment, puts files in place, runs tasks, reports.

pub mod place;
pub mod runtime;

#[cfg(test)]
mod testing;
