//! Which managers the leader has not heard of for so long that they cannot speak for their nodes.

use super::LOST;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What the leader remembers from one look to the next, for as long as it leads.
#[derive(Debug, Default)]
pub(super) struct Silences {
    /// By Raft id, the managers that were never heard of, and when they were first expected to be.
    unheard: BTreeMap<u64, Instant>,
}

impl Silences {
    /// Of all managers by Raft id and for how long each has been silent, if it was ever heard of: those that are lost, and
    /// since when. One that has just been added has been silent for no longer than it is there.
    pub(super) fn lost(
        &mut self,
        silences: BTreeMap<u64, Option<Duration>>,
        now: Instant,
    ) -> BTreeMap<u64, Instant> {
        self.unheard.retain(|id, _| silences.get(id).is_some_and(Option::is_none));
        let mut since = |id, silent: Option<Duration>| match silent {
            Some(silent) => now.checked_sub(silent).unwrap_or(now),
            None => *self.unheard.entry(id).or_insert(now),
        };
        let silences = silences.into_iter().map(|(id, silent)| (id, since(id, silent)));
        silences.filter(|(_, since)| now.duration_since(*since) > LOST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_was_heard_of_is_lost_after_a_while_of_silence() {
        let now = Instant::now() + 60 * SECOND;
        let silences = [(2, Some(LOST)), (3, Some(LOST + SECOND)), (4, Some(SECOND))];
        let lost = Silences::default().lost(BTreeMap::from(silences), now);
        assert_eq!(lost, BTreeMap::from([(3, now - LOST - SECOND)]));
    }

    #[test]
    fn who_was_just_added_is_given_as_long_as_anybody_else_to_be_heard_of() {
        let (mut silences, start) = (Silences::default(), Instant::now());
        let mut lost = |ids: &[u64], after: Duration| {
            let unheard = ids.iter().map(|id| (*id, None)).collect();
            silences.lost(unheard, start + after).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(lost(&[2], Duration::ZERO), Vec::<u64>::new());
        // It leads for long when another comes.
        assert_eq!(lost(&[2, 3], LOST + SECOND), [2]);
        assert_eq!(lost(&[2, 3], 2 * LOST), [2]);
        assert_eq!(lost(&[2, 3], 2 * LOST + 2 * SECOND), [2, 3]);
        // Taken out of the group and added again.
        assert_eq!(lost(&[2], 3 * LOST), [2]);
        assert_eq!(lost(&[2, 3], 4 * LOST), [2]);
    }
}
