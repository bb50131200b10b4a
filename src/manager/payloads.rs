//! Fetches sealed payloads together with the keyring that opens them.

use super::answers;
use crate::{
    crypto::{OpenError, keychain::Keychain, keyring::Keyring, seal::Sealed},
    model::task::ObjectVersion,
    raft::{BodyError, Raft},
};
use std::sync::Arc;
use tonic::Status;

/// Why there is nothing to open.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("cannot open the keyring")]
    Keyring(#[from] OpenError),
}

impl From<FetchError> for Status {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Body(error) => answers::body(&error),
            FetchError::Keyring(error) => {
                Self::internal(format!("cannot open the keyring: {error}"))
            }
        }
    }
}

/// The keyring of the state as it is now.
///
/// # Errors
/// The stored terms do not open.
pub(super) fn keyring(raft: &Raft, keys: &Keychain) -> Result<Arc<Keyring>, OpenError> {
    let state = raft.state();
    let terms = state.cluster().map_or(&[][..], |cluster| &cluster.keyring);
    keys.keyring(terms)
}

/// The payload of a version, and the keyring that opens it. Terms come and go meanwhile: a new one is in the state that is
/// read after the payload, one that was dropped since in the state from before.
///
/// # Errors
/// [`FetchError`].
pub(super) async fn fetch(
    raft: &Raft,
    keys: &Keychain,
    version: ObjectVersion,
) -> Result<(Sealed, Arc<Keyring>), FetchError> {
    let before = keyring(raft, keys)?;
    let sealed = raft.body(version).await?;
    let ring = if before.holds(sealed.term) { before } else { keyring(raft, keys)? };
    Ok((sealed, ring))
}
