//! Hands for attackers: calls made of any bytes, identities that were really enrolled, and what the daemon pays for it.

use crate::world::World;
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use secretd::{
    client::enroll,
    kit::{clock::Clock, id::NodeId},
    model::node::{Availability, NodeDescription},
    pki::{self, JoinToken, Tls},
};
use std::{fs, net::SocketAddr, time::Duration};
use tokio::net::{TcpSocket, TcpStream};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

/// Where an attacker goes.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) token: JoinToken,
    pub(crate) manager: NodeId,
}

impl Target {
    pub(crate) fn of(manager: &World) -> Self {
        let status = manager.json(["status", "--format", "json"]);
        let token = manager.ctl(["join-token", "-q", "worker"]).ok();
        Self {
            addr: status["AdvertiseAddr"].as_str().unwrap().parse().unwrap(),
            token: token.trim().parse().unwrap(),
            manager: status["NodeID"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// A connection without a certificate.
    pub(crate) async fn stranger(&self) -> Channel {
        let (addr, clock) = (self.addr.to_string(), Clock::system());
        pki::first_contact(&addr, self.token.ca, &clock).await.unwrap().channel
    }

    /// Joins as a machine with an agent that does what the test wants.
    pub(crate) async fn join(&self) -> Result<(NodeId, Tls), enroll::EnrollError> {
        let clock = Clock::system();
        let description = NodeDescription {
            hostname: "liar".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            runtime: "process".into(),
            ..NodeDescription::default()
        };
        let addrs = [self.addr.to_string()];
        let availability = Availability::Active;
        let joining = enroll::join(&addrs, &self.token, &description, availability, &clock);
        let enrolled = joining.await?;
        let roots: Vec<&[u8]> = enrolled.roots.iter().map(Vec::as_slice).collect();
        let tls = Tls::new(enrolled.cluster, &roots, clock).unwrap();
        tls.set_identity(&enrolled.identity).unwrap();
        Ok((enrolled.node, tls))
    }

    pub(crate) fn member(&self, tls: &Tls) -> Channel {
        pki::channel(tls, &self.addr.to_string(), self.manager)
    }

    /// A connection from this address that says nothing.
    pub(crate) async fn silent(&self, from: &str) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
        socket.connect(self.addr).await
    }
}

/// Lets this process, and the daemons it starts, have as many connections as the machine allows.
pub(crate) fn open_many() {
    secretd::kit::os::raise_descriptors().unwrap();
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A message as gRPC frames it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], len.as_slice(), message].concat()
}

/// A message of nothing but empty elements of a list.
pub(crate) fn empties(field: u8, count: usize) -> Vec<u8> {
    framed(&[field << 3 | 2, 0].repeat(count))
}

/// Calls `Service/Method` with these bytes; an open call never ends by itself.
pub(crate) async fn call(mut channel: Channel, path: &str, bytes: Vec<u8>, open: bool) -> Code {
    let pieces: Vec<_> = bytes.chunks(16 << 10).map(|piece| piece.to_vec().into()).collect();
    let pieces = futures::stream::iter(pieces).map(|data| Ok::<_, Status>(Frame::data(data)));
    let body = if open {
        Body::new(StreamBody::new(pieces.chain(futures::stream::pending())))
    } else {
        Body::new(StreamBody::new(pieces))
    };
    let request = http::Request::post(format!("/secretd.v1.{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let answer = channel.ready().await.unwrap().call(request).await;
    match answer {
        Ok(answer) => Status::from_header_map(answer.headers()).map_or(Code::Ok, |s| s.code()),
        // It had to give way.
        Err(_) => Code::Unknown,
    }
}

/// What a daemon has taken so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// The most memory it ever had.
    peak_kib: u64,
    /// Of all its threads.
    cpu: Duration,
}

impl Usage {
    pub(crate) fn of(world: &World) -> Self {
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", world.pid())).unwrap();
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
        Self {
            peak_kib: peak.trim().trim_end_matches(" kB").trim().parse().unwrap(),
            cpu: Duration::from_millis(ticks * 10),
        }
    }

    /// What was taken since, printed; returns by how much memory grew, in MiB.
    pub(crate) fn since(world: &World, before: Self, what: &str) -> u64 {
        let now = Self::of(world);
        let grown = (now.peak_kib - before.peak_kib) >> 10;
        let (peak, cpu) = (now.peak_kib >> 10, now.cpu - before.cpu);
        eprintln!("{what}: {grown} MiB more than before, {peak} MiB at most, {cpu:?} of CPU");
        grown
    }
}

/// Waits for what a test would not wait for itself.
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The daemon's log.
pub(crate) fn log(world: &World) -> String {
    fs::read_to_string(world.path("log")).unwrap()
}

/// Finds a line with all of these.
#[track_caller]
pub(crate) fn logged(world: &World, words: &[&str]) {
    let log = log(world);
    let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "no line with {words:?}");
}
