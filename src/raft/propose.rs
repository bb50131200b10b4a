//! Packs the commands that wait into one entry, keeps two entries on their way, and answers each caller.
//!
//! openraft waits for the disk once per entry, so without packing every command would cost an `fdatasync` of its own.
//! Nobody lingers: a command that finds nothing before it goes at once, and those that come meanwhile share the next entry.

use super::{
    handle::Core,
    log::Full,
    types::{Batch, Member, Outcomes, TypeConfig},
};
use crate::{
    kit::{
        clock::Timestamp,
        limits::{BATCH_BYTES, BATCH_COMMANDS, PROPOSAL_DEADLINE},
        task::Stop,
    },
    model::{
        command::{Command, Outcome, RequestId, Stamped},
        refusal::Refusal,
    },
    wire::v1,
};
use futures::{StreamExt, stream::FuturesUnordered};
use openraft::error::{ClientWriteError, Fatal};
use prost::Message;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Commands that may wait for their entry; more are told to come back. A bit over what fills the entries on their way.
const QUEUE: usize = 4096;
/// Bytes of commands that may wait, on their way included.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Entries on their way at once: one at the disk while the next is gathered.
const IN_FLIGHT: usize = 2;
/// One command has at most this many bytes; chores that change many tasks propose several.
pub const COMMAND_SIZE: usize = 3 * 1024 * 1024;

/// Why a proposal was not carried out, or nobody knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// The command was carried out as far as it could be: the store said no.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing was proposed; ask the leader.
    #[error("this manager does not lead the cluster")]
    NotLeader { leader: Option<Member> },
    /// Nothing was proposed; too many commands wait.
    #[error("the manager is busy: too many changes wait to be written")]
    Busy,
    /// It may or may not take effect, now or later. The same request id may be sent again.
    #[error("no answer within {} s; the change may or may not have been made", PROPOSAL_DEADLINE.as_secs())]
    Unknown,
    /// Nothing was proposed: the disk is full.
    #[error("the disk that holds the data directory is full: {0}")]
    NoSpace(String),
    #[error("the command has {size} bytes; at most {COMMAND_SIZE} are possible")]
    TooLarge { size: usize },
    /// This manager's store stopped and its process must be started again.
    #[error("the store of this manager has stopped: {0}")]
    Stopped(String),
}

impl ProposeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused(refusal) => return refusal.hint.clone(),
            Self::NotLeader { leader: Some(leader) } => {
                return Some(format!("the leader is {} at {}", leader.node, leader.addr));
            }
            Self::NotLeader { leader: None } => "wait until a leader has been elected",
            Self::Busy => "try again in a moment",
            Self::Unknown => "look whether it was made before trying again",
            Self::NoSpace(_) => "free some space and try again; nothing that was stored is lost",
            Self::TooLarge { .. } => "split it",
            Self::Stopped(_) => "see the daemon's log for the cause, then start secretd again",
        };
        Some(text.to_owned())
    }
}

/// Takes proposals in. Cloned by everyone who has some.
#[derive(Debug, Clone)]
pub(super) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    bytes: Arc<Semaphore>,
}

/// What became of a command, and in which entry.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) index: u64,
}

struct Proposal {
    request: Option<RequestId>,
    command: Command,
    weight: usize,
    reply: oneshot::Sender<Result<Done, ProposeError>>,
    /// Its share of [`QUEUE_BYTES`], given back when it is answered.
    _share: OwnedSemaphorePermit,
}

/// Packs proposals into entries. Run by [`Packer::run`].
pub(super) struct Packer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Proposal>,
    /// The time never goes back from one command to the next.
    last_at: Timestamp,
    /// One that did not fit into the entry before.
    left: Option<Proposal>,
}

/// Makes both ends.
pub(super) fn proposer(core: Arc<Core>) -> (Proposer, Packer) {
    let (tx, queue) = mpsc::channel(QUEUE);
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES));
    (Proposer { queue: tx, bytes }, Packer { core, queue, last_at: Timestamp(0), left: None })
}

impl Proposer {
    /// Makes room for a command among those that wait, here or at the leader.
    ///
    /// # Errors
    /// [`ProposeError::TooLarge`], [`ProposeError::Busy`].
    pub(super) fn share(
        &self,
        command: &Command,
    ) -> Result<(usize, OwnedSemaphorePermit), ProposeError> {
        let weight = weight(command);
        if weight > COMMAND_SIZE {
            return Err(ProposeError::TooLarge { size: weight });
        }
        let share = u32::try_from(weight).expect("COMMAND_SIZE fits");
        let share = self.bytes.clone().try_acquire_many_owned(share);
        Ok((weight, share.map_err(|_| ProposeError::Busy)?))
    }

    /// Proposes a command and waits for its outcome, at most [`PROPOSAL_DEADLINE`].
    ///
    /// # Errors
    /// [`ProposeError`]; only after [`ProposeError::Unknown`] and [`ProposeError::Stopped`] it may still take effect.
    pub(super) async fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Done, ProposeError> {
        let (weight, _share) = self.share(&command)?;
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal { request, command, weight, reply, _share };
        self.queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        match tokio::time::timeout(PROPOSAL_DEADLINE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(ProposeError::Unknown),
        }
    }
}

impl Packer {
    /// Works until told to stop; proposals still waiting then are answered with [`ProposeError::Stopped`].
    pub(super) async fn run(mut self, stop: Stop) {
        let mut on_their_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = on_their_way.next(), if !on_their_way.is_empty() => {}
                first = next(&mut self.left, &mut self.queue), if on_their_way.len() < IN_FLIGHT => {
                    let Some(first) = first else { break };
                    // Callers that are ready to run get to add theirs; this is not waiting.
                    tokio::task::yield_now().await;
                    if let Some(sent) = self.send(first).await {
                        on_their_way.push(sent);
                    }
                }
            }
        }
        while on_their_way.next().await.is_some() {}
    }

    /// Gathers what waits behind `first`, hands the entry to openraft and returns the wait for its outcome.
    async fn send(&mut self, first: Proposal) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut bytes = first.weight;
        let mut batch = vec![first];
        while batch.len() < BATCH_COMMANDS
            && let Ok(next) = self.queue.try_recv()
        {
            if bytes + next.weight > BATCH_BYTES {
                self.left = Some(next);
                break;
            }
            bytes += next.weight;
            batch.push(next);
        }
        if self.core.leaving.load(Ordering::Relaxed) {
            for proposal in batch {
                answer(proposal.reply, Err(ProposeError::NotLeader { leader: None }));
            }
            return None;
        }
        if let Err(Full(why)) = self.core.check_room(bytes) {
            for proposal in batch {
                answer(proposal.reply, Err(ProposeError::NoSpace(why.clone())));
            }
            return None;
        }
        self.last_at = self.last_at.max(self.core.clock.now());
        let at = self.last_at;
        let mut replies = Vec::with_capacity(batch.len());
        let mut commands = Vec::with_capacity(batch.len());
        let mut shares = Vec::with_capacity(batch.len());
        for Proposal { request, command, weight: _, reply, _share } in batch {
            commands.push(Stamped { request, at, command });
            replies.push(reply);
            shares.push(_share);
        }
        // Only hands it over; entries leave in the order of these calls.
        let sent = self.core.raft.client_write_ff(Batch::new(commands, bytes)).await;
        let core = self.core.clone();
        Some(async move {
            let _shares = shares;
            let results = match outcome(sent, &core).await {
                Ok((index, outcomes)) => {
                    outcomes.into_iter().map(|outcome| Ok(Done { outcome, index })).collect()
                }
                Err(error) => vec![Err(error); replies.len()],
            };
            for (reply, result) in replies.into_iter().zip(results) {
                answer(reply, result);
            }
        })
    }
}

type Sent = Result<oneshot::Receiver<openraft::raft::ClientWriteResult<TypeConfig>>, Fatal<u64>>;

async fn outcome(sent: Sent, core: &Core) -> Result<(u64, Vec<Outcome>), ProposeError> {
    let done = sent.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
    match tokio::time::timeout(PROPOSAL_DEADLINE, done).await {
        Ok(Ok(Ok(response))) => {
            let Outcomes(outcomes) = response.data;
            Ok((response.log_id.index, outcomes))
        }
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(ProposeError::NotLeader { leader: forward.leader_node })
        }
        Ok(Ok(Err(ClientWriteError::ChangeMembershipError(error)))) => {
            unreachable!("commands change no membership: {error}")
        }
        Ok(Err(_gone)) => Err(ProposeError::Stopped(core.why_stopped())),
        Err(_elapsed) => Err(ProposeError::Unknown),
    }
}

async fn next(
    left: &mut Option<Proposal>,
    queue: &mut mpsc::Receiver<Proposal>,
) -> Option<Proposal> {
    match left.take() {
        Some(proposal) => Some(proposal),
        None => queue.recv().await,
    }
}

fn answer(reply: oneshot::Sender<Result<Done, ProposeError>>, result: Result<Done, ProposeError>) {
    // A caller that gave up has been told that the outcome is unknown.
    let _gone = reply.send(result);
}

fn stopped() -> ProposeError {
    ProposeError::Stopped("it is shutting down".into())
}

/// About how many bytes a command takes in the log; exact but for the payloads, which are not copied for it.
fn weight(command: &Command) -> usize {
    const AROUND: usize = 160;
    match command {
        Command::CreateObject { kind: _, id: _, name, labels, size: _, sealed } => {
            let labels: usize = labels.iter().map(|(k, v)| k.len() + v.len() + 8).sum();
            AROUND + name.as_str().len() + labels + sealed.wrapped_key.len() + sealed.body.len()
        }
        other => AROUND + v1::Command::from(other).encoded_len(),
    }
}
