//! How long nothing is acknowledged when the leader of three managers is killed: kill -9, twenty times.
//!
//! `cargo bench --bench failover [-- --kills N]`. Clients write through the two managers that stay, all the time; the time
//! measured is the longest between two acknowledged writes, whoever asked for them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use common::{Daemon, Managers};
use secretd::{
    kit::id::ClientId,
    wire::v1::{self, control_client::ControlClient},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// On each of the two managers.
const WRITERS: usize = 4;

/// When writes were acknowledged.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

async fn write(
    daemon: tonic::transport::Channel,
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
) {
    let mut control = ControlClient::new(daemon);
    let (id, mut sequence) = (ClientId::random().to_string(), 0);
    while !stop.load(Ordering::Relaxed) {
        sequence += 1;
        let request = v1::CreateObjectRequest {
            request: Some(v1::RequestId { client_id: id.clone(), sequence }),
            kind: v1::Kind::Secret.into(),
            name: format!("{id}-{sequence}"),
            labels: Default::default(),
            payload: Some(v1::Payload { data: vec![0x5a; 1024] }),
            accept_same: false,
        };
        match control.create_object(request).await {
            Ok(_) => acknowledged.lock().unwrap().push(Instant::now()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Kills the leader while clients write; returns the longest time without an acknowledgement.
async fn kill(managers: &mut Managers) -> Duration {
    let leader = managers.leader();
    let (acknowledged, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let mut writers = Vec::new();
    for (n, daemon) in managers.0.iter().enumerate() {
        for _ in 0..if n == leader { 0 } else { WRITERS } {
            let channel = daemon.channel().await;
            writers.push(tokio::spawn(write(channel, acknowledged.clone(), stop.clone())));
        }
    }
    let count = || acknowledged.lock().unwrap().len();
    let more = async |count_then: usize| {
        while count() < count_then + 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(0).await;
    managers.0[leader].kill();
    let killed = Instant::now();
    // What was on its way may still be answered.
    tokio::time::sleep(Duration::from_millis(500)).await;
    more(count()).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    managers.0[leader].spawn();
    managers.until_whole();
    let mut times = std::mem::take(&mut *acknowledged.lock().unwrap());
    times.sort_unstable();
    let gaps = times.windows(2).filter(|w| w[1] > killed).map(|w| w[1] - w[0]);
    gaps.max().unwrap()
}

fn main() {
    if !common::asked() {
        return;
    }
    let kills = common::argument("--kills", 20);
    let mut managers = Managers::start(3);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut times: Vec<Duration> =
        (0..kills).map(|_| runtime.block_on(kill(&mut managers))).collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64();
    println!("| {:<44} | min s | p50 s | p90 s | max s |", "time without an acknowledged write");
    println!("|{:-<46}|------:|------:|------:|------:|", "");
    println!(
        "| {:<44} | {:>5.2} | {:>5.2} | {:>5.2} | {:>5.2} |",
        format!("leader of three killed, {kills} times"),
        at(0),
        at(50),
        at(90),
        at(100)
    );
    println!("\nAim: less than 4 s.");
    drop::<Vec<Daemon>>(std::mem::take(&mut managers.0));
}
