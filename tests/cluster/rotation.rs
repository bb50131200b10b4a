//! The cluster's CA is replaced while tasks run, managers die and nodes are away.

use crate::{
    cluster::Cluster,
    world::{World, until},
};
use std::{fs, path::Path};

/// What `ca show` says of a rotation, and the CA's certificate.
fn authority(cluster: &Cluster) -> (String, String) {
    let said = cluster.ask(["ca", "show"]);
    (said.err, said.out)
}

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

fn log(node: &World) -> String {
    fs::read_to_string(node.path("log")).unwrap()
}

#[test]
fn a_new_ca_takes_over_while_tasks_run_and_a_leader_dies_and_the_old_one_is_trusted_no_longer() {
    let mut cluster = Cluster::new(&[true, true, false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 4]);
    let token = cluster.ask(["join-token", "-q", "worker"]).out;
    let (nothing, before) = authority(&cluster);
    assert_eq!(nothing, "");
    assert!(before.starts_with("-----BEGIN CERTIFICATE-----\n"), "{before}");

    // One is away all the while, and somebody keeps a copy of its disk.
    cluster.kill(4);
    let mut thief = World::new();
    copy(&cluster.nodes[4].data_dir(), &thief.data_dir());
    fs::copy(cluster.nodes[4].path("data.key"), thief.path("data.key")).unwrap();

    let leader = cluster.leader();
    cluster.nodes[leader].ctl(["ca", "rotate", "--detach"]).ok();
    cluster.kill(leader);
    cluster.leader();
    let again = cluster.ask_any(["ca", "rotate"]);
    assert!(again.fails(5).contains("a rotation of the CA is under way"));
    cluster.start(leader);
    let missing = format!("waiting for node {}", cluster.id(4));
    until("all but one to move", || {
        let (said, now) = authority(&cluster);
        assert!(said.contains(&missing), "{said}");
        assert_ne!(now, before);
        said.contains("4 of 5 nodes have moved").then_some(())
    });
    cluster.until_running_on(&[3, 3]);

    cluster.start(4);
    until("the rotation to end", || authority(&cluster).0.is_empty().then_some(()));
    cluster.until_ready(5);
    cluster.until_running_on(&[3, 3]);
    cluster.ask(["service", "scale", "--detach", "web=4"]).ok();
    cluster.until_running_on(&[3, 3, 4, 4]);

    // The copy has the certificate of a member, of the CA that was.
    thief.start();
    until("the copy to be refused", || {
        let said = thief.ctl(["status"]).out;
        said.contains("does not trust the CA that signed this node's certificate").then_some(())
    });
    until("the refusal to be logged", || {
        let refused = |line: &str| {
            line.contains("refused a connection by its certificate")
                && line.contains(cluster.id(4))
                && line.contains("not signed by a CA that this node trusts")
        };
        (0..3).any(|n| log(&cluster.nodes[n]).lines().any(refused)).then_some(())
    });
    thief.kill();

    // The token names the CA that was.
    let mut late = World::new();
    late.start();
    let addr = cluster.nodes[0].ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok();
    let token = late.file("token", token);
    let said = late.ctl(["join", "--token-file", &token, addr.trim()]).fails(5);
    assert!(said.contains("its CA is not the one that the join token names"), "{said}");
    assert!(said.contains("make another with `secretctl join-token`"), "{said}");
    late.kill();
    cluster.join("worker");
    cluster.until_ready(6);
}

#[test]
fn a_node_that_does_not_come_back_is_removed_and_the_rotation_ends() {
    let mut cluster = Cluster::new(&[false, false]);
    cluster.kill(2);
    cluster.until_node(2, "Status", "Down");
    cluster.ask(["ca", "rotate", "--detach"]).ok();
    let missing = format!("waiting for node {}", cluster.id(2));
    until("the others to move", || {
        let (said, _) = authority(&cluster);
        assert!(said.contains(&missing), "{said}");
        said.contains("2 of 3 nodes have moved").then_some(())
    });
    cluster.ask(["node", "rm", cluster.id(2)]).ok();
    until("the rotation to end", || authority(&cluster).0.is_empty().then_some(()));
    cluster.until_ready(2);
    // Another one, waited for.
    let said = cluster.ask(["ca", "rotate"]);
    assert!(said.out.contains("2 of 2 nodes") || said.out.contains("all nodes have moved"));
    assert!(said.out.ends_with("-----END CERTIFICATE-----\n"), "{said:?}");
}
