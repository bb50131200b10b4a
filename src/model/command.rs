//! What the log carries: commands that already hold their ids, their time and their sealed payloads.

use super::{
    Labels,
    cluster::Cluster,
    node::{Availability, Node, NodeDescription, NodeStatus},
    object::{Kind, VersionNumber},
    refusal::Refusal,
    service::ServiceSpec,
    task::{Task, TaskState, TaskStatus},
};
use crate::{
    crypto::seal::Sealed,
    kit::{
        clock::Timestamp,
        id::{ClientId, NodeId, ObjectId, ServiceId, TaskId},
        name::ObjectName,
    },
};

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
    /// The leader's orchestration; all or nothing is not needed, each change stands for itself.
    ChangeTasks {
        changes: Vec<TaskChange>,
    },
    /// What a node says of itself and how the dispatcher sees it.
    ReportNode {
        id: NodeId,
        description: Option<NodeDescription>,
        status: NodeStatus,
    },
    SetNode {
        id: NodeId,
        index: Option<u64>,
        availability: Availability,
        labels: Labels,
    },
}

/// One change to one task. A change to a task that is gone, or backwards, does nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskChange {
    /// Versions are filled in when it is applied: the newest ones then, for references that ask for the latest.
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
}

/// What a command that was carried out gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Object { id: ObjectId, version: VersionNumber },
    Service { id: ServiceId },
}

/// What became of a command.
pub type Outcome = Result<Answer, Refusal>;
