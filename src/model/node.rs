//! A node: a machine of the cluster, what it can do, and how it is.

use super::{
    Labels, Meta,
    sightings::{KeyHash, Sightings},
};
use crate::{
    crypto::key::RootId,
    kit::{clock::Timestamp, id::NodeId},
};
use std::{fmt, time::Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Worker,
    Manager,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Active,
    /// Keeps its tasks, gets no new ones.
    Pause,
    /// Gives its tasks away.
    Drain,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Not heard of since the leader changed.
    Unknown,
    Down,
    Ready,
    /// Said goodbye; its tasks stay.
    Disconnected,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Ready => "ready",
            Self::Disconnected => "disconnected",
        })
    }
}

/// What the machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeDescription {
    pub hostname: String,
    /// `linux`.
    pub os: String,
    /// As the kernel names it: `x86_64`, `aarch64`.
    pub arch: String,
    pub nano_cpus: u64,
    pub memory_bytes: u64,
    /// `docker` or `process`.
    pub runtime: String,
    /// Version of the engine; empty for the process runtime.
    pub engine_version: String,
    pub engine_labels: Labels,
    /// Version of secretd.
    pub version: String,
    /// Why its runtime does not work at present; empty if it does.
    pub runtime_error: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub state: NodeState,
    pub message: String,
    /// The address it was last seen at, without port.
    pub addr: String,
    pub at: Timestamp,
    /// The manager whose dispatcher has its session, or had it last.
    pub dispatcher: Option<NodeId>,
}

/// Whether a node belongs to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// It left at its own wish, for good. Only its row is still there, until nothing waits for its word any more.
    Left {
        at: Timestamp,
        /// It has said that it has ended its tasks and wiped all they were given.
        wiped: bool,
    },
}

/// The certificate a node was given last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// SHA-256 of the certificate of the CA that signed it.
    pub issuer: [u8; 32],
    pub role: Role,
    pub expires_at: Timestamp,
    /// The node has opened a session with a certificate of this issuer, so it surely has one. Noted while the CA is
    /// being replaced.
    pub shown: bool,
    pub key: KeyHash,
    /// Of the certificate with which this one was asked for, which the node still has if the answer was lost.
    pub former: Option<KeyHash>,
    /// Which of the two opened the node's last session.
    pub used: Option<KeyHash>,
    /// The state was brought back from an older copy: the node may have been given another since, which ends later.
    pub dated: bool,
}

/// A manager as its certificate names it: the node, and the Raft id that the cluster admitted it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftIdentity {
    pub node: NodeId,
    pub raft_id: u64,
}

/// What a manager has besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Its id in Raft, never used again.
    pub raft_id: u64,
    /// `IP:PORT` at which the other nodes reach it.
    pub addr: String,
    /// What it keeps on its disk was written under this term of the keyring or a later one; 0: it has not said.
    pub oldest_term: u32,
    /// Nothing on its disk lies under a root key before the one of this number; 0: it has not said.
    pub root: u32,
    /// The root key that is offered and that it keeps already.
    pub prepared_root: Option<RootId>,
}

impl ManagerStatus {
    /// One that was just admitted.
    pub fn new(raft_id: u64, addr: String) -> Self {
        Self { raft_id, addr, oldest_term: 0, root: 0, prepared_root: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub meta: Meta,
    /// What it shall be. It is a manager once it has joined the Raft group.
    pub role: Role,
    pub availability: Availability,
    pub labels: Labels,
    pub description: NodeDescription,
    /// What it calls itself now, if that is not the host name it joined with.
    pub renamed: Option<String>,
    pub status: NodeStatus,
    pub standing: Standing,
    /// Set from its admission to the Raft group until it has been removed from it.
    pub manager: Option<ManagerStatus>,
    /// Unset before it was told of.
    pub certificate: Option<CertificateStatus>,
    /// Since when it says that its runtime does not work; the description has the reason.
    pub runtime_failed_at: Option<Timestamp>,
    pub sightings: Sightings,
}

impl Node {
    /// Whether the node left: it belongs to the cluster no longer, only its row is still there.
    pub fn has_left(&self) -> bool {
        match self.standing {
            Standing::Member => false,
            Standing::Left { .. } => true,
        }
    }

    /// Whether it can start tasks: its agent is heard of, and so is what starts them.
    pub fn is_ready(&self) -> bool {
        self.status.state == NodeState::Ready && self.runtime_failed_at.is_none()
    }

    /// Whether its tasks count as lost: nobody has heard of it, or it could do nothing for them, for longer than `grace`.
    pub fn is_lost(&self, now: Timestamp, grace: Duration) -> bool {
        self.status.state == NodeState::Down || self.lost_at(grace).is_some_and(|at| at <= now)
    }

    /// When a node whose runtime does not work loses its tasks.
    pub fn lost_at(&self, grace: Duration) -> Option<Timestamp> {
        self.runtime_failed_at.map(|since| since.plus(grace))
    }

    /// Whether it has ever taken part, as a worker or as a manager. One that was only admitted may have died before it kept
    /// anything; then nobody is left who could be this node.
    pub fn has_been_here(&self) -> bool {
        self.status.dispatcher.is_some()
            || self.manager.as_ref().is_some_and(|manager| manager.oldest_term > 0)
    }
}
