//! Opens the keyring that goes with a state, again whenever the stored terms are others than before.
//!
//! Nobody follows the terms: whoever has a state asks for the keyring of that very state, so there is no moment at which a
//! new term is stored and not yet known.

use super::{
    OpenError,
    key::{Key, Root, RootId},
    keyring::{Keyring, WrappedTerm},
};
use crate::kit::id::ClusterId;
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};

/// The root keys of an unlocked manager, and the keyring it opened last.
pub struct Keychain {
    cluster: ClusterId,
    /// The present one, and while it is replaced the next one too. Which of them counts is for the state to say.
    roots: ArcSwap<Vec<(RootId, Arc<Key<Root>>)>>,
    opened: ArcSwap<Opened>,
}

struct Opened {
    stored: Vec<WrappedTerm>,
    keyring: Arc<Keyring>,
}

impl Keychain {
    /// Opens the terms as they are stored now, with whichever of these root keys they lie under.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open(
        root: Arc<Key<Root>>,
        next: impl IntoIterator<Item = Arc<Key<Root>>>,
        cluster: ClusterId,
        stored: &[WrappedTerm],
    ) -> Result<Self, OpenError> {
        let roots: Vec<_> =
            std::iter::once(root).chain(next).map(|root| (root.id(cluster), root)).collect();
        let keyring = Arc::new(open(&roots, cluster, stored)?);
        let opened = Opened { stored: stored.to_vec(), keyring };
        let (roots, opened) = (ArcSwap::from_pointee(roots), ArcSwap::from_pointee(opened));
        Ok(Self { cluster, roots, opened })
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// All root keys that are here; never none.
    pub fn roots(&self) -> Vec<Arc<Key<Root>>> {
        self.roots.load().iter().map(|(_, root)| Arc::clone(root)).collect()
    }

    /// This root key, if it is here.
    pub fn root(&self, id: RootId) -> Option<Arc<Key<Root>>> {
        let roots = self.roots.load();
        roots.iter().find(|(one, _)| *one == id).map(|(_, root)| Arc::clone(root))
    }

    /// Takes in a root key that may become the present one.
    pub fn take(&self, root: Arc<Key<Root>>) {
        let id = root.id(self.cluster);
        self.roots.rcu(|roots| {
            let mut roots = Vec::clone(roots);
            if roots.iter().all(|(one, _)| *one != id) {
                roots.push((id, Arc::clone(&root)));
            }
            roots
        });
    }

    /// Forgets all root keys but these, of which one at least must be here.
    pub fn retain(&self, keep: impl Fn(RootId) -> bool) {
        self.roots.rcu(|roots| {
            let kept: Vec<_> = roots.iter().filter(|(id, _)| keep(*id)).cloned().collect();
            if kept.is_empty() { Vec::clone(roots) } else { kept }
        });
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
        let keyring = Arc::new(open(&self.roots.load(), self.cluster, stored)?);
        let opened = Opened { stored: stored.to_vec(), keyring: Arc::clone(&keyring) };
        self.opened.store(Arc::new(opened));
        Ok(keyring)
    }

    /// Makes the term that follows the stored ones, under the root key that they lie under.
    ///
    /// # Errors
    /// [`OpenError::Mismatch`]: that root key is not here.
    pub fn next_term(
        &self,
        root: RootId,
        stored: &[WrappedTerm],
    ) -> Result<WrappedTerm, OpenError> {
        let root = self.root(root).ok_or(OpenError::Mismatch)?;
        Ok(Keyring::next_term(&root, self.cluster, stored))
    }
}

fn open(
    roots: &[(RootId, Arc<Key<Root>>)],
    cluster: ClusterId,
    stored: &[WrappedTerm],
) -> Result<Keyring, OpenError> {
    let mut opened = Err(OpenError::Mismatch);
    for (_, root) in roots {
        opened = Keyring::open(root, cluster, stored);
        if !matches!(opened, Err(OpenError::Mismatch)) {
            break;
        }
    }
    opened
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
        let id = root.id(cluster);
        let (_, mut stored) = Keyring::generate(&root, cluster);
        let chain = Keychain::open(root, None, cluster, &stored).unwrap();
        let first = chain.keyring(&stored).unwrap();
        assert!(Arc::ptr_eq(&first, &chain.keyring(&stored).unwrap()));
        stored.push(chain.next_term(id, &stored).unwrap());
        let both = chain.keyring(&stored).unwrap();
        assert_eq!((first.active(), both.active()), (1, 2));
        assert!(both.holds(1));
        let alone = chain.keyring(&stored[1..]).unwrap();
        assert!(!alone.holds(1) && alone.holds(2));
    }

    #[test]
    fn the_terms_say_which_root_key_counts_and_the_one_before_can_be_forgotten() {
        let cluster = ClusterId::random();
        let (root, next) = (Arc::new(Key::random()), Arc::new(Key::random()));
        let (keyring, stored) = Keyring::generate(&root, cluster);
        let moved = keyring.moved(&next, &stored).unwrap();
        let chain = Keychain::open(Arc::clone(&root), None, cluster, &stored).unwrap();
        assert_eq!(chain.keyring(&moved).unwrap_err(), OpenError::Mismatch);
        chain.take(Arc::clone(&next));
        assert_eq!(chain.keyring(&moved).unwrap().active(), 2);
        assert_eq!(chain.keyring(&stored).unwrap().active(), 1);
        chain.retain(|id| id == next.id(cluster));
        assert!(chain.root(root.id(cluster)).is_none());
        assert_eq!(chain.keyring(&moved).unwrap().active(), 2);
        assert_eq!(chain.next_term(root.id(cluster), &moved).unwrap_err(), OpenError::Mismatch);
        chain.retain(|_| false);
        assert!(chain.root(next.id(cluster)).is_some(), "the last one stays");
        let again = Keychain::open(root, Some(next), cluster, &moved).unwrap();
        assert_eq!(again.keyring(&moved).unwrap().active(), 2);
    }

    #[test]
    fn debug_shows_no_key() {
        let (root, cluster) = (Arc::new(Key::random()), ClusterId::random());
        let (_, stored) = Keyring::generate(&root, cluster);
        let text = format!("{:?}", Keychain::open(root, None, cluster, &stored).unwrap());
        assert!(text.ends_with(", .. }") && text.len() < 80, "{text}");
    }
}
