//! Several managers: leaders die, quorums are lost, roles change, and what was acknowledged stays.

use crate::{
    cluster::{CANARY, Cluster},
    load::{Load, sockets},
    world::{files_with, until},
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

/// An election takes about a second; with everything else a test machine does at the time, this.
const ELECTION: Duration = Duration::from_secs(20);

#[test]
fn secrets_reach_tasks_on_workers_and_outlive_the_leader_and_a_worker() {
    let mut cluster = Cluster::new(&[true, true, false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 4]);
    for node in &cluster.nodes {
        assert_eq!(files_with(&node.data_dir(), CANARY), Vec::<PathBuf>::new());
        assert_eq!(files_with(&node.path("log"), CANARY), Vec::<PathBuf>::new());
    }

    // The leader dies: another one leads, what was acknowledged is there, and writes go on.
    let old = cluster.leader();
    cluster.nodes[old].ctl_with(["create", "before", "-"], b"x").ok();
    cluster.kill(old);
    let since = Instant::now();
    let new = cluster.leader();
    assert!(since.elapsed() < ELECTION, "no leader for {:?}", since.elapsed());
    cluster.nodes[new].ctl_with(["create", "after", "-"], b"x").ok();
    let names = |n: usize, cluster: &Cluster| -> BTreeSet<String> {
        let out = cluster.nodes[n].ctl(["ls", "--format", "{{.Name}}"]).ok();
        out.lines().map(str::to_owned).collect()
    };
    let all = BTreeSet::from(["s", "before", "after"].map(str::to_owned));
    assert_eq!(names(new, &cluster), all);
    cluster.until_running_on(&[3, 4]);

    // It comes back and catches up: it answers from its own copy, as fresh as the leader's.
    cluster.start(old);
    until("the old leader to answer", || {
        let said = cluster.nodes[old].ctl(["ls", "--format", "{{.Name}}"]);
        (said.code == 0).then_some(())
    });
    assert_eq!(names(old, &cluster), all);
    cluster.until_node(old, "ManagerStatus", "Reachable");

    // A worker dies: its task is replaced on the other, and it comes back as a member without that task.
    cluster.kill(4);
    cluster.until_node(4, "Status", "Down");
    cluster.until_running_on(&[3, 3]);
    cluster.start(4);
    cluster.until_node(4, "Status", "Ready");
    cluster.until_running_on(&[3, 3]);
}

#[test]
fn a_worker_becomes_a_manager_and_ceases_to_be_one() {
    let cluster = Cluster::new(&[false]);
    let worker = cluster.id(1);
    cluster.ask(["node", "promote", worker]).ok();
    cluster.until_node(1, "ManagerStatus", "Reachable");
    until("the new manager to serve", || (cluster.nodes[1].ctl(["ls"]).code == 0).then_some(()));
    cluster.ask(["node", "demote", worker]).ok();
    cluster.until_node(1, "ManagerStatus", "");
    until("the worker to say that it is one", || {
        let said = cluster.nodes[1].ctl(["status", "--format", "{{.Role}}"]);
        (said.out.trim() == "worker").then_some(())
    });
}

#[test]
fn without_a_quorum_writes_are_refused_and_after_a_restart_of_all_everything_is_there() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    let last = cluster.leader();
    for n in (0..3).filter(|n| *n != last) {
        cluster.kill(n);
    }
    let said = cluster.nodes[last].ctl_with(["create", "t", "-"], b"x");
    assert!(said.fails(7).contains("hint:"));
    cluster.kill(last);
    for n in 0..3 {
        cluster.start(n);
    }
    let leader = cluster.leader();
    cluster.nodes[leader].ctl_with(["create", "u", "-"], b"x").ok();
    let names = cluster.ask(["ls", "--format", "{{.Name}}"]).out;
    assert!(names.lines().any(|name| name == "s") && names.lines().any(|name| name == "u"));
}

#[test]
fn what_many_clients_see_while_leaders_die_has_an_explanation() {
    let mut cluster = Cluster::new(&[true, true]);
    let load = Load::new();
    let everyone = sockets(&cluster.nodes);
    load.around(&everyone, || {
        for _ in 0..2 {
            load.until_more(40);
            let leader = cluster.leader();
            cluster.kill(leader);
            load.until_more(60);
            cluster.start(leader);
            cluster.until_serving(leader);
        }
    });
    load.check(&cluster);
}
