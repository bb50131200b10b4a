//! A service's tasks by the place they fill, and the questions all phases ask about them.

use super::draft::Draft;
use crate::{
    kit::id::{NodeId, ServiceId},
    model::{
        node::{Availability, Node},
        service::{Mode, RestartCondition, Service},
        task::{Task, TaskState},
    },
    store::State,
};
use std::{collections::BTreeMap, sync::Arc};

/// What the tasks of one place have in common: the number of a replica, or the node of a global service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Number(u64),
    Node(NodeId),
}

impl Place {
    pub(super) fn of(task: &Task) -> Self {
        match (task.slot, task.node) {
            (0, Some(node)) => Self::Node(node),
            (slot, _) => Self::Number(slot),
        }
    }

    /// The slot and the preset node of a task made for this place.
    pub(super) fn slot_and_node(self) -> (u64, Option<NodeId>) {
        match self {
            Self::Number(slot) => (slot, None),
            Self::Node(node) => (0, Some(node)),
        }
    }
}

/// The tasks of one place that are not about to be forgotten, newest first, never empty.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) tasks: Vec<Arc<Task>>,
}

impl Slot {
    /// The tasks that should be running or become so.
    pub(super) fn runnable(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.iter().filter(|task| task.desired <= TaskState::Running)
    }

    pub(super) fn newest(&self) -> &Arc<Task> {
        &self.tasks[0]
    }

    pub(super) fn is_running(&self) -> bool {
        self.runnable().any(|task| task.status.state == TaskState::Running)
    }

    /// Whether nothing runs here because the work is done, or because it was tried often enough.
    pub(super) fn is_settled(&self, service: &Service) -> bool {
        self.runnable().next().is_none()
            && ended_by_itself(self.newest())
            && !self.may_restart(self.newest(), service)
    }

    /// Whether the place needs no new task.
    pub(super) fn is_filled(&self, service: &Service) -> bool {
        self.runnable().next().is_some() || self.is_settled(service)
    }

    /// Whether the policy lets a task that ended by itself be followed by another one.
    pub(super) fn may_restart(&self, task: &Task, service: &Service) -> bool {
        let policy = &service.spec.task.restart;
        match policy.condition {
            RestartCondition::None => return false,
            RestartCondition::OnFailure if task.status.state == TaskState::Complete => {
                return false;
            }
            RestartCondition::OnFailure | RestartCondition::Any => {}
        }
        if policy.max_attempts == 0 {
            return true;
        }
        // Judged at the task's end, so that the answer stays the same while the window moves on.
        let counts = |other: &&Arc<Task>| {
            other.spec_index == task.spec_index
                && other.age_key() <= task.age_key()
                && (policy.window.is_zero()
                    || task.status.at.since(other.meta.created_at) <= policy.window)
        };
        let first = self.tasks.iter().rfind(|other| other.spec_index == task.spec_index);
        let attempts = self
            .tasks
            .iter()
            .filter(counts)
            .filter(|other| first.is_none_or(|first| first.id != other.id))
            .count();
        (attempts as u64) < policy.max_attempts
    }
}

/// The service's tasks by place; those that are to be removed fill none.
pub(super) fn slots(state: &State, service: ServiceId) -> Vec<Slot> {
    let mut places: BTreeMap<Place, Vec<Arc<Task>>> = BTreeMap::new();
    for task in state.tasks_of(service).filter(|task| task.desired < TaskState::Remove) {
        places.entry(Place::of(task)).or_default().push(task.clone());
    }
    places
        .into_iter()
        .map(|(place, mut tasks)| {
            tasks.sort_by_key(|task| std::cmp::Reverse(task.age_key()));
            Slot { place, tasks }
        })
        .collect()
}

/// Whether the process ended, or could not begin, without being asked.
pub(super) fn ended_by_itself(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
}

/// Whether a task was made from another spec than the service has now, in a way that its process would notice.
pub(super) fn is_dirty(state: &State, service: &Service, task: &Task) -> bool {
    if task.spec_index == service.spec_index || *task.spec == service.spec.task {
        return false;
    }
    let elsewhere = &service.spec.task.placement;
    if task.spec.placement == *elsewhere {
        return true;
    }
    let mut moved = (*task.spec).clone();
    moved.placement = elsewhere.clone();
    let only_placement = moved == service.spec.task;
    let still_fits =
        task.node.and_then(|id| state.node_by_id(id)).is_some_and(|node| fits(service, node));
    !(only_placement && still_fits)
}

/// Whether a node satisfies the service's constraints.
pub(super) fn fits(service: &Service, node: &Node) -> bool {
    service.spec.task.placement.constraints.iter().all(|constraint| constraint.matches(node))
}

/// Whether a task cannot stay where it is: the node is gone, lost, being drained, or no longer fits. A node that is
/// merely out of sight keeps its tasks.
pub(super) fn must_move(draft: &Draft<'_>, service: &Service, task: &Task) -> bool {
    let Some(id) = task.node else { return false };
    if task.status.state < TaskState::Assigned && service.spec.mode != Mode::Global {
        return false;
    }
    draft.state().node_by_id(id).is_none_or(|node| {
        is_lost(draft, node)
            || node.availability == Availability::Drain
            // Only an active node is watched for that; a paused one keeps what it has.
            || (node.availability == Availability::Active && !fits(service, node))
    })
}

/// Whether a task that was asked to stop may still be running somewhere we can hear of.
pub(super) fn is_stopping(draft: &Draft<'_>, task: &Task) -> bool {
    let node = task.node.and_then(|id| draft.state().node_by_id(id));
    let lost = node.is_none_or(|node| is_lost(draft, node));
    task.desired > TaskState::Running && task.holds_payloads() && !lost
}

/// Whether nobody can say what becomes of a node's tasks.
fn is_lost(draft: &Draft<'_>, node: &Node) -> bool {
    node.is_lost(draft.now(), draft.grace())
}
