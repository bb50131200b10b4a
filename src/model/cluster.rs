//! The cluster itself: its settings, its CA, and the wrapped keys of its keyring.

use super::Meta;
use crate::{
    crypto::{
        context::{Context, Subject},
        keyring::WrappedTerm,
        seal::Sealed,
    },
    kit::id::{ClusterId, ObjectId},
};
use std::time::Duration;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    pub heartbeat: Duration,
    pub certificate_life: Duration,
    /// Tasks kept per slot.
    pub task_history: u64,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            certificate_life: Duration::from_secs(72 * 3600),
            task_history: crate::kit::limits::TASK_HISTORY as u64,
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
}

/// What the CA's key is sealed to; a cluster has one, so its object id is all zeros.
pub fn authority_context(cluster: ClusterId) -> Context {
    Context {
        cluster,
        subject: Subject::AuthorityKey,
        object: ObjectId::from_random([0; 17]),
        name: "ca".to_owned(),
        version: 1,
    }
}
