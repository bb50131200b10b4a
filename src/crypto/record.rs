//! Encrypts what a node writes to its own disk: log batches, rows of the state file, the vote.
