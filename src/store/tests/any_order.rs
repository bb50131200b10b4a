//! Random commands in any order: what must hold afterwards, always.

use super::*;
use crate::{kit::id::ClientId, store::Linear};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "A", "b", "B", "c"]).prop_map(str::to_owned)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Secret, Kind::Config])
}

fn task_state() -> impl Strategy<Value = TaskState> {
    prop::sample::select(TaskState::ALL.to_vec())
}

fn any_spec() -> impl Strategy<Value = ServiceSpec> {
    let references = prop::collection::vec((kind(), 0..6u8, name()), 0..3);
    (name(), references, 0..3u64, any::<bool>()).prop_map(|(name, references, force, global)| {
        let references = references.into_iter().map(|(kind, n, name)| refer(kind, n, &name));
        let mut spec = spec(&name, references.collect());
        spec.task.force_update = force;
        if global {
            spec.mode = Mode::Global;
        }
        spec
    })
}

fn any_change() -> impl Strategy<Value = TaskChange> {
    let id = || (0..8u8).prop_map(task_id);
    let node = || (1..4u8).prop_map(node_id);
    let status = || task_state().prop_map(|state| TaskStatus::new(state, Timestamp(7), "any"));
    prop_oneof![
        3 => (0..8u8, 0..4u8, 1..4u64, 0..3u64, prop::option::of(node()), task_state()).prop_map(
            |(n, service, spec_index, slot, node, desired)| {
                TaskChange::Create(Box::new(Task {
                    slot,
                    node,
                    desired,
                    ..task(n, service, spec_index)
                }))
            }
        ),
        3 => (id(), node()).prop_map(|(id, node)| TaskChange::Assign { id, node }),
        1 => (id(), task_state()).prop_map(|(id, desired)| TaskChange::Desire { id, desired }),
        3 => (id(), node(), status())
            .prop_map(|(id, node, status)| TaskChange::Report { id, node, status }),
        1 => (id(), status()).prop_map(|(id, status)| TaskChange::Note { id, status }),
        1 => id().prop_map(|id| TaskChange::Delete { id }),
        1 => (id(), node()).prop_map(|(id, node)| TaskChange::Wiped { id, node }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let service = || (0..4u8).prop_map(service_id);
    let object = || (0..6u8).prop_map(object_id);
    let index = || prop::option::of(1..5u64);
    prop_oneof![
        1 => Just(found()),
        4 => (kind(), 0..6u8, name()).prop_map(|(kind, n, name)| create(kind, n, &name)),
        1 => (kind(), object(), index()).prop_map(|(kind, id, index)| Command::SetObjectLabels {
            kind,
            id,
            index,
            labels: Labels::from([("k".into(), "v".into())]),
        }),
        2 => (kind(), object()).prop_map(|(kind, id)| Command::RemoveObject { kind, id }),
        3 => (service(), any_spec())
            .prop_map(|(id, spec)| Command::CreateService { id, spec: Box::new(spec) }),
        2 => (service(), index(), any_spec())
            .prop_map(|(id, index, spec)| Command::UpdateService { id, index, spec: Box::new(spec) }),
        1 => service().prop_map(|id| Command::RemoveService { id }),
        1 => (service(), index(), prop::option::of(name()))
            .prop_map(|(id, index, failure)| Command::RollBackService { id, index, failure }),
        6 => prop::collection::vec(any_change(), 1..4)
            .prop_map(|changes| Command::ChangeTasks { changes }),
        1 => (1..4u8, object()).prop_map(|(n, object)| Command::NoteDestroyed {
            node: node_id(n),
            objects: vec![object],
        }),
        1 => (1..4u8).prop_map(|n| Command::ReportNode {
            id: node_id(n),
            description: None,
            status: node(n).status,
            held_by: None,
        }),
        1 => (1..4u8, index()).prop_map(|(n, index)| Command::SetNode {
            id: node_id(n),
            index,
            availability: Availability::Drain,
            labels: Labels::new(),
            hostname: None,
        }),
    ]
}

fn any_stamped() -> impl Strategy<Value = Stamped> {
    let request = prop::option::of((1..4u8, 1..40u64).prop_map(|(client, sequence)| RequestId {
        client: ClientId::from_random([client; 17]),
        sequence,
    }));
    (request, 0..1000i64, any_command()).prop_map(|(request, at, command)| Stamped {
        request,
        at: Timestamp(at),
        command,
    })
}

/// What must hold of every state.
fn check(state: &State) {
    assert!(State::from_entities(state.entities()) == *state, "the indexes follow from the rows");
    let mut names = BTreeSet::new();
    for object in state.objects() {
        assert!(names.insert((object.kind, object.name.folded())), "names are unique");
        assert!(!object.versions.is_empty());
    }
    let mut names = BTreeSet::new();
    for service in state.services() {
        assert!(names.insert(service.spec.name.folded()), "names are unique");
        let previous = service.previous.iter().flat_map(|spec| &spec.task.references);
        for reference in service.spec.task.references.iter().chain(previous) {
            let object = state.object_by_id(reference.object).expect("what is used exists");
            assert_eq!((object.kind, &object.name), (reference.kind, &reference.name));
            assert!(state.users(object.id).iter().any(|user| user.id == service.id));
        }
        assert!(service.spec_index <= service.meta.index);
    }
    let linear = Linear::assume(Arc::new(state.clone()));
    for node in state.nodes() {
        for n in 0..6 {
            let wanted = |task: &Arc<Task>| {
                (TaskState::Assigned..=TaskState::Running).contains(&task.status.state)
                    && task.versions.contains(&version(n))
            };
            let refers = state.tasks().any(|task| task.node == Some(node.id) && wanted(task));
            if linear.release(node.id, &version(n)).is_ok() {
                assert!(refers, "nobody gets what no live task of theirs refers to");
            }
        }
    }
    for task in state.tasks() {
        assert!(task.status.state < TaskState::Assigned || task.node.is_some());
        assert_eq!(task.versions.len(), task.spec.references.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_order_of_commands_keeps_the_rules(
        commands in prop::collection::vec(any_stamped(), 1..60)
    ) {
        let mut state = State::default();
        state.apply(&Stamped { request: None, at: Timestamp(0), command: found() });
        let (mut replica, mut replayed) = (state.clone(), state.clone());
        for stamped in &commands {
            let before = state.clone();
            let applied = state.apply(stamped);
            prop_assert_eq!(&replica.apply(stamped), &applied, "replicas agree");
            for change in &applied.changes {
                replayed.replay(change);
            }
            prop_assert!(replayed == state, "the changes are all that changed");
            prop_assert!(!applied.changes.is_empty() || before == state);
            for task in before.tasks() {
                if let Some(after) = state.task_by_id(task.id).filter(|after| after.meta.created_at == task.meta.created_at) {
                    prop_assert!(after.status.state >= task.status.state, "tasks move forward");
                    prop_assert!(after.desired >= task.desired);
                }
            }
            if stamped.request.is_some() {
                let again = state.apply(stamped);
                prop_assert_eq!(&again.outcome, &applied.outcome, "twice asked, once answered");
                prop_assert_eq!(again.changes.len(), 0);
            }
        }
        check(&state);
        prop_assert!(replica == state);
    }
}
