//! The dispatcher's loop: routes changes to the nodes concerned, notices silence of nodes and managers.

use super::{
    GRACE, LOST, Shared,
    sessions::{End, Session},
    silences::Silences,
};
use crate::{
    kit::id::{NodeId, TaskId},
    model::{
        command::Command,
        node::{Node, NodeState, NodeStatus},
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
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval},
};

/// How often deadlines are looked at; a small part of any sensible heartbeat.
const TICK: Duration = Duration::from_millis(250);
/// How often we make sure that a majority of the managers is there.
const PROBE: Duration = Duration::from_secs(1);

/// What the loop knows.
struct Loop {
    shared: Arc<Shared>,
    leading_since: Option<Instant>,
    /// When a majority was last there.
    touched: Instant,
    probe_at: Instant,
    /// The probe under way, at most one.
    probes: FuturesUnordered<BoxFuture<'static, Probe>>,
    /// The node of each task; a deleted task no longer says it.
    placed: BTreeMap<TaskId, NodeId>,
    /// Nodes of this manager that are not here, and how long they may take.
    awaited: BTreeMap<NodeId, Instant>,
    /// Nodes of another manager that is gone or silent, and since when; kept by the leader.
    strays: BTreeMap<NodeId, Stray>,
    /// By Raft id, the other managers that are silent, and since when; kept by the leader.
    silent: BTreeMap<u64, Instant>,
    silences: Silences,
    /// Reports on their way. A report that fails is made again when the node's row or the next tick asks for it.
    reports: FuturesUnordered<BoxFuture<'static, NodeId>>,
    reporting: BTreeSet<NodeId>,
}

/// What a probe found.
struct Probe {
    began: Instant,
    reached: bool,
    /// For how long each other manager has been silent, by Raft id; asked by the leader.
    silences: Option<BTreeMap<u64, Option<Duration>>>,
}

struct Stray {
    manager: NodeId,
    since: Instant,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let mut leadership = shared.raft.leadership();
    let mut changes = shared.raft.changes();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let mut it = Loop {
        shared,
        leading_since: None,
        touched: now,
        probe_at: now,
        probes: FuturesUnordered::new(),
        placed: BTreeMap::new(),
        awaited: BTreeMap::new(),
        strays: BTreeMap::new(),
        silent: BTreeMap::new(),
        silences: Silences::default(),
        reports: FuturesUnordered::new(),
        reporting: BTreeSet::new(),
    };
    it.lead(leadership.borrow_and_update().is_leading());
    it.take_up();
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
            _ = tick.tick() => it.tick(Instant::now()),
            Some(probe) = it.probes.next() => it.probed(probe),
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

    fn is_in_touch(&self) -> bool {
        self.in_touch.load(Ordering::Relaxed)
    }

    /// Whether a manager that is in touch speaks for this node: the one that had its session last, or for a node that
    /// never had one the leader.
    fn is_ours(&self, node: &Node, leading: bool) -> bool {
        node.status.dispatcher.map_or(leading, |manager| manager == self.node)
    }
}

impl Loop {
    fn lead(&mut self, leading: bool) {
        if self.leading_since.is_some() == leading {
            return;
        }
        self.leading_since = leading.then(Instant::now);
        self.strays.clear();
        self.silences = Silences::default();
        if leading {
            self.take_up();
        }
    }

    /// Nobody tells us who was here before: whoever was gets twice the usual time to come back.
    fn take_up(&mut self) {
        let until = Instant::now() + self.shared.heartbeat() * GRACE * 2;
        let state = self.shared.raft.state();
        for node in state.nodes() {
            let ours = self.shared.is_ours(node, self.leading_since.is_some());
            if !ours || self.shared.sessions.get(node.id).is_some() {
                continue;
            }
            match node.status.state {
                NodeState::Ready | NodeState::Unknown | NodeState::Disconnected => {
                    self.awaited.entry(node.id).or_insert(until);
                }
                NodeState::Down => {}
            }
            if node.status.state == NodeState::Ready {
                self.report(node, NodeState::Unknown, "not heard of since its manager started");
            }
        }
        self.resync();
    }

    fn tick(&mut self, now: Instant) {
        if self.probes.is_empty() && self.probe_at <= now {
            self.probe_at = now + PROBE;
            let raft = self.shared.raft.clone();
            let leading = self.leading_since.is_some();
            self.probes.push(Box::pin(async move {
                let reached = raft.linear().await.is_ok();
                let contacts = if leading { raft.contacts().await.ok() } else { None };
                let silences = contacts.map(|contacts| {
                    contacts.into_iter().map(|(id, contact)| (id, contact.silent)).collect()
                });
                Probe { began: now, reached, silences }
            }));
        }
        self.expire(now);
    }

    fn probed(&mut self, probe: Probe) {
        let Probe { began, reached, silences } = probe;
        self.silent = match silences.filter(|_| self.leading_since.is_some()) {
            Some(silences) => self.silences.lost(silences, Instant::now()),
            None => BTreeMap::new(),
        };
        if reached {
            self.touched = began;
            if !self.shared.in_touch.swap(true, Ordering::Relaxed) {
                tracing::info!("in touch with the cluster again: nodes may come back");
                self.take_up();
            }
        } else if self.touched.elapsed() > LOST
            && self.shared.in_touch.swap(false, Ordering::Relaxed)
        {
            tracing::warn!("lost touch with the cluster: sending the nodes to other managers");
            self.shared.end_all();
            self.awaited.clear();
            self.strays.clear();
        }
    }

    /// Looks at everything anew.
    fn resync(&mut self) {
        let state = self.shared.raft.state();
        self.placed =
            state.tasks().filter_map(|task| task.node.map(|node| (task.id, node))).collect();
        for session in self.shared.sessions.all() {
            if state.member(session.node()).is_none() {
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
                    // The newest state: the row in an older change may still name the manager before us.
                    let state = self.shared.raft.state();
                    let sessions = &self.shared.sessions;
                    // What a manager is called concerns everyone.
                    let told = if node.manager.is_some() {
                        sessions.all()
                    } else {
                        sessions.get(node.id).into_iter().collect()
                    };
                    for session in told {
                        self.keep_ready(&state, &session);
                    }
                }
                Change::Put(Entity::Cluster(_)) => {
                    let state = self.shared.raft.state();
                    for session in self.shared.sessions.all() {
                        self.keep_ready(&state, &session);
                    }
                }
                Change::Delete(Key::Node(id)) => {
                    self.shared.cut_off(*id);
                    self.awaited.remove(id);
                    self.strays.remove(id);
                }
                Change::Put(
                    Entity::Object(_)
                    | Entity::Service(_)
                    | Entity::Answered(_)
                    | Entity::Remnant(_)
                    | Entity::Destroyed(_),
                )
                | Change::Delete(
                    Key::Object(_)
                    | Key::Service(_)
                    | Key::Answered(_)
                    | Key::Remnant(_)
                    | Key::Destroyed(_)
                    | Key::Cluster,
                )
                | Change::PutBody { .. }
                | Change::PutKey { .. }
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

    /// Tells an agent what is new about it. A node that is here is ready, whatever an older report said, unless it has
    /// turned to another manager.
    fn keep_ready(&mut self, state: &State, session: &Arc<Session>) {
        let Some(node) = state.node_by_id(session.node()) else { return };
        if node.has_left() {
            return self.shared.cut_off(node.id);
        }
        if session.is_over() {
            return;
        }
        if let Some(other) = node.status.dispatcher.filter(|manager| *manager != self.shared.node) {
            tracing::info!(node = %node.id, session = %session.id(), manager = %other, "session ended: the node is with another manager");
            session.end(End::Replaced);
            self.shared.logs.session_over(session);
            return;
        }
        session.refresh(state, self.shared.heartbeat());
        let told = node.status.state == NodeState::Ready && node.status.dispatcher.is_some();
        if self.shared.is_in_touch() && !told {
            let status = session.ready(self.shared.node, self.shared.clock.now());
            self.propose(node.id, status, node.status.dispatcher);
        }
    }

    fn expire(&mut self, now: Instant) {
        let grace = self.shared.heartbeat() * GRACE;
        for session in self.shared.sessions.expire(now) {
            let why = session.why();
            tracing::warn!(node = %session.node(), session = %session.id(), ?why, "session ended");
            self.shared.logs.session_over(&session);
            // One that was only too slow is heard from again at once.
            let grace = match why {
                Some(End::Silent) => Duration::ZERO,
                Some(End::Replaced | End::Removed | End::Slow | End::Moved) | None => grace,
            };
            self.awaited.insert(session.node(), now + grace);
        }
        if !self.shared.is_in_touch() {
            return;
        }
        let due: Vec<_> =
            self.awaited.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        let state = self.shared.raft.state();
        for id in due {
            let here = self.shared.sessions.get(id).is_some();
            let missing = state.node_by_id(id).filter(|node| {
                !here
                    && node.status.state != NodeState::Down
                    && self.shared.is_ours(node, self.leading_since.is_some())
            });
            match missing {
                Some(node) => self.report(node, NodeState::Down, "heartbeat failure"),
                None => drop(self.awaited.remove(&id)),
            }
        }
        // A report that was lost: the node is here and its row does not say so.
        for session in self.shared.sessions.all() {
            self.keep_ready(&state, &session);
        }
        if let Some(leading_since) = self.leading_since {
            self.find_strays(&state, leading_since, now, grace);
        }
    }

    /// The leader speaks for managers that cannot: their nodes are down unless they turn to another in time.
    fn find_strays(
        &mut self,
        state: &State,
        leading_since: Instant,
        now: Instant,
        grace: Duration,
    ) {
        for node in state.nodes() {
            let with = node.status.dispatcher.filter(|manager| *manager != self.shared.node);
            let lost = with.filter(|_| node.status.state != NodeState::Down).and_then(|manager| {
                Some(Stray { manager, since: self.lost_since(state, manager, now)? })
            });
            let Some(Stray { manager, since }) = lost else {
                self.strays.remove(&node.id);
                continue;
            };
            let stray = self.strays.entry(node.id).or_insert(Stray { manager, since });
            if stray.manager != manager {
                *stray = Stray { manager, since };
            }
            if now.duration_since(stray.since.max(leading_since)) > grace {
                let why = "its manager is gone or silent, and it has not turned to another";
                self.report(node, NodeState::Down, why);
            }
        }
    }

    /// Since when a manager does not speak for its nodes; nothing while it does.
    fn lost_since(&self, state: &State, manager: NodeId, now: Instant) -> Option<Instant> {
        match state.node_by_id(manager).and_then(|node| node.manager.as_ref()) {
            Some(manager) => self.silent.get(&manager.raft_id).copied(),
            None => Some(now),
        }
    }

    /// Reports a state of a node that is not here, unless it has turned to another manager meanwhile.
    fn report(&mut self, node: &Node, state: NodeState, message: &str) {
        let NodeStatus { state: _, message: _, addr, at: _, dispatcher } = node.status.clone();
        let at = self.shared.clock.now();
        let message = message.to_owned();
        self.propose(node.id, NodeStatus { state, message, addr, at, dispatcher }, dispatcher);
    }

    /// Proposes a report; one at a time for each node, so that they arrive in order.
    fn propose(&mut self, node: NodeId, status: NodeStatus, held_by: Option<NodeId>) {
        if !self.reporting.insert(node) {
            return;
        }
        let raft = self.shared.raft.clone();
        self.reports.push(Box::pin(async move {
            let state = status.state;
            let command = Command::ReportNode { id: node, description: None, status, held_by };
            if let Err(error) = raft.propose(None, command).await {
                tracing::warn!(%node, %state, %error, "cannot report the node's state");
            }
            node
        }));
    }
}
