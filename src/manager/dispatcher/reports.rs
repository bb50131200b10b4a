//! What nodes report of their tasks: how they go, and that nothing is left of their payloads.

use super::{Shared, answers};
use crate::{
    kit::{
        id::{NodeId, TaskId},
        limits::STATUSES_PER_REPORT,
    },
    manager::task_changes,
    model::{
        command::TaskChange,
        refusal::{Refusal, RefusalKind},
        task::{TaskState, TaskStatus},
    },
    wire::{Malformed, v1},
};
use std::time::Duration;
use tonic::Status;

/// A node's clock may be ahead of ours by that much; further ahead nothing it reports can have happened.
const AHEAD: Duration = Duration::from_secs(60);
/// Bytes of a message or an error that are kept; an engine can be talkative.
const TEXT: usize = 4096;

/// Checks the updates and returns when they are stored. A task that is gone is passed over.
pub(super) async fn take(
    shared: &Shared,
    node: NodeId,
    updates: Vec<v1::TaskStatusUpdate>,
    wiped: Vec<String>,
) -> Result<(), Status> {
    for (what, count) in [("statuses", updates.len()), ("confirmations", wiped.len())] {
        if count > STATUSES_PER_REPORT {
            tracing::warn!(%node, count, what, "refused a report of too many tasks at once");
            let message = format!("a report has at most {STATUSES_PER_REPORT} {what}, not {count}");
            return Err(Refusal::invalid(message).into());
        }
    }
    let state = shared.raft.state();
    let now = shared.clock.now();
    let mut changes = Vec::new();
    for (at, update) in updates.into_iter().enumerate() {
        let (id, mut status) = read(update).map_err(|fault| {
            tracing::warn!(%node, %fault, "refused a report that makes no sense");
            fault.within(&format!("updates[{at}]"))
        })?;
        let Some(task) = state.task_by_id(id) else { continue };
        check_owner(node, id, task.node)?;
        if status.at > now.plus(AHEAD) {
            // Told once for each: the row then has our time.
            tracing::warn!(%node, task = %id, at = %status.at, "a node reports what is yet to come; taken as of now");
            status.at = now;
        }
        if status.state > task.status.state
            || status.state == task.status.state && status != task.status
        {
            changes.push(TaskChange::Report { id, node, status });
        }
    }
    for (at, id) in wiped.iter().enumerate() {
        let bad = |fault| Malformed::new(fault).within(&format!("wiped_task_ids[{at}]"));
        let id: TaskId = id.parse().map_err(bad)?;
        let left = state.remnant(id).map(|remnant| remnant.node);
        let task = state.task_by_id(id).filter(|task| left.is_none() && !task.wiped);
        let Some(owner) = left.or_else(|| task.and_then(|task| task.node)) else { continue };
        check_owner(node, id, Some(owner))?;
        // Whether the task has ended is judged when this is applied: after the statuses above.
        changes.push(TaskChange::Wiped { id, node });
    }
    task_changes::propose(&shared.raft, changes).await.map_err(answers::proposed)
}

fn check_owner(node: NodeId, task: TaskId, owner: Option<NodeId>) -> Result<(), Status> {
    if owner == Some(node) {
        return Ok(());
    }
    tracing::warn!(%node, %task, "refused a report on another node's task");
    let message = format!("task {task} does not belong to node {node}");
    Err(Refusal::new(RefusalKind::Denied, message).into())
}

fn read(update: v1::TaskStatusUpdate) -> Result<(TaskId, TaskStatus), Malformed> {
    let v1::TaskStatusUpdate { task_id, status } = update;
    let id = task_id.parse().map_err(|fault| Malformed::new(fault).within("task_id"))?;
    let status = status.ok_or_else(|| Malformed::new("must be set").within("status"))?;
    let mut status = TaskStatus::try_from(status).map_err(|fault| fault.within("status"))?;
    // The other states are the manager's to give.
    if !(TaskState::Accepted..=TaskState::Rejected).contains(&status.state) {
        let why = format!("a node cannot report the state {}", status.state);
        return Err(Malformed::new(why).within("status.state"));
    }
    cut(&mut status.message);
    cut(&mut status.error);
    cut(&mut status.container_id);
    Ok((id, status))
}

fn cut(text: &mut String) {
    if text.len() > TEXT {
        let mut end = TEXT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
