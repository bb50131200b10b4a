//! What nodes report of their tasks.

use super::{Shared, answers};
use crate::{
    kit::id::{NodeId, TaskId},
    model::{
        command::{Command, TaskChange},
        refusal::{Refusal, RefusalKind},
        task::{TaskState, TaskStatus},
    },
    wire::{Malformed, v1},
};
use tonic::Status;

/// Updates proposed in one command: it has to stay well below the size of one.
const UPDATES: usize = 250;
/// Bytes of a message or an error that are kept; an engine can be talkative.
const TEXT: usize = 4096;

/// Checks the updates and returns when they are stored. A task that is gone is passed over.
pub(super) async fn take(
    shared: &Shared,
    node: NodeId,
    updates: Vec<v1::TaskStatusUpdate>,
) -> Result<(), Status> {
    let state = shared.raft.state();
    let mut changes = Vec::new();
    for (at, update) in updates.into_iter().enumerate() {
        let (id, status) = read(update).map_err(|fault| fault.within(&format!("updates[{at}]")))?;
        let Some(task) = state.task_by_id(id) else { continue };
        if task.node != Some(node) {
            tracing::warn!(%node, task = %id, "refused a report on another node's task");
            let message = format!("task {id} does not belong to node {node}");
            return Err(Refusal::new(RefusalKind::Denied, message).into());
        }
        if status.state > task.status.state
            || status.state == task.status.state && status != task.status
        {
            changes.push(TaskChange::Report { id, node, status });
        }
    }
    // The proposer packs what comes from all nodes into one entry.
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(UPDATES));
        let command = Command::ChangeTasks { changes };
        shared.raft.propose(None, command).await.map_err(answers::proposed)?;
        changes = rest;
    }
    Ok(())
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
