//! Chooses a node for each task that waits for one: what fits, then where the service and the node have least to do.

use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, ServiceId},
    },
    model::{
        command::TaskChange,
        node::{Availability, Node, NodeState},
        service::{Port, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
    store::State,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// So many failures of one version of a service on a node within [`FAILURE_WINDOW`] put the node last.
const FAILURES: usize = 5;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);

/// Chooses nodes for all waiting tasks; a task that fits nowhere gets a note that says why, once.
pub fn schedule(state: &State, now: Timestamp) -> Vec<TaskChange> {
    let mut waiting: Vec<&Arc<Task>> = state.waiting_tasks().collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    waiting.sort_by_key(|task| (task.service, task.spec_index, task.slot, task.id));
    let mut loads: BTreeMap<NodeId, Load> =
        state.nodes().map(|node| (node.id, Load::of(state, node))).collect();
    let mut changes = Vec::new();
    for group in waiting.chunk_by(|a, b| (a.service, a.spec_index) == (b.service, b.spec_index)) {
        let crowd = Crowd::of(state, group[0], now);
        for task in group {
            changes.extend(place(task, &crowd, &mut loads, now));
        }
    }
    changes
}

fn place(
    task: &Task,
    crowd: &Crowd<'_>,
    loads: &mut BTreeMap<NodeId, Load>,
    now: Timestamp,
) -> Option<TaskChange> {
    let mut misfits: BTreeMap<Misfit, usize> = BTreeMap::new();
    let mut best: Option<(Rank, NodeId)> = None;
    let branches = crowd.branches(loads, task.service);
    for site in &crowd.sites {
        if task.node.is_some_and(|preset| preset != site.node.id) {
            continue;
        }
        let load = &loads[&site.node.id];
        if let Some(misfit) = site.misfit.or_else(|| load.misfit(task, site.node)) {
            *misfits.entry(misfit).or_default() += 1;
            continue;
        }
        let rank = Rank {
            failing: site.failing,
            branches: site
                .branch
                .iter()
                .enumerate()
                .map(|(level, _)| branches.get(&site.branch[..=level]).copied().unwrap_or_default())
                .collect(),
            of_service: load.of_service(task.service),
            total: load.total,
        };
        if best.as_ref().is_none_or(|(best, _)| rank < *best) {
            best = Some((rank, site.node.id));
        }
    }
    if let Some((_, node)) = best {
        loads.get_mut(&node)?.add(task);
        return Some(TaskChange::Assign { id: task.id, node });
    }
    let error = explain(&misfits);
    (task.status.error != error).then(|| {
        let mut status = TaskStatus::new(TaskState::Pending, now, "pending task scheduling");
        status.error = error;
        TaskChange::Note { id: task.id, status }
    })
}

/// Why a node does not do; the order is that of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Misfit {
    NotReady,
    NoRuntime,
    Resources,
    Constraints,
    Ports,
    MaxReplicas,
}

/// `no suitable node (…)`, the most frequent reason first.
fn explain(misfits: &BTreeMap<Misfit, usize>) -> String {
    let mut reasons: Vec<_> = misfits.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|(misfit, &count)| {
            let on = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
            match misfit {
                Misfit::NotReady => format!("{on} not available for new tasks"),
                Misfit::NoRuntime => format!("the runtime does not work on {on}"),
                Misfit::Resources => format!("insufficient resources on {on}"),
                Misfit::Constraints => format!("scheduling constraints not satisfied on {on}"),
                Misfit::Ports => format!("host-mode port already in use on {on}"),
                Misfit::MaxReplicas => format!("max replicas per node limit exceed on {on}"),
            }
        })
        .collect();
    match reasons.is_empty() {
        true => "no suitable node".to_owned(),
        false => format!("no suitable node ({})", reasons.join("; ")),
    }
}

/// What makes one node better than another; the least is the best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// It keeps failing tasks of this service.
    failing: bool,
    /// Tasks of the service in the node's branch, for each spread preference.
    branches: Vec<u64>,
    of_service: u64,
    total: u64,
}

/// Everything that is the same for all tasks of one version of a service.
struct Crowd<'a> {
    sites: Vec<Site<'a>>,
}

/// One node as that version sees it.
struct Site<'a> {
    node: &'a Node,
    misfit: Option<Misfit>,
    failing: bool,
    /// The node's value for each spread preference; a label it lacks counts as empty.
    branch: Vec<String>,
}

impl<'a> Crowd<'a> {
    fn of(state: &'a State, sample: &Task, now: Timestamp) -> Self {
        let mut failures: BTreeMap<NodeId, usize> = BTreeMap::new();
        for task in state.tasks_of(sample.service) {
            let failed = matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
            if failed
                && task.spec_index == sample.spec_index
                && now.since(task.status.at) < FAILURE_WINDOW
                && let Some(node) = task.node
            {
                *failures.entry(node).or_default() += 1;
            }
        }
        let sites = state
            .nodes()
            .map(|node| Site {
                node,
                misfit: static_misfit(node, &sample.spec),
                failing: failures.get(&node.id).is_some_and(|count| *count >= FAILURES),
                branch: branch(node, &sample.spec),
            })
            .collect();
        Self { sites }
    }

    /// Counts the service's tasks in each branch of the spread preferences.
    fn branches(
        &self,
        loads: &BTreeMap<NodeId, Load>,
        service: ServiceId,
    ) -> BTreeMap<&[String], u64> {
        let mut counts: BTreeMap<&[String], u64> = BTreeMap::new();
        for site in &self.sites {
            let tasks = loads[&site.node.id].of_service(service);
            for level in 0..site.branch.len() {
                *counts.entry(&site.branch[..=level]).or_default() += tasks;
            }
        }
        counts
    }
}

fn static_misfit(node: &Node, spec: &TaskSpec) -> Option<Misfit> {
    if node.status.state == NodeState::Ready && !node.is_ready() {
        return Some(Misfit::NoRuntime);
    }
    if !node.is_ready() || node.availability != Availability::Active {
        return Some(Misfit::NotReady);
    }
    let fits = spec.placement.constraints.iter().all(|constraint| constraint.matches(node));
    (!fits).then_some(Misfit::Constraints)
}

/// A preference nobody knows is ignored, as in Swarm.
fn branch(node: &Node, spec: &TaskSpec) -> Vec<String> {
    spec.placement
        .preferences
        .iter()
        .filter_map(|preference| {
            let labels = [
                ("node.labels.", &node.labels),
                ("engine.labels.", &node.description.engine_labels),
            ];
            labels.into_iter().find_map(|(prefix, labels)| {
                let key = preference.strip_prefix(prefix)?;
                Some(labels.get(key).cloned().unwrap_or_default())
            })
        })
        .collect()
}

/// What a node has to do already.
struct Load {
    total: u64,
    services: BTreeMap<ServiceId, u64>,
    nano_cpus: u64,
    memory_bytes: u64,
    ports: BTreeSet<(u16, crate::model::service::Protocol)>,
}

impl Load {
    fn of(state: &State, node: &Node) -> Self {
        let mut load = Self {
            total: 0,
            services: BTreeMap::new(),
            nano_cpus: 0,
            memory_bytes: 0,
            ports: BTreeSet::new(),
        };
        for task in state.tasks_on(node.id) {
            let placed = task.status.state >= TaskState::Assigned;
            let wanted = task.desired <= TaskState::Complete && !task.status.state.is_terminal();
            if placed && wanted {
                load.add(task);
            } else if placed && task.holds_payloads() {
                // On its way out it still needs its room, but does not count as the service's.
                load.add_resources(task);
            }
        }
        load
    }

    fn of_service(&self, service: ServiceId) -> u64 {
        self.services.get(&service).copied().unwrap_or_default()
    }

    fn add(&mut self, task: &Task) {
        self.total += 1;
        *self.services.entry(task.service).or_default() += 1;
        self.add_resources(task);
    }

    fn add_resources(&mut self, task: &Task) {
        let resources = &task.spec.resources;
        self.nano_cpus = self.nano_cpus.saturating_add(resources.reserve_nano_cpus);
        self.memory_bytes = self.memory_bytes.saturating_add(resources.reserve_memory_bytes);
        self.ports.extend(host_ports(&task.spec));
    }

    fn misfit(&self, task: &Task, node: &Node) -> Option<Misfit> {
        let (resources, has) = (&task.spec.resources, &node.description);
        let room = |wanted: u64, used: u64, all: u64| {
            wanted == 0 || used.checked_add(wanted).is_some_and(|sum| sum <= all)
        };
        if !room(resources.reserve_nano_cpus, self.nano_cpus, has.nano_cpus)
            || !room(resources.reserve_memory_bytes, self.memory_bytes, has.memory_bytes)
        {
            return Some(Misfit::Resources);
        }
        if host_ports(&task.spec).any(|port| self.ports.contains(&port)) {
            return Some(Misfit::Ports);
        }
        let most = task.spec.placement.max_replicas_per_node;
        (most > 0 && self.of_service(task.service) >= most).then_some(Misfit::MaxReplicas)
    }
}

fn host_ports(
    spec: &TaskSpec,
) -> impl Iterator<Item = (u16, crate::model::service::Protocol)> + '_ {
    let fixed = |port: &&Port| port.published > 0;
    spec.ports.iter().filter(fixed).map(|port| (port.published, port.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::TaskId,
        manager::orchestrator::{self, Draft, world},
        model::{
            Labels,
            command::{Command, Stamped},
            node::{NodeStatus, Role},
            service::{Protocol, ServiceSpec},
        },
        store::Entity,
    };

    const NOW: Timestamp = Timestamp(1_000_000);

    fn apply(state: &mut State, command: Command) {
        state.apply(&Stamped { request: None, at: NOW, command }).outcome.unwrap();
    }

    /// Makes the service's tasks and gives the scheduler's answer to them.
    fn place(state: &mut State, spec: ServiceSpec) -> Vec<TaskChange> {
        let id = ServiceId::random();
        apply(state, Command::CreateService { id, spec: Box::new(spec) });
        let mut ids = TaskId::random;
        let mut draft = Draft::new(state, NOW, &mut ids);
        orchestrator::service(&mut draft, id);
        *state = draft.state().clone();
        let changes = schedule(state, NOW);
        apply(state, Command::ChangeTasks { changes: changes.clone() });
        changes
    }

    /// On how many tasks each node has, in the order of the nodes' numbers.
    fn spread(state: &State, nodes: u8) -> Vec<usize> {
        (1..=nodes).map(|n| state.tasks_on(world::node_id(n)).count()).collect()
    }

    fn note(changes: &[TaskChange]) -> String {
        match changes {
            [TaskChange::Note { status, .. }] => status.error.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn label(state: &mut State, n: u8, value: &str) {
        apply(
            state,
            Command::SetNode {
                id: world::node_id(n),
                index: None,
                availability: Availability::Active,
                labels: Labels::from([("zone".into(), value.into())]),
                hostname: None,
            },
        );
    }

    #[test]
    fn tasks_go_where_the_service_and_then_the_node_has_least() {
        let mut state = world::state(3);
        place(&mut state, world::spec("one", 2));
        place(&mut state, world::spec("two", 3));
        assert_eq!(spread(&state, 3).iter().sum::<usize>(), 5);
        assert_eq!(spread(&state, 3).iter().max(), Some(&2));
        place(&mut state, world::spec("three", 1));
        assert_eq!(spread(&state, 3), [2, 2, 2]);
    }

    #[test]
    fn constraints_are_kept_and_their_failure_is_told_once() {
        let mut state = world::state(3);
        let mut spec = world::spec("web", 1);
        spec.task.placement.constraints = vec!["node.hostname == n4".parse().unwrap()];
        let changes = place(&mut state, spec);
        assert_eq!(
            note(&changes),
            "no suitable node (scheduling constraints not satisfied on 3 nodes)"
        );
        assert_eq!(schedule(&state, NOW), [], "the reason has not changed");
    }

    #[test]
    fn reasons_are_told_with_the_most_frequent_first() {
        let mut state = world::state(3);
        apply(
            &mut state,
            Command::SetNode {
                id: world::node_id(1),
                index: None,
                availability: Availability::Pause,
                labels: Labels::new(),
                hostname: None,
            },
        );
        let mut spec = world::spec("web", 1);
        spec.task.resources.reserve_memory_bytes = 9 << 30;
        assert_eq!(
            note(&place(&mut state, spec)),
            "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)"
        );
        let mut empty = world::state(0);
        assert_eq!(note(&place(&mut empty, world::spec("web", 1))), "no suitable node");
    }

    #[test]
    fn reservations_add_up() {
        let mut state = world::state(2);
        let mut spec = world::spec("web", 5);
        spec.task.resources.reserve_nano_cpus = 2_000_000_000;
        let changes = place(&mut state, spec);
        assert_eq!(spread(&state, 2), [2, 2]);
        let waiting =
            changes.iter().filter(|change| matches!(change, TaskChange::Note { .. })).count();
        assert_eq!(waiting, 1);
    }

    #[test]
    fn replicas_per_node_and_published_ports_are_limited() {
        let mut state = world::state(2);
        let mut spec = world::spec("few", 3);
        spec.task.placement.max_replicas_per_node = 1;
        let changes = place(&mut state, spec);
        assert_eq!(spread(&state, 2), [1, 1]);
        assert_eq!(
            note(&changes[2..]),
            "no suitable node (max replicas per node limit exceed on 2 nodes)"
        );
        let mut spec = world::spec("ports", 3);
        spec.task.ports = vec![Port { target: 80, published: 80, protocol: Protocol::Tcp }];
        let changes = place(&mut state, spec);
        assert!(changes.iter().any(|change| match change {
            TaskChange::Note { status, .. } =>
                status.error == "no suitable node (host-mode port already in use on 2 nodes)",
            _ => false,
        }));
    }

    #[test]
    fn a_preference_evens_out_branches_before_nodes() {
        let mut state = world::state(3);
        label(&mut state, 1, "a");
        label(&mut state, 2, "a");
        label(&mut state, 3, "b");
        let mut spec = world::spec("web", 4);
        spec.task.placement.preferences = vec!["node.labels.zone".into(), "something.else".into()];
        place(&mut state, spec);
        assert_eq!(spread(&state, 3), [1, 1, 2]);
    }

    #[test]
    fn a_node_that_keeps_failing_a_service_comes_last() {
        let mut state = world::state(2);
        let mut spec = world::spec("web", 10);
        spec.task.restart.condition = crate::model::service::RestartCondition::None;
        place(&mut state, spec);
        let failed: Vec<_> = state
            .tasks_on(world::node_id(1))
            .map(|task| world::report(task, TaskState::Failed, NOW))
            .collect();
        assert_eq!(failed.len(), FAILURES);
        apply(&mut state, Command::ChangeTasks { changes: failed });
        let service = state.services().next().unwrap().clone();
        // The same version of the service: only its tasks' failures count.
        let ids = &mut TaskId::random;
        let mut draft = Draft::new(&state, NOW, ids);
        for slot in [11, 12] {
            let mut task = (**state.tasks_of(service.id).next().unwrap()).clone();
            task.id = TaskId::random();
            task.slot = slot;
            task.node = None;
            task.desired = TaskState::Running;
            draft.extend(vec![TaskChange::Create(Box::new(task))]);
        }
        let on: Vec<_> = schedule(draft.state(), NOW)
            .into_iter()
            .map(|change| match change {
                TaskChange::Assign { node, .. } => node,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(on, [world::node_id(2); 2]);
    }

    #[test]
    fn each_kind_of_constraint_finds_its_node() {
        let state = world::state(3);
        let mut rows: Vec<_> = state.nodes().map(|node| Node::clone(node)).collect();
        rows.iter_mut().find(|node| node.id == world::node_id(1)).unwrap().role = Role::Worker;
        let second = rows.iter_mut().find(|node| node.id == world::node_id(2)).unwrap();
        second.description.arch = "aarch64".into();
        second.labels.insert("zone".into(), "b".into());
        let third = rows.iter_mut().find(|node| node.id == world::node_id(3)).unwrap();
        third.description.os = "plan9".into();
        third.description.engine_labels.insert("disk".into(), "ssd".into());
        let cluster = state.cluster().unwrap().clone();
        let rows = rows.into_iter().map(|node| Entity::Node(Arc::new(node)));
        let state = State::from_entities(rows.chain([Entity::Cluster(cluster)]));
        let id = world::node_id(2);
        for (constraints, node) in [
            (vec!["node.role == worker".to_owned()], 1),
            (vec!["node.role != manager".to_owned()], 1),
            (vec![format!("node.id == {id}")], 2),
            (vec!["node.hostname == n3".to_owned()], 3),
            (vec!["node.hostname != n1".to_owned(), "node.hostname != n3".to_owned()], 2),
            (vec!["node.labels.zone == b".to_owned()], 2),
            (vec!["node.labels.zone != b".to_owned(), "node.role == manager".to_owned()], 3),
            (vec!["node.platform.arch == arm64".to_owned()], 2),
            (vec!["node.platform.os != linux".to_owned()], 3),
            (vec!["engine.labels.disk == ssd".to_owned()], 3),
        ] {
            let mut state = state.clone();
            let mut spec = world::spec("web", 2);
            spec.task.placement.constraints =
                constraints.iter().map(|text| text.parse().unwrap()).collect();
            place(&mut state, spec);
            let mut wanted = vec![0; 3];
            wanted[node - 1] = 2;
            assert_eq!(spread(&state, 3), wanted, "{constraints:?}");
        }
    }

    #[test]
    fn a_paused_a_drained_and_a_silent_node_get_nothing() {
        let mut state = world::state(5);
        for (n, availability) in [(1, Availability::Pause), (2, Availability::Drain)] {
            let labels = Labels::new();
            let id = world::node_id(n);
            apply(
                &mut state,
                Command::SetNode { id, index: None, availability, labels, hostname: None },
            );
        }
        for (n, seen) in [(3, NodeState::Down), (4, NodeState::Unknown)] {
            let id = world::node_id(n);
            let before = state.node_by_id(id).unwrap().status.clone();
            let status = NodeStatus { state: seen, ..before };
            let description = None;
            apply(&mut state, Command::ReportNode { id, description, status, held_by: None });
        }
        place(&mut state, world::spec("web", 4));
        assert_eq!(spread(&state, 5), [0, 0, 0, 0, 4]);
    }
}
