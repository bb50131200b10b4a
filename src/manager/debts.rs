//! Takes off this manager's disk what it should not have any more, and says so in the store: its debts.
//!
//! There are two kinds: what was sealed under dropped terms of the keyring, and what was removed. Nothing needs either any
//! more, since a log that is applied again gives the newest state; but as long as it lies there it may come to light.
//! Each manager pays by itself, because each has a log of its own. One that is down owes until it comes back, or is a
//! manager no more.

use crate::{
    kit::{
        chain::chain,
        failpoint::failpoint,
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
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

/// Removals within this time are paid together.
const GATHER: Duration = Duration::from_secs(1);
/// The log is cut no more often than this for what was removed: each cut costs a segment.
const PAUSE: Duration = Duration::from_secs(10);
/// Dropped terms do not wait, unless the last try failed; then so long.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the log may take; then it is tried again, with what came meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error(transparent)]
    Shorten(#[from] ShortenError),
    #[error("the log was not shortened in time")]
    Late,
    #[error("cannot note it in the store")]
    Note(#[from] ProposeError),
}

/// What this manager's disk may still have.
#[derive(Debug, PartialEq, Eq)]
struct Debts {
    /// The oldest term that is kept, if something of the terms before may be left.
    terms: Option<u32>,
    removed: Vec<ObjectId>,
}

impl Debts {
    fn of(state: &State, node: NodeId) -> Self {
        let terms = || {
            let oldest = state.cluster()?.oldest_term();
            let noted = state.node_by_id(node)?.manager.as_ref()?.oldest_term;
            // Before the second term there was nothing to forget.
            (noted < oldest && oldest > 1).then_some(oldest)
        };
        let owed = state.destroyed().filter(|one| !one.done.contains(&node));
        Self { terms: terms(), removed: owed.map(|one| one.id).collect() }
    }
}

/// When debts are paid.
#[derive(Debug, Default)]
struct Pace {
    /// Since when something removed is owed.
    since: Option<Instant>,
    /// When the last try ended.
    tried: Option<Instant>,
    failed: bool,
}

impl Pace {
    /// When the first of these debts is due, if there are any.
    fn due(&mut self, debts: &Debts, now: Instant) -> Option<Instant> {
        let Debts { terms, removed } = debts;
        self.since = (!removed.is_empty()).then(|| self.since.unwrap_or(now));
        let after = |pause| self.tried.map_or(now, |at| at + pause);
        let terms = terms.map(|_| if self.failed { after(AGAIN) } else { now });
        let removed = self.since.map(|since| after(PAUSE).max(since + GATHER));
        terms.into_iter().chain(removed).min()
    }

    fn tried(&mut self, failed: bool, now: Instant) {
        (self.tried, self.failed) = (Some(now), failed);
    }
}

/// Pays them on every manager, whoever leads, until it is told to stop.
pub async fn run(raft: Raft, node: NodeId, stop: Stop) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work(&raft, node) => {}
    }
}

async fn work(raft: &Raft, node: NodeId) {
    let mut changes = raft.changes();
    let mut pace = Pace::default();
    loop {
        let due = pace.due(&Debts::of(&raft.state(), node), Instant::now());
        let Some(due) = due else {
            until_debt(&mut changes).await;
            continue;
        };
        tokio::select! {
            biased;
            () = sleep_until(due) => {}
            // It may be due before the others.
            () = until_debt(&mut changes) => continue,
        }
        let paid = pay(raft, node).await;
        if let Err(error) = &paid {
            warn!(error = %chain(error), "what was removed, or sealed under old terms, is still on this disk");
        }
        pace.tried(paid.is_err(), Instant::now());
    }
}

/// Pays whatever is owed now, also what is not due yet.
async fn pay(raft: &Raft, node: NodeId) -> Result<(), PayError> {
    // Seen before the log is cut, so what they speak of is in the part that goes.
    let Debts { terms, removed } = Debts::of(&raft.state(), node);
    timeout(DEADLINE, raft.shorten()).await.map_err(|_| PayError::Late)??;
    failpoint("debts.shortened");
    let count = removed.len();
    if let Some(oldest) = terms {
        raft.propose(None, Command::NoteTerms { id: node, oldest }).await?;
        failpoint("debts.terms");
        info!(oldest, "nothing from before this term of the keyring is left in the log");
    }
    if count > 0 {
        raft.propose(None, Command::NoteDestroyed { node, objects: removed }).await?;
        failpoint("debts.removed");
        info!(count, "dropped what was removed from this manager's disk");
    }
    Ok(())
}

/// Waits for anything that may be a debt.
async fn until_debt(changes: &mut Receiver<Arc<Changes>>) {
    loop {
        match changes.recv().await {
            Ok(heard) => {
                let concerns = |change: &Change| match change {
                    Change::Put(entity) => {
                        matches!(
                            entity,
                            Entity::Cluster(_) | Entity::Node(_) | Entity::Destroyed(_)
                        )
                    }
                    Change::Delete(_)
                    | Change::PutBody { .. }
                    | Change::PutKey { .. }
                    | Change::DeleteBody { .. } => false,
                };
                if heard.replaced || heard.changes.iter().any(concerns) {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => return,
            // The store has stopped, and with it this task soon.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
