//! Managers come and go one at a time.

use super::{Store, node, node_id};
use crate::kit::clock::Timestamp;
use crate::model::{cluster::Token, command::Command, node::Role};

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
fn only_a_worker_that_is_out_of_the_group_is_removed() {
    let mut world = managers(3);
    let remove = || Command::RemoveNode { id: node_id(3), force: true };
    world.refused(remove());
    world.done(set(3, Role::Worker));
    world.refused(remove());
    retire(&mut world, 3);
    world.done(remove());
}
