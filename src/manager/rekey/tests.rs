//! A whole manager whose terms are rotated: everything moves, opens, and what was before leaves the disk.

use super::*;
use crate::{
    client::Client,
    crypto::{keyring::WrappedTerm, plaintext::Plaintext},
    kit::task::{Running, start},
    manager::{debts, orchestrator::world, payloads, testing::Manager},
    model::{
        Labels,
        cluster::{Rekeying, Rewrapping},
        object::Kind,
    },
};

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// A state with these terms, the newest made `age` ago.
fn with(terms: &[u32], age: Duration, change: impl FnOnce(&mut Cluster)) -> State {
    let state = world::state(1);
    let mut cluster = Cluster::clone(state.cluster().unwrap());
    let created_at = Timestamp(NOW.0 - i64::try_from(age.as_millis()).unwrap());
    let term = |term: &u32| WrappedTerm { term: *term, created_at, wrapped: Vec::new() };
    cluster.keyring = terms.iter().map(term).collect();
    cluster.ca_key.term = *terms.last().unwrap();
    change(&mut cluster);
    State::from_entities([Entity::Cluster(Arc::new(cluster))])
}

#[test]
fn terms_are_renewed_by_age_or_when_one_is_due_and_old_ones_emptied_first() {
    let days = |n: u32| HOUR * 24 * n;
    let same = |_: &mut Cluster| {};
    let soon = Step::Wait(Duration::from_secs(1));
    let cases = [
        (with(&[1], days(89), same), Step::Wait(LONGEST)),
        (with(&[1], days(90) - Duration::from_secs(1), same), soon),
        (with(&[1], days(90), same), Step::Add),
        (with(&[7], days(900), |c| c.settings.key_max_age = None), Step::Wait(LONGEST)),
        (with(&[1], days(0), |c| c.rekeying.due = true), Step::Add),
        (with(&[3, 4], days(900), |c| c.rekeying.due = true), Step::Drop { before: 4 }),
        (with(&[3, 4], days(0), |c| c.ca_key.term = 3), Step::Rewrap),
        (State::default(), Step::Wait(LONGEST)),
        (world::state(1), Step::Wait(LONGEST)),
    ];
    for (n, (state, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(next_step(&state, NOW), wanted, "case {n}");
    }
}

fn rekey(manager: &Manager) -> (Stop, Running<()>) {
    let stop = Stop::new();
    let rekey = Rekey::new(manager.raft.clone(), manager.keys(), Clock::system());
    (stop.clone(), start("rekey", rekey.run(stop)))
}

async fn until(manager: &Manager, what: impl Fn(&State) -> bool) {
    let mut changes = manager.raft.changes();
    while !what(&manager.raft.state()) {
        if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
            panic!("the store has stopped");
        }
    }
}

async fn fill(client: &Client, from: u32, to: u32) {
    for n in from..to {
        let payload = Plaintext::new(format!("payload {n}").into_bytes());
        client.create_object(Kind::Secret, &format!("s{n}"), Labels::new(), payload).await.unwrap();
    }
}

fn under_old(state: &State) -> usize {
    state.versions_before(state.cluster().unwrap().active_term()).count()
}

/// Everything opens and is what it was.
async fn check(manager: &Manager) -> usize {
    let linear = manager.raft.linear().await.unwrap();
    let state = linear.state();
    for object in state.objects() {
        let at = ObjectVersion { object: object.id, version: object.latest().number };
        let keys = manager.keys();
        let (sealed, keyring) = payloads::fetch(&manager.raft, &keys, at).await.unwrap();
        let wanted = format!("payload {}", &object.name.as_str()[1..]);
        let wanted = Plaintext::new(wanted.into_bytes());
        assert!(linear.compare(&at).unwrap().is_same(&keyring, &sealed, &wanted).unwrap());
    }
    state.objects().count()
}

#[tokio::test]
async fn a_rotation_goes_on_where_the_last_leader_stopped_and_ends_with_nothing_left() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    fill(&client, 0, 40).await;
    let begun = client.rotate_keys(Some(10), false).await.unwrap();
    let running =
        Some(crate::wire::v1::Rewrapping { total: 41, rate: Some(10), ..begun.running.unwrap() });
    assert_eq!(running, client.keys().await.unwrap().running);
    fill(&client, 40, 45).await;
    let seals_new = |n: u32| {
        let state = manager.raft.state();
        state.object_by_name(Kind::Secret, &format!("s{n}")).unwrap().latest().term
    };
    assert_eq!(
        (seals_new(39), seals_new(40)),
        (1, 2),
        "new payloads lie under the new term at once"
    );

    let (stop, running) = rekey(&manager);
    until(&manager, |state| under_old(state) <= 30).await;
    stop.cancel();
    running.wait().await;
    let left = under_old(&manager.raft.state());
    assert!(left > 0, "cut off in the middle");
    assert_eq!(check(&manager).await, 45);
    client.remove_object(Kind::Secret, "s39").await.unwrap();

    // Asked for once more, and without a limit that matters.
    client.rotate_keys(Some(100_000), false).await.unwrap();
    let (stop, running) = rekey(&manager);
    until(&manager, |state| state.cluster().unwrap().keyring.len() == 1).await;
    assert_eq!(check(&manager).await, 44);
    let state = manager.raft.state();
    let cluster = state.cluster().unwrap();
    assert_eq!((cluster.active_term(), cluster.ca_key.term), (3, 3));
    assert_eq!(cluster.rekeying, Rekeying { due: false, running: None::<Rewrapping> });
    stop.cancel();
    running.wait().await;
    manager.stop().await;
}

#[tokio::test]
async fn what_was_before_leaves_the_log_and_the_manager_says_so() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    fill(&client, 0, 5).await;
    let first = first_segment(&manager);
    let (stop, running) = rekey(&manager);
    let paying = start("debts", debts::run(manager.raft.clone(), manager.node, stop.clone()));
    client.rotate_keys(None, false).await.unwrap();
    let noted = |state: &State| {
        let node = state.node_by_id(manager.node).unwrap();
        node.manager.as_ref().unwrap().oldest_term
    };
    until(&manager, |state| noted(state) == 2).await;
    assert!(manager.raft.status().first_index > 6, "{:?}", manager.raft.status());
    assert!(!first.exists(), "the segment that held them is gone");
    assert_eq!(check(&manager).await, 5);
    stop.cancel();
    running.wait().await;
    paying.wait().await;
    manager.stop().await;
}

fn first_segment(manager: &Manager) -> std::path::PathBuf {
    let path = manager.path().join("raft/log/0000000000000001.log");
    assert!(path.exists());
    path
}
