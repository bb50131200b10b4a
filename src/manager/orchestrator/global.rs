//! Keeps one task on every node that fits.

use super::{
    draft::Draft,
    slot::{self, Place},
};
use crate::{
    kit::id::NodeId,
    model::{node::Availability, service::Service, task::TaskState},
};
use std::collections::BTreeSet;

pub(super) fn run(draft: &mut Draft<'_>, service: &Service) {
    let slots = slot::slots(draft.state(), service.id);
    let taken: BTreeSet<Place> =
        slots.iter().filter(|slot| slot.is_filled(service)).map(|slot| slot.place).collect();
    let open: Vec<NodeId> = draft
        .state()
        .nodes()
        .filter(|node| {
            node.is_ready()
                && node.availability == Availability::Active
                && slot::fits(service, node)
                && !taken.contains(&Place::Node(node.id))
        })
        .map(|node| node.id)
        .collect();
    for node in open {
        draft.create(service, 0, Some(node), TaskState::Running);
    }
    for slot in slots {
        let Place::Node(node) = slot.place else { continue };
        if draft.state().node_by_id(node).is_none() {
            for task in &slot.tasks {
                draft.desire(task, TaskState::Remove);
            }
        }
    }
}
