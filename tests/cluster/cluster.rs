//! Several machines of tests/e2e as one cluster, and the questions tests ask about it.

use crate::{
    wires::{Wire, Wires},
    world::{Said, World, end_tasks_below, until, until_or_say},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// What the nodes' disks and logs must not show.
pub(crate) const CANARY: &[u8] = b"canary-51f0c3d2-do-not-leak";

/// Prints nothing, and runs only as long as the secret `s` is what it should be.
pub(crate) const HOLDER: &str = "grep -q canary-51f0c3d2 /run/secrets/s || exit 9; trap 'exit 0' TERM; while :; do sleep 0.2; done";

/// Machines by the order in which they joined; everything they started goes with it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<World>,
    ids: Vec<String>,
    life: Vec<Life>,
    /// Between the nodes, where there is something that can cut them off.
    wires: Option<Wires>,
}

/// Whether a daemon answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Up,
    /// Cut off from the others; it answers its own socket.
    Cut,
    /// By SIGSTOP.
    Frozen,
    Down,
}

impl Cluster {
    /// A cluster of one manager and those that join it: `true` for a manager.
    pub(crate) fn new(joining: &[bool]) -> Self {
        Self::make(joining, None)
    }

    /// The same over wires that can be cut.
    pub(crate) fn wired(joining: &[bool]) -> Self {
        Self::make(joining, Some(Wires::new()))
    }

    fn make(joining: &[bool], wires: Option<Wires>) -> Self {
        let mut cluster = Self { nodes: Vec::new(), ids: Vec::new(), life: Vec::new(), wires };
        let mut first = World::new();
        first.start();
        cluster.settle(first, |node, here| node.ctl(["init"].into_iter().chain(here.clone())));
        for manager in joining {
            cluster.join(if *manager { "manager" } else { "worker" });
        }
        cluster.until_ready(joining.len() + 1);
        cluster.until_voters(1 + joining.iter().filter(|manager| **manager).count());
        cluster
    }

    /// A cluster of one manager that comes from a backup, opened with this key.
    pub(crate) fn restored(backup: &str, key: &str) -> Self {
        let mut cluster =
            Self { nodes: Vec::new(), ids: Vec::new(), life: Vec::new(), wires: None };
        let mut first = World::new();
        first.start();
        cluster.settle(first, |node, here| {
            let args = ["backup", "restore", backup, "--key", "-"].into_iter();
            node.ctl_with(args.chain(here.clone()), key.as_bytes())
        });
        cluster
    }

    /// Waits until so many managers vote.
    pub(crate) fn until_voters(&self, count: usize) {
        until(&format!("{count} managers to vote"), || {
            (self.voters() == Some(count)).then_some(())
        });
    }

    /// How many managers vote, as the first that answers knows it.
    pub(crate) fn voters(&self) -> Option<usize> {
        let status: serde_json::Value =
            serde_json::from_str(&self.ask(["status", "--format", "json"]).out).unwrap();
        let managers = status["RemoteManagers"].as_array()?;
        Some(managers.iter().filter(|manager| manager["Voter"] == true).count())
    }

    /// Lets a machine enter the cluster, its wire laid before.
    fn settle(&mut self, node: World, enter: impl FnOnce(&World, &Vec<&str>) -> Said) {
        let wire = self.wires.as_ref().map(Wires::lay);
        let advertise = wire.as_ref().map_or("127.0.0.1".to_owned(), Wire::addr);
        let here = vec!["--listen-addr", "127.0.0.1:0", "--advertise-addr", &advertise];
        if let Some(wire) = &wire {
            wire.from(node.path(""));
        }
        enter(&node, &here).ok();
        let status = node.json(["status", "--format", "json"]);
        self.ids.push(status["NodeID"].as_str().unwrap().to_owned());
        self.nodes.push(node);
        self.life.push(Life::Up);
    }

    /// Adds a machine in this role.
    pub(crate) fn join(&mut self, role: &str) {
        let token = self.ask(["join-token", "-q", role]).out;
        let from = (0..self.nodes.len()).find(|n| self.answers(*n)).unwrap();
        let addr = self.nodes[from].ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok();
        let mut node = World::new();
        node.start();
        let token = node.file("token", token);
        self.settle(node, |node, here| {
            let args = ["join", "--token-file", &token].into_iter().chain(here.clone());
            node.ctl(args.chain([addr.trim()]))
        });
    }

    fn answers(&self, n: usize) -> bool {
        self.life[n] == Life::Up
    }

    pub(crate) fn id(&self, n: usize) -> &str {
        &self.ids[n]
    }

    /// Asks the first manager that answers.
    pub(crate) fn ask<const N: usize>(&self, args: [&str; N]) -> Said {
        until(&format!("an answer to {args:?}"), || {
            (0..self.nodes.len())
                .filter(|n| self.answers(*n))
                .map(|n| self.nodes[n].ctl(args))
                .find(|said| said.code == 0)
        })
    }

    /// Asks the first manager that is up; its answer counts, whatever it is.
    pub(crate) fn ask_any<const N: usize>(&self, args: [&str; N]) -> Said {
        let node = (0..self.nodes.len()).find(|n| self.answers(*n));
        self.nodes[node.expect("a node that is up")].ctl(args)
    }

    /// Waits until so many nodes are ready.
    pub(crate) fn until_ready(&self, count: usize) {
        until(&format!("{count} ready nodes"), || {
            let said = self.ask(["node", "ls", "--format", "{{.Status}}"]);
            (said.out.lines().filter(|line| *line == "Ready").count() == count).then_some(())
        });
    }

    /// Waits until the node's column of `node ls` is as wanted.
    pub(crate) fn until_node(&self, n: usize, column: &str, wanted: &str) {
        until(&format!("node {n} to be {wanted}"), || {
            let format = format!("{{{{.ID}}}} {{{{.{column}}}}}");
            let said = self.ask(["node", "ls", "--format", &format]);
            let line = format!("{} {wanted}", self.ids[n]);
            said.out.lines().any(|l| l.trim() == line.trim()).then_some(())
        });
    }

    /// Waits until the others hear of this manager again and it answers from its own copy.
    pub(crate) fn until_serving(&self, n: usize) {
        until_or_say(&format!("manager {n} to be there for the others"), || {
            let format = "{{.ID}} {{.ManagerStatus}}";
            let said = self.ask(["node", "ls", "--format", format]);
            let known = ["Leader", "Reachable"].map(|status| format!("{} {status}", self.ids[n]));
            let serves = said.out.lines().any(|line| known.iter().any(|known| known == line));
            serves.then_some(()).ok_or(said.out)
        });
        until(&format!("manager {n} to answer"), || {
            (self.nodes[n].ctl(["ls"]).code == 0).then_some(())
        });
    }

    /// The manager that leads, as soon as one does.
    pub(crate) fn leader(&self) -> usize {
        until("a leader", || {
            (0..self.nodes.len()).filter(|n| self.answers(*n)).find(|n| {
                self.nodes[*n].ctl(["status", "--format", "{{.Leader}}"]).out.trim() == "true"
            })
        })
    }

    /// Ends a daemon without warning; its tasks stay.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].kill();
        self.life[n] = Life::Down;
    }

    /// Asks a daemon to end and waits for it; its tasks stay.
    pub(crate) fn stop(&mut self, n: usize) {
        assert_eq!(self.nodes[n].stop(), 0, "it drains");
        self.life[n] = Life::Down;
    }

    /// Stops a daemon in the middle of whatever it does; its tasks go on.
    pub(crate) fn freeze(&mut self, n: usize) {
        self.signal(n, Signal::STOP);
        self.life[n] = Life::Frozen;
    }

    pub(crate) fn thaw(&mut self, n: usize) {
        self.signal(n, Signal::CONT);
        self.life[n] = Life::Up;
    }

    /// Cuts a node off from all others, in both directions: what is sent waits, and nothing says so.
    pub(crate) fn cut(&mut self, n: usize) {
        self.wires.as_ref().unwrap().cut((n, n));
        self.life[n] = Life::Cut;
    }

    pub(crate) fn heal(&mut self, n: usize) {
        self.wires.as_ref().unwrap().heal((n, n));
        self.life[n] = Life::Up;
    }

    /// Cuts two nodes off from each other; both still reach the rest.
    pub(crate) fn part(&self, one: usize, other: usize) {
        self.wires.as_ref().unwrap().cut((one, other));
    }

    pub(crate) fn join_again(&self, one: usize, other: usize) {
        self.wires.as_ref().unwrap().heal((one, other));
    }

    /// Lets each connection carry so many bytes a second each way from now on.
    pub(crate) fn slow(&self, rate: u32) {
        self.wires.as_ref().unwrap().slow(rate);
    }

    pub(crate) fn signal(&self, n: usize, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.nodes[n].pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn start(&mut self, n: usize) {
        self.nodes[n].start();
        self.life[n] = Life::Up;
    }

    /// A service of `replicas` tasks on workers that hold the secret `s`.
    pub(crate) fn hold(&self, replicas: usize) {
        self.nodes[0].ctl_with(["create", "s", "-"], CANARY).ok();
        let replicas = replicas.to_string();
        self.ask([
            "service",
            "create",
            "--detach",
            "--name",
            "web",
            "--replicas",
            &replicas,
            "--constraint",
            "node.role == worker",
            "--secret",
            "s",
            "--restart-delay",
            "1s",
            "busybox",
            "sh",
            "-c",
            HOLDER,
        ])
        .ok();
    }

    /// Waits until the service's running tasks are on exactly these nodes (a node for each task).
    pub(crate) fn until_running_on(&self, nodes: &[usize]) {
        let mut wanted: Vec<&str> = nodes.iter().map(|n| self.id(*n)).collect();
        wanted.sort_unstable();
        until(&format!("tasks that run on {nodes:?}"), || {
            let format = "{{.Node}} {{.DesiredState}} {{.CurrentState}}";
            let args = ["service", "ps", "--no-resolve", "--no-trunc", "--format", format, "web"];
            let said = self.ask(args);
            let mut on: Vec<&str> = said
                .out
                .lines()
                .filter_map(|line| line.split_once(" Running Running").map(|(node, _)| node))
                .collect();
            on.sort_unstable();
            (on == wanted).then_some(())
        });
    }
}

/// The processes of [`HOLDER`] that a node started: in their sandbox the node's own key file is hidden.
pub(crate) fn holders(node: &World) -> BTreeSet<i32> {
    let hidden = node.path("data.key").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let parents: BTreeMap<i32, i32> = processes
        .filter_map(|process| {
            // One that ends just now shows nothing.
            let read = |name| {
                let text = fs::read(process.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&text).into_owned()
            };
            let holds = read("cmdline").contains("trap 'exit 0' TERM")
                && read("mountinfo").contains(&hidden);
            let status = read("status");
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            let pid = process.file_name().to_str()?.parse().ok()?;
            holds.then_some((pid, parent.trim().parse().ok()?))
        })
        .collect();
    // A shell that starts a program is two of itself for a moment.
    parents
        .iter()
        .filter(|(_, parent)| !parents.contains_key(parent))
        .map(|(pid, _)| *pid)
        .collect()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (node, life) in self.nodes.iter_mut().zip(&self.life) {
            if *life != Life::Down {
                node.kill();
            }
        }
        // Nobody is left to end them: tasks of killed daemons, known by the directory they stand in.
        for node in &self.nodes {
            end_tasks_below(node.path("").as_path());
        }
    }
}
