//! Keys bound to one purpose: a `Key<Storage>` cannot seal a payload.

use std::{fmt, marker::PhantomData};
use zeroize::Zeroizing;

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

/// 32 bytes with a purpose, wiped when dropped.
pub struct Key<Purpose> {
    bytes: Box<Zeroizing<[u8; 32]>>,
    purpose: PhantomData<fn() -> Purpose>,
}

impl<Purpose> Key<Purpose> {
    /// Draws a new key from the kernel.
    pub fn random() -> Self {
        let mut key = Self::blank();
        getrandom::fill(key.bytes.as_mut_slice()).expect("the kernel gives randomness once booted");
        key
    }

    pub(in crate::crypto) fn blank() -> Self {
        Self { bytes: Box::new(Zeroizing::new([0; 32])), purpose: PhantomData }
    }

    pub(in crate::crypto) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(in crate::crypto) fn bytes_mut(&mut self) -> &mut [u8; 32] {
        &mut self.bytes
    }
}

impl<Purpose> fmt::Debug for Key<Purpose> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
