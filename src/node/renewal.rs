//! Gives this node a fresh certificate in good time. A manager holds the CA's key and asks nobody; a worker asks one.

use super::{active::ActiveError, member::Card};
use crate::{
    agent::Handle,
    client::enroll::{self, Enrolled},
    crypto::{keychain::Keychain, keyring::Keyring},
    kit::{
        backoff::Backoff,
        chain::chain,
        clock::{Clock, Timestamp},
        id::NodeId,
        task::Stop,
    },
    model::{
        cluster::Cluster,
        command::Command,
        node::{CertificateStatus, Role},
    },
    pki::{Authority, CaDigest, Identity, KeyId, Office, PrivateKey, Tls},
    raft::{Changes, ProposeError, Raft},
    store::{Change, Entity},
};
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// Waits after failed renewals.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How often to look at the clock: it goes on while the machine sleeps, and timers do not; and somebody may set it.
const RENEWAL_LOOK: Duration = Duration::from_secs(15);
/// Workers move to a new CA within this time, not all at once.
const SPREAD: Duration = Duration::from_secs(2);

/// Who signs this node's next certificate.
pub(super) enum Signer {
    Own { raft: Raft, keys: Arc<Keychain> },
    Managers,
}

/// Renews one node's certificate for as long as its role stays.
pub(super) struct Renewal {
    pub(super) card: Arc<Card>,
    pub(super) tls: Tls,
    pub(super) clock: Clock,
    pub(super) signer: Signer,
    /// Of the agent, which ends the tasks of a node that was removed.
    pub(super) agent: Handle,
}

impl Renewal {
    /// Renews at a random moment between half and four fifths of the certificate's life; at once if that has passed, if the
    /// certificate is not good yet by this node's clock, or when the cluster has another CA.
    pub(super) async fn run(self, stop: Stop) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut unnoted = self.unknown();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due() => {}
                () = self.note(unnoted.as_ref()), if unnoted.is_some() => {
                    unnoted = None;
                    continue;
                }
            }
            let renewed = tokio::select! {
                () = stop.cancelled() => return,
                renewed = self.renew() => renewed,
            };
            match renewed {
                Ok(certificate) => {
                    info!("renewed this node's certificate");
                    unnoted = certificate;
                    // Whose clock is off may give or get one that is as old as the last.
                    if !self.is_superseded() && self.is_fresh() {
                        backoff.reset();
                        continue;
                    }
                }
                Err(ActiveError::Enroll(error)) if error.is_removal() => {
                    warn!(error = %chain(&error), "this node was removed while it was away");
                    return self.agent.leave();
                }
                Err(error) => {
                    warn!(error = %chain(&error), "cannot renew this node's certificate");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = backoff.wait() => {}
            }
        }
    }

    /// Waits until it is time.
    async fn due(&self) {
        let random = getrandom::u32().expect("the kernel gives randomness once booted");
        let share = f64::from(random) / f64::from(u32::MAX);
        let old = async {
            loop {
                let now = self.clock.now();
                let peer = self.tls.peer().filter(|peer| peer.is_valid(now));
                let wait = peer.map_or(Duration::ZERO, |peer| peer.renew_at(random).since(now));
                if wait.is_zero() {
                    return;
                }
                tokio::time::sleep(wait.min(RENEWAL_LOOK)).await;
            }
        };
        let superseded = async {
            self.tls.until(|_| self.is_superseded()).await;
            if let Signer::Managers = self.signer {
                tokio::time::sleep(SPREAD.mul_f64(share)).await;
            }
        };
        tokio::select! {
            () = old => {}
            () = superseded => {}
        }
    }

    /// Whether the certificate is good now and has half of its life before it.
    fn is_fresh(&self) -> bool {
        let now = self.clock.now();
        self.tls.peer().is_some_and(|peer| peer.is_valid(now) && now < peer.renew_at(0))
    }

    /// The certificate that this manager signed for itself, if the store does not know it: it may have ended before it
    /// could say so.
    fn unknown(&self) -> Option<CertificateStatus> {
        let Signer::Own { raft, keys: _ } = &self.signer else { return None };
        let peer = self.tls.peer()?;
        let state = raft.state();
        let row = state.node_by_id(self.card.keys.node);
        if row.and_then(|row| row.certificate.as_ref()).is_some_and(|it| it.key == peer.key) {
            return None;
        }
        let chain = self.card.read(|member| member.identity.chain());
        let issuer = CaDigest::of(chain.get(1)?).0;
        Some(CertificateStatus::new(issuer, Role::Manager, &peer.shown()))
    }

    /// Whether the cluster has another CA than the one that signed this node's certificate.
    fn is_superseded(&self) -> bool {
        let present =
            self.card.read(|member| member.roots.first().and_then(|root| KeyId::of(root)));
        let ours = self.tls.peer().and_then(|peer| peer.issuer.clone());
        present.is_some() && present != ours
    }

    /// Returns what the store is to be told. A manager signs for itself, also while nobody leads once its certificate has
    /// ended: the others would not hear it otherwise.
    async fn renew(&self) -> Result<Option<CertificateStatus>, ActiveError> {
        let _alone = self.card.renewing().await;
        match &self.signer {
            Signer::Own { raft, keys } => {
                let raft_id = raft.status().raft_id;
                let (node, now) = (self.card.keys.node, self.clock.now());
                let state = if self.tls.peer().is_some_and(|peer| peer.is_valid(now)) {
                    // Who was demoted meanwhile, or whose disk went back, keeps the key that the others know it by.
                    let linear = raft.linear().await;
                    linear.map_err(|error| ActiveError::Stopped(error.to_string()))?.state().clone()
                } else {
                    raft.state()
                };
                let cluster = state.cluster().cloned().ok_or(ActiveError::NoCluster)?;
                let keyring = keys.keyring(&cluster.keyring).map_err(ActiveError::Keyring)?;
                let (identity, certificate) = sign(&cluster, &keyring, (node, raft_id), now)?;
                self.card.take(&self.tls, identity, None)?;
                Ok(Some(certificate))
            }
            Signer::Managers => {
                let enrolled = ask(&self.card, &self.tls, &self.clock).await?;
                self.card.take(&self.tls, enrolled.identity, Some(enrolled.roots))?;
                Ok(None)
            }
        }
    }

    /// Tells the store of this manager's certificate, for `node inspect` and for the progress of a new CA; tries again
    /// until it is told. The certificate is good without it.
    async fn note(&self, certificate: Option<&CertificateStatus>) {
        let (Signer::Own { raft, keys: _ }, Some(certificate)) = (&self.signer, certificate) else {
            return;
        };
        let id = self.card.keys.node;
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        loop {
            let certificate = certificate.clone();
            let note = Command::NoteCertificate { id, certificate, shown: None };
            match raft.propose(None, note).await {
                Ok(_) => return,
                Err(ProposeError::Refused(refusal)) => {
                    return info!(%refusal, "the new certificate was not noted");
                }
                Err(error) => info!(%error, "could not note the new certificate yet"),
            }
            backoff.wait().await;
        }
    }
}

/// Gives this manager, the node with its Raft id, a certificate from the store's own CA.
pub(super) fn sign(
    cluster: &Cluster,
    keyring: &Keyring,
    manager: (NodeId, u64),
    now: Timestamp,
) -> Result<(Identity, CertificateStatus), ActiveError> {
    let key = keyring.open_authority_key(&cluster.ca_key).map_err(ActiveError::Keyring)?;
    let authority = Authority::open(cluster.id, &cluster.ca_certificate, key)?;
    let authority = match &cluster.rotation {
        Some(rotation) => authority.crossing(rotation.cross_signed.clone()),
        None => authority,
    };
    let identity = issue(&authority, manager, now, cluster.settings.certificate_life)?;
    let shown = identity.peer().shown();
    let certificate = CertificateStatus::new(cluster.ca_digest(), Role::Manager, &shown);
    Ok((identity, certificate))
}

/// Trusts the CAs that this manager's own store names, for as long as it is one.
pub(super) async fn follow_store(raft: Raft, card: Arc<Card>, tls: Tls, stop: Stop) {
    let mut changes = raft.changes();
    loop {
        if let Some(cluster) = raft.state().cluster() {
            card.trust(&tls, &cluster.roots());
        }
        let cluster = |change: &Change| matches!(change, Change::Put(Entity::Cluster(_)));
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = Changes::until(&mut changes, cluster) => changed,
        };
        if !changed {
            return;
        }
    }
}

/// Asks the managers for a certificate of the role this node shall have.
pub(super) async fn ask(card: &Card, tls: &Tls, clock: &Clock) -> Result<Enrolled, ActiveError> {
    let managers: Vec<(NodeId, String)> = card.read(|member| {
        member.managers.iter().map(|manager| (manager.node, manager.addr.clone())).collect()
    });
    if tls.peer().is_some_and(|peer| peer.is_valid(clock.now())) {
        match enroll::renew(tls, &managers).await {
            // By their clocks it is not good now; its key is as good as ever.
            Err(error) if error.is_about_time() => {}
            asked => return Ok(asked?),
        }
    }
    let (identity, roots) = card.read(|member| {
        let identity = Identity::open(
            &card.keys.storage,
            member.identity.chain(),
            &member.identity.sealed_key(&card.keys.storage),
        );
        (identity, member.roots.clone())
    });
    Ok(enroll::renew_expired(&identity?, &roots, &managers, clock).await?)
}

/// Issues a manager's certificate for a fresh key.
pub(super) fn issue(
    authority: &Authority,
    (node, raft_id): (NodeId, u64),
    now: Timestamp,
    life: Duration,
) -> Result<Identity, ActiveError> {
    let key = PrivateKey::generate();
    let office = Office::Manager { raft_id };
    let chain = authority.issue(&key.request(), node, office, now, life)?;
    Ok(Identity::new(key, chain)?)
}
