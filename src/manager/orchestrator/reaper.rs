//! Forgets what is over: removed tasks, leftovers of removed services, and history beyond its limit.

use super::{draft::Draft, slot};
use crate::{
    kit::{id::ServiceId, limits::TASK_HISTORY},
    model::{
        command::TaskChange,
        service::Service,
        task::{Task, TaskState},
    },
};
use std::sync::Arc;

/// Removes the tasks of a service that is gone.
pub(super) fn bury(draft: &mut Draft<'_>, id: ServiceId) {
    let tasks: Vec<Arc<Task>> = draft.state().tasks_of(id).cloned().collect();
    for task in tasks {
        draft.desire(&task, TaskState::Remove);
        if is_over(&task) {
            draft.make(TaskChange::Delete { id: task.id });
        }
    }
}

pub(super) fn run(draft: &mut Draft<'_>, service: &Service) {
    let removed = |task: &&Arc<Task>| task.desired >= TaskState::Remove && is_over(task);
    let mut over: Vec<_> =
        draft.state().tasks_of(service.id).filter(removed).map(|task| task.id).collect();
    let keep = history(draft, service);
    for slot in slot::slots(draft.state(), service.id) {
        let past = slot.tasks.iter().skip(keep);
        let dead = past.filter(|task| task.desired > TaskState::Running && is_over(task));
        over.extend(dead.map(|task| task.id));
    }
    for id in over {
        draft.make(TaskChange::Delete { id });
    }
}

/// How many tasks a place keeps, the living one included. Counting attempts needs them all.
fn history(draft: &Draft<'_>, service: &Service) -> usize {
    let attempts = service.spec.task.restart.max_attempts;
    let limit = match draft.state().cluster() {
        _ if attempts > 0 => attempts.saturating_add(1),
        Some(cluster) => cluster.settings.task_history,
        None => TASK_HISTORY as u64,
    };
    usize::try_from(limit.max(1)).unwrap_or(usize::MAX)
}

/// It has ended, or never reached a node.
fn is_over(task: &Task) -> bool {
    task.status.state.is_terminal() || task.status.state < TaskState::Assigned
}
