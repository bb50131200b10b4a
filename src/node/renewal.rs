//! Gives this node a fresh certificate in good time. A manager holds the CA's key and asks nobody; a worker asks one.

use super::{active::ActiveError, member::Card};
use crate::{
    client::enroll,
    crypto::keyring::Keyring,
    kit::{
        chain::chain,
        clock::{Clock, Timestamp},
        id::NodeId,
        task::Stop,
    },
    model::{
        cluster::authority_context,
        command::Command,
        node::{CertificateStatus, Role},
    },
    pki::{Authority, CaDigest, Identity, PrivateKey, Tls},
    raft::Raft,
};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// How long to wait after a failed renewal; certificates live for days.
const RENEWAL_RETRY: Duration = Duration::from_secs(60);
/// How often to look at the clock: it goes on while the machine sleeps, and timers do not.
const RENEWAL_LOOK: Duration = Duration::from_secs(600);

/// Who signs this node's next certificate.
pub(super) enum Signer {
    Own { raft: Raft, keyring: Arc<Keyring> },
    Managers,
}

/// Renews one node's certificate for as long as its role stays.
pub(super) struct Renewal {
    pub(super) card: Arc<Card>,
    pub(super) tls: Tls,
    pub(super) clock: Clock,
    pub(super) signer: Signer,
}

impl Renewal {
    /// Renews at a random moment between half and four fifths of the certificate's life; at once if that has passed.
    pub(super) async fn run(self, stop: Stop) {
        loop {
            let random = getrandom::u32().expect("the kernel gives randomness once booted");
            let at = self.tls.peer().map_or(self.clock.now(), |peer| peer.renew_at(random));
            loop {
                let wait = at.since(self.clock.now());
                if wait.is_zero() {
                    break;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait.min(RENEWAL_LOOK)) => {}
                }
            }
            let renewed = tokio::select! {
                () = stop.cancelled() => return,
                renewed = self.renew() => renewed,
            };
            let Err(error) = renewed else {
                info!("renewed this node's certificate");
                continue;
            };
            warn!(error = %chain(&error), "cannot renew this node's certificate");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RENEWAL_RETRY) => {}
            }
        }
    }

    async fn renew(&self) -> Result<(), ActiveError> {
        let identity = match &self.signer {
            Signer::Own { raft, keyring } => self.sign(raft, keyring).await?,
            Signer::Managers => ask(&self.card, &self.tls, &self.clock).await?,
        };
        self.tls.set_identity(&identity)?;
        Ok(self.card.change(|member| member.identity = identity)?)
    }

    async fn sign(&self, raft: &Raft, keyring: &Keyring) -> Result<Identity, ActiveError> {
        let cluster = raft.state().cluster().cloned().ok_or(ActiveError::NoCluster)?;
        let key = keyring
            .open_sealed(&authority_context(cluster.id), &cluster.ca_key)
            .map_err(ActiveError::Keyring)?;
        let authority = Authority::open(cluster.id, &cluster.ca_certificate, key)?;
        let (node, life) = (self.card.keys.node, cluster.settings.certificate_life);
        let identity = issue(&authority, node, self.clock.now(), life)?;
        let certificate = CertificateStatus {
            issuer: CaDigest::of(&cluster.ca_certificate).0,
            role: Role::Manager,
            expires_at: identity.peer().not_after,
        };
        // Only for `node inspect`: the certificate is good without it.
        let noted = raft.propose(None, Command::NoteCertificate { id: node, certificate }).await;
        if let Err(error) = noted {
            info!(%error, "could not note the new certificate");
        }
        Ok(identity)
    }
}

/// Asks the managers for a certificate of the role this node shall have.
pub(super) async fn ask(card: &Card, tls: &Tls, clock: &Clock) -> Result<Identity, ActiveError> {
    let managers: Vec<(NodeId, String)> = card.read(|member| {
        member.managers.iter().map(|manager| (manager.node, manager.addr.clone())).collect()
    });
    let expired = tls.peer().is_none_or(|peer| peer.not_after <= clock.now());
    let enrolled = if expired {
        let (identity, roots) = card.read(|member| {
            let identity = Identity::open(
                &card.keys.storage,
                member.identity.chain(),
                &member.identity.sealed_key(&card.keys.storage),
            );
            (identity, member.roots.clone())
        });
        enroll::renew_expired(&identity?, &roots, &managers, clock).await?
    } else {
        enroll::renew(tls, &managers).await?
    };
    Ok(enrolled.identity)
}

/// Issues a manager's certificate for a fresh key.
pub(super) fn issue(
    authority: &Authority,
    node: NodeId,
    now: Timestamp,
    life: Duration,
) -> Result<Identity, ActiveError> {
    let key = PrivateKey::generate();
    let chain = authority.issue(&key.request(), node, Role::Manager, now, life)?;
    Ok(Identity::new(key, chain)?)
}
