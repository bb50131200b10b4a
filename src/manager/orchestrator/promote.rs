//! Lets prepared tasks run once their predecessor has stopped and their delay has passed.

use super::{
    draft::Draft,
    slot::{self, Slot},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        service::{STOP_GRACE, Service},
        task::{Task, TaskState},
    },
};
use std::{sync::Arc, time::Duration};

/// A predecessor that does not stop is waited for no longer than this, or than its own grace period and a little.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) fn run(draft: &mut Draft<'_>, service: &Service) {
    for slot in slot::slots(draft.state(), service.id) {
        let prepared = slot
            .runnable()
            .filter(|task| task.desired < TaskState::Running && !task.status.state.is_terminal());
        for task in prepared {
            let due = due(draft, service, &slot, task);
            if due <= draft.now() {
                draft.desire(task, TaskState::Running);
            } else {
                draft.wake_at(due);
            }
        }
    }
}

/// When a prepared task may run, as far as is known now.
fn due(draft: &Draft<'_>, service: &Service, slot: &Slot, task: &Arc<Task>) -> Timestamp {
    let made = task.meta.created_at;
    let older = || slot.tasks.iter().filter(|other| other.age_key() < task.age_key());
    let stopping = older()
        .filter(|other| slot::is_stopping(draft, other))
        .map(|other| patience(other))
        .max()
        .map(|wait| made.plus(wait));
    // Only a restart waits: an update or a move follows a task that was asked to stop.
    let restart = older()
        .next()
        .filter(|before| slot::ended_by_itself(before) && before.spec_index == task.spec_index)
        .map(|_| made.plus(service.spec.task.restart.delay));
    stopping.max(restart).unwrap_or(made)
}

fn patience(task: &Task) -> Duration {
    let grace = task.spec.container.stop_grace.unwrap_or(STOP_GRACE);
    LONGEST_WAIT.max(grace.saturating_add(Duration::from_secs(10)))
}
