//! Reads that decide access: one confirmation of leadership (ReadIndex) shared by all who wait for one.

use super::{handle::Core, types::Member};
use crate::{kit::task::Stop, store::Linear};
use openraft::error::{CheckIsLeaderError, RaftError};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

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

type Waiting = oneshot::Sender<Result<Linear, ReadError>>;

/// Gathers readers and confirms for all of them at once.
pub(super) struct Confirmer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Waiting>,
}

/// Makes both ends.
pub(super) fn reader(core: Arc<Core>) -> (Reader, Confirmer) {
    let (tx, queue) = mpsc::channel(QUEUE);
    (Reader { queue: tx }, Confirmer { core, queue })
}

impl Reader {
    /// A state that was the newest at some moment after this call.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn linear(&self) -> Result<Linear, ReadError> {
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
                result = confirm(&self.core) => result,
            };
            for reply in waiting.drain(..) {
                // A reader that went away needs no answer.
                let _gone = reply.send(result.clone());
            }
        }
    }
}

async fn confirm(core: &Core) -> Result<Linear, ReadError> {
    let confirmed = tokio::time::timeout(DEADLINE, core.raft.ensure_linearizable()).await;
    match confirmed {
        Ok(Ok(_)) => Ok(Linear::dangerous_assume(core.machine.state())),
        Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward)))) => {
            Err(ReadError::NotLeader { leader: forward.leader_node })
        }
        Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
            Err(ReadError::NoQuorum)
        }
        Ok(Err(RaftError::Fatal(fatal))) => Err(ReadError::Stopped(fatal.to_string())),
    }
}
