//! Where a node is reached once it is a manager: what was said when it joined, or what is found out when it is promoted.

use crate::{
    cluster::Cluster,
    world::{World, until},
};

/// A started machine that has tried to join with these addresses, and what it was told.
fn join(cluster: &Cluster, here: &[&str]) -> (World, crate::world::Said) {
    let token = cluster.ask(["join-token", "-q", "worker"]).out;
    let manager = cluster.ask(["status", "--format", "{{.AdvertiseAddr}}"]).out;
    let mut node = World::new();
    node.start();
    let token = node.file("token", token);
    let args = ["join", "--token-file", &token].into_iter().chain(here.iter().copied());
    let said = node.ctl(args.chain([manager.trim()]));
    (node, said)
}

fn status(node: &World, field: &str) -> String {
    node.ctl(["status", "--format", &format!("{{{{.{field}}}}}")]).out.trim().to_owned()
}

#[test]
fn a_worker_that_named_no_address_is_reached_as_a_manager_where_it_meets_the_others() {
    let cluster = Cluster::new(&[]);
    let (worker, said) = join(&cluster, &["--listen-addr", "0.0.0.0:0"]);
    said.ok();
    cluster.ask(["node", "promote", &status(&worker, "NodeID")]).ok();
    cluster.until_voters(2);
    until("the new manager to serve", || (worker.ctl(["ls"]).code == 0).then_some(()));
    let (listen, advertise) = (status(&worker, "ListenAddr"), status(&worker, "AdvertiseAddr"));
    let port = listen.strip_prefix("0.0.0.0:").unwrap();
    assert_eq!(advertise, format!("127.0.0.1:{port}"), "as it reaches the first manager");
    cluster.ask(["node", "demote", &status(&worker, "NodeID")]).ok();
    cluster.until_voters(1);
}

#[test]
fn addresses_that_can_never_work_are_refused_when_a_node_joins() {
    let cluster = Cluster::new(&[]);
    let taken = status(&cluster.nodes[0], "ListenAddr");
    for (here, why) in [
        (["--listen-addr", &taken], "cannot listen on"),
        (["--listen-addr", "192.0.2.1:2390"], "cannot listen on"),
        (["--advertise-addr", "0.0.0.0"], "0.0.0.0 is no address others can reach"),
        (["--advertise-addr", "10.0.0.1:0"], "10.0.0.1:0 is no port others can reach"),
    ] {
        let (node, said) = join(&cluster, &here);
        assert_ne!(said.code, 0, "{here:?}");
        assert!(said.err.contains(why), "{}", said.err);
        assert_eq!(status(&node, "State"), "inactive");
    }
}
