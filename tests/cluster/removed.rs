//! What stays of the cluster's secrets at a node that was removed, or that needs them no longer: nothing.

use crate::{
    cluster::{CANARY, Cluster, holders},
    world::{World, files_with, until},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A removed node's streams are cut within a second; with everything else a test machine does at the time, this.
const CUT: Duration = Duration::from_secs(5);

/// What makes a node a member.
const PAPERS: [&str; 2] = ["node.keys", "node.identity"];

/// How often a process's memory shows the needle; nothing where we may not look.
fn memory_with(pid: u32, needle: &[u8]) -> Option<usize> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut count = 0;
    for line in maps.lines() {
        let mut columns = line.split(' ');
        let (range, rights) = (columns.next()?, columns.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // Some areas have no memory behind them.
        let Ok(()) = memory.read_exact_at(&mut bytes, from) else { continue };
        let finder = |at: &usize| bytes[*at..].starts_with(needle);
        let starts = bytes.iter().enumerate().filter(|(_, b)| **b == needle[0]).map(|(at, _)| at);
        count += starts.filter(finder).count();
    }
    Some(count)
}

/// Waits until neither memory nor files of a node show the canary.
fn until_forgotten(node: &World) {
    let held = rustix::process::geteuid().is_root();
    until("the agent's memory to be clean", || {
        let count = memory_with(node.pid(), CANARY);
        assert!(count.is_some() || !held, "root may look");
        (count.unwrap_or(0) == 0).then_some(())
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
    if let Some(count) = memory_with(cluster.nodes[1].pid(), CANARY) {
        assert_ne!(count, 0, "the search finds what is there");
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
    let mut cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    cluster.ask(["service", "rm", "web"]).ok();
    until("the task to end", || holders(&cluster.nodes[1]).is_empty().then_some(()));
    // The buffers of a connection keep what came last until more comes; another connection has others.
    cluster.stop(0);
    cluster.start(0);
    cluster.until_ready(2);
    until_forgotten(&cluster.nodes[1]);
    assert_eq!(state(&cluster.nodes[1]), "active");
}
