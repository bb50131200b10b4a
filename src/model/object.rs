//! Secrets and configs: named objects whose payloads are immutable versions. What is here can be listed and logged.

use super::{Labels, Meta};
use crate::{
    crypto::context::{Context, Subject},
    kit::{
        clock::Timestamp,
        id::{ClusterId, ObjectId},
        limits,
        name::ObjectName,
    },
};
use std::fmt;

/// The two kinds of object. They differ in size limit, default target and in who may see the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Secret,
    Config,
}

impl Kind {
    /// The payload must be shorter than this many bytes.
    pub fn size_limit(self) -> usize {
        match self {
            Self::Secret => limits::SECRET_SIZE,
            Self::Config => limits::CONFIG_SIZE,
        }
    }

    /// Where a relative target lands.
    pub fn target_root(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets",
            Self::Config => "/",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Secret => "secret",
            Self::Config => "config",
        })
    }
}

/// The payload's size does not fit its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} data must be larger than 0 and less than {} bytes", kind.size_limit())]
pub struct BadSize {
    pub kind: Kind,
}

/// Checks a payload's size against its kind's limit (`1 <= size < limit`).
///
/// # Errors
/// [`BadSize`], with Swarm's text.
pub fn check_size(kind: Kind, size: usize) -> Result<(), BadSize> {
    if (1..kind.size_limit()).contains(&size) { Ok(()) } else { Err(BadSize { kind }) }
}

/// A version's number: 1, 2, 3, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber(pub u64);

impl VersionNumber {
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// One immutable version of an object; its payload lies sealed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: VersionNumber,
    pub created_at: Timestamp,
    /// Bytes of the plaintext.
    pub size: u64,
    /// The keyring's term under which its data key lies.
    pub term: u32,
}

/// A secret or a config without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: Kind,
    pub id: ObjectId,
    pub name: ObjectName,
    pub labels: Labels,
    pub meta: Meta,
    /// Oldest first, never empty.
    pub versions: Vec<Version>,
}

impl Object {
    /// The newest version.
    pub fn latest(&self) -> &Version {
        self.versions
            .last()
            .expect("an object is made with its first version and never loses its last")
    }

    pub fn version(&self, number: VersionNumber) -> Option<&Version> {
        self.versions.iter().find(|v| v.number == number)
    }

    /// What a version of this object is sealed to. It opens nothing by itself.
    pub fn context(&self, cluster: ClusterId, version: VersionNumber) -> Context {
        context(cluster, self.kind, self.id, &self.name, version)
    }
}

/// What the payload of an object is sealed to; whoever seals and whoever opens asks here.
pub fn context(
    cluster: ClusterId,
    kind: Kind,
    object: ObjectId,
    name: &ObjectName,
    version: VersionNumber,
) -> Context {
    let subject = match kind {
        Kind::Secret => Subject::Secret,
        Kind::Config => Subject::Config,
    };
    Context { cluster, subject, object, name: name.to_string(), version: version.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_bound_is_exclusive_and_empty_is_refused() {
        check_size(Kind::Secret, 1).unwrap();
        check_size(Kind::Secret, 511_999).unwrap();
        assert_eq!(
            check_size(Kind::Secret, 512_000).unwrap_err().to_string(),
            "secret data must be larger than 0 and less than 512000 bytes"
        );
        assert_eq!(
            check_size(Kind::Config, 0).unwrap_err().to_string(),
            "config data must be larger than 0 and less than 1024000 bytes"
        );
    }
}
