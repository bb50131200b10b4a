//! The cluster itself: its settings, its CA, and the wrapped keys of its keyring.

use super::{
    Meta,
    node::{Node, Role},
};
use crate::{
    crypto::{key::RootId, keyring::WrappedTerm, seal::Sealed, unlock::Unlocker},
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId},
        limits::FORMER_MANAGERS,
    },
};
use sha2::{Digest as _, Sha256};
use std::{fmt, time::Duration};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    pub heartbeat: Duration,
    pub certificate_life: Duration,
    /// Tasks kept per slot.
    pub task_history: u64,
    /// After so long the keyring gets a new term; unset: only when somebody asks, or a manager goes.
    pub key_max_age: Option<Duration>,
    /// For so long after its end a node's certificate is renewed.
    pub come_back: Duration,
}

/// A node is taken for lost after this many periods in which it was not heard of, or could not work.
pub const GRACE: u32 = 3;

impl ClusterSettings {
    /// How long a node may be silent, or without a runtime that works, before its tasks are replaced.
    pub fn grace(&self) -> Duration {
        self.heartbeat * GRACE
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            certificate_life: Duration::from_secs(72 * 3600),
            task_history: crate::kit::limits::TASK_HISTORY as u64,
            key_max_age: Some(Duration::from_secs(90 * 24 * 3600)),
            come_back: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub id: ClusterId,
    pub meta: Meta,
    pub settings: ClusterSettings,
    /// The CA's certificate, DER.
    pub ca_certificate: Vec<u8>,
    /// The CA's private key, PKCS#8 DER, sealed to the keyring.
    pub ca_key: Sealed,
    /// The keyring's terms, wrapped by the root key; the last is the active one.
    pub keyring: Vec<WrappedTerm>,
    /// The Raft id the next manager gets; the first has 1.
    pub next_raft_id: u64,
    /// While nodes move from the CA before to this one.
    pub rotation: Option<AuthorityRotation>,
    /// What new nodes may join with; those that expired are dropped when another is added.
    pub tokens: Vec<Token>,
    /// The ways to the root key that all managers share.
    pub unlockers: Vec<Unlocker>,
    /// Whether each manager has a key file besides. Without it, managers start locked unless a shared unlocker opens
    /// without being asked.
    pub key_files: bool,
    /// The last backup that was read to its end.
    pub backup: Option<BackupStatus>,
    pub rekeying: Rekeying,
    /// Managers that were, the newest last.
    pub former_managers: Vec<FormerManager>,
    pub root: RootStatus,
}

/// A manager that was: nobody hears its Raft id any more, whatever certificate is shown with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerManager {
    pub node: NodeId,
    pub raft_id: u64,
    pub at: Timestamp,
    pub departure: Departure,
}

/// How a manager came to be one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Departure {
    /// It was demoted, or left, and the Raft group let it go.
    Demoted,
    /// The node was removed after that.
    Removed,
    /// The node was admitted once more, under another Raft id.
    Replaced,
    /// Another manager was made the only one.
    Abandoned,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Demoted => "demoted",
            Self::Removed => "removed",
            Self::Replaced => "admitted anew under another Raft id",
            Self::Abandoned => "left behind when the cluster was recovered",
        })
    }
}

/// Which root key the cluster has. The key itself is in no state and in no log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootStatus {
    /// 1, 2, 3, …
    pub number: u32,
    pub id: RootId,
    pub since: Timestamp,
    /// While it is being replaced.
    pub rotation: Option<RootRotation>,
}

impl RootStatus {
    /// The first one of a cluster.
    pub fn first(id: RootId, since: Timestamp) -> Self {
        Self { number: 1, id, since, rotation: None }
    }

    /// The same without what was offered: somebody has it who is a manager no more.
    pub fn without_offer(&self) -> Self {
        let rotation = self.rotation.clone();
        let rotation = rotation.map(|rotation| RootRotation { offered: None, ..rotation });
        Self { rotation, ..self.clone() }
    }

    /// The root key that is to follow, if one was drawn.
    pub fn offered(&self) -> Option<&RootOffer> {
        self.rotation.as_ref()?.offered.as_ref()
    }
}

/// The root key is being replaced: each manager gets the next one before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRotation {
    pub started_at: Timestamp,
    /// Of the data keys that move when it is done; unset: the default.
    pub rate: Option<u32>,
    /// Unset: none was drawn yet, or it was lost with who drew it.
    pub offered: Option<RootOffer>,
}

/// A root key that is to follow, and the manager that drew it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootOffer {
    pub id: RootId,
    pub by: NodeId,
}

/// What is going on with the keyring's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rekeying {
    /// A manager has gone since the last term was made: the next one is due.
    pub due: bool,
    /// Set until nothing is left under an older term.
    pub running: Option<Rewrapping>,
}

/// Data keys move to the newest term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapping {
    pub started_at: Timestamp,
    /// What lay under older terms when it began: payloads, and the CA's key.
    pub total: u64,
    /// At most so many payloads each second; unset: the default.
    pub rate: Option<u32>,
}

/// A backup that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStatus {
    pub created_at: Timestamp,
    pub verified_at: Timestamp,
    /// The last entry it holds.
    pub index: u64,
}

/// A certificate is good from this long before it was issued, and clocks differ by less than the rest.
const FORMER_MARGIN: Duration = Duration::from_secs(25 * 3600);

impl Cluster {
    /// Notes a manager that was, and forgets those whose every certificate has long ended. Whoever is forgotten is refused
    /// all the same: its id is below the next one and in no row.
    pub fn note_former(&mut self, former: FormerManager) {
        let (life, now) = (self.settings.certificate_life, former.at);
        let lives = |old: &FormerManager| old.at.plus(life).plus(FORMER_MARGIN) > now;
        self.former_managers.retain(lives);
        let room = FORMER_MANAGERS.saturating_sub(1);
        let excess = self.former_managers.len().saturating_sub(room);
        self.former_managers.drain(..excess);
        self.former_managers.push(former);
    }

    pub fn former_manager(&self, raft_id: u64) -> Option<&FormerManager> {
        self.former_managers.iter().find(|former| former.raft_id == raft_id)
    }

    /// SHA-256 over the CA's certificate: what join tokens pin, and what a node's row says of its issuer.
    pub fn ca_digest(&self) -> [u8; 32] {
        Sha256::digest(&self.ca_certificate).into()
    }

    /// The term under which everything new is sealed; 0 before the first.
    pub fn active_term(&self) -> u32 {
        self.keyring.last().map_or(0, |last| last.term)
    }

    /// The oldest term that is kept; 0 before the first.
    pub fn oldest_term(&self) -> u32 {
        self.keyring.first().map_or(0, |first| first.term)
    }

    /// The CAs that nodes are to trust, DER, the present one first.
    pub fn roots(&self) -> Vec<Vec<u8>> {
        let before = self.rotation.iter().map(|rotation| rotation.previous.clone());
        std::iter::once(self.ca_certificate.clone()).chain(before).collect()
    }

    /// Whether the node needs the CA before no longer: it surely has a certificate of the present one, or has left.
    /// Asked while the CA is being replaced.
    pub fn has_moved(&self, node: &Node) -> bool {
        let certificate = node.certificate.as_ref();
        node.has_left() || certificate.is_some_and(|it| it.shown && it.issuer == self.ca_digest())
    }
}

/// The CA is being replaced: both are trusted until every node has a certificate of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityRotation {
    /// The certificate of the CA before, DER.
    pub previous: Vec<u8>,
    /// The new CA's certificate signed by the one before, DER: for nodes that trust only that.
    pub cross_signed: Vec<u8>,
    pub started_at: Timestamp,
}

/// The right to join, as the cluster keeps it: enough to know the token again, not to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of its secret (`pki::TokenHash`).
    pub hash: [u8; 32],
    pub role: Role,
    pub created_at: Timestamp,
    /// Unset: never.
    pub expires_at: Option<Timestamp>,
    /// Unset: any number.
    pub uses_left: Option<u64>,
}

impl Token {
    /// Whether somebody may join with it at `at`.
    pub fn is_valid(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| at < end) && self.uses_left != Some(0)
    }
}
