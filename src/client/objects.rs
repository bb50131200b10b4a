//! Secrets and configs.

use super::{Client, ClientError};
use crate::{
    crypto::plaintext::Plaintext,
    kit::id::{NodeId, ObjectId},
    model::{
        Labels,
        destroyed::Destroyed,
        filter::Filters,
        object::{Kind, Object, VersionNumber},
    },
    wire::{Malformed, convert::Code, v1},
};

/// An object that is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ensured {
    pub id: ObjectId,
    /// It was there before, with the same payload.
    pub existed: bool,
}

/// An object that was removed, and who has not dropped it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRemoval {
    pub object: Destroyed,
    /// How many managers there are.
    pub managers: u32,
    /// Those it waits for, with their host names.
    pub waiting: Vec<(NodeId, String)>,
}

impl Client {
    /// Stores a payload under a new name. The plaintext is wiped here when the call ends, however it ends.
    ///
    /// # Errors
    /// The name is bad or taken, the payload empty or too large.
    pub async fn create_object(
        &self,
        kind: Kind,
        name: &str,
        labels: Labels,
        payload: Plaintext,
    ) -> Result<ObjectId, ClientError> {
        Ok(self.create(kind, name, labels, payload, false).await?.id)
    }

    /// As [`Client::create_object`], but an object of that name with the same payload is as good as a new one.
    ///
    /// # Errors
    /// As [`Client::create_object`]; the name is taken only if the payloads differ.
    pub async fn ensure_object(
        &self,
        kind: Kind,
        name: &str,
        labels: Labels,
        payload: Plaintext,
    ) -> Result<Ensured, ClientError> {
        self.create(kind, name, labels, payload, true).await
    }

    async fn create(
        &self,
        kind: Kind,
        name: &str,
        labels: Labels,
        payload: Plaintext,
        accept_same: bool,
    ) -> Result<Ensured, ClientError> {
        let request = v1::CreateObjectRequest {
            request: self.request_id(),
            kind: kind.code(),
            name: name.to_owned(),
            labels,
            payload: Some(v1::Payload::carry(&payload)),
            accept_same,
        };
        drop(payload);
        let send = |mut c: Control, request| async move { c.create_object(request).await };
        let v1::CreateObjectResponse { id: text, version: _, existed } =
            self.call(request, send).await?;
        Ok(Ensured { id: id(&text)?, existed })
    }

    /// All objects of a kind that pass the filters, by name.
    ///
    /// # Errors
    /// A filter is unknown or makes no sense.
    pub async fn list_objects(
        &self,
        kind: Kind,
        filters: &Filters,
    ) -> Result<Vec<Object>, ClientError> {
        let mut all = Vec::new();
        let mut page = first_page();
        loop {
            let request = v1::ListObjectsRequest {
                kind: kind.code(),
                filters: wire_filters(filters),
                page: Some(page),
            };
            let send = |mut c: Control, request| async move { c.list_objects(request).await };
            let v1::ListObjectsResponse { objects, next } = self.call(request, send).await?;
            for object in objects {
                all.push(object.try_into()?);
            }
            match next_page(next) {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
    }

    /// One object by id, name, or the beginning of its id.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn object(&self, kind: Kind, reference: &str) -> Result<Object, ClientError> {
        let request = v1::GetObjectRequest { kind: kind.code(), reference: reference.to_owned() };
        let send = |mut c: Control, request| async move { c.get_object(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }

    /// What was removed of a kind and is not gone from every manager's disk yet, by name.
    ///
    /// # Errors
    /// No manager can say.
    pub async fn destroyed(&self, kind: Kind) -> Result<Vec<PendingRemoval>, ClientError> {
        let request = v1::ListDestroyedRequest { kind: kind.code() };
        let send = |mut c: Control, request| async move { c.list_destroyed(request).await };
        let v1::ListDestroyedResponse { objects } = self.call(request, send).await?;
        let read = |v1::DestroyedEntry { object, managers, waiting }| {
            let manager = |v1::destroyed_entry::Manager { node_id, hostname }| {
                Ok((id::<NodeId>(&node_id)?, hostname))
            };
            Ok(PendingRemoval {
                object: object.unwrap_or_default().try_into()?,
                managers,
                waiting: waiting.into_iter().map(manager).collect::<Result<_, ClientError>>()?,
            })
        };
        objects.into_iter().map(read).collect()
    }

    /// Replaces the labels; only if the object still stands at `index`, where given.
    ///
    /// # Errors
    /// There is no such object, or somebody changed it.
    pub async fn set_object_labels(
        &self,
        kind: Kind,
        reference: &str,
        index: Option<u64>,
        labels: Labels,
    ) -> Result<Object, ClientError> {
        let request = v1::SetObjectLabelsRequest {
            request: self.request_id(),
            kind: kind.code(),
            reference: reference.to_owned(),
            index,
            labels,
        };
        let send = |mut c: Control, request| async move { c.set_object_labels(request).await };
        Ok(self.call(request, send).await?.try_into()?)
    }

    /// Removes an object and its payloads.
    ///
    /// # Errors
    /// There is no such object, or a service uses it.
    pub async fn remove_object(
        &self,
        kind: Kind,
        reference: &str,
    ) -> Result<ObjectId, ClientError> {
        let request = v1::RemoveObjectRequest {
            request: self.request_id(),
            kind: kind.code(),
            reference: reference.to_owned(),
        };
        let send = |mut c: Control, request| async move { c.remove_object(request).await };
        id(&self.call(request, send).await?.id)
    }

    /// A config with the payload of one version, by default the latest.
    ///
    /// # Errors
    /// There is no such config or version.
    pub async fn config_data(
        &self,
        reference: &str,
        version: Option<VersionNumber>,
    ) -> Result<(Object, VersionNumber, Plaintext), ClientError> {
        let request = v1::GetConfigDataRequest {
            reference: reference.to_owned(),
            version: version.map(|version| version.0),
        };
        let send = |mut c: Control, request| async move { c.get_config_data(request).await };
        let v1::GetConfigDataResponse { object, version, payload } =
            self.call(request, send).await?;
        let object = object.unwrap_or_default().try_into()?;
        let payload = payload.ok_or_else(|| Malformed::new("must be set").within("payload"))?;
        Ok((object, VersionNumber(version), payload.into_plaintext()))
    }
}

pub(super) type Control = v1::control_client::ControlClient<tonic::transport::Channel>;

pub(super) fn id<T: std::str::FromStr<Err = crate::kit::id::BadId>>(
    text: &str,
) -> Result<T, ClientError> {
    text.parse().map_err(|fault| Malformed::new(fault).within("id").into())
}

pub(super) fn first_page() -> v1::Page {
    v1::Page { token: String::new(), size: 0 }
}

pub(super) fn next_page(token: String) -> Option<v1::Page> {
    if token.is_empty() { None } else { Some(v1::Page { token, size: 0 }) }
}

pub(super) fn wire_filters(filters: &Filters) -> Vec<v1::Filter> {
    let pair = |key: &str, value: &String| v1::Filter { key: key.to_owned(), value: value.clone() };
    filters.iter().flat_map(|(key, values)| values.iter().map(move |v| pair(key, v))).collect()
}
