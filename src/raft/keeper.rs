//! Looks after a running store: tells who leads, and keeps the log short.

use super::{handle::Core, types::Member};
use crate::kit::task::Stop;
use openraft::ServerState;
use std::sync::Arc;
use tokio::sync::watch;

/// Who leads, as far as this manager knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This manager leads, and its state holds everything that was acknowledged before its term.
    Leading {
        term: u64,
    },
    Following {
        leader: Option<Member>,
    },
    /// The store stopped; the process must be started again.
    Failed {
        why: String,
    },
}

impl Leadership {
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }
}

pub(super) fn leadership_of(core: &Core) -> Leadership {
    let metrics = core.raft.metrics();
    let metrics = metrics.borrow();
    if let Err(fatal) = &metrics.running_state {
        return Leadership::Failed { why: fatal.to_string() };
    }
    let caught_up =
        metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term);
    if metrics.state == ServerState::Leader && caught_up {
        return Leadership::Leading { term: metrics.current_term };
    }
    let leader = metrics.current_leader.filter(|id| *id != metrics.id);
    let members = metrics.membership_config.membership();
    Leadership::Following { leader: leader.and_then(|id| members.get_node(&id).cloned()) }
}

/// Tells who leads, and keeps the log short by bytes as openraft does by entries.
pub(super) async fn keep(
    core: Arc<Core>,
    kept: usize,
    tell: watch::Sender<Leadership>,
    stop: Stop,
) {
    let mut metrics = core.raft.metrics();
    let mut snapshot_at = None;
    loop {
        let now = leadership_of(&core);
        tell.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                tracing::info!(leadership = ?now, "leadership changed");
                *before = now;
            }
            changed
        });
        let (snapshot, purged) = {
            let metrics = metrics.borrow_and_update();
            (metrics.snapshot.map(|id| id.index), metrics.purged.map(|id| id.index))
        };
        if let Some(index) = core.log.excess(kept) {
            let trigger = core.raft.trigger();
            let asked = if snapshot >= Some(index) {
                if purged < Some(index) { trigger.purge_log(index).await } else { Ok(()) }
            } else if snapshot_at != Some(snapshot) {
                snapshot_at = Some(snapshot);
                trigger.snapshot().await
            } else {
                Ok(())
            };
            if let Err(fatal) = asked {
                tracing::warn!(%fatal, "the log was not shortened");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}
