//! A group whose quorum is lost for ever becomes a group of one, in the log itself.
//!
//! An entry with the new membership goes to the end of the log, in a term of our own above all that this manager has
//! heard of. What other managers acknowledged without it is lost; what they had not acknowledged may come to be. That is
//! why nothing does this by itself.

use super::{
    StartError,
    log::LogStore,
    types::{Entry, LogId, Member, Membership, Vote},
};
use crate::kit::failpoint::failpoint;
use openraft::{
    CommittedLeaderId, EntryPayload, LogIdOptionExt as _,
    storage::{RaftLogStorage as _, RaftLogStorageExt as _},
};
use std::collections::{BTreeMap, BTreeSet};

/// Makes `member` the only voter of the group that this log belongs to; durable when this returns.
///
/// # Errors
/// The disk fails; then the group is what it was, or of one already, and this may be tried again.
pub(super) async fn alone(
    log: &mut LogStore,
    applied: Option<LogId>,
    raft_id: u64,
    member: Member,
) -> Result<(), StartError> {
    let failed = |error: openraft::StorageError<u64>| StartError::Raft(error.to_string());
    // A snapshot was put in the place of the log.
    if applied > log.last().max(log.purged())
        && let Some(applied) = applied
    {
        log.purge(applied).await.map_err(failed)?;
    }
    let heard = log.vote().map_or(0, |vote| vote.leader_id().term);
    let term = heard.max(applied.map_or(0, |id| id.leader_id.term)) + 1;
    // The vote first: an entry of a term nobody voted for must not be found there.
    log.save_vote(&Vote::new(term, raft_id)).await.map_err(failed)?;
    failpoint("recover.voted");
    let voters = vec![BTreeSet::from([raft_id])];
    let entry = Entry {
        log_id: LogId::new(
            CommittedLeaderId::new(term, raft_id),
            log.last().max(log.purged()).next_index(),
        ),
        payload: EntryPayload::Membership(Membership::new(
            voters,
            BTreeMap::from([(raft_id, member)]),
        )),
    };
    log.blocking_append([entry]).await.map_err(failed)?;
    failpoint("recover.appended");
    Ok(())
}
