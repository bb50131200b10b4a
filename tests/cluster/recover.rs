//! Most managers are lost for ever: one command makes the last one the whole cluster, with all it had.

use crate::{
    cluster::{CANARY, Cluster},
    world::{Said, World, until},
};
use std::{io::Write as _, process::Stdio};

fn recover(node: &World, args: &[&str], typed: &str) -> Said {
    let mut command = node.secretd();
    command.arg("recover").args(args).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

fn cluster_id(node: &World) -> String {
    node.ctl(["status", "--format", "{{.ClusterID}}"]).ok().trim().to_owned()
}

#[test]
fn the_last_manager_becomes_the_whole_cluster_with_all_data() {
    let mut cluster = Cluster::new(&[true, true, false]);
    cluster.hold(1);
    cluster.until_running_on(&[3]);
    let id = cluster_id(&cluster.nodes[2]);
    let yes = ["--from-this-node", "--confirm", id.as_str()];
    assert!(recover(&cluster.nodes[2], &yes, "").fails(1).contains("stop the daemon"));

    // Two of three can still be had: it is a quorum, and recovering would make two clusters of one.
    cluster.kill(2);
    let refused = recover(&cluster.nodes[2], &yes, "").fails(1);
    assert!(refused.contains("the quorum is not lost"), "{refused}");
    cluster.start(2);
    cluster.until_node(2, "ManagerStatus", "Reachable");

    for n in 0..3 {
        cluster.kill(n);
    }
    let unsure = recover(&cluster.nodes[2], &["--from-this-node"], "").fails(1);
    assert!(unsure.contains(&id) && unsure.contains("--confirm"), "{unsure}");
    recover(&cluster.nodes[2], &["--from-this-node", "--confirm", "another"], "").fails(1);
    recover(&cluster.nodes[2], &[], "").fails(2);
    recover(&cluster.nodes[3], &yes, "").fails(1);
    recover(&cluster.nodes[2], &yes, "").ok();
    // Again, as somebody would who is not sure that it worked.
    recover(&cluster.nodes[2], &yes, "").ok();

    cluster.start(2);
    assert_eq!(cluster.nodes[2].ctl(["ls", "--format", "{{.Name}}"]).ok(), "s\n");
    cluster.nodes[2].ctl_with(["create", "after", "-"], CANARY).ok();
    for n in 0..2 {
        cluster.until_node(n, "Status", "Down");
        cluster.ask(["node", "rm", cluster.id(n)]);
    }
    // The worker finds the one that is left, and its task was never touched.
    cluster.until_node(3, "Status", "Ready");
    cluster.until_running_on(&[3]);
    // The cluster grows again from here.
    cluster.join("manager");
    until("the new manager to vote", || {
        let status = cluster.nodes[2].json(["status", "--format", "json"]);
        let managers = status["RemoteManagers"].as_array()?;
        (managers.len() == 2 && managers.iter().all(|one| one["Voter"] == true)).then_some(())
    });
    assert_eq!(cluster.nodes[4].ctl(["ls", "-q"]).ok().lines().count(), 2);
}

#[test]
fn a_locked_manager_recovers_with_its_unlock_key() {
    let mut cluster = Cluster::new(&[true]);
    cluster.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
    let said = cluster.nodes[0].ctl(["update", "--autolock=true"]).ok();
    let key = said.lines().map(str::trim).find(|line| line.starts_with("SECRETD-")).unwrap();
    let key_file = cluster.nodes[1].data_dir().with_extension("key");
    until("the key file to go", || (!key_file.exists()).then_some(()));
    let id = cluster_id(&cluster.nodes[1]);
    for n in 0..2 {
        cluster.kill(n);
    }
    let yes = ["--from-this-node", "--confirm", id.as_str()];
    recover(&cluster.nodes[1], &yes, "").fails(1);
    recover(&cluster.nodes[1], &yes, "not the key\n").fails(1);
    recover(&cluster.nodes[1], &yes, key).ok();
    cluster.start(1);
    cluster.nodes[1].ctl_with(["unlock"], key.as_bytes()).ok();
    assert_eq!(cluster.nodes[1].ctl(["ls", "--format", "{{.Name}}"]).ok(), "s\n");
}
