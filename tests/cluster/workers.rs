//! One manager and its workers: secrets reach tasks, and tasks leave nodes that die, are drained or removed.

use crate::{
    cluster::{CANARY, Cluster},
    world::{files_with, until},
};
use std::path::PathBuf;

#[test]
fn tasks_on_workers_get_secrets_and_leave_a_drained_and_a_removed_node() {
    let cluster = Cluster::new(&[false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[1, 2]);
    for node in &cluster.nodes {
        assert_eq!(files_with(&node.data_dir(), CANARY), Vec::<PathBuf>::new());
        assert_eq!(files_with(&node.path("log"), CANARY), Vec::<PathBuf>::new());
    }
    let (first, second) = (cluster.id(1), cluster.id(2));
    cluster.ask(["node", "update", "--availability", "drain", second]).ok();
    cluster.until_running_on(&[1, 1]);

    cluster.ask(["node", "update", "--availability", "active", second]).ok();
    cluster.ask(["node", "update", "--availability", "drain", first]).ok();
    cluster.until_running_on(&[2, 2]);

    // It is cut off with its tasks running: they end, and nothing of the cluster is left there.
    cluster.ask(["node", "rm", "--force", second]).ok();
    until("the removed node to forget the cluster", || {
        let said = cluster.nodes[2].ctl(["status", "--format", "{{.State}}"]);
        (said.out.trim() == "inactive").then_some(())
    });
    cluster.until_ready(2);
    cluster.until_running_on(&[]);
    cluster.ask(["node", "update", "--availability", "active", first]).ok();
    cluster.until_running_on(&[1, 1]);
}

#[test]
fn a_dead_workers_tasks_are_replaced_and_it_comes_back_without_them() {
    let mut cluster = Cluster::new(&[false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[1, 2]);
    cluster.kill(2);
    cluster.until_node(2, "Status", "Down");
    cluster.until_running_on(&[1, 1]);
    cluster.start(2);
    cluster.until_node(2, "Status", "Ready");
    cluster.until_running_on(&[1, 1]);
}
