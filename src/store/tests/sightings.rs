//! Which certificates of a node count, and when two machines with one identity show.

use super::{Store, node, node_id};
use crate::{
    kit::clock::Timestamp,
    model::{
        command::Command,
        node::{CertificateStatus, Node, NodeDescription, NodeState, NodeStatus, Role},
        sightings::{KeyHash, KeyRank, Rival, ShownKey},
    },
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn shown(key: u8) -> ShownKey {
    ShownKey { key: KeyHash([key; 32]), expires_at: Timestamp(i64::from(key) * 1_000_000) }
}

fn given(key: u8) -> CertificateStatus {
    CertificateStatus::new([0; 32], Role::Worker, &shown(key))
}

/// The node asks with key `by` for a certificate of `key`; unset: a manager signs it for itself.
fn renew(by: Option<u8>, key: u8) -> Command {
    let shown = by.map(shown);
    Command::NoteCertificate { id: node_id(1), certificate: given(key), shown }
}

fn open(key: u8, process: u64, addr: &str) -> Command {
    let status = NodeStatus { addr: addr.into(), ..node(1).status };
    let description = NodeDescription::default();
    Command::OpenSession { id: node_id(1), description, status, shown: shown(key), process }
}

fn goes(world: &mut Store) {
    let status = NodeStatus { state: NodeState::Down, ..node(1).status };
    world.done(Command::ReportNode { id: node_id(1), description: None, status, held_by: None });
}

fn row(world: &Store) -> Node {
    Node::clone(world.state.node_by_id(node_id(1)).unwrap())
}

fn rank(world: &Store, key: u8) -> KeyRank {
    row(world).certificate.unwrap().rank(&shown(key))
}

fn rival(world: &Store) -> Option<Rival> {
    row(world).sightings.rival(world.at).cloned()
}

/// A node with a certificate of key 1.
fn world() -> Store {
    let mut world = Store::founded();
    world.done(renew(None, 1));
    world
}

#[test]
fn the_certificate_that_was_shown_stays_beside_the_new_one_however_many_answers_are_lost() {
    let mut world = world();
    world.done(open(1, 7, ""));
    for lost in [2, 3, 4] {
        world.done(renew(Some(1), lost));
        // The same request once more, by another manager.
        world.done(renew(Some(1), lost));
        assert_eq!(rank(&world, 1), KeyRank::Former);
        assert_eq!(rank(&world, lost), KeyRank::Present);
        assert_eq!(
            rank(&world, lost - 1),
            if lost == 2 { KeyRank::Former } else { KeyRank::Stale }
        );
    }
    world.done(renew(Some(4), 5));
    assert_eq!((rank(&world, 4), rank(&world, 5)), (KeyRank::Former, KeyRank::Present));
    for old in [1, 2, 3, 9] {
        assert_eq!(rank(&world, old), KeyRank::Stale);
        assert!(world.refused(renew(Some(old), 6)).contains("was replaced"));
        assert!(world.refused(open(old, 7, "")).contains("was replaced"));
    }
    assert!(rival(&world).is_none(), "refusals by themselves say nothing");
}

#[test]
fn a_manager_that_signs_for_itself_is_believed_and_asks_for_others_afterwards() {
    let mut world = world();
    world.done(renew(None, 2));
    world.done(renew(None, 2));
    assert_eq!((rank(&world, 1), rank(&world, 2)), (KeyRank::Former, KeyRank::Present));
    // Demoted, it asks with what it has.
    world.done(renew(Some(2), 3));
    world.done(renew(Some(3), 4));
    assert_eq!(rank(&world, 2), KeyRank::Stale);
}

#[test]
fn whoever_goes_back_to_an_older_key_while_the_newer_one_is_here_is_a_copy() {
    let mut world = world();
    world.done(open(1, 7, ""));
    world.done(renew(Some(1), 2));
    // The answer may have been lost, so far.
    world.done(open(1, 7, ""));
    world.done(open(2, 7, ""));
    assert!(world.refused(open(1, 8, "")).contains("was replaced"));
    assert!(world.refused(renew(Some(1), 3)).contains("was replaced"));
    // Nobody else is there: its disk was brought back from a copy.
    goes(&mut world);
    world.done(open(1, 8, ""));
    world.done(renew(Some(1), 3));
    assert_eq!(rank(&world, 2), KeyRank::Stale);
}

#[test]
fn two_machines_that_take_the_session_from_each_other_are_noticed_and_slowed() {
    let mut world = world();
    // A machine that restarts again and again, and moves.
    for process in 1..20 {
        world.done(open(1, process, &format!("10.0.0.{process}")));
        world.done(open(1, process, "10.0.0.1"));
    }
    assert!(rival(&world).is_none());
    for _ in 0..3 {
        world.done(open(1, 20, "10.0.0.1"));
        // The last time it has to wait.
        drop(world.apply(open(1, 21, "10.0.0.2")));
    }
    let mut addrs = rival(&world).unwrap().addrs;
    addrs.sort_unstable();
    assert_eq!(addrs, ["10.0.0.1", "10.0.0.2"]);
    // Whoever is there stays, and each turn is longer than the last.
    let mut turns = Vec::new();
    for n in 0..8 {
        let (process, there, since) = (21 - n % 2, 20 + n % 2, world.at);
        while world.apply(open(1, process, "10.0.0.1")).is_err() {
            world.at = world.at.plus(Duration::from_secs(1));
            assert!(world.at.since(since) < HOUR);
            world.done(open(1, there, "10.0.0.2"));
        }
        turns.push(world.at.since(since).as_secs());
    }
    assert!(turns.is_sorted() && turns[0] >= 10 && turns[7] == 300, "{turns:?}");
    // One that ends makes room at once.
    goes(&mut world);
    world.done(open(1, 21, "10.0.0.1"));
    // An hour without a sign, and it is over.
    world.at = world.at.plus(HOUR);
    assert!(rival(&world).is_none());
    world.done(open(1, 21, "10.0.0.2"));
    world.done(open(1, 20, "10.0.0.1"));
    assert!(rival(&world).is_none(), "two signs are too few");
}

#[test]
fn an_old_key_that_was_shown_is_enough_to_name_the_node() {
    let mut world = world();
    world.done(Command::NoteCopy { id: node_id(1), addr: "10.0.0.9".into() });
    assert_eq!(rival(&world).unwrap().addrs, ["10.0.0.1", "10.0.0.9"]);
}

#[test]
fn after_the_state_was_brought_back_newer_certificates_count_and_older_ones_do_not() {
    let mut world = world();
    world.done(renew(Some(1), 5));
    world.done(open(5, 7, ""));
    let manager = Node {
        role: Role::Manager,
        manager: Some(crate::model::node::ManagerStatus::new(9, "10.0.0.2:2390".into())),
        ..node(2)
    };
    world.done(Command::Reestablish { node: Box::new(manager) });
    for (key, is) in
        [(1, KeyRank::Former), (3, KeyRank::Stale), (5, KeyRank::Present), (8, KeyRank::Newer)]
    {
        assert_eq!(rank(&world, key), is, "{key}");
    }
    goes(&mut world);
    world.done(open(8, 7, ""));
    assert_eq!((rank(&world, 8), rank(&world, 9)), (KeyRank::Present, KeyRank::Stale));
}

#[test]
fn the_time_to_come_back_has_bounds() {
    let mut world = world();
    let set = |age| Command::SetComeBack { age };
    for bad in [Duration::ZERO, HOUR / 2, HOUR * 24 * 3651, Duration::MAX] {
        let refused = world.refused(set(bad));
        assert!(refused.contains("cannot be let back"), "{refused}");
    }
    world.done(set(HOUR));
    assert_eq!(world.state.cluster().unwrap().settings.come_back, HOUR);
}
