//! The rows the store consists of, and the changes a command makes to them.

use crate::{
    crypto::seal::{Sealed, WrappedKey},
    kit::id::{ClientId, NodeId, ObjectId, ServiceId, TaskId},
    model::{
        cluster::Cluster,
        command::Answered,
        destroyed::Destroyed,
        node::Node,
        object::{Object, VersionNumber},
        service::Service,
        task::{Remnant, Task},
    },
};
use std::sync::Arc;

/// One row: a stored thing with all it has, shared with the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Entity {
    Cluster(Arc<Cluster>),
    Node(Arc<Node>),
    Object(Arc<Object>),
    Service(Arc<Service>),
    Task(Arc<Task>),
    Answered(Arc<Answered>),
    Remnant(Arc<Remnant>),
    Destroyed(Arc<Destroyed>),
}

impl Entity {
    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Node(node) => Key::Node(node.id),
            Self::Object(object) => Key::Object(object.id),
            Self::Service(service) => Key::Service(service.id),
            Self::Task(task) => Key::Task(task.id),
            Self::Answered(answered) => Key::Answered(answered.client),
            Self::Remnant(remnant) => Key::Remnant(remnant.task),
            Self::Destroyed(destroyed) => Key::Destroyed(destroyed.id),
        }
    }
}

/// Names a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// There is only one.
    Cluster,
    Node(NodeId),
    Object(ObjectId),
    Service(ServiceId),
    Task(TaskId),
    Answered(ClientId),
    /// Of that task.
    Remnant(TaskId),
    Destroyed(ObjectId),
}

/// One change to the rows or bodies; a command makes several, in an order that can be replayed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Put(Entity),
    Delete(Key),
    /// Keeps the sealed payload of a version.
    PutBody {
        object: ObjectId,
        version: VersionNumber,
        sealed: Sealed,
    },
    /// Keeps the data key of a version's payload under another term, in place of the one before.
    PutKey {
        object: ObjectId,
        version: VersionNumber,
        key: WrappedKey,
    },
    /// Forgets the payload of a version.
    DeleteBody {
        object: ObjectId,
        version: VersionNumber,
    },
}
