//! A manager whose store is damaged does not vote, says so, and is filled from the others by one command; what runs on
//! it runs on.

use crate::{
    cluster::{CANARY, Cluster, HOLDER, holders},
    world::{World, until},
};
use serde_json::Value;
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

/// Three managers, each with a task that holds a secret.
fn three() -> Cluster {
    let cluster = Cluster::new(&[true, true]);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    for n in 0..30 {
        cluster.nodes[0].ctl_with(["config", "create", &format!("c{n}"), "-"], b"some value").ok();
    }
    let service = ["service", "create", "--name", "web", "--mode", "global", "--secret", "s"];
    cluster.nodes[0].ctl(service.iter().chain(&["busybox", "sh", "-c", HOLDER])).ok();
    cluster.until_running_on(&[0, 1, 2]);
    cluster
}

fn status(node: &World) -> Value {
    node.json(["status", "--format", "json"])
}

/// Under which Raft id a manager votes, as manager `asked` knows it.
fn raft_id(cluster: &Cluster, asked: usize, n: usize) -> Option<u64> {
    let managers = status(&cluster.nodes[asked])["RemoteManagers"].as_array()?.clone();
    let own = managers.iter().find(|one| one["NodeID"] == cluster.id(n) && one["Voter"] == true)?;
    own["RaftID"].as_u64()
}

/// Where the others reach a manager.
fn addr(cluster: &Cluster, n: usize) -> String {
    let managers = status(&cluster.nodes[0])["RemoteManagers"].as_array().unwrap().clone();
    let own = managers.iter().find(|one| one["NodeID"] == cluster.id(n)).unwrap();
    own["Addr"].as_str().unwrap().to_owned()
}

fn store(node: &World) -> PathBuf {
    node.data_dir().join("raft")
}

/// What is kept of damaged stores.
fn kept(node: &World) -> usize {
    let names = fs::read_dir(node.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("damaged-")).count()
}

/// Changes one bit in the middle of what was written to the log.
fn hurt_log(store: &Path) {
    let path = store.join("log/0000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    let frames: Vec<usize> =
        (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"SFRM")).collect();
    bytes[frames[frames.len() / 2] + 40] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Changes one bit of each page of the state file but for the first.
fn hurt_state(store: &Path) {
    let path = store.join("state.redb");
    let mut bytes = fs::read(&path).unwrap();
    for at in (4096 + 200..bytes.len()).step_by(4096) {
        bytes[at] ^= 4;
    }
    fs::write(path, bytes).unwrap();
}

/// The log holds the votes, so both are gone.
fn lose_log(store: &Path) {
    fs::remove_dir_all(store.join("log")).unwrap();
}

fn lose_everything(store: &Path) {
    fs::remove_dir_all(store).unwrap();
}

/// Starts a manager whose files were changed, and sees that it says so and cannot be asked for its vote.
fn start_damaged(cluster: &mut Cluster, n: usize, named: &str) {
    let addr = addr(cluster, n);
    cluster.start(n);
    let refused = TcpStream::connect(&addr).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{addr}");
    let status = status(&cluster.nodes[n]);
    assert_eq!(status["State"], "damaged", "{status}");
    assert_eq!(status["Role"], "manager");
    assert!(status["Error"].as_str().unwrap().contains(named), "{status}");
    let text = cluster.nodes[n].ctl(["status"]).ok();
    assert!(text.contains("does not vote") && text.contains("secretctl refill"), "{text}");
    let refused = cluster.nodes[n].ctl(["ls"]).fails(7);
    assert!(refused.contains("damaged") && refused.contains("secretctl refill"), "{refused}");
}

#[test]
fn a_damaged_manager_is_filled_from_its_peers_and_its_tasks_stay() {
    let mut cluster = three();
    let refused = cluster.nodes[2].ctl(["refill"]).fails(5);
    assert!(refused.contains("not damaged"), "{refused}");
    let held = holders(&cluster.nodes[2]);
    assert_eq!(held.len(), 1);
    let all = cluster.nodes[0].ctl(["config", "ls", "-q"]).ok();
    let hurts = [
        (hurt_log as fn(&Path), "Raft log is damaged", "during-1"),
        (hurt_state, "state file", "during-2"),
        (lose_log, "Raft log is missing", "during-3"),
        (lose_everything, "no Raft store", "during-4"),
    ];
    for (hurt, named, name) in hurts {
        let before = raft_id(&cluster, 0, 2).unwrap();
        cluster.kill(2);
        hurt(&store(&cluster.nodes[2]));
        start_damaged(&mut cluster, 2, named);
        // It serves its tasks, and has no part in anything else.
        cluster.until_node(2, "Status", "Ready");
        cluster.until_node(2, "ManagerStatus", "Damaged");
        cluster.nodes[0].ctl_with(["config", "create", name, "-"], b"v").ok();

        cluster.nodes[2].ctl(["refill"]).ok();
        cluster.until_serving(2);
        cluster.until_voters(3);
        let after = raft_id(&cluster, 0, 2).unwrap();
        assert!(after > before, "{before} was used again");
        let now = cluster.nodes[2].ctl(["config", "ls", "-q"]).ok();
        assert!(all.lines().all(|id| now.contains(id)), "{now}");
        assert!(cluster.nodes[2].ctl(["config", "ls"]).ok().contains(name));
        assert_eq!(holders(&cluster.nodes[2]), held, "its task was touched");
        until("what was damaged to go", || (kept(&cluster.nodes[2]) == 0).then_some(()));
    }
    // It votes indeed: without one of the others it makes up the majority.
    cluster.kill(1);
    cluster.ask(["config", "ls"]);
    let leader = cluster.leader();
    cluster.nodes[leader].ctl_with(["create", "after", "-"], b"v").ok();
    cluster.until_running_on(&[0, 1, 2]);
}

#[test]
fn a_refill_needs_a_majority_of_the_others_and_changes_nothing_without() {
    let mut cluster = three();
    cluster.kill(2);
    hurt_log(&store(&cluster.nodes[2]));
    start_damaged(&mut cluster, 2, "Raft log is damaged");
    cluster.kill(1);
    let refused = cluster.nodes[2].ctl(["refill"]).fails(5);
    assert!(refused.contains("more than half of the managers"), "{refused}");
    assert_eq!(kept(&cluster.nodes[2]), 0, "nothing was moved");
    assert_eq!(status(&cluster.nodes[2])["State"], "damaged");
    assert_eq!(holders(&cluster.nodes[2]).len(), 1);

    cluster.start(1);
    cluster.until_serving(1);
    cluster.nodes[2].ctl(["refill"]).ok();
    cluster.until_voters(3);

    // Or it is a manager no more.
    cluster.kill(2);
    hurt_state(&store(&cluster.nodes[2]));
    start_damaged(&mut cluster, 2, "state file");
    cluster.ask(["node", "demote", cluster.id(2)]).ok();
    until("the damaged manager to be a worker", || {
        let status = status(&cluster.nodes[2]);
        (status["State"] == "active" && status["Role"] == "worker").then_some(())
    });
    assert!(!store(&cluster.nodes[2]).exists());
    cluster.until_voters(2);
    cluster.until_running_on(&[0, 1, 2]);
}

#[test]
fn a_locked_manager_is_refilled_once_it_is_unlocked() {
    let mut cluster = Cluster::new(&[true, true]);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    let said = cluster.nodes[0].ctl(["update", "--autolock=true"]).ok();
    let key = said.lines().map(str::trim).find(|line| line.starts_with("SECRETD-")).unwrap();
    let key_file = cluster.nodes[2].data_dir().with_extension("key");
    until("the key file to go", || (!key_file.exists()).then_some(()));
    cluster.kill(2);
    hurt_log(&store(&cluster.nodes[2]));
    cluster.start(2);
    assert_eq!(status(&cluster.nodes[2])["State"], "locked");
    cluster.nodes[2].ctl(["refill"]).fails(5);
    cluster.nodes[2].ctl_with(["unlock"], key.as_bytes()).ok();
    assert_eq!(status(&cluster.nodes[2])["State"], "damaged");
    cluster.nodes[2].ctl(["refill"]).ok();
    cluster.until_voters(3);
    cluster.kill(2);
    cluster.start(2);
    assert_eq!(status(&cluster.nodes[2])["State"], "locked");
    cluster.nodes[2].ctl_with(["unlock"], key.as_bytes()).ok();
    cluster.until_serving(2);
    assert!(!key_file.exists());
}
