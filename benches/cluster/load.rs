//! The same load for everybody: so many clients, each with a connection of its own and one write on its way.

#![expect(dead_code, reason = "each benchmark uses its own part")]

use futures::future::BoxFuture;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) const PAYLOAD: usize = 1024;

/// One client's connection.
pub(crate) trait Client: Send + 'static {
    /// Writes so many bytes under a name; returns when they are acknowledged.
    fn write(&mut self, name: String, bytes: usize) -> BoxFuture<'_, ()>;
}

pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU of all members for one write.
    pub(crate) cpu_us: f64,
}

impl Figures {
    pub(crate) fn print(&self, what: &str, clients: usize) {
        let Self { per_second, p50_ms, p99_ms, cpu_us } = self;
        println!(
            "| {what:<44} | {clients:>7} | {per_second:>8.0} | {p50_ms:>7.2} | {p99_ms:>7.2} | {cpu_us:>8.0} |"
        );
    }
}

/// Head of the table that [`Figures::print`] fills.
pub(crate) fn head() {
    println!(
        "| {:<44} | {:>7} | {:>8} | {:>7} | {:>7} | {:>8} |",
        "three members, fsync before the answer",
        "clients",
        "writes/s",
        "p50 ms",
        "p99 ms",
        "CPU us"
    );
    println!("|{:-<46}|{:->9}|{:->10}|{:->9}|{:->9}|{:->10}|", "", ":", ":", ":", ":", ":");
}

/// Lets the clients write for so long. `members`: a directory that all members have in their command lines.
pub(crate) async fn run<C: Client>(
    clients: Vec<C>,
    members: &[&Path],
    span: Duration,
    round: &str,
) -> Figures {
    let before = cpu(members);
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, mut client)| {
            let round = round.to_owned();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < span {
                    let name = format!("{round}-{number}-{}", times.len());
                    let one = Instant::now();
                    client.write(name, PAYLOAD).await;
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
    let (took, used) = (start.elapsed(), cpu(members).saturating_sub(before));
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
    let count = times.len() as f64;
    Figures {
        per_second: count / took.as_secs_f64(),
        p50_ms: at(50).as_secs_f64() * 1e3,
        p99_ms: at(99).as_secs_f64() * 1e3,
        cpu_us: used.as_secs_f64() * 1e6 / count,
    }
}

/// Lets the clients do something with each of so many numbers, which they share; returns how long it took.
pub(crate) async fn each<C: Send + 'static>(
    clients: &mut Vec<C>,
    count: usize,
    work: impl for<'a> Fn(&'a mut C, usize) -> BoxFuture<'a, ()> + Clone + Send + 'static,
) -> Duration {
    let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = std::mem::take(clients)
        .into_iter()
        .map(|mut client| {
            let (next, work) = (next.clone(), work.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return client;
                    }
                    work(&mut client, number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    start.elapsed()
}

/// User and system time so far of all processes that name one of the directories in their command lines.
pub(crate) fn cpu(members: &[&Path]) -> Duration {
    let ticks: u64 = processes(members)
        .into_iter()
        .filter_map(|process| {
            let stat = fs::read_to_string(process.join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            // utime and stime are the 14th and 15th of all, and what follows the name begins with the 3rd.
            Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
        })
        .sum();
    // The unit of /proc, on every Linux.
    Duration::from_millis(ticks * 10)
}

/// Memory that all these processes have resident, in bytes.
pub(crate) fn resident(members: &[&Path]) -> u64 {
    let of = |process: PathBuf| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    processes(members).into_iter().filter_map(of).sum::<u64>() << 10
}

/// The directories in `/proc` of all processes that name one of the directories in their command lines.
fn processes(members: &[&Path]) -> Vec<PathBuf> {
    let named = |process: &PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        members.iter().any(|dir| line.contains(dir.to_str().unwrap()))
    };
    let all = fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
    all.filter(named).collect()
}
