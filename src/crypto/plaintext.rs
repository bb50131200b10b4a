//! A secret's bytes: one type, one door, wiped when dropped.

use std::{fmt, mem};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Payload bytes. Cannot be cloned, printed, compared or serialized; it moves.
pub struct Plaintext(Vec<u8>);

/// Wipes a buffer, all of its capacity, and empties it. `zeroize` does so byte by byte, which takes longer for a large
/// payload than encrypting it.
pub(crate) fn wipe(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bytes.capacity(), 0);
    zeroize::optimization_barrier(bytes.as_slice());
    bytes.clear();
}

impl Plaintext {
    /// Takes the buffer as it is: shrinking or copying it would leave the old bytes behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The one door. `tests/tidy.rs` keeps the list of files that may call it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same, in a time that depends on their sizes only.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl From<Zeroizing<Vec<u8>>> for Plaintext {
    fn from(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(mem::take(&mut bytes))
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let plain = Plaintext::new(b"hunter2".to_vec());
        assert_eq!(format!("{plain:?}"), "Plaintext(..)");
        assert_eq!(plain.len(), 7);
    }

    #[test]
    fn a_wiped_buffer_is_empty_and_still_its_own() {
        let mut bytes = b"hunter2".to_vec();
        let at = bytes.as_ptr();
        wipe(&mut bytes);
        assert!(bytes.is_empty());
        bytes.resize(7, 1);
        assert_eq!((bytes.as_ptr(), bytes), (at, vec![1; 7]));
    }

    #[test]
    fn the_buffer_moves_and_is_not_copied() {
        let bytes = b"hunter2".to_vec();
        let at = bytes.as_ptr();
        let plain = Plaintext::new(bytes);
        assert_eq!(plain.expose().as_ptr(), at);
    }
}
