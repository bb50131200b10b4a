//! The log under a disk that loses, tears, flips and refuses: what was acknowledged is there, or the log does not open.

use super::{LogError, LogIdentity, LogSizes, LogStore, disk::Disk, faulty::FaultyDisk, segment};
use crate::{
    crypto::{key::Key, seal::Sealed},
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ObjectId},
    },
    model::{
        Labels,
        command::{Command, Stamped},
        object::Kind,
    },
    raft::{
        testing::identity,
        types::{Batch, Entry, LogId, Vote},
    },
};
use openraft::{
    EntryPayload, LeaderId, RaftLogReader,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use std::{collections::BTreeMap, sync::Arc};

const SIZES: LogSizes = LogSizes {
    segment: 6 << 10,
    first_segment: 4 << 10,
    cache: 2 << 10,
    read: 1 << 20,
    reserve: 0,
    margin: 0,
};

fn open(disk: &FaultyDisk, identity: &Arc<LogIdentity>) -> Result<LogStore, LogError> {
    LogStore::on(Arc::new(disk.clone()), identity.clone(), SIZES, None)
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, 1), index)
}

/// Never zero, so that no sector of an entry is.
fn fill(index: u64) -> u8 {
    u8::try_from(index).unwrap() | 1
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let sealed = Sealed { term: 1, wrapped_key: vec![7; 8], body: vec![fill(index); bytes] };
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id: ObjectId::from_random([fill(index); 17]),
        name: format!("name-{index}").parse().unwrap(),
        labels: Labels::new(),
        size: 1,
        sealed,
    };
    let batch = Batch::new(vec![Stamped { request: None, at: Timestamp(5), command }], bytes);
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(batch) }
}

/// What a log should hold. Entries are not forgotten when they are purged.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    entries: BTreeMap<u64, (LogId, usize)>,
    purged: Option<LogId>,
}

#[derive(Debug, Clone)]
enum Step {
    Vote(u64),
    /// Entries of this term, each with so many bytes.
    Append(u64, Vec<usize>),
    Truncate(u64),
    Purge(u64),
    /// A new segment.
    Turn,
    Commit(u64),
}

/// Crosses several segments, some entries fill one alone.
fn story() -> Vec<Step> {
    use Step::{Append, Commit, Purge, Truncate, Turn, Vote};
    vec![
        Vote(1),
        Append(1, vec![10, 300]),
        Append(1, vec![1200]),
        Commit(2),
        Append(1, vec![100, 100, 100]),
        Vote(2),
        Truncate(4),
        Append(2, vec![50]),
        Append(2, vec![9000]),
        Append(2, vec![700, 20]),
        Purge(3),
        Append(2, vec![2500]),
        Commit(7),
        Vote(3),
        Append(3, vec![40]),
        Turn,
        Turn,
        Purge(7),
        Append(3, vec![3000, 1]),
        Truncate(10),
        Vote(4),
        Append(4, vec![64]),
        // The segment that holds the last vote goes; the vote must not.
        Append(4, vec![5000]),
        Append(4, vec![5000]),
        Purge(11),
        Append(4, vec![30]),
        Turn,
        Append(4, vec![30]),
        Vote(5),
        Turn,
    ]
}

impl Model {
    fn after(&self, step: &Step) -> Self {
        let mut model = self.clone();
        match step {
            Step::Vote(term) => model.vote = Some(Vote::new(*term, 1)),
            Step::Append(term, sizes) => {
                for bytes in sizes {
                    let index = model.entries.last_key_value().map_or(0, |(last, _)| last + 1);
                    model.entries.insert(index, (log_id(*term, index), *bytes));
                }
            }
            Step::Truncate(from) => drop(model.entries.split_off(from)),
            Step::Purge(upto) => model.purged = Some(model.entries[upto].0),
            Step::Commit(_) | Step::Turn => {}
        }
        model
    }

    /// What a reader sees of it.
    fn visible(&self, purged: Option<LogId>) -> Vec<(LogId, usize)> {
        let from = purged.map_or(0, |id| id.index + 1);
        self.entries.range(from..).map(|(_, entry)| *entry).collect()
    }
}

async fn carry_out(log: &mut LogStore, before: &Model, step: &Step) -> Result<(), String> {
    let result = match step {
        Step::Vote(term) => log.save_vote(&Vote::new(*term, 1)).await,
        Step::Append(..) => {
            let old = before.entries.len();
            let new = before.after(step).entries;
            let new =
                new.into_values().skip(old).map(|(id, b)| entry(id.leader_id.term, id.index, b));
            log.blocking_append(new.collect::<Vec<_>>()).await
        }
        Step::Truncate(from) => log.truncate(before.entries[from].0).await,
        Step::Purge(upto) => log.purge(before.entries[upto].0).await,
        Step::Turn => return log.turn().await.map_err(|error| error.to_string()),
        Step::Commit(upto) => log.save_committed(Some(before.entries[upto].0)).await,
    };
    result.map_err(|e| e.to_string())
}

/// Vote, purge mark, and every entry with the size of its body.
async fn look(log: &mut LogStore) -> (Option<Vote>, Option<LogId>, Vec<(LogId, usize)>) {
    let entries = log.try_get_log_entries(..).await.unwrap();
    let sizes = entries.iter().map(|entry| {
        let EntryPayload::Normal(batch) = &entry.payload else { panic!("{entry:?}") };
        let Command::CreateObject { sealed, .. } = &batch.commands()[0].command else { panic!() };
        assert!(sealed.body.iter().all(|b| *b == fill(entry.log_id.index)));
        (entry.log_id, sealed.body.len())
    });
    let sizes = sizes.collect();
    let purged = log.get_log_state().await.unwrap().last_purged_log_id;
    (log.read_vote().await.unwrap(), purged, sizes)
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    }
}

/// Runs the story until it ends or the machine stops; returns every state the disk may hold from the last promise on.
async fn run(log: &mut LogStore, steps: &[Step]) -> (Vec<Model>, bool) {
    let mut possible = vec![Model::default()];
    for step in steps {
        let before = possible.last().unwrap().clone();
        let after = before.after(step);
        let done = carry_out(log, &before, step).await;
        possible.push(after.clone());
        match done {
            // Truncations and marks travel with the next frame.
            Ok(()) if matches!(step, Step::Vote(_) | Step::Append(..)) => possible = vec![after],
            Ok(()) => {}
            Err(_) => return (possible, false),
        }
    }
    (possible, true)
}

#[tokio::test]
async fn whatever_moment_the_power_fails_what_was_acknowledged_is_there() {
    let identity = identity(1);
    let mut operation = 0;
    loop {
        let disk = FaultyDisk::default();
        disk.stop_after(operation);
        let mut possible = vec![Model::default()];
        let mut finished = false;
        if let Ok(mut log) = open(&disk, &identity) {
            (possible, finished) = run(&mut log, &story()).await;
            log.close();
        }
        for seed in 0..6 {
            let disk = disk.after_crash(random(operation * 31 + seed));
            let what = format!("stopped at operation {operation}, crash {seed}");
            let mut log = open(&disk, &identity).unwrap_or_else(|e| panic!("{what}: {e}"));
            let (vote, purged, entries) = look(&mut log).await;
            let fits =
                |m: &Model| m.vote == vote && m.visible(purged) == entries && purged <= m.purged;
            let model = possible.iter().find(|m| fits(m));
            let model = model.unwrap_or_else(|| {
                panic!("{what}: found {vote:?} {purged:?} {entries:?}, possible {possible:?}")
            });
            // And it goes on from there.
            let next = Step::Append(9, vec![77, 78]);
            carry_out(&mut log, model, &next).await.unwrap();
            log.close();
            let mut log = open(&disk, &identity).unwrap_or_else(|e| panic!("{what}, again: {e}"));
            assert_eq!(look(&mut log).await.2, model.after(&next).visible(purged), "{what}");
            log.close();
        }
        if finished && !disk.stopped() {
            break;
        }
        operation += 1;
    }
    assert!(operation > 60, "the story has more than {operation} operations");
}

/// A log of a few frames, and the disk before its last batch came.
async fn log_before_and_after_last_batch(identity: &Arc<LogIdentity>) -> (FaultyDisk, FaultyDisk) {
    let disk = FaultyDisk::default();
    let mut log = open(&disk, identity).unwrap();
    let steps = [Step::Vote(1), Step::Append(1, vec![30]), Step::Append(1, vec![200, 10])];
    let (possible, _) = run(&mut log, &steps).await;
    let before = disk.copy();
    carry_out(&mut log, &possible[0], &Step::Append(1, vec![600, 5])).await.unwrap();
    let after = disk.copy();
    log.close();
    (before, after)
}

#[tokio::test]
async fn a_last_batch_torn_at_any_byte_is_dropped_and_the_log_goes_on() {
    let identity = identity(1);
    let (before, after) = log_before_and_after_last_batch(&identity).await;
    let name = segment::name(1);
    let (old, new) = (&before.contents()[&name], &after.contents()[&name]);
    let written: Vec<usize> = (0..new.len()).filter(|at| old[*at] != new[*at]).collect();
    let (first, last) = (written[0], written[written.len() - 1]);
    assert!(last - first > 600);
    for cut in first..=last {
        let disk = after.copy();
        disk.tamper(&name, |bytes| bytes[cut..=last].fill(0));
        let mut log = open(&disk, &identity).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        assert_eq!(look(&mut log).await.2.len(), 3, "cut at {cut}");
        if cut % 37 == 0 {
            log.blocking_append([entry(2, 3, 44)]).await.unwrap();
            log.close();
            log = open(&disk, &identity).unwrap();
            assert_eq!(look(&mut log).await.2[3], (log_id(2, 3), 44));
        }
        log.close();
    }
}

#[tokio::test]
async fn a_flipped_bit_keeps_the_log_shut_and_changes_nothing() {
    let identity = identity(1);
    let disk = FaultyDisk::default();
    let mut log = open(&disk, &identity).unwrap();
    let (possible, _) = run(&mut log, &story()[..9]).await;
    log.close();
    let whole = disk.copy();
    let mut refused = 0;
    for (name, bytes) in whole.contents() {
        if segment::number(&name).is_none() {
            continue;
        }
        for at in (0..bytes.len()).step_by(7) {
            let disk = whole.copy();
            disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            let tampered = disk.contents();
            match open(&disk, &identity) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.hint().is_empty());
                    assert_eq!(disk.contents(), tampered, "{name} byte {at}: {error}");
                }
                // Zeros between frames say nothing.
                Ok(mut log) => {
                    assert_eq!(bytes[at], 0, "{name} byte {at}");
                    let (vote, purged, entries) = look(&mut log).await;
                    assert_eq!(vote, possible[0].vote);
                    assert_eq!(entries, possible[0].visible(purged), "{name} byte {at}");
                    log.close();
                }
            }
        }
    }
    assert!(refused > 500, "only {refused} flips mattered");
}

#[tokio::test]
async fn missing_short_or_foreign_segments_keep_the_log_shut() {
    let ours = identity(1);
    let disk = FaultyDisk::default();
    let mut log = open(&disk, &ours).unwrap();
    run(&mut log, &story()[..10]).await;
    log.close();
    let names: Vec<String> =
        disk.contents().into_keys().filter(|name| segment::number(name).is_some()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in &names[..names.len() - 1] {
        let disk = disk.copy();
        disk.remove(name).unwrap();
        let error = open(&disk, &ours).map(|log| log.close()).unwrap_err();
        assert!(matches!(error, LogError::Missing { .. }), "{name}: {error}");
    }
    for name in &names {
        let disk = disk.copy();
        disk.tamper(name, |bytes| bytes.truncate(bytes.len() - 1));
        let error = open(&disk, &ours).map(|log| log.close()).unwrap_err();
        assert!(matches!(error, LogError::Damaged { .. }), "{name}: {error}");
    }
    let other_key = LogIdentity { key: Arc::new(Key::random().into()), ..*ours };
    let other_node = LogIdentity { node: NodeId::random(), key: ours.key.clone(), ..*ours };
    let other_cluster =
        LogIdentity { cluster: ClusterId::random(), key: ours.key.clone(), ..*ours };
    for foreign in [other_key, other_node, other_cluster] {
        let error = open(&disk, &Arc::new(foreign)).map(|log| log.close()).unwrap_err();
        assert!(matches!(error, LogError::Foreign { .. }), "{error}");
    }
}

#[tokio::test]
async fn swapped_segments_and_frames_are_not_accepted() {
    let identity = identity(1);
    let (before, after) = log_before_and_after_last_batch(&identity).await;
    let name = segment::name(1);
    let (old, new) = (&before.contents()[&name], &after.contents()[&name]);
    let last = (0..new.len()).find(|at| old[*at] != new[*at]).unwrap();
    // The last frame in the place of the one before it, with every checksum intact.
    let frame = new[last..].to_vec();
    let disk = after.copy();
    disk.tamper(&name, |bytes| {
        let earlier =
            bytes[..last].chunks(512).rposition(|sector| sector.starts_with(b"SFRM")).unwrap()
                * 512;
        let size = bytes.len();
        bytes.truncate(earlier);
        bytes.extend_from_slice(&frame);
        bytes.resize(size, 0);
    });
    let error = open(&disk, &identity).map(|log| log.close()).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let identity = identity(1);
    let disk = FaultyDisk::default();
    let mut log = open(&disk, &identity).unwrap();
    log.blocking_append([entry(1, 0, 10)]).await.unwrap();
    let mut failed = None;
    for index in 1..20 {
        // The sync of the next spare may be the one that fails; then the next one is ours.
        disk.fail_next_sync();
        if let Err(error) = log.blocking_append([entry(1, index, 10)]).await {
            failed = Some((index, error));
            break;
        }
    }
    let (index, error) = failed.unwrap();
    assert!(error.to_string().contains("os error 5"), "{error}");
    log.blocking_append([entry(1, index + 1, 10)]).await.unwrap_err();
    log.save_vote(&Vote::new(9, 1)).await.unwrap_err();
    log.close();
    for seed in 0..8 {
        let disk = disk.after_crash(random(seed));
        let mut log = open(&disk, &identity).unwrap();
        let (vote, _, entries) = look(&mut log).await;
        assert_eq!(vote, None);
        assert!(entries.len() as u64 >= index, "{entries:?}");
        log.close();
    }
}

#[tokio::test]
async fn a_full_disk_is_noticed_before_anything_is_written_and_heals() {
    let identity = identity(1);
    let disk = FaultyDisk::default();
    let mut log = open(&disk, &identity).unwrap();
    log.blocking_append([entry(1, 0, 10)]).await.unwrap();
    disk.limit(Some(disk.used()));
    let mut index = 1;
    let full = loop {
        match log.check_room(1000) {
            Ok(()) => log.blocking_append([entry(1, index, 1000)]).await.unwrap(),
            Err(full) => break full,
        }
        index += 1;
        assert!(index < 100, "the disk never fills");
    };
    assert!(full.to_string().contains("bytes are free"), "{full}");
    let disk_now = disk.copy();
    let mut again = LogStore::on(Arc::new(disk_now), identity.clone(), SIZES, None).unwrap();
    assert_eq!(look(&mut again).await.2.len() as u64, index);
    again.close();
    disk.limit(None);
    while log.check_room(1000).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    log.blocking_append([entry(1, index, 1000)]).await.unwrap();
    assert_eq!(look(&mut log).await.2.len() as u64, index + 1);
    log.close();
}

#[tokio::test]
async fn a_log_does_not_open_on_a_full_disk_and_says_so() {
    let disk = FaultyDisk::default();
    disk.limit(Some(100));
    let error = open(&disk, &identity(1)).map(|log| log.close()).unwrap_err();
    assert!(error.hint().contains("space"), "{error}");
    assert_eq!(disk.used(), 0);
}

#[tokio::test]
async fn reads_are_capped_by_bytes_but_give_one_entry_at_least() {
    let disk = FaultyDisk::default();
    let sizes = LogSizes { read: 500, ..SIZES };
    let mut log = LogStore::on(Arc::new(disk), identity(1), sizes, None).unwrap();
    log.blocking_append((0..6).map(|i| entry(1, i, 100))).await.unwrap();
    log.blocking_append([entry(1, 6, 3000)]).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 7).await.unwrap().len(), 2);
    assert_eq!(log.limited_get_log_entries(6, 7).await.unwrap().len(), 1);
    assert_eq!(log.try_get_log_entries(0..7).await.unwrap().len(), 7);
    log.close();
}

#[tokio::test]
async fn a_log_that_was_begun_and_lost_all_its_segments_is_no_fresh_one() {
    let (disk, identity) = (FaultyDisk::default(), identity(1));
    let log = open(&disk, &identity).unwrap();
    assert!(!disk.is_begun().unwrap(), "nobody relies on it yet");
    log.close();
    let mut log = open(&disk, &identity).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    log.close();
    for name in disk.contents().into_keys() {
        disk.remove(&name).unwrap();
    }
    let error = open(&disk, &identity).unwrap_err();
    assert!(matches!(error, LogError::Missing { .. }) && error.is_damage(), "{error}");
}
