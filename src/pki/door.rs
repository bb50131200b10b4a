//! Who waits at the listener's door: a bounded number, fairly shared among networks. Pure.
//!
//! Nobody is turned away: when a share is used up, the one that waited longest gives way, those first that have said
//! nothing yet.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
};

/// One that waits; the later it came, the larger.
pub(super) type Ticket = u64;

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) all: usize,
    /// From one network.
    pub(super) each: usize,
}

#[derive(Debug)]
pub(super) struct Door {
    shares: Shares,
    next: Ticket,
    /// By network: who waits, and whether it has said something.
    waiting: HashMap<IpAddr, BTreeMap<Ticket, bool>>,
    count: usize,
}

impl Door {
    pub(super) fn new(shares: Shares) -> Self {
        Self { shares, next: 0, waiting: HashMap::new(), count: 0 }
    }

    /// Lets one more wait, and says who has to give way for it.
    pub(super) fn enter(&mut self, addr: IpAddr) -> (Ticket, Option<Ticket>) {
        let network = network(addr);
        let here = self.waiting.get(&network).map_or(0, BTreeMap::len);
        let leaves = if here >= self.shares.each {
            self.first_of(network)
        } else if self.count >= self.shares.all {
            // Whoever has the most there can spare one best.
            let most = self.waiting.iter().max_by_key(|(network, here)| (here.len(), **network));
            most.map(|(network, _)| *network).and_then(|network| self.first_of(network))
        } else {
            None
        };
        if let Some((network, ticket)) = leaves {
            self.remove(network, ticket);
        }
        let ticket = self.next;
        self.next += 1;
        self.count += 1;
        self.waiting.entry(network).or_default().insert(ticket, false);
        (ticket, leaves.map(|(_, ticket)| ticket))
    }

    /// Takes note that one has said something that makes sense.
    pub(super) fn spoke(&mut self, addr: IpAddr, ticket: Ticket) {
        let here = self.waiting.get_mut(&network(addr));
        if let Some(spoke) = here.and_then(|here| here.get_mut(&ticket)) {
            *spoke = true;
        }
    }

    /// One waits no longer.
    pub(super) fn leave(&mut self, addr: IpAddr, ticket: Ticket) {
        self.remove(network(addr), ticket);
    }

    fn first_of(&self, network: IpAddr) -> Option<(IpAddr, Ticket)> {
        let here = self.waiting.get(&network)?;
        let silent = here.iter().find(|(_, spoke)| !**spoke);
        silent.or_else(|| here.first_key_value()).map(|(ticket, _)| (network, *ticket))
    }

    fn remove(&mut self, network: IpAddr, ticket: Ticket) {
        let Some(here) = self.waiting.get_mut(&network) else { return };
        if here.remove(&ticket).is_some() {
            self.count -= 1;
        }
        if here.is_empty() {
            self.waiting.remove(&network);
        }
    }
}

/// A host with IPv6 has at least a /64 to choose its address from.
pub fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn v6(network: u16, host: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, network, host, 0, 0, 1).into()
    }

    #[test]
    fn a_network_that_has_its_share_gives_up_its_own_oldest() {
        let mut door = Door::new(Shares { all: 10, each: 2 });
        let (first, _) = door.enter(v6(1, 1));
        let (second, _) = door.enter(v6(1, 2));
        assert_eq!(door.enter(v6(2, 1)).1, None);
        let (third, gone) = door.enter(v6(1, 3));
        assert_eq!(gone, Some(first), "its neighbours share one network");
        door.spoke(v6(1, 2), second);
        assert_eq!(door.enter(v6(1, 4)).1, Some(third), "the silent go first");
        assert_eq!(door.count, 3);
    }

    #[test]
    fn when_all_is_taken_the_largest_crowd_gives_way() {
        let mut door = Door::new(Shares { all: 4, each: 3 });
        let crowd: Vec<_> = (0..3).map(|_| door.enter(v4(1)).0).collect();
        let (other, gone) = door.enter(v4(2));
        assert_eq!(gone, None);
        assert_eq!(door.enter(v4(3)).1, Some(crowd[0]));
        door.leave(v4(2), other);
        door.leave(v4(2), other);
        assert_eq!(door.enter(v4(4)).1, None, "somebody had left");
        assert_eq!(door.count, 4);
    }

    #[test]
    fn a_door_holds_no_more_than_it_may_whoever_comes() {
        let mut door = Door::new(Shares { all: 100, each: 10 });
        let came: Vec<_> =
            (0..5000_u16).map(|n| (v6(n % 700, n), door.enter(v6(n % 700, n)).0)).collect();
        assert_eq!((door.count, door.waiting.values().map(BTreeMap::len).sum()), (100, 100));
        for (addr, ticket) in came {
            door.leave(addr, ticket);
        }
        assert!(door.waiting.is_empty() && door.count == 0);
    }
}
