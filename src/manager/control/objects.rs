//! Secrets and configs: payloads are sealed here, before anything is proposed.

use super::{
    ControlService, invalid,
    lists::{Cut, cut, filters},
    mismatch, request_id,
};
use crate::{
    crypto::plaintext::Plaintext,
    kit::{chain::chain, id::ObjectId, name::ObjectName},
    manager::payloads,
    model::{
        check_labels,
        command::{Answer, Command},
        object::{self, Kind, Object, VersionNumber},
        refusal::{Refusal, RefusalKind},
        task::ObjectVersion,
    },
    store::Denied,
    wire::{convert::Code, v1},
};
use std::sync::Arc;
use tonic::Status;

pub(super) fn kind(code: i32) -> Result<Kind, Status> {
    Ok(Kind::from_code(code).map_err(|fault| fault.within("kind"))?)
}

impl ControlService {
    pub(super) async fn make_object(
        &self,
        request: v1::CreateObjectRequest,
    ) -> Result<v1::CreateObjectResponse, Status> {
        let v1::CreateObjectRequest { request, kind: code, name, labels, payload, accept_same } =
            request;
        let plain = payload.unwrap_or_default().into_plaintext();
        let request = request_id(request)?;
        let kind = kind(code)?;
        let name: ObjectName = name.parse().map_err(invalid)?;
        object::check_size(kind, plain.len()).map_err(invalid)?;
        check_labels(&labels).map_err(invalid)?;
        if accept_same && let Some(there) = self.same(kind, &name, &plain).await? {
            let (id, version) = (there.id.to_string(), there.latest().number.0);
            return Ok(v1::CreateObjectResponse { id, version, existed: true });
        }
        let id = ObjectId::random();
        let size = plain.len() as u64;
        let context = object::context(self.cluster(), kind, id, &name, VersionNumber::FIRST);
        let sealed = self.keyring()?.seal(&context, plain);
        let command = Command::CreateObject { kind, id, name, labels, size, sealed };
        match self.propose(request, command).await? {
            // Its id, not ours: this may be the answer to the first of two equal requests.
            Answer::Object { id, version } => {
                tracing::info!(%kind, object = %id, "object created");
                Ok(v1::CreateObjectResponse {
                    id: id.to_string(),
                    version: version.0,
                    existed: false,
                })
            }
            answer @ (Answer::Done | Answer::Service { .. } | Answer::Manager { .. }) => {
                Err(mismatch(&answer))
            }
        }
    }

    /// The object of that name, if its latest payload is this one. Says nothing else about the payload.
    async fn same(
        &self,
        kind: Kind,
        name: &ObjectName,
        plain: &Plaintext,
    ) -> Result<Option<Arc<Object>>, Status> {
        let linear = self.confirmed().await?;
        let Some(there) = linear.state().object_by_name(kind, name.as_str()).cloned() else {
            return Ok(None);
        };
        let version = there.latest();
        if version.size != plain.len() as u64 {
            return Ok(None);
        }
        let what = ObjectVersion { object: there.id, version: version.number };
        let (sealed, keyring) = payloads::fetch(&self.raft, &self.keys, what).await?;
        let denied = |error: Denied| Status::from(Refusal::not_found(error.to_string()));
        let comparison = linear.compare(&what).map_err(denied)?;
        let same = comparison.is_same(&keyring, &sealed, plain);
        let same = same.map_err(|error| {
            Status::internal(format!("cannot open {kind} {}: {}", there.id, chain(&error)))
        })?;
        Ok(same.then_some(there))
    }

    pub(super) async fn objects(
        &self,
        request: v1::ListObjectsRequest,
    ) -> Result<v1::ListObjectsResponse, Status> {
        let v1::ListObjectsRequest { kind: code, filters: wanted, page } = request;
        let all = self.newest().await?.list_objects(kind(code)?, &filters(wanted))?;
        let Cut { entries, next } = cut(&all, page, |o| o.id.as_str(), |o| o.as_ref().into())?;
        Ok(v1::ListObjectsResponse { objects: entries, next })
    }

    pub(super) async fn object(&self, request: v1::GetObjectRequest) -> Result<v1::Object, Status> {
        let v1::GetObjectRequest { kind: code, reference } = request;
        Ok(self.newest().await?.object(kind(code)?, &reference)?.as_ref().into())
    }

    pub(super) async fn label_object(
        &self,
        request: v1::SetObjectLabelsRequest,
    ) -> Result<v1::Object, Status> {
        let v1::SetObjectLabelsRequest { request, kind: code, reference, index, labels } = request;
        let request = request_id(request)?;
        let kind = kind(code)?;
        check_labels(&labels).map_err(invalid)?;
        let state = self.newest().await?;
        let object = match request.and_then(|request| state.recall(request)) {
            Some(outcome) => outcome.map(|_| state.object(kind, &reference).ok().cloned())?,
            None => {
                let id = state.object(kind, &reference)?.id;
                self.propose(request, Command::SetObjectLabels { kind, id, index, labels }).await?;
                self.state().object_by_id(id).cloned()
            }
        };
        // Not "not found": that would mean that nothing was done.
        let gone = || {
            let what = format!("the labels of {kind} {reference} were set, but it is gone since");
            Refusal::new(RefusalKind::Conflict, what)
        };
        Ok(object.ok_or_else(gone)?.as_ref().into())
    }

    pub(super) async fn drop_object(
        &self,
        request: v1::RemoveObjectRequest,
    ) -> Result<v1::RemoveResponse, Status> {
        let v1::RemoveObjectRequest { request, kind: code, reference } = request;
        let request = request_id(request)?;
        let kind = kind(code)?;
        let state = self.newest().await?;
        let answer = match request.and_then(|request| state.recall(request)) {
            Some(outcome) => outcome?,
            None => {
                let id = state.object(kind, &reference)?.id;
                self.propose(request, Command::RemoveObject { kind, id }).await?
            }
        };
        match answer {
            Answer::Object { id, version: _ } => {
                tracing::info!(%kind, object = %id, "object removed");
                Ok(v1::RemoveResponse { id: id.to_string() })
            }
            answer @ (Answer::Done | Answer::Service { .. } | Answer::Manager { .. }) => {
                Err(mismatch(&answer))
            }
        }
    }

    pub(super) async fn config_data(
        &self,
        request: v1::GetConfigDataRequest,
    ) -> Result<v1::GetConfigDataResponse, Status> {
        let v1::GetConfigDataRequest { reference, version } = request;
        let linear = match self.raft.linear().await {
            Ok(linear) => linear,
            Err(error) => return Err(self.unreadable(&error).await),
        };
        let object = linear.state().config(&reference)?;
        let version = match version {
            None => object.latest().number,
            Some(number) => VersionNumber(number),
        };
        let what = ObjectVersion { object: object.id, version };
        let missing = |_| Refusal::not_found(format!("config {reference} has no {version}"));
        let disclosure = linear.disclose(&what).map_err(missing)?;
        let (sealed, keyring) = payloads::fetch(&self.raft, &self.keys, what).await?;
        let plain = disclosure.open(&keyring, &sealed).map_err(|error| {
            Status::internal(format!("cannot open config {}: {}", object.id, chain(&error)))
        })?;
        Ok(v1::GetConfigDataResponse {
            object: Some(object.as_ref().into()),
            version: version.0,
            payload: Some(v1::Payload::carry(&plain)),
        })
    }
}
