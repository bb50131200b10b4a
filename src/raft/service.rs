//! What other managers call: Raft's own calls, and what followers ask the leader for.
//!
//! Only managers of the cluster get through. The called id is checked too, so that a stale address reaches nobody by
//! mistake.

use super::{
    codec,
    forward::{self, Why},
    handle::{Core, Leader},
    hearing::{Caller, Claim, Heard, Unheard},
    network::needed,
    propose::{Done, Proposer},
    read::Reader,
    snapshot::{Part, SnapshotData, SnapshotError},
    types::SnapshotMeta,
};
use crate::{
    kit::{clock::Timestamp, id::NodeId, limits::MESSAGE_SIZE},
    model::node::RaftIdentity,
    wire::{
        Malformed,
        v1::{self, raft_server::RaftServer},
    },
};
use openraft::{
    Snapshot,
    raft::{AppendEntriesResponse, SnapshotResponse, VoteResponse},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

/// Who has heard of no leader for this long lets managers it does not know tell it what it missed.
const LOST: Duration = Duration::from_secs(3);

/// Answers other managers.
#[derive(Clone)]
pub struct PeerService {
    core: Arc<Core>,
    proposer: Proposer,
    /// Confirms only while this manager leads.
    reader: Reader,
    /// The leader that spoke last, and when.
    leader: Arc<Mutex<Option<(RaftIdentity, Instant)>>>,
}

impl std::fmt::Debug for PeerService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerService").field("raft_id", &self.core.raft_id).finish_non_exhaustive()
    }
}

/// A call that brings something to be kept, while it is answered.
struct Supply<'a>(&'a Core);

impl<'a> Supply<'a> {
    fn begin(core: &'a Core) -> Self {
        core.supply.send_modify(|under_way| *under_way += 1);
        Self(core)
    }

    /// Another piece has come.
    fn piece(&self) {
        self.0.supply.send_modify(|_| ());
    }
}

impl Drop for Supply<'_> {
    fn drop(&mut self) {
        self.0.supply.send_modify(|under_way| *under_way -= 1);
    }
}

impl PeerService {
    pub(super) fn server(core: Arc<Core>, proposer: Proposer, reader: Reader) -> RaftServer<Self> {
        let service = Self { core, proposer, reader, leader: Arc::default() };
        RaftServer::new(service)
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE)
    }

    /// Lets those speak that are heard now.
    fn heard(&self, caller: &Caller) -> Result<Heard, Status> {
        let leader = *self.leader.lock().expect("no holder of this lock panics");
        let leader = leader.map(|(leader, _)| leader);
        self.core.check_speaker(caller, (leader, self.is_lost()))
    }

    /// Lets those speak that are heard now, and only for themselves.
    fn claim(&self, caller: &Caller, vote: Option<v1::Vote>) -> Result<(Heard, Claim), Status> {
        let heard = self.heard(caller)?;
        let vote = codec::vote_from(&needed(vote, "vote")?);
        let claim = heard.claim(self.core.raft_id, vote);
        Ok((heard, claim.map_err(|why| caller.refuse(&self.core, why))?))
    }

    fn is_lost(&self) -> bool {
        let metrics = self.core.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.membership_config.membership().nodes().next().is_none() {
            return true;
        }
        if metrics.state == openraft::ServerState::Leader {
            let ago = metrics.millis_since_quorum_ack.map(Duration::from_millis);
            return ago.is_none_or(|ago| ago > LOST);
        }
        let leader = *self.leader.lock().expect("no holder of this lock panics");
        leader.is_none_or(|(_, at)| at.elapsed() > LOST)
    }

    fn check_target(&self, target: u64) -> Result<(), Status> {
        self.check_sound()?;
        if target == self.core.raft_id {
            return Ok(());
        }
        let text = format!("this manager has the Raft id {}, not {target}", self.core.raft_id);
        Err(forward::refuse(Why::NotLeader, text))
    }

    /// A leader that contradicts what was applied here is not obeyed; it is this manager that stands aside.
    fn obey_unless(&self, contradiction: Option<String>, leader: NodeId) -> Result<(), Status> {
        if let Some(why) = contradiction {
            self.core.condemn(&format!("{why}; the leader is node {leader}"));
        }
        self.check_sound()
    }

    /// One on probation neither votes nor acknowledges.
    fn check_passed(&self) -> Result<(), Status> {
        if self.core.probation.is_over() {
            return Ok(());
        }
        let text = "this manager has just started and first asks the others what they know of it";
        Err(forward::refuse(Why::Busy, text))
    }

    /// A store that was condemned takes no part.
    fn check_sound(&self) -> Result<(), Status> {
        match self.core.damage.why() {
            None => Ok(()),
            Some(why) => {
                Err(forward::refuse(Why::NotLeader, format!("its store is damaged: {why}")))
            }
        }
    }

    fn check_leads(&self) -> Result<(), Status> {
        match self.core.leader() {
            Leader::This => Ok(()),
            Leader::Other { .. } | Leader::Nobody => {
                Err(forward::refuse(Why::NotLeader, "this manager does not lead the cluster"))
            }
        }
    }
}

#[tonic::async_trait]
impl v1::raft_server::Raft for PeerService {
    async fn append_entries(
        &self,
        request: Request<v1::AppendEntriesRequest>,
    ) -> Result<Response<v1::AppendEntriesResponse>, Status> {
        let caller = Caller::of(&self.core, &request)?;
        let v1::AppendEntriesRequest { target, vote, prev, entries, commit } = request.into_inner();
        let (heard, claim) = self.claim(&caller, vote)?;
        let _call = self.core.calls.begin();
        self.check_target(target)?;
        self.check_passed()?;
        let _supply = (!entries.is_empty()).then(|| Supply::begin(&self.core));
        let entries: Result<Vec<_>, Malformed> =
            entries.into_iter().map(codec::entry_from).collect();
        let entries = entries.map_err(|e| e.within("entries"))?;
        let (prev, commit) = (prev.as_ref(), commit.as_ref());
        let (prev, commit) = (prev.map(codec::log_id_from), commit.map(codec::log_id_from));
        let contradiction = self.core.contradiction(&claim.vote(), prev.as_ref(), &entries);
        self.obey_unless(contradiction, heard.identity().node)?;
        let answer = self.core.append(claim, prev, entries, commit).await.map_err(failed)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            let mut leader = self.leader.lock().expect("no holder of this lock panics");
            *leader = Some((heard.identity(), Instant::now()));
        }
        Ok(Response::new(append_answer_to(&answer, self.core.clock.now())))
    }

    async fn request_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        let caller = Caller::of(&self.core, &request)?;
        let v1::VoteRequest { target, vote, last } = request.into_inner();
        let (_, claim) = self.claim(&caller, vote)?;
        self.check_target(target)?;
        self.check_passed()?;
        let ours = self.core.log.vote().unwrap_or_default();
        let floor = self.core.probation.floor();
        let last = last.as_ref().map(codec::log_id_from);
        if floor > last {
            // Others know more than the candidate, and are given the time to be elected.
            return Ok(Response::new(v1::VoteResponse {
                vote: Some(codec::vote_to(&ours)),
                granted: false,
                last: floor.as_ref().map(codec::log_id_to),
            }));
        }
        let VoteResponse { vote, vote_granted, last_log_id } =
            self.core.vote(claim, last).await.map_err(failed)?;
        Ok(Response::new(v1::VoteResponse {
            vote: Some(codec::vote_to(&vote)),
            granted: vote_granted,
            last: last_log_id.as_ref().map(codec::log_id_to),
        }))
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        self.core.check_member(&request)?;
        let v1::ProposeRequest { target, request, command } = request.into_inner();
        self.check_target(target)?;
        self.check_leads()?;
        let request = request.map(TryInto::try_into).transpose();
        let request = request.map_err(|e: Malformed| e.within("request"))?;
        let command = needed(command, "command")?.try_into();
        let command = command.map_err(|e: Malformed| e.within("command"))?;
        let Done { outcome, index } =
            self.proposer.propose(request, command).await.map_err(forward::not_proposed)?;
        Ok(Response::new(v1::ProposeResponse { outcome: Some((&outcome).into()), index }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        self.core.check_member(&request)?;
        let v1::ReadIndexRequest { target } = request.into_inner();
        self.check_target(target)?;
        let confirmed = self.reader.confirm().await.map_err(forward::not_confirmed)?;
        Ok(Response::new(v1::ReadIndexResponse { index: confirmed.index }))
    }

    async fn contacts(
        &self,
        request: Request<v1::ContactsRequest>,
    ) -> Result<Response<v1::ContactsResponse>, Status> {
        self.core.check_member(&request)?;
        let v1::ContactsRequest { target } = request.into_inner();
        self.check_target(target)?;
        self.check_leads()?;
        let contacts = self.core.contacts();
        let contacts = contacts.iter().map(|(id, contact)| (*id, contact.into())).collect();
        Ok(Response::new(v1::ContactsResponse { contacts }))
    }

    async fn compare(
        &self,
        request: Request<v1::CompareRequest>,
    ) -> Result<Response<v1::CompareResponse>, Status> {
        let (heard, caller) =
            (self.core.check_member(&request)?.identity(), Caller::of(&self.core, &request)?);
        let message = request.into_inner();
        let named = message.standing.as_ref().map_or(0, |standing| standing.raft_id);
        // Nobody speaks for another.
        if named != heard.raft_id {
            return Err(caller.refuse(&self.core, Unheard::OtherName));
        }
        if message.target != 0 {
            self.check_target(message.target)?;
        }
        Ok(Response::new(self.core.compared(heard.node, message)?))
    }

    async fn stand(
        &self,
        request: Request<v1::StandRequest>,
    ) -> Result<Response<v1::StandResponse>, Status> {
        let caller = Caller::of(&self.core, &request)?;
        let heard = self.heard(&caller)?;
        let v1::StandRequest { target, term } = request.into_inner();
        self.check_target(target)?;
        self.check_passed()?;
        let leads = self.core.stand(heard, term).await.map_err(failed)?;
        Ok(Response::new(v1::StandResponse { leads }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::InstallSnapshotRequest>>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        use v1::install_snapshot_request::{Part as Message, Start};
        let caller = Caller::of(&self.core, &request)?;
        self.heard(&caller)?;
        let mut stream = request.into_inner();
        let first = stream.message().await?.and_then(|message| message.part);
        let Some(Message::Start(Start { target, vote, header })) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let (heard, claim) = self.claim(&caller, vote)?;
        let _call = self.core.calls.begin();
        self.check_target(target)?;
        let header = needed(header, "header")?;
        let id = header.id.clone();
        let applied = needed(header.applied.clone(), "applied")?;
        let (last_log_id, last_membership) =
            codec::applied_from(applied).map(|(last, membership, _)| (last, membership))?;
        let contradiction = self.core.snapshot_contradiction(&claim.vote(), last_log_id.as_ref());
        self.obey_unless(contradiction, heard.identity().node)?;
        self.check_passed()?;
        let mut data = self.core.raft.begin_receiving_snapshot().await.map_err(failed)?;
        let supply = Supply::begin(&self.core);
        data = take(data, Part::Header(header)).await?;
        while let Some(message) = stream.message().await? {
            supply.piece();
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
        // It took its time, and the sender may be none of us any more.
        let (_, claim) = self.claim(&caller, vote)?;
        let SnapshotResponse { vote, .. } =
            self.core.install(claim, snapshot).await.map_err(failed)?;
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

fn append_answer_to(
    answer: &AppendEntriesResponse<u64>,
    now: Timestamp,
) -> v1::AppendEntriesResponse {
    use v1::append_entries_response::{Conflict, Partial, Result as Answer, Success};
    let result = match answer {
        AppendEntriesResponse::Success => Answer::Success(Success {}),
        AppendEntriesResponse::PartialSuccess(matched) => {
            Answer::Partial(Partial { matched: matched.as_ref().map(codec::log_id_to) })
        }
        AppendEntriesResponse::Conflict => Answer::Conflict(Conflict {}),
        AppendEntriesResponse::HigherVote(vote) => Answer::HigherVote(codec::vote_to(vote)),
    };
    v1::AppendEntriesResponse { result: Some(result), clock_ms: now.0 }
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
