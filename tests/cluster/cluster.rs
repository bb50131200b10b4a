//! Several machines of tests/e2e as one cluster, and the questions tests ask about it.

use crate::world::{Said, World, until};
use std::{fs, path::Path};

/// What the nodes' disks and logs must not show.
pub(crate) const CANARY: &[u8] = b"canary-51f0c3d2-do-not-leak";

/// Prints nothing, and runs only as long as the secret `s` is what it should be.
pub(crate) const HOLDER: &str = "grep -q canary-51f0c3d2 /run/secrets/s || exit 9; trap 'exit 0' TERM; while :; do sleep 0.2; done";

/// Machines by the order in which they joined; everything they started goes with it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<World>,
    ids: Vec<String>,
    up: Vec<bool>,
}

impl Cluster {
    /// A cluster of one manager and those that join it: `true` for a manager.
    pub(crate) fn new(joining: &[bool]) -> Self {
        let mut cluster = Self { nodes: Vec::new(), ids: Vec::new(), up: Vec::new() };
        cluster.add(World::initialised());
        for manager in joining {
            cluster.join(if *manager { "manager" } else { "worker" });
        }
        cluster.until_ready(joining.len() + 1);
        let managers = 1 + joining.iter().filter(|manager| **manager).count();
        until("all managers to vote", || {
            let status = cluster.nodes[0].json(["status", "--format", "json"]);
            let voters = status["RemoteManagers"].as_array()?.iter().filter(|manager| {
                manager["Voter"] == true && manager["NodeID"] != status["NodeID"]
            });
            (voters.count() == managers - 1).then_some(())
        });
        cluster
    }

    fn add(&mut self, node: World) {
        self.ids.push(node.ctl(["status", "--format", "{{.NodeID}}"]).ok().trim().to_owned());
        self.nodes.push(node);
        self.up.push(true);
    }

    /// Adds a machine in this role.
    pub(crate) fn join(&mut self, role: &str) {
        let token = self.nodes[0].ctl(["join-token", "-q", role]).ok();
        let addr = self.nodes[0].ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok();
        let mut node = World::new();
        node.start();
        let token = node.file("token", token);
        let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
        node.ctl(["join", "--token-file", &token].into_iter().chain(here).chain([addr.trim()]))
            .ok();
        self.add(node);
    }

    pub(crate) fn id(&self, n: usize) -> &str {
        &self.ids[n]
    }

    /// Asks the first manager that answers.
    pub(crate) fn ask<const N: usize>(&self, args: [&str; N]) -> Said {
        until(&format!("an answer to {args:?}"), || {
            (0..self.nodes.len())
                .filter(|n| self.up[*n])
                .map(|n| self.nodes[n].ctl(args))
                .find(|said| said.code == 0)
        })
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

    /// The manager that leads, as soon as one does.
    pub(crate) fn leader(&self) -> usize {
        until("a leader", || {
            (0..self.nodes.len()).filter(|n| self.up[*n]).find(|n| {
                self.nodes[*n].ctl(["status", "--format", "{{.Leader}}"]).out.trim() == "true"
            })
        })
    }

    /// Ends a daemon without warning; its tasks stay.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].kill();
        self.up[n] = false;
    }

    pub(crate) fn start(&mut self, n: usize) {
        self.nodes[n].start();
        self.up[n] = true;
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

impl Drop for Cluster {
    fn drop(&mut self) {
        for (node, up) in self.nodes.iter_mut().zip(&self.up) {
            if *up {
                node.kill();
            }
        }
        // Nobody is left to end them: tasks of killed daemons, known by the directory they stand in.
        for node in &self.nodes {
            end_tasks_below(node.path("").as_path());
        }
    }
}

fn end_tasks_below(dir: &Path) {
    until("tasks to end", || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let ours: Vec<i32> = processes
            .filter(|process| {
                fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
            })
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .collect();
        for pid in &ours {
            let pid = rustix::process::Pid::from_raw(*pid).unwrap();
            // It may end at this very moment by itself.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
        ours.is_empty().then_some(())
    });
}
