//! Bounds the lines of the log that others can make us write: so many for each of them, and so many for all.
//!
//! A refusal is told with who tried, as long as there are few. What was left out is counted and told with the next line.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Lines within this time …
const WITHIN: Duration = Duration::from_secs(60);
/// … about one of them …
const EACH: u32 = 10;
/// … and about all; also how many are told apart.
const ALL: u32 = 100;

/// Counts lines about others.
pub struct Told {
    hasher: RandomState,
    lines: Mutex<Lines>,
}

struct Lines {
    since: Instant,
    all: u32,
    left_out: u64,
    each: HashMap<u64, u32>,
}

impl Told {
    pub fn new() -> Self {
        let each = HashMap::new();
        let lines = Lines { since: Instant::now(), all: 0, left_out: 0, each };
        Self { hasher: RandomState::new(), lines: Mutex::new(lines) }
    }

    /// Whether a line about `who` may be written; if so, how many were left out since the last.
    pub fn may(&self, who: impl Hash) -> Option<u64> {
        self.may_at(who, Instant::now())
    }

    fn may_at(&self, who: impl Hash, now: Instant) -> Option<u64> {
        let who = self.hasher.hash_one(who);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(lines.since) >= WITHIN {
            (lines.since, lines.all) = (now, 0);
            lines.each.clear();
        }
        let of_one = lines.each.get(&who).copied().unwrap_or(0);
        if of_one >= EACH || lines.all >= ALL {
            lines.left_out += 1;
            return None;
        }
        lines.each.insert(who, of_one + 1);
        lines.all += 1;
        Some(std::mem::take(&mut lines.left_out))
    }
}

impl Default for Told {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_noisy_neighbour_neither_fills_the_log_nor_silences_others() {
        let told = Told::new();
        assert_eq!((0..1000).filter(|_| told.may("noisy").is_some()).count(), 10);
        assert_eq!(told.may("quiet"), Some(990), "what was left out is told");
        let many = (0..1000).filter(|n| told.may(n).is_some()).count();
        assert_eq!(many, 89, "all of them together are bounded too");
        assert_eq!(told.may_at("noisy", Instant::now() + WITHIN), Some(911));
    }
}
