//! Services: references are resolved here, the rules are checked, and the store has the last word.

use super::{
    ControlService, invalid,
    lists::{Cut, cut, filters},
    mismatch, request_id,
};
use crate::{
    kit::{
        id::ServiceId,
        limits::SPEC_SIZE,
        name::{ObjectName, ServiceName},
    },
    model::{
        command::{Answer, Command},
        object::Kind,
        refusal::{Refusal, RefusalKind},
        service::{Mode, Service, ServiceSpec},
        task::TaskState,
    },
    store::State,
    wire::{convert::Code, v1},
};
use prost::Message;
use tonic::Status;

impl ControlService {
    pub(super) async fn make_service(
        &self,
        request: v1::CreateServiceRequest,
    ) -> Result<v1::CreateServiceResponse, Status> {
        let v1::CreateServiceRequest { request, spec } = request;
        let request = request_id(request)?;
        let spec = Box::new(checked(&*self.newest().await?, spec)?);
        let command = Command::CreateService { id: ServiceId::random(), spec };
        match self.propose(request, command).await? {
            Answer::Service { id } => {
                tracing::info!(service = %id, "service created");
                Ok(v1::CreateServiceResponse { id: id.to_string() })
            }
            answer @ (Answer::Done | Answer::Object { .. } | Answer::Manager { .. }) => {
                Err(mismatch(&answer))
            }
        }
    }

    pub(super) async fn services(
        &self,
        request: v1::ListServicesRequest,
    ) -> Result<v1::ListServicesResponse, Status> {
        let v1::ListServicesRequest { filters: wanted, page } = request;
        let state = self.newest().await?;
        let all = state.list_services(&filters(wanted))?;
        let Cut { entries, next } = cut(&all, page, |s| s.id.as_str(), |s| entry(&state, s))?;
        Ok(v1::ListServicesResponse { services: entries, next })
    }

    pub(super) async fn change_service(
        &self,
        request: v1::UpdateServiceRequest,
    ) -> Result<v1::Service, Status> {
        let v1::UpdateServiceRequest { request, reference, index, spec } = request;
        let request = request_id(request)?;
        let state = self.newest().await?;
        if let Some(outcome) = request.and_then(|request| state.recall(request)) {
            return changed_before(&state, outcome?);
        }
        let id = state.service(&reference)?.id;
        let spec = Box::new(checked(&state, spec)?);
        self.propose(request, Command::UpdateService { id, index, spec }).await?;
        self.service_now(id)
    }

    pub(super) async fn return_service(
        &self,
        request: v1::RollBackServiceRequest,
    ) -> Result<v1::Service, Status> {
        let v1::RollBackServiceRequest { request, reference, index } = request;
        let request = request_id(request)?;
        let state = self.newest().await?;
        if let Some(outcome) = request.and_then(|request| state.recall(request)) {
            return changed_before(&state, outcome?);
        }
        let id = state.service(&reference)?.id;
        self.propose(request, Command::RollBackService { id, index, failure: None }).await?;
        self.service_now(id)
    }

    pub(super) async fn drop_service(
        &self,
        request: v1::RemoveServiceRequest,
    ) -> Result<v1::RemoveResponse, Status> {
        let v1::RemoveServiceRequest { request, reference } = request;
        let request = request_id(request)?;
        let state = self.newest().await?;
        let answer = match request.and_then(|request| state.recall(request)) {
            Some(outcome) => outcome?,
            None => {
                let id = state.service(&reference)?.id;
                self.propose(request, Command::RemoveService { id }).await?
            }
        };
        match answer {
            Answer::Service { id } => {
                tracing::info!(service = %id, "service removed");
                Ok(v1::RemoveResponse { id: id.to_string() })
            }
            answer @ (Answer::Done | Answer::Object { .. } | Answer::Manager { .. }) => {
                Err(mismatch(&answer))
            }
        }
    }

    fn service_now(&self, id: ServiceId) -> Result<v1::Service, Status> {
        let state = self.state();
        Ok(state.service_by_id(id).ok_or_else(|| gone(id))?.as_ref().into())
    }
}

/// Answers a change that was asked for before with what came of it then, and the service as it is now.
fn changed_before(state: &State, answer: Answer) -> Result<v1::Service, Status> {
    match answer {
        Answer::Service { id } => {
            Ok(state.service_by_id(id).ok_or_else(|| gone(id))?.as_ref().into())
        }
        answer @ (Answer::Done | Answer::Object { .. } | Answer::Manager { .. }) => {
            Err(mismatch(&answer))
        }
    }
}

/// Not "not found": that would mean that nothing was done.
fn gone(id: ServiceId) -> Refusal {
    let what = format!("service {id} was changed, but it is gone since");
    Refusal::new(RefusalKind::Conflict, what)
}

/// A service with the counts of its tasks.
fn entry(state: &State, service: &Service) -> v1::ServiceEntry {
    let wanted = state.tasks_of(service.id).filter(|task| task.desired <= TaskState::Running);
    let (mut running, mut living) = (0, 0);
    for task in wanted {
        living += u64::from(!task.status.state.is_terminal());
        running += u64::from(task.status.state == TaskState::Running);
    }
    let desired = match service.spec.mode {
        Mode::Replicated { replicas } => replicas,
        Mode::Global => living,
    };
    v1::ServiceEntry { service: Some(service.into()), running, desired }
}

/// Makes a spec of what was asked for: references found, rules checked.
fn checked(state: &State, spec: Option<v1::ServiceSpec>) -> Result<ServiceSpec, Status> {
    let mut spec = spec.unwrap_or_default();
    if spec.encoded_len() > SPEC_SIZE {
        return Err(invalid(format_args!("a service spec has at most {SPEC_SIZE} bytes")));
    }
    // Before the conversion, whose errors carry the path of the field, for the text operators know.
    spec.name.parse::<ServiceName>().map_err(invalid)?;
    if let Some(task) = &mut spec.task {
        for reference in &mut task.references {
            resolve(state, reference)?;
        }
    }
    let spec = ServiceSpec::try_from(spec).map_err(|fault| fault.within("spec"))?;
    spec.validate()?;
    Ok(spec)
}

/// Finds the object a reference means, by its id, its name, or the beginning of its id, and fills in what was left out.
///
/// If both id and name are given, the store checks that they belong together.
fn resolve(state: &State, reference: &mut v1::Reference) -> Result<(), Status> {
    let Ok(kind) = Kind::from_code(reference.kind) else { return Ok(()) };
    if reference.object_id.is_empty() || reference.object_name.is_empty() {
        let text = if reference.object_id.is_empty() {
            &reference.object_name
        } else {
            &reference.object_id
        };
        if text.is_empty() {
            return Err(invalid(format_args!("malformed {kind} reference")));
        }
        let found = state.object(kind, text).map_err(|refusal| missing(kind, text, refusal))?;
        let (id, name): (String, &ObjectName) = (found.id.to_string(), &found.name);
        // The file is called what the object was called by, as with docker, unless that was an id.
        if reference.target.is_empty() {
            reference.target = name.to_string();
        }
        reference.object_name = name.to_string();
        reference.object_id = id;
    }
    if reference.target.is_empty() {
        reference.target.clone_from(&reference.object_name);
    }
    Ok(())
}

fn missing(kind: Kind, text: &str, refusal: Refusal) -> Refusal {
    match refusal.kind {
        RefusalKind::NotFound => Refusal::not_found(format!("{kind} not found: {text}")),
        RefusalKind::Invalid
        | RefusalKind::Exists
        | RefusalKind::Precondition
        | RefusalKind::Conflict
        | RefusalKind::Denied => refusal,
    }
}
