//! The output of a service's tasks, gathered from the nodes they ran on, whichever manager those are connected to.
//!
//! Who follows is told when the way to a node is cut, and reads on where it was cut once the node is back.

use super::{ControlService, watch::until};
use crate::{
    kit::id::{NodeId, ServiceId, TaskId},
    manager::dispatcher::{LogBroker, LogEnd, LogEvent, LogReader, LogRelay},
    model::{
        node::NodeState,
        refusal::{Refusal, RefusalKind},
        task::{Task, TaskState},
    },
    raft::{Changes, Member, Raft},
    store::{Change, Entity, Key, State},
    wire::v1,
};
use futures::stream::{self, BoxStream, StreamExt};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until},
};
use tonic::Status;

/// How often a node that could not be asked is asked again, for one who follows.
const AGAIN: Duration = Duration::from_secs(1);

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
            relay: LogRelay::new(Arc::clone(&self.peers)),
            options,
            tasks: BTreeMap::new(),
            ready: VecDeque::new(),
            again: Instant::now() + AGAIN,
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
    relay: LogRelay,
    options: v1::LogOptions,
    /// Every task that was asked for.
    tasks: BTreeMap<TaskId, Source>,
    /// What waits to be sent.
    ready: VecDeque<v1::ServiceLogsResponse>,
    /// When nodes are asked again.
    again: Instant,
}

/// One task's output.
struct Source {
    header: Header,
    phase: Phase,
    read: Read,
    /// It was said that its node cannot be asked.
    warned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// For a node that could not be asked.
    Waiting,
    Over,
}

/// How far a task's output was read: with that, it can be read on from there.
#[derive(Debug, Default)]
struct Read {
    /// When the last line was written, …
    at_ms: Option<i64>,
    /// … how many lines of that moment were read, …
    lines: usize,
    /// … and how many of them are still to come a second time.
    again: usize,
}

impl Read {
    /// Asks for what is missing.
    fn on(&mut self, options: v1::LogOptions) -> v1::LogOptions {
        self.again = self.lines;
        match self.at_ms {
            Some(at) => v1::LogOptions { since_ms: Some(at), tail: None, ..options },
            None => options,
        }
    }

    /// Takes note of lines, and leaves out those that were read before.
    fn new_of(&mut self, mut lines: Vec<v1::LogLine>) -> Vec<v1::LogLine> {
        lines.retain(|line| {
            let last = self.at_ms == Some(line.at_ms);
            if last && self.again > 0 {
                self.again -= 1;
                return false;
            }
            if last {
                self.lines += 1;
            } else if self.at_ms.is_none_or(|at| at < line.at_ms) {
                *self = Self { at_ms: Some(line.at_ms), lines: 1, again: 0 };
            }
            true
        });
        lines
    }
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
        let read = Read::default();
        self.tasks.insert(task.id, Source { header, phase: Phase::Open, read, warned: false });
        if !self.ask(task.id) {
            self.cut(task.id, format!("node {node} is not connected"));
        }
    }

    /// Asks a task's node, if that is with some manager. Returns whether it is.
    fn ask(&mut self, task: TaskId) -> bool {
        let Some(Source { header, phase, read, warned: _ }) = self.tasks.get_mut(&task) else {
            return false;
        };
        let node = header.node;
        let options = read.on(self.options);
        if !self.broker.subscribe(&self.reader, node, task, &options) {
            let Some(manager) = elsewhere(&self.raft.state(), node, self.here) else {
                return false;
            };
            self.reader.add(self.relay.ask(manager, node, task, options));
        }
        *phase = Phase::Open;
        true
    }

    /// Asks the nodes again that could not be asked. What cannot come any more is over.
    fn ask_again(&mut self) {
        self.again = Instant::now() + AGAIN;
        let state = self.raft.state();
        let waiting = |(task, source): (&TaskId, &Source)| {
            (source.phase == Phase::Waiting).then_some((*task, source.header.node))
        };
        let waiting: Vec<_> = self.tasks.iter().filter_map(waiting).collect();
        for (id, node) in waiting {
            let node = state.node_by_id(node);
            let up = node.is_some_and(|node| node.status.state == NodeState::Ready);
            let ended = state.task_by_id(id).is_none_or(|task| task.status.state.is_terminal());
            let hopeless = node.is_none() || (ended && !up);
            if hopeless && let Some(source) = self.tasks.get_mut(&id) {
                source.phase = Phase::Over;
            } else {
                self.ask(id);
            }
        }
    }

    /// The way to a task's node is cut, or was not there.
    fn cut(&mut self, task: TaskId, mut why: String) {
        let Some(source) = self.tasks.get_mut(&task) else { return };
        source.phase = if self.options.follow { Phase::Waiting } else { Phase::Over };
        if self.options.follow {
            why.push_str("; waiting for it to come back");
        }
        if !std::mem::replace(&mut source.warned, true) {
            self.ready.push_back(source.header.answer(Vec::new(), why));
        }
    }

    async fn next(mut self) -> Option<(Answer, Self)> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some((Ok(answer), self));
            }
            if self.changes.is_none() && self.tasks.values().all(|t| t.phase == Phase::Over) {
                return None;
            }
            let waits = self.tasks.values().any(|task| task.phase == Phase::Waiting);
            let heard = tokio::select! {
                event = self.reader.next() => Heard::Event(event),
                change = change(&mut self.changes) => Heard::Change(change),
                () = sleep_until(self.again), if waits => Heard::Pause,
            };
            match heard {
                Heard::Event(event) => self.event(event),
                Heard::Pause => self.ask_again(),
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
                if let Some(source) = self.tasks.get_mut(&task) {
                    source.warned = false;
                    let lines = source.read.new_of(lines);
                    if !lines.is_empty() {
                        self.ready.push_back(source.header.answer(lines, String::new()));
                    }
                }
            }
            LogEvent::End { task, why: LogEnd::Lost(why) } => self.cut(task, why),
            LogEvent::End { task, why: why @ (LogEnd::Done | LogEnd::Failed(_)) } => {
                if let Some(source) = self.tasks.get_mut(&task) {
                    source.phase = Phase::Over;
                    if let LogEnd::Failed(why) = why {
                        self.ready.push_back(source.header.answer(Vec::new(), why));
                    }
                }
            }
        }
    }

    fn changed(&mut self, changes: &Changes) {
        if changes.replaced {
            return self.look(&self.raft.state());
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
                | Change::PutKey { .. }
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

/// The other manager that a node is with.
fn elsewhere(state: &State, node: NodeId, here: NodeId) -> Option<Member> {
    let status = &state.node_by_id(node)?.status;
    let id = status.dispatcher.filter(|id| *id != here && status.state == NodeState::Ready)?;
    let addr = state.node_by_id(id)?.manager.as_ref()?.addr.clone();
    Some(Member { node: id, addr })
}

enum Heard {
    Event(LogEvent),
    Pause,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(at: &[i64]) -> Vec<v1::LogLine> {
        at.iter().map(|at_ms| v1::LogLine { at_ms: *at_ms, ..v1::LogLine::default() }).collect()
    }

    #[test]
    fn who_reads_on_gets_every_line_once() {
        let options = v1::LogOptions { follow: true, tail: Some(3), ..Default::default() };
        let mut read = Read::default();
        assert_eq!(read.on(options), options, "nothing came: everything is asked for again");
        assert_eq!(read.new_of(lines(&[1, 2, 2])).len(), 3);
        let rest = v1::LogOptions { since_ms: Some(2), tail: None, ..options };
        assert_eq!(read.on(rest), rest);
        assert_eq!(read.new_of(lines(&[2])), []);
        assert_eq!(read.new_of(lines(&[2, 2, 3])), lines(&[2, 3]), "one of that moment is new");
        assert_eq!(read.on(rest).since_ms, Some(3));
        assert_eq!(read.new_of(lines(&[3, 3])), lines(&[3]));
        // Cut again before anything new came.
        read.on(rest);
        assert_eq!(read.new_of(lines(&[3, 3, 4])), lines(&[4]));
    }
}
