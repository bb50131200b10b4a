//! Gives up on tasks whose node nobody will hear of again, forgets nodes that left and never said their last word, and
//! looks again when a node that cannot work loses its tasks.

use super::draft::Draft;
use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, TaskId},
    },
    model::{
        command::{Command, TaskChange},
        node::{NodeState, Standing},
        task::{TaskState, TaskStatus},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// A node that was down for this long has lost its tasks.
const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A node that left and has not said that it has wiped what it had may have it still; for so long its row says so. What
/// matters of it stays on record after that, as it does of a node that was removed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

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
    let mut forgotten: Vec<NodeId> = Vec::new();
    for node in state.nodes().filter(|node| node.manager.is_none()) {
        let Standing::Left { at, wiped: _ } = node.standing else { continue };
        match at.plus(FORGOTTEN_AFTER) {
            deadline if deadline <= now => forgotten.push(node.id),
            deadline => drop(deadlines.insert(deadline, ())),
        }
    }
    // What runs there is judged with each service.
    let failing = state.nodes().filter_map(|node| node.lost_at(draft.grace()));
    deadlines.extend(failing.filter(|at| *at > now).map(|at| (at, ())));
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
    for id in forgotten {
        draft.command(Command::RemoveNode { id, force: false });
    }
    if let Some((deadline, ())) = deadlines.first_key_value() {
        draft.wake_at(*deadline);
    }
}
