//! What an onlooker writes down: tokens, Raft ids and nodes that ever were. From it, and from the state before, follows
//! which commands may succeed, without asking the code that decides.

use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, ObjectId, ServiceId, TaskId},
    },
    model::{
        command::{Answer, Command, Outcome, TaskChange},
        node::{Node, NodeState, Role},
        service::UpdateOrder,
        task::{ObjectVersion, TaskState},
    },
    store::{Change, Entity, State},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A token as it was made, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) hash: [u8; 32],
    pub(super) role: Role,
    expires_at: Option<Timestamp>,
    uses: Option<u64>,
    used: u64,
    revoked: bool,
}

impl Handed {
    fn admits(&self, role: Role, at: Timestamp) -> bool {
        !self.revoked
            && self.role == role
            && self.expires_at.is_none_or(|end| at < end)
            && self.uses.is_none_or(|uses| self.used < uses)
    }
}

/// How often what matters happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) settled: u64,
    joined: u64,
    turned_away: u64,
    admitted: u64,
    nodes_removed: u64,
    removals_refused: u64,
    objects_removed: u64,
    rolled_back: u64,
    pub(super) assigned: u64,
    pub(super) released: u64,
    pub(super) lagging: u64,
    pub(super) wiped: u64,
    nodes_left: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            settled,
            joined,
            turned_away,
            admitted,
            nodes_removed,
            removals_refused,
            objects_removed,
            rolled_back,
            assigned,
            released,
            lagging,
            wiped,
            nodes_left,
        } = other;
        self.settled += settled;
        self.joined += joined;
        self.turned_away += turned_away;
        self.admitted += admitted;
        self.nodes_removed += nodes_removed;
        self.removals_refused += removals_refused;
        self.objects_removed += objects_removed;
        self.rolled_back += rolled_back;
        self.assigned += assigned;
        self.released += released;
        self.lagging += lagging;
        self.wiped += wiped;
        self.nodes_left += nodes_left;
    }

    pub(super) fn assert_varied(&self) {
        let Self {
            settled,
            joined,
            turned_away,
            admitted,
            nodes_removed,
            removals_refused,
            objects_removed,
            rolled_back,
            assigned,
            released,
            lagging,
            wiped,
            nodes_left,
        } = *self;
        let all = [
            settled,
            joined,
            turned_away,
            admitted,
            nodes_removed,
            removals_refused,
            objects_removed,
            rolled_back,
            assigned,
            released,
            lagging,
            wiped,
            nodes_left,
        ];
        assert!(all.iter().all(|count| *count >= 10), "too little happened: {self:?}");
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) tokens: Vec<Handed>,
    /// Every Raft id that was ever given.
    pub(super) raft_ids: BTreeSet<u64>,
    /// Raft ids of managers that were, by when they came to be ones.
    pub(super) former: BTreeMap<u64, Timestamp>,
    pub(super) removed: BTreeSet<NodeId>,
    /// Who joined, and has neither left nor been removed.
    pub(super) members: BTreeSet<NodeId>,
    /// Who left and is still awaited: its last word, or its end in the Raft group. Whether it has said the word.
    pub(super) left: BTreeMap<NodeId, bool>,
    /// Services that at some time started new tasks beside the old ones.
    pub(super) start_first: BTreeSet<ServiceId>,
    /// What nodes were given with each task, until they confirmed that it is gone.
    pub(super) given: BTreeMap<TaskId, (NodeId, Vec<ObjectVersion>)>,
    pub(super) seen: Seen,
}

impl Ledger {
    /// Judges what came of a command in the state before it, and writes it down.
    pub(super) fn judge(
        &mut self,
        before: &State,
        at: Timestamp,
        command: &Command,
        outcome: &Outcome,
    ) {
        match command {
            Command::AddToken { token, revoke } if outcome.is_ok() => {
                for other in &mut self.tokens {
                    // Expired for this leader, it is dropped, also for one whose clock is behind.
                    let expired = other.expires_at.is_some_and(|end| at >= end);
                    other.revoked |= expired || *revoke && other.role == token.role;
                }
                self.tokens.push(Handed {
                    hash: token.hash,
                    role: token.role,
                    expires_at: token.expires_at,
                    uses: token.uses_left,
                    used: 0,
                    revoked: false,
                });
            }
            Command::RotateAuthority { .. } if outcome.is_ok() => {
                self.tokens.iter_mut().for_each(|token| token.revoked = true);
            }
            Command::JoinNode { token, node } => {
                let handed = self.tokens.iter_mut().find(|handed| handed.hash == *token);
                let admits = handed.as_ref().is_some_and(|handed| handed.admits(node.role, at))
                    && before.node_by_id(node.id).is_none();
                assert_eq!(
                    outcome.is_ok(),
                    admits,
                    "TOKENS: one admits exactly as often, as long and as what it was made for: {handed:?}"
                );
                if let (true, Some(handed)) = (admits, handed) {
                    handed.used += 1;
                    self.members.insert(node.id);
                    self.seen.joined += 1;
                } else {
                    self.seen.turned_away += 1;
                }
            }
            Command::AdmitManager { id, .. } => {
                if let Ok(answer) = outcome {
                    let Answer::Manager { raft_id } = answer else { panic!("{answer:?}") };
                    let fresh = self.raft_ids.insert(*raft_id);
                    assert!(fresh, "RAFT IDS: {raft_id} was given before, now to {id}");
                    self.seen.admitted += 1;
                }
            }
            Command::RemoveObject { id, .. } => {
                let free = before.object_by_id(*id).is_some() && !is_used(before, *id);
                assert_eq!(outcome.is_ok(), free, "IN USE: what a service refers to stays: {id}");
                if free {
                    self.seen.objects_removed += 1;
                } else {
                    self.seen.removals_refused += 1;
                }
            }
            Command::RemoveNode { id, force } => {
                let may = before.node_by_id(*id).is_some_and(|node| {
                    node.role == Role::Worker
                        && node.manager.is_none()
                        && (*force || node.status.state != NodeState::Ready)
                });
                assert_eq!(
                    outcome.is_ok(),
                    may,
                    "REMOVAL: only workers, ready ones by force: {id}"
                );
                if may {
                    self.gone(*id);
                    self.seen.nodes_removed += 1;
                }
            }
            Command::LeaveNode { id, wiped } => {
                let node = before.node_by_id(*id);
                let stays = self.members.contains(id)
                    && (*wiped || node.is_some_and(|node| node.role == Role::Manager));
                assert_eq!(outcome.is_err(), stays, "LEAVING: workers leave, then they wipe: {id}");
                if stays || node.is_none() {
                    return;
                }
                self.seen.nodes_left += u64::from(self.members.remove(id));
                *self.left.entry(*id).or_default() |= *wiped;
                if self.left[id] && node.is_some_and(|node| node.manager.is_none()) {
                    self.gone(*id);
                }
            }
            Command::RetireManager { id, raft_id } if outcome.is_ok() => {
                let manager = before.node_by_id(*id).and_then(|node| node.manager.as_ref());
                let is_out = manager.is_some_and(|manager| manager.raft_id == *raft_id);
                if is_out && self.left.get(id) == Some(&true) {
                    self.gone(*id);
                }
            }
            Command::FinishRotation => {
                let Some(cluster) = before.cluster().filter(|it| it.rotation.is_some()) else {
                    return;
                };
                let issuer: [u8; 32] = Sha256::digest(&cluster.ca_certificate).into();
                let moved = |node: &Arc<Node>| {
                    let shown = node.certificate.as_ref().filter(|certificate| certificate.shown);
                    shown.is_some_and(|certificate| certificate.issuer == issuer)
                };
                let all = before.nodes().filter(|node| self.members.contains(&node.id)).all(moved);
                assert_eq!(outcome.is_ok(), all, "CA: the old one goes once all members moved");
            }
            Command::CreateService { id, spec } | Command::UpdateService { id, spec, .. } => {
                let configs = [spec.update_config(), spec.rollback_config()];
                if configs.iter().any(|config| config.order == UpdateOrder::StartFirst) {
                    self.start_first.insert(*id);
                }
            }
            Command::RollBackService { .. } if outcome.is_ok() => self.seen.rolled_back += 1,
            Command::ChangeTasks { changes } => {
                for change in changes {
                    let TaskChange::Wiped { id, node } = change else { continue };
                    // The simulation never says so in one command with the end.
                    let over = before.task_by_id(*id).is_none_or(|t| t.status.state.is_terminal());
                    let own = self.given.get(id).is_some_and(|(owner, _)| owner == node);
                    if over && own {
                        self.given.remove(id);
                        self.seen.wiped += 1;
                    }
                }
            }
            Command::Found { .. }
            | Command::CreateObject { .. }
            | Command::SetObjectLabels { .. }
            | Command::RemoveService { .. }
            | Command::RollBackService { .. }
            | Command::NoteUpdate { .. }
            | Command::ReportNode { .. }
            | Command::SetNode { .. }
            | Command::AddToken { .. }
            | Command::SetRole { .. }
            | Command::RetireManager { .. }
            | Command::NoteCertificate { .. }
            | Command::MoveManager { .. }
            | Command::RotateAuthority { .. }
            | Command::ChangeUnlockers { .. }
            | Command::Reestablish { .. }
            | Command::NoteBackup { .. }
            | Command::AddTerm { .. }
            | Command::Rewrap { .. }
            | Command::DropTerms { .. }
            | Command::NoteTerms { .. }
            | Command::SetKeyMaxAge { .. }
            | Command::OpenSession { .. }
            | Command::NoteCopy { .. }
            | Command::SetComeBack { .. }
            | Command::BeginRoot { .. }
            | Command::OfferRoot { .. }
            | Command::NotePreparedRoot { .. }
            | Command::RotateRoot { .. }
            | Command::NoteRoot { .. }
            | Command::NoteDestroyed { .. } => {}
        }
    }
}

impl Ledger {
    /// The cluster has forgotten a node.
    fn gone(&mut self, id: NodeId) {
        self.members.remove(&id);
        self.left.remove(&id);
        self.removed.insert(id);
    }

    /// Who has a row.
    pub(super) fn rows(&self) -> BTreeSet<NodeId> {
        self.members.iter().chain(self.left.keys()).copied().collect()
    }

    /// Writes down what nodes are given.
    pub(super) fn watch(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Put(Entity::Task(task)) = change else { continue };
            if let Some(node) = task.node
                && task.status.state == TaskState::Assigned
                && !task.versions.is_empty()
            {
                self.given.insert(task.id, (node, task.versions.clone()));
            }
        }
    }
}

/// Whether a present or previous spec refers to it; found by looking at all of them.
fn is_used(state: &State, id: ObjectId) -> bool {
    state.services().any(|service| {
        let specs = std::iter::once(&service.spec).chain(&service.previous);
        specs.flat_map(|spec| &spec.task.references).any(|reference| reference.object == id)
    })
}
