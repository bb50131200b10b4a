//! The pure state machine: what a command does to the store, and what the store can be asked.
