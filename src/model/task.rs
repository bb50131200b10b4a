//! A task: one instance of a service on one node, whose state only ever moves forward.

use super::{
    Labels, Meta,
    object::{Kind, VersionNumber},
    service::TaskSpec,
};
use crate::kit::{
    clock::Timestamp,
    id::{NodeId, ObjectId, ServiceId, TaskId},
    name::{ObjectName, ServiceName},
};
use std::{fmt, sync::Arc};

/// Where a task stands. The order is the order of life; a report of an earlier state is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    New,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    /// Ended by itself with exit status 0.
    Complete,
    /// Ended because it was asked to.
    Shutdown,
    /// Ended by itself with another status, or died.
    Failed,
    /// Could not be started at all.
    Rejected,
    /// Only as a desired state: stop it, then forget it.
    Remove,
    /// Its node has been gone for so long that nobody can know.
    Orphaned,
}

impl TaskState {
    /// Whether the task will never run again.
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }

    /// Every state, in the order of life.
    pub const ALL: [Self; 14] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Shutdown,
        Self::Failed,
        Self::Rejected,
        Self::Remove,
        Self::Orphaned,
    ];

    /// Reads what [`fmt::Display`] writes, whatever the case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.to_string().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        })
    }
}

/// What the node saw of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub state: TaskState,
    pub at: Timestamp,
    /// One word on what happened: `assigned`, `preparing`, `started`.
    pub message: String,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// The runtime's id of the container, empty until there is one.
    pub container_id: String,
    /// 0 until there is one.
    pub pid: u32,
    pub exit_code: Option<i32>,
}

impl TaskStatus {
    /// A status that says no more than where the task stands and in one phrase how it came there.
    pub fn new(state: TaskState, at: Timestamp, message: impl Into<String>) -> Self {
        Self {
            state,
            at,
            message: message.into(),
            error: String::new(),
            container_id: String::new(),
            pid: 0,
            exit_code: None,
        }
    }
}

/// The exact version of an object that a task was given when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectVersion {
    pub object: ObjectId,
    pub version: VersionNumber,
}

/// A version with its object's kind and name, for when the object itself is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payload {
    pub kind: Kind,
    pub name: ObjectName,
    pub version: ObjectVersion,
}

/// What a task that was deleted may have left on its node, which has not confirmed yet that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remnant {
    pub task: TaskId,
    pub node: NodeId,
    pub service_name: ServiceName,
    /// When the task ended.
    pub since: Timestamp,
    pub payloads: Vec<Payload>,
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub meta: Meta,
    pub service: ServiceId,
    pub service_name: ServiceName,
    /// The service's labels when the task was made; stacks list their tasks by them.
    pub service_labels: Labels,
    /// 1..=replicas; 0 for a global service.
    pub slot: u64,
    /// The node it runs on, once one is chosen.
    pub node: Option<NodeId>,
    pub spec: Arc<TaskSpec>,
    /// `Service::spec_index` of the spec it was made from.
    pub spec_index: u64,
    /// The versions its references stand for, in the order of `spec.references`.
    pub versions: Vec<ObjectVersion>,
    pub desired: TaskState,
    pub status: TaskStatus,
    /// When it was first seen running.
    pub started_at: Option<Timestamp>,
    /// It has ended, and its node has confirmed that none of its payloads is left there, neither as file nor in memory.
    pub wiped: bool,
}

impl Task {
    /// `<service>.<slot>.<task id>`, or the node's id in place of the slot for a global service.
    pub fn name(&self) -> String {
        format!("{}.{}.{}", self.service_name, self.place(), self.id)
    }

    /// `<service>.<slot>`, as `service ps` shows it.
    pub fn short_name(&self) -> String {
        format!("{}.{}", self.service_name, self.place())
    }

    fn place(&self) -> String {
        match (self.slot, self.node) {
            (0, Some(node)) => node.to_string(),
            (slot, _) => slot.to_string(),
        }
    }

    /// Orders the tasks of one slot by when they were made; the store sees to it that no two were made at once.
    pub fn age_key(&self) -> (Timestamp, u64, TaskId) {
        (self.meta.created_at, self.spec_index, self.id)
    }

    /// Whether its node may get its payloads: assigned there, and not seen to have ended.
    pub fn holds_payloads(&self) -> bool {
        self.node.is_some()
            && (TaskState::Assigned..=TaskState::Running).contains(&self.status.state)
    }

    /// Whether its node must be given its payloads: it may have to be made there. A task that is to end never is.
    pub fn needs_payloads(&self) -> bool {
        self.holds_payloads() && self.desired < TaskState::Shutdown
    }

    /// Whether payloads of it may be on its node: from its assignment until the node has confirmed that they are gone.
    pub fn may_be_held(&self) -> bool {
        self.node.is_some()
            && self.status.state >= TaskState::Assigned
            && !self.versions.is_empty()
            && !self.wiped
    }

    /// What it was given, by kind and name.
    pub fn payloads(&self) -> impl Iterator<Item = Payload> + '_ {
        self.spec.references.iter().zip(&self.versions).map(|(reference, version)| Payload {
            kind: reference.kind,
            name: reference.name.clone(),
            version: *version,
        })
    }
}
