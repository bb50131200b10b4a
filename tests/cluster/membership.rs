//! Who belongs to the cluster and as what: promoted, demoted, gone, refused.

use crate::{
    cluster::Cluster,
    world::{World, until},
};

fn status(node: &World, field: &str) -> String {
    node.ctl(["status", "--format", &format!("{{{{.{field}}}}}")]).out.trim().to_owned()
}

#[test]
fn nodes_change_their_part_and_leave_while_the_cluster_goes_on() {
    let cluster = Cluster::new(&[true, true, false, false]);
    cluster.hold(2);
    cluster.until_running_on(&[3, 4]);
    let names = |n: usize| cluster.nodes[n].ctl(["ls", "--format", "{{.Name}}"]);

    cluster.ask(["node", "promote", cluster.id(4)]).ok();
    cluster.until_voters(4);
    until("the new manager to serve", || (names(4).out.trim() == "s").then_some(()));

    cluster.ask(["node", "demote", cluster.id(1)]).ok();
    let demoted = &cluster.nodes[1];
    until("the old manager to be a worker", || {
        (demoted.ctl(["status", "--format", "{{.State}} {{.Role}}"]).out.trim() == "active worker")
            .then_some(())
    });
    cluster.until_voters(3);
    assert!(!demoted.data_dir().join("raft").exists(), "the store stays at a mere worker");
    assert!(names(1).fails(5).contains("is a worker"));

    let leaving = &cluster.nodes[2];
    assert!(leaving.ctl(["leave"]).fails(5).contains("--force"));
    leaving.ctl(["leave", "--force"]).ok();
    assert_eq!(status(leaving, "State"), "inactive");
    cluster.until_voters(2);
    for file in ["raft", "node.keys", "node.identity"] {
        assert!(!leaving.data_dir().join(file).exists(), "{file} stays");
    }
    assert!(!cluster.ask(["node", "ls", "-q"]).ok().contains(cluster.id(2)), "its row stays");
    cluster.nodes[4].ctl_with(["create", "after", "-"], b"x").ok();
}

#[test]
fn tokens_that_are_no_good_are_refused_without_being_repeated() {
    let cluster = Cluster::new(&[]);
    let other = World::initialised();
    let token = |of: &World, args: &[&str]| {
        of.ctl(["join-token", "-q"].iter().chain(args)).ok().trim().to_owned()
    };
    let rotated = token(&cluster.nodes[0], &["worker"]);
    let good = token(&cluster.nodes[0], &["--rotate", "worker"]);
    let foreign = token(&other, &["worker"]);
    let addr = status(&cluster.nodes[0], "AdvertiseAddr");
    let mut node = World::new();
    node.start();
    let join = |token: &str| {
        let file = node.file("token", token);
        let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
        node.ctl(["join", "--token-file", &file].into_iter().chain(here).chain([addr.as_str()]))
    };
    for bad in [foreign.as_str(), rotated.as_str(), "SECRETD-1-nonsense"] {
        let said = join(bad);
        assert_ne!(said.code, 0, "{bad} was taken");
        assert!(said.err.contains("hint:"), "{}", said.err);
        assert!(!said.err.contains(bad), "{}", said.err);
        assert_eq!(status(&node, "State"), "inactive");
        assert!(!node.data_dir().join("node.keys").exists());
    }
    join(&good).ok();
    assert_eq!(status(&node, "State"), "active");
    cluster.until_ready(2);
}

#[test]
fn two_managers_demoted_at_once_at_different_managers_go_one_after_the_other() {
    let cluster = Cluster::new(&[true, true, true]);
    let demote =
        |at: usize, whom: usize| cluster.nodes[at].ctl(["node", "demote", cluster.id(whom)]);
    let said = std::thread::scope(|scope| {
        let both = [(0, 2), (1, 3)].map(|(at, whom)| scope.spawn(move || (whom, demote(at, whom))));
        both.map(|one| one.join().unwrap())
    });
    for (whom, said) in said {
        if said.code != 0 {
            assert!(said.fails(5).contains("one goes at a time"));
            // It waits for the one before.
            demote(0, whom).ok();
        }
    }
    cluster.until_voters(2);
    cluster.nodes[1].ctl_with(["create", "after", "-"], b"x").ok();
}
