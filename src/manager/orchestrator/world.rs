//! Small clusters for the tests of the orchestrator, the scheduler and the chores.

use super::{Draft, Plan};
use crate::{
    crypto::seal::Sealed,
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ServiceId, TaskId},
    },
    manager::scheduler,
    model::{
        Labels, Meta,
        cluster::{Cluster, ClusterSettings},
        command::{Answer, Command, Stamped, TaskChange},
        node::{
            Availability, ManagerStatus, Node, NodeDescription, NodeState, NodeStatus, Role,
            Standing,
        },
        service::{ContainerSpec, Mode, Service, ServiceSpec, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
    store::{Entity, State},
};
use std::{sync::Arc, time::Duration};

/// A founded cluster of `nodes` ready nodes `n1`, `n2`, …, with 4 processors and 8 GiB each.
pub(in crate::manager) fn state(nodes: u8) -> State {
    let cluster = Cluster {
        id: ClusterId::from_random([1; 17]),
        meta: Meta::new(Timestamp(0)),
        settings: ClusterSettings::default(),
        ca_certificate: Vec::new(),
        ca_key: Sealed { term: 1, wrapped_key: Vec::new(), body: Vec::new() },
        keyring: Vec::new(),
        next_raft_id: 2,
        rotation: None,
        tokens: Vec::new(),
        unlockers: Vec::new(),
        key_files: true,
        backup: None,
        rekeying: Default::default(),
        former_managers: Vec::new(),
        root: crate::model::cluster::RootStatus::first(
            crate::crypto::key::RootId([7; 32]),
            Timestamp(0),
        ),
    };
    let rows = (1..=nodes).map(|n| Entity::Node(Arc::new(node(n))));
    State::from_entities(rows.chain([Entity::Cluster(Arc::new(cluster))]))
}

pub(in crate::manager) fn node_id(n: u8) -> NodeId {
    NodeId::from_random([n; 17])
}

fn node(n: u8) -> Node {
    Node {
        id: node_id(n),
        meta: Meta::new(Timestamp(0)),
        role: Role::Manager,
        availability: Availability::Active,
        labels: Labels::new(),
        description: NodeDescription {
            hostname: format!("n{n}"),
            os: "linux".into(),
            arch: "x86_64".into(),
            nano_cpus: 4_000_000_000,
            memory_bytes: 8 << 30,
            ..NodeDescription::default()
        },
        renamed: None,
        standing: Standing::Member,
        status: NodeStatus {
            state: NodeState::Ready,
            message: String::new(),
            addr: format!("10.0.0.{n}"),
            at: Timestamp(0),
            dispatcher: None,
        },
        manager: Some(ManagerStatus::new(n.into(), String::new())),
        certificate: None,
        runtime_failed_at: None,
        sightings: Default::default(),
    }
}

pub(in crate::manager) fn spec(name: &str, replicas: u64) -> ServiceSpec {
    ServiceSpec {
        name: name.parse().unwrap(),
        labels: Labels::new(),
        task: TaskSpec {
            container: ContainerSpec { image: "busybox".into(), ..ContainerSpec::default() },
            ..TaskSpec::default()
        },
        mode: Mode::Replicated { replicas },
        update: None,
        rollback: None,
    }
}

pub(in crate::manager) fn create_service(name: &str, replicas: u64) -> Command {
    Command::CreateService { id: ServiceId::random(), spec: Box::new(spec(name, replicas)) }
}

/// The report a task's own node would make.
pub(in crate::manager) fn report(task: &Task, state: TaskState, at: Timestamp) -> TaskChange {
    let node = task.node.expect("only placed tasks are reported on");
    TaskChange::Report { id: task.id, node, status: TaskStatus::new(state, at, "reported") }
}

/// A cluster with a clock, whose agents do at once what they are asked to unless told otherwise.
pub(super) struct World {
    pub(super) state: State,
    pub(super) now: Timestamp,
    next: u8,
    /// Tasks of images that contain this text end as soon as they run.
    pub(super) failing: Option<&'static str>,
    /// Tasks that are asked to stop keep running.
    pub(super) stubborn: bool,
    /// What the last pass decided.
    pub(super) last: Plan,
}

impl World {
    pub(super) fn new(nodes: u8) -> Self {
        Self {
            state: state(nodes),
            now: Timestamp(1_000_000),
            next: 0,
            failing: None,
            stubborn: false,
            last: Plan::default(),
        }
    }

    pub(super) fn apply(&mut self, command: Command) -> Answer {
        let stamped = Stamped { request: None, at: self.now, command };
        self.state.apply(&stamped).outcome.unwrap()
    }

    pub(super) fn create(&mut self, spec: ServiceSpec) -> ServiceId {
        self.next += 1;
        let id = ServiceId::from_random([self.next; 17]);
        self.apply(Command::CreateService { id, spec: Box::new(spec) });
        id
    }

    /// Changes the service's spec.
    pub(super) fn update(&mut self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        let mut spec = self.service(id).spec.clone();
        change(&mut spec);
        self.apply(Command::UpdateService { id, index: None, spec: Box::new(spec) });
    }

    pub(super) fn service(&self, id: ServiceId) -> Arc<Service> {
        self.state.service_by_id(id).unwrap().clone()
    }

    pub(super) fn set_node(&mut self, n: u8, availability: Availability, labels: Labels) {
        self.apply(Command::SetNode {
            id: node_id(n),
            index: None,
            availability,
            labels,
            hostname: None,
        });
    }

    pub(super) fn node_state(&mut self, n: u8, state: NodeState) {
        let before = self.state.node_by_id(node_id(n)).unwrap().status.clone();
        let status = NodeStatus { state, at: self.now, ..before };
        self.apply(Command::ReportNode {
            id: node_id(n),
            description: None,
            status,
            held_by: None,
        });
    }

    /// The node says whether its runtime works.
    pub(super) fn runtime_works(&mut self, n: u8, works: bool) {
        let node = self.state.node_by_id(node_id(n)).unwrap().clone();
        let runtime_error = if works { String::new() } else { "no answer".into() };
        let description = NodeDescription { runtime_error, ..node.description.clone() };
        self.apply(Command::ReportNode {
            id: node_id(n),
            description: Some(Box::new(description)),
            status: node.status.clone(),
            held_by: None,
        });
    }

    /// One pass of the leader over everything; returns whether it decided anything.
    pub(super) fn pass(&mut self) -> bool {
        let mut ids = TaskId::random;
        let mut draft = Draft::new(&self.state, self.now, &mut ids);
        let services: std::collections::BTreeSet<_> = self
            .state
            .services()
            .map(|service| service.id)
            .chain(self.state.tasks().map(|task| task.service))
            .collect();
        for id in services {
            super::service(&mut draft, id);
        }
        super::nodes(&mut draft);
        let placed = scheduler::schedule(draft.state(), self.now);
        draft.extend(placed);
        let drafted = draft.state().clone();
        let plan = draft.finish();
        for command in &plan.commands {
            self.apply(command.clone());
        }
        assert!(self.state == drafted, "what was drafted is what came of it");
        let decided = !plan.commands.is_empty();
        self.last = plan;
        decided
    }

    /// Every agent that can be reached does what is wanted; returns whether anything was to do.
    pub(super) fn agents(&mut self) -> bool {
        let tasks: Vec<Arc<Task>> = self.state.tasks().cloned().collect();
        let mut changes = Vec::new();
        for task in tasks {
            let reachable = task
                .node
                .and_then(|id| self.state.node_by_id(id))
                .is_some_and(|node| node.is_ready());
            if !reachable || !task.holds_payloads() {
                continue;
            }
            let fails = self.failing.is_some_and(|text| task.spec.container.image.contains(text));
            let (desired, state) = (task.desired, task.status.state);
            let next = match desired {
                _ if desired > TaskState::Running && self.stubborn => continue,
                _ if desired > TaskState::Running => TaskState::Shutdown,
                _ if state < desired => desired,
                TaskState::Running if fails => TaskState::Failed,
                _ => continue,
            };
            changes.push(report(&task, next, self.now));
        }
        let any = !changes.is_empty();
        self.apply(Command::ChangeTasks { changes });
        any
    }

    /// Lets leader and agents act until both have nothing to do; hardly any time passes.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.now = self.now.plus(Duration::from_millis(1));
            let decided = self.pass();
            if !self.agents() && !decided {
                return;
            }
        }
        panic!("never quiet: {:?}", self.last);
    }

    /// Lets `span` pass, stopping at each moment the leader asked to be woken.
    pub(super) fn advance(&mut self, span: Duration) {
        let end = self.now.plus(span);
        self.settle();
        while let Some(wake) = self.last.wake.filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.settle();
            assert!(self.last.wake.is_none_or(|next| next > wake), "a wake-up time lies ahead");
        }
        self.now = self.now.max(end);
        self.settle();
    }

    /// The service's tasks that run, by slot.
    pub(super) fn running(&self, id: ServiceId) -> Vec<Arc<Task>> {
        let mut running: Vec<_> = self
            .state
            .tasks_of(id)
            .filter(|task| task.status.state == TaskState::Running)
            .cloned()
            .collect();
        running.sort_by_key(|task| (task.slot, task.age_key()));
        running
    }

    /// All of the service's tasks, newest first.
    pub(super) fn history(&self, id: ServiceId) -> Vec<Arc<Task>> {
        let mut tasks: Vec<_> = self.state.tasks_of(id).cloned().collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.age_key()));
        tasks
    }

    /// One task's own end, as its node reports it.
    pub(super) fn end(&mut self, task: &Task, state: TaskState) {
        let change = report(task, state, self.now);
        self.apply(Command::ChangeTasks { changes: vec![change] });
    }
}
