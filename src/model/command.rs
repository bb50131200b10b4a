//! What the log carries: commands that already hold their ids, their time and their sealed payloads.

use super::{
    Labels,
    cluster::{AuthorityRotation, BackupStatus, Cluster, RootOffer, Token},
    node::{Availability, CertificateStatus, Node, NodeDescription, NodeStatus, Role},
    object::{Kind, VersionNumber},
    refusal::Refusal,
    service::{ServiceSpec, UpdateStatus},
    sightings::ShownKey,
    task::{ObjectVersion, Task, TaskState, TaskStatus},
};
use crate::{
    crypto::{key::RootId, keyring::WrappedTerm, seal::Sealed, unlock::Unlocker},
    kit::{
        clock::Timestamp,
        id::{ClientId, NodeId, ObjectId, ServiceId, TaskId, UnlockerId},
        name::ObjectName,
    },
};
use std::{collections::BTreeMap, time::Duration};

/// Names one request of one caller; the same one sent twice is done once and answered twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    pub client: ClientId,
    /// Grows with each request of the client.
    pub sequence: u64,
}

/// A command as it is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// Unset for the leader's own chores, which look again instead of repeating themselves.
    pub request: Option<RequestId>,
    /// The leader's clock when it proposed.
    pub at: Timestamp,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The first command of a cluster.
    Found {
        cluster: Box<Cluster>,
        node: Box<Node>,
    },
    CreateObject {
        kind: Kind,
        id: ObjectId,
        name: ObjectName,
        labels: Labels,
        size: u64,
        sealed: Sealed,
    },
    /// Replaces the labels if the object is still at `index` (any, if unset).
    SetObjectLabels {
        kind: Kind,
        id: ObjectId,
        index: Option<u64>,
        labels: Labels,
    },
    RemoveObject {
        kind: Kind,
        id: ObjectId,
    },
    CreateService {
        id: ServiceId,
        spec: Box<ServiceSpec>,
    },
    /// Replaces the spec if the service is still at `index` (any, if unset).
    UpdateService {
        id: ServiceId,
        index: Option<u64>,
        spec: Box<ServiceSpec>,
    },
    RemoveService {
        id: ServiceId,
    },
    /// Returns a service to its previous spec. By hand the two specs change places; after a failed update
    /// (`failure` says which) the failed spec is forgotten, so that nothing rolls back to it.
    RollBackService {
        id: ServiceId,
        index: Option<u64>,
        failure: Option<String>,
    },
    /// The leader's account of a rolling update; does nothing unless the service still has that spec.
    NoteUpdate {
        id: ServiceId,
        spec_index: u64,
        status: UpdateStatus,
    },
    /// The leader's orchestration; all or nothing is not needed, each change stands for itself.
    ChangeTasks {
        changes: Vec<TaskChange>,
    },
    /// What a node says of itself and how a dispatcher sees it.
    ReportNode {
        id: NodeId,
        description: Option<Box<NodeDescription>>,
        status: NodeStatus,
        /// Only if its session is still with this manager: the node may have turned to another meanwhile.
        held_by: Option<NodeId>,
    },
    SetNode {
        id: NodeId,
        index: Option<u64>,
        availability: Availability,
        labels: Labels,
        /// Unset: as it is. Only an operator renames a node.
        hostname: Option<String>,
    },
    /// A node leaves for good. Its row stays until it has said that it has `wiped` all it was given and, if it was a
    /// manager, is out of the Raft group.
    LeaveNode {
        id: NodeId,
        wiped: bool,
    },
    /// Adds a join token; with `revoke`, all others for its role are worth nothing any more.
    AddToken {
        token: Token,
        revoke: bool,
    },
    /// A node joins with the token of this hash; counts as one use of it.
    JoinNode {
        token: [u8; 32],
        node: Box<Node>,
    },
    /// Says what a node shall be; the leader then changes the Raft group.
    SetRole {
        id: NodeId,
        index: Option<u64>,
        role: Role,
    },
    /// Gives a node that shall be a manager a Raft id that was never used; answers with it.
    AdmitManager {
        id: NodeId,
        /// `IP:PORT` at which the other nodes reach it.
        addr: String,
    },
    /// A manager is reached elsewhere from now on. Only it says so.
    MoveManager {
        id: NodeId,
        /// `IP:PORT`.
        addr: String,
    },
    /// The manager of this Raft id has been removed from the Raft group.
    RetireManager {
        id: NodeId,
        raft_id: u64,
    },
    /// Removes a node for good. Without `force` only one that is down.
    RemoveNode {
        id: NodeId,
        force: bool,
    },
    /// A node was given a certificate.
    NoteCertificate {
        id: NodeId,
        certificate: CertificateStatus,
        /// The key with which it was asked for; unset: a manager signed it for itself, or nothing was renewed.
        shown: Option<ShownKey>,
    },
    /// The agent of a node opens a session with a dispatcher.
    OpenSession {
        id: NodeId,
        description: NodeDescription,
        status: NodeStatus,
        shown: ShownKey,
        /// What the agent's process drew when it started.
        process: u64,
    },
    /// Somebody at this address showed a certificate of the node that was replaced.
    NoteCopy {
        id: NodeId,
        addr: String,
    },
    /// For how long after its end a node's certificate is renewed.
    SetComeBack {
        age: Duration,
    },
    /// Replaces the CA; join tokens pin the one before and go.
    RotateAuthority {
        ca_certificate: Vec<u8>,
        ca_key: Sealed,
        rotation: AuthorityRotation,
    },
    /// Every node has moved to the new CA: the one before is trusted no longer.
    FinishRotation,
    /// Changes the ways to the root key; at least one must remain.
    ChangeUnlockers {
        add: Vec<Unlocker>,
        /// Each must be there.
        remove: Vec<UnlockerId>,
        /// Unset: as it is.
        key_files: Option<bool>,
        /// The root key that the added ones open.
        root: RootId,
    },
    /// The cluster goes on with this manager alone: from the last one that is left, or from a backup. The others that
    /// were managers are workers from now on, and join tokens are worth nothing.
    Reestablish {
        node: Box<Node>,
    },
    /// A backup was read to its end.
    NoteBackup {
        backup: BackupStatus,
    },
    /// Gives the keyring the term that follows its last one. Everything new is sealed under it from now on, and the leader
    /// moves the rest, at most `rate` payloads each second.
    AddTerm {
        term: WrappedTerm,
        rate: Option<u32>,
        /// The root key it lies under.
        root: RootId,
    },
    /// Moves data keys to `term`; those that are gone, or were moved meanwhile, stay as they are.
    Rewrap {
        term: u32,
        keys: Vec<Rewrapped>,
        authority: Option<RewrappedAuthority>,
    },
    /// Forgets the terms below this one, under which nothing lies any more.
    DropTerms {
        before: u32,
    },
    /// This manager keeps nothing on its disk that was written while there were terms below this one.
    NoteTerms {
        id: NodeId,
        oldest: u32,
    },
    /// Unset: terms do not age.
    SetKeyMaxAge {
        age: Option<Duration>,
    },
    /// Begins to replace the root key.
    BeginRoot {
        rate: Option<u32>,
    },
    /// A root key was drawn that is to follow. One that was offered before never counts.
    OfferRoot {
        offer: RootOffer,
    },
    /// This manager keeps the root key that is offered, where the ways in that there are open it.
    NotePreparedRoot {
        node: NodeId,
        root: RootId,
    },
    /// The root key that is offered counts from now on. Every manager must keep it already.
    RotateRoot {
        root: RootId,
        /// All terms under it, and one more.
        keyring: Vec<WrappedTerm>,
        /// The cluster's unlockers, with it behind them.
        unlockers: Vec<Unlocker>,
    },
    /// Nothing on this manager's disk lies under a root key before the one of this number any more.
    NoteRoot {
        node: NodeId,
        number: u32,
    },
    /// A manager's disk holds these removed objects no more.
    NoteDestroyed {
        node: NodeId,
        objects: Vec<ObjectId>,
    },
}

/// The data key of one version, under another term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    pub version: ObjectVersion,
    /// The term under which it must still lie.
    pub from: u32,
    pub wrapped: Vec<u8>,
}

/// The data key of the CA's key, under another term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrappedAuthority {
    /// As it is wrapped before: the CA may have been replaced meanwhile.
    pub was: Vec<u8>,
    pub wrapped: Vec<u8>,
}

/// One change to one task. A change to a task that is gone, or backwards, does nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskChange {
    /// Spec and versions are filled in when it is applied, so the log need not carry them: the service's spec if it
    /// still is that of `spec_index` (else nothing is made), and for references to the latest the newest version then.
    Create(Box<Task>),
    Assign {
        id: TaskId,
        node: NodeId,
    },
    Desire {
        id: TaskId,
        desired: TaskState,
    },
    /// From the agent of `node`, which must be the task's own.
    Report {
        id: TaskId,
        node: NodeId,
        status: TaskStatus,
    },
    /// From the leader itself: no node fits, or the node is gone.
    Note {
        id: TaskId,
        status: TaskStatus,
    },
    Delete {
        id: TaskId,
    },
    /// From the agent of `node`: it has nothing of the ended task's payloads any more. The task may be deleted already.
    Wiped {
        id: TaskId,
        node: NodeId,
    },
}

/// What a command that was carried out gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Object {
        id: ObjectId,
        version: VersionNumber,
    },
    Service {
        id: ServiceId,
    },
    /// The Raft id of a manager that was admitted.
    Manager {
        raft_id: u64,
    },
}

/// What became of a command.
pub type Outcome = Result<Answer, Refusal>;

/// What one client was answered last, so that a request sent twice is done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub client: ClientId,
    /// When it last asked; the client longest silent is forgotten first.
    pub at: Timestamp,
    /// Requests up to this sequence that are not in `outcomes` can no longer be answered, only refused.
    pub forgotten: u64,
    pub outcomes: Outcomes,
}

/// Outcomes by the sequence of their request. They are few, and all of them are copied when one is added, so they lie in
/// one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes(Vec<(u64, Outcome)>);

impl Outcomes {
    pub fn get(&self, sequence: u64) -> Option<&Outcome> {
        let at = self.0.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        self.0.get(at).map(|(_, outcome)| outcome)
    }

    /// These and one more, which takes the place of one with its sequence.
    #[must_use]
    pub fn with(&self, sequence: u64, outcome: Outcome) -> Self {
        let mut all = Vec::with_capacity(self.0.len() + 1);
        all.extend(self.0.iter().filter(|(other, _)| *other != sequence).cloned());
        let at = all.partition_point(|(other, _)| *other < sequence);
        all.insert(at, (sequence, outcome));
        Self(all)
    }

    /// Forgets the oldest beyond `most`; returns the last sequence that went.
    pub fn forget(&mut self, most: usize) -> Option<u64> {
        let excess = self.0.len().saturating_sub(most);
        self.0.drain(..excess).next_back().map(|(sequence, _)| sequence)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Outcome)> {
        self.0.iter().map(|(sequence, outcome)| (*sequence, outcome))
    }
}

impl FromIterator<(u64, Outcome)> for Outcomes {
    fn from_iter<I: IntoIterator<Item = (u64, Outcome)>>(outcomes: I) -> Self {
        let sorted: BTreeMap<u64, Outcome> = outcomes.into_iter().collect();
        Self(sorted.into_iter().collect())
    }
}
