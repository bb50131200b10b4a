//! One manager and a thousand workers: how fast they join, and how fast one service reaches all of them.
//!
//! `cargo bench --bench fanout [-- --nodes N]`. The manager is a daemon of its own. The workers' agents live in this
//! process: each has joined with a token, has its certificate, connection and session, and a runtime that starts nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use common::Daemon;
use futures::{StreamExt, stream, stream::BoxStream};
use secretd::{
    agent::{
        Agent, AgentConfig, Handle, Manager,
        runtime::{
            ContainerState, EngineInfo, Exit, Held, LogLine, LogOptions, Order, Runtime,
            RuntimeError,
        },
    },
    client::{Client, enroll},
    kit::{clock::Clock, id::TaskId, task::Stop},
    model::{
        filter::Filters,
        node::{Availability, NodeDescription},
    },
    pki::{JoinToken, Tls},
};
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const PAYLOAD: usize = 1024;
/// Below what one address may try at once.
const JOINING: usize = 16;

/// Starts nothing, and counts the tasks whose files have come.
#[derive(Debug, Default)]
struct Stub {
    created: AtomicUsize,
}

#[async_trait::async_trait]
impl Runtime for Stub {
    fn name(&self) -> &'static str {
        "stub"
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo::default())
    }

    async fn held(&self) -> Result<Vec<Held>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        let [file] = order.files.as_slice() else { panic!("one file is expected") };
        assert_eq!(file.payload.len(), PAYLOAD);
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn start(&self, _: TaskId) -> Result<ContainerState, RuntimeError> {
        Ok(ContainerState::Running { container_id: "stub".into(), pid: 1 })
    }

    async fn wait(&self, _: TaskId) -> Result<Exit, RuntimeError> {
        std::future::pending().await
    }

    async fn stop(&self, _: TaskId, _: Duration) -> Result<Exit, RuntimeError> {
        Ok(Exit { code: 0, note: String::new() })
    }

    async fn wipe(&self, _: TaskId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove(&self, _: TaskId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn logs(
        &self,
        _: TaskId,
        _: LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        Ok(stream::empty().boxed())
    }
}

struct Worker {
    agent: Agent,
    handle: Handle,
}

async fn join(addr: &str, token: &JoinToken, number: usize, runtime: Arc<Stub>) -> Worker {
    let clock = Clock::system();
    let description =
        NodeDescription { hostname: format!("worker-{number}"), ..NodeDescription::default() };
    let (addrs, active) = ([addr.to_owned()], Availability::Active);
    let given = enroll::join(&addrs, token, &description, active, &clock).await.unwrap();
    let roots: Vec<&[u8]> = given.roots.iter().map(Vec::as_slice).collect();
    let tls = Tls::new(given.cluster, &roots, clock.clone()).unwrap();
    tls.set_identity(&given.identity).unwrap();
    let managers = given.managers.into_iter().map(|(node, addr)| Manager { node, addr }).collect();
    let (agent, handle) =
        Agent::new(AgentConfig { node: given.node, tls, managers, runtime, clock });
    Worker { agent, handle }
}

/// Bytes sent so far on the manager's connections.
fn sent(port: &str) -> u64 {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-tinH", "state", "established", &filter]).output();
    let text = String::from_utf8(output.expect("ss (iproute2) is installed").stdout).unwrap();
    let number = |rest: &str| -> u64 {
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    text.split("bytes_sent:").skip(1).map(number).sum()
}

/// Resident memory of a process, in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn look() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn measure(daemon: &Daemon, nodes: usize) {
    let addr = daemon.ask(&["status", "--format", "{{.AdvertiseAddr}}"]);
    let (_, port) = addr.rsplit_once(':').unwrap();
    let token = daemon.ask(&["join-token", "-q", "worker"]);
    let token: JoinToken = token.parse().unwrap();
    let secret = daemon.dir().join("secret");
    std::fs::write(&secret, [b'x'; PAYLOAD]).unwrap();
    daemon.ask(&["create", "s", secret.to_str().unwrap()]);
    let client = Client::connect(&daemon.host()).await.unwrap();
    println!("| {:<58} | {:>14} |", format!("{nodes} workers, one manager"), "");
    println!("|{:-<60}|{:->16}|", "", ":");
    let row = |what: &str, value: String| println!("| {what:<58} | {value:>14} |");
    row("memory of the manager, alone", format!("{} MiB", memory(daemon.pid())));

    let runtime = Arc::new(Stub::default());
    let start = Instant::now();
    let (ref addr, ref token) = (addr.clone(), token);
    let workers: Vec<Worker> = stream::iter(0..nodes)
        .map(|number| join(addr, token, number, runtime.clone()))
        .buffer_unordered(JOINING)
        .collect()
        .await;
    #[expect(clippy::cast_precision_loss, reason = "a count of nodes")]
    let rate = nodes as f64 / start.elapsed().as_secs_f64();
    row(&format!("joins, {JOINING} at a time"), format!("{rate:.0}/s"));

    let (start, stop) = (Instant::now(), Stop::new());
    let mut handles = Vec::new();
    let mut agents = Vec::new();
    for Worker { agent, handle } in workers {
        handles.push(handle);
        agents.push(tokio::spawn(agent.run(stop.clone())));
    }
    while !handles.iter().all(|handle| handle.seen().connected) {
        look().await;
    }
    row("all sessions begun after", format!("{:.2} s", start.elapsed().as_secs_f64()));
    let ready = async || {
        let all = client.list_nodes(&Filters::default()).await.unwrap();
        all.iter()
            .filter(|node| node.node.status.state == secretd::model::node::NodeState::Ready)
            .count()
    };
    while ready().await < nodes + 1 {
        look().await;
    }
    row("all nodes ready after", format!("{:.2} s", start.elapsed().as_secs_f64()));
    row("memory of the manager, with all sessions", format!("{} MiB", memory(daemon.pid())));

    let before = sent(port);
    let start = Instant::now();
    daemon.ask(&[
        "service",
        "create",
        "--detach",
        "--name",
        "web",
        "--mode",
        "global",
        "--constraint",
        "node.role == worker",
        "--secret",
        "s",
        "busybox",
    ]);
    while runtime.created.load(Ordering::Relaxed) < nodes {
        look().await;
    }
    row("every agent holds the secret after", format!("{:.2} s", start.elapsed().as_secs_f64()));
    let running = async || client.list_services(&Filters::default()).await.unwrap()[0].running;
    while running().await < nodes as u64 {
        look().await;
    }
    row(
        "the manager has seen every task RUNNING after",
        format!("{:.2} s", start.elapsed().as_secs_f64()),
    );
    let bytes = (sent(port) - before) / nodes as u64;
    row("bytes sent to each agent meanwhile, TLS included", format!("{bytes}"));
    row("memory of the manager then", format!("{} MiB", memory(daemon.pid())));
    stop.cancel();
    for agent in agents {
        agent.await.unwrap();
    }
}

fn main() {
    if !common::asked() {
        return;
    }
    let nodes = common::argument("--nodes", 1000);
    let mut daemon = Daemon::start("process", None);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&daemon, nodes));
    // Its workers are gone; nobody is left to take the tasks away.
    daemon.kill();
}
