//! The terms of the cluster's keyring.

use super::{Client, ClientError, objects::Control};
use crate::wire::v1;
use std::time::Duration;

impl Client {
    /// Gives the keyring a new term; everything moves to it by itself, at most `rate` payloads each second.
    ///
    /// # Errors
    /// Another term was made at the same time, there are too many, the node is no manager.
    pub async fn rotate_keys(
        &self,
        rate: Option<u32>,
        root: bool,
    ) -> Result<v1::KeysResponse, ClientError> {
        let request = v1::RotateKeysRequest { request: self.request_id(), rate, root };
        let send = |mut c: Control, request| async move { c.rotate_keys(request).await };
        self.call(request, send).await
    }

    /// The terms, and how far a rotation is.
    ///
    /// # Errors
    /// The node is no manager.
    pub async fn keys(&self) -> Result<v1::KeysResponse, ClientError> {
        let send = |mut c: Control, request| async move { c.get_keys(request).await };
        self.call(v1::GetKeysRequest {}, send).await
    }

    /// Says after how long the keyring gets a new term by itself; unset: never.
    ///
    /// # Errors
    /// The age is too short, or the node is no manager.
    pub async fn set_key_max_age(&self, age: Option<Duration>) -> Result<(), ClientError> {
        let age = age.as_ref().map(Into::into);
        let request = v1::SetKeyMaxAgeRequest { request: self.request_id(), age };
        let send = |mut c: Control, request| async move { c.set_key_max_age(request).await };
        let v1::SetKeyMaxAgeResponse {} = self.call(request, send).await?;
        Ok(())
    }

    /// Says for how long after its end a node's certificate is renewed.
    ///
    /// # Errors
    /// The age is too short or too long, or the node is no manager.
    pub async fn set_come_back(&self, age: Duration) -> Result<(), ClientError> {
        let age = Some((&age).into());
        let request = v1::SetComeBackRequest { request: self.request_id(), age };
        let send = |mut c: Control, request| async move { c.set_come_back(request).await };
        let v1::SetComeBackResponse {} = self.call(request, send).await?;
        Ok(())
    }
}
