//! What openraft is told about us: ids, members, what an entry carries and what applying it answers.

use super::snapshot::SnapshotData;
use crate::{
    kit::id::NodeId,
    model::command::{Outcome, Stamped},
};
use std::{fmt, sync::Arc};

openraft::declare_raft_types!(
    /// Raft as secretd runs it.
    pub(super) TypeConfig:
        D = Batch,
        R = Outcomes,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        AsyncRuntime = openraft::TokioRuntime,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
);

pub(super) type Entry = openraft::Entry<TypeConfig>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Membership = openraft::Membership<u64, Member>;
pub(super) type StoredMembership = openraft::StoredMembership<u64, Member>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(super) type StorageError = openraft::StorageError<u64>;

/// A manager as Raft knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its certificate must carry this id.
    pub node: NodeId,
    /// `IP:PORT`.
    pub addr: String,
}

/// openraft wants a default for members it knows by number only; it is never dialled.
impl Default for Member {
    fn default() -> Self {
        Self { node: NodeId::from_random([0; 17]), addr: String::new() }
    }
}

/// The commands of one entry. Cloning shares them.
#[derive(Clone)]
pub(super) struct Batch(Arc<Commands>);

struct Commands {
    list: Vec<Stamped>,
    weight: usize,
}

impl Batch {
    /// `weight` is about how many bytes the commands take.
    pub(super) fn new(list: Vec<Stamped>, weight: usize) -> Self {
        Self(Arc::new(Commands { list, weight }))
    }

    pub(super) fn commands(&self) -> &[Stamped] {
        &self.0.list
    }

    pub(super) fn weight(&self) -> usize {
        self.0.weight
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} commands)", self.0.list.len())
    }
}

/// What became of each command of an entry, in order; empty for entries of Raft's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcomes(pub(super) Vec<Outcome>);

/// About how many bytes an entry takes in memory.
pub(super) fn weight(entry: &Entry) -> usize {
    const FRAME: usize = 128;
    match &entry.payload {
        openraft::EntryPayload::Blank => FRAME,
        openraft::EntryPayload::Normal(batch) => FRAME + batch.weight(),
        openraft::EntryPayload::Membership(membership) => FRAME + 128 * membership.nodes().count(),
    }
}
