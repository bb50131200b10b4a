//! Who may have which payloads, from the assignment until the node confirms that they are gone.

use super::*;
use crate::store::{Entity, Holder};

/// Task 1 of service 1, which is given secret 1, runs on node 1.
fn running() -> Store {
    let mut store = Store::founded();
    store.done(secret(1, "db"));
    store.done(service(1, spec("web", vec![refer(Kind::Secret, 1, "db")])));
    store.place(1, 1);
    store.report(1, TaskState::Running);
    store
}

fn wiped(n: u8, node: u8) -> TaskChange {
    TaskChange::Wiped { id: task_id(n), node: node_id(node) }
}

/// What node 1 may have, and whether a task needs it.
fn held(store: &Store) -> Vec<(String, bool)> {
    let on_node = store.state.held_on(node_id(1));
    let of_object: Vec<Holder> = store.state.holders_of(object_id(1));
    assert_eq!(on_node, of_object, "there is but one node and one object");
    on_node.iter().map(|held| (held.payload.name.to_string(), held.in_use)).collect()
}

fn one(in_use: bool) -> Vec<(String, bool)> {
    vec![("db".to_owned(), in_use)]
}

fn remove_service(store: &mut Store) {
    store.done(Command::RemoveService { id: service_id(1) });
}

fn delete(store: &mut Store, n: u8) {
    store.change(TaskChange::Delete { id: task_id(n) });
}

#[test]
fn a_node_may_have_what_it_was_given_from_the_assignment_until_it_confirms() {
    let mut store = Store::founded();
    store.done(secret(1, "db"));
    store.done(service(1, spec("web", vec![refer(Kind::Secret, 1, "db")])));
    store.change(TaskChange::Create(Box::new(task(1, 1, 1))));
    assert_eq!(held(&store), []);
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(held(&store), one(true));
    store.report(1, TaskState::Running);
    store.report(1, TaskState::Failed);
    assert_eq!(held(&store), one(false));
    store.change(wiped(1, 1));
    assert_eq!(held(&store), []);
    delete(&mut store, 1);
    assert_eq!(held(&store), []);
}

#[test]
fn a_live_task_is_not_believed_to_be_wiped_and_no_other_node_vouches_for_it() {
    let mut store = running();
    store.change(wiped(1, 1));
    assert_eq!(held(&store), one(true));
    store.report(1, TaskState::Failed);
    store.change(wiped(1, 2));
    assert_eq!(held(&store), one(false));
}

#[test]
fn a_late_word_about_one_task_leaves_the_next_one_alone() {
    let mut store = running();
    store.report(1, TaskState::Failed);
    store.place(2, 1);
    store.change(wiped(1, 1));
    assert_eq!(held(&store), one(true), "the next task was given the same version");
    store.report(2, TaskState::Failed);
    store.change(wiped(1, 1));
    assert_eq!(held(&store), one(false));
    store.change(wiped(2, 1));
    assert_eq!(held(&store), []);
}

#[test]
fn it_stays_known_when_task_service_and_secret_are_gone() {
    let mut store = running();
    remove_service(&mut store);
    store.report(1, TaskState::Shutdown);
    delete(&mut store, 1);
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    assert_eq!(held(&store), one(false));
    let reloaded = State::from_entities(store.state.entities());
    assert!(reloaded == store.state);
    store.change(wiped(1, 2));
    assert_eq!(held(&store), one(false), "only its own node can tell");
    store.change(wiped(1, 1));
    assert_eq!(held(&store), []);
    assert_eq!(store.state.remnants().count(), 0);
}

#[test]
fn what_went_with_a_removed_node_is_known_until_the_secret_is_removed() {
    let mut store = running();
    remove_service(&mut store);
    store.report(1, TaskState::Shutdown);
    let worker = |row| match row {
        Entity::Node(node) => {
            Entity::Node(Arc::new(Node { role: Role::Worker, ..Node::clone(&node) }))
        }
        other => other,
    };
    store.state = State::from_entities(store.state.entities().map(worker));
    store.done(Command::RemoveNode { id: node_id(1), force: true });
    assert_eq!(held(&store), one(false));
    delete(&mut store, 1);
    assert_eq!(held(&store), one(false));
    store.done(Command::RemoveObject { kind: Kind::Secret, id: object_id(1) });
    assert_eq!(held(&store), []);
    assert_eq!(store.state.remnants().count(), 0);
}
