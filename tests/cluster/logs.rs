//! What tasks write reaches an operator at any manager, and goes on after the node was away.

use crate::{
    cluster::Cluster,
    world::{SECRETCTL, World, until},
};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

/// Writes one number after the other.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo n=$i; sleep 0.1; done";

/// `service logs --follow` with its output in a file.
struct Following<'a> {
    node: &'a World,
    command: Child,
}

impl<'a> Following<'a> {
    fn start(node: &'a World) -> Self {
        let out = fs::File::create(node.path("out")).unwrap();
        let err = fs::File::create(node.path("err")).unwrap();
        let command = Command::new(SECRETCTL)
            .env("SECRETD_HOST", format!("unix://{}", node.path("run/secretd.sock").display()))
            .args(["service", "logs", "--raw", "--follow", "count"])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        Self { node, command }
    }

    fn numbers(&self) -> Vec<u64> {
        let out = fs::read_to_string(self.node.path("out")).unwrap();
        // The last line may be half written.
        let lines = out.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(|line| line.strip_prefix("n=").unwrap().parse().unwrap()).collect()
    }

    /// Waits until so many lines came.
    fn until_numbers(&self, count: usize) {
        until(&format!("{count} lines"), || (self.numbers().len() >= count).then_some(()));
    }

    fn warned(&self) -> String {
        fs::read_to_string(self.node.path("err")).unwrap()
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.command.kill().unwrap();
        self.command.wait().unwrap();
    }
}

#[test]
fn any_manager_shows_the_output_and_who_follows_misses_no_line_while_the_node_is_away() {
    let mut cluster = Cluster::new(&[true, false]);
    let constraint = ["--constraint", "node.role == worker"];
    let service = ["service", "create", "--detach", "--name", "count"];
    let command = ["busybox", "sh", "-c", COUNTER];
    cluster.nodes[0].ctl(service.into_iter().chain(constraint).chain(command)).ok();
    // The worker is connected to one of them.
    for manager in 0..2 {
        until("output", || {
            let said = cluster.nodes[manager].ctl(["service", "logs", "--raw", "count"]);
            (said.code == 0 && said.out.contains("n=3\n")).then_some(())
        });
    }
    let mut worker = cluster.nodes.pop().unwrap();
    let following = [0, 1].map(|n| Following::start(&cluster.nodes[n]));
    for following in &following {
        following.until_numbers(5);
    }
    worker.kill();
    for following in &following {
        until("a warning", || following.warned().contains("waiting for it").then_some(()));
    }
    worker.start();
    for following in &following {
        following.until_numbers(following.numbers().len() + 20);
        let numbers = following.numbers();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
    drop(following);
    cluster.nodes.push(worker);
}
