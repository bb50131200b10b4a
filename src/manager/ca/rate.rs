//! How often strangers may try: a bucket for each address and one for all, in bounded memory.

use crate::kit::clock::Timestamp;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Tries from one address at once; each second gives one back. A good token costs nothing, so that a whole rack behind
/// one address may join.
const BURST: u32 = 20;
/// Tries from all addresses at once …
const BURST_OF_ALL: u32 = 200;
/// … and how many each second gives back: enough for a cluster that starts, far too few to guess 160 bits.
const RATE_OF_ALL: u32 = 50;
/// Addresses remembered; those that would be full again are forgotten first, then whatever is there.
const ADDRESSES: usize = 4096;

/// Counts tries in thousandths, so that a millisecond gives a whole number back.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Rate {
    all: Bucket,
    each: HashMap<IpAddr, Bucket>,
}

impl Bucket {
    fn full(burst: u32, at: Timestamp) -> Self {
        Self { left: u64::from(burst) * 1000, at }
    }

    /// Gives back what has come in since it was looked at last.
    fn fill(&mut self, burst: u32, rate: u32, now: Timestamp) {
        let since = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let more = since.saturating_mul(u64::from(rate));
        self.left = self.left.saturating_add(more).min(u64::from(burst) * 1000);
        self.at = now;
    }

    fn has_one(&self) -> bool {
        self.left >= 1000
    }
}

impl Rate {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { all: Bucket::full(BURST_OF_ALL, now), each: HashMap::new() }
    }

    /// Takes a try from both buckets, or from none.
    pub(super) fn take(&mut self, from: IpAddr, now: Timestamp) -> bool {
        let from = network(from);
        self.all.fill(BURST_OF_ALL, RATE_OF_ALL, now);
        if !self.all.has_one() {
            return false;
        }
        if !self.each.contains_key(&from) && self.each.len() >= ADDRESSES {
            self.make_room(now);
        }
        let bucket = self.each.entry(from).or_insert_with(|| Bucket::full(BURST, now));
        bucket.fill(BURST, 1, now);
        if !bucket.has_one() {
            return false;
        }
        bucket.left -= 1000;
        self.all.left -= 1000;
        true
    }

    /// Gives a try back: it was a good one.
    pub(super) fn give_back(&mut self, from: IpAddr) {
        if let Some(bucket) = self.each.get_mut(&network(from)) {
            bucket.left += 1000;
        }
        self.all.left += 1000;
    }

    fn make_room(&mut self, now: Timestamp) {
        self.each.retain(|_, bucket| {
            bucket.fill(BURST, 1, now);
            bucket.left < u64::from(BURST) * 1000
        });
        if self.each.len() >= ADDRESSES {
            // Somebody has thousands of addresses: the bucket of all holds them up.
            self.each.clear();
        }
    }
}

/// A host with IPv6 has at least a /64 to choose its address from.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn addr(n: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into()
    }

    #[test]
    fn one_address_gets_its_burst_then_one_each_second_and_others_go_on() {
        let mut rate = Rate::new(NOW);
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
    fn many_addresses_share_one_bucket_and_bounded_memory() {
        let mut rate = Rate::new(NOW);
        let tries = (0..10_000).filter(|n| rate.take(addr(*n), NOW)).count();
        assert_eq!(tries, 200);
        let mut now = NOW;
        for n in 0..10_000 {
            now = now.plus(Duration::from_millis(20));
            assert!(rate.take(addr(n), now));
            assert!(rate.each.len() <= ADDRESSES);
        }
    }
}
