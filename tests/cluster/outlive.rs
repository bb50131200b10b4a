//! All managers are gone: what runs goes on.

use crate::{
    cluster::{Cluster, holders},
    world::{World, until},
};
use std::{collections::BTreeSet, fs};

/// Whether the task sees its secret. The holder ends if it does not when it starts; this asks later.
fn reads(pid: i32) -> bool {
    let file = fs::read(format!("/proc/{pid}/root/run/secrets/s"));
    file.is_ok_and(|content| content == crate::cluster::CANARY)
}

fn all_read(node: &World, tasks: &BTreeSet<i32>) {
    assert_eq!(holders(node), *tasks, "tasks came or went");
    // Only root may look into another process's sandbox.
    if rustix::process::geteuid().is_root() {
        assert!(tasks.iter().all(|pid| reads(*pid)), "a task lost its file");
    }
}

#[test]
fn tasks_and_their_files_outlive_all_managers_and_their_own_daemon() {
    let mut cluster = Cluster::new(&[true, true, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 3]);
    let tasks = holders(&cluster.nodes[3]);
    assert_eq!(tasks.len(), 2);
    for n in 0..3 {
        cluster.kill(n);
    }
    all_read(&cluster.nodes[3], &tasks);
    cluster.kill(3);
    all_read(&cluster.nodes[3], &tasks);
    cluster.start(3);
    until("the worker to miss its managers", || {
        let said = cluster.nodes[3].ctl(["status", "--format", "{{.State}} {{.AgentError}}"]);
        (said.out.starts_with("active ") && said.out.trim() != "active").then_some(())
    });
    all_read(&cluster.nodes[3], &tasks);
    for n in 0..3 {
        cluster.start(n);
    }
    cluster.until_ready(4);
    cluster.until_running_on(&[3, 3]);
    all_read(&cluster.nodes[3], &tasks);

    // Everything is in order: the service can grow, shrink and go.
    cluster.ask(["service", "scale", "--detach", "web=3"]).ok();
    cluster.until_running_on(&[3, 3, 3]);
    assert!(holders(&cluster.nodes[3]).is_superset(&tasks));
    cluster.ask(["service", "rm", "web"]).ok();
    until("the tasks to end", || holders(&cluster.nodes[3]).is_empty().then_some(()));
}
