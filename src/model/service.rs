//! A service: what its tasks run, how many, where, and how they are replaced.

use super::{Labels, Meta, constraint::Constraint, reference::Reference};
use crate::kit::{clock::Timestamp, id::ServiceId, name::ServiceName};
use std::{fmt, time::Duration};

/// How many tasks a service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// This many, at most `kit::limits::REPLICAS`.
    Replicated { replicas: u64 },
    /// One on every node that fits.
    Global,
}

/// When a task that ended is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartCondition {
    None,
    OnFailure,
    Any,
}

/// How ended tasks are followed by new ones (Swarm's fields and defaults).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    pub condition: RestartCondition,
    pub delay: Duration,
    /// 0: no limit.
    pub max_attempts: u64,
    /// 0: attempts count for ever.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay: Duration::from_secs(5),
            max_attempts: 0,
            window: Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    Pause,
    Continue,
    /// Only in an update, never in a rollback.
    Rollback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateOrder {
    StopFirst,
    StartFirst,
}

/// How a change of the spec (or a rollback) reaches the tasks (Swarm's fields and defaults).
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateConfig {
    /// Tasks replaced at once; 0: all.
    pub parallelism: u64,
    pub delay: Duration,
    pub failure_action: FailureAction,
    pub monitor: Duration,
    /// Acts when the share of failed tasks is above this, 0.0 to 1.0.
    pub max_failure_ratio: f64,
    pub order: UpdateOrder,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: Duration::from_secs(5),
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// What a task needs or may use; 0 means unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    pub limit_nano_cpus: u64,
    pub limit_memory_bytes: u64,
    /// Limit of processes and threads.
    pub limit_pids: u64,
    pub reserve_nano_cpus: u64,
    pub reserve_memory_bytes: u64,
}

/// Where tasks may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    pub constraints: Vec<Constraint>,
    /// `spread` descriptors, as `node.labels.zone`.
    pub preferences: Vec<String>,
    /// 0: no limit.
    pub max_replicas_per_node: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A named volume of the engine; an anonymous one without source.
    Volume,
    /// Memory, gone with the task. Size in bytes, 0: half of memory.
    Tmpfs { size: u64, mode: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of the task published on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub target: u16,
    /// 0: the engine picks one.
    pub published: u16,
    pub protocol: Protocol,
}

/// A command that tells whether a task is well (Docker's fields; zero durations and retries mean the engine's default).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    pub test: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub retries: u64,
}

/// What one task runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// The image; the process runtime accepts any name and does not look at it.
    pub image: String,
    /// Replaces the image's entry point; empty: the image's own.
    pub command: Vec<String>,
    /// Arguments; empty: the image's own.
    pub args: Vec<String>,
    /// `KEY=VALUE`, or `KEY` alone for an empty value; unique keys.
    pub env: Vec<String>,
    pub labels: Labels,
    pub dir: String,
    /// `user[:group]`, numbers or names; empty: the image's.
    pub user: String,
    pub groups: Vec<String>,
    pub hostname: String,
    pub tty: bool,
    pub read_only: bool,
    pub init: Option<bool>,
    /// Empty: the image's, else SIGTERM.
    pub stop_signal: String,
    /// Unset: 10 s.
    pub stop_grace: Option<Duration>,
    pub mounts: Vec<Mount>,
    pub healthcheck: Option<Healthcheck>,
    /// `HOST:IP` lines for the container's hosts file.
    pub hosts: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
}

/// Default time between asking a task to stop and killing it.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Everything a task gets from its service; two equal ones need no replacement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSpec {
    pub container: ContainerSpec,
    pub references: Vec<Reference>,
    pub resources: Resources,
    pub restart: RestartPolicy,
    pub placement: Placement,
    pub ports: Vec<Port>,
    /// Raised to replace tasks although nothing else changed.
    pub force_update: u64,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    pub labels: Labels,
    pub task: TaskSpec,
    pub mode: Mode,
    /// Unset: the defaults.
    pub update: Option<UpdateConfig>,
    /// Unset: the defaults.
    pub rollback: Option<UpdateConfig>,
}

/// The label that ties services, secrets and configs to their stack.
pub const STACK_LABEL: &str = "com.docker.stack.namespace";

/// A service as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub id: ServiceId,
    pub meta: Meta,
    pub spec: ServiceSpec,
    /// The `meta.index` at which the present spec came; tasks carry the one they were made from.
    pub spec_index: u64,
    /// What a rollback would return to; its references count as use.
    pub previous: Option<ServiceSpec>,
    /// How far the present spec has reached the tasks; unset as long as no task had to be replaced for it.
    pub update: Option<UpdateStatus>,
}

/// Where a rolling update or rollback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

impl UpdateState {
    /// Whether tasks are being replaced.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Updating | Self::RollbackStarted)
    }

    /// Whether it waits for the operator.
    pub fn is_paused(self) -> bool {
        matches!(self, Self::Paused | Self::RollbackPaused)
    }

    /// Whether the service is on its way back, or came back.
    pub fn is_rollback(self) -> bool {
        matches!(self, Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted)
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Updating => "updating",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::RollbackStarted => "rollback_started",
            Self::RollbackPaused => "rollback_paused",
            Self::RollbackCompleted => "rollback_completed",
        })
    }
}

/// A rolling update or rollback, as `service inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateStatus {
    pub state: UpdateState,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// `update in progress`, or why it paused.
    pub message: String,
}

impl Service {
    /// The stack it belongs to, if any.
    pub fn stack(&self) -> Option<&str> {
        self.spec.labels.get(STACK_LABEL).map(String::as_str)
    }
}
