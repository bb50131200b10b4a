//! Takes what belonged to dropped terms of the keyring off this manager's disk, and says so in its row.
//!
//! Nothing needs it any more: a log that is applied again gives the newest state, and no entry is opened for that. But as
//! long as it lies there, a term that came to light would open it.

use crate::{
    kit::{chain::chain, failpoint::failpoint, id::NodeId, task::Stop},
    model::command::Command,
    raft::{ProposeError, Raft, ShortenError},
    store::State,
};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tracing::{info, warn};

const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum ForgetError {
    #[error(transparent)]
    Shorten(#[from] ShortenError),
    #[error("cannot note it")]
    Note(#[from] ProposeError),
}

/// The oldest term that is kept, if this manager may still have something on its disk from before.
fn due(state: &State, node: NodeId) -> Option<u32> {
    let oldest = state.cluster()?.oldest_term();
    let noted = state.node_by_id(node)?.manager.as_ref()?.oldest_term;
    // Before the second term there was nothing to forget.
    (noted < oldest && oldest > 1).then_some(oldest)
}

/// Does so on every manager, whoever leads, until it is told to stop or the store has stopped.
pub async fn run(raft: Raft, node: NodeId, stop: Stop) {
    let mut changes = raft.changes();
    loop {
        if let Some(oldest) = due(&raft.state(), node) {
            let forgotten = tokio::select! {
                () = stop.cancelled() => return,
                forgotten = forget(&raft, node, oldest) => forgotten,
            };
            if let Err(error) = forgotten {
                warn!(error = %chain(&error), "what was sealed under old terms is still on this disk");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            heard = changes.recv() => if let Err(RecvError::Closed) = heard { return },
        }
    }
}

async fn forget(raft: &Raft, node: NodeId, oldest: u32) -> Result<(), ForgetError> {
    raft.shorten().await?;
    failpoint("rewrap.shortened");
    raft.propose(None, Command::NoteTerms { id: node, oldest }).await?;
    failpoint("rewrap.noted");
    info!(oldest, "nothing from before this term of the keyring is left in the log");
    Ok(())
}
