//! The cluster's terms: keys that wrap data keys, themselves wrapped by the root key.

/// One term as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedTerm {
    /// 1, 2, 3, …
    pub term: u32,
    /// The term's key, sealed to the root key.
    pub wrapped: Vec<u8>,
}
