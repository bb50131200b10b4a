//! Certificates that were replaced, one identity on two machines, and clocks that are wrong.

use crate::{
    cluster::Cluster,
    world::{World, until},
};
use std::{fs, path::Path};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// A second machine with all that the first one's disk holds now.
fn clone(node: &World) -> World {
    let thief = World::new();
    copy(&node.data_dir(), &thief.data_dir());
    fs::copy(node.path("data.key"), thief.path("data.key")).unwrap();
    thief
}

fn log(node: &World) -> String {
    fs::read_to_string(node.path("log")).unwrap()
}

fn until_cloned(cluster: &Cluster, n: usize, cloned: bool) {
    until(&format!("node {n} to be cloned or not"), || {
        let said = cluster.ask(["node", "ls", "--format", "{{.ID}} {{.Cloned}}"]).out;
        said.lines().any(|line| line == format!("{} {cloned}", cluster.id(n))).then_some(())
    });
}

/// Renews a worker's certificate, twice: as a manager it has another.
fn renew_twice(cluster: &Cluster, n: usize) {
    for (act, wanted) in [("promote", "Reachable"), ("demote", "")] {
        cluster.ask(["node", act, cluster.id(n)]).ok();
        cluster.until_node(n, "ManagerStatus", wanted);
        until("the node to have another part", || {
            let said = cluster.nodes[n].ctl(["status", "--format", "{{.State}} {{.Role}}"]).out;
            let role = if act == "promote" { "manager" } else { "worker" };
            (said.trim() == format!("active {role}")).then_some(())
        });
    }
    cluster.until_node(n, "Status", "Ready");
}

#[test]
fn two_machines_with_one_identity_are_named_and_slowed_and_a_copy_that_is_too_old_opens_nothing() {
    let cluster = Cluster::new(&[false]);
    let (mut twin, mut old) = (clone(&cluster.nodes[1]), clone(&cluster.nodes[1]));
    until_cloned(&cluster, 1, false);
    twin.start();
    // They take the session from each other, until both are held up.
    until_cloned(&cluster, 1, true);
    until("one of the two to be held up", || {
        log(&cluster.nodes[0]).contains("another machine uses the identity of node").then_some(())
    });
    let sessions = log(&cluster.nodes[0]).matches("session opened").count();
    assert!(sessions < 20, "{sessions} sessions: nobody was slowed");
    let said = cluster.ask(["status"]).out;
    assert!(said.contains("more than one machine has its identity, from 127.0.0.1"), "{said}");
    let shown = cluster.ask(["node", "inspect", "--pretty", cluster.id(1)]).out;
    assert!(shown.contains("Cloned:\n Since:"), "{shown}");
    let table = cluster.ask(["node", "ls"]).out;
    assert!(table.contains(" (cloned) "), "{table}");
    twin.kill();
    until("the one that stays to have its session", || {
        let said = cluster.nodes[1].ctl(["status", "--format", "{{.AgentError}}"]).out;
        said.trim().is_empty().then_some(())
    });
    cluster.until_node(1, "Status", "Ready");

    renew_twice(&cluster, 1);
    old.start();
    until("the old copy to be refused", || {
        let said = old.ctl(["status", "--format", "{{.AgentError}}"]).out;
        said.contains("this certificate of node").then_some(())
    });
    let refused = |line: &str| {
        line.contains("WARN")
            && line.contains("has a copy of the node's identity")
            && line.contains(cluster.id(1))
            && line.contains("127.0.0.1")
    };
    assert!(log(&cluster.nodes[0]).lines().any(refused));
    assert!(!log(&old).contains("session with a manager"));
    old.kill();
    cluster.hold(1);
    cluster.until_running_on(&[1]);
}

#[test]
fn nodes_whose_clocks_were_wrong_come_back_and_say_so_meanwhile() {
    let mut cluster = Cluster::new(&[true, false]);
    // A manager whose clock is behind: the others see it, and still nothing is lost.
    cluster.kill(1);
    cluster.nodes[1].set("SECRETD_CLOCK_OFF_MS", "-90000");
    cluster.start(1);
    cluster.until_serving(1);
    until("the skew to show", || {
        let said = cluster.ask(["status"]).out;
        // By the leader's clock; the one that is behind may lead.
        ["(clock -90.", "(clock -89.", "(clock +90.", "(clock +89."]
            .iter()
            .any(|skew| said.contains(skew))
            .then_some(())
    });
    let status = cluster.nodes[0].json(["status", "--format", "json"]);
    assert!(status["RemoteManagers"][0]["ClockAheadMs"].is_i64(), "{status}");
    // A week before its certificate was made, nobody's certificate is valid yet.
    cluster.kill(2);
    cluster.nodes[2].set("SECRETD_CLOCK_OFF_MS", "-604800000");
    cluster.start(2);
    until("the node to name the clock", || {
        let said = cluster.nodes[2].ctl(["status", "--format", "{{.AgentError}}"]).out;
        (said.contains("not valid yet") && said.contains("date -u")).then_some(())
    });
    cluster.kill(2);
    cluster.nodes[2].set("SECRETD_CLOCK_OFF_MS", "0");
    cluster.start(2);
    cluster.until_node(2, "Status", "Ready");
}

#[test]
fn a_cluster_that_was_founded_with_a_clock_ahead_goes_on_when_it_is_set_right() {
    let mut cluster = Cluster::new(&[]);
    cluster.stop(0);
    // What is signed now is not valid for three days.
    cluster.nodes[0].set("SECRETD_CLOCK_OFF_MS", "280000000");
    cluster.start(0);
    cluster.until_node(0, "Status", "Ready");
    until("the manager to sign for itself", || {
        log(&cluster.nodes[0]).contains("renewed this node's certificate").then_some(())
    });
    let before = cluster.nodes[0].ctl(["status", "--format", "{{.CertificateExpiresAt}}"]).ok();
    cluster.stop(0);
    cluster.nodes[0].set("SECRETD_CLOCK_OFF_MS", "0");
    cluster.start(0);
    cluster.until_node(0, "Status", "Ready");
    until("a certificate that is good now", || {
        let now = cluster.nodes[0].ctl(["status", "--format", "{{.CertificateExpiresAt}}"]).out;
        (!now.trim().is_empty() && now < before).then_some(())
    });
    cluster.join("worker");
    cluster.until_ready(2);
}
