//! Remembers what each client was answered, so that a request sent twice is done once.

use super::{Edit, Entity, Key, State};
use crate::{
    kit::limits::{ANSWERS_PER_CLIENT, CLIENTS_REMEMBERED},
    model::{
        command::{Answered, Outcome, RequestId},
        refusal::{Refusal, RefusalKind},
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Returns the outcome of a request that was carried out before, or refuses one too old to tell.
pub(super) fn recall(state: &State, request: RequestId) -> Option<Outcome> {
    let answered = state.answered(request.client)?;
    if let Some(outcome) = answered.outcomes.get(&request.sequence) {
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
    let mut answered = edit.state.answered(request.client).map_or_else(
        || Answered {
            client: request.client,
            at: edit.at,
            forgotten: 0,
            outcomes: BTreeMap::new(),
        },
        |answered| Answered::clone(answered),
    );
    // A new leader's clock may be behind; whoever asked last must still be the last to be forgotten.
    answered.at = newest.map_or(edit.at, |newest| newest.max(edit.at));
    answered.outcomes.insert(request.sequence, outcome.clone());
    while answered.outcomes.len() > ANSWERS_PER_CLIENT {
        if let Some((sequence, _)) = answered.outcomes.pop_first() {
            answered.forgotten = sequence;
        }
    }
    edit.put(Entity::Answered(Arc::new(answered)));
    if let (count, _, Some(silent)) = edit.state.clients()
        && count > CLIENTS_REMEMBERED
    {
        // Among those of one moment the least id goes, were it the one just heard: all replicas agree.
        edit.delete(Key::Answered(silent));
    }
}
