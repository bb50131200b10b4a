//! Replaces the cluster's root key, on the leader: draws the next one, waits until every manager keeps it, and makes it count.
//!
//! What is to do follows from the state alone, so the next leader goes on. A root key that was drawn and lost with its leader never
//! counted: another is offered. Which managers keep it is judged once more when it is made to count, so none of them is ever
//! without the root key that its state lies under ([`crate::manual::keys`]).

use crate::{
    crypto::{
        OpenError,
        key::{Key, RootId},
        keychain::Keychain,
    },
    kit::{chain::chain, failpoint::failpoint, id::NodeId, task::Stop},
    model::{
        cluster::{Cluster, RootOffer},
        command::Command,
    },
    raft::{Changes, Leadership, ProposeError, Raft},
    store::{Change, Entity, State},
};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// After something failed, or was refused.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks after the root key whenever this manager leads.
#[derive(Debug)]
pub struct RootKey {
    raft: Raft,
    node: NodeId,
    keys: Arc<Keychain>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// None is offered, or one that is not here.
    Offer,
    /// Every manager keeps this one.
    Rotate(RootId),
    Wait,
}

#[derive(Debug, thiserror::Error)]
enum RootError {
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error("cannot open the keyring")]
    Keyring(#[from] OpenError),
}

fn next_step(state: &State, is_here: impl Fn(RootId) -> bool) -> Step {
    let Some(rotation) = state.cluster().and_then(|cluster| cluster.root.rotation.as_ref()) else {
        return Step::Wait;
    };
    match rotation.offered {
        Some(RootOffer { id, by: _ }) if is_here(id) => {
            if state.unprepared_managers(id).is_empty() { Step::Rotate(id) } else { Step::Wait }
        }
        Some(_) | None => Step::Offer,
    }
}

impl RootKey {
    pub fn new(raft: Raft, node: NodeId, keys: Arc<Keychain>) -> Self {
        Self { raft, node, keys }
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
        loop {
            let mut changes = self.raft.changes();
            let state = self.raft.state();
            let done = match next_step(&state, |id| self.keys.root(id).is_some()) {
                Step::Wait => {
                    let concerns = |change: &Change| {
                        matches!(change, Change::Put(Entity::Cluster(_) | Entity::Node(_)))
                    };
                    if Changes::until(&mut changes, concerns).await {
                        continue;
                    }
                    return;
                }
                Step::Offer => self.offer().await,
                Step::Rotate(id) => match state.cluster() {
                    Some(cluster) => self.rotate(cluster, id).await,
                    None => Ok(()),
                },
            };
            if let Err(error) = done {
                warn!(error = %chain(&error), "the replacement of the root key waits");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn offer(&self) -> Result<(), RootError> {
        let root = Arc::new(Key::random());
        let id = root.id(self.keys.cluster());
        // Here before anybody can ask for it.
        self.keys.take(root);
        failpoint("root.drawn");
        info!("offers a next root key to all managers");
        let offer = RootOffer { id, by: self.node };
        self.raft.propose(None, Command::OfferRoot { offer }).await?;
        failpoint("root.offered");
        Ok(())
    }

    async fn rotate(&self, cluster: &Cluster, id: RootId) -> Result<(), RootError> {
        let root = self.keys.root(id).ok_or(OpenError::Mismatch)?;
        let keyring = self.keys.keyring(&cluster.keyring)?.moved(&root, &cluster.keyring)?;
        let unlockers = cluster.unlockers.iter().map(|one| one.resealed(cluster.id, &root));
        let unlockers = unlockers.collect::<Result<_, _>>()?;
        self.raft.propose(None, Command::RotateRoot { root: id, keyring, unlockers }).await?;
        failpoint("root.rotated");
        info!(number = cluster.root.number + 1, "the root key was replaced: all keys move to it");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
