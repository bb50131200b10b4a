//! How much of the log is on the disk, for those who must not act on more.

use crate::raft::types::LogId;
use tokio::sync::watch;

/// What the writer has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flushed {
    /// The last entry on the disk that was not dropped since.
    pub(super) upto: Option<LogId>,
    /// Why there will be no more.
    pub(super) broken: Option<String>,
}

/// Follows the writer. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::raft) struct Progress(watch::Receiver<Flushed>);

/// An entry that will not come to the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} of the log could not be written: {why}")]
pub(in crate::raft) struct Unflushed {
    index: u64,
    why: String,
}

/// What a writer tells, and who hears it; `upto` is on the disk.
pub(super) fn begin(upto: Option<LogId>) -> (watch::Sender<Flushed>, Progress) {
    let (tell, heard) = watch::channel(Flushed { upto, broken: None });
    (tell, Progress(heard))
}

impl Progress {
    /// The last entry on the disk.
    pub(in crate::raft) fn upto(&self) -> Option<LogId> {
        self.0.borrow().upto
    }

    /// Waits until the entry with this index is on the disk. Only for entries that are in the log.
    ///
    /// # Errors
    /// [`Unflushed`]: the disk failed before, or the log was closed.
    pub(in crate::raft) async fn reach(&self, index: u64) -> Result<(), Unflushed> {
        let mut heard = self.0.clone();
        let is_there = |now: &Flushed| now.upto.is_some_and(|id| id.index >= index);
        match heard.wait_for(|now| is_there(now) || now.broken.is_some()).await {
            Ok(now) if is_there(&now) => Ok(()),
            Ok(now) => Err(Unflushed { index, why: now.broken.clone().unwrap_or_default() }),
            Err(_) => Err(Unflushed { index, why: "the log is closed".into() }),
        }
    }
}
