//! The same load for everybody: so many clients, each with a connection of its own and one write on its way.

use futures::future::BoxFuture;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

pub(crate) const PAYLOAD: usize = 1024;

/// One client's connection.
pub(crate) trait Client: Send + 'static {
    /// Writes [`PAYLOAD`] bytes under a new name; returns when they are acknowledged.
    fn write(&mut self, name: String) -> BoxFuture<'_, ()>;
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
                    client.write(name).await;
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

/// User and system time so far of all processes that name one of the directories in their command lines.
fn cpu(members: &[&Path]) -> Duration {
    let ticks: u64 = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|process| {
            let process = process.ok()?.path();
            let line = fs::read(process.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let ours = members.iter().any(|dir| line.contains(dir.to_str().unwrap()));
            let stat = ours.then(|| fs::read_to_string(process.join("stat")).ok()).flatten()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            // utime and stime are the 14th and 15th of all, and what follows the name begins with the 3rd.
            Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
        })
        .sum();
    // The unit of /proc, on every Linux.
    Duration::from_millis(ticks * 10)
}
