//! What stays of the cluster's secrets at a node that was removed, or that needs them no longer: nothing.

use crate::{
    cluster::{CANARY, Cluster, holders},
    held::held_on,
    traces::traces,
    world::{World, files_with, until, until_or_say},
};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A removed node's streams are cut within a second; with everything else a test machine does at the time, this.
const CUT: Duration = Duration::from_secs(5);

/// What makes a node a member.
const PAPERS: [&str; 2] = ["node.keys", "node.identity"];

/// Waits until neither memory nor files of a node show the canary.
fn until_forgotten(node: &World) {
    let held = rustix::process::geteuid().is_root();
    until_or_say("a daemon's memory to be clean", || {
        let found = traces(node.pid(), CANARY);
        assert!(found.is_some() || !held, "root may look");
        let shown: Vec<String> = found.iter().flatten().map(ToString::to_string).collect();
        if shown.is_empty() { Ok(()) } else { Err(shown.join("\n")) }
    });
    for place in ["run", "data", "log"] {
        assert_eq!(files_with(&node.path(place), CANARY), Vec::<PathBuf>::new());
    }
}

fn state(node: &World) -> String {
    node.ctl(["status", "--format", "{{.State}}"]).out.trim().to_owned()
}

#[test]
fn a_removed_node_is_cut_off_at_once_and_keeps_nothing() {
    let mut cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    assert_eq!(holders(&cluster.nodes[1]).len(), 1);
    if let Some(found) = traces(cluster.nodes[1].pid(), CANARY) {
        assert!(!found.is_empty(), "the search finds what is there");
    }
    let papers = PAPERS.map(|name| fs::read(cluster.nodes[1].data_dir().join(name)).unwrap());
    let log = cluster.nodes[1].path("log");

    let ended = || fs::read_to_string(&log).unwrap().contains("session ended");
    assert!(!ended());
    let since = Instant::now();
    cluster.ask(["node", "rm", "--force", cluster.id(1)]).ok();
    let acknowledged = since.elapsed();
    until("the session to be cut", || ended().then_some(()));
    let took = since.elapsed();
    eprintln!("removal acknowledged after {acknowledged:?}, session cut after {took:?}");
    assert!(took < CUT, "{took:?}");
    until("the node to forget the cluster", || {
        (state(&cluster.nodes[1]) == "inactive").then_some(())
    });
    eprintln!("tasks ended and membership forgotten after {:?}", since.elapsed());
    assert!(holders(&cluster.nodes[1]).is_empty(), "a task goes on");
    for name in PAPERS {
        assert!(!cluster.nodes[1].data_dir().join(name).exists(), "{name} stays");
    }
    until_forgotten(&cluster.nodes[1]);

    // Somebody has kept a copy of what made it a member.
    cluster.stop(1);
    for (name, content) in PAPERS.iter().zip(papers) {
        fs::write(cluster.nodes[1].data_dir().join(name), content).unwrap();
    }
    cluster.start(1);
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("took up the cluster"), "the copy is good enough to try");
    until("the old identity to be refused", || {
        (state(&cluster.nodes[1]) == "inactive").then_some(())
    });
    assert_eq!(cluster.ask(["node", "ls", "-q"]).out.lines().count(), 1);
    let ready = cluster.ask(["service", "ps", "--format", "{{.CurrentState}}", "web"]).out;
    assert!(!ready.contains("Running"), "{ready}");
}

#[test]
fn after_the_last_task_that_needs_it_nothing_of_a_secret_is_left_at_a_node() {
    let cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    cluster.ask(["service", "rm", "web"]).ok();
    until("the removal to be confirmed", || held_on(&cluster, 1).is_empty().then_some(()));
    assert!(holders(&cluster.nodes[1]).is_empty(), "a task goes on");
    // The connection that it came by is open all the time.
    for node in &cluster.nodes {
        until_forgotten(node);
    }
    assert_eq!(state(&cluster.nodes[1]), "active");
}
