//! Tasks and references as tests need them, and a runtime that only pretends.

use super::runtime::{
    ContainerState, EngineInfo, Exit, Held, LogLine, LogOptions, Order, Output, Runtime,
    RuntimeError,
};
use crate::{
    kit::{
        clock::Timestamp,
        id::{ObjectId, ServiceId, TaskId},
    },
    model::{
        Labels, Meta,
        object::Kind,
        reference::{OnChange, Reference, Target, VersionPick},
        service::{ContainerSpec, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
};
use futures::{StreamExt, stream, stream::BoxStream};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

pub(crate) fn reference(kind: Kind, name: &str, target: &str) -> Reference {
    Reference {
        kind,
        object: ObjectId::random(),
        name: name.parse().unwrap(),
        version: VersionPick::Latest,
        target: Target::parse(kind, target).unwrap(),
        uid: None,
        gid: None,
        mode: None,
        on_change: OnChange::Keep,
    }
}

/// Task 1 of a service of that name, assigned and wanted running.
pub(crate) fn task(service: &str) -> Task {
    Task {
        id: TaskId::random(),
        meta: Meta::default(),
        service: ServiceId::random(),
        service_name: service.parse().unwrap(),
        service_labels: Labels::new(),
        slot: 1,
        node: None,
        spec: Arc::new(TaskSpec {
            container: ContainerSpec { image: "secretd-test:1".to_owned(), ..Default::default() },
            ..Default::default()
        }),
        spec_index: 1,
        versions: Vec::new(),
        desired: TaskState::Running,
        status: TaskStatus {
            state: TaskState::Assigned,
            at: Timestamp(0),
            message: "assigned".to_owned(),
            error: String::new(),
            container_id: String::new(),
            pid: 0,
            exit_code: None,
        },
        started_at: None,
        wiped: false,
    }
}

/// A runtime whose containers live in memory. What happens depends on the task's image: `missing` is rejected, `slow`
/// never finishes being made, `broken` does not start.
#[derive(Debug, Clone)]
pub(crate) struct FakeRuntime(Arc<watch::Sender<Fake>>);

#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) containers: BTreeMap<TaskId, FakeContainer>,
    /// The engine does not answer.
    pub(crate) down: bool,
    /// Files cannot be taken away.
    pub(crate) unwipable: bool,
    /// What was asked, in order: `create`, `start`, …
    pub(crate) calls: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeContainer {
    pub(crate) state: ContainerState,
    /// Sizes of its files.
    pub(crate) files: Vec<usize>,
    /// How often its process was started.
    pub(crate) starts: u32,
    image: String,
}

impl FakeRuntime {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Fake) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|fake| result = Some(change(fake)));
        result.unwrap()
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Fake) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Waits until that is so.
    pub(crate) async fn until(&self, mut is_so: impl FnMut(&Fake) -> bool) {
        let mut changes = self.0.subscribe();
        let wait = changes.wait_for(|fake| is_so(fake));
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time").unwrap();
    }

    /// Ends the task's process.
    pub(crate) fn exit(&self, task: TaskId, code: i32) {
        let ended = ContainerState::Ended(Exit { code, note: String::new() });
        self.change(|fake| fake.containers.get_mut(&task).unwrap().state = ended);
    }

    fn ask(&self, call: &'static str) -> Result<(), RuntimeError> {
        self.change(|fake| {
            fake.calls.push(call);
            if fake.down { Err(RuntimeError::Unreachable("it is down".into())) } else { Ok(()) }
        })
    }
}

#[async_trait::async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo { version: "1".into(), labels: Labels::new() })
    }

    async fn held(&self) -> Result<Vec<Held>, RuntimeError> {
        self.ask("held")?;
        Ok(self.look(|fake| {
            fake.containers
                .iter()
                .map(|(task, c)| Held { task: *task, container: c.state.clone() })
                .collect()
        }))
    }

    async fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        self.ask("create")?;
        let image = order.task.spec.container.image.clone();
        match image.as_str() {
            "missing" => return Err(RuntimeError::Rejected("No such image: missing".into())),
            "slow" => std::future::pending().await,
            _ => {}
        }
        let files = order.files.iter().map(|f| f.payload.len()).collect();
        let made = FakeContainer { state: ContainerState::Created, files, starts: 0, image };
        self.change(|fake| drop(fake.containers.entry(order.task.id).or_insert(made).clone()));
        Ok(())
    }

    async fn start(&self, task: TaskId) -> Result<ContainerState, RuntimeError> {
        self.ask("start")?;
        self.change(|fake| {
            let container = fake.containers.get_mut(&task).ok_or(RuntimeError::Gone)?;
            if container.image == "broken" {
                return Err(RuntimeError::Rejected("exec format error".into()));
            }
            if container.state == ContainerState::Created {
                container.starts += 1;
                container.state = ContainerState::Running { container_id: "c1".into(), pid: 42 };
            }
            Ok(container.state.clone())
        })
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        self.ask("wait")?;
        let mut changes = self.0.subscribe();
        loop {
            match changes.borrow_and_update().containers.get(&task).map(|c| c.state.clone()) {
                None => return Err(RuntimeError::Gone),
                Some(ContainerState::Ended(exit)) => return Ok(exit),
                Some(ContainerState::Created | ContainerState::Running { .. }) => {}
            }
            changes.changed().await.unwrap();
        }
    }

    async fn stop(&self, task: TaskId, _grace: Duration) -> Result<Exit, RuntimeError> {
        self.ask("stop")?;
        self.change(|fake| {
            let container = fake.containers.get_mut(&task).ok_or(RuntimeError::Gone)?;
            let exit = match &container.state {
                ContainerState::Created => Exit { code: 0, note: "never started".into() },
                ContainerState::Running { .. } => Exit { code: 143, note: String::new() },
                ContainerState::Ended(exit) => exit.clone(),
            };
            container.state = ContainerState::Ended(exit.clone());
            Ok(exit)
        })
    }

    async fn wipe(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.ask("wipe")?;
        self.change(|fake| {
            if fake.unwipable {
                return Err(RuntimeError::Other("the file is immutable".into()));
            }
            if let Some(container) = fake.containers.get_mut(&task) {
                container.files.clear();
            }
            Ok(())
        })
    }

    async fn remove(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.ask("remove")?;
        self.change(|fake| {
            if fake.unwipable {
                return Err(RuntimeError::Other("the file is immutable".into()));
            }
            fake.containers.remove(&task);
            Ok(())
        })
    }

    async fn logs(
        &self,
        task: TaskId,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        self.ask("logs")?;
        self.look(|fake| fake.containers.get(&task).map(drop)).ok_or(RuntimeError::Gone)?;
        let line = |text: &str| {
            Ok(LogLine { at: Timestamp(7), output: Output::Stdout, line: text.as_bytes().to_vec() })
        };
        let lines = stream::iter([line("one"), line("two")]);
        Ok(if options.follow { lines.chain(stream::pending()).boxed() } else { lines.boxed() })
    }
}
