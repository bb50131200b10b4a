//! The sessions of all nodes: who is here, until when a heartbeat is due, and what each has to be told.

use super::{GRACE, Member, Shared, answers};
use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, SessionId, TaskId},
        task::Stop,
    },
    manager::descriptions,
    model::{
        command::Command,
        node::{CertificateStatus, Node, NodeState, NodeStatus},
        sightings::check_session,
    },
    pki::KeyId,
    raft::ProposeError,
    store::State,
    wire::{
        status::{removed, status},
        v1,
    },
};
use futures::stream::{self, BoxStream, StreamExt};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tonic::{Code, Status};

/// Events that wait for one agent; one that falls further behind has to open its session again.
const EVENTS: usize = 256;

/// The present session of each node.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<NodeId, Arc<Session>>>);

/// One agent's session.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    node: NodeId,
    /// As it was seen when the session began.
    addr: String,
    events: mpsc::Sender<v1::SessionResponse>,
    deadline: Mutex<Instant>,
    ended: Stop,
    why: OnceLock<End>,
    mailbox: Mutex<Option<Arc<Mailbox>>>,
    /// What the agent was told of itself and of the managers.
    told: Mutex<v1::SessionState>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The node has opened another.
    Replaced,
    /// The node is no member any more.
    Removed,
    /// No heartbeat in time.
    Silent,
    /// The agent does not take what it is told.
    Slow,
    /// This manager stops, or has lost the cluster.
    Moved,
}

/// What an `Assignments` stream has to look at.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    dirty: Mutex<Dirty>,
    wake: Notify,
    /// Another stream has taken its place.
    pub(super) closed: Stop,
}

/// Tasks that changed since the stream last looked.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) all: bool,
    pub(super) tasks: BTreeSet<TaskId>,
}

impl Mailbox {
    pub(super) fn post(&self, task: TaskId) {
        lock(&self.dirty).tasks.insert(task);
        self.wake.notify_one();
    }

    pub(super) fn post_all(&self) {
        lock(&self.dirty).all = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to look at.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }

    pub(super) fn take(&self) -> Dirty {
        std::mem::take(&mut *lock(&self.dirty))
    }
}

impl Session {
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Takes note of a heartbeat; the next is due within `grace`.
    pub(super) fn heard(&self, grace: Duration) {
        *lock(&self.deadline) = Instant::now() + grace;
    }

    pub(super) fn end(&self, why: End) {
        // The first reason counts.
        let _: Result<(), End> = self.why.set(why);
        self.ended.cancel();
    }

    /// Why it ended, if it has.
    pub(super) fn why(&self) -> Option<End> {
        self.why.get().copied()
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for the end and says why, as the agent hears it.
    pub(super) async fn over(&self) -> Status {
        self.ended.cancelled().await;
        match self.why().unwrap_or(End::Moved) {
            End::Removed => removed(self.node),
            End::Replaced => status(Code::Aborted, "the node has opened another session", None),
            End::Silent => status(Code::Aborted, "no heartbeat came in time", None),
            End::Slow => status(Code::Aborted, "the agent does not keep up", None),
            End::Moved => out_of_touch(),
        }
    }

    /// Tells the agent something; one that does not keep up loses its session. Returns whether it was told.
    pub(super) fn tell(&self, event: v1::session_response::Event) -> bool {
        match self.events.try_send(v1::SessionResponse { event: Some(event) }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end(End::Slow);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Opens a new mailbox with everything to be looked at, and closes the one before.
    pub(super) fn open_mailbox(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.post_all();
        if let Some(old) = lock(&self.mailbox).replace(Arc::clone(&mailbox)) {
            old.closed.cancel();
        }
        mailbox
    }

    pub(super) fn mailbox(&self) -> Option<Arc<Mailbox>> {
        lock(&self.mailbox).clone()
    }

    /// Tells the agent what has changed about itself or the managers, if anything has.
    pub(super) fn refresh(&self, state: &State, heartbeat: Duration) {
        let Some(now) = self.present(state, heartbeat) else { return };
        let mut told = lock(&self.told);
        if stable(&told) == stable(&now) {
            return;
        }
        *told = now.clone();
        drop(told);
        self.tell(v1::session_response::Event::State(now));
    }

    fn present(&self, state: &State, heartbeat: Duration) -> Option<v1::SessionState> {
        let node: &Node = state.node_by_id(self.node)?;
        let manager = |node: &Arc<Node>| {
            let addr = node.manager.as_ref()?.addr.clone();
            Some(v1::ManagerAddr { node_id: node.id.to_string(), addr })
        };
        Some(v1::SessionState {
            session_id: self.id.to_string(),
            node: Some(node.into()),
            managers: state.nodes().filter_map(manager).collect(),
            ca_certificates: state.cluster().map(|it| it.roots()).unwrap_or_default(),
            heartbeat: Some((&heartbeat).into()),
        })
    }

    /// The report that the node is here, with `manager`.
    pub(super) fn ready(&self, manager: NodeId, at: Timestamp) -> NodeStatus {
        NodeStatus {
            state: NodeState::Ready,
            message: String::new(),
            addr: self.addr.clone(),
            at,
            dispatcher: Some(manager),
        }
    }
}

/// Without what changes with every report of the node itself.
fn stable(state: &v1::SessionState) -> v1::SessionState {
    let mut state = state.clone();
    if let Some(node) = &mut state.node {
        node.meta = None;
        node.status = None;
        node.description = None;
    }
    state
}

impl Sessions {
    pub(super) fn get(&self, node: NodeId) -> Option<Arc<Session>> {
        lock(&self.0).get(&node).filter(|session| !session.is_over()).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.0).values().cloned().collect()
    }

    /// Makes this the node's session; ends and returns the one before.
    fn put(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        let old = lock(&self.0).insert(session.node, session)?;
        old.end(End::Replaced);
        Some(old)
    }

    /// Forgets a session, unless another has taken its place.
    fn forget(&self, session: &Session) {
        let mut sessions = lock(&self.0);
        if sessions.get(&session.node).is_some_and(|present| present.id == session.id) {
            sessions.remove(&session.node);
        }
    }

    /// Ends, forgets and returns a node's session.
    pub(super) fn end(&self, node: NodeId, why: End) -> Option<Arc<Session>> {
        let session = lock(&self.0).remove(&node)?;
        session.end(why);
        Some(session)
    }

    /// Ends, forgets and returns all sessions.
    pub(super) fn end_all(&self, why: End) -> Vec<Arc<Session>> {
        let all: Vec<_> = std::mem::take(&mut *lock(&self.0)).into_values().collect();
        for session in &all {
            session.end(why);
        }
        all
    }

    /// Ends, forgets and returns those whose heartbeat is overdue, and those that ended for another reason.
    pub(super) fn expire(&self, now: Instant) -> Vec<Arc<Session>> {
        let late: Vec<_> = lock(&self.0)
            .values()
            .filter(|session| session.is_over() || *lock(&session.deadline) <= now)
            .cloned()
            .collect();
        for session in &late {
            session.end(End::Silent);
            self.forget(session);
        }
        late
    }
}

/// What a node hears that is to turn to another manager.
pub(super) fn out_of_touch() -> Status {
    status(
        Code::Unavailable,
        "this manager stops, or has lost the cluster",
        Some("turn to another manager".to_owned()),
    )
}

/// Registers the node as ready and returns its stream of events.
pub(super) async fn open(
    shared: &Arc<Shared>,
    member: &Member,
    description: Option<v1::NodeDescription>,
    process: u64,
) -> Result<BoxStream<'static, Result<v1::SessionResponse, Status>>, Status> {
    let node = member.peer.node;
    let description = descriptions::read(description).inspect_err(|error| {
        tracing::warn!(%node, addr = member.addr, %error, "refused what a node says of itself");
    })?;
    // A removed node must not slip in on a state that is old.
    let linear = shared.raft.linear().await.map_err(|error| answers::read(&error))?;
    let Some(row) = linear.state().member(node).cloned() else {
        return Err(shared.stranger(member));
    };
    let shown = member.peer.shown();
    let refuse = |refusal| shared.copies.refuse(&row, &member.peer, &member.addr, refusal);
    if let Err(refusal) = check_session(&row, &shown, process, shared.clock.now()) {
        return Err(refuse(refusal).await);
    }
    let (hostname, said) = (&row.description.hostname, &description.hostname);
    if !hostname.is_empty() && hostname != said && row.renamed.as_ref() != Some(said) {
        tracing::warn!(
            %node, addr = member.addr, hostname, said,
            "a node gives itself another host name than it joined with, which counts for nothing"
        );
    }
    note_certificate(shared, linear.state(), member).await?;
    let heartbeat = shared.heartbeat();
    let (events, receiver) = mpsc::channel(EVENTS);
    let session = Arc::new(Session {
        id: SessionId::random(),
        node,
        addr: member.addr.clone(),
        events,
        deadline: Mutex::new(Instant::now() + heartbeat * GRACE),
        ended: Stop::new(),
        why: OnceLock::new(),
        mailbox: Mutex::new(None),
        told: Mutex::new(v1::SessionState::default()),
    });
    let status = session.ready(shared.node, shared.clock.now());
    let command = Command::OpenSession { id: node, description, status, shown, process };
    match shared.raft.propose(None, command).await {
        Ok(_) => {}
        Err(ProposeError::Refused(refusal)) => return Err(refuse(refusal).await),
        Err(error) => return Err(answers::proposed(error)),
    }
    if let Some(old) = shared.sessions.put(Arc::clone(&session)) {
        shared.logs.session_over(&old);
    }
    // From here on the run loop ends the session when it must; what was to end it may have come in between.
    let state = shared.raft.state();
    let why = match state.node_by_id(node) {
        // Whether it was removed is for a confirmed state to say.
        None => Some(End::Moved),
        Some(row) if row.has_left() => Some(End::Removed),
        Some(row) if row.status.dispatcher != Some(shared.node) => Some(End::Replaced),
        Some(_) => shared.check_touch().err().map(|_| End::Moved),
    };
    if let Some(why) = why {
        session.end(why);
        shared.sessions.forget(&session);
        return Err(session.over().await);
    }
    session.refresh(&state, heartbeat);
    tracing::info!(%node, session = %session.id, "session opened");
    let stream = Events { session, receiver, over: false };
    Ok(stream::unfold(stream, Events::next).boxed())
}

/// While the CA is being replaced, notes that a node shows a certificate of the new one: it surely has it.
async fn note_certificate(shared: &Shared, state: &State, member: &Member) -> Result<(), Status> {
    let Some(cluster) = state.cluster().filter(|cluster| cluster.rotation.is_some()) else {
        return Ok(());
    };
    let peer = &member.peer;
    let Some(node) = state.node_by_id(peer.node) else { return Ok(()) };
    let Some(present) = &node.certificate else { return Ok(()) };
    let moved = cluster.has_moved(node);
    if moved || peer.issuer.is_none() || peer.issuer != KeyId::of(&cluster.ca_certificate) {
        return Ok(());
    }
    // Of which of its two certificates it is does not matter here.
    let issuer = cluster.ca_digest();
    let certificate = CertificateStatus { issuer, shown: true, ..present.clone() };
    let command = Command::NoteCertificate { id: peer.node, certificate, shown: None };
    shared.raft.propose(None, command).await.map_err(answers::proposed)?;
    tracing::info!(node = %peer.node, "the node has moved to the new CA");
    Ok(())
}

struct Events {
    session: Arc<Session>,
    receiver: mpsc::Receiver<v1::SessionResponse>,
    over: bool,
}

impl Events {
    async fn next(mut self) -> Option<(Result<v1::SessionResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        let event = tokio::select! {
            biased;
            why = self.session.over() => Err(why),
            event = self.receiver.recv() => Ok(event?),
        };
        self.over = event.is_err();
        Some((event, self))
    }
}

/// Locks; what is behind these locks is whole at every moment, so a panic elsewhere does not spoil it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
