//! The output of a service's tasks, gathered from the nodes they ran on.

use super::{ControlService, watch::until};
use crate::{
    kit::id::{NodeId, ServiceId, TaskId},
    manager::dispatcher::{LogBroker, LogEvent, LogReader},
    model::{
        node::NodeState,
        refusal::{Refusal, RefusalKind},
        task::{Task, TaskState},
    },
    raft::{Changes, Raft},
    store::{Change, Entity, Key, State},
    wire::v1,
};
use futures::stream::{self, BoxStream, StreamExt};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::broadcast::{self, error::RecvError};
use tonic::Status;

type Answer = Result<v1::ServiceLogsResponse, Status>;

impl ControlService {
    pub(super) async fn read_logs(
        &self,
        request: v1::ServiceLogsRequest,
    ) -> Result<BoxStream<'static, Answer>, Status> {
        let v1::ServiceLogsRequest { reference, options } = request;
        let options = options.unwrap_or_default();
        let changes = self.raft.changes();
        let state = self.newest().await?;
        // A service first, then a task, as `docker service logs` does.
        let (service, tasks) = match state.service(&reference) {
            Ok(service) => (Some(service.id), state.tasks_of(service.id).cloned().collect()),
            Err(refusal) if refusal.kind == RefusalKind::NotFound => {
                let Ok(task) = state.task(&reference) else {
                    return Err(Refusal::not_found(format!(
                        "no such task or service: {reference}"
                    ))
                    .into());
                };
                (None, vec![task.clone()])
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let mut reading = Reading {
            raft: self.raft.clone(),
            here: self.node,
            changes: (options.follow && service.is_some()).then_some(changes),
            service,
            broker: self.logs.clone(),
            reader: self.logs.reader(),
            options,
            tasks: BTreeMap::new(),
            ready: VecDeque::new(),
        };
        let mut tasks: Vec<Arc<Task>> = tasks;
        tasks.sort_by_key(|task| (task.meta.created_at, task.id));
        for task in &tasks {
            reading.begin(task);
        }
        Ok(until(self.stop.clone(), stream::unfold(reading, Reading::next)).boxed())
    }
}

struct Reading {
    raft: Raft,
    /// This manager.
    here: NodeId,
    /// Only while following a service: new tasks join in.
    changes: Option<broadcast::Receiver<Arc<Changes>>>,
    service: Option<ServiceId>,
    broker: LogBroker,
    reader: LogReader,
    options: v1::LogOptions,
    /// Every task that was asked for; `true` while its output goes on.
    tasks: BTreeMap<TaskId, (Header, bool)>,
    /// Warnings that wait to be sent.
    ready: VecDeque<v1::ServiceLogsResponse>,
}

/// What stands beside each line.
#[derive(Clone)]
struct Header {
    task: TaskId,
    node: NodeId,
    service_name: String,
    slot: u64,
}

impl Header {
    fn answer(&self, lines: Vec<v1::LogLine>, warning: String) -> v1::ServiceLogsResponse {
        v1::ServiceLogsResponse {
            task_id: self.task.to_string(),
            node_id: self.node.to_string(),
            service_name: self.service_name.clone(),
            slot: self.slot,
            lines,
            warning,
        }
    }
}

impl Reading {
    /// Asks the task's node for its output, once; a task that never reached a node has none.
    fn begin(&mut self, task: &Task) {
        let Some(node) = task.node else { return };
        if task.status.state < TaskState::Starting || self.tasks.contains_key(&task.id) {
            return;
        }
        let header = Header {
            task: task.id,
            node,
            service_name: task.service_name.to_string(),
            slot: task.slot,
        };
        let asked = self.broker.subscribe(&self.reader, node, task.id, &self.options);
        if !asked {
            let warning = self.unasked(node);
            self.ready.push_back(header.answer(Vec::new(), warning));
        }
        self.tasks.insert(task.id, (header, asked));
    }

    /// Why a node could not be asked.
    fn unasked(&self, node: NodeId) -> String {
        let state = self.raft.state();
        let status = state.node_by_id(node).map(|node| &node.status);
        let with = status.filter(|status| status.state == NodeState::Ready);
        match with.and_then(|status| status.dispatcher).filter(|manager| *manager != self.here) {
            Some(other) => {
                let manager = state.node_by_id(other);
                let name = manager.map_or("unknown", |node| &node.description.hostname);
                format!(
                    "node {node} is connected to manager {other} ({name}); ask for its output there"
                )
            }
            None => format!("node {node} is not connected"),
        }
    }

    async fn next(mut self) -> Option<(Answer, Self)> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some((Ok(answer), self));
            }
            if self.changes.is_none() && self.tasks.values().all(|(_, open)| !open) {
                return None;
            }
            let heard = tokio::select! {
                event = self.reader.next() => Heard::Event(event),
                change = change(&mut self.changes) => Heard::Change(change),
            };
            match heard {
                Heard::Event(event) => self.event(event),
                Heard::Change(Ok(changes)) => self.changed(&changes),
                Heard::Change(Err(RecvError::Lagged(_))) => {
                    let state = self.raft.state();
                    self.look(&state);
                }
                Heard::Change(Err(RecvError::Closed)) => return None,
            }
        }
    }

    fn event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Lines { task, lines } => {
                if let Some((header, _)) = self.tasks.get(&task) {
                    self.ready.push_back(header.answer(lines, String::new()));
                }
            }
            LogEvent::End { task, why } => {
                if let Some((header, open)) = self.tasks.get_mut(&task) {
                    *open = false;
                    if !why.is_empty() {
                        self.ready.push_back(header.answer(Vec::new(), why));
                    }
                }
            }
        }
    }

    fn changed(&mut self, changes: &Changes) {
        if changes.replaced {
            return self.look(&changes.state);
        }
        for change in &changes.changes {
            match change {
                Change::Put(Entity::Task(task)) if Some(task.service) == self.service => {
                    self.begin(task);
                }
                Change::Delete(Key::Service(id)) if Some(*id) == self.service => {
                    self.changes = None;
                }
                Change::Put(_)
                | Change::Delete(_)
                | Change::PutBody { .. }
                | Change::DeleteBody { .. } => {}
            }
        }
    }

    fn look(&mut self, state: &State) {
        let Some(service) = self.service else { return };
        if state.service_by_id(service).is_none() {
            self.changes = None;
        }
        let tasks: Vec<_> = state.tasks_of(service).cloned().collect();
        for task in &tasks {
            self.begin(task);
        }
    }
}

enum Heard {
    Event(LogEvent),
    Change(Result<Arc<Changes>, RecvError>),
}

async fn change(
    changes: &mut Option<broadcast::Receiver<Arc<Changes>>>,
) -> Result<Arc<Changes>, RecvError> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}
