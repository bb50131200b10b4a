//! Unlockers: ways to the root key. Several may stand side by side, and any one of them opens.
//!
//! To add one (a passphrase, shares, a TPM): a variant of [`Kind`] with what it needs to be asked again, and a file
//! beside `file.rs` that yields a `Key<Unlock>`. Nothing else changes.

pub mod file;

use super::{
    OpenError,
    envelope::Binding,
    key::{Key, Root, Unlock},
};
use crate::kit::id::{ClusterId, UnlockerId};

/// How an unlocker comes by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From a key file outside the data directory.
    File,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
        }
    }

    /// The kind of this name, if this secretd knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::File].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Part of what is sealed on disk; a number once given is never given again.
    fn tag(self) -> u8 {
        match self {
            Self::File => 1,
        }
    }
}

/// One way to the root key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocker {
    pub id: UnlockerId,
    pub kind: Kind,
    /// The root key, sealed to this unlocker's key.
    pub wrapped_root: Vec<u8>,
}

impl Unlocker {
    /// Seals the root key of `cluster` to an unlocker's key.
    pub fn new(
        cluster: ClusterId,
        id: UnlockerId,
        kind: Kind,
        key: &Key<Unlock>,
        root: &Key<Root>,
    ) -> Self {
        Self { id, kind, wrapped_root: key.wrap(binding(cluster, id, kind), root) }
    }

    /// Opens the root key of `cluster`.
    ///
    /// # Errors
    /// Another unlocker's key, another cluster, damaged bytes.
    pub fn unlock(&self, cluster: ClusterId, key: &Key<Unlock>) -> Result<Key<Root>, OpenError> {
        let Self { id, kind, wrapped_root } = self;
        key.unwrap(binding(cluster, *id, *kind), wrapped_root)
    }
}

pub(super) fn binding(cluster: ClusterId, id: UnlockerId, kind: Kind) -> Binding {
    Binding::new("secretd/root-key/1")
        .field(cluster.as_str().as_bytes())
        .field(&[kind.tag()])
        .field(id.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_several_unlockers_opens_the_same_root_key() {
        let (cluster, root) = (ClusterId::random(), Key::<Root>::random());
        for _ in 0..3 {
            let key = Key::random();
            let unlocker = Unlocker::new(cluster, UnlockerId::random(), Kind::File, &key, &root);
            assert_eq!(unlocker.unlock(cluster, &key).unwrap().bytes(), root.bytes());
        }
    }

    #[test]
    fn another_key_cluster_or_unlocker_is_refused() {
        let (cluster, root, key) = (ClusterId::random(), Key::<Root>::random(), Key::random());
        let unlocker = Unlocker::new(cluster, UnlockerId::random(), Kind::File, &key, &root);
        unlocker.unlock(cluster, &Key::random()).unwrap_err();
        unlocker.unlock(ClusterId::random(), &key).unwrap_err();
        let renamed = Unlocker { id: UnlockerId::random(), ..unlocker };
        assert_eq!(renamed.unlock(cluster, &key).unwrap_err(), OpenError::Mismatch);
    }
}
