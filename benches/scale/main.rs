//! A manager with much to keep: how fast it starts, what it takes in memory and on disk, beside etcd and Docker Swarm.
//!
//! `cargo bench --bench scale [-- --small N] [--large N] [--churn N] [--swarm N] [--seconds N] [--ours]`: so many secrets of
//! 1 KiB and of 400 KB, so many rounds of replacing them all; Swarm gets the N-th part of both, because it writes some
//! hundreds a second. One member each. Aims: served again in less than 1 s, less than 150 MB of memory, both less than the
//! peers need; after the churn the disk holds at most twice the payloads; writes under a backup have at most 3 x their p99.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../cluster/etcd.rs"]
mod etcd;
#[path = "../cluster/load.rs"]
mod load;
#[path = "../cluster/ours.rs"]
mod ours;
#[path = "../cluster/swarm.rs"]
mod swarm;

use common::{Daemon, argument};
use load::Client;
use ours::Operator;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const SMALL: usize = 1024;
const LARGE: usize = 400_000;

/// How many of each are kept.
#[derive(Clone, Copy)]
struct Data {
    small: usize,
    large: usize,
}

impl Data {
    fn bytes(self) -> u64 {
        (self.small * SMALL + self.large * LARGE) as u64
    }

    fn name(number: usize, bytes: usize) -> String {
        format!("secret-{bytes}-{number:06}")
    }

    /// Writes all of it; returns how long the small ones took and how long the large ones.
    async fn fill<C: Client>(self, clients: &mut Vec<C>) -> [Duration; 2] {
        let mut times = [Duration::ZERO; 2];
        for (time, (count, bytes)) in times.iter_mut().zip(self.parts()) {
            *time = load::each(clients, count, move |client, number| {
                client.write(Self::name(number, bytes), bytes)
            })
            .await;
        }
        times
    }

    fn parts(self) -> [(usize, usize); 2] {
        [(self.small, SMALL), (self.large, LARGE)]
    }

    /// A secret by which to see that it is there again.
    fn some(self) -> String {
        Self::name(self.small / 2, SMALL)
    }
}

/// What is compared.
struct Kept {
    fill: [Duration; 2],
    /// Of the processes after filling, and after a start.
    memory: [u64; 2],
    disk: u64,
    start: Duration,
    /// User and system time until it served.
    start_cpu: Duration,
}

/// Time and CPU time from a start to the first answer that shows a secret.
async fn serving(dir: &Path, mut serves: impl AsyncFnMut() -> bool) -> (Duration, Duration) {
    let start = Instant::now();
    while !serves().await {
        assert!(start.elapsed() < Duration::from_secs(300), "it does not come back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (start.elapsed(), load::cpu(&[dir]))
}

/// What is written behind has been.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Bytes that the files below a directory take.
fn disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk(&entry.path()),
        // One that went meanwhile takes nothing.
        meta => meta.map_or(0, |meta| meta.blocks() * 512),
    };
    entries.map(|entry| entry.map_or(0, size)).sum()
}

async fn secretd(data: Data) -> (Kept, Daemon) {
    let mut daemon = Daemon::start("process", None);
    let mut clients = Operator::of(&daemon, 64).await;
    let fill = data.fill(&mut clients).await;
    drop(clients);
    settle().await;
    let dir = daemon.dir().to_owned();
    let (filled, disk) = (load::resident(&[&dir]), disk(&dir));
    daemon.kill();
    daemon.spawn();
    let (start, start_cpu) = serving(&dir, async || ours::has(&daemon, data.some()).await).await;
    settle().await;
    let memory = [filled, load::resident(&[&dir])];
    (Kept { fill, memory, disk, start, start_cpu }, daemon)
}

async fn etcd(data: Data) -> Option<Kept> {
    let mut etcd = etcd::Etcd::start(1)?;
    let leader = etcd.leader().await;
    let fill = data.fill(&mut etcd.clients(leader, 64, true).await).await;
    settle().await;
    let dir = etcd.dir().to_owned();
    let (filled, disk) = (load::resident(&[&dir]), disk(&dir));
    etcd.kill();
    etcd.spawn();
    let (start, start_cpu) = serving(&dir, async || etcd.has(&data.some()).await).await;
    settle().await;
    let memory = [filled, load::resident(&[&dir])];
    Some(Kept { fill, memory, disk, start, start_cpu })
}

async fn docker_swarm(data: Data) -> Option<Kept> {
    let mut swarm = swarm::Swarm::start(1).await?;
    let fill = data.fill(&mut swarm.clients(64).await).await;
    settle().await;
    let dir = swarm.dir().to_owned();
    let (filled, disk) = (load::resident(&[&dir]), disk(&dir));
    swarm.kill();
    swarm.spawn();
    let (start, start_cpu) = serving(&dir, async || swarm.has(&data.some()).await).await;
    settle().await;
    let memory = [filled, load::resident(&[&dir])];
    Some(Kept { fill, memory, disk, start, start_cpu })
}

fn compare(data: Data, part: usize, columns: &[(String, Option<Kept>)]) {
    let row = |what: &str, cell: &dyn Fn(usize, &Kept) -> String| {
        let cells: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(n, (_, kept))| {
                let part = if n == 2 { part } else { 1 };
                kept.as_ref().map_or("-".to_owned(), |kept| cell(part, kept))
            })
            .map(|cell| format!("{cell:>14}"))
            .collect();
        println!("| {what:<50} | {} |", cells.join(" | "));
    };
    let heads: Vec<String> = columns.iter().map(|(name, _)| format!("{name:>14}")).collect();
    println!("| {:<50} | {} |", "one member", heads.join(" | "));
    println!("|{:-<52}|{}", "", format!("{:->17}", ":|").repeat(columns.len()));
    row("secrets", &|part, _| format!("{}", (data.small + data.large) / part));
    row("1 KiB, 64 clients: writes/s", &|part, kept| per_second(data.small / part, kept.fill[0]));
    row("400 KB, 64 clients: writes/s", &|part, kept| per_second(data.large / part, kept.fill[1]));
    row("memory after that, MiB", &|_, kept| mib(kept.memory[0]));
    row("disk, x payloads", &|part, kept| share(kept.disk, data.bytes() / part as u64));
    row("kill -9 and start until a secret is seen, s", &|_, kept| seconds(kept.start));
    row("CPU time of that, s", &|_, kept| seconds(kept.start_cpu));
    row("memory after that, MiB", &|_, kept| mib(kept.memory[1]));
    println!();
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes for people")]
fn per_second(count: usize, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}

fn mib(bytes: u64) -> String {
    format!("{}", bytes >> 20)
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes for people")]
fn share(bytes: u64, of: u64) -> String {
    format!("{:.2}", bytes as f64 / of as f64)
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn line(what: &str, value: &str) {
    println!("| {what:<62} | {value:>12} |");
}

/// Replaces everything again and again.
async fn churn(daemon: &Daemon, data: Data, rounds: usize) {
    let mut clients = Operator::of(daemon, 64).await;
    let mut most = 0;
    for _ in 0..rounds {
        for (count, bytes) in data.parts() {
            load::each(&mut clients, count, move |client, number| {
                Box::pin(client.remove(Data::name(number, bytes)))
            })
            .await;
            most = most.max(disk(daemon.dir()));
        }
        data.fill(&mut clients).await;
        most = most.max(disk(daemon.dir()));
    }
    drop(clients);
    settle().await;
    line(
        &format!("disk while all was replaced {rounds} times, x payloads"),
        &share(most, data.bytes()),
    );
    line("disk after that (aim: 2)", &share(disk(daemon.dir()), data.bytes()));
    line("memory after that, MiB (aim: 150)", &mib(load::resident(&[daemon.dir()])));
}

/// Moves everything to a new term of the keyring.
fn rewrap(daemon: &Daemon, data: Data) {
    let start = Instant::now();
    let rotated = daemon.ctl(&["key", "rotate", "--quiet", "--rate", "1000000"]);
    let rate = match rotated.status.code() {
        Some(0) => per_second(data.small + data.large, start.elapsed()),
        // It has no such command.
        Some(2) => "-".to_owned(),
        _ => panic!("{}", String::from_utf8_lossy(&rotated.stderr)),
    };
    line("data keys moved to a new term, secrets/s", &rate);
}

/// A backup, a restore, and writes beside backups.
async fn backup(daemon: &Daemon, span: Duration) {
    let (file, words) = (daemon.dir().join("backup"), daemon.dir().join("words"));
    std::fs::write(&words, "correct horse battery staple").unwrap();
    let [file, words] = [&file, &words].map(|path| path.to_str().unwrap());
    let by = ["--recipient", "passphrase", "--passphrase-file", words];
    let create = [&["backup", "create", file][..], &by].concat();
    let start = Instant::now();
    daemon.ask(&create);
    line("backup create, with its verification, s", &seconds(start.elapsed()));
    line("size of the backup, MiB", &mib(std::fs::metadata(file).unwrap().len()));
    let restored = Daemon::bare("process", None);
    let start = Instant::now();
    let here = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
    restored.ask(&[&["backup", "restore", file, "--key", words][..], &here].concat());
    line("backup restore into a new node, s", &seconds(start.elapsed()));
    line("memory of that node, MiB", &mib(load::resident(&[restored.dir()])));
    drop(restored);
    let alone = load::run(Operator::of(daemon, 8).await, &[daemon.dir()], span, "alone").await;
    let stop = Arc::new(AtomicBool::new(false));
    let beside = std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                daemon.ask(&create);
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let clients = Operator::of(daemon, 8).await;
                let figures = load::run(clients, &[daemon.dir()], span, "beside").await;
                stop.store(true, Ordering::Relaxed);
                figures
            })
        })
    });
    line("writes of 1 KiB, 8 clients: p99, ms", &format!("{:.2}", alone.p99_ms));
    line("the same while backups are made, ms", &format!("{:.2}", beside.p99_ms));
    line("that is (aim: 3 x)", &format!("{:.1} x", beside.p99_ms / alone.p99_ms));
}

fn main() {
    if !common::asked() {
        return;
    }
    let data = Data { small: argument("--small", 100_000), large: argument("--large", 1_000) };
    let (rounds, part) = (argument("--churn", 10), argument("--swarm", 5));
    let span = Duration::from_secs(common::seconds(10));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, daemon) = secretd(data).await;
        let mut columns = vec![("secretd".to_owned(), Some(ours))];
        if !common::only_ours() {
            columns.push(("etcd".to_owned(), etcd(data).await));
            let less = Data { small: data.small / part, large: data.large / part };
            columns.push(("Docker Swarm".to_owned(), docker_swarm(less).await));
        }
        compare(data, part, &columns);
        println!("| {:<62} | {:>12} |", "secretd with all of it", "");
        println!("|{:-<64}|{:->15}", "", ":|");
        churn(&daemon, data, rounds).await;
        rewrap(&daemon, data);
        backup(&daemon, span).await;
    });
}
