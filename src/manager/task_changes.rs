//! Brings what nodes say of many tasks to the store, no more in one command than fits.

use crate::{
    model::command::{Command, TaskChange},
    raft::{ProposeError, Raft},
};

/// Changes proposed in one command: it has to stay well below the size of one.
const MOST: usize = 250;

/// Proposes the changes in their order and returns when all are stored. The proposer packs what comes from all nodes into
/// one entry.
///
/// # Errors
/// What became of the command that failed; those before it are stored.
pub(super) async fn propose(raft: &Raft, mut changes: Vec<TaskChange>) -> Result<(), ProposeError> {
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(MOST));
        raft.propose(None, Command::ChangeTasks { changes }).await?;
        changes = rest;
    }
    Ok(())
}
