//! A leader's log that is answered for before it is on the disk: early for its own entries, and for nothing else.

use super::{LogIdentity, LogSizes, LogStore, faulty::FaultyDisk};
use crate::raft::{
    testing::identity,
    types::{Entry, LogId, Vote},
};
use futures::FutureExt as _;
use openraft::{
    EntryPayload, LeaderId,
    storage::{RaftLogStorage as _, RaftLogStorageExt as _},
};
use std::sync::Arc;

const OURS: u64 = 1;

struct World {
    disk: FaultyDisk,
    identity: Arc<LogIdentity>,
}

impl World {
    fn new() -> Self {
        Self { disk: FaultyDisk::default(), identity: identity(1) }
    }

    /// The log as the disk has it.
    fn open(&self) -> LogStore {
        let sizes = LogSizes { segment: 64 << 10, first_segment: 64 << 10, ..LogSizes::default() };
        let mut log =
            LogStore::on(Arc::new(self.disk.clone()), self.identity.clone(), sizes, None).unwrap();
        log.run_ahead(OURS);
        log
    }

    /// The log of the leader of term 3.
    async fn leading(&self) -> LogStore {
        let mut log = self.open();
        log.save_vote(&committed(3, OURS)).await.unwrap();
        log
    }

    /// What would be there if the power failed now, and nothing survived that was not synced.
    fn after_power_failure(self) -> LogStore {
        let disk = self.disk.after_crash(|| 1);
        Self { disk, identity: self.identity }.open()
    }
}

fn committed(term: u64, raft_id: u64) -> Vote {
    Vote::new_committed(term, raft_id)
}

fn entry(term: u64, leader: u64, index: u64) -> Entry {
    let log_id = LogId::new(LeaderId::new(term, leader), index);
    Entry { log_id, payload: EntryPayload::Blank }
}

#[tokio::test]
async fn a_leaders_own_entries_are_answered_for_and_read_while_the_disk_still_works() {
    let world = World::new();
    let mut log = world.leading().await;
    world.disk.hold(true);
    log.blocking_append([entry(3, OURS, 0), entry(3, OURS, 1)]).await.unwrap();
    assert_eq!(log.read(.., usize::MAX).unwrap().len(), 2);
    assert_eq!(log.progress().upto(), None);
    let mut waits = Box::pin(log.progress().reach(1));
    assert!(waits.as_mut().now_or_never().is_none(), "it is not on the disk");
    world.disk.hold(false);
    waits.await.unwrap();
    log.close();
    assert_eq!(world.after_power_failure().last(), Some(entry(3, OURS, 1).log_id));
}

#[tokio::test]
async fn entries_of_another_leader_are_answered_for_when_they_are_on_the_disk() {
    let world = World::new();
    let mut log = world.open();
    log.save_vote(&committed(3, 2)).await.unwrap();
    world.disk.hold(true);
    let mut appending = Box::pin(log.blocking_append([entry(3, 2, 0)]));
    assert!(appending.as_mut().now_or_never().is_none());
    world.disk.hold(false);
    appending.await.unwrap();
    assert_eq!(log.progress().upto(), Some(entry(3, 2, 0).log_id));
    log.close();
}

/// A vote that nobody confirmed is no lead, and a lead of another term is over.
#[tokio::test]
async fn only_the_very_lead_that_made_an_entry_runs_ahead_with_it() {
    for vote in [Vote::new(3, OURS), committed(4, OURS)] {
        let world = World::new();
        let mut log = world.open();
        log.save_vote(&vote).await.unwrap();
        world.disk.hold(true);
        let mut appending = Box::pin(log.blocking_append([entry(3, OURS, 0)]));
        assert!(appending.as_mut().now_or_never().is_none(), "{vote}");
        world.disk.hold(false);
        appending.await.unwrap();
        log.close();
    }
}

#[tokio::test]
async fn once_another_has_the_vote_everything_from_the_lead_before_is_on_the_disk() {
    let world = World::new();
    let mut log = world.leading().await;
    world.disk.hold(true);
    log.blocking_append([entry(3, OURS, 0)]).await.unwrap();
    log.blocking_append([entry(3, OURS, 1)]).await.unwrap();
    let mut voting = log.clone();
    let (theirs, ours) = (committed(4, 2), entry(3, OURS, 1).log_id);
    let mut voting = Box::pin(voting.save_vote(&theirs));
    assert!(voting.as_mut().now_or_never().is_none());
    world.disk.hold(false);
    voting.await.unwrap();
    assert_eq!(log.progress().upto(), Some(ours));
    assert_eq!(world.after_power_failure().last(), Some(ours));
    log.close();
}

/// Others may have entries of that lead which are lost here: their ids must not be given away twice.
#[tokio::test]
async fn who_led_before_a_start_does_not_lead_after_it() {
    let world = World::new();
    let log = world.leading().await;
    log.close();
    let mut log = world.open();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, OURS)));
    log.save_vote(&committed(5, 2)).await.unwrap();
    log.close();
    let mut log = world.open();
    assert_eq!(log.read_vote().await.unwrap(), Some(committed(5, 2)));
    log.close();
}

#[tokio::test]
async fn nothing_is_written_down_as_committed_that_is_not_on_the_disk() {
    let world = World::new();
    let mut log = world.leading().await;
    log.save_committed(Some(entry(3, OURS, 1).log_id)).await.unwrap();
    log.blocking_append([entry(3, OURS, 0)]).await.unwrap();
    log.settle().await.unwrap();
    let mut after = World { disk: world.disk.copy(), identity: world.identity.clone() }.open();
    assert_eq!(after.read_committed().await.unwrap(), None);
    log.blocking_append([entry(3, OURS, 1)]).await.unwrap();
    log.settle().await.unwrap();
    let mut after = World { disk: world.disk.copy(), identity: world.identity.clone() }.open();
    assert_eq!(after.read_committed().await.unwrap(), Some(entry(3, OURS, 1).log_id));
    log.close();
}

#[tokio::test]
async fn what_was_dropped_is_waited_for_anew() {
    let world = World::new();
    let mut log = world.open();
    log.save_vote(&committed(3, 2)).await.unwrap();
    log.blocking_append([entry(3, 2, 0), entry(3, 2, 1)]).await.unwrap();
    log.truncate(entry(3, 2, 1).log_id).await.unwrap();
    log.save_vote(&committed(4, OURS)).await.unwrap();
    assert_eq!(log.progress().upto(), Some(entry(3, 2, 0).log_id));
    world.disk.hold(true);
    log.blocking_append([entry(4, OURS, 1)]).await.unwrap();
    assert!(log.progress().reach(1).now_or_never().is_none());
    world.disk.hold(false);
    log.progress().reach(1).await.unwrap();
    log.close();
}

#[tokio::test]
async fn a_disk_that_fails_behind_a_leader_is_told_to_who_waits_and_to_who_writes_next() {
    let world = World::new();
    let mut log = world.leading().await;
    world.disk.fail_next_sync();
    log.blocking_append([entry(3, OURS, 0)]).await.unwrap();
    let error = log.progress().reach(0).await.unwrap_err();
    assert!(error.to_string().contains("os error 5"), "{error}");
    log.blocking_append([entry(3, OURS, 1)]).await.unwrap_err();
    assert_eq!(log.progress().upto(), None);
    log.close();
    assert!(log.progress().reach(0).await.is_err());
}
