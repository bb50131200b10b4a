//! Managers that come back with an older disk, or with another one than they wrote.

use crate::{
    cluster::Cluster,
    world::{World, until, until_or_say},
};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};

fn status(node: &World) -> Value {
    node.json(["status", "--format", "json"])
}

/// Copies what a manager that is down has, apart from what it has in its run directory.
fn copy(node: &World) -> PathBuf {
    let copy = node.path("older");
    put(&node.data_dir(), &copy);
    copy
}

fn put(from: &PathBuf, to: &PathBuf) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Puts the copy in the place of what a manager that is down has.
fn put_back(node: &World, copy: &PathBuf) {
    fs::remove_dir_all(node.data_dir()).unwrap();
    put(copy, &node.data_dir());
}

fn until_damaged(node: &World, named: &str) {
    until_or_say("the manager to stand aside", || {
        let status = status(node);
        let named = status["Error"].as_str().is_some_and(|error| error.contains(named));
        if status["State"] == "damaged" && named { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Refills a manager, and sees that all of them say the same.
fn refill(cluster: &Cluster, n: usize) {
    cluster.nodes[n].ctl(["refill"]).ok();
    cluster.until_voters(3);
    cluster.until_serving(n);
    until("all managers to say the same", || {
        let list =
            |n: usize| cluster.nodes[n].ctl(["config", "ls", "--format", "{{.ID}} {{.Name}}"]);
        let lists: Vec<_> = (0..3).map(list).collect();
        let same = lists.iter().all(|said| said.code == 0 && said.out == lists[0].out);
        same.then_some(())
    });
}

#[test]
fn a_manager_put_back_to_an_older_disk_undoes_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.stop(2);
    let older = copy(&cluster.nodes[2]);
    cluster.start(2);
    cluster.until_serving(2);
    // Only these two have it.
    cluster.kill(1);
    cluster.ask(["config", "ls"]);
    let file = cluster.nodes[0].file("v", "v");
    cluster.ask(["config", "create", "acknowledged", &file]).ok();
    cluster.kill(0);
    cluster.kill(2);
    put_back(&cluster.nodes[2], &older);
    // The one that lacks it, and the one that forgot it, are a majority.
    cluster.start(1);
    cluster.start(2);
    until_damaged(&cluster.nodes[2], "older than what this manager has written");
    assert_ne!(cluster.nodes[1].ctl(["config", "create", "other", &file]).code, 0);

    cluster.start(0);
    let listed = cluster.ask(["config", "ls"]).out;
    assert!(listed.contains("acknowledged") && !listed.contains("other"), "{listed}");
    cluster.until_node(2, "ManagerStatus", "Damaged");
    let said = cluster.ask(["status"]).out;
    assert!(said.contains("older than what this manager has written"), "{said}");
    refill(&cluster, 2);

    // The same when the machine was put back with all it had in memory, and another remembers.
    cluster.stop(2);
    let older = cluster.nodes[2].path("even-older");
    put(&cluster.nodes[2].data_dir(), &older);
    cluster.start(2);
    cluster.until_serving(2);
    cluster.kill(1);
    cluster.ask(["config", "create", "remembered", &file]).ok();
    cluster.kill(2);
    put_back(&cluster.nodes[2], &older);
    fs::remove_file(cluster.nodes[2].path("run/raft.witness")).unwrap();
    cluster.start(2);
    until_damaged(&cluster.nodes[2], "its disk is older than");
    cluster.start(1);
    assert!(cluster.ask(["config", "ls"]).out.contains("remembered"));
    cluster.until_node(2, "ManagerStatus", "Damaged");
    refill(&cluster, 2);

    // A log without its segments is not a new one.
    cluster.kill(2);
    let log = cluster.nodes[2].data_dir().join("raft/log");
    fs::remove_dir_all(&log).unwrap();
    fs::create_dir(&log).unwrap();
    fs::remove_file(cluster.nodes[2].data_dir().join("raft/state.redb")).unwrap();
    cluster.start(2);
    until_damaged(&cluster.nodes[2], "all its segments are gone");
    refill(&cluster, 2);
}

#[test]
fn a_manager_whose_state_goes_another_way_is_found_and_refilled() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.kill(2);
    cluster.nodes[2].set("SECRETD_SKEW", "astray");
    cluster.start(2);
    cluster.until_serving(2);
    let file = cluster.nodes[0].file("v", "v");
    cluster.ask(["config", "create", "astray", &file]).ok();
    until_damaged(&cluster.nodes[2], "not that of most managers");
    cluster.until_node(2, "ManagerStatus", "Damaged");
    // Also after a start.
    cluster.kill(2);
    cluster.nodes[2].unset("SECRETD_SKEW");
    cluster.start(2);
    until_damaged(&cluster.nodes[2], "not that of most managers");
    refill(&cluster, 2);
}
