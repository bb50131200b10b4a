//! Services: their names, their references, and how one spec follows another.

use super::{Edit, Entity, Key, State, check_index, tasks};
use crate::{
    kit::id::ServiceId,
    model::{
        Meta,
        command::{Answer, Outcome},
        object::Kind,
        reference::VersionPick,
        refusal::{Refusal, RefusalKind},
        service::{Mode, Service, ServiceSpec, UpdateState, UpdateStatus},
        task::TaskState,
    },
};
use std::sync::Arc;

pub(super) fn create(edit: &mut Edit<'_>, id: ServiceId, spec: &ServiceSpec) -> Outcome {
    spec.validate()?;
    if edit.state.service_by_name(spec.name.as_str()).is_some()
        || edit.state.service_by_id(id).is_some()
    {
        let message =
            format!("name conflicts with an existing object: service {} already exists", spec.name);
        return Err(Refusal::new(RefusalKind::Exists, message));
    }
    check_references(edit.state, spec)?;
    let meta = Meta::new(edit.at);
    edit.put(Entity::Service(Arc::new(Service {
        id,
        meta,
        spec: spec.clone(),
        spec_index: meta.index,
        previous: None,
        update: None,
    })));
    Ok(Answer::Service { id })
}

pub(super) fn update(
    edit: &mut Edit<'_>,
    id: ServiceId,
    index: Option<u64>,
    spec: &ServiceSpec,
) -> Outcome {
    let service = find(edit, id)?;
    check_index(index, service.meta.index)?;
    if spec.name != service.spec.name {
        return Err(Refusal::invalid("renaming services is not supported"));
    }
    match (&service.spec.mode, &spec.mode) {
        (Mode::Replicated { .. }, Mode::Replicated { .. }) | (Mode::Global, Mode::Global) => {}
        (Mode::Replicated { .. }, Mode::Global) | (Mode::Global, Mode::Replicated { .. }) => {
            return Err(Refusal::invalid("service mode change is not allowed"));
        }
    }
    spec.validate()?;
    check_references(edit.state, spec)?;
    let paused = service.update.as_ref().is_some_and(|update| update.state.is_paused());
    if *spec == service.spec && !paused {
        // What is asked for is there: the spec a rollback would return to stays as well.
        return Ok(Answer::Service { id });
    }
    let meta = service.meta.changed(edit.at);
    let previous =
        if *spec == service.spec { service.previous.clone() } else { Some(service.spec.clone()) };
    edit.put(Entity::Service(Arc::new(Service {
        id,
        meta,
        spec: spec.clone(),
        spec_index: meta.index,
        previous,
        update: None,
    })));
    Ok(Answer::Service { id })
}

/// Forgets the service at once; its tasks stay until they are stopped.
pub(super) fn remove(edit: &mut Edit<'_>, id: ServiceId) -> Outcome {
    find(edit, id)?;
    edit.delete(Key::Service(id));
    let orphans: Vec<_> = edit.state.tasks_of(id).map(|task| task.id).collect();
    for task in orphans {
        tasks::desire(edit, task, TaskState::Remove);
    }
    Ok(Answer::Service { id })
}

pub(super) fn roll_back(
    edit: &mut Edit<'_>,
    id: ServiceId,
    index: Option<u64>,
    failure: Option<&str>,
) -> Outcome {
    let service = find(edit, id)?;
    check_index(index, service.meta.index)?;
    let Some(spec) = service.previous.clone() else {
        let message = format!("service {} does not have a previous spec", service.spec.name);
        return Err(Refusal::new(RefusalKind::Precondition, message));
    };
    let meta = service.meta.changed(edit.at);
    let (previous, message) = match failure {
        Some(failure) => (None, failure),
        None => (Some(service.spec.clone()), "manually requested rollback"),
    };
    edit.put(Entity::Service(Arc::new(Service {
        id,
        meta,
        spec,
        spec_index: meta.index,
        previous,
        update: Some(UpdateStatus {
            state: UpdateState::RollbackStarted,
            started_at: edit.at,
            completed_at: None,
            message: message.to_owned(),
        }),
    })));
    Ok(Answer::Service { id })
}

pub(super) fn note_update(
    edit: &mut Edit<'_>,
    id: ServiceId,
    spec_index: u64,
    status: &UpdateStatus,
) -> Outcome {
    if let Some(service) = edit.state.service_by_id(id)
        && service.spec_index == spec_index
        && service.update.as_ref() != Some(status)
    {
        let changed = Service {
            meta: service.meta.changed(edit.at),
            update: Some(status.clone()),
            ..Service::clone(service)
        };
        edit.put(Entity::Service(Arc::new(changed)));
    }
    Ok(Answer::Done)
}

/// Each reference must name an object that exists, by its id and by its name, and a version it has.
fn check_references(state: &State, spec: &ServiceSpec) -> Result<(), Refusal> {
    for kind in [Kind::Secret, Kind::Config] {
        let references = spec.task.references.iter().filter(|reference| reference.kind == kind);
        let mut missing = Vec::new();
        for reference in references {
            let object = state
                .object_by_id(reference.object)
                .filter(|object| object.kind == kind && object.name == reference.name);
            match (object, reference.version) {
                (None, _) => missing.push(reference.name.as_str()),
                (Some(object), VersionPick::Exact(number)) if object.version(number).is_none() => {
                    return Err(Refusal::invalid(format!(
                        "{kind} {} has no version {number}",
                        object.name
                    )));
                }
                (Some(_), VersionPick::Exact(_) | VersionPick::Latest) => {}
            }
        }
        match missing.len() {
            0 => {}
            1 => return Err(Refusal::invalid(format!("{kind} not found: {}", missing[0]))),
            _ => {
                return Err(Refusal::invalid(format!("{kind}s not found: {}", missing.join(", "))));
            }
        }
    }
    Ok(())
}

fn find(edit: &Edit<'_>, id: ServiceId) -> Result<Arc<Service>, Refusal> {
    let found = edit.state.service_by_id(id).cloned();
    found.ok_or_else(|| Refusal::not_found(format!("service {id} not found")))
}
