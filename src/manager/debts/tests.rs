//! When debts are due, and a whole manager that pays two kinds of them at once.

use super::*;
use crate::{
    crypto::plaintext::Plaintext,
    kit::{clock::Clock, task::start},
    manager::{rekey::Rekey, testing::Manager},
    model::{Labels, object::Kind},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn removals_are_gathered_and_paced_and_dropped_terms_are_not() {
    let debts = |terms, removed: u8| Debts {
        terms,
        removed: (0..removed).map(|n| ObjectId::from_random([n; 17])).collect(),
    };
    let begin = Instant::now();
    let at = |n| begin + seconds(n);
    let mut pace = Pace::default();
    assert_eq!(pace.due(&debts(None, 0), at(0)), None);
    assert_eq!(pace.due(&debts(Some(2), 0), at(0)), Some(at(0)));
    assert_eq!(pace.due(&debts(None, 1), at(100)), Some(at(101)));
    assert_eq!(pace.due(&debts(None, 2), at(101)), Some(at(101)), "counted from the first");
    assert_eq!(pace.due(&debts(Some(2), 2), at(101)), Some(at(101)));
    pace.tried(false, at(102));
    assert_eq!(pace.due(&debts(None, 0), at(102)), None);
    assert_eq!(pace.due(&debts(None, 1), at(103)), Some(at(112)));
    assert_eq!(pace.due(&debts(Some(3), 1), at(104)), Some(at(104)), "terms do not wait");
    pace.tried(true, at(104));
    assert_eq!(pace.due(&debts(Some(3), 1), at(105)), Some(at(109)), "but after a failure");
    assert_eq!(pace.due(&debts(None, 1), at(105)), Some(at(114)));
}

#[tokio::test]
async fn one_shortening_pays_for_terms_and_for_what_was_removed() {
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
    client.rotate_keys(None).await.unwrap();
    while raft.state().cluster().unwrap().oldest_term() == 1 {
        changes.recv().await.unwrap();
    }
    client.remove_object(Kind::Secret, "gone").await.unwrap();
    let owed = Debts::of(&raft.state(), manager.node);
    assert_eq!((owed.terms, owed.removed.len()), (Some(2), 1));

    let before = raft.status().last_index;
    let paying = start("debts", run(raft.clone(), manager.node, stop.clone()));
    let nothing = Debts { terms: None, removed: Vec::new() };
    while Debts::of(&raft.state(), manager.node) != nothing {
        changes.recv().await.unwrap();
    }
    assert_eq!(raft.state().destroyed().count(), 0);
    assert_eq!(raft.status().first_index, before + 1, "cut once, and not behind a note");
    stop.cancel();
    rekey.wait().await;
    paying.wait().await;
    manager.stop().await;
}
