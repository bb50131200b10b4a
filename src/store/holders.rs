//! Which nodes may have which payloads: from a task's assignment until its node has confirmed that they are gone.
//!
//! Nothing is written for it when a payload is delivered: that a task was put on a node says it all. What is left of
//! tasks that were deleted before the confirmation came is told by rows of their own.

use super::State;
use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, ObjectId},
        name::ServiceName,
    },
    model::task::{ObjectVersion, Payload, Remnant, Task},
};
use std::collections::{BTreeMap, BTreeSet};

/// A node that may have a version's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub node: NodeId,
    pub payload: Payload,
    /// A task there needs it. Else the last one has ended, and its removal is to be confirmed.
    pub in_use: bool,
    /// Since when: the oldest task that needs it, or the end of the last that did.
    pub since: Timestamp,
    /// Whose tasks need it; if none does, whose did.
    pub services: BTreeSet<ServiceName>,
}

impl State {
    /// Whether it matters that a node may have a payload: not once the node was removed, which will confirm nothing, and
    /// neither is the object there any more, which ought to be replaced.
    pub(in crate::store) fn matters(&self, node: NodeId, payload: &Payload) -> bool {
        self.node_by_id(node).is_some() || self.object_by_id(payload.version.object).is_some()
    }

    /// Who may have a version of an object, by node and version; also after the object is gone.
    pub fn holders_of(&self, object: ObjectId) -> Vec<Holder> {
        let mut found = Found::new(self);
        let of_it = |payload: &Payload| payload.version.object == object;
        for task in self.tasks() {
            found.add_task(task, of_it);
        }
        for remnant in self.remnants() {
            found.add_remnant(remnant, of_it);
        }
        found.into_holders()
    }

    /// What a node may have, by object and version; also after the node is gone.
    pub fn held_on(&self, node: NodeId) -> Vec<Holder> {
        let mut found = Found::new(self);
        for task in self.tasks_on(node) {
            found.add_task(task, |_| true);
        }
        for remnant in self.remnants_on(node) {
            found.add_remnant(remnant, |_| true);
        }
        found.into_holders()
    }
}

struct Found<'a> {
    state: &'a State,
    holders: BTreeMap<(NodeId, ObjectVersion), Holder>,
}

impl<'a> Found<'a> {
    fn new(state: &'a State) -> Self {
        Self { state, holders: BTreeMap::new() }
    }

    fn add_task(&mut self, task: &Task, is_asked_for: impl Fn(&Payload) -> bool) {
        let Some(node) = task.node.filter(|_| task.may_be_held()) else { return };
        let in_use = task.holds_payloads();
        let since = if in_use { task.meta.created_at } else { task.status.at };
        for payload in task.payloads().filter(is_asked_for) {
            self.add(node, payload, in_use, since, &task.service_name);
        }
    }

    fn add_remnant(&mut self, remnant: &Remnant, is_asked_for: impl Fn(&Payload) -> bool) {
        let Remnant { task: _, node, service_name, since, payloads } = remnant;
        for payload in payloads.iter().filter(|payload| is_asked_for(payload)) {
            self.add(*node, payload.clone(), false, *since, service_name);
        }
    }

    fn add(
        &mut self,
        node: NodeId,
        payload: Payload,
        in_use: bool,
        since: Timestamp,
        service: &ServiceName,
    ) {
        if !self.state.matters(node, &payload) {
            return;
        }
        let one =
            Holder { node, payload, in_use, since, services: BTreeSet::from([service.clone()]) };
        let place = (node, one.payload.version);
        let holder = self.holders.entry(place).or_insert_with(|| one.clone());
        match (holder.in_use, in_use) {
            (false, true) => *holder = one,
            (true, false) => {}
            (true, true) => {
                holder.since = holder.since.min(since);
                holder.services.extend(one.services);
            }
            (false, false) => {
                holder.since = holder.since.max(since);
                holder.services.extend(one.services);
            }
        }
    }

    fn into_holders(self) -> Vec<Holder> {
        self.holders.into_values().collect()
    }
}
