//! The store of one manager, killed at every named place of its log, its vote and its state file, and opened again.
//!
//! `SECRETD_CRASH_SEED` chooses how many times a place is passed before the end comes; `scripts/soak` tries many.

use super::{
    Alone, Leadership,
    handle::{Begin, Options, Raft, Sizes, StartError},
    log::LogSizes,
    testing::{create, sealed},
    types::Member,
};
use crate::{
    crypto::{
        key::{Key, Root, Storage},
        plaintext::Plaintext,
    },
    kit::{
        clock::Clock,
        failpoint,
        id::{ClusterId, NodeId},
    },
};
use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command as Process, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// Set for the process that is killed; names the directory.
const CHILD: &str = "SECRETD_TEST_FAILPOINT_CHILD";
/// What these stories reach.
const STORIES: [&str; 3] = ["log.", "vote.", "state."];
/// Passed once or twice in the life of a store: it is founded once, and its only manager leads from then on.
const RARE: [(&str, u64); 4] =
    [("vote.asked", 2), ("vote.saved", 2), ("state.made", 1), ("state.renamed", 1)];
/// A child that has opened its store so many times passes by the place it should have died at.
const ROUNDS: u64 = 12;
/// Secrets written in each round; enough that segments fill and go.
const ROUND: u64 = 32;
const BYTES: usize = 8000;
const SIGKILL: i32 = 9;

fn options(base: &Path) -> Options {
    let (cluster, node) = (ClusterId::from_random([1; 17]), NodeId::from_random([2; 17]));
    let root = Key::<Root>::import(&Plaintext::new(vec![7; 32])).unwrap();
    let file = base.join("key");
    if !file.exists() {
        std::fs::write(&file, Key::<Storage>::random().wrapped(&root, cluster, node)).unwrap();
    }
    let key = Key::<Storage>::open(&root, cluster, node, &std::fs::read(&file).unwrap()).unwrap();
    let (dir, clock) = (base.join("raft"), Clock::system());
    let key = Arc::new(key.into());
    Options { dir, cluster, node, raft_id: 1, key, clock, witness: None, fellows: None }
}

async fn start(base: &Path, begin: Begin) -> Result<Raft, StartError> {
    let sizes = Sizes {
        log: LogSizes { segment: 64 << 10, first_segment: 32 << 10, ..LogSizes::default() },
        kept: 100 << 10,
    };
    Raft::start(options(base), sizes, begin, Arc::new(Alone)).await
}

/// Opens the store, or founds it if it was never founded.
async fn take_up(base: &Path) -> Raft {
    let member = Member { node: options(base).node, addr: String::new() };
    let raft = match start(base, Begin::Open).await {
        // A founding that was cut off goes on where it was.
        Ok(raft) if raft.status().members.is_empty() => {
            raft.shutdown().await;
            start(base, Begin::Found(member)).await
        }
        Err(StartError::Empty(_)) => start(base, Begin::Found(member)).await,
        opened => opened,
    };
    let raft = raft.unwrap();
    raft.leadership().wait_for(Leadership::is_leading).await.unwrap();
    raft
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_and_opens_again_until_it_is_killed() {
    let Ok(base) = std::env::var(CHILD) else { return };
    for _ in 0..ROUNDS {
        let raft = take_up(Path::new(&base)).await;
        let first = raft.state().objects().count() as u64;
        let writer = |lane: u64| {
            let raft = raft.clone();
            async move {
                for number in (first + lane..first + ROUND).step_by(4) {
                    raft.propose(None, create(number, BYTES).1).await.unwrap();
                    println!("acked {number}");
                }
            }
        };
        futures::future::join_all((0..4).map(writer)).await;
        raft.shutdown().await;
    }
}

/// Lets a process die at the place; returns what it acknowledged before.
fn die_at(base: &Path, place: &str, times: u64) -> BTreeSet<u64> {
    let child = module_path!().split_once("::").unwrap().1;
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!("{child}::child_that_writes_and_opens_again_until_it_is_killed"))
        .env(CHILD, base)
        .env("SECRETD_FAILPOINT", format!("{place}:{times}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.signal(),
        Some(SIGKILL),
        "{place}:{times} was never reached\n{said}\n{err}"
    );
    said.lines().filter_map(|line| line.split("acked ").nth(1)?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_place_the_store_opens_with_everything_acknowledged() {
    let seed: u64 = std::env::var("SECRETD_CRASH_SEED").map_or(1, |seed| seed.parse().unwrap());
    let places = failpoint::ALL.iter().filter(|p| STORIES.iter().any(|story| p.starts_with(story)));
    let mut died = 0;
    for (at, place) in (0..).zip(places) {
        let rare = RARE.iter().find(|(rare, _)| rare == place).map(|(_, most)| *most);
        let times = [1, rare.unwrap_or(2 + (seed * 7 + at * 5) % 4)];
        for times in BTreeSet::from(times) {
            let base = TempDir::new().unwrap();
            let acked = die_at(base.path(), place, times);
            let raft = take_up(base.path()).await;
            for number in &acked {
                let (version, _) = create(*number, BYTES);
                assert!(raft.state().object_by_id(version.object).is_some(), "{place}: {number}");
            }
            // Whether it was acknowledged or not, what is there is whole.
            for object in raft.state().objects() {
                let number = object.name.as_str().strip_prefix("secret-").unwrap().parse().unwrap();
                let body = raft.body(create(number, BYTES).0).await.unwrap();
                assert_eq!(body, sealed(number, BYTES), "{place}: {number}");
            }
            raft.propose(None, create(999_999, BYTES).1).await.unwrap();
            raft.shutdown().await;
            died += 1;
        }
    }
    assert!(died > 25, "only {died}");
}
