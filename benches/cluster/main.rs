//! Durable writes of 1 KiB on three members: secretd beside etcd and Docker Swarm, on one machine and one disk.
//!
//! `cargo bench --bench cluster [-- --seconds N]`. Members are real processes on loopback with TLS between them; what is
//! not installed is left out (etcd: `etcd-server`; Swarm: `docker.io`, as root).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "for others than this benchmark too")]
mod etcd;
mod load;
#[expect(dead_code, reason = "for others than this benchmark too")]
mod ours;
#[expect(dead_code, reason = "for others than this benchmark too")]
mod swarm;

use common::{Daemon, Managers};
use load::{Figures, PAYLOAD};
use ours::Operator;
use std::{path::Path, time::Duration};

struct Both {
    one: Figures,
    many: Figures,
}

/// With 1 and with 64 clients, after a warm-up.
macro_rules! measure {
    ($what:expr, $dirs:expr, $span:expr, $round:expr, $clients:expr) => {{
        let (what, dirs, span, round) = ($what, $dirs, $span, $round);
        load::run($clients(8).await, dirs, Duration::from_secs(1), &format!("{round}w")).await;
        let one = load::run($clients(1).await, dirs, span, &format!("{round}s")).await;
        one.print(what, 1);
        let many = load::run($clients(64).await, dirs, span, &format!("{round}m")).await;
        many.print(what, 64);
        Both { one, many }
    }};
}

async fn secretd(span: Duration) -> Both {
    let managers = Managers::start(3);
    let leader = managers.leader();
    let dirs: Vec<&Path> = managers.0.iter().map(Daemon::dir).collect();
    let (leads, follows) = (&managers.0[leader], &managers.0[(leader + 1) % 3]);
    let both =
        measure!("secretd, through the leader", &dirs, span, "l", |n| Operator::of(leads, n));
    measure!("secretd, through a follower", &dirs, span, "f", |n| Operator::of(follows, n));
    both
}

async fn etcd(span: Duration) -> Option<Both> {
    let etcd = etcd::Etcd::start(3)?;
    let leader = etcd.leader().await;
    let dirs = [etcd.dir()];
    let both = measure!("etcd, through the leader, TLS", &dirs, span, "s", |n| etcd
        .clients(leader, n, true));
    let what = "etcd, through the leader, client without TLS";
    measure!(what, &dirs, span, "p", |n| etcd.clients(leader, n, false));
    let follower = (leader + 1) % 3;
    measure!("etcd, through a follower, TLS", &dirs, span, "f", |n| etcd
        .clients(follower, n, true));
    Some(both)
}

async fn docker_swarm(span: Duration) -> Option<Both> {
    let swarm = swarm::Swarm::start(3).await?;
    let dirs = [swarm.dir()];
    Some(measure!("Docker Swarm, through the leader", &dirs, span, "s", |n| swarm.clients(n)))
}

fn main() {
    if !common::asked() {
        return;
    }
    let span = Duration::from_secs(common::seconds(6));
    let disk = common::directory();
    println!("payload {PAYLOAD} B, {span:?} each, disk of {}\n", disk.path().display());
    load::head();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ours = secretd(span).await;
        if common::only_ours() {
            return;
        }
        let etcd = etcd(span).await;
        let swarm = docker_swarm(span).await;
        println!();
        for (name, theirs, aim) in [("etcd", etcd, 3.0), ("Docker Swarm", swarm, 30.0)] {
            let Some(theirs) = theirs else {
                println!("* {name}: not installed here, or not root");
                continue;
            };
            println!(
                "* {name}: 64 clients {:.1} x its writes/s (aim: {aim} x); 1 client p50 {:.2} ms beside {:.2} ms",
                ours.many.per_second / theirs.many.per_second,
                ours.one.p50_ms,
                theirs.one.p50_ms,
            );
        }
    });
}
