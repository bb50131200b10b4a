//! A worker: follows its assignment, puts files in place, runs tasks, reports.

pub mod runtime;
