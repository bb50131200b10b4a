//! What an onlooker writes down: tokens, Raft ids and nodes that ever were. From it, and from the state before, follows
//! which commands may succeed, without asking the code that decides.

use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, ObjectId, ServiceId, TaskId},
    },
    model::{
        command::{Answer, Command, Outcome, TaskChange},
        node::{NodeState, Role},
        service::UpdateOrder,
        task::{ObjectVersion, TaskState},
    },
    store::{Change, Entity, State},
};
use std::collections::{BTreeMap, BTreeSet};

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
        ];
        assert!(all.iter().all(|count| *count >= 10), "too little happened: {self:?}");
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) tokens: Vec<Handed>,
    /// Every Raft id that was ever given.
    pub(super) raft_ids: BTreeSet<u64>,
    pub(super) removed: BTreeSet<NodeId>,
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
                    self.removed.insert(*id);
                    self.seen.nodes_removed += 1;
                }
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
            | Command::RotateAuthority { .. }
            | Command::FinishRotation
            | Command::ChangeUnlockers { .. }
            | Command::Reestablish { .. }
            | Command::NoteBackup { .. }
            | Command::AddTerm { .. }
            | Command::Rewrap { .. }
            | Command::DropTerms { .. }
            | Command::NoteTerms { .. }
            | Command::SetKeyMaxAge { .. }
            | Command::NoteDestroyed { .. } => {}
        }
    }
}

impl Ledger {
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
