//! What the operator asks of the node itself: how it is, and to found, join, unlock or leave a cluster.

use super::{Client, ClientError};
use crate::{crypto::plaintext::Plaintext, wire::v1};

impl Client {
    /// How the node is; works in every state.
    ///
    /// # Errors
    /// The daemon cannot be reached.
    pub async fn status(&self) -> Result<v1::StatusResponse, ClientError> {
        self.once(self.node_service().status(v1::StatusRequest {})).await
    }

    /// Founds a cluster with this node as its first manager. Empty addresses: the defaults. With `autolock`, the answer
    /// has the key that unlocks it, this once.
    ///
    /// # Errors
    /// The node belongs to a cluster already, an address is wrong or taken.
    pub async fn init(
        &self,
        listen_addr: String,
        advertise_addr: String,
        autolock: bool,
    ) -> Result<v1::InitResponse, ClientError> {
        let request = v1::InitRequest { listen_addr, advertise_addr, autolock };
        self.once(self.node_service().init(request)).await
    }

    /// Joins a cluster through the first of `managers` (`host:port`) that answers. Empty addresses: the defaults.
    ///
    /// # Errors
    /// The node belongs to a cluster already, nobody answers, the token is not taken.
    pub async fn join(
        &self,
        listen_addr: String,
        advertise_addr: String,
        managers: Vec<String>,
        token: &Plaintext,
        availability: v1::Availability,
    ) -> Result<v1::JoinResponse, ClientError> {
        let request = v1::JoinRequest {
            listen_addr,
            advertise_addr,
            managers,
            token: Some(v1::Payload::carry(token)),
            availability: availability.into(),
        };
        self.once(self.node_service().join(request)).await
    }

    /// Opens the keys of a locked node with a key, a passphrase (of which unlocker, if there are several), or one share.
    ///
    /// # Errors
    /// The key is wrong, or nothing is locked.
    pub async fn unlock(
        &self,
        key: &Plaintext,
        unlocker_id: String,
    ) -> Result<v1::UnlockResponse, ClientError> {
        let request = v1::UnlockRequest { key: Some(v1::Payload::carry(key)), unlocker_id };
        self.once(self.node_service().unlock(request)).await
    }

    /// Has the node's TPM seal a key that opens it.
    ///
    /// # Errors
    /// The node is no manager, or its keys are locked; the TPM does not do it.
    pub async fn add_tpm(&self, device: String, pcrs: u32) -> Result<v1::TpmEntry, ClientError> {
        let request = v1::AddTpmRequest { device, pcrs };
        let v1::AddTpmResponse { tpm } = self.once(self.node_service().add_tpm(request)).await?;
        Ok(tpm.unwrap_or_default())
    }

    /// Removes an unlocker of kind `tpm2`: by its id, the start of it, or its kind if there is only one.
    ///
    /// # Errors
    /// There is none such or several, or it is the last unlocker.
    pub async fn remove_tpm(&self, which: &str) -> Result<v1::TpmEntry, ClientError> {
        let request = v1::RemoveTpmRequest { unlocker: which.to_owned() };
        let v1::RemoveTpmResponse { tpm } =
            self.once(self.node_service().remove_tpm(request)).await?;
        Ok(tpm.unwrap_or_default())
    }

    /// Fills a manager whose store is damaged from the others; returns when it has everything.
    ///
    /// # Errors
    /// It is not damaged, or the only manager; too few of the others can be reached.
    pub async fn refill(&self) -> Result<v1::RefillResponse, ClientError> {
        self.once(self.node_service().refill(v1::RefillRequest {})).await
    }

    /// Leaves the cluster.
    ///
    /// # Errors
    /// The node belongs to none, or must not go without `force`.
    pub async fn leave(&self, force: bool) -> Result<(), ClientError> {
        self.once(self.node_service().leave(v1::LeaveRequest { force })).await?;
        Ok(())
    }
}
