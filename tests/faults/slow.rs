//! Disks that take seconds for a sync: nobody is elected for it, and nothing is lost.
//!
//! `SECRETD_SLOW_MS` says how many milliseconds, `SECRETD_SLOW_WRITES` for how many writes.

use crate::{
    cluster::Cluster,
    disk::Disk,
    kept::{Kept, setting},
    world::World,
};
use std::fs;

/// How often a manager said that somebody else leads, or nobody.
fn elections(world: &World) -> usize {
    fs::read_to_string(world.path("log")).unwrap().matches("leadership changed").count()
}

#[test]
fn a_disk_that_takes_seconds_elects_nobody_and_loses_nothing() {
    let ms = u32::try_from(setting("SECRETD_SLOW_MS", 1500)).unwrap();
    let writes = setting("SECRETD_SLOW_WRITES", 2);
    let mut cluster = Cluster::new(&[true, true]);
    let mut disks = Vec::new();
    for n in 0..3 {
        cluster.stop(n);
        disks.push(Disk::under(&mut cluster.nodes[n]));
        cluster.start(n);
        cluster.until_serving(n);
    }
    let mut kept = Kept::default();
    let leader = cluster.leader();
    let before: Vec<usize> = cluster.nodes.iter().map(elections).collect();
    // One follower, then both followers, then the leader alone, then all of them.
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    for slow in [vec![others[0]], others.clone(), vec![leader], vec![0, 1, 2]] {
        for n in &slow {
            disks[*n].slow(ms);
        }
        for write in 0..writes {
            let name =
                format!("slow-{slow:?}-{write}").replace(|c: char| !c.is_alphanumeric(), "-");
            let said = kept.create(&cluster.nodes[leader], name.trim_matches('-'));
            // A write of several syncs may take longer than its caller waits, who is told so.
            let unsure = said.err.contains("the change may or may not have been made");
            assert!(said.code == 0 || (unsure && ms > 3000), "{}", said.err);
        }
        for n in &slow {
            disks[*n].heal();
        }
        assert_eq!(cluster.leader(), leader, "with slow disks at {slow:?}");
    }
    let after: Vec<usize> = cluster.nodes.iter().map(elections).collect();
    assert_eq!(after, before, "elections each manager heard of");
    for n in 0..3 {
        kept.check(&cluster.nodes[n], "all are fast again");
    }
    for n in 0..3 {
        cluster.kill(n);
    }
    for n in 0..3 {
        cluster.start(n);
    }
    cluster.until_serving(0);
    kept.check(&cluster.nodes[0], "after all were killed");
}
