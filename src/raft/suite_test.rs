//! openraft's own storage suite, run against our log and state machine.
