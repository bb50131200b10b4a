//! Nobody gets what no live task of theirs refers to.

use super::*;
use crate::store::{Change, Denied, Entity, Linear};

fn running() -> Store {
    let mut store = Store::founded();
    store.done(secret(1, "db"));
    store.done(create(Kind::Config, 2, "conf"));
    store.done(secret(3, "unused"));
    let references = vec![refer(Kind::Secret, 1, "db"), refer(Kind::Config, 2, "conf")];
    store.done(service(1, spec("web", references)));
    let spec_index = 1;
    store.change(TaskChange::Create(Box::new(task(1, 1, spec_index))));
    store
}

fn release(store: &Store, node: NodeId, n: u8) -> Result<(), Denied> {
    let linear = Linear::assume(Arc::new(store.state.clone()));
    linear.release(node, &version(n)).map(drop)
}

#[test]
fn a_payload_is_released_from_the_assignment_until_the_end_is_seen() {
    let mut store = running();
    let none = Err(Denied::NoLiveTask { node: node_id(1), what: version(1) });
    assert_eq!(release(&store, node_id(1), 1), none);
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    for n in [1, 2] {
        assert_eq!(release(&store, node_id(1), n), Ok(()));
    }
    store.report(1, TaskState::Running);
    // What is wanted does not matter, only what is seen.
    store.change(TaskChange::Desire { id: task_id(1), desired: TaskState::Shutdown });
    assert_eq!(release(&store, node_id(1), 1), Ok(()));
    store.report(1, TaskState::Shutdown);
    assert_eq!(release(&store, node_id(1), 1), none);
}

#[test]
fn strangers_and_others_objects_get_nothing() {
    let mut store = running();
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(release(&store, node_id(9), 1), Err(Denied::UnknownNode(node_id(9))));
    let unused = Denied::NoLiveTask { node: node_id(1), what: version(3) };
    assert_eq!(release(&store, node_id(1), 3), Err(unused));
    assert_eq!(release(&store, node_id(1), 8), Err(Denied::UnknownVersion(version(8))));
}

#[test]
fn a_node_that_has_left_gets_nothing_though_its_row_and_its_task_are_there() {
    let mut store = running();
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(release(&store, node_id(1), 1), Ok(()));
    let gone = Node {
        standing: Standing::Left { at: Timestamp(0), wiped: false },
        ..Node::clone(store.state.node_by_id(node_id(1)).unwrap())
    };
    store.state.replay(&Change::Put(Entity::Node(Arc::new(gone))));
    assert_eq!(release(&store, node_id(1), 1), Err(Denied::UnknownNode(node_id(1))));
}

#[test]
fn configs_are_shown_and_secrets_are_not() {
    let store = running();
    let linear = Linear::assume(Arc::new(store.state));
    linear.disclose(&version(2)).map(drop).unwrap();
    assert_eq!(linear.disclose(&version(1)).map(drop), Err(Denied::Secret(object_id(1))));
}

#[test]
fn a_release_opens_the_version_it_was_made_for_and_no_other() {
    use crate::crypto::{key::Key, keyring::Keyring, plaintext::Plaintext};
    let mut store = running();
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    let cluster = store.state.cluster().unwrap().id;
    let (keyring, _) = Keyring::generate(&Key::random(), cluster);
    let object = |n| store.state.object_by_id(object_id(n)).unwrap().clone();
    let seal = |n, bytes: &[u8]| {
        keyring
            .seal(&object(n).context(cluster, VersionNumber::FIRST), Plaintext::new(bytes.to_vec()))
    };
    let linear = Linear::assume(Arc::new(store.state.clone()));
    let open = |n, sealed: &Sealed| {
        linear.release(node_id(1), &version(n)).unwrap().open(&keyring, sealed).map(|p| p.len())
    };
    assert_eq!(open(1, &seal(1, b"hunter2")).unwrap(), 7);
    open(1, &seal(3, b"other")).unwrap_err();
    open(2, &seal(1, b"hunter2")).unwrap_err();
}
