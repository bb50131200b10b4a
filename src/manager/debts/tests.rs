//! When debts are due, and a whole manager that pays two kinds of them at once.

use super::*;
use crate::{
    crypto::plaintext::Plaintext,
    kit::{clock::Clock, task::start},
    manager::{rekey::Rekey, testing::Manager},
    model::{Labels, object::Kind},
};
use std::{fs, os::unix::fs::MetadataExt as _};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn debts(terms: Option<u32>, removed: usize) -> Debts {
    let id = |n: usize| {
        let mut random = [0; 17];
        random[..8].copy_from_slice(&n.to_be_bytes());
        ObjectId::from_random(random)
    };
    Debts { terms, removed: (0..removed).map(id).collect() }
}

#[test]
fn removals_are_gathered_and_paced_and_dropped_terms_are_not() {
    let begin = Instant::now();
    let at = |n| begin + seconds(n);
    let mut pace = Pace::default();
    let due = |pace: &mut Pace, terms, removed, now| {
        pace.due(&debts(terms, removed), Cost { bytes: 0, place: 2 }, at(now))
    };
    assert_eq!(due(&mut pace, None, 0, 0), None);
    assert_eq!(due(&mut pace, Some(2), 0, 0), Some(at(0)));
    assert_eq!(due(&mut pace, None, 1, 100), Some(at(101)));
    assert_eq!(due(&mut pace, None, 2, 101), Some(at(101)), "counted from the first");
    assert_eq!(due(&mut pace, Some(2), 2, 101), Some(at(101)));
    pace.tried(false, at(102));
    assert_eq!(due(&mut pace, None, 0, 102), None);
    assert_eq!(due(&mut pace, None, 1, 103), Some(at(112)));
    assert_eq!(due(&mut pace, Some(3), 1, 104), Some(at(104)), "terms do not wait");
    assert_eq!(due(&mut pace, None, 1, 105), Some(at(112)));
    assert_eq!(due(&mut pace, None, CROWD, 106), Some(at(106)), "nor does a crowd");
    pace.tried(true, at(106));
    assert_eq!(due(&mut pace, Some(3), 1, 107), Some(at(111)), "but after a failure");
    assert_eq!(due(&mut pace, None, 1, 107), Some(at(116)));
}

#[test]
fn a_large_store_gathers_longer_and_its_managers_take_turns() {
    let begin = Instant::now();
    let at = |n| begin + seconds(n);
    let due = |pace: &mut Pace, terms, place, now| {
        pace.due(&debts(terms, 1), Cost { bytes: 1 << 30, place }, at(now)).unwrap() - begin
    };
    let mut pace = Pace::default();
    // 257 s to gather, 32 s for each manager that goes first.
    assert_eq!(due(&mut pace, None, 0, 0), seconds(257));
    assert_eq!(due(&mut pace, None, 2, 5), seconds(257 + 64));
    assert_eq!(due(&mut pace, Some(2), 1, 10), seconds(10 + 32), "terms wait for their turn alone");
    pace.tried(false, at(1000));
    assert_eq!(due(&mut pace, None, 0, 1000), seconds(1000 + 8192), "2 h 17 min");
    assert_eq!(due(&mut pace, Some(3), 0, 1001), seconds(1257));
    pace.tried(true, at(2000));
    assert_eq!(due(&mut pace, None, 0, 2000), seconds(2257), "a failure wrote little");
}

#[tokio::test]
async fn terms_and_what_was_removed_are_paid_for_at_once_with_log_and_state_file() {
    let manager = Manager::start().await;
    let (raft, client) = (&manager.raft, manager.operator().await);
    for name in ["kept", "gone"] {
        let payload = Plaintext::new(b"value".to_vec());
        client.create_object(Kind::Secret, name, Labels::new(), payload).await.unwrap();
    }
    let mut changes = raft.changes();
    let stop = Stop::new();
    let rekey = Rekey::new(raft.clone(), manager.keys(), Clock::system());
    let rekey = start("rekey", rekey.run(stop.clone()));
    client.rotate_keys(None, false).await.unwrap();
    while raft.state().cluster().unwrap().oldest_term() == 1 {
        changes.recv().await.unwrap();
    }
    client.remove_object(Kind::Secret, "gone").await.unwrap();
    let owed = Debts::of(&raft.state(), manager.node);
    assert_eq!((owed.terms, owed.removed.len()), (Some(2), 1));

    let before = raft.status().last_index;
    let state_file = || fs::metadata(manager.path().join("raft/state.redb")).unwrap().ino();
    let file = state_file();
    let paying = start("debts", run(raft.clone(), manager.node, stop.clone()));
    let nothing = Debts { terms: None, removed: Vec::new() };
    while Debts::of(&raft.state(), manager.node) != nothing {
        changes.recv().await.unwrap();
    }
    assert_eq!(raft.state().destroyed().count(), 0);
    assert_eq!(raft.status().first_index, before + 1, "cut once, and not behind a note");
    assert_ne!(state_file(), file);
    stop.cancel();
    rekey.wait().await;
    paying.wait().await;
    manager.stop().await;
}
