//! How a command ends: the steady exit codes, and the one error type that carries message, hint and code.

use crate::model::refusal::{Refusal, RefusalKind};
use std::{fmt, process::ExitCode};

/// Exit codes; scripts rely on them, so a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something went wrong that has no code of its own.
    Other = 1,
    /// The command line is wrong; clap uses the same number.
    Usage = 2,
    /// A thing that was named does not exist.
    NotFound = 3,
    /// The name is taken, or somebody changed the thing meanwhile.
    Exists = 4,
    /// The request cannot be carried out as it is: invalid, or something else must change first.
    Refused = 5,
    /// The daemon cannot be reached.
    Unreachable = 6,
    /// The node is not ready: in no cluster, locked, without a leader, or too slow to answer.
    NotReady = 7,
    /// The daemon does not take orders from this user.
    Denied = 8,
    /// Ctrl-C.
    Interrupted = 130,
    /// Whoever read the output has gone; nothing is said about it.
    Pipe = 141,
}

/// The table of exit codes that `--help` shows.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed for a reason without a code of its own
  2    wrong command line
  3    a thing that was named does not exist
  4    the name is taken, or the thing was changed meanwhile
  5    refused: the input is invalid, or something else must change first (as an object in use)
  6    the daemon cannot be reached
  7    the node is not ready: in no cluster, locked, without a leader, or too slow
  8    not permitted
  130  interrupted by Ctrl-C";

/// Why a command did not do what it was asked to: for people, with a code for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Code::Refused, message)
    }

    /// Adds what to do about it, unless somebody closer to the cause did.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says what we were doing: `cannot create secret "x": <why>`.
    #[must_use]
    pub(crate) fn doing(mut self, what: impl fmt::Display) -> Self {
        if !matches!(self.code, Code::Unreachable | Code::NotReady | Code::Interrupted | Code::Pipe)
        {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind {
            RefusalKind::Invalid | RefusalKind::Precondition => Code::Refused,
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::Exists | RefusalKind::Conflict => Code::Exists,
            RefusalKind::Denied => Code::Denied,
        };
        Self { code, message: refusal.message, hint: refusal.hint }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::refused("secret data is empty").doing("cannot create secret \"x\"");
        assert_eq!(
            failure.hint("give it a value").hint("too late").to_string(),
            "error: cannot create secret \"x\": secret data is empty\nhint: give it a value"
        );
    }

    #[test]
    fn an_unreachable_daemon_is_not_the_fault_of_what_we_were_doing() {
        let failure = Failure::new(Code::Unreachable, "cannot reach the daemon").doing("cannot ls");
        assert_eq!(failure.message(), "cannot reach the daemon");
    }

    #[test]
    fn the_documented_codes_are_the_codes() {
        for code in [
            Code::Other,
            Code::Usage,
            Code::NotFound,
            Code::Exists,
            Code::Refused,
            Code::Unreachable,
            Code::NotReady,
            Code::Denied,
            Code::Interrupted,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {:<5}", code as u8)), "{code:?}");
        }
    }
}
