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
