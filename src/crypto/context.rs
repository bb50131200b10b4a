//! What a sealed payload is bound to, so that it cannot be moved to another name.

use crate::kit::id::{ClusterId, ObjectId};

/// What kind of thing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Secret,
    Config,
    /// The cluster CA's private key.
    AuthorityKey,
}

/// Names the thing whose payload is sealed; it goes into the AAD in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub cluster: ClusterId,
    pub subject: Subject,
    pub object: ObjectId,
    pub name: String,
    pub version: u64,
}
