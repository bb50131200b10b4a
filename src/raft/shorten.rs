//! Takes everything that the log holds off the disk: what is applied is written down first, the rest of the group goes on.

use super::handle::Raft;
use std::{io, time::Duration};

/// openraft is asked again after this long: it may be busy with a snapshot, or a follower with these entries.
const AGAIN: Duration = Duration::from_millis(500);

/// Why the log still holds what it held.
#[derive(Debug, thiserror::Error)]
pub enum ShortenError {
    #[error("the log cannot be written")]
    Write(#[source] io::Error),
    #[error("the store has stopped: {0}")]
    Stopped(String),
}

impl Raft {
    /// Brings the state as it is now to the disk and removes every entry from there that the log has now; waits for
    /// as long as that takes. A follower that lacks one of them is sent a snapshot when it comes back.
    ///
    /// # Errors
    /// [`ShortenError`]. It may be called again, also while another call is under way.
    pub async fn shorten(&self) -> Result<(), ShortenError> {
        let core = &self.core;
        core.log.turn().await.map_err(ShortenError::Write)?;
        let Some(upto) = core.log.last().map(|id| id.index) else { return Ok(()) };
        let mut metrics = core.raft.metrics();
        loop {
            let reached = |at: Option<super::types::LogId>| at.is_some_and(|id| id.index >= upto);
            let (applied, snapshot, purged) = {
                let metrics = metrics.borrow_and_update();
                if let Err(fatal) = &metrics.running_state {
                    return Err(ShortenError::Stopped(fatal.to_string()));
                }
                (reached(metrics.last_applied), reached(metrics.snapshot), reached(metrics.purged))
            };
            if purged {
                return core.log.settle().await.map_err(ShortenError::Write);
            }
            let trigger = core.raft.trigger();
            let asked = match (applied, snapshot) {
                (_, true) => trigger.purge_log(upto).await,
                (true, false) => trigger.snapshot().await,
                (false, false) => Ok(()),
            };
            asked.map_err(|fatal| ShortenError::Stopped(fatal.to_string()))?;
            let further = metrics.wait_for(|now| {
                reached(now.purged)
                    || reached(now.snapshot) != snapshot
                    || reached(now.last_applied) != applied
            });
            // Late or closed: what is the matter is seen above.
            drop(tokio::time::timeout(AGAIN, further).await);
        }
    }
}
