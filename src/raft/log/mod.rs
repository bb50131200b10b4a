//! Raft's log on our disk: segmented, zero-filled ahead, encrypted, one `fdatasync` per batch.
//!
//! Reading order: [`frame`] (one write), [`record`] (what it says), [`segment`] (one file), [`recover`] (reading it back),
//! [`writer`] (the thread that writes), [`flushed`] (how far it is), [`memory`] (what readers see), [`spare`] (the next
//! segment), [`disk`] (the files).

mod disk;
mod flushed;
mod frame;
mod memory;
mod record;
mod recover;
mod segment;
mod spare;
mod witness;
mod writer;

#[cfg(test)]
mod ahead_test;
#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod faulty;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

pub(super) use disk::free_space;
pub(super) use flushed::Progress;
pub use recover::LogError;
pub(super) use witness::{Seen, Witness};

use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::{
    crypto::storage::StorageKeys,
    kit::{
        failpoint::failpoint,
        id::{ClusterId, NodeId},
    },
};
use disk::{Directory, Disk};
use memory::{Found, Memory};
use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use record::Record;
use spare::Spare;
use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};
use tokio::sync::oneshot;
use writer::{Job, Writer};

/// Whose log it is, and the key it is encrypted with.
#[derive(Debug)]
pub(super) struct LogIdentity {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) key: Arc<StorageKeys>,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSizes {
    pub(super) segment: u64,
    /// The first segment of a new log, which somebody waits for.
    pub(super) first_segment: u64,
    /// Newest entries kept in memory, because applying and replicating read them back.
    pub(super) cache: usize,
    /// At most this much is read for one follower at a time, and always one entry.
    pub(super) read: usize,
    /// Left in the last segment for Raft's own entries when the disk is full.
    pub(super) reserve: u64,
    /// Left on the disk for the state file when the next segment is prepared.
    pub(super) margin: u64,
}

impl Default for LogSizes {
    fn default() -> Self {
        Self {
            segment: 16 << 20,
            first_segment: 1 << 20,
            cache: 4 << 20,
            read: 2 << 20,
            reserve: 64 << 10,
            margin: 8 << 20,
        }
    }
}

/// The log; clones share it.
#[derive(Debug, Clone)]
pub(super) struct LogStore {
    identity: Arc<LogIdentity>,
    memory: Arc<Mutex<Memory>>,
    sizes: LogSizes,
    room: Arc<AtomicU64>,
    spare: Arc<Spare>,
    jobs: mpsc::Sender<Job>,
    progress: Progress,
    /// The Raft id of this manager, if it runs ahead of its disk while it leads.
    ahead: Option<u64>,
    seen: Seen,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// The disk has no room for more entries; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for the next log segment: {0}")]
pub(super) struct Full(pub(super) String);

impl LogStore {
    /// Opens the log in a directory, making both if they are missing.
    ///
    /// # Errors
    /// [`LogError`]; nothing was changed then.
    pub(super) fn open(
        path: &Path,
        identity: Arc<LogIdentity>,
        sizes: LogSizes,
    ) -> Result<Self, LogError> {
        Self::open_seen(path, identity, sizes, None)
    }

    /// The same, with a witness, which is asked and told further on.
    ///
    /// # Errors
    /// [`LogError`]; nothing was changed then.
    pub(super) fn open_seen(
        path: &Path,
        identity: Arc<LogIdentity>,
        sizes: LogSizes,
        witness: Option<Witness>,
    ) -> Result<Self, LogError> {
        let disk = Directory::open(path).map_err(|source| LogError::Io {
            doing: "use",
            path: path.to_owned(),
            source,
        })?;
        Self::on(Arc::new(disk), identity, sizes, witness)
    }

    fn on(
        disk: Arc<dyn Disk>,
        identity: Arc<LogIdentity>,
        sizes: LogSizes,
        witness: Option<Witness>,
    ) -> Result<Self, LogError> {
        let point = witness.as_ref().map_or(Ok(None), Witness::read);
        let recovered =
            recover::recover(&*disk, &identity, point.as_ref().ok().cloned().flatten())?;
        let seen = point.map_or_else(|seen| seen, |_| recovered.seen);
        let spare_error = |source| LogError::Io {
            doing: "prepare the log segment",
            path: disk.path(segment::SPARE),
            source,
        };
        let new = recovered.end.segments.is_empty();
        let first = new
            .then(|| segment::fill_spare(&*disk, sizes.first_segment, sizes.margin))
            .transpose()
            .map_err(spare_error)?;
        let spare = Spare::new(first);
        let filler = spare.run(disk.clone(), sizes.segment, sizes.margin).map_err(spare_error)?;
        let last = recovered.memory.last();
        let (flushed, progress) = flushed::begin(last);
        let memory = Arc::new(Mutex::new(recovered.memory));
        let room = Arc::new(AtomicU64::new(recovered.room));
        let writer = Writer {
            disk: disk.clone(),
            identity: identity.clone(),
            memory: memory.clone(),
            cache_bytes: sizes.cache,
            spare: spare.clone(),
            room: room.clone(),
            end: recovered.end,
            on_disk: recovered.on_disk,
            last,
            flushed,
            witness,
        };
        let (jobs, queue) = mpsc::channel();
        let writing = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run(&queue))
            .map_err(spare_error)?;
        let threads = Arc::new(Mutex::new(vec![filler, writing]));
        Ok(Self {
            identity,
            memory,
            sizes,
            room,
            spare,
            jobs,
            progress,
            ahead: None,
            seen,
            threads,
        })
    }

    /// From now on this clone, and those made of it, answer for entries of `raft_id`'s own lead at once, and write them
    /// while the others do. The followers are sent them without waiting for this disk, and openraft, which waits for
    /// every append before it does anything else, goes on calling its followers while this disk is slow.
    ///
    /// openraft then counts this manager among those that have an entry too early. That is made good by whoever acts on
    /// it: nothing is applied here ([`super::machine`]), told to be committed ([`super::network`]), or written down as
    /// committed ([`writer`]) before [`LogStore::progress`] has reached it. So whatever anybody relies on is on the disks
    /// of a majority, this one's included.
    ///
    /// It is not early for anything else. While somebody else leads, an append is answered when it is on the disk; and
    /// when the lead ends, by saving another's vote, everything asked for before is on the disk as well, for the writer
    /// keeps the order. After a start this manager has to be elected again, even if it led: others may have entries of
    /// its term that were lost here, and it must not give their ids to different ones. That is why its own vote, once
    /// read back, counts as one that was never granted by a majority.
    pub(super) fn run_ahead(&mut self, raft_id: u64) {
        self.ahead = Some(raft_id);
        let mut memory = self.lock();
        if let Some(vote) = &mut memory.vote
            && vote.leader_id.node_id == raft_id
        {
            vote.committed = false;
        }
    }

    /// What the witness said of the log when it was opened.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// How much of the log is on the disk.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Waits until everything asked for so far is on the disk, and off it.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) async fn settle(&self) -> io::Result<()> {
        self.ask(Job::Settle).await
    }

    /// Writes the marks down and ends the log's threads; blocks until they have.
    pub(super) fn close(&self) {
        // If the writer is gone already, so is everything it could have written.
        let _gone = self.jobs.send(Job::Close);
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder panics"));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }

    /// Whether `bytes` more can be appended without waiting for somebody to free space.
    ///
    /// # Errors
    /// [`Full`]: the present segment is nearly full and the disk refuses the next one.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), Full> {
        if self.room.load(Ordering::Relaxed) >= bytes as u64 * 2 + self.sizes.reserve {
            return Ok(());
        }
        match self.spare.refusal() {
            Some((_, why)) => Err(Full(why)),
            None => Ok(()),
        }
    }

    /// The last entry's id, or the last purged one's.
    pub(super) fn last(&self) -> Option<LogId> {
        self.lock().last()
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.lock().committed
    }

    /// The id of the entry at this index, if it is still known.
    pub(super) fn id_at(&self, index: u64) -> Option<LogId> {
        self.lock().id_at(index)
    }

    pub(super) fn purged(&self) -> Option<LogId> {
        self.lock().purged
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.lock().vote
    }

    /// If the log has twice `keep` bytes: the index up to which it can be purged if the newest `keep` are to stay.
    pub(super) fn excess(&self, keep: usize) -> Option<u64> {
        self.lock().excess(keep)
    }

    /// Begins a new segment: when what is in the log now is purged, all of it leaves the disk.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) async fn turn(&self) -> io::Result<()> {
        self.ask(Job::Turn).await
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of this lock panics")
    }

    #[expect(clippy::result_large_err, reason = "openraft's own error type")]
    fn read(&self, range: impl RangeBounds<u64>, limit: usize) -> Result<Vec<Entry>, StorageError> {
        let found = self.lock().read(range, limit);
        let mut entries = Vec::with_capacity(found.len());
        for one in found {
            entries.push(match one {
                Found::Here(entry) => entry,
                Found::There(log_id, place) => self.fetch(log_id, &place).map_err(|source| {
                    StorageIOError::read_log_entry(log_id, AnyError::new(&source))
                })?,
            });
        }
        Ok(entries)
    }

    fn fetch(&self, log_id: LogId, place: &memory::Place) -> io::Result<Entry> {
        let mut sealed = vec![0; place.length];
        place.segment.file.read_at(&mut sealed, place.offset)?;
        match Record::open(&self.identity, &place.position(), &sealed) {
            Ok(Record::Entry(entry)) if entry.log_id == log_id => Ok(entry),
            Ok(other) => Err(io::Error::other(format!("found {other:?} instead"))),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn broken(&self) -> Result<(), io::Error> {
        match &self.lock().broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| io::Error::other("the log is closed"))
    }

    async fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job,
    ) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.send(job(tx))?;
        rx.await.map_err(|_| io::Error::other("the log is closed"))?
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(range, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(start..end, self.sizes.read)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let memory = self.lock();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        failpoint("vote.asked");
        self.ask(|tx| Job::Vote(*vote, tx))
            .await
            .map_err(|e| StorageIOError::write_vote(AnyError::new(&e)))?;
        failpoint("vote.saved");
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.vote())
    }

    /// Written with the next frame: losing it costs a new commit round, nothing else.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed = |e: &io::Error| StorageIOError::write_logs(AnyError::new(e));
        self.broken().map_err(|e| failed(&e))?;
        let mut list = Vec::new();
        let mut leads = self.ahead.is_some();
        {
            let mut memory = self.lock();
            let vote = memory.vote.filter(|vote| vote.committed).map(|vote| vote.leader_id);
            leads &= vote.map(|leader| leader.node_id) == self.ahead;
            for entry in entries {
                memory
                    .check_next(entry.log_id.index)
                    .map_err(|hole| failed(&io::Error::other(hole)))?;
                leads &= vote == Some(entry.log_id.leader_id);
                memory.insert(entry.clone(), self.sizes.cache);
                list.push(entry);
            }
        }
        let (later, now) = if leads { (None, Some(callback)) } else { (Some(callback), None) };
        self.send(Job::Append(list, later)).map_err(|e| failed(&e))?;
        if let Some(callback) = now {
            callback.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let last = {
            let mut memory = self.lock();
            // What is committed may be applied. Whoever wants it cut is refused before (`raft::damage`).
            if let Some(committed) = memory.committed.filter(|id| log_id.index <= id.index) {
                let why =
                    format!("the log was to be cut at {log_id}, and {committed} is committed");
                return Err(StorageIOError::write_logs(AnyError::error(why)).into());
            }
            memory.truncate(log_id.index);
            memory.last()
        };
        self.send(Job::Truncate(log_id.index, last))
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }

    /// Done soon after; [`LogStore::settle`] waits for it. openraft would wait for the disk, and call nobody meanwhile.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.broken().map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?;
        self.lock().purge(log_id);
        self.send(Job::Purge(log_id))
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }
}
