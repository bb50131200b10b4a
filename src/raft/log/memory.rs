//! What the log keeps in memory: where every entry lies, the newest entries themselves, and the marks.

use super::{
    record::{Chain, Position},
    segment::Segment,
};
use crate::raft::types::{Entry, LogId, Vote, weight};
use std::{collections::BTreeMap, sync::Arc};

/// The log as readers see it; entries show up before they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Memory {
    slots: BTreeMap<u64, Slot>,
    cached_bytes: usize,
    /// Of all entries, cached or not.
    all_bytes: usize,
    /// No entry below this index is cached.
    cached_from: u64,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Why nothing more may be written.
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
struct Slot {
    log_id: LogId,
    weight: usize,
    cached: Option<Entry>,
    /// Unset until it is on the disk.
    place: Option<Place>,
}

/// Where an entry lies on the disk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    /// Of the sealed record in the file.
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) sequence: u64,
    pub(super) chain: Chain,
}

impl Place {
    pub(super) fn position(&self) -> Position {
        Position { segment: self.segment.number, sequence: self.sequence, chain: self.chain }
    }
}

/// An entry, or where to read it.
#[derive(Debug)]
pub(super) enum Found {
    Here(Entry),
    There(LogId, Place),
}

/// An entry that does not follow the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} does not follow the log's last entry {last}")]
pub(super) struct Hole {
    pub(super) index: u64,
    pub(super) last: u64,
}

impl Memory {
    /// The last entry, or the last purged one if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.slots.last_key_value().map(|(_, slot)| slot.log_id).or(self.purged)
    }

    /// The id of the entry at this index, if it is still known.
    pub(super) fn id_at(&self, index: u64) -> Option<LogId> {
        let here = self.slots.get(&index).map(|slot| slot.log_id);
        here.or(self.purged.filter(|purged| purged.index == index))
    }

    pub(super) fn first_index(&self) -> Option<u64> {
        self.slots.first_key_value().map(|(index, _)| *index)
    }

    /// # Errors
    /// [`Hole`] unless the entry is the next one; the first of an empty log may be any.
    pub(super) fn check_next(&self, index: u64) -> Result<(), Hole> {
        match self.slots.last_key_value() {
            Some((last, _)) if index != last + 1 => Err(Hole { index, last: *last }),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes a new entry in; it stays cached at least until it has a place.
    pub(super) fn insert(&mut self, entry: Entry, limit: usize) {
        let weight = weight(&entry);
        let (index, log_id) = (entry.log_id.index, entry.log_id);
        if self.slots.is_empty() {
            self.cached_from = index;
        }
        self.cached_bytes += weight;
        self.all_bytes += weight;
        self.slots.insert(index, Slot { log_id, weight, cached: Some(entry), place: None });
        self.shrink(limit);
    }

    /// Takes in an entry that was found on the disk.
    pub(super) fn insert_stored(&mut self, log_id: LogId, weight: usize, place: Place) {
        self.cached_from = log_id.index + 1;
        self.all_bytes += weight;
        self.slots.insert(log_id.index, Slot { log_id, weight, cached: None, place: Some(place) });
    }

    /// Notes where an entry lies, unless it has been replaced or dropped since.
    pub(super) fn placed(&mut self, log_id: LogId, place: Place, limit: usize) {
        if let Some(slot) = self.slots.get_mut(&log_id.index)
            && slot.log_id == log_id
        {
            slot.place = Some(place);
        }
        self.shrink(limit);
    }

    /// Forgets entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        for slot in self.slots.split_off(&index).into_values() {
            self.uncount(&slot);
        }
        self.cached_from = self.cached_from.min(index);
    }

    /// Forgets entries up to `upto`.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged < Some(upto) {
            self.purged = Some(upto);
        }
        let kept = self.slots.split_off(&(upto.index + 1));
        for slot in std::mem::replace(&mut self.slots, kept).into_values() {
            self.uncount(&slot);
        }
        self.cached_from = self.cached_from.max(upto.index + 1);
    }

    /// Entries of the range in order, up to a hole, an end, or `limit` bytes once there is one.
    pub(super) fn read(&self, range: impl std::ops::RangeBounds<u64>, limit: usize) -> Vec<Found> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for slot in self.slots.range(range).map(|(_, slot)| slot) {
            bytes += slot.weight;
            if bytes > limit && !found.is_empty() {
                break;
            }
            found.push(match (&slot.cached, &slot.place) {
                (Some(entry), _) => Found::Here(entry.clone()),
                (None, Some(place)) => Found::There(slot.log_id, place.clone()),
                (None, None) => unreachable!("an entry leaves the cache only once it has a place"),
            });
        }
        found
    }

    /// If there are twice `keep` bytes: the index up to which entries can go if the newest `keep` bytes are to stay.
    pub(super) fn excess(&self, keep: usize) -> Option<u64> {
        if self.all_bytes < keep * 2 {
            return None;
        }
        let mut bytes = 0;
        for (index, slot) in self.slots.iter().rev() {
            bytes += slot.weight;
            if bytes > keep {
                return Some(*index);
            }
        }
        None
    }

    /// Drops the oldest cached entries that lie on the disk, until `limit` is kept.
    fn shrink(&mut self, limit: usize) {
        while self.cached_bytes > limit {
            let Some((index, slot)) = self.slots.range_mut(self.cached_from..).next() else {
                return;
            };
            if slot.place.is_none() {
                return;
            }
            self.cached_from = index + 1;
            if slot.cached.take().is_some() {
                self.cached_bytes -= slot.weight;
            }
        }
    }

    fn uncount(&mut self, slot: &Slot) {
        self.all_bytes -= slot.weight;
        if slot.cached.is_some() {
            self.cached_bytes -= slot.weight;
        }
    }
}
