//! What a command does: checks first, then changes; a refusal changes nothing.

mod answered;
mod destroyed;
mod keyring;
mod membership;
mod nodes;
mod objects;
mod remnants;
mod root;
mod services;
mod sightings;
mod tasks;
mod unlockers;

use super::{Change, Entity, Key, State};
use crate::{
    kit::clock::Timestamp,
    model::{
        command::{Answer, Command, Outcome, RequestId, Stamped},
        refusal::{Refusal, RefusalKind},
    },
};

/// What a command gave back and what it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub outcome: Outcome,
    /// In the order they were made; empty if nothing changed.
    pub changes: Vec<Change>,
}

impl State {
    /// What became of a request, if it was carried out before or is too old to tell. Look-ups by name ask first: the
    /// thing a repeated removal names is gone.
    pub fn recall(&self, request: RequestId) -> Option<Outcome> {
        answered::recall(self, request)
    }

    /// Carries out a command. Every command has an outcome, and the same one for the same state everywhere.
    pub fn apply(&mut self, stamped: &Stamped) -> Applied {
        let Stamped { request, at, command } = stamped;
        if let Some(outcome) = request.and_then(|request| answered::recall(self, request)) {
            return Applied { outcome, changes: Vec::new() };
        }
        let mut edit = Edit { state: self, at: *at, changes: Vec::new() };
        let outcome = edit.carry_out(command);
        debug_assert!(outcome.is_ok() || edit.changes.is_empty(), "a refusal changes nothing");
        if let Some(request) = request {
            answered::remember(&mut edit, *request, &outcome);
        }
        Applied { outcome, changes: edit.changes }
    }
}

/// The state under a command, the time of the command, and what it has changed so far.
struct Edit<'a> {
    state: &'a mut State,
    at: Timestamp,
    changes: Vec<Change>,
}

impl Edit<'_> {
    fn carry_out(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Found { cluster, node } => nodes::found(self, cluster, node),
            Command::CreateObject { kind, id, name, labels, size, sealed } => {
                objects::create(self, *kind, *id, name, labels, *size, sealed)
            }
            Command::SetObjectLabels { kind, id, index, labels } => {
                objects::set_labels(self, *kind, *id, *index, labels)
            }
            Command::RemoveObject { kind, id } => objects::remove(self, *kind, *id),
            Command::CreateService { id, spec } => services::create(self, *id, spec),
            Command::UpdateService { id, index, spec } => services::update(self, *id, *index, spec),
            Command::RemoveService { id } => services::remove(self, *id),
            Command::RollBackService { id, index, failure } => {
                services::roll_back(self, *id, *index, failure.as_deref())
            }
            Command::NoteUpdate { id, spec_index, status } => {
                services::note_update(self, *id, *spec_index, status)
            }
            Command::ChangeTasks { changes } => {
                for change in changes {
                    tasks::change(self, change);
                }
                Ok(Answer::Done)
            }
            Command::ReportNode { id, description, status, held_by } => {
                nodes::report(self, *id, description.as_deref(), status, *held_by)
            }
            Command::SetNode { id, index, availability, labels, hostname } => {
                nodes::set(self, *id, *index, *availability, labels, hostname.as_deref())
            }
            Command::LeaveNode { id, wiped } => membership::leave(self, *id, *wiped),
            Command::AddToken { token, revoke } => membership::add_token(self, token, *revoke),
            Command::JoinNode { token, node } => membership::join(self, token, node),
            Command::SetRole { id, index, role } => membership::set_role(self, *id, *index, *role),
            Command::AdmitManager { id, addr } => membership::admit(self, *id, addr),
            Command::MoveManager { id, addr } => membership::relocate(self, *id, addr),
            Command::RetireManager { id, raft_id } => membership::retire(self, *id, *raft_id),
            Command::RemoveNode { id, force } => membership::remove(self, *id, *force),
            Command::NoteCertificate { id, certificate, shown } => {
                sightings::note_certificate(self, *id, certificate, shown.as_ref())
            }
            Command::OpenSession { id, description, status, shown, process } => {
                sightings::open_session(self, *id, (description, status), shown, *process)
            }
            Command::NoteCopy { id, addr } => sightings::note_copy(self, *id, addr),
            Command::SetComeBack { age } => keyring::set_come_back(self, *age),
            Command::RotateAuthority { ca_certificate, ca_key, rotation } => {
                membership::rotate(self, ca_certificate, ca_key, rotation)
            }
            Command::FinishRotation => membership::finish_rotation(self),
            Command::ChangeUnlockers { add, remove, key_files, root } => {
                unlockers::change(self, add, remove, *key_files, *root)
            }
            Command::Reestablish { node } => membership::reestablish(self, node),
            Command::NoteBackup { backup } => membership::note_backup(self, backup),
            Command::AddTerm { term, rate, root } => keyring::add_term(self, term, *rate, *root),
            Command::Rewrap { term, keys, authority } => {
                keyring::rewrap(self, *term, keys, authority.as_ref())
            }
            Command::DropTerms { before } => keyring::drop_terms(self, *before),
            Command::NoteTerms { id, oldest } => keyring::note_terms(self, *id, *oldest),
            Command::SetKeyMaxAge { age } => keyring::set_max_age(self, *age),
            Command::BeginRoot { rate } => root::begin(self, *rate),
            Command::OfferRoot { offer } => root::offer(self, *offer),
            Command::NotePreparedRoot { node, root } => root::note_prepared(self, *node, *root),
            Command::RotateRoot { root, keyring, unlockers } => {
                root::rotate(self, *root, keyring, unlockers)
            }
            Command::NoteRoot { node, number } => root::note(self, *node, *number),
            Command::NoteDestroyed { node, objects } => destroyed::note(self, *node, objects),
        }
    }

    fn put(&mut self, entity: Entity) {
        self.state.put(entity.clone());
        self.changes.push(Change::Put(entity));
    }

    fn delete(&mut self, key: Key) {
        self.state.delete(key);
        self.changes.push(Change::Delete(key));
    }
}

/// Refuses a change by somebody who has not seen the thing as it is now.
fn check_index(seen: Option<u64>, now: u64) -> Result<(), Refusal> {
    match seen {
        Some(seen) if seen != now => {
            Err(Refusal::new(RefusalKind::Conflict, "update out of sequence")
                .hint("somebody changed it since you looked; look again and repeat the change"))
        }
        Some(_) | None => Ok(()),
    }
}
