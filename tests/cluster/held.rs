//! What managers know of who may still have a secret: until its node has confirmed that nothing is left of it.

use crate::{
    cluster::{CANARY, Cluster, holders},
    world::{World, files_with, until},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// The nodes that may have the secret `s`: id, what for, and how the node is.
fn shown(cluster: &Cluster) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let said: Value = serde_json::from_str(&cluster.ask(["inspect", "s"]).out).unwrap();
    said[0]["Holders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|holder| {
            let Value::Array(services) = &holder["Services"] else { panic!("{holder}") };
            assert_eq!(services, &["web"]);
            (text(&holder["NodeID"]), text(&holder["State"]), text(&holder["NodeState"]))
        })
        .collect()
}

/// What a node may have: names and what for.
pub(crate) fn held_on(cluster: &Cluster, n: usize) -> String {
    let format = "{{range .Holds}}{{.Kind}} {{.Name}} {{.State}};{{end}}";
    cluster.ask(["node", "inspect", "--format", format, cluster.id(n)]).out.trim().to_owned()
}

fn one(cluster: &Cluster, n: usize, state: &str, node: &str) -> Vec<(String, String, String)> {
    vec![(cluster.id(n).to_owned(), state.to_owned(), node.to_owned())]
}

fn until_nobody_holds(cluster: &Cluster) {
    until("the removal to be confirmed", || shown(cluster).is_empty().then_some(()));
}

fn assert_no_files(node: &World) {
    for place in ["run", "data", "log"] {
        assert_eq!(files_with(&node.path(place), CANARY), Vec::<PathBuf>::new());
    }
}

/// Asks the processes of a node's tasks to end, and waits until its agent has seen to it.
fn end_tasks(node: &World) {
    for pid in holders(node) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }
    until("the agent to see the end", || {
        fs::read_to_string(node.path("log")).unwrap().contains("state=complete").then_some(())
    });
    assert!(holders(node).is_empty());
}

#[test]
fn a_node_is_shown_as_holder_from_the_task_to_the_confirmed_removal() {
    let cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    assert_eq!(shown(&cluster), one(&cluster, 1, "in use", "ready"));
    assert_eq!(held_on(&cluster, 1), "secret s in use;");
    assert_eq!(held_on(&cluster, 0), "");
    cluster.ask(["service", "rm", "web"]).ok();
    until("the removal to be confirmed", || {
        // In this order: what is there after it was said to be gone is a lie, what was there before is not.
        let said = shown(&cluster).is_empty();
        let gone = holders(&cluster.nodes[1]).is_empty();
        assert!(!said || gone, "it was confirmed too early");
        said.then_some(())
    });
    assert_no_files(&cluster.nodes[1]);
    assert_eq!(held_on(&cluster, 1), "");
    cluster.ask(["rm", "s"]).ok();
}

#[test]
fn a_node_that_is_cut_off_stays_a_holder_until_it_is_back_and_confirms() {
    let mut cluster = Cluster::wired(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    cluster.cut(1);
    cluster.ask(["service", "rm", "web"]).ok();
    cluster.until_node(1, "Status", "Down");
    assert_eq!(shown(&cluster), one(&cluster, 1, "in use", "down"));
    assert_eq!(holders(&cluster.nodes[1]).len(), 1, "its task outlives the connection");
    // The name is free again, and what is left of it is still known.
    cluster.ask(["rm", "s"]).ok();
    assert_eq!(held_on(&cluster, 1), "secret s in use;");
    cluster.heal(1);
    until("the removal to be confirmed", || held_on(&cluster, 1).is_empty().then_some(()));
    assert!(holders(&cluster.nodes[1]).is_empty());
    assert_no_files(&cluster.nodes[1]);
}

#[test]
fn a_removal_is_confirmed_though_agent_and_leader_die_before_it_is_told() {
    let mut cluster = Cluster::wired(&[true, true, false]);
    cluster.hold(1);
    cluster.until_running_on(&[3]);
    cluster.cut(3);
    cluster.ask(["service", "rm", "web"]).ok();
    // The files go, and nobody can be told.
    end_tasks(&cluster.nodes[3]);
    cluster.kill(3);
    assert_eq!(shown(&cluster).len(), 1);
    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.leader();
    assert_eq!(shown(&cluster).len(), 1, "the next leader knows it too");
    cluster.start(3);
    cluster.heal(3);
    until_nobody_holds(&cluster);
    assert_no_files(&cluster.nodes[3]);
    cluster.start(leader);
    cluster.until_serving(leader);
    until_nobody_holds(&cluster);
}

#[test]
fn who_removes_a_lost_node_hears_which_secrets_went_with_it() {
    let mut cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    let lost = cluster.id(1).to_owned();
    cluster.kill(1);
    cluster.until_node(1, "Status", "Down");
    let said = cluster.ask(["node", "rm", "--force", &lost]);
    assert!(
        said.err.contains("warning: ") && said.err.contains("may still have them: s\n"),
        "{}",
        said.err
    );
    let log = fs::read_to_string(cluster.nodes[0].path("log")).unwrap();
    let line = log.lines().find(|line| line.contains("before it confirmed"));
    let line = line.expect("the daemon says so too");
    assert!(line.contains(&lost) && line.contains("name=s "), "{line}");
    // Also after the task is given up and forgotten, until the secret is removed.
    cluster.ask(["service", "rm", "web"]).ok();
    until("the task to be given up", || {
        (shown(&cluster) == one(&cluster, 1, "removing", "removed")).then_some(())
    });
    cluster.ask(["rm", "s"]).ok();
}

#[test]
fn a_node_that_leaves_confirms_first_and_leaves_no_row_behind() {
    let cluster = Cluster::new(&[false]);
    cluster.hold(1);
    cluster.until_running_on(&[1]);
    cluster.nodes[1].ctl(["leave"]).ok();
    assert_eq!(shown(&cluster), []);
    assert!(holders(&cluster.nodes[1]).is_empty());
    assert!(!cluster.ask(["node", "ls", "-q"]).ok().contains(cluster.id(1)), "its row stays");
}
