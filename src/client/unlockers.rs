//! The ways to the cluster's root key.

use super::{Client, ClientError, objects::Control};
use crate::{
    crypto::{plaintext::Plaintext, unlock::Kind},
    wire::v1,
};

/// An unlocker to be.
#[derive(Debug)]
pub enum NewUnlocker {
    /// A key file on each manager.
    Files,
    Autolock,
    Recovery,
    Passphrase(Plaintext),
    Shamir {
        shares: u32,
        threshold: u32,
    },
    /// The absolute path of a program on each manager.
    Command(String),
}

/// What was made, and the codes that open it, which nobody can show again.
#[derive(Debug)]
pub struct MadeUnlocker {
    pub entry: v1::UnlockerEntry,
    /// The key, or each share of it.
    pub codes: Vec<Plaintext>,
}

impl Client {
    /// The unlockers of the cluster.
    ///
    /// # Errors
    /// The node is no manager.
    pub async fn unlockers(&self) -> Result<Vec<v1::UnlockerEntry>, ClientError> {
        let send = |mut c: Control, request| async move { c.list_unlockers(request).await };
        let v1::ListUnlockersResponse { unlockers } =
            self.call(v1::ListUnlockersRequest {}, send).await?;
        Ok(unlockers)
    }

    /// Adds an unlocker.
    ///
    /// # Errors
    /// The passphrase is too short, the numbers make no sense, the command fails, there are too many.
    pub async fn add_unlocker(&self, new: NewUnlocker) -> Result<MadeUnlocker, ClientError> {
        let mut request =
            v1::AddUnlockerRequest { request: self.request_id(), ..Default::default() };
        let kind = match new {
            NewUnlocker::Files => Kind::File,
            NewUnlocker::Autolock => Kind::Autolock,
            NewUnlocker::Recovery => Kind::Recovery,
            NewUnlocker::Passphrase(words) => {
                request.passphrase = Some(v1::Payload::carry(&words));
                Kind::Passphrase
            }
            NewUnlocker::Shamir { shares, threshold } => {
                (request.shares, request.threshold) = (shares, threshold);
                Kind::Shamir
            }
            NewUnlocker::Command(program) => {
                request.program = program;
                Kind::Command
            }
        };
        request.kind = kind.to_string();
        let send = |mut c: Control, request| async move { c.add_unlocker(request).await };
        let v1::AddUnlockerResponse { unlocker, codes } = self.call(request, send).await?;
        let codes = codes.into_iter().map(v1::Payload::into_plaintext).collect();
        Ok(MadeUnlocker { entry: unlocker.unwrap_or_default(), codes })
    }

    /// Removes an unlocker by id, the start of its id, or a kind of which there is only one.
    ///
    /// # Errors
    /// There is none such or several, or it is the last one.
    pub async fn remove_unlocker(&self, which: &str) -> Result<v1::UnlockerEntry, ClientError> {
        let request =
            v1::RemoveUnlockerRequest { request: self.request_id(), unlocker: which.to_owned() };
        let send = |mut c: Control, request| async move { c.remove_unlocker(request).await };
        let v1::RemoveUnlockerResponse { unlocker } = self.call(request, send).await?;
        Ok(unlocker.unwrap_or_default())
    }
}
