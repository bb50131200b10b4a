//! Follows tasks that ended, or lost their node, by new ones.

use super::{
    draft::Draft,
    slot::{self, Place, Slot},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        node::Availability,
        service::Service,
        task::{Task, TaskState},
    },
};
use std::sync::Arc;

pub(super) fn run(draft: &mut Draft<'_>, service: &Service) {
    for slot in slot::slots(draft.state(), service.id) {
        if is_paused(draft, slot.place) {
            continue;
        }
        // Newest first: whoever is younger and alive, or was put here just now, is the successor of all older ones.
        let mut succeeded = false;
        for task in slot.runnable() {
            let moves = slot::must_move(draft, service, task);
            if !task.status.state.is_terminal() && !moves {
                succeeded = true;
                continue;
            }
            let allowed = !slot::ended_by_itself(task) || slot.may_restart(task, service);
            // A global service's task is made where its node still wants one.
            let wanted = matches!(slot.place, Place::Number(_)) || !moves;
            let follow = allowed && wanted && !succeeded;
            if let Some(due) = too_soon(draft, service, task).filter(|_| follow) {
                draft.wake_at(due);
                succeeded = true;
                continue;
            }
            draft.desire(task, TaskState::Shutdown);
            if follow {
                let (number, node) = slot.place.slot_and_node();
                // `promote` starts it when its time has come, which may be at once.
                draft.create(service, number, node, TaskState::Ready);
                succeeded = true;
            }
        }
        drop_doubles(draft, service, &slot);
    }
}

/// When a task that could not even be made may have a successor, if that is not yet. The successor is prepared at once,
/// whatever delay its start waits for, so a missing image would be asked for again and again without a pause.
fn too_soon(draft: &Draft<'_>, service: &Service, task: &Task) -> Option<Timestamp> {
    let due = task.meta.created_at.plus(service.spec.task.restart.delay);
    (task.status.state == TaskState::Rejected && due > draft.now()).then_some(due)
}

/// A global service's tasks on a paused node are left as they are.
fn is_paused(draft: &Draft<'_>, place: Place) -> bool {
    let Place::Node(id) = place else { return false };
    let node = draft.state().node_by_id(id);
    node.is_some_and(|node| node.availability == Availability::Pause)
}

/// Two leaders in a row may each have filled a place; the task that has come further stays.
fn drop_doubles(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let alive = |task: &&Arc<Task>| {
        !task.status.state.is_terminal()
            && !slot::is_dirty(draft.state(), service, task)
            && !slot::must_move(draft, service, task)
    };
    let mut same: Vec<_> = slot.runnable().filter(alive).cloned().collect();
    same.sort_by_key(|task| (std::cmp::Reverse(task.status.state), task.age_key()));
    for double in same.iter().skip(1) {
        draft.desire(double, TaskState::Shutdown);
    }
}
