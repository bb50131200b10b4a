//! The simulated cluster: the replicated state, managers that may lag behind it, agents that do as they are told or
//! not, and operators who change their minds.

use super::{
    draw::Draw,
    invariants,
    ledger::{Ledger, Seen},
};
use crate::{
    crypto::seal::Sealed,
    kit::{
        clock::Timestamp,
        id::{NodeId, ObjectId, ServiceId, TaskId},
    },
    manager::{
        orchestrator::{self, Draft, world as small},
        scheduler,
    },
    model::{
        Labels,
        cluster::{AuthorityRotation, Token},
        command::{Command, Outcome, Stamped, TaskChange},
        node::{CertificateStatus, Node, NodeState, NodeStatus, Role, Standing},
        object::{Kind, Object},
        service::Service,
        sightings::{KeyHash, ShownKey},
        task::{Task, TaskState, TaskStatus},
    },
    store::{Change, State},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

const NODES: usize = 8;
const MANAGERS: usize = 3;
/// Commands shown when an invariant breaks.
const SHOWN: usize = 25;
/// A wake-up time beyond this is not waited for: a lost node's tasks are given up after a day.
const SOON: Duration = Duration::from_secs(2 * 3600);

/// A manager's copy of the state and what it has not applied yet.
struct View {
    state: State,
    behind: VecDeque<Arc<Vec<Change>>>,
    /// Milliseconds its clock is off.
    skew: i64,
}

pub(super) struct World {
    seed: u64,
    step: u64,
    draw: Draw,
    state: State,
    now: Timestamp,
    ids: u64,
    views: Vec<View>,
    leader: usize,
    ledger: Ledger,
    last: VecDeque<Command>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let state = small::state(1);
        let views = (0..MANAGERS)
            .map(|_| View {
                state: state.clone(),
                behind: VecDeque::new(),
                skew: i64::try_from(draw.below(3000)).unwrap() - 1500,
            })
            .collect();
        let members = state.nodes().map(|node| node.id).collect();
        let ledger = Ledger { raft_ids: BTreeSet::from([1]), members, ..Ledger::default() };
        let (now, last) = (Timestamp(1_000_000_000), VecDeque::new());
        Self { seed, step: 0, draw, state, now, ids: 0, views, leader: 0, ledger, last }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.ledger.seen
    }

    /// One action of somebody, and the invariants.
    pub(super) fn step(&mut self) {
        self.step += 1;
        match self.draw.below(100) {
            0..=7 => self.time_passes(),
            8..=12 => self.hand_out_token(),
            13..=19 => self.join(),
            20..=23 => self.change_managers(),
            24..=31 => self.node_comes_or_goes(),
            32..=36 => self.set_node(),
            37..=38 => self.remove_node(),
            39 => self.leave(),
            40..=43 => self.create_service(),
            44..=50 => self.update_service(),
            51..=52 => self.roll_back(),
            53..=54 => self.remove_service(),
            55..=58 => self.create_object(),
            59..=62 => self.remove_object(),
            63 => self.rotate(),
            64..=67 => self.catch_up_some(),
            68 => self.elect(),
            69 => self.settle(),
            70 => self.foreign_report(),
            71..=84 => {
                self.agents(false);
            }
            _ => {
                // Others may have been quicker than the leader's own copy.
                if !self.draw.once_in(3) {
                    self.views[self.leader].catch_up(usize::MAX);
                }
                self.pass();
            }
        }
        invariants::always(&self.state, &mut self.ledger);
        if self.step.is_multiple_of(100) {
            let rebuilt = State::from_entities(self.state.entities());
            assert!(rebuilt == self.state, "INDEXES: they follow from the rows");
        }
    }

    /// Lets leader and agents act, undisturbed and without failures, until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for view in &mut self.views {
            view.catch_up(usize::MAX);
            assert!(view.state == self.state, "REPLICAS AGREE: once they applied the same");
        }
        for _ in 0..3000 {
            self.now = self.now.plus(Duration::from_millis(1));
            self.views[self.leader].catch_up(usize::MAX);
            let (decided, wake) = self.pass();
            let acted = self.agents(true);
            if decided || acted {
                continue;
            }
            match wake.filter(|wake| *wake <= self.clock().plus(SOON)) {
                Some(wake) => self.now.0 += (wake.0 - self.clock().0).max(1),
                None => {
                    invariants::settled(&self.state, &self.ledger);
                    self.ledger.seen.settled += 1;
                    return;
                }
            }
        }
        panic!("SETTLES: never quiet");
    }

    /// The leader's clock.
    fn clock(&self) -> Timestamp {
        Timestamp(self.now.0 + self.views[self.leader].skew)
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let before = self.state.clone();
        let stamped = Stamped { request: None, at: self.clock(), command };
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(stamped.command.clone());
        let applied = self.state.apply(&stamped);
        let unchanged = applied.outcome.is_ok() || self.state == before;
        assert!(unchanged, "REFUSED: a refusal changes nothing");
        self.ledger.judge(&before, stamped.at, &stamped.command, &applied.outcome);
        invariants::forward(&before, &applied.changes);
        self.ledger.watch(&applied.changes);
        let changes = Arc::new(applied.changes);
        for view in &mut self.views {
            view.behind.push_back(changes.clone());
        }
        applied.outcome
    }

    /// Whatever comes of it.
    fn attempt(&mut self, command: Command) {
        drop(self.apply(command));
    }

    // --- the leader --------------------------------------------------------------------------------------------

    /// One pass of the leader over what it sees; returns whether it decided anything and when to look again.
    fn pass(&mut self) -> (bool, Option<Timestamp>) {
        let current = self.views[self.leader].behind.is_empty();
        let now = self.clock();
        let view = self.views[self.leader].state.clone();
        let first = self.ids;
        let mut made = 0;
        let mut ids = || {
            made += 1;
            TaskId::from_random(bytes(first + made))
        };
        let mut draft = Draft::new(&view, now, &mut ids);
        let services: BTreeSet<ServiceId> = view
            .services()
            .map(|service| service.id)
            .chain(view.tasks().map(|task| task.service))
            .collect();
        for id in services {
            orchestrator::service(&mut draft, id);
        }
        orchestrator::nodes(&mut draft);
        let placed = scheduler::schedule(draft.state(), now);
        let assigned = |change: &&TaskChange| matches!(change, TaskChange::Assign { .. });
        self.ledger.seen.assigned += placed.iter().filter(assigned).count() as u64;
        draft.extend(placed);
        let drafted = draft.state().clone();
        let plan = draft.finish();
        self.ids += made;
        let before = self.state.clone();
        for command in &plan.commands {
            self.attempt(command.clone());
        }
        if current {
            assert!(self.state == drafted, "DRAFT: what was drafted is what came of it");
            invariants::placed(&before, &self.state);
        } else {
            self.ledger.seen.lagging += 1;
        }
        // It waits for its own proposals before it looks again.
        self.views[self.leader].catch_up(usize::MAX);
        (!plan.commands.is_empty(), plan.wake)
    }

    fn catch_up_some(&mut self) {
        for n in 0..MANAGERS {
            let some = usize::try_from(self.draw.below(40)).unwrap();
            self.views[n].catch_up(some);
            if self.views[n].behind.is_empty() {
                assert!(self.views[n].state == self.state, "REPLICAS AGREE: {n} does not");
            }
        }
    }

    /// Another manager leads; what it has not applied yet it applies later.
    fn elect(&mut self) {
        self.leader = usize::try_from(self.draw.below(MANAGERS as u64)).unwrap();
    }

    // --- agents ------------------------------------------------------------------------------------------------

    /// Agents that are heard of do what is wanted, all of it if `eager`; returns whether anything was to do.
    fn agents(&mut self, eager: bool) -> bool {
        let now = self.clock();
        let mut changes = Vec::new();
        let tasks: Vec<Arc<Task>> = self.state.tasks().cloned().collect();
        for task in tasks {
            let ready = task
                .node
                .and_then(|id| self.state.node_by_id(id))
                .is_some_and(|node| node.status.state == NodeState::Ready);
            if !ready || !task.holds_payloads() || !eager && self.draw.once_in(2) {
                continue;
            }
            if let Some(state) = self.next(&task, eager) {
                changes.push(small::report(&task, state, now));
            }
        }
        let confirmed = self.confirm(eager);
        let any = !changes.is_empty();
        if any {
            self.attempt(Command::ChangeTasks { changes });
        }
        any || confirmed
    }

    /// Agents that are heard of say of which ended tasks nothing is left, and sometimes what is not theirs to say.
    fn confirm(&mut self, eager: bool) -> bool {
        let over = |task: &&Arc<Task>| task.may_be_held() && task.status.state.is_terminal();
        let tasks = self.state.tasks().filter(over).filter_map(|task| Some((task.id, task.node?)));
        let remnants = self.state.remnants().map(|remnant| (remnant.task, remnant.node));
        let mut owed: Vec<(TaskId, NodeId)> = tasks.chain(remnants).collect();
        owed.retain(|(_, node)| {
            let node = self.state.node_by_id(*node);
            node.is_some_and(|node| node.status.state == NodeState::Ready)
        });
        if !eager {
            owed.retain(|_| self.draw.once_in(2));
            let tasks: Vec<Arc<Task>> = self.state.tasks().cloned().collect();
            if let (Some(task), Some(node)) = (self.draw.pick(&tasks), self.node()) {
                let live = task.holds_payloads() || task.node != Some(node.id);
                owed.extend(live.then_some((task.id, node.id)));
            }
        }
        let changes: Vec<_> =
            owed.into_iter().map(|(id, node)| TaskChange::Wiped { id, node }).collect();
        let any = !changes.is_empty();
        if any {
            self.attempt(Command::ChangeTasks { changes });
        }
        any
    }

    /// What becomes of a task next.
    fn next(&mut self, task: &Task, eager: bool) -> Option<TaskState> {
        let (desired, state) = (task.desired, task.status.state);
        if desired > TaskState::Running {
            return Some(TaskState::Shutdown);
        }
        if !eager && task.spec.container.image == "fails" {
            return Some(match state < TaskState::Running {
                true => self.draw.of([TaskState::Rejected, TaskState::Failed, desired]),
                false => self.draw.of([TaskState::Failed, TaskState::Complete]),
            });
        }
        if state >= desired {
            let ends = !eager && state == TaskState::Running && self.draw.once_in(60);
            return ends.then_some(TaskState::Complete);
        }
        let between = [TaskState::Accepted, TaskState::Preparing, TaskState::Ready];
        let next = if eager { desired } else { self.draw.of(between).max(state).min(desired) };
        Some(if next == state { desired } else { next })
    }

    /// A node reports on a task that is not its own.
    fn foreign_report(&mut self) {
        let tasks: Vec<Arc<Task>> = self.state.tasks().cloned().collect();
        let (Some(task), Some(node)) = (self.draw.pick(&tasks), self.node()) else { return };
        if task.node == Some(node.id) {
            return;
        }
        let before = self.state.clone();
        let status = TaskStatus::new(TaskState::Failed, self.clock(), "not mine");
        let change = TaskChange::Report { id: task.id, node: node.id, status };
        self.attempt(Command::ChangeTasks { changes: vec![change] });
        assert!(self.state == before, "OWN TASKS: only a task's node reports on it");
    }

    // --- nodes -------------------------------------------------------------------------------------------------

    fn time_passes(&mut self) {
        let day = 25 * 3_600_000;
        let ms = self.draw.of([1, 10, 500, 3_000, 3_000, 11_000, 61_000, 61_000, 4_000_000, day]);
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn node(&mut self) -> Option<Arc<Node>> {
        let nodes: Vec<Arc<Node>> = self.state.nodes().cloned().collect();
        self.draw.pick(&nodes)
    }

    fn hand_out_token(&mut self) {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.id().to_be_bytes());
        let created_at = self.clock();
        let life = self.draw.of([None, Some(5), Some(100)]);
        let token = Token {
            hash,
            role: self.draw.role(),
            created_at,
            expires_at: life.map(|life| created_at.plus(Duration::from_secs(life))),
            uses_left: self.draw.of([None, None, Some(1), Some(2)]),
        };
        let revoke = self.draw.once_in(4);
        self.attempt(Command::AddToken { token, revoke });
    }

    /// With a token that was handed out some time ago, or one that never was.
    fn join(&mut self) {
        let recent: Vec<_> = self.ledger.tokens.iter().rev().take(6).cloned().collect();
        let handed = self.draw.pick(&recent);
        let told = handed.as_ref().map_or(Role::Worker, |handed| handed.role);
        let role = if self.draw.once_in(8) { self.draw.role() } else { told };
        let token = handed.filter(|_| !self.draw.once_in(10)).map_or([9; 32], |handed| handed.hash);
        let full = self.state.nodes().count() >= NODES;
        let sample = self.state.nodes().next().unwrap().clone();
        let node = Node {
            // A full cluster is joined by somebody who is there already.
            id: if full { sample.id } else { NodeId::from_random(bytes(self.id())) },
            role,
            labels: labels(self.draw.of(["a", "b"])),
            status: NodeStatus {
                state: NodeState::Ready,
                at: self.clock(),
                ..sample.status.clone()
            },
            manager: None,
            standing: Standing::Member,
            ..Node::clone(&sample)
        };
        self.attempt(Command::JoinNode { token, node: Box::new(node) });
    }

    fn change_managers(&mut self) {
        let Some(node) = self.node() else { return };
        let id = node.id;
        let command = match (self.draw.below(4), &node.manager) {
            (0, _) => Command::SetRole { id, index: None, role: self.draw.role() },
            (1, Some(manager)) if node.role == Role::Worker => {
                Command::RetireManager { id, raft_id: manager.raft_id }
            }
            (1, Some(manager)) => Command::RetireManager { id, raft_id: manager.raft_id + 1 },
            _ => Command::AdmitManager { id, addr: format!("10.0.0.{}:2377", self.draw.below(9)) },
        };
        self.attempt(command);
    }

    fn node_comes_or_goes(&mut self) {
        let Some(node) = self.node() else { return };
        let status =
            NodeStatus { state: self.draw.node_state(), at: self.clock(), ..node.status.clone() };
        let held_by = self.draw.once_in(6).then_some(node.id);
        let before = self.state.clone();
        self.attempt(Command::ReportNode { id: node.id, description: None, status, held_by });
        let elsewhere = held_by.is_some() && held_by != node.status.dispatcher;
        assert!(!elsewhere || self.state == before, "HELD BY: it had gone elsewhere");
    }

    fn set_node(&mut self) {
        let Some(node) = self.node() else { return };
        let (availability, labels) = (self.draw.availability(), labels(self.draw.of(["a", "b"])));
        self.attempt(Command::SetNode {
            id: node.id,
            index: None,
            availability,
            labels,
            hostname: None,
        });
    }

    fn remove_node(&mut self) {
        let Some(node) = self.node() else { return };
        let force = self.draw.once_in(2);
        self.attempt(Command::RemoveNode { id: node.id, force });
    }

    /// A node leaves, or says its last word, which it may do too early and more than once.
    fn leave(&mut self) {
        let Some(node) = self.node() else { return };
        let awaited: Vec<NodeId> = self.ledger.left.keys().copied().collect();
        let id = self.draw.pick(&awaited).filter(|_| self.draw.once_in(2)).unwrap_or(node.id);
        let wiped = self.draw.once_in(3);
        self.attempt(Command::LeaveNode { id, wiped });
    }

    fn rotate(&mut self) {
        let cluster = self.state.cluster().unwrap().clone();
        if cluster.rotation.is_some() {
            let waiting = self.state.nodes().find(|node| !cluster.has_moved(node)).cloned();
            let (hasty, shown) = (self.draw.once_in(8), self.draw.once_in(2));
            return self.attempt(match waiting {
                Some(node) if !hasty => {
                    let given = ShownKey { key: KeyHash([1; 32]), expires_at: self.clock() };
                    let new = CertificateStatus::new(cluster.ca_digest(), node.role, &given);
                    let certificate = CertificateStatus { shown, ..new };
                    Command::NoteCertificate { id: node.id, certificate, shown: None }
                }
                Some(_) | None => Command::FinishRotation,
            });
        }
        let rotation = AuthorityRotation {
            previous: cluster.ca_certificate.clone(),
            cross_signed: Vec::new(),
            started_at: self.clock(),
        };
        let ca_certificate = self.id().to_be_bytes().to_vec();
        let ca_key = cluster.ca_key.clone();
        self.attempt(Command::RotateAuthority { ca_certificate, ca_key, rotation });
    }

    // --- operators ---------------------------------------------------------------------------------------------

    fn service(&mut self) -> Option<Arc<Service>> {
        let services: Vec<Arc<Service>> = self.state.services().cloned().collect();
        self.draw.pick(&services)
    }

    fn objects(&self) -> Vec<Arc<Object>> {
        self.state.objects().cloned().collect()
    }

    fn create_service(&mut self) {
        let (name, objects) = (format!("s{}", self.draw.below(5)), self.objects());
        let spec = Box::new(self.draw.spec(&name, &objects));
        let id = ServiceId::from_random(bytes(self.id()));
        self.attempt(Command::CreateService { id, spec });
    }

    fn update_service(&mut self) {
        let Some(service) = self.service() else { return };
        let (mut spec, objects) = (service.spec.clone(), self.objects());
        for _ in 0..=self.draw.below(2) {
            self.draw.vary(&mut spec, &objects);
        }
        let index = self.draw.of([None, Some(service.meta.index)]);
        self.attempt(Command::UpdateService { id: service.id, index, spec: Box::new(spec) });
    }

    fn roll_back(&mut self) {
        let Some(service) = self.service() else { return };
        self.attempt(Command::RollBackService { id: service.id, index: None, failure: None });
    }

    fn remove_service(&mut self) {
        let Some(service) = self.service() else { return };
        self.attempt(Command::RemoveService { id: service.id });
    }

    fn create_object(&mut self) {
        let kind = self.draw.of([Kind::Secret, Kind::Secret, Kind::Config]);
        let name = format!("o{}", self.draw.below(6)).parse().unwrap();
        let sealed = Sealed { term: 1, wrapped_key: Vec::new(), body: Vec::new() };
        let id = ObjectId::from_random(bytes(self.id()));
        self.attempt(Command::CreateObject {
            kind,
            id,
            name,
            labels: Labels::new(),
            size: 3,
            sealed,
        });
    }

    fn remove_object(&mut self) {
        let objects = self.objects();
        let Some(object) = self.draw.pick(&objects) else { return };
        self.attempt(Command::RemoveObject { kind: object.kind, id: object.id });
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }
}

impl View {
    fn catch_up(&mut self, some: usize) {
        for changes in self.behind.drain(..some.min(self.behind.len())) {
            for change in changes.iter() {
                self.state.replay(change);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for command in &self.last {
                tell(command);
            }
            let Self { seed, step, .. } = self;
            eprintln!("broken at step {step}; again with SECRETD_MODEL_SEED={seed}");
        }
    }
}

/// Prints a command in a line for each change.
fn tell(command: &Command) {
    let Command::ChangeTasks { changes } = command else {
        return eprintln!("  {command:?}");
    };
    for change in changes {
        match change {
            TaskChange::Create(task) => {
                let Task { id, slot, node, service_name, spec_index, desired, .. } = &**task;
                eprintln!(
                    "  create {id}: {service_name}.{slot} of {spec_index} on {node:?}, {desired}"
                );
            }
            TaskChange::Assign { id, node } => eprintln!("  assign {id} to {node}"),
            TaskChange::Desire { id, desired } => eprintln!("  desire {id} {desired}"),
            TaskChange::Report { id, node: _, status } => {
                eprintln!("  report {id} {}", status.state);
            }
            TaskChange::Note { id, status } => {
                eprintln!("  note {id} {} {}", status.state, status.error);
            }
            TaskChange::Delete { id } => eprintln!("  delete {id}"),
            TaskChange::Wiped { id, node } => eprintln!("  wiped {id} on {node}"),
        }
    }
}

/// Ids that differ in their first digits, so that their order is not that of their making.
fn bytes(n: u64) -> [u8; 17] {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[9..].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn labels(zone: &str) -> Labels {
    Labels::from([("zone".to_owned(), zone.to_owned())])
}
