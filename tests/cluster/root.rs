//! The root key is replaced while everything goes on: over the death of leaders, with a manager away, and for good.

use crate::{
    cluster::Cluster,
    load::{Load, sockets},
    world::{World, until},
};
use secretd::{
    kit::clock::Clock,
    node::{
        keystore::{self, Opened, Unlocked},
        member::Member,
    },
    raft::{Alone, Options, Raft, StartError},
};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc};

fn keys(cluster: &Cluster) -> Value {
    serde_json::from_str(&cluster.ask(["key", "status", "--format", "json"]).out).unwrap()
}

fn number(cluster: &Cluster) -> u64 {
    keys(cluster)["RootKey"]["Number"].as_u64().unwrap()
}

/// Waits until this root key counts and no manager has anything from before on its disk.
fn until_only(cluster: &Cluster, wanted: u64) {
    until(&format!("root key {wanted}"), || (number(cluster) == wanted).then_some(()));
    until("all disks to be clean", || {
        let keys = keys(cluster);
        let managers = keys["Managers"].as_array().unwrap();
        let terms = keys["Terms"].as_array().unwrap();
        (terms.len() == 1 && managers.iter().all(|one| one["Clean"] == true)).then_some(())
    });
}

/// A copy of what a data directory has of a manager.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if from.is_dir() {
            copy(&from, &to.join(name));
        } else {
            fs::copy(from, to.join(name)).unwrap();
        }
    }
}

fn open(dir: &Path, key_file: &Path) -> Unlocked {
    match keystore::open(dir, key_file).unwrap() {
        Opened::Open(keys) => keys,
        Opened::Locked(_) => panic!("the key file opens it"),
    }
}

/// Starts a copy of a manager's store with these keys.
fn store(dir: &Path, keys: &Unlocked) -> Result<(), StartError> {
    let options = Options {
        dir: dir.join("raft"),
        cluster: keys.cluster,
        node: keys.node,
        raft_id: 1,
        key: Arc::clone(&keys.storage),
        clock: Clock::system(),
        witness: None,
        fellows: None,
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let raft = Raft::open(options, Arc::new(Alone)).await?;
        raft.shutdown().await;
        Ok(())
    })
}

#[test]
fn a_root_key_is_replaced_over_dead_leaders_and_its_copies_open_nothing_new() {
    let mut cluster = Cluster::new(&[true, true]);
    let place = World::new();
    let taken = place.path("taken");
    cluster.nodes[0].ctl_with(["create", "before", "-"], b"v").ok();
    cluster.kill(0);
    copy(&cluster.nodes[0].data_dir(), &taken);
    cluster.start(0);
    cluster.until_serving(0);
    let key_file = cluster.nodes[0].path("data.key");

    let away = (0..3).find(|n| *n != cluster.leader()).unwrap();
    cluster.kill(away);
    let load = Load::new();
    let up: Vec<usize> = (0..3).filter(|n| *n != away).collect();
    let sockets: Vec<_> = up.iter().flat_map(|n| sockets(&cluster.nodes[*n..=*n])).collect();
    load.around(&sockets, || {
        load.until_more(10);
        let said = cluster.ask(["key", "rotate", "--root", "--detach"]).out;
        assert_eq!(said.trim(), "2");
        let waits = format!("({}) has the next one", cluster.id(away));
        until("only the one that is away to be waited for", || {
            let said = cluster.ask(["key", "status"]).out;
            (said.contains(&waits) && said.matches("has the next one").count() == 1).then_some(())
        });
        assert_eq!(number(&cluster), 1);
        // No way in may change meanwhile: what is removed could have opened the next one.
        let said = cluster.nodes[up[0]].ctl(["unlocker", "add", "recovery"]);
        assert!(said.code != 0 && said.err.contains("being replaced"), "{}", said.err);
        cluster.start(away);
        let leader = cluster.leader();
        cluster.kill(leader);
        cluster.start(leader);
        until_only(&cluster, 2);
        for n in 0..3 {
            cluster.until_serving(n);
        }
        load.until_more(10);
    });
    load.check(&cluster);
    cluster.ask(["key", "rotate", "--root", "-q"]).ok();
    assert_eq!(number(&cluster), 3);
    until_only(&cluster, 3);
    cluster.nodes[0].ctl_with(["create", "after", "-"], b"v").ok();

    // All at once, and each opens by its own key file.
    for n in 0..3 {
        cluster.kill(n);
    }
    let now = place.path("now");
    copy(&cluster.nodes[0].data_dir(), &now);
    for n in 0..3 {
        cluster.start(n);
    }
    for n in 0..3 {
        cluster.until_serving(n);
    }
    cluster.ask(["inspect", "before"]).ok();
    cluster.ask(["inspect", "after"]).ok();

    // What was taken opens what was taken with it, and nothing of a copy that is made now.
    let old = open(&taken, &key_file);
    store(&taken, &old).unwrap();
    let new = open(&now, &key_file);
    let control = place.path("control");
    copy(&now, &control);
    store(&control, &new).unwrap();
    let error = Member::load(&now, &old).map(|_| ()).unwrap_err();
    assert!(!error.to_string().is_empty());
    let error = store(&now, &old).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(!keystore::lies_under(&now, &old.root) && keystore::lies_under(&now, &new.root));
}

#[test]
fn after_a_restart_of_everything_the_ways_that_are_left_open_it_and_a_removed_one_does_not() {
    let mut cluster = Cluster::new(&[true]);
    let codes = |said: &str| -> String {
        let found = said.split_whitespace().find(|word| word.starts_with("SECRETD-"));
        found.unwrap().to_owned()
    };
    let removed = codes(&cluster.ask(["update", "--autolock=true"]).out);
    let said = cluster.nodes[0].ctl(["unlocker", "add", "recovery"]);
    let kept = codes(&format!("{} {}", said.out, said.err));
    let place = World::new();
    let (before, after) = (place.path("before"), place.path("after"));
    let (before, after) = (before.to_str().unwrap(), after.to_str().unwrap());
    cluster.ask(["backup", "create", before]).ok();
    let said = cluster.nodes[0].ctl(["unlocker", "rm", "autolock"]);
    assert!(format!("{}{}", said.out, said.err).contains("key rotate --root"), "{}", said.err);
    cluster.ask(["key", "rotate", "--root", "-q"]).ok();
    until_only(&cluster, 2);
    cluster.ask(["backup", "create", after]).ok();
    for n in 0..2 {
        cluster.kill(n);
    }
    for n in 0..2 {
        cluster.start(n);
        let said = cluster.nodes[n].ctl_with(["unlock"], removed.as_bytes());
        assert!(said.code != 0, "it was removed: {}", said.out);
        cluster.nodes[n].ctl_with(["unlock"], kept.as_bytes()).ok();
    }
    // A backup opens with what there was on its day.
    let mut elsewhere = World::new();
    elsewhere.start();
    let verify = |file, code: &String| {
        elsewhere.ctl_with(["backup", "verify", file, "--key", "-"], code.as_bytes()).code
    };
    assert_eq!((verify(before, &removed), verify(before, &kept)), (0, 0));
    assert_eq!(verify(after, &kept), 0);
    assert_ne!(verify(after, &removed), 0);
    elsewhere.kill();
}
