//! What a sealed payload is bound to, so that it cannot be moved to another name.

use super::envelope::Binding;
use crate::kit::id::{ClusterId, ObjectId};

/// What kind of thing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Secret,
    Config,
    /// The cluster CA's private key.
    AuthorityKey,
}

impl Subject {
    /// Part of what is sealed on disk; a number once given is never given again.
    fn tag(self) -> u8 {
        match self {
            Self::Secret => 1,
            Self::Config => 2,
            Self::AuthorityKey => 3,
        }
    }
}

/// Names the thing whose payload is sealed; it goes into the AAD in full. Enough to seal, and to move a data key to another
/// term; to open it takes a [`proof`](super::proof).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub cluster: ClusterId,
    pub subject: Subject,
    pub object: ObjectId,
    pub name: String,
    pub version: u64,
}

impl Context {
    /// What the key of a cluster's CA is sealed to; a cluster has one, so its object id is all zeros.
    pub fn authority_key(cluster: ClusterId) -> Self {
        Self {
            cluster,
            subject: Subject::AuthorityKey,
            object: ObjectId::from_random([0; 17]),
            name: "ca".to_owned(),
            version: 1,
        }
    }

    /// The binding of the payload under its data key. It leaves out the term, which binds the data key, so that
    /// a rotation re-wraps 32 bytes and not the payload.
    pub(super) fn payload_binding(&self) -> Binding {
        self.fields(Binding::new("secretd/payload/1"))
    }

    /// The binding of the data key under the term.
    pub(super) fn data_key_binding(&self, term: u32) -> Binding {
        self.fields(Binding::new("secretd/data-key/1")).field(&term.to_be_bytes())
    }

    fn fields(&self, binding: Binding) -> Binding {
        let Self { cluster, subject, object, name, version } = self;
        binding
            .field(cluster.as_str().as_bytes())
            .field(&[subject.tag()])
            .field(object.as_str().as_bytes())
            .field(name.as_bytes())
            .field(&version.to_be_bytes())
    }
}
