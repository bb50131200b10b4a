//! Why a call brought no answer, shaped by what the caller would do next.

use super::host::{BadHost, Host};
use crate::{
    model::refusal::Refusal,
    wire::{
        Malformed,
        status::{hint, refusal},
    },
};
use std::{error::Error, io};
use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Host(#[from] BadHost),
    /// Nobody listens there, or the connection broke and did not come back.
    #[error("cannot connect to secretd at {host}")]
    Unreachable { host: Host, source: io::Error },
    /// Somebody else serves the socket.
    #[error(
        "the socket {host} is served by user {uid}, who is neither root, nor you, nor the account secretd"
    )]
    Impostor { host: Host, uid: u32 },
    /// The socket does not let this user in.
    #[error("permission denied on the socket of secretd at {host}")]
    Denied { host: Host },
    /// The daemon answered: no.
    #[error(transparent)]
    Refused(Refusal),
    /// The daemon cannot do it now: no leader, starting, too slow. Trying later makes sense.
    #[error("{message}")]
    NotReady { message: String, hint: Option<String> },
    /// The daemon failed, or speaks another language.
    #[error("{message}")]
    Failed { message: String, hint: Option<String> },
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Host(_) => None,
            Self::Unreachable { host, source } => Some(match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                    "is secretd running? Start it, or name its socket with -H or SECRETD_HOST (tried {host})"
                ),
                _ => "is secretd running? Its log says why if it is not".to_owned(),
            }),
            Self::Impostor { host: _, uid } => Some(format!(
                "nothing was sent; if that user does run your secretd, say so with SECRETD_SERVER_UID={uid}"
            )),
            Self::Denied { host: _ } => {
                Some("use root, or add the user to group secretd and log in again".to_owned())
            }
            Self::Refused(refusal) => refusal.hint.clone(),
            Self::NotReady { message: _, hint } | Self::Failed { message: _, hint } => hint.clone(),
        }
    }

    /// Sorts a failed connection.
    pub(super) fn connect(host: &Host, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { host: host.clone() },
            _ => Self::Unreachable { host: host.clone(), source },
        }
    }

    /// Sorts the status of a call.
    pub(super) fn call(host: &Host, status: &Status) -> Self {
        if broken(status) {
            let source = io_cause(status).map_or_else(
                || io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke"),
                |cause| io::Error::new(cause.kind(), cause.to_string()),
            );
            return Self::connect(host, source);
        }
        if let Some(refusal) = refusal(status) {
            return Self::Refused(refusal);
        }
        let (message, hint) = (status.message().to_owned(), hint(status));
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Self::NotReady { message, hint },
            code => {
                let message =
                    if message.is_empty() { code.description().to_owned() } else { message };
                let unknown = code == Code::Unimplemented;
                let hint = hint.or_else(|| {
                    unknown.then(|| "secretctl and secretd may be of different versions".to_owned())
                });
                Self::Failed { message, hint }
            }
        }
    }
}

impl From<Malformed> for ClientError {
    fn from(malformed: Malformed) -> Self {
        Self::Failed {
            message: format!("secretd gave an answer that makes no sense: {malformed}"),
            hint: Some("secretctl and secretd may be of different versions".to_owned()),
        }
    }
}

/// Whether it was the connection that failed, not the daemon that answered: such a status is made on this side.
pub(super) fn broken(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether the same call may go well a little later.
pub(super) fn passing(status: &Status) -> bool {
    broken(status) || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

fn io_cause(status: &Status) -> Option<&io::Error> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}
