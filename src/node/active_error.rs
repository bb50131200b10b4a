//! Why a node cannot be part of its cluster, and what to do about it.

use super::{address::BadAddress, keystore::KeyStoreError, member::MemberError, work::WorkError};
use crate::{
    client::enroll::EnrollError,
    crypto::OpenError,
    kit::{chain::chain, id::NodeId},
    pki::{AuthorityError, IdentityError, IssueError, TlsError},
    raft::{ProposeError, StartError},
    wire::status::status,
};
use std::{io, net::SocketAddr, path::PathBuf};
use tonic::{Code, Status};

/// Why this node cannot be part of its cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActiveError {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Store(#[from] StartError),
    #[error("cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("cannot move what an unfinished init left to {}", path.display())]
    Leftovers { path: PathBuf, source: io::Error },
    #[error("cannot record the founding of the cluster")]
    Found(#[source] ProposeError),
    #[error("the store holds no cluster, and no manager sent it")]
    NoCluster,
    #[error("this process ended before the other managers had filled its store")]
    Unfilled,
    #[error(
        "this node was let in as {node} and then not made part of the cluster; it belongs to none"
    )]
    Unsettled { node: NodeId, gone: bool, source: Box<Self> },
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error("cannot remove what this node stored at {}", path.display())]
    Wipe { path: PathBuf, source: io::Error },
    #[error("cannot open the keyring")]
    Keyring(#[source] OpenError),
    #[error("cannot use the cluster's CA")]
    Authority(#[from] AuthorityError),
    #[error("cannot issue this node's certificate")]
    Issue(#[from] IssueError),
    #[error("cannot use this node's identity")]
    Identity(#[from] IdentityError),
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("the store stopped: {0}")]
    Stopped(String),
    #[error("this is the only manager of its cluster: nobody else has what it stored")]
    OnlyManager,
    #[error("the other managers cannot fill this one now")]
    Refill(#[source] Box<Self>),
    #[error("cannot move the damaged store to {}", path.display())]
    Aside { path: PathBuf, source: io::Error },
}

impl ActiveError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Keys(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Work(error) => error.hint(),
            Self::Enroll(error) => return error.hint(),
            Self::Found(error) => return error.hint(),
            Self::Listen { .. } => {
                "choose a free address with --listen-addr, or stop what uses this one"
            }
            Self::Leftovers { .. } => {
                "move the raft folder and node.keys out of the data directory by hand and try again"
            }
            Self::Wipe { .. } => "remove it by hand; it belongs to no cluster any more",
            Self::Unsettled { node, gone, source } => {
                let cause = match source.as_ref() {
                    Self::NoCluster => {
                        "see with `secretctl status` on the managers that they have a leader, then join again".to_owned()
                    }
                    other => other.hint().unwrap_or_else(|| "join again".to_owned()),
                };
                return Some(match gone {
                    true => cause,
                    false => format!(
                        "{cause}; the managers still list it: `secretctl node demote {node}` if it was to be one, then `secretctl node rm --force {node}`"
                    ),
                });
            }
            Self::NoCluster => "start more than half of the managers, then try again",
            Self::Keyring(_) | Self::Authority(_) | Self::Identity(_) => {
                "restore data directory and key file from one backup"
            }
            Self::Stopped(_) | Self::Unfilled => {
                "see the log for the cause, then start secretd again"
            }
            Self::OnlyManager => {
                "bring the whole data directory back from a copy, or let the node go with `secretctl leave --force` and restore a backup with `secretctl backup restore`"
            }
            Self::Refill(_) => {
                "more than half of the managers must be up and reach each other without this one; nothing was changed, so try again when they do"
            }
            Self::Aside { .. } => "check the disk of the data directory, then try again",
            Self::Address(_) | Self::Issue(_) | Self::Tls(_) => return None,
        };
        Some(text.to_owned())
    }

    /// The error as an operator's call gets it.
    pub(super) fn status(&self) -> Status {
        let code = match self {
            Self::Address(_) => Code::InvalidArgument,
            Self::Unsettled { source, .. } => source.status().code(),
            Self::Enroll(_) | Self::NoCluster | Self::OnlyManager | Self::Refill(_) => {
                Code::FailedPrecondition
            }
            Self::Keys(_) | Self::Listen { .. } | Self::Leftovers { .. } | Self::Work(_) => {
                Code::FailedPrecondition
            }
            _ => Code::Internal,
        };
        status(code, chain(self).to_string(), self.hint())
    }
}
