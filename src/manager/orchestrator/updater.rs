//! Brings a changed spec to the tasks: some at a time, watching whether the new ones live.

use super::{
    draft::Draft,
    slot::{self, Place, Slot},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        command::Command,
        node::Availability,
        service::{
            FailureAction, RestartCondition, Service, UpdateConfig, UpdateOrder, UpdateState,
            UpdateStatus,
        },
        task::{Task, TaskState},
    },
};
use std::{sync::Arc, time::Duration};

pub(super) fn run(draft: &mut Draft<'_>, service: &Service) {
    let slots: Vec<Slot> = slot::slots(draft.state(), service.id)
        .into_iter()
        .filter(|slot| slot.is_filled(service) && !is_frozen(draft, slot.place))
        .collect();
    let outdated = slots.iter().any(|slot| is_outdated(draft, service, slot));
    let Some(status) = status(draft, service, outdated) else { return };
    if status.state.is_paused() || !status.state.is_active() && !outdated {
        return;
    }
    let rollback = status.state.is_rollback();
    let config =
        if rollback { service.spec.rollback_config() } else { service.spec.update_config() };
    let made = made_by_update(draft, service, &slots, status.started_at);
    if let Some(failed) = failure(service, &config, &made, slots.len())
        && stop(draft, service, &config, &status, failed)
    {
        return;
    }
    let busy = finish_started(draft, service, &config, &slots, &made);
    let most = if config.parallelism == 0 { usize::MAX } else { saturate(config.parallelism) };
    let mut waiting: Vec<&Slot> = slots
        .iter()
        .filter(|slot| is_outdated(draft, service, slot) && !has_current(draft, service, slot))
        .collect();
    waiting.sort_by_key(|slot| (slot.is_running(), slot.place));
    let begun = waiting.len().min(most.saturating_sub(busy));
    for slot in &waiting[..begun] {
        replace(draft, service, &config, slot);
    }
    if !outdated {
        complete(draft, service, &config, &status, &made, busy);
    }
}

fn saturate(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Where the update stands; one begins with the first task that has to be replaced.
fn status(draft: &mut Draft<'_>, service: &Service, outdated: bool) -> Option<UpdateStatus> {
    if let Some(status) = &service.update
        && !(outdated && is_over(status.state))
    {
        return Some(status.clone());
    }
    if !outdated {
        return None;
    }
    let rollback = service.update.as_ref().is_some_and(|status| status.state.is_rollback());
    let status = UpdateStatus {
        state: if rollback { UpdateState::RollbackStarted } else { UpdateState::Updating },
        started_at: draft.now(),
        completed_at: None,
        message: format!("{} in progress", if rollback { "rollback" } else { "update" }),
    };
    note(draft, service, status.clone());
    Some(status)
}

/// A task of an older spec may turn up after the end, as when a paused node comes back.
fn is_over(state: UpdateState) -> bool {
    matches!(state, UpdateState::Completed | UpdateState::RollbackCompleted)
}

fn note(draft: &mut Draft<'_>, service: &Service, status: UpdateStatus) {
    let spec_index = service.spec_index;
    draft.command(Command::NoteUpdate { id: service.id, spec_index, status });
}

/// Nothing is replaced on a node that is paused or drained, for a global service.
fn is_frozen(draft: &Draft<'_>, place: Place) -> bool {
    let Place::Node(id) = place else { return false };
    let node = draft.state().node_by_id(id);
    node.is_none_or(|node| node.availability != Availability::Active)
}

/// Whether a place still has a task of an older spec, running or settled.
fn is_outdated(draft: &Draft<'_>, service: &Service, slot: &Slot) -> bool {
    let dirty = |task: &Arc<Task>| slot::is_dirty(draft.state(), service, task);
    slot.runnable().any(dirty) || slot.runnable().next().is_none() && dirty(slot.newest())
}

/// Whether a place has a task of the present spec already.
fn has_current(draft: &Draft<'_>, service: &Service, slot: &Slot) -> bool {
    slot.runnable().any(|task| !slot::is_dirty(draft.state(), service, task))
}

/// The tasks this update made: of the present spec, in a place that had one of another spec before.
fn made_by_update(
    draft: &Draft<'_>,
    service: &Service,
    slots: &[Slot],
    started_at: Timestamp,
) -> Vec<Arc<Task>> {
    let of_update =
        |slot: &&Slot| slot.tasks.iter().any(|task| slot::is_dirty(draft.state(), service, task));
    slots
        .iter()
        .filter(of_update)
        .flat_map(|slot| &slot.tasks)
        .filter(|task| task.spec_index == service.spec_index && task.meta.created_at >= started_at)
        .cloned()
        .collect()
}

/// Finds a task that shows that more of the new ones died early than may.
fn failure<'a>(
    service: &Service,
    config: &UpdateConfig,
    made: &'a [Arc<Task>],
    slots: usize,
) -> Option<&'a Arc<Task>> {
    let early = |task: &Task| {
        let died = match task.status.state {
            TaskState::Failed | TaskState::Rejected => true,
            // A service whose tasks are meant to stay has lost one.
            TaskState::Complete => service.spec.task.restart.condition == RestartCondition::Any,
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Shutdown
            | TaskState::Remove
            | TaskState::Orphaned => false,
        };
        died && task
            .started_at
            .is_none_or(|started| task.status.at.since(started) <= config.monitor)
    };
    let failed: Vec<_> = made.iter().filter(|task| early(task)).collect();
    let ratio = failed.len() as f64 / slots.max(1) as f64;
    failed.last().copied().filter(|_| ratio > config.max_failure_ratio)
}

/// Acts on a failing update; returns whether it goes no further.
fn stop(
    draft: &mut Draft<'_>,
    service: &Service,
    config: &UpdateConfig,
    status: &UpdateStatus,
    failed: &Task,
) -> bool {
    let rollback = status.state.is_rollback();
    let what = if rollback { "rollback" } else { "update" };
    let cause = format!("due to failure or early termination of task {}", failed.id);
    match config.failure_action {
        FailureAction::Continue => false,
        // A rollback that fails is never rolled back, and without a spec to return to there is only the pause.
        FailureAction::Rollback if !rollback && service.previous.is_some() => {
            // Something else may have been noted in this pass; the index must be that of the draft.
            let index = draft.state().service_by_id(service.id).map(|now| now.meta.index);
            draft.command(Command::RollBackService {
                id: service.id,
                index,
                failure: Some(format!("update rolled back {cause}")),
            });
            true
        }
        FailureAction::Pause | FailureAction::Rollback => {
            let state = if rollback { UpdateState::RollbackPaused } else { UpdateState::Paused };
            let message = format!("{what} paused {cause}");
            note(draft, service, UpdateStatus { state, message, ..status.clone() });
            true
        }
    }
}

/// Takes the old task away where the new one runs beside it, and counts the places that are being worked on.
fn finish_started(
    draft: &mut Draft<'_>,
    service: &Service,
    config: &UpdateConfig,
    slots: &[Slot],
    made: &[Arc<Task>],
) -> usize {
    let mut busy = 0;
    for slot in slots {
        let (old, new): (Vec<_>, Vec<_>) =
            slot.runnable().partition(|task| slot::is_dirty(draft.state(), service, task));
        let lives = new.iter().any(|task| task.status.state == TaskState::Running);
        if lives {
            for task in &old {
                draft.desire(task, TaskState::Shutdown);
            }
        }
        let Some(task) = new.iter().find(|task| made.iter().any(|made| made.id == task.id)) else {
            continue;
        };
        let rested = task.started_at.map(|started| started.plus(config.delay));
        match rested {
            Some(rested) if rested > draft.now() => {
                draft.wake_at(rested);
                busy += 1;
            }
            Some(_) => {}
            None => busy += 1,
        }
    }
    busy
}

/// Begins the replacement of one place's tasks.
fn replace(draft: &mut Draft<'_>, service: &Service, config: &UpdateConfig, slot: &Slot) {
    let (number, node) = slot.place.slot_and_node();
    match config.order {
        UpdateOrder::StartFirst => draft.create(service, number, node, TaskState::Running),
        UpdateOrder::StopFirst => {
            for task in slot.runnable() {
                draft.desire(task, TaskState::Shutdown);
            }
            // Prepared while the old one stops; `promote` lets it run after that.
            draft.create(service, number, node, TaskState::Ready);
        }
    }
}

/// Ends the update when the last new task has been watched for long enough.
fn complete(
    draft: &mut Draft<'_>,
    service: &Service,
    config: &UpdateConfig,
    status: &UpdateStatus,
    made: &[Arc<Task>],
    busy: usize,
) {
    let watch = if config.delay >= config.monitor {
        config.delay.saturating_add(Duration::from_secs(1))
    } else {
        config.monitor
    };
    let last = made.iter().filter_map(|task| task.started_at).max();
    let end = last.map_or(draft.now(), |last| last.plus(watch));
    if end > draft.now() {
        draft.wake_at(end);
    } else if busy == 0 {
        let (state, message) = if status.state.is_rollback() {
            (UpdateState::RollbackCompleted, "rollback completed")
        } else {
            (UpdateState::Completed, "update completed")
        };
        let completed_at = Some(draft.now());
        let message = message.to_owned();
        note(draft, service, UpdateStatus { state, completed_at, message, ..status.clone() });
    }
}
