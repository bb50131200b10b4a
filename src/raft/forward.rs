//! What a follower asks of the leader: to propose in its place, how far to apply before a read, and whom it hears.
//!
//! A command that surely was not proposed is told apart from one that may have been: the leader marks each of its
//! refusals, and everything else that went wrong after sending leaves the outcome open.

use super::{
    handle::Core,
    network::{CallError, needed},
    propose::{Done, ProposeError, Proposer},
    read::ReadError,
    types::Member,
};
use crate::{
    kit::limits::PROPOSAL_DEADLINE,
    model::command::{Command, RequestId},
    wire::{self, Malformed, v1},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, metadata::MetadataValue};

/// The trailer that says why nothing was done.
const REFUSED: &str = "secretd-not-done";
/// When another leads, an answer of the leader before that is on its way arrives within this time or never.
const LATE: Duration = Duration::from_millis(500);
/// Who the leader hears is known to it at once.
const CONTACTS: Duration = Duration::from_secs(2);

/// What the leader knows of another manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Time since it last answered; unset: not since this leader leads.
    pub silent: Option<Duration>,
    /// The last entry it is known to have.
    pub matched: u64,
    /// By how many milliseconds its clock is ahead of the leader's; unset: not known.
    pub clock_ahead_ms: Option<i64>,
}

impl From<&Contact> for v1::contacts_response::Contact {
    fn from(value: &Contact) -> Self {
        let Contact { silent, matched, clock_ahead_ms } = *value;
        let silent_ms = silent.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        Self { silent_ms, matched, clock_ahead_ms }
    }
}

impl From<v1::contacts_response::Contact> for Contact {
    fn from(wire: v1::contacts_response::Contact) -> Self {
        let v1::contacts_response::Contact { silent_ms, matched, clock_ahead_ms } = wire;
        Self { silent: silent_ms.map(Duration::from_millis), matched, clock_ahead_ms }
    }
}

/// Why the leader did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    NotLeader,
    Busy,
    Full,
    NoQuorum,
}

impl Why {
    const ALL: [Self; 4] = [Self::NotLeader, Self::Busy, Self::Full, Self::NoQuorum];

    fn word(self) -> &'static str {
        match self {
            Self::NotLeader => "not-leader",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::NoQuorum => "no-quorum",
        }
    }

    fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(REFUSED)?;
        Self::ALL.into_iter().find(|why| word == why.word())
    }
}

/// Says that nothing was done.
pub(super) fn refuse(why: Why, message: impl Into<String>) -> Status {
    let mut status = match why {
        Why::NotLeader => Status::failed_precondition(message),
        Why::Busy | Why::NoQuorum => Status::unavailable(message),
        Why::Full => Status::resource_exhausted(message),
    };
    mark(&mut status, why);
    status
}

pub(super) fn mark(status: &mut Status, why: Why) {
    status.metadata_mut().insert(REFUSED, MetadataValue::from_static(why.word()));
}

/// How the leader tells a follower that a proposal came to nothing, or may have.
pub(super) fn not_proposed(error: ProposeError) -> Status {
    let text = error.to_string();
    match error {
        ProposeError::NotLeader { leader: _ } => refuse(Why::NotLeader, text),
        ProposeError::Busy => refuse(Why::Busy, text),
        ProposeError::NoSpace(why) => refuse(Why::Full, why),
        ProposeError::TooLarge { size: _ } => Status::invalid_argument(text),
        ProposeError::Refused(refusal) => refusal.into(),
        ProposeError::Unknown | ProposeError::Stopped(_) => Status::unknown(text),
    }
}

/// The same for reads.
pub(super) fn not_confirmed(error: ReadError) -> Status {
    let text = error.to_string();
    match error {
        ReadError::NotLeader { leader: _ } | ReadError::Unreachable { leader: _ } => {
            refuse(Why::NotLeader, text)
        }
        ReadError::NoQuorum => refuse(Why::NoQuorum, text),
        ReadError::Busy => refuse(Why::Busy, text),
        ReadError::Behind | ReadError::Stopped(_) => Status::unavailable(text),
    }
}

/// The leader as a follower calls it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) raft_id: u64,
    pub(super) member: Member,
    pub(super) term: u64,
}

/// Has the leader propose a command, and waits until this manager has applied it.
///
/// # Errors
/// [`ProposeError`]; only after [`ProposeError::Unknown`] it may still take effect.
pub(super) async fn propose(
    core: &Core,
    proposer: &Proposer,
    leader: Remote,
    request: Option<RequestId>,
    command: Command,
) -> Result<Done, ProposeError> {
    let (_, _share) = proposer.share(&command)?;
    let deadline = Instant::now() + PROPOSAL_DEADLINE;
    let message = v1::ProposeRequest {
        target: leader.raft_id,
        request: request.as_ref().map(Into::into),
        command: Some((&command).into()),
    };
    let way = (leader.raft_id, &leader.member);
    let call = core.network.call(way, message, PROPOSAL_DEADLINE, async |mut client, request| {
        client.propose(request).await
    });
    let answer = tokio::select! {
        answer = timeout_at(deadline, call) => answer.map_err(|_| ProposeError::Unknown)?,
        () = superseded(core, leader.term) => return Err(ProposeError::Unknown),
    };
    let v1::ProposeResponse { outcome, index } = answer.map_err(|error| lost(error, &leader))?;
    // It was carried out, so an answer that makes no sense leaves open what became of it.
    let outcome = needed(outcome, "outcome").and_then(wire::convert::outcome).map_err(|error: Malformed| {
        tracing::error!(%error, leader = %leader.member.node, "cannot read the leader's answer");
        ProposeError::Unknown
    })?;
    let applied = timeout_at(deadline, core.machine.wait_applied(index)).await;
    if !applied.unwrap_or(false) {
        return Err(ProposeError::Unknown);
    }
    Ok(Done { outcome, index })
}

/// Returns a while after another term than this has begun.
async fn superseded(core: &Core, term: u64) {
    let mut metrics = core.raft.metrics();
    // Fails only when Raft has stopped, which ends the call's use just as well.
    let _stopped = metrics.wait_for(|metrics| metrics.current_term > term).await.is_err();
    tokio::time::sleep(LATE).await;
}

fn lost(error: CallError, leader: &Remote) -> ProposeError {
    let not_leader = || ProposeError::NotLeader { leader: Some(leader.member.clone()) };
    let why = match &error {
        CallError::Unreached(_) => None,
        CallError::Failed(status) => Why::of(status),
    };
    tracing::debug!(%error, leader = %leader.member.node, "a forwarded command was not answered");
    match (why, error) {
        // Whom the refuser takes for the leader will be known here soon.
        (Some(Why::NotLeader | Why::NoQuorum), _) => ProposeError::NotLeader { leader: None },
        (Some(Why::Busy), _) => ProposeError::Busy,
        (Some(Why::Full), CallError::Failed(status)) => {
            ProposeError::NoSpace(status.message().to_owned())
        }
        (_, error) if error.never_sent() => not_leader(),
        (_, _) => ProposeError::Unknown,
    }
}

/// How far to apply the log to read what was acknowledged before this call.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn read_index(
    core: &Core,
    leader: &Remote,
    ttl: Duration,
) -> Result<u64, ReadError> {
    let message = v1::ReadIndexRequest { target: leader.raft_id };
    let way = (leader.raft_id, &leader.member);
    let answer = core
        .network
        .call(way, message, ttl, async |mut client, request| client.read_index(request).await);
    let v1::ReadIndexResponse { index } = answer.await.map_err(|error| unread(error, leader))?;
    Ok(index)
}

/// Whom the leader hears.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn contacts(
    core: &Core,
    leader: &Remote,
) -> Result<BTreeMap<u64, Contact>, ReadError> {
    let message = v1::ContactsRequest { target: leader.raft_id };
    let way = (leader.raft_id, &leader.member);
    let answer = core
        .network
        .call(way, message, CONTACTS, async |mut client, request| client.contacts(request).await);
    let v1::ContactsResponse { contacts } = answer.await.map_err(|error| unread(error, leader))?;
    Ok(contacts.into_iter().map(|(id, contact)| (id, contact.into())).collect())
}

fn unread(error: CallError, leader: &Remote) -> ReadError {
    tracing::debug!(%error, leader = %leader.member.node, "the leader does not answer");
    let why = match &error {
        CallError::Unreached(_) => None,
        CallError::Failed(status) => Why::of(status),
    };
    match why {
        Some(Why::NotLeader) => ReadError::NotLeader { leader: None },
        Some(Why::NoQuorum) => ReadError::NoQuorum,
        Some(Why::Busy) => ReadError::Busy,
        Some(Why::Full) | None => ReadError::Unreachable { leader: leader.member.clone() },
    }
}
