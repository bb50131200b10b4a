//! Clients without a certificate: what they can reach, keep and exhaust.

use crate::{
    cluster::Cluster,
    wire::{Target, Usage, call, empties, framed, logged, open_many, pause, runtime},
    world::{World, until},
};
use futures::future::join_all;
use secretd::{
    pki::JoinToken,
    wire::v1::{self, ca_client::CaClient},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::Code;

#[test]
fn a_strangers_messages_are_refused_before_they_are_read() {
    open_many();
    let world = World::initialised();
    let (target, runtime) = (Target::of(&world), runtime());
    let before = Usage::of(&world);
    runtime.block_on(async {
        let entries = empties(4, 2_000_000);
        for path in ["Raft/AppendEntries", "Dispatcher/UpdateTaskStatus", "Control/ListObjects"] {
            let calls = (0..3)
                .map(async |_| call(target.stranger().await, path, entries.clone(), false).await);
            assert_eq!(join_all(calls).await, [Code::Unauthenticated; 3], "{path}");
        }
        // A call it may make, too long and with too much in it.
        let long = call(target.stranger().await, "Ca/Issue", empties(3, 40_000), false).await;
        assert_eq!(long, Code::OutOfRange);
        // Messages that never end, on as many connections as it likes.
        let unfinished = framed(&vec![0; 60 << 10])[..50 << 10].to_vec();
        let calls = (0..100).map(async |_| {
            let channel = target.stranger().await;
            let call = || call(channel.clone(), "Ca/Issue", unfinished.clone(), true);
            join_all([call(), call(), call(), call()]).await
        });
        drop(timeout(Duration::from_secs(3), join_all(calls)).await);
    });
    let grown = Usage::since(&world, before, "a stranger's messages");
    assert!(grown < 48, "{grown} MiB");
    logged(&world, &["WARN", "refused a call without a certificate", "Raft/AppendEntries"]);
    world.ctl(["ls"]).ok();
}

#[test]
fn strangers_keep_nobody_from_joining() {
    open_many();
    let world = World::initialised();
    let (target, runtime) = (Target::of(&world), runtime());
    let before = Usage::of(&world);
    runtime.block_on(async {
        let begun = Instant::now();
        target.join().await.unwrap();
        let alone = begun.elapsed();
        // From one address, and from one that members come from, too.
        let silent = (0..700).map(async |n| {
            target.silent(if n % 2 == 0 { "127.0.0.2" } else { "127.0.0.1" }).await.unwrap()
        });
        let silent = join_all(silent).await;
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(target.stranger().await);
        }
        let done = AtomicBool::new(false);
        let flood = async {
            let mut channel = CaClient::new(target.stranger().await);
            while !done.load(Ordering::Relaxed) {
                let token = v1::Payload::carry(&JoinToken::generate(target.token.ca).carry());
                let request = v1::IssueRequest { token: Some(token), ..Default::default() };
                if channel.issue(request).await.unwrap_err().code() == Code::Unavailable {
                    // It had to give way.
                    channel = CaClient::new(target.stranger().await);
                }
            }
        };
        let join = async {
            pause(Duration::from_millis(300)).await;
            let begun = Instant::now();
            let joined = join_all((0..5).map(|_| target.join())).await;
            done.store(true, Ordering::Relaxed);
            (joined, begun.elapsed())
        };
        let (_, (joined, attacked)) = tokio::join!(flood, join);
        joined.into_iter().for_each(|joined| drop(joined.unwrap()));
        eprintln!("a join alone: {alone:?}; five while attacked: {attacked:?}");
        assert!(attacked < Duration::from_secs(5), "{attacked:?}");
        until("silent ones to be given up", || {
            crate::wire::log(&world).contains("gave up a connection without").then_some(())
        });
        drop((silent, idle));
    });
    let grown = Usage::since(&world, before, "700 silent and 300 idle connections");
    assert!(grown < 96, "{grown} MiB");
    logged(&world, &["WARN", "refused a machine that wants to join", "made up"]);
    logged(&world, &["WARN", "gave up a connection without a handshake", "127.0.0."]);
}

#[test]
fn a_cluster_elects_another_leader_while_strangers_say_nothing() {
    open_many();
    let mut cluster = Cluster::new(&[true, true]);
    let alone = failover(&mut cluster, "alone");
    let targets: Vec<_> = cluster.nodes.iter().map(Target::of).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let attack = std::thread::spawn(move || {
        runtime().block_on(async {
            // Those that were given up come again.
            while !stopped.load(Ordering::Relaxed) {
                let silent = (0..1400).map(|n| targets[n % 3].silent("127.0.0.2"));
                let _silent = join_all(silent).await;
                pause(Duration::from_secs(2)).await;
            }
        });
    });
    until("strangers to be given up", || {
        let given_up = |world: &World| crate::wire::log(world).contains("gave up a connection");
        cluster.nodes.iter().all(given_up).then_some(())
    });
    let attacked = failover(&mut cluster, "attacked");
    stop.store(true, Ordering::Relaxed);
    attack.join().unwrap();
    eprintln!("failover: {alone:?} alone, {attacked:?} with 1400 silent connections");
}

/// How long nobody could write after the leader was killed.
fn failover(cluster: &mut Cluster, name: &str) -> Duration {
    let leader = cluster.leader();
    cluster.kill(leader);
    let begun = Instant::now();
    let name = format!("{name}-{leader}");
    until("another leader", || {
        let others = (0..cluster.nodes.len()).filter(|n| *n != leader);
        let mut said = others.map(|n| cluster.nodes[n].ctl_with(["create", &name, "-"], b"x"));
        said.find(|said| said.code == 0 || said.err.contains("exists"))
    });
    let took = begun.elapsed();
    cluster.start(leader);
    cluster.until_serving(leader);
    took
}
