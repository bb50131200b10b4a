//! What was removed and may still lie on a disk: remembered until every manager has dropped it.

use super::{
    node::Node,
    object::{Kind, Object},
};
use crate::kit::{
    clock::Timestamp,
    id::{NodeId, ObjectId},
    name::ObjectName,
};
use std::collections::BTreeSet;

/// A secret or a config that was removed. Its payloads are gone from the state; the entries that brought them go from
/// each manager's log later, and with a new state file what the old one had of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    pub kind: Kind,
    pub id: ObjectId,
    pub name: ObjectName,
    pub created_at: Timestamp,
    pub removed_at: Timestamp,
    /// The managers that hold it neither in the log nor among the free pages of the state file any more.
    pub done: BTreeSet<NodeId>,
}

impl Destroyed {
    /// What an object becomes when it is removed.
    pub fn new(object: &Object, removed_at: Timestamp) -> Self {
        let Object { kind, id, name, labels: _, meta, versions: _ } = object;
        Self {
            kind: *kind,
            id: *id,
            name: name.clone(),
            created_at: meta.created_at,
            removed_at,
            done: BTreeSet::new(),
        }
    }

    /// Whether it is kept open by this node: a manager that has not dropped it.
    pub fn waits_for(&self, node: &Node) -> bool {
        node.manager.is_some() && !self.done.contains(&node.id)
    }
}
