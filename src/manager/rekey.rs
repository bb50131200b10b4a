//! Renews the keyring's terms on the leader, moves data keys to the newest one, and drops the terms that are empty.
//!
//! What is to do follows from the state alone: whatever lies under a term before the newest. So it goes on where the last
//! leader stopped, whenever and however that was. Payloads are not touched, only the keys they are sealed with.

use crate::{
    crypto::{
        OpenError,
        context::Context,
        keychain::Keychain,
        keyring::Keyring,
        seal::{Sealed, WrappedKey},
    },
    kit::{
        chain::chain,
        clock::{Clock, Timestamp},
        failpoint::failpoint,
        id::ClusterId,
        task::Stop,
    },
    model::{
        cluster::Cluster,
        command::{Command, Rewrapped, RewrappedAuthority},
        task::ObjectVersion,
    },
    raft::{BodyError, Changes, Leadership, ProposeError, Raft},
    store::{Change, Entity, State},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::broadcast, time::Instant};
use tracing::{error, info, warn};

/// Data keys moved each second, if nobody says otherwise.
pub const RATE: u32 = 1000;
/// Data keys in one command: some 50 kB of the log.
const BATCH: usize = 256;
/// The state is looked at anew after about so many seconds, so that another rate or another term counts soon.
const LOOK: usize = 5;
/// After something failed, or when nothing is left but what cannot be opened.
const AGAIN: Duration = Duration::from_secs(1);
const STUCK: Duration = Duration::from_secs(60);
/// No wait is longer, so that a wall clock that was set is noticed.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks after the terms whenever this manager leads.
#[derive(Debug)]
pub struct Rekey {
    raft: Raft,
    keys: Arc<Keychain>,
    clock: Clock,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The newest term is too old, or a manager that knew it has gone.
    Add,
    /// Something lies under an older term.
    Rewrap,
    /// Nothing does.
    Drop {
        before: u32,
    },
    Wait(Duration),
}

#[derive(Debug, thiserror::Error)]
enum RekeyError {
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("cannot open the keyring")]
    Keyring(#[from] OpenError),
}

fn next_step(state: &State, now: Timestamp) -> Step {
    let Some(cluster) = state.cluster() else { return Step::Wait(LONGEST) };
    let Some(newest) = cluster.keyring.last() else { return Step::Wait(LONGEST) };
    if cluster.keyring.len() > 1 {
        let mut left = state.versions_before(newest.term);
        return if cluster.ca_key.term < newest.term || left.next().is_some() {
            Step::Rewrap
        } else {
            Step::Drop { before: newest.term }
        };
    }
    if cluster.rekeying.due {
        return Step::Add;
    }
    let Some(age) = cluster.settings.key_max_age else { return Step::Wait(LONGEST) };
    let left = newest.created_at.plus(age).since(now);
    if left.is_zero() { Step::Add } else { Step::Wait(left.min(LONGEST)) }
}

impl Rekey {
    pub fn new(raft: Raft, keys: Arc<Keychain>, clock: Clock) -> Self {
        Self { raft, keys, clock }
    }

    /// Does so until it is told to stop, or the store has stopped.
    pub async fn run(self, stop: Stop) {
        let mut leadership = self.raft.leadership();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                leads = leadership.wait_for(Leadership::is_leading) => if leads.is_err() { return },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                ended = leadership.wait_for(|now| !now.is_leading()) => if ended.is_err() { return },
                () = self.lead() => return,
            }
        }
    }

    /// Returns only when the store has stopped.
    async fn lead(&self) {
        let mut stuck = BTreeSet::new();
        loop {
            // Given up for work, which takes its time: the store keeps what a listener has not read.
            let changes = self.raft.changes();
            let state = self.raft.state();
            let done = match next_step(&state, self.clock.now()) {
                Step::Wait(wait) => {
                    if quiet(changes, wait).await {
                        continue;
                    }
                    return;
                }
                Step::Add => {
                    drop(changes);
                    self.add(&state).await
                }
                Step::Rewrap => {
                    drop(changes);
                    self.rewrap(&state, &mut stuck).await
                }
                Step::Drop { before } => {
                    drop(changes);
                    self.drop_terms(before).await
                }
            };
            if let Err(error) = done {
                warn!(error = %chain(&error), "the rotation of the keyring waits");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn add(&self, state: &State) -> Result<(), RekeyError> {
        let Some(cluster) = state.cluster() else { return Ok(()) };
        let root = cluster.root.id;
        let term = self.keys.next_term(root, &cluster.keyring)?;
        info!(term = term.term, due = cluster.rekeying.due, "the keyring gets a new term");
        self.propose(Command::AddTerm { term, rate: None, root }).await
    }

    async fn drop_terms(&self, before: u32) -> Result<(), RekeyError> {
        self.propose(Command::DropTerms { before }).await?;
        failpoint("rewrap.dropped");
        info!(before, "the rotation of the keyring is complete: the terms before are gone");
        Ok(())
    }

    /// Moves some of what is left, at most at the rate that was asked for.
    async fn rewrap(
        &self,
        state: &State,
        stuck: &mut BTreeSet<ObjectVersion>,
    ) -> Result<(), RekeyError> {
        let Some(cluster) = state.cluster() else { return Ok(()) };
        let keyring = self.keys.keyring(&cluster.keyring)?;
        let term = keyring.active();
        if cluster.ca_key.term < term {
            let authority = Some(authority(cluster, &keyring)?);
            self.propose(Command::Rewrap { term, keys: Vec::new(), authority }).await?;
            failpoint("rewrap.authority");
        }
        let rate = cluster.rekeying.running.as_ref().and_then(|running| running.rate);
        let rate = rate.unwrap_or(RATE).max(1);
        let most = LOOK * rate as usize;
        let left = state
            .versions_before(term)
            .map(|(object, version)| ObjectVersion { object: object.id, version: version.number });
        let left: Vec<_> = left.filter(|version| !stuck.contains(version)).take(most).collect();
        if left.is_empty() && !stuck.is_empty() {
            tokio::time::sleep(STUCK).await;
            stuck.clear();
        }
        let (begun, mut done) = (Instant::now(), 0_u32);
        for batch in left.chunks(BATCH.min(rate as usize)) {
            let found = self.raft.data_keys(batch.to_vec()).await?;
            let keys = moved(state, cluster.id, &keyring, found);
            // Gone since, or moved by another: the state says so soon. If it does not, it is not tried without a pause.
            failpoint("rewrap.found");
            let named: BTreeSet<_> = keys.iter().map(|key| key.version).collect();
            stuck.extend(batch.iter().filter(|version| !named.contains(version)));
            self.propose(Command::Rewrap { term, keys, authority: None }).await?;
            failpoint("rewrap.moved");
            done = done.saturating_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            let pace = Duration::from_secs(1).mul_f64(f64::from(done) / f64::from(rate));
            tokio::time::sleep_until(begun + pace).await;
        }
        Ok(())
    }

    async fn propose(&self, command: Command) -> Result<(), RekeyError> {
        match self.raft.propose(None, command).await {
            Ok(_) => Ok(()),
            Err(ProposeError::Refused(refusal)) => {
                // Somebody was faster; the state says what is left.
                info!(%refusal, "a step of the rotation was refused");
                tokio::time::sleep(AGAIN).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until the cluster's row changes, at most so long; says no if the store has stopped.
async fn quiet(mut changes: broadcast::Receiver<Arc<Changes>>, wait: Duration) -> bool {
    let cluster = |change: &Change| matches!(change, Change::Put(Entity::Cluster(_)));
    let heard = Changes::until(&mut changes, cluster);
    tokio::time::timeout(wait, heard).await.unwrap_or(true)
}

/// The CA's key under the newest term.
fn authority(cluster: &Cluster, keyring: &Keyring) -> Result<RewrappedAuthority, OpenError> {
    let Sealed { term: _, wrapped_key, body: _ } = &cluster.ca_key;
    let WrappedKey { term: _, wrapped } =
        keyring.rewrap(&Context::authority_key(cluster.id), &cluster.ca_key.key())?;
    Ok(RewrappedAuthority { was: wrapped_key.clone(), wrapped })
}

/// The data keys under the newest term; what cannot be opened is named and left as it is.
fn moved(
    state: &State,
    cluster: ClusterId,
    keyring: &Keyring,
    keys: Vec<(ObjectVersion, WrappedKey)>,
) -> Vec<Rewrapped> {
    let mut moved = Vec::with_capacity(keys.len());
    let newest = keyring.active();
    for (at, key) in keys.into_iter().filter(|(_, key)| key.term < newest) {
        let Some(object) = state.object_by_id(at.object) else { continue };
        match keyring.rewrap(&object.context(cluster, at.version), &key) {
            Ok(WrappedKey { term: _, wrapped }) => {
                moved.push(Rewrapped { version: at, from: key.term, wrapped });
            }
            Err(bad) => {
                error!(object = %at.object, version = %at.version, term = key.term, error = %bad, "a data key does not open");
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests;
