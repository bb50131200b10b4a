//! Keeps a manager's key header in step with what the cluster wants: its unlockers, and its root key.
//!
//! A root key that is offered is fetched from a manager that has it and kept in the header before this manager says so. When it
//! counts, the header is written anew under it, with a new storage key, and what lies on the disk under the storage keys
//! before is written anew or removed. Then nothing here is opened by the root key before, and this manager says so too.

use super::{
    keystore::{self, KeyStoreError, Unlocked, Ways},
    member::{Card, MemberError},
    refill,
};
use crate::{
    client::enroll::{self, EnrollError},
    crypto::{
        key::{Key, Root},
        keychain::Keychain,
    },
    kit::{chain::chain, failpoint::failpoint, task::Stop},
    model::{
        cluster::{Cluster, RootOffer},
        command::Command,
    },
    pki::Tls,
    raft::{Changes, ProposeError, Raft, RewriteError, ShortenError},
    store::{Change, Entity, State},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::broadcast::Receiver, time::sleep};
use tracing::{info, warn};

/// A disk that was full may have room again by then.
const RETRY: Duration = Duration::from_secs(30);
/// Until the header has followed.
const SOON: Duration = Duration::from_millis(200);
/// After a call to another manager failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the log may take; then it is tried again.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the header of a manager is kept in step with.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) raft: Raft,
    pub(super) chain: Arc<Keychain>,
    pub(super) card: Arc<Card>,
    pub(super) tls: Tls,
    pub(super) data: PathBuf,
    pub(super) key_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error("no manager gave the next root key")]
    Fetch(#[from] EnrollError),
    #[error("the root key that counts is not here")]
    Missing,
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error(transparent)]
    Shorten(#[from] ShortError),
}

#[derive(Debug, thiserror::Error)]
enum ShortError {
    #[error(transparent)]
    Failed(#[from] ShortenError),
    #[error("the log was not shortened in time")]
    Late,
}

#[derive(Debug, thiserror::Error)]
enum ForgetError {
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Shorten(#[from] ShortError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
}

/// These keys with the root keys that a manager has now.
pub(super) fn with(keys: Unlocked, chain: &Keychain) -> Unlocked {
    let mut roots = chain.roots();
    let root = roots.remove(0);
    Unlocked { root, next: roots, ..keys }
}

/// Keeps the header as the store says until `stop`.
pub(super) async fn follow(header: Arc<Header>, stop: Stop) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = header.follow() => {}
    }
}

/// Forgets the storage keys that older root keys opened, and says so, until `stop`.
pub(super) async fn forget(header: Arc<Header>, stop: Stop) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = header.forget() => {}
    }
}

impl Header {
    async fn follow(&self) {
        let mut settled: Option<Arc<Cluster>> = None;
        loop {
            let mut changes = self.raft.changes();
            let state = self.raft.state();
            if let Some(cluster) = state.cluster()
                && settled.as_ref().is_none_or(|last| !Arc::ptr_eq(last, cluster))
            {
                let wait = match self.settle(&state, cluster).await {
                    Ok(()) => {
                        settled = Some(Arc::clone(cluster));
                        continue;
                    }
                    Err(FollowError::Keys(error)) => {
                        warn!(error = %chain(&error), hint = error.hint(), "the key header is behind the cluster's unlockers");
                        RETRY
                    }
                    Err(error) => {
                        warn!(error = %chain(&error), "the key header is behind the cluster's root key");
                        AGAIN
                    }
                };
                // A header that cannot be written is not tried at each change.
                sleep(wait).await;
                continue;
            }
            heard(&mut changes).await;
        }
    }

    async fn settle(&self, state: &State, cluster: &Cluster) -> Result<(), FollowError> {
        let ways = Ways::of(cluster);
        let root = self.chain.root(cluster.root.id).ok_or(FollowError::Missing)?;
        if !keystore::lies_under(&self.data, &root) {
            // A restart begins with the state that is on the disk, and must not need the root key before.
            self.shorten().await?;
        }
        if keystore::turn_to(&self.data, &self.keys(), &ways, &root)? {
            let number = cluster.root.number;
            info!(number, "the key header lies under the cluster's next root key now");
        }
        if cluster.root.rotation.is_none() {
            self.chain.retain(|id| id == cluster.root.id);
        }
        if keystore::settle(&self.data, &self.key_file, &self.keys(), &ways)? {
            info!("the key header has the cluster's unlockers now");
        }
        if let Some(offer) = cluster.root.offered() {
            self.prepare(state, cluster, offer, &ways).await?;
        }
        Ok(())
    }

    /// Keeps the root key that is offered, and only then says so.
    async fn prepare(
        &self,
        state: &State,
        cluster: &Cluster,
        offer: &RootOffer,
        ways: &Ways,
    ) -> Result<(), FollowError> {
        let node = self.card.keys.node;
        let manager = state.node_by_id(node).and_then(|node| node.manager.as_ref());
        if manager.is_none_or(|manager| manager.prepared_root == Some(offer.id)) {
            return Ok(());
        }
        let next = match self.chain.root(offer.id) {
            Some(next) => next,
            None => self.fetch(state, offer).await?,
        };
        let root = self.chain.root(cluster.root.id).ok_or(FollowError::Missing)?;
        let keys = Unlocked { root, next: Vec::new(), ..self.card.keys.shared() };
        keystore::prepare(&self.data, &keys, ways, &next)?;
        self.chain.take(next);
        let command = Command::NotePreparedRoot { node, root: offer.id };
        match self.raft.propose(None, command).await {
            Ok(_) => info!("keeps the root key that is offered"),
            // Another is offered by now.
            Err(ProposeError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        failpoint("root.noted");
        Ok(())
    }

    /// From who drew it, or any other manager that has it by now.
    async fn fetch(&self, state: &State, offer: &RootOffer) -> Result<Arc<Key<Root>>, FollowError> {
        let mut managers: Vec<_> = state
            .nodes()
            .filter(|node| node.id != self.card.keys.node)
            .filter_map(|node| Some((node.id, node.manager.as_ref()?.addr.clone())))
            .collect();
        managers.sort_by_key(|(node, _)| *node != offer.by);
        let root = enroll::next_root(&self.tls, &managers, offer.id).await?;
        Ok(Arc::new(root))
    }

    async fn forget(&self) {
        loop {
            let mut changes = self.raft.changes();
            let state = self.raft.state();
            let Some(number) = self.due(&state) else {
                heard(&mut changes).await;
                continue;
            };
            drop(changes);
            if !self.is_ready(&state) {
                sleep(SOON).await;
                continue;
            }
            let cleared =
                if self.card.keys.storage.has_older() { self.clear().await } else { Ok(()) };
            match cleared {
                Ok(()) => self.note(number).await,
                Err(error) => {
                    warn!(error = %chain(&error), "what the root key before opened is still on this disk");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// The number of the root key that nothing before may be left of, if that is not said or not so yet.
    fn due(&self, state: &State) -> Option<u32> {
        let cluster = state.cluster()?;
        let manager = state.node_by_id(self.card.keys.node)?.manager.as_ref()?;
        // Before the second one there was nothing to forget.
        let unsaid = cluster.root.number > 1 && manager.root < cluster.root.number;
        (unsaid || self.card.keys.storage.has_older()).then_some(cluster.root.number)
    }

    /// Whether the header lies under the root key that counts, and no damaged store is kept, which lies under older keys.
    fn is_ready(&self, state: &State) -> bool {
        let root = state.cluster().and_then(|cluster| self.chain.root(cluster.root.id));
        root.is_some_and(|root| keystore::lies_under(&self.data, &root))
            && !refill::keeps_damaged(&self.data)
    }

    /// Takes everything off the disk that lies under a storage key before the newest. It was written with the newest only since
    /// before this began.
    async fn clear(&self) -> Result<(), ForgetError> {
        self.card.change(|_| {})?;
        failpoint("root.identity");
        self.shorten().await?;
        failpoint("root.shortened");
        self.raft.rewrite_state_file().await?;
        failpoint("root.rewritten");
        keystore::forget_older(&self.data, &self.keys())?;
        Ok(())
    }

    async fn shorten(&self) -> Result<(), ShortError> {
        let shortened = tokio::time::timeout(DEADLINE, self.raft.shorten()).await;
        Ok(shortened.map_err(|_| ShortError::Late)??)
    }

    /// Until it is applied, or refused: then this is no manager any more.
    async fn note(&self, number: u32) {
        let node = self.card.keys.node;
        if number < 2 {
            return;
        }
        loop {
            match self.raft.propose(None, Command::NoteRoot { node, number }).await {
                Ok(_) => {
                    info!(number, "the root keys before this one open nothing on this disk");
                    return;
                }
                Err(ProposeError::Refused(_)) => return sleep(AGAIN).await,
                Err(error) => {
                    warn!(error = %chain(&error), "cannot note in the store that older root keys are forgotten yet");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    fn keys(&self) -> Unlocked {
        with(self.card.keys.shared(), &self.chain)
    }
}

/// Waits for anything that may concern the header.
async fn heard(changes: &mut Receiver<Arc<Changes>>) {
    let concerns =
        |change: &Change| matches!(change, Change::Put(Entity::Cluster(_) | Entity::Node(_)));
    if !Changes::until(changes, concerns).await {
        // The store has stopped, and with it this task soon.
        std::future::pending::<()>().await;
    }
}
