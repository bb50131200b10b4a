//! Drops what was removed from this manager's disk, and tells the others: a removal is complete when all have.
//!
//! Each manager does it by itself, because each has a log of its own; the last one to say so ends the record. One that is
//! down keeps it open until it comes back, or is a manager no more.

use crate::{
    kit::{
        chain::chain,
        id::{NodeId, ObjectId},
        task::Stop,
    },
    model::command::Command,
    raft::{Changes, ProposeError, Raft, ShortenError},
    store::{Change, Entity, State},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Removals within this time are dropped together.
const GATHER: Duration = Duration::from_secs(1);
/// The log is cut no more often than this for what was removed: each cut costs a segment.
const PAUSE: Duration = Duration::from_secs(10);

/// How long the log may take; then it is tried again, with what was removed meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum DropError {
    #[error(transparent)]
    Shorten(#[from] ShortenError),
    #[error("the log was not shortened in time")]
    Late,
    #[error("cannot tell the others")]
    Note(#[from] ProposeError),
}

/// Works until it is told to stop.
pub async fn run(raft: Raft, node: NodeId, stop: Stop) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work(&raft, node) => {}
    }
}

async fn work(raft: &Raft, node: NodeId) {
    loop {
        let mut changes = raft.changes();
        if owed(&raft.state(), node).is_empty() {
            until_removal(&mut changes).await;
            continue;
        }
        sleep(GATHER).await;
        // Seen before the log is cut, so what they were is in the part that goes.
        let objects = owed(&raft.state(), node);
        if let Err(error) = drop_them(raft, node, objects).await {
            warn!(error = %chain(&error), "what was removed is still on this disk");
        }
        sleep(PAUSE).await;
    }
}

async fn drop_them(raft: &Raft, node: NodeId, objects: Vec<ObjectId>) -> Result<(), DropError> {
    let count = objects.len();
    timeout(DEADLINE, raft.shorten()).await.map_err(|_| DropError::Late)??;
    raft.propose(None, Command::NoteDestroyed { node, objects }).await?;
    info!(count, "dropped what was removed from this manager's disk");
    Ok(())
}

/// What this manager has not dropped yet.
fn owed(state: &State, node: NodeId) -> Vec<ObjectId> {
    state.destroyed().filter(|one| !one.done.contains(&node)).map(|one| one.id).collect()
}

/// Waits for a removal, or for anything that may be one.
async fn until_removal(changes: &mut Receiver<Arc<Changes>>) {
    loop {
        match changes.recv().await {
            Ok(heard) => {
                let removal = |change: &Change| matches!(change, Change::Put(Entity::Destroyed(_)));
                if heard.replaced || heard.changes.iter().any(removal) {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => return,
            // The store has stopped, and with it this task soon.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
