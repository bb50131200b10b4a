//! The TPM's share in a node's keys: unlockers that only this node's header has.

use super::{KeyStoreError, Unlocked, load, load_own, save, writing};
use crate::{
    crypto::{
        key::{Key, Root},
        unlock::{
            Kind, Method, Unlocker,
            tpm::{Pcrs, Tpm2, TpmError},
        },
    },
    kit::{chain::chain, id::UnlockerId},
};
use std::{path::Path, sync::Arc};

/// A machine has one TPM; a second unlocker is for the time while what it measures changes.
const MOST: usize = 4;

/// Why a TPM was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum TpmChangeError {
    #[error(transparent)]
    Tpm(#[from] TpmError),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error("this node has {MOST} unlockers of kind tpm2 already")]
    Full,
    #[error("unlocker {0} not found")]
    Unknown(String),
    #[error("{0} means several unlockers of this node")]
    Several(String),
    #[error("the last unlocker of a node cannot be removed")]
    Last,
    #[error("the root key is being replaced")]
    Rotating,
}

impl TpmChangeError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tpm(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::Full => "remove one with `secretctl unlocker rm`",
            Self::Unknown(_) => "see them with `secretctl unlocker ls`",
            Self::Several(_) => "give the whole id",
            Self::Last => "add another one first",
            Self::Rotating => "wait until `secretctl key status` says that it is done",
        }
    }
}

/// The unlockers of this node's TPMs; none if its header cannot be read.
pub fn tpms(dir: &Path) -> Vec<Unlocker> {
    let mut unlockers = load(dir).map_or_else(|_| Vec::new(), |header| header.unlockers);
    unlockers.retain(|unlocker| unlocker.kind() == Kind::Tpm2);
    unlockers
}

/// Has a TPM seal a new key, and puts the root key under it. Blocks for seconds.
///
/// # Errors
/// The TPM fails, or the header cannot be written; then it is as it was.
pub fn add_tpm(
    dir: &Path,
    keys: &Unlocked,
    device: &str,
    pcrs: Pcrs,
) -> Result<Unlocker, TpmChangeError> {
    if tpms(dir).len() >= MOST {
        return Err(TpmChangeError::Full);
    }
    let key = Key::random();
    let method = Method::Tpm2(Tpm2::seal(device, pcrs, &key)?);
    let _writing = writing();
    let (mut unlockers, root) = quiet(dir, keys)?;
    let unlocker = Unlocker::new(keys.cluster, UnlockerId::random(), method, &key, &root);
    unlockers.push(unlocker.clone());
    save(dir, keys, &root, &keys.storage.all(), unlockers, Vec::new())?;
    Ok(unlocker)
}

/// Removes one: by its id, the start of it, or its kind if there is only one.
///
/// # Errors
/// There is none such, or several; nothing else would be left; the header cannot be written.
pub fn remove_tpm(dir: &Path, keys: &Unlocked, which: &str) -> Result<Unlocker, TpmChangeError> {
    let _writing = writing();
    let (mut unlockers, root) = quiet(dir, keys)?;
    let fits = |one: &Unlocker| {
        let named = which == one.kind().as_str()
            || (!which.is_empty() && one.id.as_str().starts_with(which));
        one.kind() == Kind::Tpm2 && named
    };
    let mut found = unlockers.iter().enumerate().filter(|(_, one)| fits(one)).map(|(at, _)| at);
    let at = found.next().ok_or_else(|| TpmChangeError::Unknown(which.to_owned()))?;
    if found.next().is_some() {
        return Err(TpmChangeError::Several(which.to_owned()));
    }
    if unlockers.len() == 1 {
        return Err(TpmChangeError::Last);
    }
    let removed = unlockers.remove(at);
    save(dir, keys, &root, &keys.storage.all(), unlockers, Vec::new())?;
    Ok(removed)
}

/// The unlockers of a header that holds no next root key, which would not follow a change.
fn quiet(dir: &Path, keys: &Unlocked) -> Result<(Vec<Unlocker>, Arc<Key<Root>>), TpmChangeError> {
    let (header, root) = load_own(dir, keys)?;
    if !header.next.is_empty() {
        return Err(TpmChangeError::Rotating);
    }
    Ok((header.unlockers, root))
}

/// What the TPMs of a node have sealed, with the root key of `keys` under it.
pub(super) fn carried_over(keys: &Unlocked, before: Vec<Unlocker>) -> Vec<Unlocker> {
    let carry = |Unlocker { id, method, recipient: _, wrapped_root: _ }| {
        let Method::Tpm2(tpm) = &method else { return None };
        match tpm.key() {
            Ok(key) => Some(Unlocker::new(keys.cluster, id, method, &key, &keys.root)),
            Err(error) => {
                tracing::warn!(unlocker = %id, error = %chain(&error), "the TPM opens this node no more; add it anew");
                None
            }
        }
    };
    before.into_iter().filter_map(carry).collect()
}
