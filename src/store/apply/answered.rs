//! Remembers what each client was answered, so that a request sent twice is done once.

use super::{Edit, Entity, Key, State};
use crate::{
    kit::limits::{ANSWERS_PER_CLIENT, CLIENTS_REMEMBERED},
    model::{
        command::{Answered, Outcome, RequestId},
        refusal::{Refusal, RefusalKind},
    },
};
use std::sync::Arc;

/// Returns the outcome of a request that was carried out before, or refuses one too old to tell.
pub(super) fn recall(state: &State, request: RequestId) -> Option<Outcome> {
    let answered = state.answered(request.client)?;
    if let Some(outcome) = answered.outcomes.get(request.sequence) {
        return Some(outcome.clone());
    }
    (request.sequence <= answered.forgotten).then(|| {
        Err(Refusal::new(
            RefusalKind::Conflict,
            "the outcome of this request is no longer remembered",
        )
        .hint("look at what is there before you repeat it"))
    })
}

/// Keeps the outcome, and forgets this client's oldest and the most silent client beyond their bounds.
pub(super) fn remember(edit: &mut Edit<'_>, request: RequestId, outcome: &Outcome) {
    let (_, newest, _) = edit.state.clients();
    let (mut forgotten, mut outcomes) = match edit.state.answered(request.client) {
        Some(before) => (before.forgotten, before.outcomes.with(request.sequence, outcome.clone())),
        None => (0, [(request.sequence, outcome.clone())].into_iter().collect()),
    };
    if let Some(sequence) = outcomes.forget(ANSWERS_PER_CLIENT) {
        forgotten = sequence;
    }
    edit.put(Entity::Answered(Arc::new(Answered {
        client: request.client,
        // A new leader's clock may be behind; whoever asked last must still be the last to be forgotten.
        at: newest.map_or(edit.at, |newest| newest.max(edit.at)),
        forgotten,
        outcomes,
    })));
    if let (count, _, Some(silent)) = edit.state.clients()
        && count > CLIENTS_REMEMBERED
    {
        // Among those of one moment the least id goes, were it the one just heard: all replicas agree.
        edit.delete(Key::Answered(silent));
    }
}
