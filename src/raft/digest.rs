//! A digest of all rows of the state, kept as they change: managers that have applied the same entries have the same.
//!
//! Each row is hashed, and the hashes are added modulo 2^256; a row that changes is taken off as it was and added as it
//! is. So the sum does not depend on the order in which rows came, and a change costs two hashes, not one of every row.
//! Such sums can be forged by somebody who chooses thousands of rows for it (Wagner's generalised birthday). That is not
//! what this is for: it finds managers that went different ways, and rows that a disk or memory changed; against those
//! a sum of hashes is as good as one hash over everything. Whoever could choose rows is a manager, and may change them.
//!
//! Payloads are not in it: they do not change, and each is sealed to its name, version and cluster, so one that is
//! another does not open. Their versions, sizes and terms are rows.

use super::codec;
use crate::store::{Change, Entity, Key, State};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

/// Entries between two digests that are kept longer, to be compared with managers that are behind or ahead.
const MARK: u64 = 1024;
/// So many of those are kept,
const MARKS: usize = 32;
/// and so many of the last entries': between managers that have little to do.
const RECENT: usize = 256;

/// The sum over all rows; empty to begin with.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest([u64; 4]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0[3])
    }
}

impl Digest {
    pub(super) fn of(entity: &Entity) -> Self {
        let row = codec::entity_to(entity).encode_to_vec();
        let hash = Sha256::new().chain_update(b"secretd/state/row-digest/1").chain_update(row);
        Self::from_bytes(hash.finalize().as_slice()).expect("a hash has 32 bytes")
    }

    #[cfg(test)]
    pub(super) fn of_all(entities: impl IntoIterator<Item = Entity>) -> Self {
        let mut sum = Self::default();
        entities.into_iter().for_each(|entity| sum.add(Self::of(&entity)));
        sum
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let mut words = [0; 4];
        for (word, part) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(part.try_into().expect("chunks of eight"));
        }
        Some(Self(words))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn add(&mut self, Self(other): Self) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(other) {
            let (sum, first) = word.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, first || second);
        }
    }

    fn subtract(&mut self, Self(other): Self) {
        let mut borrow = false;
        for (word, less) in self.0.iter_mut().zip(other) {
            let (rest, first) = word.overflowing_sub(less);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (rest, first || second);
        }
    }
}

/// Brings a digest along with changes to a state.
#[derive(Debug)]
pub(super) struct Tally {
    digest: Digest,
    /// The state before the first change.
    before: State,
    /// What rows that changed since add to the digest now.
    touched: BTreeMap<Key, Option<Digest>>,
}

impl Tally {
    pub(super) fn new(digest: Digest, before: State) -> Self {
        Self { digest, before, touched: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, change: &Change) {
        let (key, now) = match change {
            Change::Put(entity) => (entity.key(), Some(Digest::of(entity))),
            Change::Delete(key) => (*key, None),
            Change::PutBody { .. } | Change::PutKey { .. } | Change::DeleteBody { .. } => return,
        };
        let before = match self.touched.insert(key, now) {
            Some(before) => before,
            None => self.before.entity(key).map(|entity| Digest::of(&entity)),
        };
        before.into_iter().for_each(|before| self.digest.subtract(before));
        now.into_iter().for_each(|now| self.digest.add(now));
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }
}

/// The digests after certain entries.
#[derive(Debug, Default)]
pub(super) struct Trail {
    recent: VecDeque<(u64, Digest)>,
    marks: VecDeque<(u64, Digest)>,
}

impl Trail {
    pub(super) fn note(&mut self, index: u64, digest: Digest) {
        self.recent.push_back((index, digest));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        if index.is_multiple_of(MARK) {
            self.marks.push_back((index, digest));
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
    }

    /// Everything is another state's now.
    pub(super) fn restart(&mut self, index: u64, digest: Digest) {
        *self = Self::default();
        self.note(index, digest);
    }

    /// What others are told: the marks and the last.
    pub(super) fn told(&self) -> BTreeMap<u64, Digest> {
        self.marks.iter().chain(self.recent.back()).copied().collect()
    }

    pub(super) fn at(&self, index: u64) -> Option<Digest> {
        let all = self.recent.iter().rev().chain(&self.marks);
        all.copied().find_map(|(at, digest)| (at == index).then_some(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::clock::Timestamp,
        model::command::{Command, Stamped},
        model::object::Kind,
        raft::testing::create,
    };
    use proptest::prelude::*;

    fn number(n: u64) -> Digest {
        Digest([n, 0, 0, 0])
    }

    #[test]
    fn sums_carry_over_all_words_and_come_back() {
        let most = Digest([u64::MAX; 4]);
        let mut sum = most;
        sum.add(number(1));
        assert_eq!(sum, Digest::default());
        sum.subtract(number(1));
        assert_eq!(sum, most);
        assert_eq!(Digest::from_bytes(&most.to_bytes()), Some(most));
        assert_eq!(Digest::from_bytes(&[0; 31]), None);
    }

    proptest! {
        #[test]
        fn the_running_digest_is_that_of_the_rows_whatever_the_path(
            steps in proptest::collection::vec((0..12_u64, any::<bool>()), 1..40),
            cut in 0..40_usize,
        ) {
            let mut state = State::default();
            let mut digest = Digest::default();
            for (at, (number, create_it)) in steps.into_iter().enumerate() {
                let (version, creating) = create(number, 10);
                let command = if create_it {
                    creating
                } else {
                    Command::RemoveObject { kind: Kind::Secret, id: version.object }
                };
                let mut tally = Tally::new(digest, state.clone());
                let applied = state.apply(&Stamped { request: None, at: Timestamp(1), command });
                applied.changes.iter().for_each(|change| tally.take(change));
                digest = tally.digest();
                if at == cut {
                    // A restart or a snapshot: the rows alone, in another order.
                    let mut rows: Vec<Entity> = state.entities().collect();
                    rows.reverse();
                    state = State::from_entities(rows);
                }
                prop_assert_eq!(digest, Digest::of_all(state.entities()));
            }
        }
    }

    #[test]
    fn a_trail_keeps_the_last_ones_and_marks() {
        let mut trail = Trail::default();
        for index in 0..=3 * MARK + 7 {
            trail.note(index, number(index));
        }
        let last = 3 * MARK + 7;
        assert_eq!(
            trail.told().into_keys().collect::<Vec<_>>(),
            [0, MARK, 2 * MARK, 3 * MARK, last]
        );
        assert_eq!(trail.at(MARK), Some(number(MARK)));
        assert_eq!(trail.at(last - 9), Some(number(last - 9)));
        assert_eq!(trail.at(MARK + 1), None);
        trail.restart(5, number(1));
        assert_eq!(trail.told().into_iter().collect::<Vec<_>>(), [(5, number(1))]);
    }
}
