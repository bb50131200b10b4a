//! Decides which tasks should exist and what is wanted of them: plain functions of the state and the time.
//!
//! A pass over a service goes through its phases in order. Each phase sees a draft of the state in which the
//! decisions of the phases before it are made already, so no phase needs to know what another one decided.

mod draft;
mod global;
mod nodes;
mod promote;
mod reaper;
mod replicated;
mod restart;
mod slot;
mod updater;

pub use draft::{BATCH, Draft, Plan};

use crate::{kit::id::ServiceId, model::service::Mode};

/// Decides for one service, present or gone.
pub fn service(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.state().service_by_id(id).cloned() else {
        reaper::bury(draft, id);
        return;
    };
    restart::run(draft, &service);
    match service.spec.mode {
        Mode::Replicated { replicas } => replicated::run(draft, &service, replicas),
        Mode::Global => global::run(draft, &service),
    }
    updater::run(draft, &service);
    promote::run(draft, &service);
    reaper::run(draft, &service);
}

/// Decides for the tasks of nodes that are gone for good.
pub fn nodes(draft: &mut Draft<'_>) {
    nodes::run(draft);
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::manager) mod world;
