//! The envelope: a payload under its own data key, the data key under a term of the keyring.

/// A sealed payload; may be cloned, printed and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The keyring term that wraps the data key.
    pub term: u32,
    /// The data key, sealed to the term: format, salt, commitment, ciphertext, tag.
    pub wrapped_key: Vec<u8>,
    /// The payload, sealed to the data key: format, salt, commitment, ciphertext, tag.
    pub body: Vec<u8>,
}

/// The data key of a payload under a term of the keyring; all of [`Sealed`] that a rotation replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The keyring term that wraps the data key.
    pub term: u32,
    /// Format, salt, commitment, ciphertext, tag.
    pub wrapped: Vec<u8>,
}

impl Sealed {
    /// Puts a payload together again.
    pub fn new(key: WrappedKey, body: Vec<u8>) -> Self {
        let WrappedKey { term, wrapped } = key;
        Self { term, wrapped_key: wrapped, body }
    }

    /// Its data key, as it is wrapped.
    pub fn key(&self) -> WrappedKey {
        WrappedKey { term: self.term, wrapped: self.wrapped_key.clone() }
    }
}
