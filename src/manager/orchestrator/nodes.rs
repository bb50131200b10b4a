//! Gives up on tasks whose node nobody will hear of again.

use super::draft::Draft;
use crate::{
    kit::{clock::Timestamp, id::TaskId},
    model::{
        command::TaskChange,
        node::NodeState,
        task::{TaskState, TaskStatus},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// A node that was down for this long has lost its tasks.
const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(draft: &mut Draft<'_>) {
    let mut lost: Vec<TaskId> = Vec::new();
    let mut deadlines: BTreeMap<Timestamp, ()> = BTreeMap::new();
    let state = draft.state();
    let now = draft.now();
    for node in state.nodes().filter(|node| node.status.state == NodeState::Down) {
        let mut alive = state
            .tasks_on(node.id)
            .filter(|task| task.holds_payloads())
            .map(|task| task.id)
            .peekable();
        let deadline = node.status.at.plus(ORPHANED_AFTER);
        if deadline <= now {
            lost.extend(alive);
        } else if alive.peek().is_some() {
            deadlines.insert(deadline, ());
        }
    }
    // Of nodes that are no longer members nothing will ever be heard.
    lost.extend(
        state
            .tasks()
            .filter(|task| {
                task.holds_payloads() && task.node.is_some_and(|id| state.node_by_id(id).is_none())
            })
            .map(|task| task.id),
    );
    for id in lost {
        let status = TaskStatus::new(TaskState::Orphaned, now, "the node is gone");
        draft.make(TaskChange::Note { id, status });
    }
    if let Some((deadline, ())) = deadlines.first_key_value() {
        draft.wake_at(*deadline);
    }
}
