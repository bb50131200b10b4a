//! What one node was told to hold, and the step from there to what it should hold now. Pure.

use crate::{
    kit::id::{NodeId, TaskId},
    model::task::{ObjectVersion, Task, TaskState},
    store::State,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a node was told.
#[derive(Debug)]
pub(super) struct Holding {
    node: NodeId,
    tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Each payload with the tasks that need it.
    payloads: BTreeMap<ObjectVersion, BTreeSet<TaskId>>,
}

/// What a node has to be told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) payloads: Vec<ObjectVersion>,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) gone_tasks: Vec<TaskId>,
    pub(super) gone_payloads: Vec<ObjectVersion>,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        let Self { payloads, tasks, gone_tasks, gone_payloads } = self;
        payloads.is_empty() && tasks.is_empty() && gone_tasks.is_empty() && gone_payloads.is_empty()
    }
}

impl Holding {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, tasks: BTreeMap::new(), payloads: BTreeMap::new() }
    }

    /// The step to everything `state` wants of the node.
    pub(super) fn all(&mut self, state: &State) -> Step {
        let ids: BTreeSet<_> = state
            .tasks_on(self.node)
            .map(|task| task.id)
            .chain(self.tasks.keys().copied())
            .collect();
        self.some(state, &ids)
    }

    /// The first step: everything `state` wants of the node, and the deleted tasks of which the node has yet to
    /// confirm that nothing is left.
    pub(super) fn first(&mut self, state: &State) -> Step {
        let mut step = self.all(state);
        step.gone_tasks.extend(state.remnants_on(self.node).map(|remnant| remnant.task));
        step
    }

    /// The step to what `state` says of these tasks.
    pub(super) fn some(&mut self, state: &State, ids: &BTreeSet<TaskId>) -> Step {
        let mut step = Step::default();
        // Payloads whose users changed, and whether the node had them before.
        let mut touched = BTreeMap::new();
        for id in ids {
            let now = state.task_by_id(*id).filter(|task| self.is_ours(task));
            let before = match now {
                Some(task) => self.tasks.insert(*id, Arc::clone(task)),
                None => self.tasks.remove(id),
            };
            for version in before.iter().filter(|t| t.needs_payloads()).flat_map(|t| &t.versions) {
                touched.entry(*version).or_insert_with(|| self.payloads.contains_key(version));
                if let Some(users) = self.payloads.get_mut(version) {
                    users.remove(id);
                    if users.is_empty() {
                        self.payloads.remove(version);
                    }
                }
            }
            for version in now.iter().filter(|t| t.needs_payloads()).flat_map(|t| &t.versions) {
                touched.entry(*version).or_insert_with(|| self.payloads.contains_key(version));
                self.payloads.entry(*version).or_default().insert(*id);
            }
            match (now, before) {
                (Some(task), Some(before)) if same_work(task, &before) => {}
                (Some(task), _) => step.tasks.push(Arc::clone(task)),
                (None, Some(_)) => step.gone_tasks.push(*id),
                (None, None) => {}
            }
        }
        for (version, had) in touched {
            match (had, self.payloads.contains_key(&version)) {
                (false, true) => step.payloads.push(version),
                (true, false) => step.gone_payloads.push(version),
                (true, true) | (false, false) => {}
            }
        }
        step
    }

    fn is_ours(&self, task: &Task) -> bool {
        task.node == Some(self.node) && task.status.state >= TaskState::Assigned
    }
}

/// Whether two forms of a task ask the same of its node. What the node reported itself is no news to it.
fn same_work(a: &Task, b: &Task) -> bool {
    let Task {
        id,
        meta: _,
        service,
        service_name,
        service_labels,
        slot,
        node,
        spec,
        spec_index,
        versions,
        desired,
        status: _,
        started_at: _,
        wiped: _,
    } = a;
    *id == b.id
        && *service == b.service
        && *service_name == b.service_name
        && *service_labels == b.service_labels
        && *slot == b.slot
        && *node == b.node
        && (Arc::ptr_eq(spec, &b.spec) || *spec == b.spec)
        && *spec_index == b.spec_index
        && *versions == b.versions
        && *desired == b.desired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{
            clock::Timestamp,
            id::{ObjectId, ServiceId},
        },
        model::{Meta, object::VersionNumber, service::TaskSpec, task::TaskStatus},
        store::Entity,
    };

    fn node(n: u8) -> NodeId {
        NodeId::from_random([n; 17])
    }

    fn version(n: u8) -> ObjectVersion {
        ObjectVersion { object: ObjectId::from_random([n; 17]), version: VersionNumber::FIRST }
    }

    fn task(n: u8, on: NodeId, state: TaskState, versions: &[ObjectVersion]) -> Task {
        Task {
            id: TaskId::from_random([n; 17]),
            meta: Meta::default(),
            service: ServiceId::from_random([9; 17]),
            service_name: "web".parse().unwrap(),
            service_labels: BTreeMap::new(),
            slot: n.into(),
            node: Some(on),
            spec: Arc::new(TaskSpec::default()),
            spec_index: 1,
            versions: versions.to_vec(),
            desired: TaskState::Running,
            status: TaskStatus {
                state,
                at: Timestamp(1),
                message: String::new(),
                error: String::new(),
                container_id: String::new(),
                pid: 0,
                exit_code: None,
            },
            started_at: None,
            wiped: false,
        }
    }

    fn state(tasks: &[Task]) -> State {
        State::from_entities(tasks.iter().map(|task| Entity::Task(Arc::new(task.clone()))))
    }

    fn ids(tasks: &[Arc<Task>]) -> Vec<u64> {
        let mut slots: Vec<_> = tasks.iter().map(|task| task.slot).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn a_node_gets_its_own_assigned_tasks_and_what_they_need_once() {
        let all = state(&[
            task(1, node(1), TaskState::Assigned, &[version(1), version(2)]),
            task(2, node(1), TaskState::Running, &[version(1)]),
            task(3, node(1), TaskState::Failed, &[version(3)]),
            task(4, node(1), TaskState::Pending, &[version(4)]),
            task(5, node(2), TaskState::Assigned, &[version(5)]),
        ]);
        let mut holding = Holding::new(node(1));
        let step = holding.all(&all);
        assert_eq!(step.payloads, [version(1), version(2)]);
        assert_eq!(ids(&step.tasks), [1, 2, 3]);
        assert!(holding.all(&all).is_empty());
    }

    #[test]
    fn what_a_node_reported_itself_is_no_news() {
        let mut holding = Holding::new(node(1));
        holding.all(&state(&[task(1, node(1), TaskState::Assigned, &[version(1)])]));
        let step = holding.all(&state(&[task(1, node(1), TaskState::Running, &[version(1)])]));
        assert!(step.is_empty(), "{step:?}");
        let mut stopped = task(1, node(1), TaskState::Running, &[version(1)]);
        stopped.desired = TaskState::Shutdown;
        assert_eq!(ids(&holding.all(&state(&[stopped])).tasks), [1]);
    }

    #[test]
    fn a_payload_goes_when_its_last_task_has_ended() {
        let both = |first, second| {
            state(&[
                task(1, node(1), first, &[version(1)]),
                task(2, node(1), second, &[version(1)]),
            ])
        };
        let mut holding = Holding::new(node(1));
        holding.all(&both(TaskState::Running, TaskState::Running));
        assert!(holding.all(&both(TaskState::Complete, TaskState::Running)).is_empty());
        let step = holding.all(&both(TaskState::Complete, TaskState::Failed));
        assert_eq!(step.gone_payloads, [version(1)]);
        assert_eq!(step.tasks, []);
    }

    #[test]
    fn a_payload_goes_when_its_last_task_is_to_end_and_is_not_given_again() {
        for desired in [TaskState::Shutdown, TaskState::Remove] {
            let running = task(1, node(1), TaskState::Running, &[version(1)]);
            let ending = state(&[Task { desired, ..running.clone() }]);
            let mut holding = Holding::new(node(1));
            assert_eq!(holding.first(&state(&[running])).payloads, [version(1)]);
            let step = holding.all(&ending);
            assert_eq!((ids(&step.tasks), step.gone_payloads), (vec![1], vec![version(1)]));
            let step = Holding::new(node(1)).first(&ending);
            assert_eq!((ids(&step.tasks), step.payloads), (vec![1], vec![]), "{desired}");
        }
    }

    #[test]
    fn a_payload_that_changes_hands_in_one_step_stays() {
        let mut holding = Holding::new(node(1));
        holding.all(&state(&[task(1, node(1), TaskState::Running, &[version(1)])]));
        let next = state(&[
            task(1, node(1), TaskState::Failed, &[version(1)]),
            task(2, node(1), TaskState::Assigned, &[version(1)]),
        ]);
        let step = holding.all(&next);
        assert_eq!(ids(&step.tasks), [2]);
        assert_eq!((step.payloads, step.gone_payloads), (vec![], vec![]));
    }

    #[test]
    fn a_deleted_task_goes_with_its_payloads() {
        let mut holding = Holding::new(node(1));
        let first = task(1, node(1), TaskState::Running, &[version(1)]);
        holding.all(&state(std::slice::from_ref(&first)));
        let step = holding.some(&State::default(), &BTreeSet::from([first.id]));
        assert_eq!(step.gone_tasks, [first.id]);
        assert_eq!(step.gone_payloads, [version(1)]);
        assert!(holding.all(&State::default()).is_empty());
    }
}
