//! The dispatcher's loop: routes changes to the nodes concerned, notices silence, follows leadership.

use super::{
    GRACE, Shared,
    sessions::{End, Session},
};
use crate::{
    kit::id::{NodeId, TaskId},
    model::{
        command::Command,
        node::{NodeState, NodeStatus},
    },
    raft::Changes,
    store::{Change, Entity, Key, State},
};
use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often deadlines are looked at; a small part of any sensible heartbeat.
const TICK: Duration = Duration::from_millis(250);

/// What the loop knows.
struct Loop {
    shared: Arc<Shared>,
    leading: bool,
    /// The node of each task; a deleted task no longer says it.
    placed: BTreeMap<TaskId, NodeId>,
    /// Nodes not heard of since this manager leads, and how long they may take.
    awaited: BTreeMap<NodeId, Instant>,
    /// Reports on their way. A report that fails is made again when the node's row or the next tick asks for it.
    reports: FuturesUnordered<BoxFuture<'static, NodeId>>,
    reporting: BTreeSet<NodeId>,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let mut leadership = shared.raft.leadership();
    let mut changes = shared.raft.changes();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut it = Loop {
        shared,
        leading: false,
        placed: BTreeMap::new(),
        awaited: BTreeMap::new(),
        reports: FuturesUnordered::new(),
        reporting: BTreeSet::new(),
    };
    it.lead(leadership.borrow_and_update().is_leading());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = leadership.changed() => {
                if changed.is_err() {
                    break;
                }
                let leading = leadership.borrow_and_update().is_leading();
                it.lead(leading);
            }
            change = changes.recv() => match change {
                Ok(changes) => it.route(&changes),
                Err(RecvError::Lagged(_)) => it.resync(),
                Err(RecvError::Closed) => break,
            },
            _ = tick.tick() => it.expire(Instant::now()),
            Some(node) = it.reports.next() => {
                it.reporting.remove(&node);
            }
        }
    }
    it.shared.end_all();
}

impl Shared {
    fn end_all(&self) {
        for session in self.sessions.end_all(End::Moved) {
            self.logs.session_over(&session);
        }
    }

    /// Cuts off a node that is no member any more.
    fn cut_off(&self, node: NodeId) {
        if let Some(session) = self.sessions.end(node, End::Removed) {
            tracing::info!(%node, session = %session.id(), "session ended: the node was removed");
            self.logs.session_over(&session);
        }
    }
}

impl Loop {
    fn lead(&mut self, leading: bool) {
        if self.leading == leading {
            return;
        }
        self.leading = leading;
        if !leading {
            self.shared.end_all();
            self.awaited.clear();
            return;
        }
        // Nobody tells a new leader who was here: whoever was gets twice the usual time to come back.
        let until = Instant::now() + self.shared.heartbeat() * GRACE * 2;
        let state = self.shared.raft.state();
        for node in state.nodes() {
            match node.status.state {
                NodeState::Ready | NodeState::Unknown | NodeState::Disconnected => {
                    self.awaited.insert(node.id, until);
                }
                NodeState::Down => {}
            }
            if node.status.state == NodeState::Ready && self.shared.sessions.get(node.id).is_none()
            {
                self.report(node.id, NodeState::Unknown, "not heard of since the leader changed");
            }
        }
        self.resync();
    }

    /// Looks at everything anew.
    fn resync(&mut self) {
        let state = self.shared.raft.state();
        self.placed =
            state.tasks().filter_map(|task| task.node.map(|node| (task.id, node))).collect();
        for session in self.shared.sessions.all() {
            if state.node_by_id(session.node()).is_none() {
                self.shared.cut_off(session.node());
                continue;
            }
            if let Some(mailbox) = session.mailbox() {
                mailbox.post_all();
            }
            self.keep_ready(&state, &session);
        }
    }

    fn route(&mut self, changes: &Changes) {
        if changes.replaced {
            return self.resync();
        }
        for change in &changes.changes {
            match change {
                Change::Put(Entity::Task(task)) => {
                    let before = match task.node {
                        Some(node) => self.placed.insert(task.id, node),
                        None => self.placed.remove(&task.id),
                    };
                    for node in
                        task.node.into_iter().chain(before.filter(|b| Some(*b) != task.node))
                    {
                        self.post(node, task.id);
                    }
                }
                Change::Delete(Key::Task(id)) => {
                    if let Some(node) = self.placed.remove(id) {
                        self.post(node, *id);
                    }
                }
                Change::Put(Entity::Node(node)) => {
                    let sessions = &self.shared.sessions;
                    // What a manager is called concerns everyone.
                    let told = if node.manager.is_some() {
                        sessions.all()
                    } else {
                        sessions.get(node.id).into_iter().collect()
                    };
                    for session in told {
                        self.keep_ready(&changes.state, &session);
                    }
                }
                Change::Put(Entity::Cluster(_)) => {
                    for session in self.shared.sessions.all() {
                        self.keep_ready(&changes.state, &session);
                    }
                }
                Change::Delete(Key::Node(id)) => {
                    self.shared.cut_off(*id);
                    self.awaited.remove(id);
                }
                Change::Put(Entity::Object(_) | Entity::Service(_) | Entity::Answered(_))
                | Change::Delete(
                    Key::Object(_) | Key::Service(_) | Key::Answered(_) | Key::Cluster,
                )
                | Change::PutBody { .. }
                | Change::DeleteBody { .. } => {}
            }
        }
    }

    fn post(&self, node: NodeId, task: TaskId) {
        let mailbox = self.shared.sessions.get(node).and_then(|session| session.mailbox());
        if let Some(mailbox) = mailbox {
            mailbox.post(task);
        }
    }

    /// Tells an agent what is new about it. A node that is here is ready, whatever an older report said.
    fn keep_ready(&mut self, state: &State, session: &Arc<Session>) {
        session.refresh(state, self.shared.heartbeat());
        let seen = state.node_by_id(session.node()).map(|node| node.status.state);
        let here = !session.is_over() && self.leading;
        if here && seen.is_some_and(|seen| seen != NodeState::Ready) {
            self.propose(session.node(), session.ready(self.shared.clock.now()));
        }
    }

    fn expire(&mut self, now: Instant) {
        for session in self.shared.sessions.expire(now) {
            let why = session.why();
            tracing::warn!(node = %session.node(), session = %session.id(), ?why, "session ended");
            self.shared.logs.session_over(&session);
            // One that was only too slow is heard from again at once.
            let grace = match why {
                Some(End::Silent) => Duration::ZERO,
                Some(End::Replaced | End::Removed | End::Slow | End::Moved) | None => {
                    self.shared.heartbeat() * GRACE
                }
            };
            self.awaited.insert(session.node(), now + grace);
        }
        if !self.leading {
            return;
        }
        let due: Vec<_> =
            self.awaited.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        let state = self.shared.raft.state();
        for id in due {
            let seen = state.node_by_id(id).map(|node| node.status.state);
            let here = self.shared.sessions.get(id).is_some();
            if here || seen.is_none_or(|seen| seen == NodeState::Down) {
                self.awaited.remove(&id);
            } else {
                self.report(id, NodeState::Down, "heartbeat failure");
            }
        }
        // A report that was lost: the node is here and its row does not say so.
        for session in self.shared.sessions.all() {
            self.keep_ready(&state, &session);
        }
    }

    fn report(&mut self, node: NodeId, state: NodeState, message: &str) {
        let at = self.shared.clock.now();
        let addr = self.shared.raft.state().node_by_id(node).map(|node| node.status.addr.clone());
        let addr = addr.unwrap_or_default();
        self.propose(
            node,
            NodeStatus { state, message: message.to_owned(), addr, at, dispatcher: None },
        );
    }

    /// Proposes a report; one at a time for each node, so that they arrive in order.
    fn propose(&mut self, node: NodeId, status: NodeStatus) {
        if !self.reporting.insert(node) {
            return;
        }
        let raft = self.shared.raft.clone();
        self.reports.push(Box::pin(async move {
            let state = status.state;
            let command =
                Command::ReportNode { id: node, description: None, status, held_by: None };
            if let Err(error) = raft.propose(None, command).await {
                tracing::warn!(%node, %state, %error, "cannot report the node's state");
            }
            node
        }));
    }
}
