//! Services and what they refer to.

use super::*;
use crate::model::{
    node::NodeStatus,
    service::{UpdateState, UpdateStatus},
};

#[test]
fn service_names_are_unique_whatever_their_case() {
    let mut store = Store::new();
    store.done(service(1, spec("web", vec![])));
    assert_eq!(
        store.refused(service(2, spec("Web", vec![]))),
        "name conflicts with an existing object: service Web already exists"
    );
}

#[test]
fn a_reference_needs_id_and_name_of_one_object_of_its_kind() {
    let mut store = Store::new();
    store.done(secret(1, "a"));
    store.done(secret(2, "b"));
    let with = |references| service(1, spec("web", references));
    let wrong = vec![refer(Kind::Secret, 1, "b")];
    assert_eq!(store.refused(with(wrong)), "secret not found: b");
    let cased = vec![refer(Kind::Secret, 1, "A")];
    assert_eq!(store.refused(with(cased)), "secret not found: A");
    let missing = vec![refer(Kind::Secret, 7, "x"), refer(Kind::Secret, 8, "y")];
    assert_eq!(store.refused(with(missing)), "secrets not found: x, y");
    let other_kind = vec![refer(Kind::Config, 1, "a")];
    assert_eq!(store.refused(with(other_kind)), "config not found: a");
    let mut exact = refer(Kind::Secret, 1, "a");
    exact.version = VersionPick::Exact(VersionNumber(2));
    assert_eq!(store.refused(with(vec![exact])), "secret a has no version v2");
    store.done(with(vec![refer(Kind::Secret, 1, "a"), refer(Kind::Secret, 2, "b")]));
}

#[test]
fn names_and_modes_stay() {
    let mut store = Store::new();
    store.done(service(1, spec("web", vec![])));
    assert_eq!(
        store.refused(update(1, None, spec("other", vec![]))),
        "renaming services is not supported"
    );
    let mut global = spec("web", vec![]);
    global.mode = Mode::Global;
    assert_eq!(store.refused(update(1, None, global)), "service mode change is not allowed");
    let gone = store.refused(update(2, None, spec("web", vec![])));
    assert_eq!(gone, format!("service {} not found", service_id(2)));
}

#[test]
fn an_update_keeps_what_was_before_and_asks_for_the_index_seen() {
    let mut store = Store::new();
    store.done(service(1, spec("web", vec![])));
    let mut new = spec("web", vec![]);
    new.task.container.image = "new".into();
    store.done(update(1, Some(1), new.clone()));
    let kept = store.state.service_by_id(service_id(1)).unwrap();
    assert_eq!(kept.previous, Some(spec("web", vec![])));
    assert_eq!((kept.meta.index, kept.spec_index), (2, 2));
    assert_eq!(store.refused(update(1, Some(1), spec("web", vec![]))), "update out of sequence");
    // The same again is no update: what a rollback returns to stays.
    let applied = store.request(None, update(1, Some(2), new));
    assert_eq!(applied.changes, []);
}

#[test]
fn the_same_spec_lifts_a_pause() {
    let mut store = Store::new();
    store.done(service(1, spec("web", vec![])));
    let status = UpdateStatus {
        state: UpdateState::Paused,
        started_at: Timestamp(0),
        completed_at: None,
        message: String::new(),
    };
    let note =
        |spec_index| Command::NoteUpdate { id: service_id(1), spec_index, status: status.clone() };
    store.done(note(9));
    assert_eq!(store.state.service_by_id(service_id(1)).unwrap().update, None, "of another spec");
    store.done(note(1));
    assert_eq!(store.state.service_by_id(service_id(1)).unwrap().update, Some(status.clone()));
    store.done(update(1, None, spec("web", vec![])));
    assert_eq!(store.state.service_by_id(service_id(1)).unwrap().update, None);
}

#[test]
fn a_rollback_by_hand_swaps_and_one_after_a_failure_forgets() {
    let mut store = Store::new();
    store.done(service(1, spec("web", vec![])));
    let back = |failure: Option<&str>| Command::RollBackService {
        id: service_id(1),
        index: None,
        failure: failure.map(str::to_owned),
    };
    assert_eq!(store.refused(back(None)), "service web does not have a previous spec");
    let mut new = spec("web", vec![]);
    new.task.force_update = 1;
    store.done(update(1, None, new.clone()));
    store.done(back(None));
    let swapped = store.state.service_by_id(service_id(1)).unwrap().clone();
    assert_eq!((&swapped.spec, &swapped.previous), (&spec("web", vec![]), &Some(new.clone())));
    assert_eq!(swapped.update.as_ref().unwrap().state, UpdateState::RollbackStarted);
    assert_eq!(swapped.spec_index, 3);
    store.done(back(Some("it failed")));
    let forgotten = store.state.service_by_id(service_id(1)).unwrap();
    assert_eq!((&forgotten.spec, &forgotten.previous), (&new, &None));
    assert_eq!(forgotten.update.as_ref().unwrap().message, "it failed");
}

#[test]
fn a_removed_service_frees_its_name_and_asks_its_tasks_to_go() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.place(1, 1);
    store.done(Command::RemoveService { id: service_id(1) });
    assert_eq!(store.task(1).desired, TaskState::Remove);
    store.done(service(2, spec("web", vec![])));
    assert_eq!(store.state.tasks_of(service_id(2)).count(), 0);
    assert_eq!(store.state.tasks_of(service_id(1)).count(), 1);
}

#[test]
fn a_cluster_is_founded_once() {
    let mut store = Store::founded();
    let refused = store.refused(found());
    assert!(refused.ends_with("has been founded already"), "{refused}");
}

#[test]
fn nodes_are_reported_on_and_set() {
    let mut store = Store::founded();
    let status = NodeStatus { state: NodeState::Down, ..node(1).status };
    let report = |n| Command::ReportNode {
        id: node_id(n),
        description: None,
        status: status.clone(),
        held_by: None,
    };
    assert_eq!(store.refused(report(2)), format!("node {} not found", node_id(2)));
    store.done(report(1));
    assert_eq!(store.request(None, report(1)).changes, [], "nothing new is nothing to keep");
    let set = |index| Command::SetNode {
        id: node_id(1),
        index,
        availability: Availability::Drain,
        labels: Labels::new(),
        hostname: None,
    };
    assert_eq!(store.refused(set(Some(1))), "update out of sequence");
    store.done(set(Some(2)));
    let node = store.state.node_by_id(node_id(1)).unwrap();
    assert_eq!((node.availability, node.status.state), (Availability::Drain, NodeState::Down));
}
