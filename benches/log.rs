//! Durable proposals through Raft on one node, with 1 and 64 callers, beside bare `fdatasync` appends on the same disk.
//!
//! `cargo bench --bench log [DIR]`; DIR is where the files go, by default the target directory.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops when anything fails"
)]

use secretd::{
    crypto::{key::Key, seal::Sealed},
    kit::{
        clock::Clock,
        id::{ClusterId, NodeId, ObjectId},
    },
    model::{Labels, command::Command, object::Kind},
    raft::{Alone, Member, Options, Raft},
};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const SPAN: Duration = Duration::from_secs(3);
/// A sealed secret of 256 bytes.
const BODY: usize = 340;

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let dir = dir.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned() + "/target");
    let dir = tempfile::TempDir::new_in(dir).unwrap();
    println!("{:<44} {:>9} {:>9} {:>9}", "", "per s", "p50 µs", "p99 µs");
    print("fdatasync of 4 KiB appended, growing file", bare(dir.path(), false));
    print("fdatasync of 4 KiB, file zero-filled before", bare(dir.path(), true));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for callers in [1, 64] {
        let times = runtime.block_on(proposals(&dir.path().join(callers.to_string()), callers));
        print(&format!("proposals through Raft, {callers} callers"), times);
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_micros();
    let rate = times.len() as f64 / SPAN.as_secs_f64();
    println!("{what:<44} {rate:>9.0} {:>9} {:>9}", at(50), at(99));
}

fn bare(dir: &Path, filled: bool) -> Vec<Duration> {
    let file = File::create(dir.join(format!("bare-{filled}"))).unwrap();
    if filled {
        for at in 0..256 {
            file.write_all_at(&vec![0; 1 << 20], at << 20).unwrap();
        }
        file.sync_all().unwrap();
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < SPAN {
        let one = Instant::now();
        file.write_all_at(&[7; 4096], times.len() as u64 * 4096).unwrap();
        file.sync_data().unwrap();
        times.push(one.elapsed());
    }
    times
}

async fn proposals(dir: &Path, callers: usize) -> Vec<Duration> {
    let node = NodeId::random();
    let options = Options {
        dir: dir.to_owned(),
        cluster: ClusterId::random(),
        node,
        raft_id: 1,
        key: Arc::new(Key::random().into()),
        clock: Clock::system(),
        witness: None,
        fellows: None,
    };
    let member = Member { node, addr: "127.0.0.1:2390".into() };
    let raft = Raft::found(options, member, Arc::new(Alone)).await.unwrap();
    let start = Instant::now();
    let callers = (0..callers).map(|caller| {
        let raft = raft.clone();
        secretd::kit::task::start("caller", async move {
            let mut times = Vec::new();
            while start.elapsed() < SPAN {
                let one = Instant::now();
                raft.propose(None, create(caller, times.len())).await.unwrap();
                times.push(one.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        times.extend(caller.wait().await);
    }
    raft.shutdown().await;
    times
}

fn create(caller: usize, number: usize) -> Command {
    Command::CreateObject {
        kind: Kind::Secret,
        id: ObjectId::random(),
        name: format!("secret-{caller}-{number}").parse().unwrap(),
        labels: Labels::new(),
        size: 256,
        sealed: Sealed { term: 1, wrapped_key: vec![9; 113], body: vec![7; BODY] },
    }
}
