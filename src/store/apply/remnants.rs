//! What deleted tasks may have left on their nodes, kept until the nodes confirm that it is gone.
//!
//! A node that has been removed confirms nothing any more. What it may have stays on record for as long as the object
//! is there that ought to be replaced: removing that ends the matter.

use super::{Edit, Entity, Key};
use crate::{
    kit::id::{NodeId, ObjectId, TaskId},
    model::task::{Payload, Remnant},
};
use std::sync::Arc;

/// Notes what may be left of a task that is about to be deleted.
pub(super) fn keep(edit: &mut Edit<'_>, id: TaskId) {
    let Some(task) = edit.state.task_by_id(id).filter(|task| task.may_be_held()) else { return };
    let Some(node) = task.node else { return };
    let remnant = Remnant {
        task: id,
        node,
        service_name: task.service_name.clone(),
        since: task.status.at,
        payloads: task.payloads().collect(),
    };
    put(edit, remnant);
}

/// The object is gone: nothing is left to do about those of its payloads that were lost with a node.
pub(super) fn forget_object(edit: &mut Edit<'_>, object: ObjectId) {
    let of_it = |payload: &Payload| payload.version.object == object;
    let concerned = |remnant: &&Arc<Remnant>| remnant.payloads.iter().any(of_it);
    let remnants: Vec<_> = edit.state.remnants().filter(concerned).cloned().collect();
    for remnant in remnants {
        put(edit, Remnant::clone(&remnant));
    }
}

/// The node is gone: of what it may have, only that matters which is there to be replaced.
pub(super) fn forget_node(edit: &mut Edit<'_>, node: NodeId) {
    let remnants: Vec<_> = edit.state.remnants_on(node).cloned().collect();
    for remnant in remnants {
        put(edit, Remnant::clone(&remnant));
    }
}

/// Keeps what still matters of a remnant, or nothing if none of it does.
fn put(edit: &mut Edit<'_>, mut remnant: Remnant) {
    remnant.payloads.retain(|payload| edit.state.matters(remnant.node, payload));
    let before = edit.state.remnant(remnant.task);
    if remnant.payloads.is_empty() {
        if before.is_some() {
            edit.delete(Key::Remnant(remnant.task));
        }
    } else if before.is_none_or(|before| **before != remnant) {
        edit.put(Entity::Remnant(Arc::new(remnant)));
    }
}
