//! A service's use of a secret or config: which object, which version, and where its file goes.

use super::object::{Kind, VersionNumber};
use crate::kit::{id::ObjectId, limits::TARGET_LEN, name::ObjectName};
use std::fmt;

/// Which version a task gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionPick {
    Latest,
    Exact(VersionNumber),
}

/// What to do with a running task when the object gets a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnChange {
    /// Nothing; the next task gets the new version.
    Keep,
}

/// A file's owner as the user wrote it: a number, or a name that is looked up in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Id(u32),
    Name(String),
}

/// A text that is neither a number below 2³²-1 nor a plain user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("owner must be a number or a name of [a-zA-Z0-9_.-], at most 32 characters")]
pub struct BadOwner;

impl std::str::FromStr for Owner {
    type Err = BadOwner;
    fn from_str(text: &str) -> Result<Self, BadOwner> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // The kernel reads the highest number as "leave it".
            return text.parse().ok().filter(|id| *id != u32::MAX).map(Self::Id).ok_or(BadOwner);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if text.is_empty() || text.len() > 32 || text.starts_with('-') || !text.bytes().all(plain) {
            return Err(BadOwner);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Why a target path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("target must be provided")]
    Empty,
    #[error("target is longer than {TARGET_LEN} bytes")]
    TooLong,
    #[error("target must not contain a NUL byte")]
    Nul,
    #[error("target '{0}' must not contain '..'")]
    Parent(String),
    #[error("target '{0}' names a directory")]
    Directory(String),
    #[error("target '{0}' lies on {1}, which belongs to the system")]
    System(String, &'static str),
}

/// An absolute, normalised path inside the container, safe to mount a file at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(String);

impl Target {
    /// Resolves what the user wrote: absolute as it is, relative under the kind's root.
    ///
    /// # Errors
    /// [`BadTarget`]: empty, too long, NUL, `..`, a directory, `/` itself, or on `/proc`, `/sys`, `/dev`.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, BadTarget> {
        if text.is_empty() {
            return Err(BadTarget::Empty);
        }
        if text.contains('\0') {
            return Err(BadTarget::Nul);
        }
        if text.len() > TARGET_LEN {
            return Err(BadTarget::TooLong);
        }
        let full = if text.starts_with('/') {
            text.to_owned()
        } else {
            format!("{}/{text}", kind.target_root())
        };
        let mut path = String::new();
        for part in full.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(BadTarget::Parent(text.to_owned())),
                name => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        if path.is_empty() || text.ends_with('/') || text.ends_with("/.") || text == "." {
            return Err(BadTarget::Directory(text.to_owned()));
        }
        for system in ["/proc", "/sys", "/dev"] {
            if path == system || path.strip_prefix(system).is_some_and(|rest| rest.starts_with('/'))
            {
                return Err(BadTarget::System(text.to_owned(), system));
            }
        }
        Ok(Self(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A service's use of one object. The id is found when the service is made; the name must stay its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub kind: Kind,
    pub object: ObjectId,
    pub name: ObjectName,
    pub version: VersionPick,
    pub target: Target,
    /// Unset: the container's user.
    pub uid: Option<Owner>,
    /// Unset: the container's group.
    pub gid: Option<Owner>,
    /// Unset: 0444 for configs; for secrets 0400 if the owner is known and 0444 if not.
    pub mode: Option<FileMode>,
    pub on_change: OnChange,
}

/// Permission bits of a delivered file, at most 0777.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

/// Bits beyond 0777.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mode must be at most 0777")]
pub struct BadMode;

impl FileMode {
    /// # Errors
    /// [`BadMode`] for set-id, sticky and higher bits: a delivered file is data.
    pub fn new(bits: u32) -> Result<Self, BadMode> {
        if bits <= 0o777 { Ok(Self(bits)) } else { Err(BadMode) }
    }

    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: Kind, text: &str) -> Result<String, BadTarget> {
        Target::parse(kind, text).map(|t| t.to_string())
    }

    #[test]
    fn relative_targets_land_under_their_kinds_root() {
        assert_eq!(target(Kind::Secret, "db").unwrap(), "/run/secrets/db");
        assert_eq!(target(Kind::Config, "etc/app.conf").unwrap(), "/etc/app.conf");
        assert_eq!(target(Kind::Secret, "/app//x/./y").unwrap(), "/app/x/y");
    }

    #[test]
    fn targets_that_could_hurt_are_refused() {
        for bad in [
            "",
            "../x",
            "/a/../b",
            "a\0b",
            "/",
            "/a/",
            ".",
            "/proc/1/mem",
            "/sys",
            "/dev/null",
            "//proc//x",
        ] {
            target(Kind::Config, bad).expect_err(bad);
        }
        target(Kind::Secret, "/process").unwrap();
        target(Kind::Secret, &"x".repeat(4000)).unwrap_err();
    }

    #[test]
    fn owners_are_numbers_or_names() {
        assert_eq!("0".parse(), Ok(Owner::Id(0)));
        assert_eq!("www-data".parse(), Ok(Owner::Name("www-data".into())));
        for bad in ["", "-x", "a b", "4294967295", "99999999999", "a:b"] {
            assert_eq!(bad.parse::<Owner>(), Err(BadOwner), "{bad}");
        }
    }
}
