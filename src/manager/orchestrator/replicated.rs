//! Keeps as many places filled as the service has replicas.

use super::{
    draft::Draft,
    slot::{self, Place, Slot},
};
use crate::{
    kit::id::NodeId,
    model::{service::Service, task::TaskState},
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn run(draft: &mut Draft<'_>, service: &Service, replicas: u64) {
    let filled: Vec<Slot> = slot::slots(draft.state(), service.id)
        .into_iter()
        .filter(|slot| slot.is_filled(service))
        .collect();
    let count = filled.len() as u64;
    if count < replicas {
        let taken: BTreeSet<Place> = filled.iter().map(|slot| slot.place).collect();
        let missing = (1..).filter(|number| !taken.contains(&Place::Number(*number)));
        let missing: Vec<u64> =
            missing.take(usize::try_from(replicas - count).unwrap_or(usize::MAX)).collect();
        for number in missing {
            draft.create(service, number, None, TaskState::Running);
        }
    } else {
        let surplus = usize::try_from(count - replicas).unwrap_or(usize::MAX);
        for slot in dismissal_order(filled).into_iter().take(surplus) {
            for task in &slot.tasks {
                draft.desire(task, TaskState::Remove);
            }
        }
    }
}

/// Who goes first when there are too many: places without a node or with several tasks; then those on nodes that have
/// most of them, there the ones not running, and the highest numbers.
fn dismissal_order(mut slots: Vec<Slot>) -> Vec<Slot> {
    slots.sort_by_key(|slot| (!slot.is_running(), slot.place));
    let mut copies: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut ranked: Vec<(u64, Slot)> = slots
        .into_iter()
        .map(|slot| {
            let mut runnable = slot.runnable();
            let rank = match (runnable.next().map(|task| task.node), runnable.next()) {
                (Some(Some(node)), None) => {
                    let nth = copies.entry(node).or_default();
                    *nth += 1;
                    *nth
                }
                (None | Some(None), _) | (Some(Some(_)), Some(_)) => u64::MAX,
            };
            drop(runnable);
            (rank, slot)
        })
        .collect();
    ranked.sort_by(|(a, x), (b, y)| {
        b.cmp(a).then(x.is_running().cmp(&y.is_running())).then(y.place.cmp(&x.place))
    });
    ranked.into_iter().map(|(_, slot)| slot).collect()
}
