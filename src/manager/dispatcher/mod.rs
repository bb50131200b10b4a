//! Gives each worker its work: sessions, heartbeats, assignments with their payloads, reports, logs. On every manager.
//!
//! A node has one session, with any manager; its row names that manager, which alone tells of the node's silence. For
//! a manager that is silent itself the leader speaks. A manager that has lost the cluster sends its nodes to others.
//!
//! Who calls is read from the certificate of the very connection, and every call asks again whether that node is still
//! a member. [`DispatcherService`] answers the calls; its [`run`](DispatcherService::run) hears of changes and silence:
//!
//! ```text
//! raft.changes() ─▶ run ─▶ the mailbox of each node concerned ─▶ its Assignments stream ─▶ agent
//!                    └──▶ its Session stream                 heartbeats ─▶ deadlines ─▶ node down
//! ```

mod assignments;
mod holding;
mod logs;
mod relay;
mod reports;
mod run;
mod sessions;
mod silences;

pub use logs::{LogBroker, LogEnd, LogEvent, LogReader};
pub use relay::{LogRelay, RelayService};

use super::{answers, copies::Copies};
use crate::{
    crypto::{keychain::Keychain, transit::Offer},
    kit::{clock::Clock, id::NodeId, limits::MESSAGE_SIZE, task::Stop},
    model::cluster::GRACE,
    model::{node::Node, sightings::check_key},
    pki::{Conn, Peer},
    raft::Raft,
    wire::{
        status::{removed, status},
        v1::{self, dispatcher_server::DispatcherServer, peer_server::PeerServer},
    },
};
use assignments::Flow;
use futures::stream::{self, BoxStream, StreamExt};
use sessions::{Session, Sessions};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tonic::{Code, Request, Response, Status, Streaming};

/// Heartbeats are asked for within a period that differs by up to a tenth, so that nodes do not beat in step.
const JITTER: f64 = 0.1;
/// A manager that did not reach the cluster for this long sends its nodes elsewhere, and the leader speaks for them.
const LOST: Duration = Duration::from_secs(5);

/// Serves `Dispatcher`. Clones share everything.
#[derive(Debug, Clone)]
pub struct DispatcherService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    raft: Raft,
    /// This manager.
    node: NodeId,
    /// Whether a majority of the managers was reached lately, by itself or through the leader.
    in_touch: AtomicBool,
    keys: Arc<Keychain>,
    clock: Clock,
    sessions: Arc<Sessions>,
    logs: LogBroker,
    copies: Copies,
    stop: Stop,
}

/// A caller; who comes from [`Shared::member`] was found to be a member just now.
struct Member {
    peer: Arc<Peer>,
    /// Where it calls from, without port.
    addr: String,
}

impl DispatcherService {
    /// Makes the service of the manager `node`; somebody must also [`run`](Self::run) it.
    pub fn new(raft: Raft, node: NodeId, keys: Arc<Keychain>, clock: Clock, stop: Stop) -> Self {
        let sessions = Arc::new(Sessions::default());
        let logs = LogBroker::new(Arc::clone(&sessions));
        let in_touch = AtomicBool::new(true);
        let copies = Copies::new(raft.clone(), clock.clone());
        Self {
            shared: Arc::new(Shared {
                raft,
                node,
                in_touch,
                keys,
                clock,
                sessions,
                logs,
                copies,
                stop,
            }),
        }
    }

    /// The service with its message sizes, for the cluster listener.
    pub fn server(&self) -> DispatcherServer<Self> {
        DispatcherServer::new(self.clone())
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE)
    }

    /// What other managers ask for, for the cluster listener.
    pub fn relay(&self) -> PeerServer<RelayService> {
        RelayService::server(self.shared.raft.clone(), self.logs(), self.shared.stop.clone())
    }

    /// Where the control API asks for the output of tasks.
    pub fn logs(&self) -> LogBroker {
        self.shared.logs.clone()
    }

    /// Ends every session when the manager stops or loses the cluster, routes changes, and notices silent nodes.
    pub async fn run(self) {
        run::run(self.shared).await;
    }
}

impl Shared {
    /// Judges who calls.
    async fn member(&self, caller: Result<Member, Status>) -> Result<Member, Status> {
        let member = caller?;
        let peer = &member.peer;
        if peer.cluster != self.keys.cluster() {
            return Err(Status::permission_denied("the certificate is of another cluster"));
        }
        self.check_touch()?;
        let counts = |node: &Node| check_key(node, &peer.shown(), None);
        if self.raft.state().member(peer.node).is_none_or(|node| counts(node).is_err()) {
            // It may have joined or renewed a moment ago at another manager, and who is told of its removal wipes everything.
            let linear = self.raft.linear().await.map_err(|error| answers::read(&error))?;
            let Some(node) = linear.state().member(peer.node) else {
                return Err(self.stranger(&member));
            };
            if let Err(refusal) = counts(node) {
                return Err(self.copies.refuse(node, peer, &member.addr, refusal).await);
            }
        }
        Ok(member)
    }

    /// To be said only on a confirmed state.
    fn stranger(&self, member: &Member) -> Status {
        let Member { peer, addr } = member;
        tracing::warn!(node = %peer.node, role = %peer.role, addr, "refused a node that is not a member");
        removed(peer.node)
    }

    fn check_touch(&self) -> Result<(), Status> {
        if self.in_touch.load(Ordering::Relaxed) { Ok(()) } else { Err(sessions::out_of_touch()) }
    }

    /// Finds the session a member speaks of, which must be its present one.
    fn session(&self, member: &Member, id: &str) -> Result<Arc<Session>, Status> {
        let session = self.sessions.get(member.peer.node).filter(|s| s.id().as_str() == id);
        session.ok_or_else(|| {
            let Member { peer, addr } = member;
            let all = self.sessions.all();
            let theirs = all.iter().find(|s| s.id().as_str() == id && s.node() != peer.node);
            if let Some(theirs) = theirs.map(|session| session.node()) {
                tracing::warn!(node = %peer.node, addr, %theirs, "refused a node that spoke of another node's session");
            }
            status(
                Code::Aborted,
                "session invalid",
                Some("the node has opened another one, or was silent for too long".to_owned()),
            )
        })
    }

    /// The cluster's heartbeat period, moved a little.
    fn period(&self) -> Duration {
        let period = self.heartbeat();
        let random = getrandom::u32().expect("the kernel gives randomness once booted");
        let share = f64::from(random) / f64::from(u32::MAX);
        period.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
    }

    fn heartbeat(&self) -> Duration {
        let settings = self.raft.state().cluster().map(|cluster| cluster.settings.clone());
        settings.unwrap_or_default().heartbeat
    }
}

fn caller<T>(request: &Request<T>) -> Result<Member, Status> {
    let peer = Arc::clone(Conn::peer(request)?);
    let addr = request.extensions().get::<Conn>().map(|conn| conn.addr.ip().to_string());
    Ok(Member { peer, addr: addr.unwrap_or_default() })
}

#[tonic::async_trait]
impl v1::dispatcher_server::Dispatcher for DispatcherService {
    type SessionStream = BoxStream<'static, Result<v1::SessionResponse, Status>>;
    type AssignmentsStream = BoxStream<'static, Result<v1::AssignmentsResponse, Status>>;

    async fn session(
        &self,
        request: Request<v1::SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let member = self.shared.member(caller(&request)).await?;
        let v1::SessionRequest { description, process } = request.into_inner();
        let stream = sessions::open(&self.shared, &member, description, process).await?;
        Ok(Response::new(stream))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let member = self.shared.member(caller(&request)).await?;
        let v1::HeartbeatRequest { session_id } = request.into_inner();
        let session = self.shared.session(&member, &session_id)?;
        let period = self.shared.period();
        session.heard(period * GRACE);
        Ok(Response::new(v1::HeartbeatResponse { period: Some((&period).into()) }))
    }

    async fn assignments(
        &self,
        request: Request<v1::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let member = self.shared.member(caller(&request)).await?;
        let v1::AssignmentsRequest { session_id, key_share } = request.into_inner();
        let session = self.shared.session(&member, &session_id)?;
        let keys = Offer::answer(&key_share)
            .map_err(|error| Status::invalid_argument(format!("key_share: {error}")))?;
        let flow = Flow::new(Arc::clone(&self.shared), session, keys);
        Ok(Response::new(stream::unfold(flow, Flow::next).boxed()))
    }

    async fn update_task_status(
        &self,
        request: Request<v1::UpdateTaskStatusRequest>,
    ) -> Result<Response<v1::UpdateTaskStatusResponse>, Status> {
        let member = self.shared.member(caller(&request)).await?;
        let v1::UpdateTaskStatusRequest { session_id, updates, wiped_task_ids } =
            request.into_inner();
        let session = self.shared.session(&member, &session_id)?;
        reports::take(&self.shared, session.node(), updates, wiped_task_ids).await?;
        Ok(Response::new(v1::UpdateTaskStatusResponse {}))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<v1::PublishLogsRequest>>,
    ) -> Result<Response<v1::PublishLogsResponse>, Status> {
        let member = self.shared.member(caller(&request)).await?;
        logs::take(&self.shared, &member, request.into_inner()).await?;
        Ok(Response::new(v1::PublishLogsResponse {}))
    }
}

#[cfg(test)]
mod tests;
