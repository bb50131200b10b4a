//! What must hold after every step, and what besides once leader and agents have nothing left to do. Each has a name
//! in capitals. All are worked out here, from the rows and from what the onlooker wrote down: none asks the code it judges
//! what is right.

use super::ledger::Ledger;
use crate::{
    kit::{clock::Timestamp, id::NodeId, limits::FORMER_MANAGERS},
    model::{
        constraint::Constraint,
        node::{Availability, Node, NodeState, Role},
        service::{Mode, RestartCondition, Service},
        task::{ObjectVersion, Task, TaskState},
    },
    store::{Change, Entity, Linear, State},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// After every step.
pub(super) fn always(state: &State, ledger: &mut Ledger) {
    rows(state, ledger);
    release(state, ledger);
    held(state, ledger);
    references(state);
    managers(state, ledger);
}

/// Nodes have a row from their joining until they were removed, or have left and nothing waits for their word.
fn rows(state: &State, ledger: &Ledger) {
    let there: BTreeSet<NodeId> = state.nodes().map(|node| node.id).collect();
    assert_eq!(there, ledger.rows(), "ROWS: who is there");
}

/// A node may have what it was given and has not confirmed to be gone, no more and no less. Of a removed node that
/// counts as long as the object is there.
fn held(state: &State, ledger: &Ledger) {
    let rows = ledger.rows();
    let mut given: BTreeSet<(NodeId, ObjectVersion)> = BTreeSet::new();
    for (node, versions) in ledger.given.values() {
        let counts = |version: &&ObjectVersion| {
            rows.contains(node) || state.object_by_id(version.object).is_some()
        };
        given.extend(versions.iter().filter(counts).map(|version| (*node, *version)));
    }
    let nodes: BTreeSet<NodeId> = ledger.given.values().map(|(node, _)| *node).collect();
    let everyone = nodes.into_iter().chain(state.nodes().map(|node| node.id));
    let shown: BTreeSet<_> = everyone
        .flat_map(|node| state.held_on(node))
        .map(|holder| (holder.node, holder.payload.version))
        .collect();
    assert_eq!(shown, given, "HELD: what nodes may have");
    let objects: BTreeSet<_> = given.iter().map(|(_, version)| version.object).collect();
    let by_object: BTreeSet<_> = objects
        .into_iter()
        .flat_map(|object| state.holders_of(object))
        .map(|holder| (holder.node, holder.payload.version))
        .collect();
    assert_eq!(by_object, given, "HELD: seen from the objects");
}

/// A node can get a payload if, and only if, it is a member with a live task that refers to it.
fn release(state: &State, ledger: &mut Ledger) {
    let mut held: BTreeSet<(NodeId, ObjectVersion)> = BTreeSet::new();
    for task in state.tasks() {
        if let Some(node) = task.node.filter(|_| lives(task)) {
            for (reference, version) in task.spec.references.iter().zip(&task.versions) {
                assert_eq!(reference.object, version.object, "RELEASE: {task:?}");
                held.insert((node, *version));
            }
        }
    }
    let linear = Linear::assume(Arc::new(state.clone()));
    let everyone = state.nodes().map(|node| node.id).chain(ledger.removed.iter().copied());
    for node in everyone.collect::<BTreeSet<_>>() {
        for object in state.objects() {
            let what = ObjectVersion { object: object.id, version: object.latest().number };
            let may = ledger.members.contains(&node) && held.contains(&(node, what));
            let given = linear.release(node, &what).is_ok();
            assert_eq!(given, may, "RELEASE: of {} to {node}", object.name);
            ledger.seen.released += u64::from(given);
        }
    }
}

/// What a service refers to, now or after a rollback, exists.
fn references(state: &State) {
    for service in state.services() {
        let specs = std::iter::once(&service.spec).chain(&service.previous);
        for reference in specs.flat_map(|spec| &spec.task.references) {
            let there = state.object_by_id(reference.object);
            assert!(there.is_some(), "IN USE: {} lacks {}", service.spec.name, reference.name);
        }
    }
}

/// Somebody shall always be a manager, no two have a Raft id in common, and no two that shall be managers an address: one
/// that never came and was demoted leaves the group after another has come to its address.
fn managers(state: &State, ledger: &mut Ledger) {
    let any = state.nodes().any(|node| node.role == Role::Manager);
    assert!(any, "MANAGERS: nobody shall be one");
    let next = state.cluster().unwrap().next_raft_id;
    assert!(ledger.raft_ids.last().is_none_or(|last| *last < next), "RAFT IDS: {next} is next");
    let (mut ids, mut addrs) = (BTreeSet::new(), BTreeSet::new());
    for node in state.nodes() {
        let Some(manager) = &node.manager else { continue };
        assert!(ids.insert(manager.raft_id), "RAFT IDS: two have {}", manager.raft_id);
        let stays = node.role == Role::Manager;
        assert!(!stays || addrs.insert(&manager.addr), "MANAGERS: two are at {}", manager.addr);
    }
    former_managers(state, ledger, &ids);
}

/// Each Raft id that was ever given is a row's present one or names a former manager, until every certificate with it has
/// ended; and it never comes back.
fn former_managers(state: &State, ledger: &mut Ledger, present: &BTreeSet<u64>) {
    let cluster = state.cluster().unwrap();
    for former in &cluster.former_managers {
        let id = former.raft_id;
        assert!(!present.contains(&id), "FORMER MANAGERS: {id} is back");
        ledger.former.entry(id).or_insert(former.at);
    }
    let newest = cluster.former_managers.iter().map(|former| former.at).max();
    for id in &ledger.raft_ids {
        let known = present.contains(id) || cluster.former_manager(*id).is_some();
        let ended = |at: &Timestamp| newest >= Some(at.plus(cluster.settings.certificate_life));
        let full = cluster.former_managers.len() == FORMER_MANAGERS;
        assert!(
            known || ledger.former.get(id).is_some_and(|at| full || ended(at)),
            "FORMER MANAGERS: nothing is known of {id}"
        );
    }
}

/// Of one command: tasks move forward, stay on their node and keep what they were given.
pub(super) fn forward(before: &State, changes: &[Change]) {
    for change in changes {
        let Change::Put(Entity::Task(after)) = change else { continue };
        let Some(task) = before.task_by_id(after.id) else { continue };
        assert!(after.status.state >= task.status.state, "FORWARD: {task:?} to {after:?}");
        assert!(after.desired >= task.desired, "FORWARD: {task:?} to {after:?}");
        assert!(task.node.is_none() || after.node == task.node, "FORWARD: it moved: {task:?}");
        assert_eq!(after.versions, task.versions, "FORWARD: other versions: {task:?}");
    }
}

/// Of assignments made from a view that was up to date: the node was fit for the task and had room.
pub(super) fn placed(before: &State, after: &State) {
    let is_new = |task: &&Arc<Task>| {
        let was = before.task_by_id(task.id);
        task.status.state == TaskState::Assigned
            && was.is_none_or(|was| was.status.state < TaskState::Assigned)
    };
    for task in after.tasks().filter(is_new) {
        let node = after.node_by_id(task.node.unwrap()).unwrap();
        assert!(is_open(node), "PLACED: on a node that takes none: {task:?} on {node:?}");
        // Beside it may be one of another version that was placed later and has a limit of its own.
        let limit = |task: &Arc<Task>| match task.spec.placement.max_replicas_per_node {
            0 => u64::MAX,
            most => most,
        };
        let beside = on(after, node).filter(|other| other.service == task.service);
        let most = beside.filter(is_new).map(limit).max().unwrap();
        let there = siblings(after, node, task);
        assert!(there <= most, "MAX REPLICAS: {there} of {most} on {}", node.id);
        let used = cpus(after, node);
        assert!(
            task.spec.resources.reserve_nano_cpus == 0 || used <= node.description.nano_cpus,
            "PLACED: {used} reserved of {}",
            node.description.nano_cpus
        );
    }
}

/// Once leader and agents have nothing left to do.
pub(super) fn settled(state: &State, ledger: &Ledger) {
    for task in state.tasks() {
        moved(state, task);
        waits_for_a_reason(state, task);
    }
    for service in state.services() {
        replicas(state, ledger, service);
    }
    for (id, (node, versions)) in &ledger.given {
        let heard = state.node_by_id(*node).is_some_and(|node| hears(node));
        let needed = state.task_by_id(*id).is_some_and(|task| lives(task));
        assert!(!heard || needed, "WIPED: nothing needs it: {versions:?} of {id} on {node}");
    }
    for task in state.tasks().filter(|task| state.service_by_id(task.service).is_none()) {
        let unheard =
            task.node.and_then(|id| state.node_by_id(id)).is_some_and(|node| !hears(node));
        assert!(unheard && lives(task), "BURIED: the service is gone: {task:?}");
    }
}

/// Nothing is wanted of a node that is gone, down or drained.
fn moved(state: &State, task: &Task) {
    let wanted = task.desired <= TaskState::Running && !task.status.state.is_terminal();
    let Some(id) = task.node.filter(|_| wanted) else { return };
    let node = state.node_by_id(id);
    let stays = node.is_some_and(|node| {
        // A global service leaves a paused node as it is, whatever becomes of it, as in Swarm.
        if task.slot == 0 && node.availability == Availability::Pause {
            return true;
        }
        node.status.state != NodeState::Down && node.availability != Availability::Drain
    });
    assert!(stays, "MOVED: {task:?} stays on {node:?}");
    assert_eq!(task.desired, TaskState::Running, "MOVED: prepared for ever: {task:?}");
    let runs = task.status.state == TaskState::Running || !node.is_some_and(|node| hears(node));
    assert!(runs || task.status.state < TaskState::Assigned, "MOVED: never ran: {task:?}");
}

/// A task without a node fits on none.
fn waits_for_a_reason(state: &State, task: &Task) {
    if task.status.state >= TaskState::Assigned || task.desired > TaskState::Running {
        return;
    }
    for node in state.nodes().filter(|node| is_open(node)) {
        let (spec, most) = (&task.spec, task.spec.placement.max_replicas_per_node);
        let wants = spec.resources.reserve_nano_cpus;
        let fits = task.node.is_none_or(|preset| preset == node.id)
            && spec.placement.constraints.iter().all(|constraint| is_met(constraint, node))
            && (wants == 0 || cpus(state, node) + wants <= node.description.nano_cpus)
            && (most == 0 || siblings(state, node, task) < most);
        assert!(!fits, "PLACED: {task:?} waits, and {node:?} would do");
    }
}

/// As many as were asked for, no more, and no fewer unless tasks may end for good.
fn replicas(state: &State, ledger: &Ledger, service: &Service) {
    let policy = &service.spec.task.restart;
    let endless = policy.condition == RestartCondition::Any && policy.max_attempts == 0;
    let mut wanted: BTreeMap<(u64, Option<NodeId>), u64> = BTreeMap::new();
    let mut running = 0;
    for task in state.tasks_of(service.id) {
        if task.desired <= TaskState::Running && !task.status.state.is_terminal() {
            *wanted.entry((task.slot, task.node.filter(|_| task.slot == 0))).or_default() += 1;
        }
        let heard = task.node.and_then(|id| state.node_by_id(id)).is_some_and(|node| hears(node));
        running += u64::from(heard && task.status.state == TaskState::Running);
    }
    let name = &service.spec.name;
    // Old and new stand side by side where the new one starts first, for as long as the update waits for a node or,
    // after a failure, for the operator.
    let under_way = service
        .update
        .as_ref()
        .is_some_and(|update| update.state.is_paused() || update.state.is_active());
    let single = !(under_way && ledger.start_first.contains(&service.id));
    // On a node that is not active an update of a global service goes no further, half way though it be.
    let frozen = |node: &Option<NodeId>| {
        let node = node.and_then(|id| state.node_by_id(id));
        node.is_some_and(|node| node.availability != Availability::Active)
    };
    for (place, count) in wanted.iter().filter(|((_, node), _)| single && !frozen(node)) {
        assert!(*count == 1, "REPLICAS: {count} of {name} are wanted in place {place:?}");
    }
    let places = wanted.len() as u64;
    match service.spec.mode {
        Mode::Replicated { replicas } => {
            assert!(places <= replicas, "REPLICAS: {places} of {replicas} are wanted of {name}");
            assert!(
                !single || running <= replicas,
                "REPLICAS: {running} of {replicas} of {name} run"
            );
            assert!(!endless || places >= replicas, "REPLICAS: {places} of {replicas} of {name}");
        }
        Mode::Global => {
            let constraints = &service.spec.task.placement.constraints;
            for node in state.nodes().filter(|node| endless && is_open(node)) {
                let fits = constraints.iter().all(|constraint| is_met(constraint, node));
                let there = wanted.contains_key(&(0, Some(node.id)));
                assert!(!fits || there, "REPLICAS: none of {name} on {}", node.id);
            }
        }
    }
}

/// Whether a node takes new tasks.
fn is_open(node: &Node) -> bool {
    hears(node) && node.availability == Availability::Active
}

/// Whether its agent does what is wanted.
fn hears(node: &Node) -> bool {
    node.status.state == NodeState::Ready
}

/// Whether a task was put on a node and its end has not been seen.
fn lives(task: &Task) -> bool {
    use TaskState::*;
    match task.status.state {
        New | Pending => false,
        Assigned | Accepted | Preparing | Ready | Starting | Running => task.node.is_some(),
        Complete | Shutdown | Failed | Rejected | Remove | Orphaned => false,
    }
}

/// The tasks on a node, found by looking at all of them.
fn on<'a>(state: &'a State, node: &'a Node) -> impl Iterator<Item = &'a Arc<Task>> {
    state.tasks().filter(|task| task.node == Some(node.id))
}

/// Whether a node is one of those that a constraint asks for; of the few that are drawn.
fn is_met(constraint: &Constraint, node: &Node) -> bool {
    let zone = node.labels.get("zone").map(String::as_str);
    match constraint.to_string().as_str() {
        "node.labels.zone == a" => zone == Some("a"),
        "node.labels.zone != a" => zone != Some("a"),
        "node.role == worker" => node.role == Role::Worker,
        other => panic!("{other} is not drawn"),
    }
}

/// Tasks of the same service that are meant to be on the node.
fn siblings(state: &State, node: &Node, task: &Task) -> u64 {
    let there = on(state, node).filter(|other| {
        other.service == task.service && lives(other) && other.desired <= TaskState::Running
    });
    there.count() as u64
}

/// Processors reserved by what may be running on the node.
fn cpus(state: &State, node: &Node) -> u64 {
    let there = on(state, node).filter(|task| lives(task));
    there.map(|task| task.spec.resources.reserve_nano_cpus).sum()
}
