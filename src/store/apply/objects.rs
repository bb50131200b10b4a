//! Secrets and configs: made once, relabelled, removed when nobody uses them.

use super::{Change, Edit, Entity, Key, check_index, destroyed, keyring::check_term, remnants};
use crate::{
    crypto::seal::Sealed,
    kit::{id::ObjectId, name::ObjectName},
    model::{
        Labels, Meta, check_labels,
        command::{Answer, Outcome},
        object::{self, Kind, Object, Version, VersionNumber},
        refusal::{Refusal, RefusalKind},
        service::Service,
    },
};
use std::sync::Arc;

pub(super) fn create(
    edit: &mut Edit<'_>,
    kind: Kind,
    id: ObjectId,
    name: &ObjectName,
    labels: &Labels,
    size: u64,
    sealed: &Sealed,
) -> Outcome {
    object::check_size(kind, usize::try_from(size).unwrap_or(usize::MAX))
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    check_labels(labels).map_err(|error| Refusal::invalid(error.to_string()))?;
    check_term(edit, sealed)?;
    if edit.state.object_by_name(kind, name.as_str()).is_some()
        || edit.state.object_by_id(id).is_some()
    {
        return Err(Refusal::new(RefusalKind::Exists, format!("{kind} {name} already exists")));
    }
    let version = VersionNumber::FIRST;
    edit.changes.push(Change::PutBody { object: id, version, sealed: sealed.clone() });
    edit.put(Entity::Object(Arc::new(Object {
        kind,
        id,
        name: name.clone(),
        labels: labels.clone(),
        meta: Meta::new(edit.at),
        versions: vec![Version { number: version, created_at: edit.at, size, term: sealed.term }],
    })));
    Ok(Answer::Object { id, version })
}

pub(super) fn set_labels(
    edit: &mut Edit<'_>,
    kind: Kind,
    id: ObjectId,
    index: Option<u64>,
    labels: &Labels,
) -> Outcome {
    let object = find(edit, kind, id)?;
    check_index(index, object.meta.index)?;
    check_labels(labels).map_err(|error| Refusal::invalid(error.to_string()))?;
    let version = object.latest().number;
    if object.labels != *labels {
        edit.put(Entity::Object(Arc::new(Object {
            labels: labels.clone(),
            meta: object.meta.changed(edit.at),
            ..Object::clone(&object)
        })));
    }
    Ok(Answer::Object { id, version })
}

pub(super) fn remove(edit: &mut Edit<'_>, kind: Kind, id: ObjectId) -> Outcome {
    let object = find(edit, kind, id)?;
    let users = edit.state.users(id);
    if !users.is_empty() {
        let names: Vec<_> = users.iter().map(|service| service.spec.name.as_str()).collect();
        let services = if names.len() == 1 { "service" } else { "services" };
        let message = format!(
            "{kind} '{}' is in use by the following {services}: {}",
            object.name,
            names.join(", ")
        );
        let hint = way_out(&object, &users);
        return Err(Refusal::new(RefusalKind::Precondition, message).hint(hint));
    }
    for version in &object.versions {
        edit.changes.push(Change::DeleteBody { object: id, version: version.number });
    }
    edit.delete(Key::Object(id));
    remnants::forget_object(edit, id);
    destroyed::begin(edit, &object);
    // What was removed, so that the answer to a repetition names it too.
    Ok(Answer::Object { id, version: object.latest().number })
}

/// The commands after which nothing uses the object any more.
fn way_out(object: &Object, users: &[&Arc<Service>]) -> String {
    let (id, kind, name) = (object.id, object.kind, &object.name);
    let uses =
        |service: &&&Arc<Service>| service.spec.task.references.iter().any(|r| r.object == id);
    let one = |of: &[&&Arc<Service>]| match of {
        [service] => service.spec.name.to_string(),
        _ => "SERVICE".to_owned(),
    };
    let (now, before): (Vec<_>, Vec<_>) = users.iter().partition(uses);
    if now.is_empty() {
        let service = one(&before);
        return format!(
            "only a rollback would need it: one more update frees it, `secretctl service update --force {service}`"
        );
    }
    let take = if now.iter().all(|service| service.stack().is_some()) {
        "take it out of the Compose file and run `secretctl stack deploy` again".to_owned()
    } else {
        format!("take it away with `secretctl service update --{kind}-rm {name} {}`", one(&now))
    };
    format!("{take}, or remove the service; a rollback needs it until a second update has followed")
}

fn find(edit: &Edit<'_>, kind: Kind, id: ObjectId) -> Result<Arc<Object>, Refusal> {
    let found = edit.state.object_by_id(id).filter(|object| object.kind == kind);
    found.cloned().ok_or_else(|| Refusal::not_found(format!("{kind} {id} not found")))
}
