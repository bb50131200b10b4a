//! Commands, their changes, and what became of them. A chapter: one arm for each command, both ways.

use super::{
    Code, Malformed,
    object::number,
    parts::{At, convert, digest, list, maybe, maybe_parse, need, parse, root_id, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        command::{
            Answer, Answered, Command, Outcome, Outcomes, Rewrapped, RewrappedAuthority, Stamped,
            TaskChange,
        },
        node::{Availability, Role},
        object::Kind,
        refusal::{Refusal, RefusalKind},
        task::TaskState,
    },
    wire::v1,
};
use v1::{command as c, task_change as t};

impl From<&Stamped> for v1::Stamped {
    fn from(value: &Stamped) -> Self {
        let Stamped { request, at, command } = value;
        Self {
            request: request.as_ref().map(Into::into),
            at_ms: at.0,
            command: Some(command.into()),
        }
    }
}

impl TryFrom<v1::Stamped> for Stamped {
    type Error = Malformed;
    fn try_from(wire: v1::Stamped) -> Result<Self, Malformed> {
        let v1::Stamped { request, at_ms, command } = wire;
        Ok(Self {
            request: maybe(request, "request")?,
            at: Timestamp(at_ms),
            command: convert(command, "command")?,
        })
    }
}

impl From<&Command> for v1::Command {
    fn from(value: &Command) -> Self {
        let command = match value {
            Command::Found { cluster, node } => c::Command::Found(Box::new(c::Found {
                cluster: Some(cluster.as_ref().into()),
                node: Some(node.as_ref().into()),
            })),
            Command::CreateObject { kind, id, name, labels, size, sealed } => {
                c::Command::CreateObject(c::CreateObject {
                    kind: kind.code(),
                    id: id.to_string(),
                    name: name.to_string(),
                    labels: labels.clone(),
                    size: *size,
                    sealed: Some(sealed.into()),
                })
            }
            Command::SetObjectLabels { kind, id, index, labels } => {
                c::Command::SetObjectLabels(c::SetObjectLabels {
                    kind: kind.code(),
                    id: id.to_string(),
                    index: *index,
                    labels: labels.clone(),
                })
            }
            Command::RemoveObject { kind, id } => {
                c::Command::RemoveObject(c::RemoveObject { kind: kind.code(), id: id.to_string() })
            }
            Command::CreateService { id, spec } => {
                c::Command::CreateService(Box::new(c::CreateService {
                    id: id.to_string(),
                    spec: Some(spec.as_ref().into()),
                }))
            }
            Command::UpdateService { id, index, spec } => {
                c::Command::UpdateService(Box::new(c::UpdateService {
                    id: id.to_string(),
                    index: *index,
                    spec: Some(spec.as_ref().into()),
                }))
            }
            Command::RemoveService { id } => {
                c::Command::RemoveService(c::RemoveService { id: id.to_string() })
            }
            Command::RollBackService { id, index, failure } => {
                c::Command::RollBackService(c::RollBackService {
                    id: id.to_string(),
                    index: *index,
                    failure: failure.clone(),
                })
            }
            Command::NoteUpdate { id, spec_index, status } => {
                c::Command::NoteUpdate(c::NoteUpdate {
                    id: id.to_string(),
                    spec_index: *spec_index,
                    status: Some(status.into()),
                })
            }
            Command::ChangeTasks { changes } => {
                c::Command::ChangeTasks(c::ChangeTasks { changes: wires(changes) })
            }
            Command::ReportNode { id, description, status, held_by } => {
                c::Command::ReportNode(c::ReportNode {
                    id: id.to_string(),
                    description: description.as_deref().map(Into::into),
                    status: Some(status.into()),
                    held_by: held_by.map(|id| id.to_string()).unwrap_or_default(),
                })
            }
            Command::SetNode { id, index, availability, labels, hostname } => {
                c::Command::SetNode(c::SetNode {
                    id: id.to_string(),
                    index: *index,
                    availability: availability.code(),
                    labels: labels.clone(),
                    hostname: hostname.clone(),
                })
            }
            Command::LeaveNode { id, wiped } => {
                c::Command::LeaveNode(c::LeaveNode { id: id.to_string(), wiped: *wiped })
            }
            Command::AddToken { token, revoke } => {
                c::Command::AddToken(c::AddToken { token: Some(token.into()), revoke: *revoke })
            }
            Command::JoinNode { token, node } => c::Command::JoinNode(c::JoinNode {
                token: token.to_vec(),
                node: Some(node.as_ref().into()),
            }),
            Command::SetRole { id, index, role } => c::Command::SetRole(c::SetRole {
                id: id.to_string(),
                index: *index,
                role: role.code(),
            }),
            Command::AdmitManager { id, addr } => {
                c::Command::AdmitManager(c::AdmitManager { id: id.to_string(), addr: addr.clone() })
            }
            Command::MoveManager { id, addr } => {
                c::Command::MoveManager(c::MoveManager { id: id.to_string(), addr: addr.clone() })
            }
            Command::RetireManager { id, raft_id } => c::Command::RetireManager(c::RetireManager {
                id: id.to_string(),
                raft_id: *raft_id,
            }),
            Command::RemoveNode { id, force } => {
                c::Command::RemoveNode(c::RemoveNode { id: id.to_string(), force: *force })
            }
            Command::NoteCertificate { id, certificate, shown } => {
                c::Command::NoteCertificate(c::NoteCertificate {
                    id: id.to_string(),
                    certificate: Some(certificate.into()),
                    shown: shown.as_ref().map(Into::into),
                })
            }
            Command::OpenSession { id, description, status, shown, process } => {
                c::Command::OpenSession(c::OpenSession {
                    id: id.to_string(),
                    description: Some(description.into()),
                    status: Some(status.into()),
                    shown: Some(shown.into()),
                    process: *process,
                })
            }
            Command::NoteCopy { id, addr } => {
                c::Command::NoteCopy(c::NoteCopy { id: id.to_string(), addr: addr.clone() })
            }
            Command::SetComeBack { age } => {
                c::Command::SetComeBack(c::SetComeBack { age: Some(age.into()) })
            }
            Command::RotateAuthority { ca_certificate, ca_key, rotation } => {
                c::Command::RotateAuthority(c::RotateAuthority {
                    ca_certificate: ca_certificate.clone(),
                    ca_key: Some(ca_key.into()),
                    rotation: Some(rotation.into()),
                })
            }
            Command::FinishRotation => c::Command::FinishRotation(c::FinishRotation {}),
            Command::ChangeUnlockers { add, remove, key_files, root } => {
                c::Command::ChangeUnlockers(c::ChangeUnlockers {
                    add: wires(add),
                    remove: remove.iter().map(ToString::to_string).collect(),
                    key_files: *key_files,
                    root: root.0.to_vec(),
                })
            }
            Command::Reestablish { node } => {
                c::Command::Reestablish(c::Reestablish { node: Some(node.as_ref().into()) })
            }
            Command::NoteBackup { backup } => {
                c::Command::NoteBackup(c::NoteBackup { backup: Some(backup.into()) })
            }
            Command::AddTerm { term, rate, root } => {
                let (term, root) = (Some(term.into()), root.0.to_vec());
                c::Command::AddTerm(c::AddTerm { term, rate: *rate, root })
            }
            Command::Rewrap { term, keys, authority } => c::Command::Rewrap(c::Rewrap {
                term: *term,
                keys: wires(keys),
                authority: authority.as_ref().map(Into::into),
            }),
            Command::DropTerms { before } => {
                c::Command::DropTerms(c::DropTerms { before: *before })
            }
            Command::NoteTerms { id, oldest } => {
                c::Command::NoteTerms(c::NoteTerms { id: id.to_string(), oldest: *oldest })
            }
            Command::SetKeyMaxAge { age } => {
                c::Command::SetKeyMaxAge(c::SetKeyMaxAge { age: age.as_ref().map(Into::into) })
            }
            Command::BeginRoot { rate } => c::Command::BeginRoot(c::BeginRoot { rate: *rate }),
            Command::OfferRoot { offer } => {
                c::Command::OfferRoot(c::OfferRoot { offer: Some(offer.into()) })
            }
            Command::NotePreparedRoot { node, root } => {
                let (node_id, id) = (node.to_string(), root.0.to_vec());
                c::Command::NotePreparedRoot(c::NotePreparedRoot { node_id, id })
            }
            Command::RotateRoot { root, keyring, unlockers } => {
                c::Command::RotateRoot(c::RotateRoot {
                    id: root.0.to_vec(),
                    keyring: wires(keyring),
                    unlockers: wires(unlockers),
                })
            }
            Command::NoteRoot { node, number } => {
                c::Command::NoteRoot(c::NoteRoot { node_id: node.to_string(), number: *number })
            }
            Command::NoteDestroyed { node, objects } => {
                c::Command::NoteDestroyed(c::NoteDestroyed {
                    node_id: node.to_string(),
                    object_ids: objects.iter().map(ToString::to_string).collect(),
                })
            }
        };
        Self { command: Some(command) }
    }
}

impl TryFrom<v1::Command> for Command {
    type Error = Malformed;
    fn try_from(wire: v1::Command) -> Result<Self, Malformed> {
        let v1::Command { command } = wire;
        Ok(match need(command, "command")? {
            c::Command::Found(found) => {
                let c::Found { cluster, node } = *found;
                Self::Found {
                    cluster: Box::new(convert(cluster, "cluster")?),
                    node: Box::new(convert(node, "node")?),
                }
            }
            c::Command::CreateObject(c::CreateObject { kind, id, name, labels, size, sealed }) => {
                Self::CreateObject {
                    kind: Kind::from_code(kind).at("kind")?,
                    id: parse(&id, "id")?,
                    name: parse(&name, "name")?,
                    labels,
                    size,
                    sealed: convert(sealed, "sealed")?,
                }
            }
            c::Command::SetObjectLabels(c::SetObjectLabels { kind, id, index, labels }) => {
                Self::SetObjectLabels {
                    kind: Kind::from_code(kind).at("kind")?,
                    id: parse(&id, "id")?,
                    index,
                    labels,
                }
            }
            c::Command::RemoveObject(c::RemoveObject { kind, id }) => Self::RemoveObject {
                kind: Kind::from_code(kind).at("kind")?,
                id: parse(&id, "id")?,
            },
            c::Command::CreateService(create) => {
                let c::CreateService { id, spec } = *create;
                Self::CreateService {
                    id: parse(&id, "id")?,
                    spec: Box::new(convert(spec, "spec")?),
                }
            }
            c::Command::UpdateService(update) => {
                let c::UpdateService { id, index, spec } = *update;
                Self::UpdateService {
                    id: parse(&id, "id")?,
                    index,
                    spec: Box::new(convert(spec, "spec")?),
                }
            }
            c::Command::RemoveService(c::RemoveService { id }) => {
                Self::RemoveService { id: parse(&id, "id")? }
            }
            c::Command::RollBackService(c::RollBackService { id, index, failure }) => {
                Self::RollBackService { id: parse(&id, "id")?, index, failure }
            }
            c::Command::NoteUpdate(c::NoteUpdate { id, spec_index, status }) => Self::NoteUpdate {
                id: parse(&id, "id")?,
                spec_index,
                status: convert(status, "status")?,
            },
            c::Command::ChangeTasks(c::ChangeTasks { changes }) => {
                Self::ChangeTasks { changes: list(changes, "changes")? }
            }
            c::Command::ReportNode(c::ReportNode { id, description, status, held_by }) => {
                Self::ReportNode {
                    id: parse(&id, "id")?,
                    description: maybe(description, "description")?.map(Box::new),
                    status: convert(status, "status")?,
                    held_by: maybe_parse(&held_by, "held_by")?,
                }
            }
            c::Command::SetNode(c::SetNode { id, index, availability, labels, hostname }) => {
                Self::SetNode {
                    id: parse(&id, "id")?,
                    index,
                    availability: Availability::from_code(availability).at("availability")?,
                    labels,
                    hostname,
                }
            }
            c::Command::LeaveNode(c::LeaveNode { id, wiped }) => {
                Self::LeaveNode { id: parse(&id, "id")?, wiped }
            }
            c::Command::AddToken(c::AddToken { token, revoke }) => {
                Self::AddToken { token: convert(token, "token")?, revoke }
            }
            c::Command::JoinNode(c::JoinNode { token, node }) => Self::JoinNode {
                token: digest(&token, "token")?,
                node: Box::new(convert(node, "node")?),
            },
            c::Command::SetRole(c::SetRole { id, index, role }) => Self::SetRole {
                id: parse(&id, "id")?,
                index,
                role: Role::from_code(role).at("role")?,
            },
            c::Command::AdmitManager(c::AdmitManager { id, addr }) => {
                Self::AdmitManager { id: parse(&id, "id")?, addr }
            }
            c::Command::MoveManager(c::MoveManager { id, addr }) => {
                Self::MoveManager { id: parse(&id, "id")?, addr }
            }
            c::Command::RetireManager(c::RetireManager { id, raft_id }) => {
                Self::RetireManager { id: parse(&id, "id")?, raft_id }
            }
            c::Command::RemoveNode(c::RemoveNode { id, force }) => {
                Self::RemoveNode { id: parse(&id, "id")?, force }
            }
            c::Command::NoteCertificate(c::NoteCertificate { id, certificate, shown }) => {
                Self::NoteCertificate {
                    id: parse(&id, "id")?,
                    certificate: convert(certificate, "certificate")?,
                    shown: maybe(shown, "shown")?,
                }
            }
            c::Command::OpenSession(c::OpenSession { id, description, status, shown, process }) => {
                Self::OpenSession {
                    id: parse(&id, "id")?,
                    description: convert(description, "description")?,
                    status: convert(status, "status")?,
                    shown: convert(shown, "shown")?,
                    process,
                }
            }
            c::Command::NoteCopy(c::NoteCopy { id, addr }) => {
                Self::NoteCopy { id: parse(&id, "id")?, addr }
            }
            c::Command::SetComeBack(c::SetComeBack { age }) => {
                Self::SetComeBack { age: convert(age, "age")? }
            }
            c::Command::RotateAuthority(c::RotateAuthority {
                ca_certificate,
                ca_key,
                rotation,
            }) => Self::RotateAuthority {
                ca_certificate,
                ca_key: convert(ca_key, "ca_key")?,
                rotation: convert(rotation, "rotation")?,
            },
            c::Command::FinishRotation(c::FinishRotation {}) => Self::FinishRotation,
            c::Command::ChangeUnlockers(c::ChangeUnlockers { add, remove, key_files, root }) => {
                let remove =
                    remove.iter().map(|id| parse(id, "remove")).collect::<Result<_, _>>()?;
                let (add, root) = (list(add, "add")?, root_id(&root, "root")?);
                Self::ChangeUnlockers { add, remove, key_files, root }
            }
            c::Command::Reestablish(c::Reestablish { node }) => {
                Self::Reestablish { node: Box::new(convert(node, "node")?) }
            }
            c::Command::NoteBackup(c::NoteBackup { backup }) => {
                Self::NoteBackup { backup: convert(backup, "backup")? }
            }
            c::Command::AddTerm(c::AddTerm { term, rate, root }) => {
                Self::AddTerm { term: convert(term, "term")?, rate, root: root_id(&root, "root")? }
            }
            c::Command::Rewrap(c::Rewrap { term, keys, authority }) => Self::Rewrap {
                term,
                keys: list(keys, "keys")?,
                authority: maybe(authority, "authority")?,
            },
            c::Command::DropTerms(c::DropTerms { before }) => Self::DropTerms { before },
            c::Command::NoteTerms(c::NoteTerms { id, oldest }) => {
                Self::NoteTerms { id: parse(&id, "id")?, oldest }
            }
            c::Command::SetKeyMaxAge(c::SetKeyMaxAge { age }) => {
                Self::SetKeyMaxAge { age: maybe(age, "age")? }
            }
            c::Command::BeginRoot(c::BeginRoot { rate }) => Self::BeginRoot { rate },
            c::Command::OfferRoot(c::OfferRoot { offer }) => {
                Self::OfferRoot { offer: convert(offer, "offer")? }
            }
            c::Command::NotePreparedRoot(c::NotePreparedRoot { node_id, id }) => {
                let (node, root) = (parse(&node_id, "node_id")?, root_id(&id, "id")?);
                Self::NotePreparedRoot { node, root }
            }
            c::Command::RotateRoot(c::RotateRoot { id, keyring, unlockers }) => Self::RotateRoot {
                root: root_id(&id, "id")?,
                keyring: list(keyring, "keyring")?,
                unlockers: list(unlockers, "unlockers")?,
            },
            c::Command::NoteRoot(c::NoteRoot { node_id, number }) => {
                Self::NoteRoot { node: parse(&node_id, "node_id")?, number }
            }
            c::Command::NoteDestroyed(c::NoteDestroyed { node_id, object_ids }) => {
                let objects = object_ids.iter().map(|id| parse(id, "object_ids"));
                Self::NoteDestroyed {
                    node: parse(&node_id, "node_id")?,
                    objects: objects.collect::<Result<_, _>>()?,
                }
            }
        })
    }
}

impl From<&Rewrapped> for c::rewrap::Key {
    fn from(value: &Rewrapped) -> Self {
        let Rewrapped { version, from, wrapped } = value;
        Self { version: Some(version.into()), from: *from, wrapped: wrapped.clone() }
    }
}

impl TryFrom<c::rewrap::Key> for Rewrapped {
    type Error = Malformed;
    fn try_from(wire: c::rewrap::Key) -> Result<Self, Malformed> {
        let c::rewrap::Key { version, from, wrapped } = wire;
        Ok(Self { version: convert(version, "version")?, from, wrapped })
    }
}

impl From<&RewrappedAuthority> for c::rewrap::Authority {
    fn from(value: &RewrappedAuthority) -> Self {
        let RewrappedAuthority { was, wrapped } = value;
        Self { was: was.clone(), wrapped: wrapped.clone() }
    }
}

impl TryFrom<c::rewrap::Authority> for RewrappedAuthority {
    type Error = Malformed;
    fn try_from(wire: c::rewrap::Authority) -> Result<Self, Malformed> {
        let c::rewrap::Authority { was, wrapped } = wire;
        Ok(Self { was, wrapped })
    }
}

impl From<&TaskChange> for v1::TaskChange {
    fn from(value: &TaskChange) -> Self {
        let change = match value {
            TaskChange::Create(task) => t::Change::Create(Box::new(task.as_ref().into())),
            TaskChange::Assign { id, node } => {
                t::Change::Assign(t::Assign { id: id.to_string(), node_id: node.to_string() })
            }
            TaskChange::Desire { id, desired } => {
                t::Change::Desire(t::Desire { id: id.to_string(), desired: desired.code() })
            }
            TaskChange::Report { id, node, status } => t::Change::Report(t::Report {
                id: id.to_string(),
                node_id: node.to_string(),
                status: Some(status.into()),
            }),
            TaskChange::Note { id, status } => {
                t::Change::Note(t::Note { id: id.to_string(), status: Some(status.into()) })
            }
            TaskChange::Delete { id } => t::Change::Delete(t::Delete { id: id.to_string() }),
            TaskChange::Wiped { id, node } => {
                t::Change::Wiped(t::Wiped { id: id.to_string(), node_id: node.to_string() })
            }
        };
        Self { change: Some(change) }
    }
}

impl TryFrom<v1::TaskChange> for TaskChange {
    type Error = Malformed;
    fn try_from(wire: v1::TaskChange) -> Result<Self, Malformed> {
        let v1::TaskChange { change } = wire;
        Ok(match need(change, "change")? {
            t::Change::Create(task) => Self::Create(Box::new((*task).try_into().at("create")?)),
            t::Change::Assign(t::Assign { id, node_id }) => {
                Self::Assign { id: parse(&id, "id")?, node: parse(&node_id, "node_id")? }
            }
            t::Change::Desire(t::Desire { id, desired }) => Self::Desire {
                id: parse(&id, "id")?,
                desired: TaskState::from_code(desired).at("desired")?,
            },
            t::Change::Report(t::Report { id, node_id, status }) => Self::Report {
                id: parse(&id, "id")?,
                node: parse(&node_id, "node_id")?,
                status: convert(status, "status")?,
            },
            t::Change::Note(t::Note { id, status }) => {
                Self::Note { id: parse(&id, "id")?, status: convert(status, "status")? }
            }
            t::Change::Delete(t::Delete { id }) => Self::Delete { id: parse(&id, "id")? },
            t::Change::Wiped(t::Wiped { id, node_id }) => {
                Self::Wiped { id: parse(&id, "id")?, node: parse(&node_id, "node_id")? }
            }
        })
    }
}

impl From<&Answer> for v1::Answer {
    fn from(value: &Answer) -> Self {
        let answer = match value {
            Answer::Done => v1::answer::Answer::Done(v1::answer::Done {}),
            Answer::Object { id, version } => v1::answer::Answer::Object(v1::answer::MadeObject {
                id: id.to_string(),
                version: version.0,
            }),
            Answer::Service { id } => {
                v1::answer::Answer::Service(v1::answer::MadeService { id: id.to_string() })
            }
            Answer::Manager { raft_id } => {
                v1::answer::Answer::Manager(v1::answer::AdmittedManager { raft_id: *raft_id })
            }
        };
        Self { answer: Some(answer) }
    }
}

impl TryFrom<v1::Answer> for Answer {
    type Error = Malformed;
    fn try_from(wire: v1::Answer) -> Result<Self, Malformed> {
        let v1::Answer { answer } = wire;
        Ok(match need(answer, "answer")? {
            v1::answer::Answer::Done(v1::answer::Done {}) => Self::Done,
            v1::answer::Answer::Object(v1::answer::MadeObject { id, version }) => {
                Self::Object { id: parse(&id, "id")?, version: number(version, "version")? }
            }
            v1::answer::Answer::Service(v1::answer::MadeService { id }) => {
                Self::Service { id: parse(&id, "id")? }
            }
            v1::answer::Answer::Manager(v1::answer::AdmittedManager { raft_id }) => {
                Self::Manager { raft_id }
            }
        })
    }
}

impl From<&Refusal> for v1::Refusal {
    fn from(value: &Refusal) -> Self {
        let Refusal { kind, message, hint } = value;
        Self { kind: kind.code(), message: message.clone(), hint: hint.clone() }
    }
}

impl TryFrom<v1::Refusal> for Refusal {
    type Error = Malformed;
    fn try_from(wire: v1::Refusal) -> Result<Self, Malformed> {
        let v1::Refusal { kind, message, hint } = wire;
        Ok(Self { kind: RefusalKind::from_code(kind).at("kind")?, message, hint })
    }
}

impl From<&Outcome> for v1::Outcome {
    fn from(value: &Outcome) -> Self {
        let outcome = match value {
            Ok(answer) => v1::outcome::Outcome::Answer(answer.into()),
            Err(refusal) => v1::outcome::Outcome::Refusal(refusal.into()),
        };
        Self { outcome: Some(outcome) }
    }
}

/// Unpacks what became of a command. (`Outcome` is a `Result` of std, so no `TryFrom` is possible.)
///
/// # Errors
/// [`Malformed`]: it says neither.
pub fn outcome(wire: v1::Outcome) -> Result<Outcome, Malformed> {
    let v1::Outcome { outcome } = wire;
    Ok(match need(outcome, "outcome")? {
        v1::outcome::Outcome::Answer(answer) => Ok(answer.try_into().at("answer")?),
        v1::outcome::Outcome::Refusal(refusal) => Err(refusal.try_into().at("refusal")?),
    })
}

impl From<&Answered> for v1::Answered {
    fn from(value: &Answered) -> Self {
        let Answered { client, at, forgotten, outcomes } = value;
        Self {
            client_id: client.to_string(),
            at_ms: at.0,
            forgotten: *forgotten,
            outcomes: outcomes.iter().map(|(sequence, o)| (sequence, o.into())).collect(),
        }
    }
}

impl TryFrom<v1::Answered> for Answered {
    type Error = Malformed;
    fn try_from(wire: v1::Answered) -> Result<Self, Malformed> {
        let v1::Answered { client_id, at_ms, forgotten, outcomes } = wire;
        let outcomes: Result<Outcomes, _> = outcomes
            .into_iter()
            .map(|(sequence, o)| Ok((sequence, outcome(o).at(&format!("outcomes[{sequence}]"))?)))
            .collect();
        Ok(Self {
            client: parse(&client_id, "client_id")?,
            at: Timestamp(at_ms),
            forgotten,
            outcomes: outcomes?,
        })
    }
}
