//! What starts a task: the Docker Engine, or a sandboxed process. Both sit behind [`Runtime`].

pub mod docker;
pub mod process;
mod turns;

use crate::{
    crypto::plaintext::Plaintext,
    kit::{clock::Timestamp, id::TaskId},
    model::{Labels, reference::Reference, task::Task},
};
use futures::stream::BoxStream;
use std::{sync::Arc, time::Duration};

/// What a runtime says of its engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineInfo {
    /// Empty for the process runtime.
    pub version: String,
    pub labels: Labels,
}

/// One file a task must find at its reference's target.
#[derive(Debug, Clone)]
pub struct File {
    pub reference: Reference,
    pub payload: Arc<Plaintext>,
}

/// Everything needed to start a task.
#[derive(Debug, Clone)]
pub struct Order {
    pub task: Arc<Task>,
    pub files: Vec<File>,
}

/// A task's container as the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub task: TaskId,
    pub container: ContainerState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    Running {
        container_id: String,
        pid: u32,
    },
    Ended(Exit),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 128 + signal if a signal ended it.
    pub code: i32,
    /// What the runtime adds: `killed by signal 9`, `out of memory`; else empty.
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// One line a task wrote, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub output: Output,
    pub line: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    pub follow: bool,
    /// Only this many last lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub stdout: bool,
    pub stderr: bool,
}

/// Why a runtime could not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine does not answer; trying again later makes sense.
    #[error("the container engine does not answer: {0}")]
    Unreachable(String),
    /// This task cannot run here: image missing, user unknown, target not mountable. Goes to `service ps` as it is.
    #[error("{0}")]
    Rejected(String),
    /// There is no such task here.
    #[error("no such task on this node")]
    Gone,
    #[error("{0}")]
    Other(String),
}

/// Starts, watches and ends tasks. Every call may be repeated; each is safe after a restart of the agent.
#[async_trait::async_trait]
pub trait Runtime: std::fmt::Debug + Send + Sync + 'static {
    /// `docker` or `process`.
    fn name(&self) -> &'static str;

    /// Asks the engine about itself.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;

    /// All containers of ours, running or ended, for re-adoption after a restart.
    async fn held(&self) -> Result<Vec<Held>, RuntimeError>;

    /// Makes the container with all its files in place, not yet running. A container that is there already stays.
    async fn create(&self, order: &Order) -> Result<(), RuntimeError>;

    /// Starts what was created. No process of the task has run before.
    async fn start(&self, task: TaskId) -> Result<ContainerState, RuntimeError>;

    /// Waits until the task's process has ended.
    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError>;

    /// Asks the process to end, kills it after `grace`, and waits for the end.
    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Exit, RuntimeError>;

    /// Takes away the files of a task that has ended, and keeps its output.
    async fn wipe(&self, task: TaskId) -> Result<(), RuntimeError>;

    /// Removes the container, its output and whatever is left. A task that is not there counts as removed.
    async fn remove(&self, task: TaskId) -> Result<(), RuntimeError>;

    /// The task's output, oldest first.
    async fn logs(
        &self,
        task: TaskId,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError>;
}
