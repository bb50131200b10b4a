//! The storage keys of a node: the newest seals, and those before it open until nothing lies under them any more.

use super::{
    OpenError,
    key::{Key, Storage},
    record,
};
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};

/// A node's storage keys; shared by everything that writes to its disk.
pub struct StorageKeys {
    /// Newest first; never empty.
    keys: ArcSwap<Vec<Arc<Key<Storage>>>>,
}

impl StorageKeys {
    /// These, newest first.
    ///
    /// # Errors
    /// [`OpenError::Short`] if there are none.
    pub fn of(keys: Vec<Arc<Key<Storage>>>) -> Result<Self, OpenError> {
        if keys.is_empty() {
            return Err(OpenError::Short);
        }
        Ok(Self { keys: ArcSwap::from_pointee(keys) })
    }

    /// The key that seals.
    pub fn newest(&self) -> Arc<Key<Storage>> {
        Arc::clone(self.keys.load().first().expect("never empty"))
    }

    /// All of them, newest first.
    pub fn all(&self) -> Vec<Arc<Key<Storage>>> {
        Vec::clone(&self.keys.load())
    }

    /// Whether something may lie under a key before the newest.
    pub fn has_older(&self) -> bool {
        self.keys.load().len() > 1
    }

    /// From here on these seal and open.
    ///
    /// # Errors
    /// As [`StorageKeys::of`].
    pub fn replace(&self, keys: Vec<Arc<Key<Storage>>>) -> Result<(), OpenError> {
        if keys.is_empty() {
            return Err(OpenError::Short);
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Seals a record under the newest.
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        record::seal(&self.newest(), aad, plain)
    }

    /// Opens a record, whichever of them sealed it.
    ///
    /// # Errors
    /// As [`record::open`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let keys = self.keys.load();
        let mut opened = Err(OpenError::Mismatch);
        for key in keys.iter() {
            opened = record::open(key, aad, sealed);
            // What a key is committed to is told from damage before anything is decrypted.
            if !matches!(opened, Err(OpenError::Mismatch)) {
                break;
            }
        }
        opened
    }
}

impl From<Key<Storage>> for StorageKeys {
    fn from(key: Key<Storage>) -> Self {
        Self { keys: ArcSwap::from_pointee(vec![Arc::new(key)]) }
    }
}

impl fmt::Debug for StorageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageKeys({})", self.keys.load().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_seals_and_those_before_open_until_they_are_gone() {
        let (old, new) = (Arc::new(Key::random()), Arc::new(Key::random()));
        let keys = StorageKeys::of(vec![Arc::clone(&old)]).unwrap();
        let before = keys.seal(b"at", b"before");
        assert!(!keys.has_older());
        keys.replace(vec![Arc::clone(&new), old]).unwrap();
        let after = keys.seal(b"at", b"after");
        assert!(keys.has_older());
        assert_eq!(keys.open(b"at", &before).unwrap(), b"before");
        assert_eq!(keys.open(b"at", &after).unwrap(), b"after");
        assert_eq!(keys.open(b"elsewhere", &after), Err(OpenError::Mismatch));
        keys.replace(vec![Arc::clone(&new)]).unwrap();
        assert_eq!(keys.open(b"at", &before), Err(OpenError::Mismatch));
        assert_eq!(record::open(&new, b"at", &after).unwrap(), b"after");
        keys.replace(Vec::new()).unwrap_err();
    }

    #[test]
    fn damage_is_told_from_another_key() {
        let keys = StorageKeys::of(vec![Arc::new(Key::random()), Arc::new(Key::random())]).unwrap();
        let mut sealed = keys.seal(b"", b"x");
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(keys.open(b"", &sealed), Err(OpenError::Damaged));
    }
}
