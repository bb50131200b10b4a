//! The output of tasks on its way from agents to operators: who asks for what, and who answers.
//!
//! An operator's call has a [`LogReader`]; each task it wants is a subscription, told to the task's node over its
//! session. The agent answers with one `PublishLogs` call, whose lines go straight to the reader, no faster than it reads.
//! For a node that is with another manager, the reader reads what that one relays.

use super::{
    Member, Shared,
    sessions::{Session, Sessions, lock},
};
use crate::{
    kit::id::{NodeId, SessionId, TaskId},
    wire::v1::{self, session_response::Event},
};
use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Status, Streaming};

/// Messages that wait for one reader; the agent waits when it is full …
const WAITING: usize = 64;
/// … or when they take so many bytes: what a node puts into a message is for that node to choose.
const BYTES: u32 = 4 * 1024 * 1024;
/// Bytes that are kept of why a node has no more to say.
const WHY: usize = 4096;

/// Brings readers and nodes together.
#[derive(Debug, Clone)]
pub struct LogBroker(Arc<Broker>);

#[derive(Debug)]
struct Broker {
    sessions: Arc<Sessions>,
    subscriptions: Mutex<Subscriptions>,
}

#[derive(Debug, Default)]
struct Subscriptions {
    readers: u64,
    made: u64,
    by_id: BTreeMap<String, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    reader: u64,
    node: NodeId,
    /// The session it was told to; with that it ends.
    session: SessionId,
    task: TaskId,
    events: Events,
    lost: Arc<Lost>,
    /// An agent has begun to answer.
    answered: bool,
}

/// Subscriptions whose node went away; kept apart because nobody waits for room in the reader's queue.
#[derive(Debug, Default)]
struct Lost {
    tasks: Mutex<Vec<(TaskId, LogEnd)>>,
    wake: Notify,
}

/// What a reader hears.
#[derive(Debug)]
pub enum LogEvent {
    Lines {
        task: TaskId,
        lines: Vec<v1::LogLine>,
    },
    /// Nothing more comes of this task.
    End {
        task: TaskId,
        why: LogEnd,
    },
}

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEnd {
    /// That was all.
    Done,
    /// The node has no more to say, for this reason.
    Failed(String),
    /// The way to the node is cut. It makes sense to ask again.
    Lost(String),
}

/// One operator's call. Dropping it tells the nodes to stop.
pub struct LogReader {
    broker: LogBroker,
    id: u64,
    events: Events,
    receiver: mpsc::Receiver<Waiting>,
    lost: Arc<Lost>,
    /// What other managers relay.
    relayed: SelectAll<BoxStream<'static, LogEvent>>,
}

/// The way to a reader, bounded in messages and in bytes.
#[derive(Debug, Clone)]
struct Events {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// An event that waits for its reader, and the room it takes.
#[derive(Debug)]
struct Waiting {
    event: LogEvent,
    _room: OwnedSemaphorePermit,
}

impl Events {
    /// Waits for room; returns whether somebody still reads.
    async fn send(&self, task: TaskId, lines: Vec<v1::LogLine>) -> bool {
        let bytes = lines.capacity() * size_of::<v1::LogLine>()
            + lines.iter().map(|line| line.line.capacity()).sum::<usize>();
        let bytes = u32::try_from(bytes).unwrap_or(BYTES).min(BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.expect("never closed");
        let waiting = Waiting { event: LogEvent::Lines { task, lines }, _room: room };
        self.queue.send(waiting).await.is_ok()
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LogBroker {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Self(Arc::new(Broker { sessions, subscriptions: Mutex::default() }))
    }

    pub fn reader(&self) -> LogReader {
        let (queue, receiver) = mpsc::channel(WAITING);
        let room = usize::try_from(BYTES).expect("32 bits fit");
        let events = Events { queue, room: Arc::new(Semaphore::new(room)) };
        let mut subscriptions = lock(&self.0.subscriptions);
        subscriptions.readers += 1;
        let id = subscriptions.readers;
        drop(subscriptions);
        let (lost, relayed) = Default::default();
        LogReader { broker: self.clone(), id, events, receiver, lost, relayed }
    }

    /// Asks a node for a task's output. Returns whether the node is here to be asked.
    pub fn subscribe(
        &self,
        reader: &LogReader,
        node: NodeId,
        task: TaskId,
        options: &v1::LogOptions,
    ) -> bool {
        let Some(session) = self.0.sessions.get(node) else { return false };
        let mut subscriptions = lock(&self.0.subscriptions);
        subscriptions.made += 1;
        let id = subscriptions.made.to_string();
        let subscription = Subscription {
            reader: reader.id,
            node,
            session: session.id(),
            task,
            events: reader.events.clone(),
            lost: Arc::clone(&reader.lost),
            answered: false,
        };
        subscriptions.by_id.insert(id.clone(), subscription);
        drop(subscriptions);
        let told = session.tell(Event::Logs(v1::LogSubscription {
            id: id.clone(),
            task_id: task.to_string(),
            options: Some(*options),
            close: false,
        }));
        // Whoever ended the session meanwhile may have ended its subscriptions before there was this one.
        if !told || session.is_over() {
            lock(&self.0.subscriptions).by_id.remove(&id);
            return false;
        }
        true
    }

    /// Ends what was asked for in a session that is over.
    pub(super) fn session_over(&self, session: &Session) {
        let mut subscriptions = lock(&self.0.subscriptions);
        let gone: Vec<_> =
            subscriptions.by_id.extract_if(.., |_, s| s.session == session.id()).collect();
        drop(subscriptions);
        for (_, Subscription { node, task, lost, .. }) in gone {
            lost.add(task, broke(node));
        }
    }

    /// Takes a subscription for answering; once only.
    fn answer(&self, id: &str, node: NodeId) -> Option<(TaskId, Events)> {
        let mut subscriptions = lock(&self.0.subscriptions);
        let subscription = subscriptions.by_id.get_mut(id).filter(|s| s.node == node)?;
        if std::mem::replace(&mut subscription.answered, true) {
            return None;
        }
        Some((subscription.task, subscription.events.clone()))
    }

    /// Ends a subscription; says why only if it was not ended otherwise.
    fn end(&self, id: &str, why: LogEnd) {
        let ended = lock(&self.0.subscriptions).by_id.remove(id);
        if let Some(Subscription { task, lost, .. }) = ended {
            lost.add(task, why);
        }
    }
}

impl Lost {
    fn add(&self, task: TaskId, why: LogEnd) {
        lock(&self.tasks).push((task, why));
        self.wake.notify_one();
    }

    fn take(&self) -> Option<LogEvent> {
        let mut tasks = lock(&self.tasks);
        if tasks.is_empty() {
            return None;
        }
        let (task, why) = tasks.remove(0);
        Some(LogEvent::End { task, why })
    }
}

fn broke(node: NodeId) -> LogEnd {
    LogEnd::Lost(format!("the connection to node {node} broke"))
}

impl LogReader {
    /// Reads also what comes here, up to an end.
    pub fn add(&mut self, relayed: BoxStream<'static, LogEvent>) {
        self.relayed.push(relayed);
    }

    /// Waits for the next event. What a task wrote comes before its end.
    pub async fn next(&mut self) -> LogEvent {
        loop {
            if let Ok(waiting) = self.receiver.try_recv() {
                return waiting.event;
            }
            if let Some(end) = self.lost.take() {
                return end;
            }
            tokio::select! {
                waiting = self.receiver.recv() => {
                    if let Some(waiting) = waiting {
                        return waiting.event;
                    }
                }
                event = self.relayed.next(), if !self.relayed.is_empty() => {
                    if let Some(event) = event {
                        return event;
                    }
                }
                () = self.lost.wake.notified() => {}
            }
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.broker.0.subscriptions);
        let ours: Vec<_> = subscriptions.by_id.extract_if(.., |_, s| s.reader == self.id).collect();
        drop(subscriptions);
        for (id, Subscription { node, task, .. }) in ours {
            if let Some(session) = self.broker.0.sessions.get(node) {
                session.tell(Event::Logs(v1::LogSubscription {
                    id,
                    task_id: task.to_string(),
                    options: None,
                    close: true,
                }));
            }
        }
    }
}

/// Ends the subscription when the agent's call ends, however it ends.
struct Ending<'a> {
    broker: &'a LogBroker,
    id: String,
    why: LogEnd,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.broker.end(&self.id, std::mem::replace(&mut self.why, LogEnd::Done));
    }
}

/// Passes an agent's lines on until it has no more or nobody reads them; neither is an error.
pub(super) async fn take(
    shared: &Shared,
    member: &Member,
    mut stream: Streaming<v1::PublishLogsRequest>,
) -> Result<(), Status> {
    let first = stream.message().await?;
    let Some(mut message) = first else { return Ok(()) };
    let session = shared.session(member, &message.session_id)?;
    let unknown = || Status::aborted("nobody asked for these lines, or they came already");
    let id = message.subscription_id.clone();
    let (task, events) = shared.logs.answer(&id, session.node()).ok_or_else(unknown)?;
    let mut ending = Ending { broker: &shared.logs, id, why: broke(session.node()) };
    loop {
        let v1::PublishLogsRequest { session_id: _, subscription_id: _, lines, mut error } =
            message;
        if !lines.is_empty() {
            tokio::select! {
                read = events.send(task, lines) => {
                    if !read {
                        return Ok(());
                    }
                }
                () = events.queue.closed() => return Ok(()),
                why = session.over() => return Err(why),
            }
        }
        if !error.is_empty() {
            error.truncate(error.floor_char_boundary(WHY));
            ending.why = LogEnd::Failed(error);
            return Ok(());
        }
        message = tokio::select! {
            next = stream.message() => match next? {
                Some(next) => next,
                None => {
                    ending.why = LogEnd::Done;
                    return Ok(());
                }
            },
            () = events.queue.closed() => return Ok(()),
            why = session.over() => return Err(why),
        };
    }
}
