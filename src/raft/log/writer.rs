//! The one thread that writes the log: everything waiting becomes one frame, one write, one `fdatasync`.
//!
//! Promises are answered only after that, in the order they were asked for. After a failed write or sync nothing more
//! is written: the kernel may have dropped the dirty pages, and trying again could report success for lost bytes.

use super::{
    LogIdentity,
    disk::Disk,
    flushed::Flushed,
    frame::{self, Frame, SECTOR},
    memory::{Memory, Place},
    record::{Chain, Position, Record, chain_next, chain_start, encode_entry},
    segment::{self, Filled, Header, Segment},
    spare::Spare,
    witness::Witness,
};
use crate::{
    crypto::record,
    kit::failpoint::failpoint,
    raft::types::{Entry, LogId, TypeConfig, Vote},
};
use openraft::storage::LogFlushed;
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};
use tokio::sync::{oneshot, watch};

/// A frame is closed once it holds this many bytes; a single larger record gets one alone.
const FRAME_BYTES: usize = 4 * 1024 * 1024;

/// What the writer is asked for.
pub(super) enum Job {
    /// Unless it was answered already ([`super::LogStore::run_ahead`]), with whom to tell.
    Append(Vec<Entry>, Option<LogFlushed<TypeConfig>>),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    /// Drops entries from this index on, after which the other is the last. Goes to the disk with the next frame: what
    /// follows it carries it.
    Truncate(u64, Option<LogId>),
    Purge(LogId),
    /// Answered when everything asked for before is done.
    Settle(oneshot::Sender<io::Result<()>>),
    /// Begins a new segment, so that the present one can go.
    Turn(oneshot::Sender<io::Result<()>>),
    Close,
}

/// A segment and how far its entries go.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) segment: Arc<Segment>,
    pub(super) last_index: Option<u64>,
}

/// Where writing goes on.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segments: VecDeque<Written>,
    /// In the last segment.
    pub(super) offset: u64,
    /// Of the next record.
    pub(super) sequence: u64,
    pub(super) chain: Chain,
}

pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) identity: Arc<LogIdentity>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) cache_bytes: usize,
    pub(super) spare: Arc<Spare>,
    /// Bytes left in the last segment.
    pub(super) room: Arc<AtomicU64>,
    pub(super) end: End,
    pub(super) on_disk: Marks,
    /// The last entry once everything taken so far is written.
    pub(super) last: Option<LogId>,
    pub(super) flushed: watch::Sender<Flushed>,
    pub(super) witness: Option<Witness>,
}

/// The marks as they were last written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

/// A record on its way, and the entry it holds.
struct Pending {
    plain: Vec<u8>,
    entry: Option<LogId>,
}

/// Whom to tell once the frame is on the disk.
enum Waiting {
    Append(LogFlushed<TypeConfig>),
    Caller(oneshot::Sender<io::Result<()>>),
}

impl Writer {
    /// Works until told to close, or until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        // Truncations wait here for a frame that must be written.
        let mut pending: Vec<Pending> = Vec::new();
        while let Ok(first) = jobs.recv() {
            let mut waiting = Vec::new();
            let (mut urgent, mut purging, mut closing) = (false, false, false);
            let mut turning = false;
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Append(entries, done) => {
                        for entry in &entries {
                            let plain = encode_entry(entry);
                            pending.push(Pending { plain, entry: Some(entry.log_id) });
                        }
                        self.last = entries.last().map(|entry| entry.log_id).or(self.last);
                        waiting.extend(done.map(Waiting::Append));
                        urgent = true;
                    }
                    Job::Vote(vote, done) => {
                        pending.push(Pending { plain: Record::Vote(vote).encode(), entry: None });
                        self.on_disk.vote = Some(vote);
                        waiting.push(Waiting::Caller(done));
                        urgent = true;
                    }
                    Job::Truncate(index, last) => {
                        let plain = Record::Truncate(index).encode();
                        pending.push(Pending { plain, entry: None });
                        self.last = last;
                    }
                    Job::Purge(upto) => {
                        // The mark must be on the disk only before entries really go.
                        purging |= self.removable(upto) > 0;
                        self.last = self.last.max(Some(upto));
                    }
                    Job::Settle(done) => waiting.push(Waiting::Caller(done)),
                    Job::Turn(done) => {
                        turning = true;
                        waiting.push(Waiting::Caller(done));
                    }
                    Job::Close => closing = true,
                }
                let bytes: usize = pending.iter().map(|p| p.plain.len()).sum();
                next = if bytes < FRAME_BYTES { jobs.try_recv().ok() } else { None };
            }
            let result = if turning {
                self.turn(std::mem::take(&mut pending))
            } else if urgent || purging || closing {
                self.write(std::mem::take(&mut pending))
            } else {
                self.refused()
            };
            let unlinking = purging || turning;
            let result = result.and_then(|()| if unlinking { self.unlink() } else { Ok(()) });
            match &result {
                Ok(()) => self.tell(Flushed { upto: self.last, broken: None }),
                Err(error) => self.poison(error),
            }
            for one in waiting {
                let result = match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(copy(error)),
                };
                match one {
                    Waiting::Append(done) => done.log_io_completed(result),
                    // A caller that went away needs no answer.
                    Waiting::Caller(done) => drop(done.send(result)),
                }
            }
            if closing {
                break;
            }
        }
        self.spare.close();
    }

    /// Writes the records, and the marks that changed since, in as few frames as they fit in.
    fn write(&mut self, mut pending: Vec<Pending>) -> io::Result<()> {
        self.refused()?;
        let (committed, purged) = {
            let memory = self.memory.lock().expect("no holder of this lock panics");
            (memory.committed, memory.purged)
        };
        if purged != self.on_disk.purged
            && let Some(upto) = purged
        {
            pending.insert(0, Pending { plain: Record::Purge(upto).encode(), entry: None });
            self.on_disk.purged = purged;
        }
        // Not beyond the entries: a leader may commit what its own disk has yet to get.
        if committed != self.on_disk.committed
            && committed <= self.last.max(purged)
            && let Some(upto) = committed
        {
            pending.push(Pending { plain: Record::Commit(upto).encode(), entry: None });
            self.on_disk.committed = committed;
        }
        let mut rest = pending.into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut part = Vec::new();
            while let Some(next) = rest.peek()
                && (part.is_empty() || bytes + next.plain.len() <= FRAME_BYTES)
            {
                bytes += next.plain.len();
                part.extend(rest.next());
            }
            self.write_frame(part)?;
        }
        Ok(())
    }

    /// Writes the records into the present segment, and what follows into a new one.
    fn turn(&mut self, pending: Vec<Pending>) -> io::Result<()> {
        self.write(pending)?;
        let Some(last) = self.end.segments.back() else { return Ok(()) };
        // One with nothing but marks stays, unless those may lie under an older storage key.
        if last.last_index.is_none() && !self.identity.key.has_older() {
            return Ok(());
        }
        self.room.store(0, Ordering::Relaxed);
        // The marks alone.
        self.write_frame(Vec::new())
    }

    fn write_frame(&mut self, mut records: Vec<Pending>) -> io::Result<()> {
        let left = self.room.load(Ordering::Relaxed);
        let new = if extent(&records) as u64 > left {
            let marks = self.marks();
            records.splice(0..0, marks);
            Some(self.next_segment(extent(&records) as u64)?)
        } else {
            None
        };
        let (segment, offset, chain) = match &new {
            Some((segment, header)) => {
                let bytes = header.encode(&self.identity);
                segment.file.write_at(&bytes, 0)?;
                failpoint("log.roll.headed");
                (segment.clone(), SECTOR as u64, chain_start(&bytes))
            }
            None => {
                let last = self.end.segments.back().expect("there is room, so there is a segment");
                (last.segment.clone(), self.end.offset, self.end.chain)
            }
        };
        let mut frame = Frame::new(self.end.sequence);
        let mut places = Vec::new();
        for Pending { plain, entry } in records {
            let sequence = frame.next_record();
            let position = Position { segment: segment.number, sequence, chain };
            let sealed = self.identity.key.seal(&position.aad(&self.identity), &plain);
            let at = offset + frame.push(&sealed) as u64;
            if let Some(log_id) = entry {
                let segment = segment.clone();
                let place = Place { segment, offset: at, length: sealed.len(), sequence, chain };
                places.push((log_id, place));
            }
        }
        self.end.sequence = frame.next_record();
        self.end.chain = chain_next(&chain, frame.body());
        let bytes = frame.finish();
        failpoint("log.append.begun");
        segment.file.write_at(&bytes, offset)?;
        failpoint("log.append.written");
        segment.file.sync()?;
        failpoint("log.append.synced");
        if new.is_some() {
            self.disk.rename(segment::SPARE, &segment::name(segment.number))?;
            failpoint("log.roll.renamed");
            self.disk.sync_dir()?;
            if segment.number == 1 {
                self.disk.mark_begun()?;
            }
            failpoint("log.roll.done");
            self.spare.begin_next();
            self.end.segments.push_back(Written { segment: segment.clone(), last_index: None });
        }
        if let Some(witness) = &self.witness {
            witness.note(self.end.sequence, &self.end.chain);
        }
        self.end.offset = offset + bytes.len() as u64;
        self.room.store(segment.size - self.end.offset, Ordering::Relaxed);
        let last = self.end.segments.back_mut().expect("the one just written to");
        let mut memory = self.memory.lock().expect("no holder of this lock panics");
        for (log_id, place) in places {
            last.last_index = last.last_index.max(Some(log_id.index));
            memory.placed(log_id, place, self.cache_bytes);
        }
        Ok(())
    }

    /// What every segment starts with, so that the ones before it can go.
    fn marks(&self) -> Vec<Pending> {
        let Marks { vote, committed, purged } = self.on_disk;
        let records =
            [vote.map(Record::Vote), purged.map(Record::Purge), committed.map(Record::Commit)];
        records
            .into_iter()
            .flatten()
            .map(|record| Pending { plain: record.encode(), entry: None })
            .collect()
    }

    fn next_segment(&self, frame: u64) -> io::Result<(Arc<Segment>, Header)> {
        let mut filled = self.spare.take()?;
        let needed = SECTOR as u64 + frame;
        if filled.size < needed {
            let file = segment::zeroed(&*self.disk, segment::SPARE, needed)?;
            filled = Filled { file, size: needed };
        }
        let number = self.end.segments.back().map_or(1, |last| last.segment.number + 1);
        let Filled { file, size } = filled;
        let header =
            Header { number, first_record: self.end.sequence, size, chain: self.end.chain };
        Ok((Arc::new(Segment { number, file, size }), header))
    }

    /// How many of the oldest segments hold nothing above `upto`. The last one always stays.
    fn removable(&self, upto: LogId) -> usize {
        let all = self.end.segments.len();
        let done = |w: &&Written| w.last_index.is_none_or(|last| last <= upto.index);
        self.end.segments.iter().take(all.saturating_sub(1)).take_while(done).count()
    }

    /// Removes segments below the purge mark, which is on the disk, oldest first.
    fn unlink(&mut self) -> io::Result<()> {
        let Some(upto) = self.on_disk.purged else { return Ok(()) };
        failpoint("log.purge.marked");
        for _ in 0..self.removable(upto) {
            let Some(written) = self.end.segments.pop_front() else { break };
            self.disk.remove(&segment::name(written.segment.number))?;
            failpoint("log.purge.unlinked");
        }
        self.disk.sync_dir()?;
        failpoint("log.purge.done");
        Ok(())
    }

    fn refused(&self) -> io::Result<()> {
        let memory = self.memory.lock().expect("no holder of this lock panics");
        match &memory.broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    fn poison(&self, error: &io::Error) {
        {
            let mut memory = self.memory.lock().expect("no holder of this lock panics");
            if memory.broken.is_none() {
                tracing::error!(%error, "the log cannot be written; nothing more will be acknowledged");
                memory.broken = Some(format!("the log could not be written before: {error}"));
            }
        }
        let upto = self.flushed.borrow().upto;
        self.tell(Flushed { upto, broken: Some(error.to_string()) });
    }

    /// What was broken first stays what is said.
    fn tell(&self, now: Flushed) {
        self.flushed.send_if_modified(|before| {
            let changed = before.broken.is_none() && *before != now;
            if changed {
                *before = now;
            }
            changed
        });
    }
}

/// Bytes the records take as a frame.
fn extent(records: &[Pending]) -> usize {
    let body: usize = records.iter().map(|r| 4 + r.plain.len() + record::OVERHEAD).sum();
    frame::extent(body)
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
