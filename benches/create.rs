//! Durable creates through gRPC on the socket of a real daemon, beside bare `fdatasync` appends on the same disk.
//!
//! `cargo bench --bench create [-- --seconds N]`; the disk is that of `target/`, or of `SECRETD_BENCH_DIR`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use common::Daemon;
use secretd::{
    kit::id::ClientId,
    wire::v1::{self, control_client::ControlClient},
};
use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

const PAYLOAD: usize = 1024;

struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>, took: Duration) -> Self {
        times.sort();
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
        let per_second = times.len() as f64 / took.as_secs_f64();
        Self { per_second, p50: at(50), p99: at(99) }
    }

    fn print(&self, what: &str) {
        println!(
            "| {what:<52} | {:>9.0} | {:>9.0} | {:>9.0} |",
            self.per_second,
            us(self.p50),
            us(self.p99)
        );
    }
}

fn us(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

fn fdatasync(dir: &Path, seconds: u64, zero_filled: bool) -> Figures {
    let path = dir.join("bare");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    if zero_filled {
        file.write_all(&vec![0; 64 << 20]).unwrap();
        file.sync_all().unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
    }
    let record = vec![0x5a; PAYLOAD];
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        let one = Instant::now();
        file.write_all(&record).unwrap();
        file.sync_data().unwrap();
        times.push(one.elapsed());
    }
    let figures = Figures::of(times, start.elapsed());
    std::fs::remove_file(path).unwrap();
    figures
}

async fn creates(daemon: &Daemon, clients: usize, seconds: u64, round: usize) -> Figures {
    let mut channels = Vec::new();
    for _ in 0..clients {
        channels.push(daemon.channel().await);
    }
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let mut control = ControlClient::new(channels[client].clone());
            tokio::spawn(async move {
                let (id, mut times) = (ClientId::random(), Vec::new());
                while start.elapsed() < Duration::from_secs(seconds) {
                    let sequence = times.len() as u64 + 1;
                    let request = v1::CreateObjectRequest {
                        request: Some(v1::RequestId { client_id: id.to_string(), sequence }),
                        kind: v1::Kind::Secret.into(),
                        name: format!("bench-{round}-{client}-{sequence}"),
                        labels: Default::default(),
                        payload: Some(v1::Payload { data: vec![0x5a; PAYLOAD] }),
                        accept_same: false,
                    };
                    let one = Instant::now();
                    control.create_object(request).await.unwrap();
                    times.push(one.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    Figures::of(times, start.elapsed())
}

fn main() {
    let seconds = common::seconds(4);
    let daemon = Daemon::start("process", None);
    println!("payload {PAYLOAD} B, {seconds} s each, disk of {}\n", daemon.dir().display());
    println!("| {:<52} | {:>9} | {:>9} | {:>9} |", "what", "per s", "p50 us", "p99 us");
    println!("|{:-<54}|{:->11}|{:->11}|{:->11}|", "", ":", ":", ":");
    let growing = fdatasync(daemon.dir(), seconds, false);
    growing.print("bare append + fdatasync, growing file");
    let bare = fdatasync(daemon.dir(), seconds, true);
    bare.print("bare append + fdatasync, zero-filled file");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (one, many) = runtime.block_on(async {
        creates(&daemon, 8, 1, 0).await; // warm-up
        let one = creates(&daemon, 1, seconds, 1).await;
        one.print("create through gRPC, 1 client");
        let many = creates(&daemon, 64, seconds, 2).await;
        many.print("create through gRPC, 64 clients");
        (one, many)
    });
    println!();
    println!(
        "64 clients / one fsync at a time: {:.1} x (aim: 3)",
        many.per_second / bare.per_second
    );
    let bound = 1.5 * us(bare.p50) + 300.0;
    println!("1 client p50: {:.0} us (aim: 1.5 x fsync + 300 us = {bound:.0} us)", us(one.p50));
}
