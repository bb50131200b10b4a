//! Reads that decide access: one confirmation of leadership (ReadIndex) shared by all who wait for one.
//!
//! The leader asks a majority; a follower asks the leader and applies what it is told.

use super::{
    forward,
    handle::{Core, Leader},
    types::{LogId, Member},
};
use crate::{
    kit::task::Stop,
    store::{Confirms, Linear, Quorum},
};
use openraft::error::{CheckIsLeaderError, RaftError};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Readers that may wait for a confirmation.
const QUEUE: usize = 4096;
/// How long one confirmation may take: as long as it takes to lose an election.
const DEADLINE: Duration = Duration::from_secs(3);

/// Why the newest state could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("this manager does not lead the cluster")]
    NotLeader { leader: Option<Member> },
    #[error("a majority of the managers does not answer")]
    NoQuorum,
    #[error("the leader {} at {} does not answer", leader.node, leader.addr)]
    Unreachable { leader: Member },
    #[error("this manager has not caught up with the leader yet")]
    Behind,
    #[error("the manager is busy: too many reads wait")]
    Busy,
    #[error("the store of this manager has stopped: {0}")]
    Stopped(String),
}

/// Asks for confirmed reads.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    queue: mpsc::Sender<Waiting>,
}

/// A state that was the newest, and the entry it goes to at least.
#[derive(Debug, Clone)]
pub(super) struct Confirmed {
    pub(super) linear: Linear,
    pub(super) index: u64,
}

/// Proof that a majority was asked, or the leader, which asked one; made by [`confirmed`] alone.
#[derive(Debug)]
pub struct Majority(());

impl Confirms for Quorum {
    type Proof = Majority;
}

/// Whom a confirmer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The other managers; only the leader gets an answer.
    Majority,
    /// The leader, wherever it is.
    Leader,
}

type Waiting = oneshot::Sender<Result<Confirmed, ReadError>>;

/// Gathers readers and confirms for all of them at once.
pub(super) struct Confirmer {
    core: Arc<Core>,
    ask: Ask,
    queue: mpsc::Receiver<Waiting>,
}

/// Makes both ends.
pub(super) fn reader(core: Arc<Core>, ask: Ask) -> (Reader, Confirmer) {
    let (tx, queue) = mpsc::channel(QUEUE);
    (Reader { queue: tx }, Confirmer { core, ask, queue })
}

impl Reader {
    /// A state that was the newest at some moment after this call.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn confirm(&self) -> Result<Confirmed, ReadError> {
        let stopped = || ReadError::Stopped("it is shutting down".into());
        let (tx, rx) = oneshot::channel();
        self.queue.try_send(tx).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        rx.await.map_err(|_| stopped())?
    }
}

impl Confirmer {
    /// Works until told to stop.
    pub(super) async fn run(mut self, stop: Stop) {
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                count = self.queue.recv_many(&mut waiting, QUEUE) => {
                    if count == 0 {
                        return;
                    }
                }
            }
            // Whoever comes from here on waits for the next round: this one may confirm an older moment.
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                result = confirm(&self.core, self.ask) => result,
            };
            for reply in waiting.drain(..) {
                // A reader that went away needs no answer.
                let _gone = reply.send(result.clone());
            }
        }
    }
}

async fn confirm(core: &Core, ask: Ask) -> Result<Confirmed, ReadError> {
    match (ask, core.leader()) {
        (Ask::Leader, Leader::Other(leader)) => {
            let deadline = Instant::now() + DEADLINE;
            let asked = timeout_at(deadline, forward::read_index(core, &leader, DEADLINE)).await;
            let member = leader.member;
            let index = asked.map_err(|_| ReadError::Unreachable { leader: member })??;
            match timeout_at(deadline, core.machine.wait_applied(index)).await {
                Ok(true) => Ok(confirmed(core, index)),
                Ok(false) => Err(ReadError::Stopped(core.why_stopped())),
                Err(_) => Err(ReadError::Behind),
            }
        }
        (Ask::Majority, _) | (Ask::Leader, Leader::This | Leader::Nobody) => majority(core).await,
    }
}

async fn majority(core: &Core) -> Result<Confirmed, ReadError> {
    let deadline = Instant::now() + DEADLINE;
    let committed = match timeout_at(deadline, core.raft.get_read_log_id()).await {
        Ok(Ok((committed, _applied))) => committed,
        Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward)))) => {
            return Err(ReadError::NotLeader { leader: forward.leader_node });
        }
        Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
            return Err(ReadError::NoQuorum);
        }
        Ok(Err(RaftError::Fatal(fatal))) => return Err(ReadError::Stopped(fatal.to_string())),
    };
    // Nobody was told of what is not on this disk yet, once the first entry of this lead is: it need not be waited for.
    let flushed = core.log.progress().upto();
    let leads = |id: Option<LogId>| id.map(|id| id.leader_id);
    let newest =
        if leads(flushed) == leads(committed) { committed.min(flushed) } else { committed };
    let index = newest.map_or(0, |id| id.index);
    match timeout_at(deadline, core.machine.wait_applied(index)).await {
        Ok(true) => Ok(confirmed(core, index)),
        Ok(false) => Err(ReadError::Stopped(core.why_stopped())),
        Err(_) => Err(ReadError::Behind),
    }
}

/// Only for a state that has applied what was found to be the newest.
fn confirmed(core: &Core, index: u64) -> Confirmed {
    Confirmed { linear: Linear::new(core.machine.state(), Majority(())), index }
}
