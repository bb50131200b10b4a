//! Managers come and go one at a time.

use super::{Store, node, node_id, object_id, secret};
use crate::kit::{clock::Timestamp, id::NodeId, limits::FORMER_MANAGERS};
use crate::model::{
    Labels,
    cluster::{Cluster, Departure, FormerManager, Token},
    command::Command,
    node::{
        Availability, ManagerStatus, Node, NodeDescription, NodeState, NodeStatus, Role, Standing,
    },
    object::Kind,
};
use std::time::Duration;

/// A founded cluster of this many managers that are members of the Raft group.
fn managers(count: u8) -> Store {
    let mut world = Store::founded();
    let token = Token {
        hash: [1; 32],
        role: Role::Manager,
        created_at: Timestamp(0),
        expires_at: None,
        uses_left: None,
    };
    world.done(Command::AddToken { token, revoke: false });
    for n in 1..=count {
        if n > 1 {
            world.done(Command::JoinNode { token: [1; 32], node: Box::new(node(n)) });
        }
        world.done(Command::AdmitManager { id: node_id(n), addr: format!("10.0.0.{n}:2390") });
    }
    world
}

fn set(n: u8, role: Role) -> Command {
    Command::SetRole { id: node_id(n), index: None, role }
}

fn retire(world: &mut Store, n: u8) {
    let raft_id = raft_id(world, n);
    world.done(Command::RetireManager { id: node_id(n), raft_id });
}

fn raft_id(world: &Store, n: u8) -> u64 {
    world.state.node_by_id(node_id(n)).unwrap().manager.as_ref().unwrap().raft_id
}

#[test]
fn of_two_demotions_at_once_the_second_waits_until_the_first_is_out() {
    let mut world = managers(5);
    world.done(set(2, Role::Worker));
    let refused = world.refused(set(3, Role::Worker));
    assert!(refused.contains(&node_id(2).to_string()), "{refused}");
    // Saying it twice is no second demotion.
    world.done(set(2, Role::Worker));
    retire(&mut world, 2);
    world.done(set(3, Role::Worker));
    // Taken back, it holds up nobody.
    world.done(set(3, Role::Manager));
    world.done(set(4, Role::Worker));
}

#[test]
fn a_promoted_node_that_has_not_come_yet_is_no_manager_to_rely_on_and_may_be_sent_back() {
    let mut world = managers(2);
    world.done(set(2, Role::Worker));
    retire(&mut world, 2);
    world.done(set(2, Role::Manager));
    let refused = world.refused(set(1, Role::Worker));
    assert!(refused.contains("last manager"), "{refused}");
    world.done(set(2, Role::Worker));
}

#[test]
fn an_address_belongs_to_whoever_was_there_and_not_to_one_that_was_admitted_and_never_came() {
    let mut world = managers(3);
    let admit = |n: u8, addr: u8| Command::AdmitManager {
        id: node_id(n),
        addr: format!("10.0.0.{addr}:2390"),
    };
    // It ran once, so it may come back.
    let status = NodeStatus { dispatcher: Some(node_id(1)), ..node(2).status };
    world.done(Command::ReportNode { id: node_id(2), description: None, status, held_by: None });
    let refused = world.refused(admit(3, 2));
    assert!(refused.contains(&node_id(2).to_string()), "{refused}");

    // A machine that died on its way in joins again, as another node at the same address.
    world.done(Command::JoinNode { token: [1; 32], node: Box::new(node(4)) });
    world.done(admit(4, 3));
    let role = |world: &Store, n: u8| world.state.node_by_id(node_id(n)).unwrap().role;
    assert_eq!((role(&world, 3), role(&world, 4)), (Role::Worker, Role::Manager));
    // It comes back only under another address.
    let promote = || set(3, Role::Manager);
    let refused = world.refused(promote());
    assert!(refused.contains(&node_id(4).to_string()), "{refused}");
    // It was given the root key, so it leaves as any other manager does.
    assert_eq!(world.state.leaving_manager(node_id(1)).map(|node| node.id), Some(node_id(3)));
    retire(&mut world, 3);
    assert!(world.state.cluster().unwrap().rekeying.due);
    world.done(promote());
}

#[test]
fn a_manager_that_moved_keeps_its_raft_id_and_a_worker_has_no_address() {
    let mut world = managers(2);
    let moves = |n: u8| Command::MoveManager { id: node_id(n), addr: "10.0.9.9:2390".into() };
    let before = world.state.node_by_id(node_id(2)).unwrap().manager.clone().unwrap();
    world.done(moves(2));
    let after = world.state.node_by_id(node_id(2)).unwrap().manager.clone().unwrap();
    assert_eq!((after.raft_id, after.addr.as_str()), (before.raft_id, "10.0.9.9:2390"));
    world.done(set(2, Role::Worker));
    world.refused(moves(2));
}

#[test]
fn only_a_worker_that_is_out_of_the_group_is_removed() {
    let mut world = managers(3);
    let remove = || Command::RemoveNode { id: node_id(3), force: true };
    world.refused(remove());
    world.done(set(3, Role::Worker));
    world.refused(remove());
    retire(&mut world, 3);
    world.done(remove());
}

#[test]
fn what_was_removed_is_remembered_until_every_manager_has_dropped_it() {
    let mut store = managers(3);
    store.done(secret(1, "db"));
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    let drops = |n: u8| Command::NoteDestroyed { node: node_id(n), objects: vec![object_id(1)] };
    let waits = |store: &Store| {
        let one = store.state.destroyed_by_id(object_id(1))?;
        Some(store.state.nodes().filter(|node| one.waits_for(node)).count())
    };
    assert_eq!(waits(&store), Some(3));
    // Its name is free at once.
    store.done(secret(2, "db"));
    store.done(drops(1));
    store.done(drops(1));
    assert_eq!(waits(&store), Some(2), "one manager counts once");
    store.done(drops(2));
    assert_eq!(waits(&store), Some(1));
    // The last one is a manager no more.
    retire(&mut store, 3);
    assert_eq!(waits(&store), None);
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(2) });
    store.done(Command::NoteDestroyed { node: node_id(1), objects: vec![object_id(2)] });
    store.done(Command::NoteDestroyed {
        node: node_id(2),
        objects: vec![object_id(1), object_id(2)],
    });
    assert_eq!(store.state.destroyed().count(), 0);
}

#[test]
fn who_has_left_is_a_member_no_longer_and_leaves_no_row_once_it_has_wiped() {
    let mut store = managers(3);
    let leave = |n: u8, wiped: bool| Command::LeaveNode { id: node_id(n), wiped };
    let standing = |store: &Store, n: u8| store.state.node_by_id(node_id(n)).map(|it| it.standing);
    store.refused(leave(2, false));
    store.done(set(2, Role::Worker));
    store.refused(leave(2, true));
    store.done(leave(2, false));
    assert!(store.state.member(node_id(2)).is_none());
    // What others say of it brings it not back, and nothing makes it a manager.
    let ready = node(2).status;
    store.done(Command::ReportNode {
        id: node_id(2),
        description: None,
        status: ready,
        held_by: None,
    });
    store.refused(set(2, Role::Manager));
    let row = store.state.node_by_id(node_id(2)).unwrap();
    assert_eq!((row.status.state, row.has_left()), (NodeState::Down, true));
    // A manager waits for its end in the Raft group, whichever comes first.
    store.done(leave(2, true));
    assert!(matches!(standing(&store, 2), Some(Standing::Left { wiped: true, .. })));
    retire(&mut store, 2);
    assert_eq!(standing(&store, 2), None);
    assert!(store.state.cluster().unwrap().rekeying.due);
    store.done(set(3, Role::Worker));
    store.done(leave(3, false));
    retire(&mut store, 3);
    assert!(matches!(standing(&store, 3), Some(Standing::Left { wiped: false, .. })));
    // Said twice, because the first answer was lost.
    store.done(leave(3, true));
    store.done(leave(3, true));
    assert_eq!(standing(&store, 3), None);
}

#[test]
fn only_an_operator_renames_a_node() {
    let mut store = Store::founded();
    let row = |store: &Store| store.state.node_by_id(node_id(1)).unwrap().clone();
    let says = |name: &str| Command::ReportNode {
        id: node_id(1),
        description: Some(Box::new(NodeDescription {
            hostname: name.into(),
            ..Default::default()
        })),
        status: node(1).status,
        held_by: None,
    };
    let name = |name: &str| Command::SetNode {
        id: node_id(1),
        index: None,
        availability: Availability::Active,
        labels: Labels::new(),
        hostname: Some(name.into()),
    };
    let names = |store: &Store| {
        let node = row(store);
        (node.description.hostname.clone(), node.renamed.clone())
    };
    store.done(says("db"));
    assert_eq!(names(&store), ("n1".into(), Some("db".into())));
    store.done(name("other"));
    assert_eq!(names(&store), ("other".into(), Some("db".into())));
    store.done(name("db"));
    assert_eq!(names(&store), ("db".into(), None));
    store.done(says("db"));
    assert_eq!(names(&store), ("db".into(), None));
}

/// Of node and Raft id, oldest first.
fn former(world: &Store) -> Vec<(NodeId, u64, Departure)> {
    let former = &world.state.cluster().unwrap().former_managers;
    former.iter().map(|one| (one.node, one.raft_id, one.departure)).collect()
}

#[test]
fn every_raft_id_that_is_out_of_use_names_a_former_manager() {
    let mut world = managers(3);
    assert!(former(&world).is_empty());
    let second = raft_id(&world, 2);
    // The group still has it, so it is heard.
    world.done(set(2, Role::Worker));
    assert!(former(&world).is_empty());
    retire(&mut world, 2);
    assert_eq!(former(&world), [(node_id(2), second, Departure::Demoted)]);
    world.done(Command::RemoveNode { id: node_id(2), force: true });
    assert_eq!(former(&world), [(node_id(2), second, Departure::Removed)]);

    // Who is admitted once more has lost the store that voted under the id before.
    let third = raft_id(&world, 3);
    world.done(Command::AdmitManager { id: node_id(3), addr: "10.0.0.3:2390".into() });
    assert_eq!(former(&world)[1..], [(node_id(3), third, Departure::Replaced)]);

    // Whoever is left behind by a recovery is one too, and the ids go on.
    let (first, third) = (raft_id(&world, 1), raft_id(&world, 3));
    let next = world.state.cluster().unwrap().next_raft_id;
    let left = Node::clone(world.state.node_by_id(node_id(1)).unwrap());
    world.done(Command::Reestablish { node: Box::new(left) });
    assert_eq!(former(&world)[2..], [(node_id(3), third, Departure::Abandoned)]);
    assert_eq!(raft_id(&world, 1), first);
    assert_eq!(world.state.cluster().unwrap().next_raft_id, next);
    // Restored elsewhere under an id of its own, it leaves everybody behind.
    let mut restored = node(9);
    let addr = "10.0.0.9:2390".to_owned();
    restored.role = Role::Manager;
    restored.manager = Some(ManagerStatus::new(next, addr));
    world.done(Command::Reestablish { node: Box::new(restored) });
    assert_eq!(former(&world)[3..], [(node_id(1), first, Departure::Abandoned)]);
    assert_eq!(world.state.cluster().unwrap().next_raft_id, next + 1);
}

#[test]
fn former_managers_are_named_for_longer_than_a_certificate_lives_and_in_bounds() {
    let mut cluster = Cluster::clone(managers(1).state.cluster().unwrap());
    let life = cluster.settings.certificate_life;
    let note = |cluster: &mut Cluster, raft_id: u64, at: Timestamp| {
        let (node, departure) = (node_id(2), Departure::Demoted);
        cluster.note_former(FormerManager { node, raft_id, at, departure });
    };
    let start = Timestamp(1_790_000_000_000);
    let late = start.plus(life + Duration::from_secs(48 * 3600));
    note(&mut cluster, 2, start);
    note(&mut cluster, 3, start.plus(life));
    assert!(cluster.former_manager(2).is_some(), "a clock may be behind");
    note(&mut cluster, 4, late);
    assert!(cluster.former_manager(2).is_none());
    for raft_id in 5..1000 {
        note(&mut cluster, raft_id, late);
    }
    assert_eq!(cluster.former_managers.len(), FORMER_MANAGERS);
    assert!(cluster.former_manager(999).is_some());
}
