//! Reads the log back after a stop or a crash, and decides what may be dropped and what may not.
//!
//! Only the remains of one unfinished frame at the very end may go. Anything else that does not fit is damage to
//! entries that may have been acknowledged: then nothing is changed and the log does not open.

use super::{
    LogIdentity,
    disk::Disk,
    frame::{self, Found, SECTOR},
    memory::{Memory, Place},
    record::{Chain, Position, Record, chain_next, chain_start},
    segment::{self, BadHeader, Header, Segment},
    witness::{Point, Seen},
    writer::{End, Marks, Written},
};
use crate::{kit::failpoint::failpoint, raft::types::weight};
use std::{collections::VecDeque, io, path::PathBuf, sync::Arc};

/// Why a log does not open. Nothing on the disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the Raft log is damaged: {} at byte {offset}: {what}", path.display())]
    Damaged { path: PathBuf, offset: u64, what: String },
    #[error("the Raft log cannot be used: {}: {what}", path.display())]
    Foreign { path: PathBuf, what: String },
    #[error("part of the Raft log is missing: {what}")]
    Missing { what: String },
}

impl LogError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on this disk and start secretd again; nothing that was stored is lost"
            }
            Self::Io { .. } => {
                "check the disk and the permissions of the data directory, then start secretd again"
            }
            Self::Foreign { .. } => {
                "give secretd the data directory and the key file that belong together"
            }
            Self::Damaged { .. } | Self::Missing { .. } => {
                "nothing was changed; start secretd and refill it from the other managers with `secretctl refill`, or restore a backup if it is the only one"
            }
        }
    }

    /// Whether what is on the disk is to blame, and not the way to it.
    pub(in crate::raft) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Foreign { .. } | Self::Missing { .. } => true,
            Self::Io { .. } => false,
        }
    }
}

/// The log as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) memory: Memory,
    pub(super) end: End,
    pub(super) on_disk: Marks,
    pub(super) room: u64,
    pub(super) seen: Seen,
}

/// Reads all segments, repairs the end, and makes sure that what was read is really on the disk.
///
/// # Errors
/// [`LogError`]: unreadable, damaged, incomplete, or of another node.
pub(super) fn recover(
    disk: &dyn Disk,
    identity: &LogIdentity,
    point: Option<Point>,
) -> Result<Recovered, LogError> {
    let io = |doing, name: &str| {
        let path = disk.path(name);
        move |source| LogError::Io { doing, path, source }
    };
    let names = disk.list().map_err(io("list", ""))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    let begun = disk.is_begun().map_err(io("look at", ""))?;
    match (begun, numbers.is_empty()) {
        (true, true) => {
            let what = "this log was begun, and all its segments are gone".to_owned();
            return Err(LogError::Missing { what });
        }
        (false, false) => disk.mark_begun().map_err(io("mark", ""))?,
        (true, false) | (false, true) => {}
    }
    let mut replay = Replay {
        identity,
        memory: Memory::default(),
        segments: VecDeque::new(),
        sequence: 0,
        chain: [0; 32],
        met: false,
        point,
    };
    let mut tail = None;
    for (at, number) in numbers.iter().enumerate() {
        let name = segment::name(*number);
        if at > 0 && numbers[at - 1] + 1 != *number {
            let what = format!("there is no segment {} before {name}", segment::name(number - 1));
            return Err(LogError::Missing { what });
        }
        let file = disk.open(&name).map_err(io("open", &name))?;
        let size = file.size().map_err(io("read", &name))?;
        let mut bytes = vec![0; usize::try_from(size).expect("segments fit in memory")];
        file.read_at(&mut bytes, 0).map_err(io("read", &name))?;
        let last = at + 1 == numbers.len();
        let segment = Arc::new(Segment { number: *number, file, size });
        let found = replay.segment(disk, &segment, &bytes, last)?;
        if last {
            tail = Some((segment, bytes, found));
        }
    }
    let Replay { identity: _, memory, segments, sequence, chain, met, point } = replay;
    let seen = match point {
        None => Seen::Nothing,
        Some(_) if met => Seen::Whole,
        Some(_) => Seen::Older,
    };
    if memory.purged.is_none() && numbers.first().is_some_and(|first| *first != 1) {
        let what = format!("there is no segment {}", segment::name(1));
        return Err(LogError::Missing { what });
    }
    if let (Some(purged), Some(first)) = (memory.purged, memory.first_index())
        && first > purged.index + 1
    {
        let what = format!("entries {} to {}", purged.index + 1, first - 1);
        return Err(LogError::Missing { what });
    }
    let mut offset = 0;
    let mut room = 0;
    if let Some((segment, bytes, Tail { last_frame, end })) = tail {
        let name = segment::name(segment.number);
        repair(&segment, &bytes, last_frame, end).map_err(io("repair the end of", &name))?;
        offset = end as u64;
        room = segment.size - offset;
    }
    if names.iter().any(|name| name == segment::SPARE) {
        disk.remove(segment::SPARE).map_err(io("remove", segment::SPARE))?;
    }
    failpoint("log.reopen.done");
    let on_disk = Marks { vote: memory.vote, committed: memory.committed, purged: memory.purged };
    Ok(Recovered { memory, end: End { segments, offset, sequence, chain }, on_disk, room, seen })
}

/// Writes the last frame once more and zeros what is behind it. After a failed sync the kernel may show pages that
/// never reached the disk; the frames before the last were synced before it was begun.
fn repair(segment: &Segment, bytes: &[u8], last_frame: usize, end: usize) -> io::Result<()> {
    segment.file.write_at(&bytes[last_frame..end], last_frame as u64)?;
    failpoint("log.reopen.repaired");
    if let Some(dirt) = bytes[end..].iter().rposition(|b| *b != 0) {
        tracing::warn!(
            segment = segment.number,
            offset = end,
            "dropped the remains of an unfinished write"
        );
        segment.file.write_at(&vec![0; dirt + 1], end as u64)?;
    }
    segment.file.sync()
}

/// Where the frames of the last segment end.
struct Tail {
    /// Start of the last whole frame.
    last_frame: usize,
    end: usize,
}

struct Replay<'a> {
    identity: &'a LogIdentity,
    memory: Memory,
    segments: VecDeque<Written>,
    sequence: u64,
    chain: Chain,
    /// Where a frame ended, if the log is whole; whether one did.
    point: Option<Point>,
    met: bool,
}

impl Replay<'_> {
    fn segment(
        &mut self,
        disk: &dyn Disk,
        segment: &Arc<Segment>,
        bytes: &[u8],
        last: bool,
    ) -> Result<Tail, LogError> {
        let path = || disk.path(&segment::name(segment.number));
        let damaged = |offset: usize, what: String| LogError::Damaged {
            path: path(),
            offset: offset as u64,
            what,
        };
        let header = Header::decode(bytes, self.identity).map_err(|bad| match bad {
            BadHeader::Damaged(what) => damaged(0, what),
            BadHeader::Foreign(what) => LogError::Foreign { path: path(), what },
        })?;
        if header.number != segment.number {
            let what = format!("it is segment {} under another name", header.number);
            return Err(damaged(0, what));
        }
        if header.size != segment.size {
            let what = format!("it has {} bytes and should have {}", segment.size, header.size);
            return Err(damaged(0, what));
        }
        let first = self.segments.is_empty();
        if !first && (header.first_record, header.chain) != (self.sequence, self.chain) {
            return Err(LogError::Missing {
                what: format!("records before {} do not lead up to it", path().display()),
            });
        }
        if first && self.point.as_ref().is_some_and(|point| point.sequence < header.first_record) {
            // Where it was is purged: the log went on without telling it.
            self.point = None;
        }
        self.sequence = header.first_record;
        self.chain = chain_start(&bytes[..SECTOR]);
        let mut written = Written { segment: segment.clone(), last_index: None };
        let (mut at, mut last_frame) = (SECTOR, 0);
        loop {
            match frame::judge(&bytes[at..]) {
                Found::Frame(frame) => {
                    if frame.first_record != self.sequence {
                        return Err(damaged(at, "a frame is out of order".into()));
                    }
                    for (offset, sealed) in &frame.records {
                        let opening = first && at == SECTOR;
                        self.record(&mut written, at + offset, sealed).map_err(|what| {
                            if opening {
                                let what = format!("{what} (or the storage key is another)");
                                LogError::Foreign { path: path(), what }
                            } else {
                                damaged(at + offset, what)
                            }
                        })?;
                    }
                    self.chain = chain_next(&self.chain, frame.body);
                    self.met |= self.point.as_ref().is_some_and(|point| {
                        (point.sequence, point.chain) == (self.sequence, self.chain)
                    });
                    last_frame = at;
                    at += frame.extent;
                }
                // A segment gets its name only after its first frame is on the disk.
                Found::End | Found::Torn if last_frame == 0 => {
                    return Err(damaged(at, "the first frame is gone".into()));
                }
                Found::End => break,
                Found::Torn if last => break,
                Found::Torn => {
                    return Err(damaged(
                        at,
                        "a frame is unfinished although a segment follows".into(),
                    ));
                }
                Found::Damaged(what) => return Err(damaged(at, what.into())),
            }
        }
        self.segments.push_back(written);
        Ok(Tail { last_frame, end: at })
    }

    fn record(&mut self, written: &mut Written, at: usize, sealed: &[u8]) -> Result<(), String> {
        let (segment, sequence, chain) = (&written.segment, self.sequence, self.chain);
        let position = Position { segment: segment.number, sequence, chain };
        let record =
            Record::open(self.identity, &position, sealed).map_err(|error| error.to_string())?;
        self.sequence += 1;
        let memory = &mut self.memory;
        match record {
            Record::Entry(entry) => {
                memory.check_next(entry.log_id.index).map_err(|hole| hole.to_string())?;
                let (segment, offset) = (segment.clone(), at as u64);
                let place = Place { segment, offset, length: sealed.len(), sequence, chain };
                memory.insert_stored(entry.log_id, weight(&entry), place);
                written.last_index = written.last_index.max(Some(entry.log_id.index));
            }
            Record::Vote(vote) => memory.vote = Some(vote),
            Record::Truncate(from) => memory.truncate(from),
            Record::Purge(upto) => memory.purge(upto),
            Record::Commit(upto) => memory.committed = Some(upto),
        }
        Ok(())
    }
}
