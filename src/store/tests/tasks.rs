//! Tasks only move forward.

use super::*;

fn with_task() -> Store {
    let mut store = Store::founded();
    store.done(secret(1, "db"));
    store.done(service(1, spec("web", vec![refer(Kind::Secret, 1, "db")])));
    store.place(1, 1);
    store
}

#[test]
fn a_new_task_gets_spec_names_and_versions_from_its_service() {
    let store = with_task();
    let task = store.task(1);
    let service = store.state.service_by_id(service_id(1)).unwrap();
    assert_eq!(*task.spec, service.spec.task);
    assert_eq!(task.service_name, service.spec.name);
    assert_eq!(task.versions, [version(1)]);
    assert_eq!(task.status.state, TaskState::Assigned);
    assert_eq!(task.status.message, "scheduler assigned task to node");
}

#[test]
fn tasks_of_one_spec_share_it() {
    let mut store = with_task();
    store.place(2, 1);
    assert!(Arc::ptr_eq(&store.task(1).spec, &store.task(2).spec));
    let reloaded = State::from_entities(store.state.entities());
    let spec = |n| reloaded.task_by_id(task_id(n)).unwrap().spec.clone();
    assert!(Arc::ptr_eq(&spec(1), &spec(2)));
}

#[test]
fn a_decision_about_a_spec_that_changed_makes_no_task() {
    let mut store = with_task();
    let mut new = spec("web", vec![]);
    new.task.force_update = 1;
    store.done(update(1, None, new));
    store.change(TaskChange::Create(Box::new(task(2, 1, 1))));
    store.change(TaskChange::Create(Box::new(task(3, 9, 1))));
    assert_eq!(store.state.tasks().count(), 1);
}

#[test]
fn a_task_is_younger_than_its_predecessor_even_if_the_clock_went_back() {
    let mut store = with_task();
    store.at = Timestamp(0);
    store.place(2, 1);
    assert!(store.task(2).age_key() > store.task(1).age_key());
}

#[test]
fn only_its_own_node_reports_on_a_task() {
    let mut store = with_task();
    let status = TaskStatus::new(TaskState::Running, store.at, "started");
    store.change(TaskChange::Report { id: task_id(1), node: node_id(2), status });
    assert_eq!(store.task(1).status.state, TaskState::Assigned);
    store.report(1, TaskState::Running);
    assert_eq!(store.task(1).status.state, TaskState::Running);
    assert_eq!(store.task(1).started_at, Some(store.at));
}

#[test]
fn no_report_goes_back_and_none_revives() {
    let mut store = with_task();
    store.report(1, TaskState::Running);
    store.report(1, TaskState::Preparing);
    assert_eq!(store.task(1).status.state, TaskState::Running);
    store.report(1, TaskState::Failed);
    for state in [TaskState::Running, TaskState::Complete, TaskState::Rejected] {
        store.report(1, state);
        assert_eq!(store.task(1).status.state, TaskState::Failed, "{state}");
    }
    assert!(!store.task(1).holds_payloads());
}

#[test]
fn a_node_cannot_claim_states_that_are_not_its_own() {
    let mut store = with_task();
    for state in [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Remove,
        TaskState::Orphaned,
    ] {
        store.report(1, state);
        assert_eq!(store.task(1).status.state, TaskState::Assigned, "{state}");
        assert_eq!(store.task(1).status.message, "scheduler assigned task to node");
    }
}

#[test]
fn a_report_from_the_future_counts_as_now_and_keeps_the_container() {
    let mut store = with_task();
    let mut status = TaskStatus::new(TaskState::Running, Timestamp(i64::MAX), "started");
    status.container_id = "abc".into();
    store.change(TaskChange::Report { id: task_id(1), node: node_id(1), status });
    assert_eq!(store.task(1).status.at, store.at);
    store.report(1, TaskState::Failed);
    assert_eq!(store.task(1).status.container_id, "abc");
}

#[test]
fn desires_only_rise_and_an_unwanted_task_gets_no_node() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.change(TaskChange::Create(Box::new(task(1, 1, 1))));
    assert_eq!(store.state.waiting_tasks().count(), 1);
    store.change(TaskChange::Desire { id: task_id(1), desired: TaskState::Shutdown });
    store.change(TaskChange::Desire { id: task_id(1), desired: TaskState::Running });
    assert_eq!(store.task(1).desired, TaskState::Shutdown);
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(store.task(1).node, None);
    assert_eq!(store.state.waiting_tasks().count(), 0);
}

#[test]
fn a_task_is_assigned_once_and_only_to_members() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.change(TaskChange::Create(Box::new(task(1, 1, 1))));
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(9) });
    assert_eq!(store.task(1).node, None);
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    store.report(1, TaskState::Preparing);
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(store.task(1).status.state, TaskState::Preparing);
}

#[test]
fn only_what_is_over_is_forgotten() {
    let mut store = with_task();
    store.report(1, TaskState::Running);
    store.change(TaskChange::Delete { id: task_id(1) });
    assert_eq!(store.state.tasks().count(), 1);
    store.report(1, TaskState::Shutdown);
    store.change(TaskChange::Delete { id: task_id(1) });
    assert_eq!(store.state.tasks().count(), 0);
    assert_eq!(store.state.tasks_on(node_id(1)).count(), 0);
}

#[test]
fn notes_explain_waiting_and_give_up_lost_tasks() {
    let mut store = Store::founded();
    store.done(service(1, spec("web", vec![])));
    store.change(TaskChange::Create(Box::new(task(1, 1, 1))));
    let mut waiting = TaskStatus::new(TaskState::Pending, store.at, "pending task scheduling");
    waiting.error = "no suitable node".into();
    let note = |status: &TaskStatus| TaskChange::Note { id: task_id(1), status: status.clone() };
    store.change(note(&waiting));
    assert_eq!(store.task(1).status, waiting);
    let lost = TaskStatus::new(TaskState::Orphaned, store.at, "gone");
    store.change(note(&lost));
    assert_eq!(store.task(1).status, waiting, "what never had a node cannot have lost it");
    store.change(TaskChange::Assign { id: task_id(1), node: node_id(1) });
    assert_eq!(store.task(1).status.error, "");
    store.change(note(&waiting));
    assert_eq!(store.task(1).status.state, TaskState::Assigned);
    store.change(note(&lost));
    assert_eq!(store.task(1).status.state, TaskState::Orphaned);
}
