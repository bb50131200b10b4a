//! Why the store would not do what a valid command asked: an answer like any other, never a failure of the machine.

use std::fmt;

/// What a caller would do next about a refusal; it becomes the gRPC code and the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request can never work as it is.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// The name is taken.
    Exists,
    /// Something else must change first: the object is in use, the cluster is not ready.
    Precondition,
    /// Somebody changed the thing since the caller looked; look again.
    Conflict,
    /// The caller may not.
    Denied,
}

/// A refusal with the text for people, and a hint where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
