//! The root key is replaced when every manager keeps the next one, and never before.

use super::*;
use crate::{
    crypto::{
        key::{Key, Root},
        keyring::WrappedTerm,
        unlock::{Method, Unlocker},
    },
    kit::id::UnlockerId,
    model::{cluster::RootOffer, node::ManagerStatus},
};

const FIRST: RootId = RootId([7; 32]);
const NEXT: RootId = RootId([8; 32]);

fn term(term: u32) -> WrappedTerm {
    WrappedTerm { term, created_at: Timestamp(0), wrapped: vec![1] }
}

fn unlocker(root: &Key<Root>) -> Unlocker {
    let (id, key) = (UnlockerId::random(), Key::random());
    Unlocker::new(ClusterId::from_random([1; 17]), id, Method::Recovery, &key, root)
}

/// Two managers, one term, one unlocker.
fn world() -> (Store, Unlocker) {
    let root = Key::random();
    let unlocker = unlocker(&root);
    let Command::Found { mut cluster, node: mut founder } = found() else { unreachable!() };
    cluster.keyring = vec![term(1)];
    cluster.unlockers = vec![unlocker.clone()];
    founder.role = Role::Manager;
    founder.manager = Some(ManagerStatus::new(1, "10.0.0.1:2390".into()));
    let mut store = Store::new();
    store.done(Command::Found { cluster, node: founder.clone() });
    let mut second = Node { id: node(2).id, ..*founder };
    second.manager = Some(ManagerStatus::new(2, "10.0.0.2:2390".into()));
    store.state.put(super::super::Entity::Node(Arc::new(second)));
    (store, unlocker)
}

fn offer(id: RootId) -> Command {
    Command::OfferRoot { offer: RootOffer { id, by: node(1).id } }
}

fn note(n: u8, root: RootId) -> Command {
    Command::NotePreparedRoot { node: node(n).id, root }
}

fn rotate(id: RootId, terms: &[u32], unlockers: &[Unlocker]) -> Command {
    let keyring = terms.iter().map(|number| term(*number)).collect();
    Command::RotateRoot { root: id, keyring, unlockers: unlockers.to_vec() }
}

#[test]
fn it_counts_once_every_manager_keeps_it() {
    let (mut store, unlocker) = world();
    let resealed = unlocker.resealed(ClusterId::from_random([1; 17]), &Key::random()).unwrap();
    let whole = rotate(NEXT, &[1, 2], std::slice::from_ref(&resealed));
    assert!(store.refused(offer(NEXT)).contains("not being replaced"));
    store.done(Command::BeginRoot { rate: Some(5) });
    assert!(store.refused(Command::BeginRoot { rate: None }).contains("already"));
    assert!(store.refused(whole.clone()).contains("another root key"));
    store.done(offer(NEXT));
    assert!(store.refused(note(1, FIRST)).contains("another root key"));
    store.done(note(1, NEXT));
    assert!(store.refused(whole.clone()).contains("does not have the next"));
    store.done(note(2, NEXT));
    for (bad, why) in [
        (rotate(FIRST, &[1, 2], std::slice::from_ref(&resealed)), "another root key"),
        (rotate(NEXT, &[1], std::slice::from_ref(&resealed)), "other terms"),
        (rotate(NEXT, &[1, 3], std::slice::from_ref(&resealed)), "other terms"),
        (rotate(NEXT, &[2, 2], std::slice::from_ref(&resealed)), "other terms"),
        (rotate(NEXT, &[1, 2], &[]), "other unlockers"),
        (rotate(NEXT, &[1, 2], &[self::unlocker(&Key::random())]), "other unlockers"),
    ] {
        let said = store.refused(bad);
        assert!(said.contains(why), "{said}");
    }
    store.done(whole.clone());
    let cluster = store.state.cluster().unwrap();
    assert_eq!((cluster.root.number, cluster.root.id), (2, NEXT));
    assert_eq!(cluster.root.rotation, None);
    assert_eq!((cluster.active_term(), cluster.unlockers[0].clone()), (2, resealed));
    assert_eq!(cluster.rekeying.running.as_ref().unwrap().rate, Some(5));
    assert!(store.refused(whole).contains("not being replaced"));
}

#[test]
fn a_manager_that_begins_anew_has_to_take_it_again_and_an_older_offer_never_counts() {
    let (mut store, unlocker) = world();
    store.done(Command::BeginRoot { rate: None });
    store.done(offer(FIRST));
    for n in [1, 2] {
        store.done(note(n, FIRST));
    }
    store.done(offer(NEXT));
    let unlockers = std::slice::from_ref(&unlocker);
    assert!(store.refused(rotate(FIRST, &[1, 2], unlockers)).contains("another root key"));
    assert!(store.refused(rotate(NEXT, &[1, 2], unlockers)).contains("does not have"));
    for n in [1, 2] {
        store.done(note(n, NEXT));
    }
    let admit = Command::AdmitManager { id: node(2).id, addr: "10.0.0.2:2390".into() };
    store.request(None, admit).outcome.unwrap();
    assert!(store.refused(rotate(NEXT, &[1, 2], unlockers)).contains("does not have"));
    store.done(note(2, NEXT));
    store.done(rotate(NEXT, &[1, 2], unlockers));
}

#[test]
fn what_a_manager_was_offered_that_has_gone_since_never_counts() {
    let (mut store, unlocker) = world();
    store.done(Command::BeginRoot { rate: None });
    store.done(offer(NEXT));
    for n in [1, 2] {
        store.done(note(n, NEXT));
    }
    store.done(Command::RetireManager { id: node(2).id, raft_id: 2 });
    let unlockers = std::slice::from_ref(&unlocker);
    assert!(store.refused(rotate(NEXT, &[1, 2], unlockers)).contains("another root key"));
    store.done(offer(RootId([9; 32])));
    store.done(note(1, RootId([9; 32])));
    store.done(rotate(RootId([9; 32]), &[1, 2], unlockers));
}

#[test]
fn what_lies_under_the_root_key_before_is_not_taken_in_afterwards() {
    let (mut store, unlocker) = world();
    let add = |root| Command::AddTerm { term: term(3), rate: None, root };
    let change = |root| Command::ChangeUnlockers {
        add: vec![self::unlocker(&Key::random())],
        remove: Vec::new(),
        key_files: None,
        root,
    };
    store.done(Command::BeginRoot { rate: None });
    assert!(store.refused(change(FIRST)).contains("being replaced"));
    store.done(offer(NEXT));
    for n in [1, 2] {
        store.done(note(n, NEXT));
    }
    store.done(rotate(NEXT, &[1, 2], &[unlocker]));
    assert!(store.refused(add(FIRST)).contains("replaced meanwhile"));
    assert!(store.refused(change(FIRST)).contains("replaced meanwhile"));
    store.done(add(NEXT));
    store.done(change(NEXT));
    assert!(
        store.refused(Command::NoteRoot { node: node(1).id, number: 3 }).contains("no root key")
    );
    store.done(Command::NoteRoot { node: node(1).id, number: 2 });
    let row = store.state.node_by_id(node(1).id).unwrap();
    assert_eq!(row.manager.as_ref().unwrap().root, 2);
}
