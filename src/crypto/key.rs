//! Keys bound to one purpose: a `Key<Storage>` cannot seal a payload.

use super::{
    OpenError,
    envelope::{self, Binding},
    plaintext::Plaintext,
    unlock::Unlocker,
};
use crate::kit::{
    id::{ClusterId, NodeId},
    os::arena::Slot,
};
use hkdf::Hkdf;
use sha2::Sha256;
use std::{fmt, marker::PhantomData};

/// The cluster's root key: wraps the keyring's terms and the nodes' storage keys.
pub enum Root {}
/// A term of the keyring: wraps data keys.
pub enum Wrap {}
/// Encrypts one version of one payload.
pub enum Payload {}
/// A node's storage key: encrypts its log, vote and state file.
pub enum Storage {}
/// What an unlocker yields: wraps the root key.
pub enum Unlock {}

/// 32 bytes with a purpose, in memory that is locked where the kernel lets us, and wiped when dropped.
pub struct Key<Purpose> {
    bytes: Slot,
    purpose: PhantomData<fn() -> Purpose>,
}

impl<Purpose> Key<Purpose> {
    /// Draws a new key from the kernel.
    pub fn random() -> Self {
        let mut key = Self::blank();
        getrandom::fill(key.bytes_mut()).expect("the kernel gives randomness once booted");
        key
    }

    pub(in crate::crypto) fn blank() -> Self {
        Self { bytes: Slot::new(), purpose: PhantomData }
    }

    pub(in crate::crypto) fn bytes(&self) -> &[u8; 32] {
        self.bytes.bytes()
    }

    pub(in crate::crypto) fn bytes_mut(&mut self) -> &mut [u8; 32] {
        self.bytes.bytes_mut()
    }

    /// The key that golden vectors of other floors name.
    #[cfg(test)]
    pub(crate) fn of_vector(bytes: &[u8]) -> Self {
        let mut key = Self::blank();
        key.bytes_mut().copy_from_slice(bytes);
        key
    }

    /// Whether this is the key that a golden vector names.
    #[cfg(test)]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes() == bytes
    }

    /// Seals `inner` to this key.
    pub(in crate::crypto) fn wrap<Inner>(&self, binding: Binding, inner: &Key<Inner>) -> Vec<u8> {
        envelope::seal(self.bytes(), binding, inner.bytes())
    }

    /// Opens a key that [`Key::wrap`] sealed; it is decrypted where it will live.
    pub(in crate::crypto) fn unwrap<Inner>(
        &self,
        binding: Binding,
        wrapped: &[u8],
    ) -> Result<Key<Inner>, OpenError> {
        let mut inner = Key::blank();
        envelope::open_to(self.bytes(), binding, wrapped, inner.bytes_mut())?;
        Ok(inner)
    }
}

pub(super) fn storage_binding(cluster: ClusterId, node: NodeId) -> Binding {
    Binding::new("secretd/storage-key/1")
        .field(cluster.as_str().as_bytes())
        .field(node.as_str().as_bytes())
}

/// Tells one root key of a cluster from another; it says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootId(pub [u8; 32]);

/// What a storage key in a node's header is sealed to: the list of unlockers beside it too, so that nobody puts a public half
/// of his own there for the next root key to be sealed to.
fn header_binding(cluster: ClusterId, node: NodeId, unlockers: &[Unlocker]) -> Binding {
    let binding = Binding::new("secretd/storage-key/2")
        .field(cluster.as_str().as_bytes())
        .field(node.as_str().as_bytes());
    unlockers.iter().fold(binding, |binding, unlocker| {
        binding.field(unlocker.id.as_str().as_bytes()).field(&unlocker.recipient.0)
    })
}

impl Key<Root> {
    /// Which one it is.
    pub fn id(&self, cluster: ClusterId) -> RootId {
        let binding = Binding::new("secretd/root-id/1").field(cluster.as_str().as_bytes());
        let mut id = [0; 32];
        Hkdf::<Sha256>::new(None, self.bytes())
            .expand(&binding.finish(), &mut id)
            .expect("HKDF gives up to 8160 bytes");
        RootId(id)
    }

    /// Gives the cluster's root key away: to a manager that was admitted, for its own keystore. Nothing else may ask.
    pub fn dangerous_export(&self) -> Plaintext {
        Plaintext::new(self.bytes().to_vec())
    }

    /// Takes what [`Key::dangerous_export`] gave.
    ///
    /// # Errors
    /// [`OpenError::Short`] if it has another length.
    pub fn import(exported: &Plaintext) -> Result<Self, OpenError> {
        let bytes: &[u8; 32] = exported.expose().try_into().map_err(|_| OpenError::Short)?;
        let mut key = Self::blank();
        key.bytes_mut().copy_from_slice(bytes);
        Ok(key)
    }
}

impl Key<Storage> {
    /// Seals this node's storage key to the cluster's root key.
    pub fn wrapped(&self, root: &Key<Root>, cluster: ClusterId, node: NodeId) -> Vec<u8> {
        root.wrap(storage_binding(cluster, node), self)
    }

    /// Opens what [`Key::wrapped`] sealed for the same cluster and node.
    ///
    /// # Errors
    /// Another root key, another cluster or node, damaged bytes.
    pub fn open(
        root: &Key<Root>,
        cluster: ClusterId,
        node: NodeId,
        wrapped: &[u8],
    ) -> Result<Self, OpenError> {
        root.unwrap(storage_binding(cluster, node), wrapped)
    }
}

impl Key<Storage> {
    /// Seals this node's storage key to the root key that these unlockers open, for its header.
    pub fn wrapped_for_header(
        &self,
        root: &Key<Root>,
        cluster: ClusterId,
        node: NodeId,
        unlockers: &[Unlocker],
    ) -> Vec<u8> {
        root.wrap(header_binding(cluster, node, unlockers), self)
    }

    /// Opens what [`Key::wrapped_for_header`] sealed beside the same unlockers.
    ///
    /// # Errors
    /// Another root key, another cluster or node, another list of unlockers, damaged bytes.
    pub fn open_in_header(
        root: &Key<Root>,
        cluster: ClusterId,
        node: NodeId,
        unlockers: &[Unlocker],
        wrapped: &[u8],
    ) -> Result<Self, OpenError> {
        root.unwrap(header_binding(cluster, node, unlockers), wrapped)
    }
}

impl<Purpose> fmt::Debug for Key<Purpose> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::unlock::{Method, recipient::Recipient},
        kit::id::UnlockerId,
    };

    #[test]
    fn a_storage_key_opens_only_for_its_own_node() {
        let (root, storage) = (Key::<Root>::random(), Key::<Storage>::random());
        let (cluster, node) = (ClusterId::random(), NodeId::random());
        let wrapped = storage.wrapped(&root, cluster, node);
        let opened = Key::<Storage>::open(&root, cluster, node, &wrapped).unwrap();
        assert_eq!(opened.bytes(), storage.bytes());
        for (root, cluster, node) in [
            (&Key::random(), cluster, node),
            (&root, ClusterId::random(), node),
            (&root, cluster, NodeId::random()),
        ] {
            let error = Key::<Storage>::open(root, cluster, node, &wrapped).unwrap_err();
            assert_eq!(error, OpenError::Mismatch);
        }
    }

    #[test]
    fn a_storage_key_in_a_header_opens_only_beside_the_unlockers_it_was_put_there_with() {
        let (root, storage) = (Key::<Root>::random(), Key::<Storage>::random());
        let (cluster, node) = (ClusterId::random(), NodeId::random());
        let unlocker = |root| {
            let (id, key) = (UnlockerId::random(), Key::random());
            Unlocker::new(cluster, id, Method::Recovery, &key, root)
        };
        let (a, b) = (unlocker(&root), unlocker(&root));
        let wrapped = storage.wrapped_for_header(&root, cluster, node, &[a.clone(), b.clone()]);
        let open = |unlockers: &[Unlocker]| {
            Key::<Storage>::open_in_header(&root, cluster, node, unlockers, &wrapped)
        };
        assert_eq!(open(&[a.clone(), b.clone()]).unwrap().bytes(), storage.bytes());
        let mine = Unlocker { recipient: Recipient::of(&Key::random()), ..b.clone() };
        for list in [&[][..], std::slice::from_ref(&a), &[b, a.clone()], &[a.clone(), mine]] {
            assert_eq!(open(list).unwrap_err(), OpenError::Mismatch);
        }
    }

    #[test]
    fn root_keys_have_ids_of_their_own_in_each_cluster() {
        let (root, cluster) = (Key::<Root>::random(), ClusterId::random());
        assert_eq!(root.id(cluster), root.id(cluster));
        assert_ne!(root.id(cluster), Key::<Root>::random().id(cluster));
        assert_ne!(root.id(cluster), root.id(ClusterId::random()));
        assert_ne!(root.id(cluster).0, *root.bytes());
    }

    #[test]
    fn a_wrapped_key_of_another_length_is_refused() {
        let (root, binding) = (Key::<Root>::random(), || Binding::new("test"));
        let long = envelope::seal(root.bytes(), binding(), &[0; 33]);
        assert_eq!(root.unwrap::<Wrap>(binding(), &long).unwrap_err(), OpenError::Short);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Key::<Root>::random()), "Key(..)");
    }
}
