//! A node takes up another part in its cluster, or none: promoted, demoted, gone.

use super::{
    active::{Active, ActiveError, Surroundings, admit, bind, options, wipe, wipe_at},
    address,
    keystore::{self, Ways},
    managing::{Dial, Managing},
    member::Card,
    refill, renewal,
};
use crate::{
    client::enroll::{self, Enrolled},
    crypto::key::Key,
    kit::{chain::chain, id::NodeId},
    pki::Tls,
    raft::Raft,
};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// How long a manager that leaves waits for the others to take it out of the Raft group.
const RETIREMENT: Duration = Duration::from_secs(15);

/// A change of role that did not come about.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) error: ActiveError,
    /// The node as it still is.
    pub(super) still: Option<Box<Active>>,
}

impl Active {
    /// Becomes a manager. Until everything that needs others has been had, it goes on as a worker.
    ///
    /// # Errors
    /// With the node as it was if it still is; none if it has to be started anew.
    pub(super) async fn promote(self, around: &Surroundings) -> Result<Self, Turned> {
        let prepared = async {
            // With it only the role changes: as a worker's it is as good as the one before. It is kept before it is shown,
            // as every other: whoever goes back to an older one is taken for a copy.
            let alone = self.card.renewing().await;
            let Enrolled { identity, roots, .. } =
                renewal::ask(&self.card, &self.tls, &around.clock).await?;
            self.card.take(&self.tls, identity, Some(roots))?;
            drop(alone);
            let (listen, advertise) =
                self.card.read(|m| (m.listen_addr.clone(), m.advertise_addr.clone()));
            let (listener, bound) = bind(address::listen(&listen)?).await?;
            let managers = self.managers();
            let addrs: Vec<String> = managers.iter().map(|(_, addr)| addr.clone()).collect();
            let advertise = address::told(&advertise, bound, &addrs).await?.to_string();
            let admitted = admit(&self.tls, &managers, &advertise).await?;
            Ok::<_, ActiveError>((listener, (bound, advertise), admitted))
        };
        let (listener, (bound, advertise), admitted) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return Err(Turned { error, still: Some(Box::new(self)) }),
        };
        let again = async {
            let (card, tls, runtime) = self.part().await?;
            let (keys, mut member) = card.into_parts();
            wipe_at(&around.raft_dir())?;
            let (raft_id, root, ways) = member.admit(admitted);
            tls.set_identity(&member.identity)?;
            let key_file = &around.settings.key_file;
            let keys = keystore::rekey(&around.data, key_file, &keys, root, &ways)?;
            let dial = Arc::new(Dial::new(&tls, around));
            let fellows = member.fellows.clone();
            let raft = Raft::join(options(around, &keys, raft_id, fellows), dial).await?;
            member.listen_addr = bound.to_string();
            member.advertise_addr = advertise;
            if let Err(error) = member.save(&around.data, &keys) {
                raft.shutdown().await;
                return Err(error.into());
            }
            let card = Card::new(&around.data, keys, member);
            Self::start(around, card, tls, Some((raft, listener)), runtime).await
        };
        again.await.map_err(|error| Turned { error, still: None })
    }

    /// Becomes a mere worker, once the Raft group has let this manager go.
    ///
    /// # Errors
    /// As [`Active::promote`].
    pub(super) async fn demote(self, around: &Surroundings) -> Result<Self, Turned> {
        let _alone = self.card.renewing().await;
        let asked = renewal::ask(&self.card, &self.tls, &around.clock).await;
        let Enrolled { identity, roots, .. } = match asked {
            Ok(enrolled) => enrolled,
            Err(error) => return Err(Turned { error, still: Some(Box::new(self)) }),
        };
        let again = async {
            let (card, tls, runtime) = self.part().await?;
            let (keys, mut member) = card.into_parts();
            tls.set_identity(&identity)?;
            member.identity = identity;
            member.roots = roots;
            member.raft_id = None;
            member.fellows = None;
            member.save(&around.data, &keys)?;
            // A worker has no business with the cluster's root key, nor with the store.
            let key_file = &around.settings.key_file;
            let ways = Ways::key_file();
            let keys = keystore::rekey(&around.data, key_file, &keys, Key::random(), &ways)?;
            wipe_at(&around.raft_dir())?;
            refill::forget(&around.data)?;
            // The storage keys before this lay under the cluster's root key.
            member.save(&around.data, &keys)?;
            keystore::forget_older(&around.data, &keys)?;
            let card = Card::new(&around.data, keys, member);
            Self::start(around, card, tls, None, runtime).await
        };
        again.await.map_err(|error| Turned { error, still: None })
    }

    /// Leaves the cluster: says goodbye where that is possible, ends the tasks, and forgets all it knew.
    ///
    /// # Errors
    /// What it stored cannot be removed.
    pub(super) async fn leave(self, around: &Surroundings) -> Result<(), ActiveError> {
        let alone = self.managing.as_ref().is_some_and(Managing::is_alone);
        let mut listeners = None;
        if !alone {
            let managers = self.managers();
            match enroll::depart(&self.tls, &managers).await {
                Ok(()) => {
                    self.wait_for_retirement().await;
                    listeners = Some((self.tls.clone(), managers));
                }
                Err(error) => {
                    warn!(error = %chain(&error), "leaving without a goodbye; remove this node's entry on a manager");
                }
            }
        }
        self.end(around, listeners).await
    }

    async fn wait_for_retirement(&self) {
        let Some(managing) = &self.managing else { return };
        let out = async {
            while managing.is_member() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // A manager that is out is told so by nobody: silence means the same.
        drop(tokio::time::timeout(RETIREMENT, out).await);
    }

    /// Ends the tasks and removes all that makes this node a member. It can never be itself again.
    ///
    /// # Errors
    /// What it stored cannot be removed.
    pub(super) async fn forget(self, around: &Surroundings) -> Result<(), ActiveError> {
        self.end(around, None).await
    }

    /// As [`Active::forget`]; those who hear of a node that leaves are told once nothing is left of its tasks.
    async fn end(
        self,
        around: &Surroundings,
        listeners: Option<(Tls, Vec<(NodeId, String)>)>,
    ) -> Result<(), ActiveError> {
        let Self { card: _, tls: _, runtime: _, managing, damage: _, work, parts, stop } = self;
        let cleared = work.clear().await;
        if let Some((tls, managers)) = listeners.filter(|_| cleared)
            && let Err(error) = enroll::confirm_wiped(&tls, &managers).await
        {
            warn!(error = %chain(&error), "no manager heard that nothing is left of the tasks here");
        }
        stop.cancel();
        for part in parts {
            part.wait().await;
        }
        if let Some(managing) = managing
            && let Err(error) = managing.shutdown().await
        {
            warn!(error = %chain(&error), "the store did not stop cleanly");
        }
        wipe(around)?;
        info!("this node belongs to no cluster any more");
        Ok(())
    }
}
