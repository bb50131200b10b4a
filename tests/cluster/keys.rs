//! The keyring is rotated while everything goes on: under load, over the death of leaders, with managers away.

use crate::{
    cluster::{CANARY, Cluster},
    load::{Hand, Load, sockets},
    world::{World, files_with, until},
};
use secretd::{
    crypto::plaintext::Plaintext,
    model::{Labels, object::Kind},
};
use serde_json::Value;
use std::time::Duration;

/// Enough that a rotation takes a while at the rates used here.
const SECRETS: usize = 300;

fn keys(cluster: &Cluster) -> Value {
    serde_json::from_str(&cluster.ask(["key", "status", "--format", "json"]).out).unwrap()
}

fn left(cluster: &Cluster) -> u64 {
    keys(cluster)["Left"].as_u64().unwrap()
}

fn terms(cluster: &Cluster) -> Vec<u64> {
    let keys = keys(cluster);
    keys["Terms"].as_array().unwrap().iter().map(|term| term["Term"].as_u64().unwrap()).collect()
}

/// Waits until only this term is left and no manager has anything from before on its disk.
fn until_only(cluster: &Cluster, term: u64) {
    until(&format!("only term {term} to be left"), || (terms(cluster) == [term]).then_some(()));
    until("all disks to be clean", || {
        let keys = keys(cluster);
        let managers = keys["Managers"].as_array().unwrap();
        managers.iter().all(|manager| manager["Clean"] == true).then_some(())
    });
}

fn fill(node: &World) {
    let hand = Hand::to(&node.socket()).unwrap().patient(Duration::from_secs(30));
    for n in 0..SECRETS {
        let name = format!("filler-{n}");
        let payload = Plaintext::new(vec![b'x'; 200]);
        hand.run(async |c| c.create_object(Kind::Secret, &name, Labels::new(), payload).await)
            .unwrap();
    }
}

/// A backup of its own key; returns that key.
fn back_up(node: &World, file: &str) -> String {
    let said = node.ctl(["backup", "create", file, "--recipient", "recovery"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let key = said.err.lines().map(str::trim).find(|line| line.starts_with("SECRETD-"));
    key.unwrap().to_owned()
}

/// Brings a backup back on a machine of its own, and has one of its tasks open the secret.
fn restores(file: &str, key: &str, after: bool) {
    let mut world = World::new();
    world.start();
    world.ctl_with(["backup", "verify", file, "--key", "-"], key.as_bytes()).ok();
    let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
    let restore = ["backup", "restore", file, "--key", "-"].into_iter().chain(here);
    world.ctl_with(restore, key.as_bytes()).ok();
    assert_eq!(world.ctl(["inspect", "during"]).code == 0, after);
    let hold = "grep -q canary-51f0c3d2 /run/secrets/s && echo it is there; sleep 1000";
    let service = ["service", "create", "--name", "again", "--secret", "s", "busybox", "sh", "-c"];
    world.ctl(service.into_iter().chain([hold])).ok();
    world.output_with("again", "it is there");
    // Whoever restores a backup does not know who else has its keys: they are rotated at once.
    until("the restored keyring to be rotated", || {
        let keys = world.json(["key", "status", "--format", "json"]);
        let only = keys["Terms"].as_array().unwrap().len() == 1;
        (only && keys["ActiveTerm"].as_u64() > Some(1) && keys["Due"] == false).then_some(())
    });
    world.ctl(["service", "rm", "again"]).ok();
    world.kill();
}

#[test]
fn a_rotation_survives_its_leader_and_everything_is_still_delivered_and_opened() {
    let mut cluster = Cluster::new(&[true, true, false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 4]);
    let leader = cluster.leader();
    fill(&cluster.nodes[leader]);
    assert_eq!(terms(&cluster), [1]);
    let place = World::new();
    let (before, after) = (place.path("before"), place.path("after"));
    let (before, after) = (before.to_str().unwrap(), after.to_str().unwrap());
    let before_key = back_up(&cluster.nodes[leader], before);

    let load = Load::new();
    let sockets = sockets(&cluster.nodes[..3]);
    load.around(&sockets, || {
        load.until_more(20);
        let said = cluster.nodes[leader].ctl(["key", "rotate", "--detach", "--rate", "60"]).ok();
        assert_eq!(said.trim(), "2");
        until("a third to have moved", || (left(&cluster) < 200).then_some(()));
        cluster.kill(leader);
        cluster.leader();
        let there = left(&cluster);
        assert!(there > 0, "the leader died in the middle");
        until("the next leader to go on", || (left(&cluster) < there).then_some(()));
        // Everything is there meanwhile, and what is new lies under the new term.
        let answering = (0..3).find(|n| *n != leader).unwrap();
        cluster.nodes[answering].ctl_with(["create", "during", "-"], b"x").ok();
        cluster.ask(["service", "scale", "--detach", "web=4"]).ok();
        cluster.until_running_on(&[3, 3, 4, 4]);
        // Died once more, with the log that it has.
        cluster.start(leader);
        cluster.until_serving(leader);
        let next = cluster.leader();
        cluster.kill(next);
        cluster.start(next);
        cluster.until_serving(next);
        until_only(&cluster, 2);
        load.until_more(20);
    });
    load.check(&cluster);
    let said = cluster.ask(["key", "status"]).out;
    assert!(said.contains("0 left, everything lies under term 2"), "{said}");
    assert!(said.contains("no manager's disk has anything from before term 2"), "{said}");

    // Every payload opens: a backup is verified to its end, and tasks start anew from it and from the one before.
    let leader = cluster.leader();
    let after_key = back_up(&cluster.nodes[leader], after);
    cluster.ask(["service", "scale", "--detach", "web=6"]).ok();
    cluster.until_running_on(&[3, 3, 3, 4, 4, 4]);
    for node in &cluster.nodes[..3] {
        assert!(files_with(&node.data_dir(), CANARY).is_empty());
    }
    drop(cluster);
    restores(before, &before_key, false);
    restores(after, &after_key, true);
}

#[test]
fn a_manager_that_was_away_catches_up_and_forgets_too() {
    let mut cluster = Cluster::new(&[true, true]);
    fill(&cluster.nodes[0]);
    let away = (0..3).find(|n| *n != cluster.leader()).unwrap();
    cluster.kill(away);
    let said = cluster.ask(["key", "rotate"]).out;
    assert!(said.contains("0 left: everything lies under term 2"), "{said}");
    let said = until("the others to be clean", || {
        let said = cluster.ask(["key", "status"]).out;
        (said.matches("may still have something").count() == 1).then_some(said)
    });
    assert!(said.contains(cluster.id(away)), "{said}");
    cluster.start(away);
    cluster.until_serving(away);
    until_only(&cluster, 2);
    cluster.nodes[away].ctl_with(["create", "there", "-"], b"x").ok();
}

#[test]
fn a_manager_that_goes_takes_no_key_along_that_seals_anything_new() {
    let cluster = Cluster::new(&[true, true]);
    fill(&cluster.nodes[0]);
    assert_eq!(terms(&cluster), [1]);
    cluster.ask(["node", "demote", cluster.id(2)]).ok();
    until("a new term", || (terms(&cluster).last() >= Some(&2)).then_some(()));
    until("the old one to go", || (terms(&cluster).len() == 1).then_some(()));
    assert_eq!((left(&cluster), keys(&cluster)["Due"].clone()), (0, Value::Bool(false)));
    // The terms are the same for whoever becomes a manager later.
    cluster.ask(["node", "promote", cluster.id(2)]).ok();
    cluster.until_voters(3);
    cluster.until_serving(2);
    cluster.nodes[2].ctl_with(["create", "there", "-"], b"x").ok();
    until_only(&cluster, 2);
}
