//! Nodes that are cut off from the others, and come back.

use crate::{
    cluster::{Cluster, holders},
    load::{Load, sockets},
    world::until,
};
use secretd::kit::limits::SECRET_SIZE;
use std::time::{Duration, Instant};

/// A command is repeated for 15 s, and each attempt may take as long as a proposal's deadline.
const GIVES_UP: Duration = Duration::from_secs(40);

/// Bytes a second: 8 Mbit/s, on which the largest secret takes twice as long as openraft waits for an append.
const SLOW: u32 = 1_000_000;

#[test]
fn a_leader_cut_off_refuses_everything_and_comes_back_without_losing_or_inventing_anything() {
    let mut cluster = Cluster::wired(&[true, true]);
    let load = Load::new();
    let everyone = sockets(&cluster.nodes);
    let old = load.around(&everyone, || {
        load.until_more(20);
        let old = cluster.leader();
        cluster.cut(old);
        let new = cluster.leader();
        assert_ne!(new, old);
        // Both sides at once, for longer than either needs to give up.
        let since = Instant::now();
        std::thread::scope(|scope| {
            let old = &cluster.nodes[old];
            let write = scope.spawn(|| old.ctl_with(["create", "lonely", "-"], b"x"));
            let read = scope.spawn(|| old.ctl(["ls"]));
            for said in [write.join().unwrap(), read.join().unwrap()] {
                assert!(said.fails(7).contains("hint:"));
            }
        });
        assert!(since.elapsed() < GIVES_UP, "it took {:?}", since.elapsed());
        let status = cluster.nodes[old].ctl(["status"]);
        assert_eq!(status.code, 0, "what a node is it can say without the others");
        load.until_more(20);
        cluster.heal(old);
        cluster.until_node(old, "ManagerStatus", "Reachable");
        until("the old leader to answer", || {
            (cluster.nodes[old].ctl(["ls"]).code == 0).then_some(())
        });
        load.until_more(20);
        old
    });
    load.check(&cluster);
    let names = cluster.nodes[old].ctl(["ls", "--format", "{{.Name}}"]).ok();
    assert!(!names.lines().any(|name| name == "lonely"), "it was said that this was not done");
}

#[test]
fn a_follower_that_does_not_reach_the_leader_alone_disturbs_nobody_and_catches_up() {
    let cluster = Cluster::wired(&[true, true]);
    let leader = cluster.leader();
    let (lonely, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let load = Load::new();
    let connected = sockets([&cluster.nodes[leader], &cluster.nodes[other]]);
    load.around(&connected, || {
        load.until_more(20);
        cluster.part(lonely, leader);
        // Longer than any election: it has asked for votes by then, and the third, who hears the leader, gave none.
        assert!(cluster.nodes[lonely].ctl(["ls"]).fails(7).contains("hint:"));
        assert_eq!(cluster.leader(), leader);
        load.until_more(100);
        cluster.join_again(lonely, leader);
        cluster.until_serving(lonely);
        load.until_more(20);
    });
    load.check(&cluster);
}

#[test]
fn a_slow_network_carries_the_largest_secrets() {
    let cluster = Cluster::wired(&[true, true]);
    cluster.slow(SLOW);
    let payload = vec![b's'; SECRET_SIZE - 1];
    for n in 0..3 {
        let name = format!("large-{n}");
        cluster.nodes[n].ctl_with(["create", &name, "-"], &payload).ok();
    }
    for node in &cluster.nodes {
        let names = node.ctl(["ls", "--format", "{{.Name}}"]).ok();
        assert_eq!(names.lines().count(), 3, "{names}");
    }
}

#[test]
fn a_worker_cut_off_keeps_its_task_until_it_is_back_and_hears_that_it_was_replaced() {
    let mut cluster = Cluster::wired(&[false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[1, 2]);
    let (kept, replaced) = (holders(&cluster.nodes[1]), holders(&cluster.nodes[2]));
    assert_eq!((kept.len(), replaced.len()), (1, 1));
    cluster.cut(2);
    cluster.until_node(2, "Status", "Down");
    cluster.until_running_on(&[1, 1]);
    // The task ends by itself as soon as it does not find its secret.
    assert_eq!(holders(&cluster.nodes[2]), replaced, "a task was stopped by silence");
    cluster.heal(2);
    cluster.until_node(2, "Status", "Ready");
    until("the replaced task to end", || holders(&cluster.nodes[2]).is_empty().then_some(()));
    cluster.until_running_on(&[1, 1]);
    assert!(holders(&cluster.nodes[1]).is_superset(&kept), "the task that nobody touched");
}
