//! Nodes that cannot work, or are not where they were: what the cluster says and does.

use crate::{
    cluster::Cluster,
    door::Door,
    world::{World, docker_host, until, until_or_say},
};
use std::{collections::BTreeSet, net::TcpListener, process::Command};

const IMAGE: &str = "secretd-test:1";
/// Ends only when it is asked to, and not without its secret.
const HOLDER: &str =
    "test -s /run/secrets/s || exit 9; trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// The containers of a service that run.
fn containers(service: &str) -> BTreeSet<String> {
    let filter = format!("name=^{service}\\.");
    let args = ["ps", "-q", "--no-trunc", "--filter", &filter];
    let output = Command::new("docker").args(["-H", &docker_host()]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn field(node: &World, field: &str) -> String {
    node.ctl(["status", "--format", &format!("{{{{.{field}}}}}")]).out.trim().to_owned()
}

/// Lets a started machine join as a worker.
fn join(manager: &World, node: &World, role: &str, here: &[&str]) {
    let token = node.file("token", manager.ctl(["join-token", "-q", role]).ok());
    let at = field(manager, "AdvertiseAddr");
    let args = ["join", "--token-file", &token].into_iter().chain(here.iter().copied());
    node.ctl(args.chain([at.as_str()])).ok();
}

fn until_status(manager: &World, node: &str, wanted: &str) {
    until(&format!("the node to be {wanted}"), || {
        let said = manager.ctl(["node", "ls", "--format", "{{.ID}} {{.Status}}"]);
        said.out.lines().any(|line| line == format!("{node} {wanted}")).then_some(())
    });
}

/// The nodes that may have the secret `s`.
fn holders(manager: &World) -> BTreeSet<String> {
    let shown = manager.json(["inspect", "s"]);
    let holders = shown[0]["Holders"].as_array().cloned().unwrap_or_default();
    holders.iter().filter_map(|one| Some(one["NodeID"].as_str()?.to_owned())).collect()
}

#[test]
fn a_node_whose_engine_is_gone_loses_its_tasks_and_stops_them_when_the_engine_is_back() {
    let mut manager = World::with_runtime("docker");
    let mut worker = World::with_engine_at("engine.sock");
    let mut door = Door::to_engine(&worker.path("engine.sock"));
    manager.start();
    manager.init();
    worker.start();
    join(&manager, &worker, "worker", &[]);
    let (here, there) = (field(&manager, "NodeID"), field(&worker, "NodeID"));
    until_status(&manager, &there, "Ready");
    manager.ctl_with(["create", "s", "-"], b"canary").ok();
    manager.ctl(["node", "update", "--availability", "drain", &here]).ok();
    let create = ["service", "create", "--name", "lost", "--secret", "s"];
    manager.ctl(create.into_iter().chain([IMAGE, "sh", "-c", HOLDER])).ok();
    manager.ctl(["node", "update", "--availability", "active", &here]).ok();
    let before = containers("lost");
    assert_eq!(before.len(), 1);

    // The engine restarts, and its containers live on.
    door.close();
    until_status(&manager, &there, "Not ready");
    door.open();
    until_status(&manager, &there, "Ready");
    assert_eq!(containers("lost"), before, "a short restart moves nothing");
    assert_eq!(manager.tasks("lost").len(), 1);

    door.close();
    let all = until("the task to be replaced", || {
        let all = containers("lost");
        (all.len() == 2).then_some(all)
    });
    assert!(all.is_superset(&before), "nobody could stop the one that was replaced");
    let both = BTreeSet::from([here.clone(), there.clone()]);
    assert_eq!(holders(&manager), both, "the node is counted until its files are gone");
    let shown = manager.ctl(["node", "inspect", "--pretty", &there]).ok();
    assert!(shown.contains("Not ready") && shown.contains("engine.sock"), "{shown}");

    door.open();
    until_status(&manager, &there, "Ready");
    until("the replaced task to be stopped", || {
        containers("lost").is_disjoint(&before).then_some(())
    });
    until("its files to be gone", || {
        (holders(&manager) == BTreeSet::from([here.clone()])).then_some(())
    });
    assert_eq!(containers("lost").len(), 1);
    manager.ctl(["service", "rm", "lost"]).ok();
    until("the containers to be gone", || containers("lost").is_empty().then_some(()));
    door.close();
}

/// An address of this machine that is free just now.
fn free_addr() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Starts a manager that was stopped under another address, and returns that.
fn move_to_another_address(cluster: &mut Cluster, n: usize, managers: &str) -> String {
    let addr = free_addr();
    cluster.nodes[n].set("SECRETD_LISTEN_ADDR", addr.as_str());
    cluster.nodes[n].set("SECRETD_ADVERTISE_ADDR", addr.as_str());
    if !managers.is_empty() {
        cluster.nodes[n].set("SECRETD_MANAGERS", managers);
    }
    cluster.start(n);
    addr
}

#[test]
fn a_manager_that_comes_back_under_another_address_is_found_by_the_others() {
    let mut cluster = Cluster::new(&[true, true]);
    let moved = cluster.leader();
    cluster.stop(moved);
    let addr = move_to_another_address(&mut cluster, moved, "");
    let id = cluster.id(moved).to_owned();
    until("its row to say where it is", || {
        let shown = cluster.ask(["node", "inspect", "--format", "{{.ManagerStatus.Addr}}", &id]);
        (shown.out.trim() == addr).then_some(())
    });
    cluster.until_serving(moved);
    assert_eq!(field(&cluster.nodes[moved], "AdvertiseAddr"), addr);
    until("the group to say the same", || {
        let status = cluster.nodes[moved].json(["status", "--format", "json"]);
        let managers = status["RemoteManagers"].as_array()?;
        managers.iter().any(|manager| manager["Addr"] == addr.as_str()).then_some(())
    });
    assert_eq!(cluster.voters(), Some(3));
    // From now on nothing goes without it.
    let other = (0..3).find(|n| *n != moved).unwrap();
    cluster.stop(other);
    cluster.leader();
    cluster.ask(["node", "update", "--label-add", "moved=yes", &id]).ok();
}

#[test]
fn managers_that_all_moved_find_each_other_and_their_workers_by_one_address() {
    let mut cluster = Cluster::new(&[true, false]);
    cluster.stop(1);
    cluster.stop(0);
    cluster.stop(2);
    let first = move_to_another_address(&mut cluster, 0, "");
    let second = move_to_another_address(&mut cluster, 1, &first);
    cluster.leader();
    cluster.nodes[2].set("SECRETD_MANAGERS", second.as_str());
    cluster.start(2);
    cluster.until_ready(3);
    until_or_say("a token to name where the managers are", || {
        let token = cluster.ask(["join-token", "worker"]).out;
        (token.contains(&first) || token.contains(&second)).then_some(()).ok_or(token)
    });
}
