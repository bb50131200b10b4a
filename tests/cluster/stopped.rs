//! Daemons that stop in the middle of what they do and go on as if nothing had happened.

use crate::{
    cluster::{Cluster, holders},
    load::{Hand, Load, sockets},
    world::until,
};
use secretd::{
    crypto::plaintext::Plaintext,
    model::{Labels, filter::Filters, object::Kind},
};
use std::{collections::BTreeSet, time::Duration};

/// Readers that wait at the old leader when it wakes up.
const READERS: usize = 8;

#[test]
fn a_leader_that_slept_shows_nothing_old_and_follows_the_new_one() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.nodes[0].ctl_with(["create", "before", "-"], b"x").ok();
    let load = Load::new();
    let everyone = sockets(&cluster.nodes);
    load.around(&everyone, || {
        for _ in 0..2 {
            load.until_more(20);
            let old = cluster.leader();
            cluster.freeze(old);
            let new = cluster.leader();
            load.until_more(40);
            // It still believes that it leads, and is asked before it can learn that it does not.
            cluster.nodes[new].ctl(["rm", "before"]).ok();
            cluster.nodes[new].ctl_with(["create", "after", "-"], b"x").ok();
            let socket = cluster.nodes[old].socket();
            let ready = std::sync::Barrier::new(READERS + 1);
            std::thread::scope(|scope| {
                let readers: Vec<_> = (0..READERS)
                    .map(|_| {
                        scope.spawn(|| {
                            let hand = Hand::to(&socket).unwrap();
                            ready.wait();
                            hand.run(async |c| {
                                c.list_objects(Kind::Secret, &Filters::default()).await
                            })
                        })
                    })
                    .collect();
                ready.wait();
                cluster.thaw(old);
                for reader in readers {
                    let listed = reader.join().unwrap().unwrap();
                    let names: BTreeSet<_> =
                        listed.iter().map(|object| object.name.to_string()).collect();
                    assert!(names.contains("after") && !names.contains("before"), "{names:?}");
                }
            });
            cluster.until_node(old, "ManagerStatus", "Reachable");
            cluster.ask(["rm", "after"]).ok();
            let created = Hand::to(&cluster.nodes[old].socket()).unwrap().run(async |c| {
                let payload = Plaintext::new(b"x".to_vec());
                c.create_object(Kind::Secret, "before", Labels::new(), payload).await
            });
            created.unwrap();
        }
    });
    load.check(&cluster);
}

#[test]
fn a_follower_that_slept_catches_up_and_a_worker_that_slept_stops_what_was_replaced() {
    let mut cluster = Cluster::new(&[true, true, false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 4]);
    let leader = cluster.leader();
    let follower = (0..3).find(|n| *n != leader).unwrap();
    let load = Load::new();
    let awake = sockets((0..3).filter(|n| *n != follower).map(|n| &cluster.nodes[n]));
    let kept = holders(&cluster.nodes[3]);
    let replaced = holders(&cluster.nodes[4]);
    assert_eq!((kept.len(), replaced.len()), (1, 1));
    load.around(&awake, || {
        cluster.freeze(follower);
        cluster.freeze(4);
        load.until_more(100);
        assert_eq!(cluster.leader(), leader, "a sleeping follower changes nothing");
        cluster.until_node(4, "Status", "Down");
        cluster.until_running_on(&[3, 3]);
        // Its process goes on, whoever watches it.
        assert_eq!(holders(&cluster.nodes[4]), replaced);
        cluster.thaw(follower);
        cluster.thaw(4);
    });
    cluster.until_node(4, "Status", "Ready");
    until("the replaced task to end", || holders(&cluster.nodes[4]).is_empty().then_some(()));
    cluster.until_running_on(&[3, 3]);
    assert!(holders(&cluster.nodes[3]).is_superset(&kept), "the task that nobody touched");
    // The follower answers from its own copy.
    let hand =
        Hand::to(&cluster.nodes[follower].socket()).unwrap().patient(Duration::from_secs(15));
    hand.run(async |c| c.list_objects(Kind::Secret, &Filters::default()).await).unwrap();
    load.check(&cluster);
}
