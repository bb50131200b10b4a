//! Turns away whoever shows a certificate of a node that was replaced, and sees that people hear of it.

use crate::{
    kit::{
        clock::{Clock, Timestamp},
        id::NodeId,
    },
    model::{
        command::Command,
        node::{Node, Role},
        refusal::{Refusal, RefusalKind},
    },
    pki::Peer,
    raft::Raft,
    wire::status::status,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tonic::{Code, Status};
use tracing::{debug, warn};

/// Each node's copies are told of once within this time, in the log and to the store: they may come as often as they like.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What one of a manager's services has told of copies.
#[derive(Debug)]
pub(super) struct Copies {
    raft: Raft,
    clock: Clock,
    /// Of nodes that exist, and no others: that one was a copy, and that it had to wait.
    told: Mutex<BTreeMap<(NodeId, bool), Timestamp>>,
}

impl Copies {
    pub(super) fn new(raft: Raft, clock: Clock) -> Self {
        Self { raft, clock, told: Mutex::default() }
    }

    /// The answer to a caller at `addr` whose certificate of `node` was refused.
    pub(super) async fn refuse(
        &self,
        node: &Node,
        peer: &Peer,
        addr: &str,
        refusal: Refusal,
    ) -> Status {
        // A manager signs for itself also while nobody leads; it tells of that as soon as somebody does.
        if peer.role == Role::Manager && node.role == Role::Manager {
            if self.may_tell((node.id, true)) {
                warn!(node = %node.id, addr, key = %peer.key, "refused a manager's certificate that is not known, or was replaced");
            }
            let hint = "it is known a moment after the manager is in touch with the others; a copy of a manager's disk must not be started";
            return status(Code::Unavailable, refusal.message, Some(hint.to_owned()));
        }
        if refusal.kind != RefusalKind::Denied {
            if self.may_tell((node.id, false)) {
                warn!(node = %node.id, addr, %refusal, "refused a session");
            }
            return refusal.into();
        }
        if !self.may_tell((node.id, true)) {
            debug!(node = %node.id, addr, %refusal, "refused a certificate");
            return refusal.into();
        }
        warn!(node = %node.id, addr, key = %peer.key, %refusal, "refused a certificate that was replaced: somebody has a copy of the node's identity");
        let note = Command::NoteCopy { id: node.id, addr: addr.to_owned() };
        if let Err(error) = self.raft.propose(None, note).await {
            debug!(node = %node.id, %error, "could not note that the node has a copy");
        }
        refusal.into()
    }

    fn may_tell(&self, what: (NodeId, bool)) -> bool {
        let now = self.clock.now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.since(*at) < TOLD_WITHIN);
        told.insert(what, now).is_none_or(|before| {
            told.insert(what, before);
            false
        })
    }
}
