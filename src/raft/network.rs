//! How managers reach each other: openraft's calls over the peer service, and one kept connection for each member.
//!
//! With one manager nothing here is ever called.

use super::{
    codec,
    log::{LogIdentity, Progress},
    snapshot::{self, Part, SnapshotData, SnapshotError},
    types::{Entry, LogId, Member, TypeConfig, Vote},
};
use crate::{
    kit::{
        clock::{Clock, Timestamp},
        id::NodeId,
        limits::MESSAGE_SIZE,
        task::{self, Running},
    },
    wire::{
        Malformed,
        v1::{self, raft_client::RaftClient},
    },
};
use async_trait::async_trait;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RPCTypes, Snapshot, StorageIOError,
    error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RaftNetwork, RaftNetworkFactory},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, transport::Channel};

/// An answer within this time says what the other clock shows well enough.
const PROMPT: Duration = Duration::from_millis(250);
/// Calls in a row without an answer after which a connection is given up and opened anew.
const SILENT_CALLS: u32 = 8;
/// Entries of fewer bytes are there in time, or the line is cut.
const LARGE: usize = 64 * 1024;
/// How long entries may take to be sent and written: two mebibytes at a tenth of a mebibyte a second, and a slow disk.
const TRANSFER: Duration = Duration::from_secs(30);
/// How long news that an entry is committed waits for this manager's disk. It doubles as the sign that the leader is there,
/// which a slow disk must not hold up.
const FLUSH: Duration = Duration::from_millis(50);
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

/// What openraft makes connections with, and what asks the leader. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peers: Arc<dyn Peers>,
    identity: Arc<LogIdentity>,
    /// Of this manager's log.
    log: Progress,
    /// The way to each member by Raft id, kept: a handshake takes longer than a heartbeat may.
    ways: Mutex<BTreeMap<u64, Arc<Way>>>,
    /// When each member last answered the leader of which term.
    heard: Mutex<BTreeMap<u64, (u64, Instant)>>,
    /// What each member acknowledged to this manager as its leader.
    acked: Mutex<BTreeMap<u64, Acked>>,
    /// By how many milliseconds the clock of each member was ahead of this manager's when it answered last.
    ahead: Mutex<BTreeMap<u64, i64>>,
    clock: Clock,
}

/// What a member acknowledged.
#[derive(Debug, Clone, Copy, Default)]
struct Acked {
    /// In this term,
    term: u64,
    matched: Option<LogId>,
    /// and of that, and before, what is committed: no leader may have that cut.
    kept: Option<LogId>,
}

#[derive(Debug)]
struct Way {
    member: Member,
    client: RaftClient<Channel>,
    /// Calls in a row that nobody answered.
    silent: AtomicU32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nothing was sent.
    #[error(transparent)]
    Unreached(#[from] PeerError),
    #[error("{}", .0.message())]
    Failed(#[from] Status),
}

impl CallError {
    /// Whether the message surely did not leave.
    pub(super) fn never_sent(&self) -> bool {
        let Self::Failed(status) = self else { return true };
        let mut cause = std::error::Error::source(status);
        while let Some(error) = cause {
            if error.is::<tonic::ConnectError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl Network {
    pub(super) fn new(
        peers: Arc<dyn Peers>,
        identity: Arc<LogIdentity>,
        log: Progress,
        clock: Clock,
    ) -> Self {
        let (ways, heard, acked, ahead) = Default::default();
        Self(Arc::new(Shared { peers, identity, log, ways, heard, acked, ahead, clock }))
    }

    /// What others may be told to be committed, of what openraft holds for it: what this manager, the leader, has on
    /// its disk ([`super::log::LogStore::run_ahead`]). A message that says nothing else waits a little for it.
    async fn committed(&self, commit: Option<LogId>, alone: bool) -> Option<LogId> {
        let log = &self.0.log;
        if let Some(id) = commit
            && alone
            && log.upto() < commit
        {
            // If it takes longer, or fails, the others are told with a later message.
            drop(tokio::time::timeout(FLUSH, log.reach(id.index)).await);
        }
        commit.min(log.upto())
    }

    async fn way(&self, target: u64, member: &Member) -> Result<Arc<Way>, PeerError> {
        let ways = || self.0.ways.lock().expect("no holder of this lock panics");
        if let Some(way) = ways().get(&target).filter(|way| way.member == *member) {
            return Ok(way.clone());
        }
        let client = RaftClient::new(self.0.peers.channel(member).await?)
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE);
        let way = Arc::new(Way { member: member.clone(), client, silent: AtomicU32::new(0) });
        ways().insert(target, way.clone());
        Ok(way)
    }

    /// Calls a member.
    pub(super) async fn call<T, R>(
        &self,
        (target, member): (u64, &Member),
        message: T,
        ttl: Duration,
        call: impl AsyncFnOnce(RaftClient<Channel>, Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R, CallError> {
        let way = self.way(target, member).await?;
        let mut request = Request::new(message);
        request.set_timeout(ttl);
        let status = match call(way.client.clone(), request).await {
            Ok(response) => {
                way.silent.store(0, Ordering::Relaxed);
                return Ok(response.into_inner());
            }
            Err(status) => status,
        };
        let gone = match status.code() {
            Code::Unavailable | Code::Unknown | Code::Internal => true,
            // A slow disk there is not cured by a new connection, a connection that leads nowhere is.
            Code::DeadlineExceeded | Code::Cancelled => {
                way.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_CALLS
            }
            _ => false,
        };
        if gone {
            let mut ways = self.0.ways.lock().expect("no holder of this lock panics");
            if ways.get(&target).is_some_and(|now| Arc::ptr_eq(now, &way)) {
                ways.remove(&target);
            }
        }
        Err(status.into())
    }

    fn hear(&self, target: u64, term: u64) {
        let mut heard = self.0.heard.lock().expect("no holder of this lock panics");
        heard.insert(target, (term, Instant::now()));
    }

    fn acked(&self) -> MutexGuard<'_, BTreeMap<u64, Acked>> {
        self.0.acked.lock().expect("no holder of this lock panics")
    }

    /// Notes that a member has everything up to here, of which this much is committed.
    fn ack(&self, target: u64, term: u64, upto: Option<LogId>, commit: Option<LogId>) {
        let mut acked = self.acked();
        let one = acked.entry(target).or_default();
        if one.term != term {
            (one.term, one.matched) = (term, None);
        }
        one.matched = one.matched.max(upto);
        one.kept = one.kept.max(one.matched.min(commit));
    }

    /// The last committed entry that a member acknowledged to this manager.
    pub(super) fn kept(&self, target: u64) -> Option<LogId> {
        self.acked().get(&target).and_then(|one| one.kept)
    }

    /// Compares a member's clock with ours: when it answered lies between question and answer.
    fn compare(&self, target: u64, (asked, answered): (Timestamp, Timestamp), theirs: Timestamp) {
        let took = answered.since(asked);
        let halfway = theirs.0.saturating_sub(asked.plus(took / 2).0);
        let mut ahead = self.0.ahead.lock().expect("no holder of this lock panics");
        // A slow answer tells little: it only contradicts.
        let fits = |known: &i64| {
            let off = Duration::from_millis(known.abs_diff(halfway));
            took > PROMPT && off <= took
        };
        if !ahead.get(&target).is_some_and(fits) {
            ahead.insert(target, halfway);
        }
    }

    /// By how many milliseconds a member's clock is ahead of ours; unset: it has not answered this manager yet.
    pub(super) fn ahead(&self, target: u64) -> Option<i64> {
        self.0.ahead.lock().expect("no holder of this lock panics").get(&target).copied()
    }

    /// How long ago a member answered the leader of this term.
    pub(super) fn silent(&self, target: u64, term: u64) -> Option<Duration> {
        let heard = self.0.heard.lock().expect("no holder of this lock panics");
        let (_, at) = heard.get(&target).filter(|(of, _)| *of == term)?;
        Some(at.elapsed())
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        Connection { network: self.clone(), target, member: member.clone(), under_way: None }
    }
}

/// openraft's way to one other manager.
#[derive(Debug)]
pub(super) struct Connection {
    network: Network,
    target: u64,
    member: Member,
    under_way: Option<UnderWay>,
}

/// Entries that take longer to send than openraft waits. It asks again and again; beginning anew each time would never
/// get them across a slow line.
#[derive(Debug)]
struct UnderWay {
    vote: Vote,
    prev: Option<LogId>,
    last: Option<LogId>,
    answer: oneshot::Receiver<Result<v1::AppendEntriesResponse, CallError>>,
    _sending: Running<()>,
}

type RaftCallError = RPCError<u64, Member, RaftError<u64>>;

impl Connection {
    async fn call<T, R>(
        &self,
        message: T,
        ttl: Duration,
        call: impl AsyncFnOnce(RaftClient<Channel>, Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R, Unreachable> {
        let answer = self.network.call((self.target, &self.member), message, ttl, call).await;
        answer.map_err(|error| Unreachable::new(&error))
    }

    fn message(
        &self,
        vote: &Vote,
        prev: Option<LogId>,
        entries: &[Entry],
        commit: Option<LogId>,
    ) -> v1::AppendEntriesRequest {
        v1::AppendEntriesRequest {
            target: self.target,
            vote: Some(codec::vote_to(vote)),
            prev: prev.as_ref().map(codec::log_id_to),
            entries: entries.iter().map(codec::entry_to).collect(),
            commit: commit.as_ref().map(codec::log_id_to),
        }
    }

    async fn append(
        &self,
        message: v1::AppendEntriesRequest,
        ttl: Duration,
    ) -> Result<v1::AppendEntriesResponse, Unreachable> {
        let asked = self.network.0.clock.now();
        let call =
            async |mut client: RaftClient<Channel>, request| client.append_entries(request).await;
        let answer = self.call(message, ttl, call).await?;
        let times = (asked, self.network.0.clock.now());
        self.network.compare(self.target, times, Timestamp(answer.clock_ms));
        Ok(answer)
    }

    /// Begins to send entries that may take longer than openraft waits.
    fn begin(
        &self,
        message: v1::AppendEntriesRequest,
        vote: Vote,
        prev: Option<LogId>,
        last: Option<LogId>,
    ) -> UnderWay {
        let (network, target, member) = (self.network.clone(), self.target, self.member.clone());
        let (tell, answer) = oneshot::channel();
        let sending = task::start("raft-append", async move {
            let call = async |mut client: RaftClient<Channel>, request| {
                client.append_entries(request).await
            };
            let answer = network.call((target, &member), message, TRANSFER, call).await;
            // Nobody may wait for it any more.
            tell.send(answer).ok();
        });
        UnderWay { vote, prev, last, answer, _sending: sending }
    }
}

/// About how many bytes an entry takes; what is not a batch is small.
fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.weight(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RaftCallError> {
        let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = rpc;
        let leader_commit = self.network.committed(leader_commit, entries.is_empty()).await;
        let last = entries.last().map(|entry| entry.log_id);
        // As it was before the call: an answer may come later than those to calls after it.
        let kept = self.network.kept(self.target);
        let (target, term) = (self.target, vote.leader_id.term);
        let network = self.network.clone();
        // What it has, or that it went back.
        let judged = move |answer: AppendEntriesResponse<u64>, sent: Option<LogId>| {
            let upto = match &answer {
                AppendEntriesResponse::Success => sent.or(prev_log_id),
                AppendEntriesResponse::PartialSuccess(upto) => *upto,
                AppendEntriesResponse::Conflict if prev_log_id.is_some() && prev_log_id <= kept => {
                    tracing::warn!(
                        target,
                        ?kept,
                        "a follower lacks what it had acknowledged; it is sent no more"
                    );
                    let why = "it lacks what it had acknowledged: its disk is an older one";
                    return Err(Unreachable::new(&AnyError::error(why)));
                }
                AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => {
                    return Ok(answer);
                }
            };
            network.ack(target, term, upto, leader_commit);
            Ok(answer)
        };
        let weight: usize = entries.iter().map(weight).sum();
        let carries = |under_way: &UnderWay| {
            let UnderWay { vote: of, prev, last: upto, .. } = under_way;
            (*of, *prev) == (vote, prev_log_id) && *upto <= last
        };
        let again = self.under_way.as_ref().is_some_and(carries);
        if !again {
            // What is not wanted any more is not sent on.
            self.under_way = None;
            let message = self.message(&vote, prev_log_id, &entries, leader_commit);
            if weight < LARGE {
                // openraft drops the call at the hard limit; ours ends before, so that it is counted.
                let answer = self.append(message, option.soft_ttl()).await?;
                self.network.hear(self.target, vote.leader_id.term);
                let answer = append_answer_from(answer).map_err(|e| Unreachable::new(&e))?;
                return Ok(judged(answer, last)?);
            }
            self.under_way = Some(self.begin(message, vote, prev_log_id, last));
        }
        // As long as it takes, the other manager hears that its leader is there.
        let beside = Self {
            network: self.network.clone(),
            target: self.target,
            member: self.member.clone(),
            under_way: None,
        };
        let sign = async {
            if !again {
                return std::future::pending().await;
            }
            let sign = beside.message(&vote, prev_log_id, &[], leader_commit);
            match beside.append(sign, option.soft_ttl()).await.map(append_answer_from) {
                Ok(Ok(AppendEntriesResponse::HigherVote(higher))) => higher,
                heard => {
                    if heard.is_ok() {
                        beside.network.hear(beside.target, vote.leader_id.term);
                    }
                    std::future::pending().await
                }
            }
        };
        // It stays where it is while we wait: openraft may drop this call at any moment.
        let arriving = async {
            match &mut self.under_way {
                Some(one) => (&mut one.answer).await.ok(),
                None => None,
            }
        };
        let answer = tokio::select! {
            answer = arriving => answer,
            higher = sign => return Ok(AppendEntriesResponse::HigherVote(higher)),
            () = tokio::time::sleep(option.soft_ttl()) => {
                return Err(RPCError::Timeout(Timeout {
                    action: RPCTypes::AppendEntries,
                    id: vote.leader_id.node_id,
                    target: self.target,
                    timeout: option.soft_ttl(),
                }));
            }
        };
        let upto = self.under_way.take().and_then(|one| one.last);
        let gone = || Unreachable::new(&AnyError::error("the entries were not sent to their end"));
        let answer = answer.ok_or_else(gone)?.map_err(|error| Unreachable::new(&error))?;
        self.network.hear(self.target, vote.leader_id.term);
        let answer = append_answer_from(answer).map_err(|e| Unreachable::new(&e))?;
        Ok(match judged(answer, upto)? {
            AppendEntriesResponse::Success if upto < last => {
                AppendEntriesResponse::PartialSuccess(upto)
            }
            answer => answer,
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RaftCallError> {
        let VoteRequest { vote: asked, last_log_id } = rpc;
        let message = v1::VoteRequest {
            target: self.target,
            vote: Some(codec::vote_to(&asked)),
            last: last_log_id.as_ref().map(codec::log_id_to),
        };
        let v1::VoteResponse { vote, granted, last } = self
            .call(message, option.soft_ttl(), async |mut client, request| {
                client.request_vote(request).await
            })
            .await?;
        self.network.hear(self.target, asked.leader_id.term);
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
        let (identity, target) = (self.network.0.identity.clone(), self.target);
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

fn append_answer_from(
    answer: v1::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<u64>, Malformed> {
    use v1::append_entries_response::{Conflict, Partial, Result as Answer, Success};
    let v1::AppendEntriesResponse { result, clock_ms: _ } = answer;
    Ok(match needed(result, "result")? {
        Answer::Success(Success {}) => AppendEntriesResponse::Success,
        Answer::Partial(Partial { matched }) => {
            AppendEntriesResponse::PartialSuccess(matched.as_ref().map(codec::log_id_from))
        }
        Answer::Conflict(Conflict {}) => AppendEntriesResponse::Conflict,
        Answer::HigherVote(vote) => AppendEntriesResponse::HigherVote(codec::vote_from(&vote)),
    })
}

pub(super) fn needed<T>(value: Option<T>, field: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new("missing").within(field))
}
