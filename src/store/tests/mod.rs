//! What should be true of the store, subject by subject, and then for any commands in any order.

mod answered;
mod any_order;
mod holders;
mod keyring;
mod linear;
mod list;
mod lookup;
mod membership;
mod objects;
mod root;
mod services;
mod sightings;
mod tasks;

use super::{Applied, State};
use crate::{
    crypto::{key::RootId, seal::Sealed},
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ObjectId, ServiceId, TaskId},
    },
    model::{
        Labels, Meta,
        cluster::{Cluster, ClusterSettings, RootStatus},
        command::{Command, Outcome, RequestId, Stamped, TaskChange},
        node::{Availability, Node, NodeDescription, NodeState, NodeStatus, Role, Standing},
        object::{Kind, VersionNumber},
        reference::{OnChange, Reference, Target, VersionPick},
        service::{ContainerSpec, Mode, ServiceSpec, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
};
use std::sync::Arc;

/// A state and the hands of its clock.
struct Store {
    state: State,
    at: Timestamp,
}

impl Store {
    fn new() -> Self {
        Self { state: State::default(), at: Timestamp(1000) }
    }

    /// With a cluster of one node, `node(1)`.
    fn founded() -> Self {
        let mut store = Self::new();
        store.done(found());
        store
    }

    fn request(&mut self, request: Option<RequestId>, command: Command) -> Applied {
        self.at.0 += 1;
        self.state.apply(&Stamped { request, at: self.at, command })
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.request(None, command).outcome
    }

    fn done(&mut self, command: Command) {
        self.apply(command).unwrap();
    }

    fn refused(&mut self, command: Command) -> String {
        let before = self.state.clone();
        let applied = self.request(None, command);
        assert!(applied.changes.is_empty() && self.state == before, "a refusal changes nothing");
        applied.outcome.unwrap_err().to_string()
    }

    fn task(&self, n: u8) -> &Task {
        self.state.task_by_id(task_id(n)).unwrap()
    }

    fn change(&mut self, change: TaskChange) {
        self.done(Command::ChangeTasks { changes: vec![change] });
    }

    /// Makes task `n` of service `service` and assigns it to node 1.
    fn place(&mut self, n: u8, service: u8) {
        let spec_index = self.state.service_by_id(service_id(service)).unwrap().spec_index;
        self.change(TaskChange::Create(Box::new(task(n, service, spec_index))));
        self.change(TaskChange::Assign { id: task_id(n), node: node_id(1) });
    }

    fn report(&mut self, n: u8, state: TaskState) {
        let status = TaskStatus::new(state, self.at, "reported");
        self.change(TaskChange::Report { id: task_id(n), node: node_id(1), status });
    }
}

fn object_id(n: u8) -> ObjectId {
    ObjectId::from_random([n; 17])
}

fn service_id(n: u8) -> ServiceId {
    ServiceId::from_random([n; 17])
}

fn node_id(n: u8) -> NodeId {
    NodeId::from_random([n; 17])
}

fn task_id(n: u8) -> TaskId {
    TaskId::from_random([n; 17])
}

fn sealed() -> Sealed {
    Sealed { term: 1, wrapped_key: vec![1], body: vec![2] }
}

fn node(n: u8) -> Node {
    Node {
        id: node_id(n),
        meta: Meta::default(),
        role: Role::Manager,
        availability: Availability::Active,
        labels: Labels::new(),
        description: NodeDescription { hostname: format!("n{n}"), ..NodeDescription::default() },
        renamed: None,
        standing: Standing::Member,
        status: NodeStatus {
            state: NodeState::Ready,
            message: String::new(),
            addr: "10.0.0.1".into(),
            at: Timestamp(0),
            dispatcher: None,
        },
        manager: None,
        certificate: None,
        runtime_failed_at: None,
        sightings: Default::default(),
    }
}

fn found() -> Command {
    let cluster = Cluster {
        id: ClusterId::from_random([1; 17]),
        meta: Meta::default(),
        settings: ClusterSettings::default(),
        ca_certificate: Vec::new(),
        ca_key: sealed(),
        keyring: Vec::new(),
        next_raft_id: 2,
        rotation: None,
        tokens: Vec::new(),
        unlockers: Vec::new(),
        key_files: true,
        backup: None,
        rekeying: Default::default(),
        former_managers: Vec::new(),
        root: RootStatus::first(RootId([7; 32]), Timestamp(0)),
    };
    Command::Found { cluster: Box::new(cluster), node: Box::new(node(1)) }
}

fn create(kind: Kind, n: u8, name: &str) -> Command {
    Command::CreateObject {
        kind,
        id: object_id(n),
        name: name.parse().unwrap(),
        labels: Labels::new(),
        size: 5,
        sealed: sealed(),
    }
}

fn secret(n: u8, name: &str) -> Command {
    create(Kind::Secret, n, name)
}

fn refer(kind: Kind, n: u8, name: &str) -> Reference {
    Reference {
        kind,
        object: object_id(n),
        name: name.parse().unwrap(),
        version: VersionPick::Latest,
        target: Target::parse(kind, name).unwrap(),
        uid: None,
        gid: None,
        mode: None,
        on_change: OnChange::Keep,
    }
}

fn spec(name: &str, references: Vec<Reference>) -> ServiceSpec {
    ServiceSpec {
        name: name.parse().unwrap(),
        labels: Labels::new(),
        task: TaskSpec {
            container: ContainerSpec { image: "busybox".into(), ..ContainerSpec::default() },
            references,
            ..TaskSpec::default()
        },
        mode: Mode::Replicated { replicas: 1 },
        update: None,
        rollback: None,
    }
}

fn service(n: u8, spec: ServiceSpec) -> Command {
    Command::CreateService { id: service_id(n), spec: Box::new(spec) }
}

fn update(n: u8, index: Option<u64>, spec: ServiceSpec) -> Command {
    Command::UpdateService { id: service_id(n), index, spec: Box::new(spec) }
}

/// As the leader proposes it: without what is filled in when it is applied.
fn task(n: u8, service: u8, spec_index: u64) -> Task {
    Task {
        id: task_id(n),
        meta: Meta::default(),
        service: service_id(service),
        service_name: "any".parse().unwrap(),
        service_labels: Labels::new(),
        slot: 1,
        node: None,
        spec: Arc::default(),
        spec_index,
        versions: Vec::new(),
        desired: TaskState::Running,
        status: TaskStatus::new(TaskState::New, Timestamp(0), ""),
        started_at: None,
        wiped: false,
    }
}

fn version(n: u8) -> crate::model::task::ObjectVersion {
    crate::model::task::ObjectVersion { object: object_id(n), version: VersionNumber::FIRST }
}
