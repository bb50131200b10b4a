//! What the store's answers and failures become on the wire.

use crate::{
    kit::chain::chain,
    raft::{BodyError, ProposeError, ReadError},
    wire::status::status,
};
use tonic::{Code, Status};

/// A proposal that was not carried out, or nobody knows.
pub(super) fn proposed(error: ProposeError) -> Status {
    let hint = error.hint();
    let code = match error {
        ProposeError::Refused(refusal) => return refusal.into(),
        ProposeError::NotLeader { .. } | ProposeError::Busy | ProposeError::Stopped(_) => {
            Code::Unavailable
        }
        // A caller with a request id may ask again and hears what became of it.
        ProposeError::Unknown => Code::DeadlineExceeded,
        ProposeError::NoSpace(_) => Code::ResourceExhausted,
        ProposeError::TooLarge { .. } => Code::InvalidArgument,
    };
    status(code, error.to_string(), hint)
}

/// A read that could not be confirmed.
pub(super) fn read(error: &ReadError) -> Status {
    let hint = match error {
        ReadError::NotLeader { leader: Some(leader) } => {
            Some(format!("the leader is {} at {}", leader.node, leader.addr))
        }
        ReadError::NotLeader { leader: None } => {
            Some("wait until a leader has been elected".to_owned())
        }
        ReadError::Unreachable { .. } => {
            Some("try again; if it stays away the others elect another leader".to_owned())
        }
        ReadError::Behind => Some("try again in a moment, or ask another manager".to_owned()),
        ReadError::NoQuorum => Some("start more than half of the managers".to_owned()),
        ReadError::Busy => Some("try again in a moment".to_owned()),
        ReadError::Stopped(_) => {
            Some("see the daemon's log for the cause, then start secretd again".to_owned())
        }
    };
    status(Code::Unavailable, error.to_string(), hint)
}

/// A payload that lies in the store and cannot be read.
pub(super) fn body(error: &BodyError) -> Status {
    status(Code::Internal, chain(error).to_string(), None)
}
