//! How managers reach each other: openraft's calls over the peer service, and the service itself.
//!
//! With one manager nothing here is ever called. Who may call is checked before: by certificate, in the gate in front of
//! the service; the called id is checked here, so that a stale address reaches nobody by mistake.

use super::{
    codec,
    log::LogIdentity,
    snapshot::{self, Part, SnapshotData, SnapshotError},
    types::{Member, SnapshotMeta, TypeConfig, Vote},
};
use crate::{
    kit::{id::NodeId, limits::MESSAGE_SIZE},
    wire::{
        Malformed,
        v1::{self, raft_client::RaftClient, raft_server::RaftServer},
    },
};
use async_trait::async_trait;
use openraft::{
    AnyError, OptionalSend, Snapshot, StorageIOError,
    error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetwork, RaftNetworkFactory},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

/// Parts of a snapshot read ahead of the network.
const PARTS: usize = 2;

/// Opens channels to other managers; the certificate at the other end must carry the member's node id.
#[async_trait]
pub trait Peers: std::fmt::Debug + Send + Sync + 'static {
    /// # Errors
    /// [`PeerError`], with the reason in words.
    async fn channel(&self, member: &Member) -> Result<Channel, PeerError>;
}

/// A manager that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot reach manager {node} at {addr}: {why}")]
pub struct PeerError {
    pub node: NodeId,
    pub addr: String,
    pub why: String,
}

/// For a cluster of one: reaches nobody.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

#[async_trait]
impl Peers for Alone {
    async fn channel(&self, member: &Member) -> Result<Channel, PeerError> {
        let Member { node, addr } = member.clone();
        Err(PeerError { node, addr, why: "this manager knows no others".into() })
    }
}

/// What openraft makes connections with.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) peers: Arc<dyn Peers>,
    pub(super) identity: Arc<LogIdentity>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        Connection { network: self.clone(), target, member: member.clone(), client: None }
    }
}

/// A way to one other manager, opened when it is first needed and again after each failure.
#[derive(Debug)]
pub(super) struct Connection {
    network: Network,
    target: u64,
    member: Member,
    client: Option<RaftClient<Channel>>,
}

type CallError = RPCError<u64, Member, RaftError<u64>>;

impl Connection {
    async fn client(&mut self) -> Result<RaftClient<Channel>, Unreachable> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let channel =
            self.network.peers.channel(&self.member).await.map_err(|e| Unreachable::new(&e))?;
        let client = RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE);
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn call<T, R>(
        &mut self,
        message: T,
        ttl: Duration,
        call: impl AsyncFnOnce(RaftClient<Channel>, Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R, Unreachable> {
        let client = self.client().await?;
        let mut request = Request::new(message);
        request.set_timeout(ttl);
        match call(client, request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                self.client = None;
                Err(Unreachable::new(&status))
            }
        }
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = rpc;
        let message = v1::AppendEntriesRequest {
            target: self.target,
            vote: Some(codec::vote_to(&vote)),
            prev: prev_log_id.as_ref().map(codec::log_id_to),
            entries: entries.iter().map(codec::entry_to).collect(),
            commit: leader_commit.as_ref().map(codec::log_id_to),
        };
        let answer = self
            .call(message, option.hard_ttl(), async |mut client, request| {
                client.append_entries(request).await
            })
            .await?;
        append_answer_from(answer).map_err(|e| Unreachable::new(&e).into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let VoteRequest { vote, last_log_id } = rpc;
        let message = v1::VoteRequest {
            target: self.target,
            vote: Some(codec::vote_to(&vote)),
            last: last_log_id.as_ref().map(codec::log_id_to),
        };
        let v1::VoteResponse { vote, granted, last } = self
            .call(message, option.hard_ttl(), async |mut client, request| {
                client.request_vote(request).await
            })
            .await?;
        let vote = needed(vote, "vote").map_err(|e| Unreachable::new(&e))?;
        Ok(VoteResponse {
            vote: codec::vote_from(&vote),
            vote_granted: granted,
            last_log_id: last.as_ref().map(codec::log_id_from),
        })
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let SnapshotData::Outgoing(view) = *snapshot.snapshot else {
            let error = AnyError::error("a snapshot that is being received cannot be sent");
            return Err(
                openraft::StorageError::from(StorageIOError::read_snapshot(None, error)).into()
            );
        };
        let (tx, rx) = mpsc::channel(PARTS);
        let (identity, target) = (self.network.identity.clone(), self.target);
        let reading = tokio::task::spawn_blocking(move || {
            snapshot::send(&view, &identity, |part| {
                tx.blocking_send(request(part, target, &vote)).map_err(|_| SnapshotError::Gone)
            })
        });
        let sending = self.call(ReceiverStream::new(rx), option.hard_ttl(), async |mut c, r| {
            c.install_snapshot(r).await
        });
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = sending => answer,
        };
        match reading.await {
            Ok(Ok(()) | Err(SnapshotError::Gone)) => {}
            Ok(Err(error)) => {
                let error = StorageIOError::read_snapshot(None, AnyError::new(&error));
                return Err(openraft::StorageError::from(error).into());
            }
            Err(error) => return Err(Unreachable::new(&error).into()),
        }
        let vote = needed(answer?.vote, "vote").map_err(|e| Unreachable::new(&e))?;
        Ok(SnapshotResponse::new(codec::vote_from(&vote)))
    }
}

/// Answers other managers. The gate in front of it lets only managers of this cluster through.
#[derive(Clone)]
pub struct PeerService {
    raft: openraft::Raft<TypeConfig>,
    raft_id: u64,
}

impl std::fmt::Debug for PeerService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerService").field("raft_id", &self.raft_id).finish_non_exhaustive()
    }
}

impl PeerService {
    pub(super) fn server(raft: openraft::Raft<TypeConfig>, raft_id: u64) -> RaftServer<Self> {
        RaftServer::new(Self { raft, raft_id })
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE)
    }

    fn check_target(&self, target: u64) -> Result<(), Status> {
        if target == self.raft_id {
            return Ok(());
        }
        let text = format!("this manager has the Raft id {}, not {target}", self.raft_id);
        Err(Status::failed_precondition(text))
    }
}

#[tonic::async_trait]
impl v1::raft_server::Raft for PeerService {
    async fn append_entries(
        &self,
        request: Request<v1::AppendEntriesRequest>,
    ) -> Result<Response<v1::AppendEntriesResponse>, Status> {
        let v1::AppendEntriesRequest { target, vote, prev, entries, commit } = request.into_inner();
        self.check_target(target)?;
        let entries: Result<Vec<_>, Malformed> =
            entries.into_iter().map(codec::entry_from).collect();
        let rpc = AppendEntriesRequest {
            vote: codec::vote_from(&needed(vote, "vote")?),
            prev_log_id: prev.as_ref().map(codec::log_id_from),
            entries: entries.map_err(|e| e.within("entries"))?,
            leader_commit: commit.as_ref().map(codec::log_id_from),
        };
        let answer = self.raft.append_entries(rpc).await.map_err(failed)?;
        Ok(Response::new(append_answer_to(&answer)))
    }

    async fn request_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        let v1::VoteRequest { target, vote, last } = request.into_inner();
        self.check_target(target)?;
        let rpc = VoteRequest {
            vote: codec::vote_from(&needed(vote, "vote")?),
            last_log_id: last.as_ref().map(codec::log_id_from),
        };
        let VoteResponse { vote, vote_granted, last_log_id } =
            self.raft.vote(rpc).await.map_err(failed)?;
        Ok(Response::new(v1::VoteResponse {
            vote: Some(codec::vote_to(&vote)),
            granted: vote_granted,
            last: last_log_id.as_ref().map(codec::log_id_to),
        }))
    }

    async fn propose(
        &self,
        _request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn read_index(
        &self,
        _request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn contacts(
        &self,
        _request: Request<v1::ContactsRequest>,
    ) -> Result<Response<v1::ContactsResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::InstallSnapshotRequest>>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        use v1::install_snapshot_request::{Part as Message, Start};
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|message| message.part);
        let Some(Message::Start(Start { target, vote, header })) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        self.check_target(target)?;
        let vote = codec::vote_from(&needed(vote, "vote")?);
        let header = needed(header, "header")?;
        let id = header.id.clone();
        let applied = needed(header.applied.clone(), "applied")?;
        let (last_log_id, last_membership) = codec::applied_from(applied)?;
        let mut data = self.raft.begin_receiving_snapshot().await.map_err(failed)?;
        data = take(data, Part::Header(header)).await?;
        while let Some(message) = stream.message().await? {
            let part = match message.part {
                Some(Message::Rows(rows)) => Part::Rows(rows),
                Some(Message::End(end)) => Part::End(end),
                Some(Message::Start(_)) | None => {
                    return Err(Status::invalid_argument("rows or an end were expected"));
                }
            };
            data = take(data, part).await?;
        }
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id: id };
        let SnapshotData::Incoming(incoming) = &*data else {
            return Err(Status::internal("the snapshot is not one that is being received"));
        };
        // openraft stops for good when an installation fails, so everything is judged before it hears of it.
        incoming.check(&meta).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let snapshot = Snapshot { meta, snapshot: data };
        let SnapshotResponse { vote, .. } =
            self.raft.install_full_snapshot(vote, snapshot).await.map_err(failed)?;
        Ok(Response::new(v1::InstallSnapshotResponse { vote: Some(codec::vote_to(&vote)) }))
    }
}

/// Writes one part down, off the async threads.
async fn take(mut data: Box<SnapshotData>, part: Part) -> Result<Box<SnapshotData>, Status> {
    let taken = tokio::task::spawn_blocking(move || match &mut *data {
        SnapshotData::Incoming(incoming) => incoming.part(part).map(|()| data),
        SnapshotData::Outgoing(_) => Err(SnapshotError::Gone),
    });
    match taken.await {
        Ok(Ok(data)) => Ok(data),
        Ok(Err(error)) => Err(Status::invalid_argument(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

fn request(part: Part, target: u64, vote: &Vote) -> v1::InstallSnapshotRequest {
    use v1::install_snapshot_request::{Part as Message, Start};
    let part = match part {
        Part::Header(header) => {
            Message::Start(Start { target, vote: Some(codec::vote_to(vote)), header: Some(header) })
        }
        Part::Rows(rows) => Message::Rows(rows),
        Part::End(end) => Message::End(end),
    };
    v1::InstallSnapshotRequest { part: Some(part) }
}

fn append_answer_to(answer: &AppendEntriesResponse<u64>) -> v1::AppendEntriesResponse {
    use v1::append_entries_response::{Conflict, Partial, Result as Answer, Success};
    let result = match answer {
        AppendEntriesResponse::Success => Answer::Success(Success {}),
        AppendEntriesResponse::PartialSuccess(matched) => {
            Answer::Partial(Partial { matched: matched.as_ref().map(codec::log_id_to) })
        }
        AppendEntriesResponse::Conflict => Answer::Conflict(Conflict {}),
        AppendEntriesResponse::HigherVote(vote) => Answer::HigherVote(codec::vote_to(vote)),
    };
    v1::AppendEntriesResponse { result: Some(result) }
}

fn append_answer_from(
    answer: v1::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<u64>, Malformed> {
    use v1::append_entries_response::{Conflict, Partial, Result as Answer, Success};
    let v1::AppendEntriesResponse { result } = answer;
    Ok(match needed(result, "result")? {
        Answer::Success(Success {}) => AppendEntriesResponse::Success,
        Answer::Partial(Partial { matched }) => {
            AppendEntriesResponse::PartialSuccess(matched.as_ref().map(codec::log_id_from))
        }
        Answer::Conflict(Conflict {}) => AppendEntriesResponse::Conflict,
        Answer::HigherVote(vote) => AppendEntriesResponse::HigherVote(codec::vote_from(&vote)),
    })
}

fn needed<T>(value: Option<T>, field: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new("missing").within(field))
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
