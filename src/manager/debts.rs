//! Takes off this manager's disk what it should not have any more, and says so in the store: its debts.
//!
//! There are two kinds: what was sealed under dropped terms of the keyring, and what was removed. Nothing needs either any
//! more, since a log that is applied again gives the newest state; but as long as it lies in the log, or among the free
//! pages of the state file, it may come to light. So the log is shortened, and then the state file is written anew. Each
//! manager pays by itself, because each has files of its own. One that is down owes until it comes back, or is a manager
//! no more.
//!
//! The second step costs as much as the store is large, so removals wait in proportion ([`crate::manual::threat_model`]).
//! Dropped terms do not: they are rare, and somebody may have asked for them because a key is known.

use crate::{
    kit::{
        chain::chain,
        failpoint::failpoint,
        id::{NodeId, ObjectId},
        limits::DESTROYED,
        task::Stop,
    },
    model::{command::Command, node::Node},
    raft::{Changes, ProposeError, Raft, RewriteError, ShortenError},
    store::{Change, Entity, State},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::Receiver,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

/// Removals are gathered for so long, and a second more for each so many bytes of the state file.
const GATHER: (Duration, u64) = (Duration::from_secs(1), 4 << 20);
/// Between two payments for what was removed lies this at least, or a second for each so many bytes of the state file: the
/// log loses a segment each time, and the file is written as a whole. That is some 4 TB in a year, if it never ends.
const PAUSE: (Duration, u64) = (Duration::from_secs(10), 128 << 10);
/// Managers begin one after the other, a second apart for each so many bytes: most of them have a quiet disk.
const TURN: u64 = 32 << 20;
/// So many removals do not wait for the pause, because the store remembers no more than twice as many.
const CROWD: usize = DESTROYED / 2;
/// After something failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the log may take; then it is tried again, with what came meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error(transparent)]
    Shorten(#[from] ShortenError),
    #[error("the log was not shortened in time")]
    Late,
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
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

/// What paying costs this manager.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Of the state file, which is written anew.
    bytes: u64,
    /// How many managers go first.
    place: u32,
}

impl Cost {
    fn of(raft: &Raft, state: &State, node: NodeId) -> Self {
        let first = |one: &&Arc<Node>| one.manager.is_some() && one.id < node;
        let place = u32::try_from(state.nodes().filter(first).count()).unwrap_or(u32::MAX);
        Self { bytes: raft.state_file_bytes(), place }
    }

    /// A second for each so many bytes.
    fn time(self, each: u64) -> Duration {
        Duration::from_millis(self.bytes.saturating_mul(1000) / each)
    }
}

/// When debts are paid.
#[derive(Debug, Default)]
struct Pace {
    /// Since when there is something that does not wait for the pause: dropped terms, or very many removals.
    pressing: Option<Instant>,
    /// Since when something removed is owed.
    owed: Option<Instant>,
    /// When the last try ended.
    tried: Option<Instant>,
    failed: bool,
}

impl Pace {
    /// When the first of these debts is due, if there are any.
    fn due(&mut self, debts: &Debts, cost: Cost, now: Instant) -> Option<Instant> {
        let Debts { terms, removed } = debts;
        let presses = terms.is_some() || removed.len() >= CROWD;
        self.pressing = presses.then(|| self.pressing.unwrap_or(now));
        self.owed = (!removed.is_empty()).then(|| self.owed.unwrap_or(now));
        let gather = GATHER.0 + cost.time(GATHER.1);
        let pause = PAUSE.0.max(cost.time(PAUSE.1));
        let (short, long) =
            if self.failed { (gather.max(AGAIN), gather.max(PAUSE.0)) } else { (gather, pause) };
        let after = |since: Instant, wait| self.tried.map_or(since, |at| since.max(at + wait));
        let pressing = self.pressing.map(|since| after(since, short));
        let owed = self.owed.map(|since| after(since + gather, long));
        let first = pressing.into_iter().chain(owed).min()?;
        Some(first + cost.time(TURN).saturating_mul(cost.place))
    }

    fn tried(&mut self, failed: bool, now: Instant) {
        (self.tried, self.failed) = (Some(now), failed);
    }
}

/// Pays them on every manager, whoever leads, until it is told to stop. The first time does not wait for the pause.
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
        let state = raft.state();
        let cost = Cost::of(raft, &state, node);
        let Some(due) = pace.due(&Debts::of(&state, node), cost, Instant::now()) else {
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
        pace.tried(paid.is_err(), Instant::now());
        match paid {
            Ok(debts) => note(raft, node, debts).await,
            Err(error) => {
                warn!(error = %chain(&error), "what was removed, or sealed under old terms, is still on this disk");
            }
        }
    }
}

/// Pays whatever is owed now, also what is not due yet; says what that was.
async fn pay(raft: &Raft, node: NodeId) -> Result<Debts, PayError> {
    // Seen before the log is cut, so what they speak of is in the part that goes.
    let debts = Debts::of(&raft.state(), node);
    timeout(DEADLINE, raft.shorten()).await.map_err(|_| PayError::Late)??;
    failpoint("debts.shortened");
    // The state file has it among its free pages only now.
    raft.rewrite_state_file().await?;
    failpoint("debts.rewritten");
    Ok(debts)
}

/// Says in the store what was paid, however long that takes: it is not to be paid twice.
async fn note(raft: &Raft, node: NodeId, paid: Debts) {
    let Debts { terms, removed } = paid;
    let count = removed.len();
    if let Some(oldest) = terms {
        propose(raft, Command::NoteTerms { id: node, oldest }).await;
        failpoint("debts.terms");
        info!(oldest, "nothing from before this term of the keyring is left on this disk");
    }
    if count > 0 {
        propose(raft, Command::NoteDestroyed { node, objects: removed }).await;
        failpoint("debts.removed");
        info!(count, "dropped what was removed from this manager's disk");
    }
}

/// Until it is applied, or refused: then this is no manager any more.
async fn propose(raft: &Raft, command: Command) {
    loop {
        match raft.propose(None, command.clone()).await {
            Ok(_) | Err(ProposeError::Refused(_)) => return,
            Err(error) => {
                warn!(error = %chain(&error), "cannot note in the store what was paid yet");
                sleep(AGAIN).await;
            }
        }
    }
}

/// Waits for anything that may be a debt.
async fn until_debt(changes: &mut Receiver<Arc<Changes>>) {
    let concerns = |change: &Change| match change {
        Change::Put(entity) => {
            matches!(entity, Entity::Cluster(_) | Entity::Node(_) | Entity::Destroyed(_))
        }
        Change::Delete(_)
        | Change::PutBody { .. }
        | Change::PutKey { .. }
        | Change::DeleteBody { .. } => false,
    };
    if !Changes::until(changes, concerns).await {
        // The store has stopped, and with it this task soon.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
