//! Opens the keyring that goes with a state, again whenever the stored terms are others than before.
//!
//! Nobody follows the terms: whoever has a state asks for the keyring of that very state, so there is no moment at which a
//! new term is stored and not yet known.

use super::{
    OpenError,
    key::{Key, Root},
    keyring::{Keyring, WrappedTerm},
};
use crate::kit::id::ClusterId;
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};

/// The root key of an unlocked manager, and the keyring it opened last.
pub struct Keychain {
    root: Arc<Key<Root>>,
    cluster: ClusterId,
    opened: ArcSwap<Opened>,
}

struct Opened {
    stored: Vec<WrappedTerm>,
    keyring: Arc<Keyring>,
}

impl Keychain {
    /// Opens the terms as they are stored now.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open(
        root: Arc<Key<Root>>,
        cluster: ClusterId,
        stored: &[WrappedTerm],
    ) -> Result<Self, OpenError> {
        let keyring = Arc::new(Keyring::open(&root, cluster, stored)?);
        let opened = Opened { stored: stored.to_vec(), keyring };
        Ok(Self { root, cluster, opened: ArcSwap::from_pointee(opened) })
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The keyring of these terms: the one that is open, unless they have changed.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn keyring(&self, stored: &[WrappedTerm]) -> Result<Arc<Keyring>, OpenError> {
        let opened = self.opened.load();
        if opened.stored == stored {
            return Ok(Arc::clone(&opened.keyring));
        }
        let keyring = Arc::new(Keyring::open(&self.root, self.cluster, stored)?);
        let opened = Opened { stored: stored.to_vec(), keyring: Arc::clone(&keyring) };
        self.opened.store(Arc::new(opened));
        Ok(keyring)
    }

    /// Makes the term that follows the stored ones.
    pub fn next_term(&self, stored: &[WrappedTerm]) -> WrappedTerm {
        Keyring::next_term(&self.root, self.cluster, stored)
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_term_is_known_as_soon_as_it_is_stored_and_nothing_is_opened_twice() {
        let (root, cluster) = (Arc::new(Key::random()), ClusterId::random());
        let (_, mut stored) = Keyring::generate(&root, cluster);
        let chain = Keychain::open(root, cluster, &stored).unwrap();
        let first = chain.keyring(&stored).unwrap();
        assert!(Arc::ptr_eq(&first, &chain.keyring(&stored).unwrap()));
        stored.push(chain.next_term(&stored));
        let both = chain.keyring(&stored).unwrap();
        assert_eq!((first.active(), both.active()), (1, 2));
        assert!(both.holds(1));
        let alone = chain.keyring(&stored[1..]).unwrap();
        assert!(!alone.holds(1) && alone.holds(2));
    }

    #[test]
    fn debug_shows_no_key() {
        let (root, cluster) = (Arc::new(Key::random()), ClusterId::random());
        let (_, stored) = Keyring::generate(&root, cluster);
        let text = format!("{:?}", Keychain::open(root, cluster, &stored).unwrap());
        assert!(text.ends_with(", .. }") && text.len() < 80, "{text}");
    }
}
