//! Tasks: made by the leader, reported on by their nodes, and only ever moving forward.

use super::{Edit, Entity, Key, State};
use crate::{
    kit::id::{NodeId, TaskId},
    model::{
        Meta,
        command::TaskChange,
        reference::VersionPick,
        service::TaskSpec,
        task::{ObjectVersion, Task, TaskState, TaskStatus},
    },
};
use std::{sync::Arc, time::Duration};

/// Makes one change; one that is late, backwards, or about a task that is gone does nothing.
pub(super) fn change(edit: &mut Edit<'_>, change: &TaskChange) {
    match change {
        TaskChange::Create(task) => create(edit, task),
        TaskChange::Assign { id, node } => assign(edit, *id, *node),
        TaskChange::Desire { id, desired } => desire(edit, *id, *desired),
        TaskChange::Report { id, node, status } => report(edit, *id, *node, status),
        TaskChange::Note { id, status } => note(edit, *id, status),
        TaskChange::Delete { id } => delete(edit, *id),
        TaskChange::Wiped { id, node } => wiped(edit, *id, *node),
    }
}

pub(super) fn desire(edit: &mut Edit<'_>, id: TaskId, desired: TaskState) {
    update(edit, id, |task| {
        task.desired = task.desired.max(desired);
    });
}

fn create(edit: &mut Edit<'_>, task: &Task) {
    let Some(service) = edit.state.service_by_id(task.service) else { return };
    let node_gone = task.node.is_some_and(|node| edit.state.node_by_id(node).is_none());
    let stale = service.spec_index != task.spec_index || node_gone;
    if stale || edit.state.task_by_id(task.id).is_some() || task.desired > TaskState::Running {
        return;
    }
    let Some(spec) = edit.state.task_spec(service.id).cloned() else { return };
    // A service's references exist as long as the service does; were one missing, no task is better than one without.
    let Some(versions) = versions(edit.state, &spec) else { return };
    // Younger than its predecessors in every case: a new leader's clock may be behind, or the same millisecond.
    let before = edit
        .state
        .tasks_in_slot(service.id, task.slot)
        .filter(|other| other.node == task.node || task.slot > 0);
    let least = before.map(|other| other.meta.created_at.plus(Duration::from_millis(1))).max();
    let made = least.map_or(edit.at, |least| least.max(edit.at));
    let task = Task {
        id: task.id,
        meta: Meta::new(made),
        service: service.id,
        service_name: service.spec.name.clone(),
        service_labels: service.spec.labels.clone(),
        slot: task.slot,
        node: task.node,
        spec,
        spec_index: service.spec_index,
        versions,
        desired: task.desired,
        status: TaskStatus::new(TaskState::Pending, edit.at, "created"),
        started_at: None,
        wiped: false,
    };
    edit.put(Entity::Task(Arc::new(task)));
}

/// The versions that the references stand for now.
fn versions(state: &State, spec: &TaskSpec) -> Option<Vec<ObjectVersion>> {
    spec.references
        .iter()
        .map(|reference| {
            let object = state.object_by_id(reference.object)?;
            let version = match reference.version {
                VersionPick::Latest => object.latest(),
                VersionPick::Exact(number) => object.version(number)?,
            };
            Some(ObjectVersion { object: object.id, version: version.number })
        })
        .collect()
}

fn assign(edit: &mut Edit<'_>, id: TaskId, node: NodeId) {
    if edit.state.node_by_id(node).is_none() {
        return;
    }
    let at = edit.at;
    update(edit, id, |task| {
        let free = task.status.state < TaskState::Assigned && task.desired <= TaskState::Running;
        if free && task.node.is_none_or(|preset| preset == node) {
            let message = match task.node {
                Some(_) => "scheduler confirmed task can run on preassigned node",
                None => "scheduler assigned task to node",
            };
            task.node = Some(node);
            task.status = TaskStatus::new(TaskState::Assigned, at, message);
        }
    });
}

fn report(edit: &mut Edit<'_>, id: TaskId, node: NodeId, status: &TaskStatus) {
    let at = edit.at;
    update(edit, id, |task| {
        let own = task.node == Some(node) && task.status.state >= TaskState::Assigned;
        let reportable = TaskState::Accepted..=TaskState::Rejected;
        if !own || task.status.state.is_terminal() || !reportable.contains(&status.state) {
            return;
        }
        advance(task, status);
        // An agent whose clock is ahead must not push delays into the future.
        task.status.at = task.status.at.min(at);
        if task.status.state == TaskState::Running && task.started_at.is_none() {
            task.started_at = Some(at);
        }
    });
}

fn note(edit: &mut Edit<'_>, id: TaskId, status: &TaskStatus) {
    update(edit, id, |task| {
        let notable = match status.state {
            TaskState::Pending => true,
            // Only of what has a node can one say that it refused or is gone.
            TaskState::Rejected | TaskState::Orphaned => {
                task.status.state >= TaskState::Assigned && !task.status.state.is_terminal()
            }
            TaskState::New
            | TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Complete
            | TaskState::Shutdown
            | TaskState::Failed
            | TaskState::Remove => false,
        };
        if notable {
            advance(task, status);
        }
    });
}

/// Takes a status over unless it lies behind; what was known of the container stays known.
fn advance(task: &mut Task, status: &TaskStatus) {
    if status.state < task.status.state {
        return;
    }
    let before = std::mem::replace(&mut task.status, status.clone());
    if task.status.container_id.is_empty() {
        task.status.container_id = before.container_id;
    }
}

/// Only what will never run again, or never ran, can be forgotten.
fn delete(edit: &mut Edit<'_>, id: TaskId) {
    let over = edit.state.task_by_id(id).is_some_and(|task| {
        task.status.state.is_terminal() || task.status.state < TaskState::Assigned
    });
    if over {
        super::remnants::keep(edit, id);
        edit.delete(Key::Task(id));
    }
}

/// Only of a task that has ended: a live one's payloads are there, or about to come. Task ids are never used again, so
/// the word holds however late it arrives and whatever else was given to the node meanwhile.
fn wiped(edit: &mut Edit<'_>, id: TaskId, node: NodeId) {
    if edit.state.remnant(id).is_some_and(|remnant| remnant.node == node) {
        edit.delete(Key::Remnant(id));
    }
    update(edit, id, |task| {
        task.wiped |= task.node == Some(node) && task.status.state.is_terminal();
    });
}

fn update(edit: &mut Edit<'_>, id: TaskId, change: impl FnOnce(&mut Task)) {
    let Some(before) = edit.state.task_by_id(id) else { return };
    let mut after = Task::clone(before);
    change(&mut after);
    if after != **before {
        after.meta = after.meta.changed(edit.at);
        edit.put(Entity::Task(Arc::new(after)));
    }
}
