//! How often strangers may be wrong: a bucket for each network, in bounded memory.
//!
//! There is none for all of them: whoever has many addresses would empty it, and keep out those that are right.

use crate::{kit::clock::Timestamp, pki::network};
use std::{collections::HashMap, net::IpAddr};

/// Tries from one network at once; each second gives one back. What is good costs nothing, so that a whole rack behind one
/// address may join.
const BURST: u32 = 20;
/// Networks remembered; those that would be full again are forgotten first, then whatever is there.
const ADDRESSES: usize = 4096;

/// Counts tries in thousandths, so that a millisecond gives a whole number back.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Rate {
    each: HashMap<IpAddr, Bucket>,
}

impl Bucket {
    fn full(at: Timestamp) -> Self {
        Self { left: u64::from(BURST) * 1000, at }
    }

    /// Gives back what has come in since it was looked at last.
    fn fill(&mut self, now: Timestamp) {
        let since = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(since).min(u64::from(BURST) * 1000);
        self.at = now;
    }

    fn has_one(&self) -> bool {
        self.left >= 1000
    }
}

impl Rate {
    pub(super) fn new() -> Self {
        Self { each: HashMap::new() }
    }

    /// Takes a try, if there is one.
    pub(super) fn take(&mut self, from: IpAddr, now: Timestamp) -> bool {
        let from = network(from);
        if !self.each.contains_key(&from) && self.each.len() >= ADDRESSES {
            self.make_room(now);
        }
        let bucket = self.each.entry(from).or_insert_with(|| Bucket::full(now));
        bucket.fill(now);
        if !bucket.has_one() {
            return false;
        }
        bucket.left -= 1000;
        true
    }

    /// Gives a try back: it was a good one.
    pub(super) fn give_back(&mut self, from: IpAddr) {
        if let Some(bucket) = self.each.get_mut(&network(from)) {
            bucket.left += 1000;
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        self.each.retain(|_, bucket| {
            bucket.fill(now);
            bucket.left < u64::from(BURST) * 1000
        });
        if self.each.len() >= ADDRESSES {
            // Somebody has thousands of addresses, and each needs a connection of its own.
            self.each.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv6Addr, time::Duration};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn addr(n: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into()
    }

    #[test]
    fn one_address_gets_its_burst_then_one_each_second_and_others_go_on() {
        let mut rate = Rate::new();
        assert_eq!((0..100).filter(|_| rate.take(addr(1), NOW)).count(), 20);
        let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into();
        assert!(!rate.take(neighbour, NOW), "the same network");
        assert!(rate.take(addr(2), NOW));
        let later = NOW.plus(Duration::from_secs(3));
        assert_eq!((0..100).filter(|_| rate.take(addr(1), later)).count(), 3);
        rate.give_back(addr(1));
        assert!(rate.take(addr(1), later));
    }

    #[test]
    fn many_addresses_empty_only_their_own_buckets_in_bounded_memory() {
        let mut rate = Rate::new();
        for n in 0..10_000 {
            assert!(rate.take(addr(n), NOW));
            assert!(rate.each.len() <= ADDRESSES);
        }
    }
}
