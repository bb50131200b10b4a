//! What was removed is remembered until every manager has dropped it from its disk.

use super::{Edit, Entity, Key};
use crate::{
    kit::{
        id::{NodeId, ObjectId},
        limits::DESTROYED,
    },
    model::{
        command::{Answer, Outcome},
        destroyed::Destroyed,
        object::Object,
    },
};
use std::sync::Arc;

/// Remembers an object that goes now.
pub(super) fn begin(edit: &mut Edit<'_>, object: &Object) {
    if edit.state.destroyed().count() >= DESTROYED {
        let oldest = edit.state.destroyed().min_by_key(|one| (one.removed_at, one.id));
        if let Some(id) = oldest.map(|one| one.id) {
            edit.delete(Key::Destroyed(id));
        }
    }
    edit.put(Entity::Destroyed(Arc::new(Destroyed::new(object, edit.at))));
}

/// A manager has dropped these. What all have dropped is forgotten.
pub(super) fn note(edit: &mut Edit<'_>, node: NodeId, objects: &[ObjectId]) -> Outcome {
    for id in objects {
        let Some(before) = edit.state.destroyed_by_id(*id).cloned() else { continue };
        if before.done.contains(&node) {
            continue;
        }
        let mut now = Destroyed::clone(&before);
        now.done.insert(node);
        edit.put(Entity::Destroyed(Arc::new(now)));
    }
    settle(edit);
    Ok(Answer::Done)
}

/// Forgets what no manager has any more; also asked when there are fewer managers than before.
pub(super) fn settle(edit: &mut Edit<'_>) {
    let is_over = |one: &&Arc<Destroyed>| !edit.state.nodes().any(|node| one.waits_for(node));
    let over: Vec<ObjectId> = edit.state.destroyed().filter(is_over).map(|one| one.id).collect();
    for id in over {
        edit.delete(Key::Destroyed(id));
    }
}
