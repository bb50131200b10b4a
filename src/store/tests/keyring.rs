//! Terms of the keyring: what is rewrapped when, and that everything opens at every moment, in any order of things.

use super::*;
use crate::{
    crypto::{
        context::Context,
        key::{Key, Root},
        keyring::Keyring,
        plaintext::Plaintext,
        seal::WrappedKey,
    },
    model::{
        command::{Rewrapped, RewrappedAuthority},
        object::context,
        task::ObjectVersion,
    },
    store::{Change, Linear},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const KIND: Kind = Kind::Secret;

fn cluster_id() -> ClusterId {
    ClusterId::from_random([1; 17])
}

fn name(n: u8) -> String {
    format!("s{n}")
}

fn payload(n: u8) -> Plaintext {
    Plaintext::new(vec![n; 9])
}

/// A store with real keys, and the bodies that lie beside it.
struct World {
    store: Store,
    root: Key<Root>,
    bodies: BTreeMap<ObjectVersion, Sealed>,
    /// Which CA it should be.
    authority: u8,
    made: u8,
}

impl World {
    fn new() -> Self {
        let root = Key::random();
        let (keyring, terms) = Keyring::generate(&root, cluster_id());
        let Command::Found { mut cluster, node } = found() else { unreachable!() };
        cluster.keyring = terms;
        cluster.ca_key = keyring.seal(&Context::authority_key(cluster.id), payload(0));
        let mut store = Store::new();
        store.done(Command::Found { cluster, node });
        Self { store, root, bodies: BTreeMap::new(), authority: 0, made: 0 }
    }

    fn cluster(&self) -> &Cluster {
        self.store.state.cluster().unwrap()
    }

    fn keyring(&self) -> Keyring {
        Keyring::open(&self.root, cluster_id(), &self.cluster().keyring).unwrap()
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let Applied { outcome, changes } = self.store.request(None, command);
        for change in changes {
            match change {
                Change::PutBody { object, version, sealed } => {
                    self.bodies.insert(ObjectVersion { object, version }, sealed);
                }
                Change::PutKey { object, version, key } => {
                    let at = ObjectVersion { object, version };
                    let sealed = self.bodies.remove(&at).expect("only what is there is rewrapped");
                    self.bodies.insert(at, Sealed::new(key, sealed.body));
                }
                Change::DeleteBody { object, version } => {
                    self.bodies.remove(&ObjectVersion { object, version });
                }
                Change::Put(_) | Change::Delete(_) => {}
            }
        }
        outcome
    }

    fn create(&mut self, keyring: &Keyring) -> Outcome {
        self.made += 1;
        let n = self.made;
        let Command::CreateObject { kind, id, name, labels, size, sealed: _ } =
            create(KIND, n, &name(n))
        else {
            unreachable!()
        };
        let context = context(cluster_id(), kind, id, &name, VersionNumber::FIRST);
        let sealed = keyring.seal(&context, payload(n));
        self.apply(Command::CreateObject { kind, id, name, labels, size, sealed })
    }

    fn add_term(&mut self) -> Outcome {
        let term = Keyring::next_term(&self.root, cluster_id(), &self.cluster().keyring);
        self.apply(Command::AddTerm { term, rate: None, root: self.cluster().root.id })
    }

    /// What a leader would propose now for at most `most` of what is left.
    fn rewrapping(&self, most: usize) -> Command {
        let keyring = self.keyring();
        let term = keyring.active();
        let left = self.store.state.versions_before(term).take(most);
        let keys = left
            .map(|(object, version)| {
                let at = ObjectVersion { object: object.id, version: version.number };
                let key = self.bodies[&at].key();
                let context = object.context(cluster_id(), version.number);
                let WrappedKey { term: _, wrapped } = keyring.rewrap(&context, &key).unwrap();
                Rewrapped { version: at, from: key.term, wrapped }
            })
            .collect();
        let was = self.cluster().ca_key.clone();
        let authority = (was.term < term).then(|| {
            let context = Context::authority_key(cluster_id());
            let WrappedKey { term: _, wrapped } = keyring.rewrap(&context, &was.key()).unwrap();
            RewrappedAuthority { was: was.wrapped_key, wrapped }
        });
        Command::Rewrap { term, keys, authority }
    }

    fn left(&self) -> usize {
        self.store.state.versions_before(self.cluster().active_term()).count()
    }

    /// Everything opens, and is what it was.
    fn check(&self) {
        let keyring = self.keyring();
        let linear = Linear::assume(Arc::new(self.store.state.clone()));
        for object in self.store.state.objects() {
            for version in &object.versions {
                let at = ObjectVersion { object: object.id, version: version.number };
                let sealed = &self.bodies[&at];
                assert_eq!(sealed.term, version.term, "rows say under which term bodies lie");
                let n: u8 = object.name.as_str()[1..].parse().unwrap();
                let comparison = linear.compare(&at).unwrap();
                assert!(comparison.is_same(&keyring, sealed, &payload(n)).unwrap());
            }
        }
        assert_eq!(self.bodies.len(), self.store.state.objects().count());
        let key = keyring.open_authority_key(&self.cluster().ca_key).unwrap();
        assert!(key.is_same(&payload(self.authority)));
    }
}

#[test]
fn a_new_term_seals_at_once_and_the_old_one_goes_when_nothing_is_left_under_it() {
    let mut world = World::new();
    for _ in 0..5 {
        world.create(&world.keyring()).unwrap();
    }
    world.add_term().unwrap();
    let running = world.cluster().rekeying.running.clone().unwrap();
    assert_eq!((running.total, running.started_at), (6, world.store.at));
    assert_eq!(world.cluster().keyring[1].created_at, world.store.at);
    world.create(&world.keyring()).unwrap();
    assert_eq!(world.store.state.versions_by_term(), BTreeMap::from([(1, 5), (2, 1)]));
    let metas: Vec<_> = world.store.state.objects().map(|object| object.meta).collect();

    world.apply(world.rewrapping(3)).unwrap();
    assert_eq!(world.left(), 2);
    let refused = world.store.refused(Command::DropTerms { before: 2 });
    assert_eq!(refused, "2 keys lie under terms before 2");
    world.check();
    world.apply(world.rewrapping(3)).unwrap();
    world.apply(Command::DropTerms { before: 2 }).unwrap();
    assert_eq!(world.cluster().keyring.len(), 1);
    assert_eq!(world.cluster().rekeying.running, None);
    world.check();
    let after: Vec<_> = world.store.state.objects().map(|object| object.meta).collect();
    assert_eq!(metas, after, "for people nothing has changed");
}

#[test]
fn what_was_sealed_under_a_term_that_is_gone_is_not_stored() {
    let mut world = World::new();
    let old = world.keyring();
    world.add_term().unwrap();
    world.create(&old).unwrap();
    world.apply(world.rewrapping(9)).unwrap();
    world.apply(Command::DropTerms { before: 2 }).unwrap();
    let refusal = world.create(&old).unwrap_err().to_string();
    assert!(refusal.contains("terms changed meanwhile"), "{refusal}");
    world.check();
}

#[test]
fn of_two_new_terms_at_once_one_is_refused_and_there_are_never_many() {
    let mut world = World::new();
    let term = Keyring::next_term(&world.root, cluster_id(), &world.cluster().keyring);
    let add = Command::AddTerm { term, rate: None, root: world.cluster().root.id };
    world.apply(add.clone()).unwrap();
    assert!(world.store.refused(add).contains("has a new term already"));
    while world.cluster().keyring.len() < crate::kit::limits::TERMS {
        world.add_term().unwrap();
    }
    assert!(world.add_term().unwrap_err().to_string().contains("not empty yet"));
    world.apply(world.rewrapping(9)).unwrap();
    world.apply(Command::DropTerms { before: world.cluster().active_term() }).unwrap();
    world.add_term().unwrap();
}

#[test]
fn a_ca_that_was_replaced_meanwhile_keeps_its_own_key() {
    let mut world = World::new();
    let old = world.keyring();
    world.add_term().unwrap();
    let late = world.rewrapping(9);
    // By a manager that had not heard of the new term.
    let ca_key = old.seal(&Context::authority_key(cluster_id()), payload(7));
    let rotation = crate::model::cluster::AuthorityRotation {
        previous: Vec::new(),
        cross_signed: Vec::new(),
        started_at: Timestamp(0),
    };
    world.apply(Command::RotateAuthority { ca_certificate: vec![7], ca_key, rotation }).unwrap();
    world.authority = 7;
    world.apply(late).unwrap();
    assert_eq!(world.cluster().ca_key.term, 1);
    world.check();
    world.apply(world.rewrapping(9)).unwrap();
    assert_eq!(world.cluster().ca_key.term, 2);
    world.check();
}

#[test]
fn a_term_is_due_when_a_manager_has_gone_and_no_longer_when_it_is_there() {
    let mut world = World::new();
    let manager = Node { manager: Some(manager_status(3)), ..node(2) };
    let joined = Node { role: Role::Worker, ..manager.clone() };
    world.store.state.put(crate::store::Entity::Node(Arc::new(joined)));
    assert!(!world.cluster().rekeying.due);
    world.apply(Command::RetireManager { id: node_id(2), raft_id: 3 }).unwrap();
    assert!(world.cluster().rekeying.due);
    world.add_term().unwrap();
    assert!(!world.cluster().rekeying.due);
    world.apply(Command::Reestablish { node: Box::new(manager) }).unwrap();
    assert!(world.cluster().rekeying.due);
}

fn manager_status(raft_id: u64) -> crate::model::node::ManagerStatus {
    crate::model::node::ManagerStatus::new(raft_id, String::new())
}

#[test]
fn a_manager_says_once_that_its_disk_is_clean_and_never_takes_it_back() {
    let mut world = World::new();
    let manager = Node { manager: Some(manager_status(3)), ..node(2) };
    world.store.state.put(crate::store::Entity::Node(Arc::new(manager)));
    let noted = |world: &World| {
        let node = world.store.state.node_by_id(node_id(2)).unwrap();
        node.manager.as_ref().unwrap().oldest_term
    };
    for (oldest, after) in [(2, 2), (1, 2), (3, 3)] {
        world.apply(Command::NoteTerms { id: node_id(2), oldest }).unwrap();
        assert_eq!(noted(&world), after);
    }
}

#[test]
fn terms_are_not_renewed_all_the_time() {
    let mut world = World::new();
    let set = |age| Command::SetKeyMaxAge { age };
    assert_eq!(world.cluster().settings.key_max_age, Some(Duration::from_secs(90 * 24 * 3600)));
    let refused = world.store.refused(set(Some(Duration::from_secs(60))));
    assert!(refused.contains("every 1m"), "{refused}");
    world.apply(set(None)).unwrap();
    assert_eq!(world.cluster().settings.key_max_age, None);
}

#[derive(Debug, Clone)]
enum Act {
    Create {
        /// With a keyring that somebody opened so many terms ago.
        late: usize,
    },
    Remove(prop::sample::Index),
    AddTerm,
    /// A leader reads what is left.
    Plan(usize),
    /// One of the commands that leaders proposed comes out of the log, perhaps once more.
    Land(prop::sample::Index),
    Drop,
    ReplaceAuthority,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => prop_oneof![3 => Just(0), 1 => 1..3_usize].prop_map(|late| Act::Create { late }),
        2 => any::<prop::sample::Index>().prop_map(Act::Remove),
        2 => Just(Act::AddTerm),
        4 => (1..5_usize).prop_map(Act::Plan),
        4 => any::<prop::sample::Index>().prop_map(Act::Land),
        2 => Just(Act::Drop),
        1 => Just(Act::ReplaceAuthority),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn in_any_order_everything_opens_and_in_the_end_nothing_is_left(
        acts in prop::collection::vec(act(), 1..60)
    ) {
        let mut world = World::new();
        let mut proposed = Vec::new();
        let mut opened = vec![world.cluster().keyring.clone()];
        for act in acts {
            match act {
                Act::Create { late } => {
                    let terms = &opened[opened.len().saturating_sub(late + 1)];
                    let keyring = Keyring::open(&world.root, cluster_id(), terms).unwrap();
                    let kept = world.keyring().holds(keyring.active());
                    prop_assert_eq!(world.create(&keyring).is_ok(), kept);
                }
                Act::Remove(which) => {
                    let ids: Vec<_> = world.store.state.objects().map(|object| object.id).collect();
                    if !ids.is_empty() {
                        world.apply(Command::RemoveObject { kind: KIND, id: *which.get(&ids) }).unwrap();
                    }
                }
                Act::AddTerm => {
                    let full = world.cluster().keyring.len() == crate::kit::limits::TERMS;
                    prop_assert_eq!(world.add_term().is_err(), full);
                    opened.push(world.cluster().keyring.clone());
                }
                Act::Plan(most) => proposed.push(world.rewrapping(most)),
                Act::Land(which) if !proposed.is_empty() => {
                    // Refused if its term is gone.
                    drop(world.apply(which.get(&proposed).clone()));
                }
                Act::Land(_) => {}
                Act::Drop => {
                    let before = world.cluster().active_term();
                    let empty = world.left() == 0 && world.cluster().ca_key.term == before;
                    let dropped = world.apply(Command::DropTerms { before });
                    prop_assert_eq!(dropped.is_ok(), empty);
                }
                Act::ReplaceAuthority => {
                    world.authority += 1;
                    let ca_key = world
                        .keyring()
                        .seal(&Context::authority_key(cluster_id()), payload(world.authority));
                    let rotation = crate::model::cluster::AuthorityRotation {
                        previous: world.cluster().ca_certificate.clone(),
                        cross_signed: Vec::new(),
                        started_at: Timestamp(0),
                    };
                    let ca_certificate = vec![world.authority];
                    let rotate = Command::RotateAuthority { ca_certificate, ca_key, rotation };
                    if world.apply(rotate).is_err() {
                        world.authority -= 1;
                    }
                }
                Act::Restart => {
                    world.store.state = State::from_entities(world.store.state.entities());
                }
            }
            world.check();
        }
        if world.cluster().keyring.len() == crate::kit::limits::TERMS {
            world.apply(world.rewrapping(usize::MAX)).unwrap();
            world.apply(Command::DropTerms { before: world.cluster().active_term() }).unwrap();
        }
        world.add_term().unwrap();
        while world.left() > 0 || world.cluster().ca_key.term < world.cluster().active_term() {
            let before = world.left();
            world.apply(world.rewrapping(3)).unwrap();
            prop_assert!(world.left() < before || before == 0, "it goes on");
        }
        world.apply(Command::DropTerms { before: world.cluster().active_term() }).unwrap();
        prop_assert_eq!(world.cluster().keyring.len(), 1);
        world.check();
    }
}
