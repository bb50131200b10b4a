//! Applies entries: to the state in memory at once, to the state file soon after.
//!
//! A thread writes what changed about once a second, or when much has gathered; until then the changes lie over the file
//! and reads see them there. Losing them costs nothing: the log has them, and is purged only after they are written.

use super::{
    digest::{Digest, Tally, Trail},
    log::{LogIdentity, Progress},
    snapshot::{self, Incoming, SnapshotData},
    state_file::{Changeset, Loaded, StateFile, StateFileError, View},
    types::{
        Batch, Entry, LogId, Outcomes, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
    },
    write_behind::{Shared, Unwritten},
};
use crate::{
    crypto::seal::{Sealed, WrappedKey},
    kit::{
        chain::chain,
        failpoint::{failpoint, skewed},
    },
    model::{object::Object, task::ObjectVersion},
    store::{Applied, Change, Entity, State},
};
use arc_swap::ArcSwap;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError,
    storage::RaftStateMachine,
};
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, atomic::AtomicU64},
    thread::JoinHandle,
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

/// Entries whose changes a slow listener may leave unread.
const FEED: usize = 1024;
/// Bytes of disk that redb may need beside what it is given.
const MARGIN: u64 = 2 << 20;
const CLOSED: &str = "the store is closed";

/// What one entry changed, in the order of the log, without bodies and remembered answers. Whoever hears of it finds it, or
/// what came of it since, with the store ([`super::Raft::state`]); with a state of its own, each entry that a listener leaves unread
/// would keep its share of the maps.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The entry's index in the log.
    pub index: u64,
    pub changes: Vec<Change>,
    /// Everything may have changed: a snapshot took the state's place.
    pub replaced: bool,
}

impl Changes {
    /// Waits for a change that concerns the caller. One that cannot be seen any more counts as such: everything may have changed.
    /// Says no if the store has stopped.
    pub async fn until(
        feed: &mut broadcast::Receiver<Arc<Self>>,
        concerns: impl Fn(&Change) -> bool,
    ) -> bool {
        loop {
            match feed.recv().await {
                Ok(heard) if heard.replaced || heard.changes.iter().any(&concerns) => return true,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }
}

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("there is no payload of {} {}", .0.object, .0.version)]
    Unknown(ObjectVersion),
    #[error("the payload cannot be read: {0}")]
    Read(String),
}

/// The state machine openraft applies to.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) shared: Arc<Shared>,
    /// Of the log that the entries come from, if it runs ahead of its disk.
    log: Option<Progress>,
    applied: Option<LogId>,
    membership: StoredMembership,
    digest: Digest,
}

/// The same for everyone else. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct MachineHandle {
    pub(super) shared: Arc<Shared>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Machine {
    /// Opens the state file, making it if it is missing, and starts its writer.
    ///
    /// # Errors
    /// [`StateFileError`]; nothing was changed then.
    pub(super) fn open(
        path: &Path,
        identity: Arc<LogIdentity>,
    ) -> Result<(Self, MachineHandle, Option<LogId>), StateFileError> {
        snapshot::sweep(path).map_err(|source| StateFileError::Io {
            doing: "clear unfinished snapshots away beside",
            path: path.to_owned(),
            source,
        })?;
        let (file, loaded) = StateFile::open(path, identity.clone())?;
        let Loaded { state, applied, membership, digest, installed } = loaded;
        let mut trail = Trail::default();
        trail.note(index_of(applied), digest);
        let shared = Arc::new(Shared {
            identity,
            path: path.to_owned(),
            state: ArcSwap::from_pointee(state),
            unwritten: Mutex::new(Unwritten {
                file: Some(Arc::new(file)),
                pending: Changeset::default(),
                writing: None,
                urgent: false,
                closing: false,
                full: None,
                broken: None,
                has_snapshot: false,
                rewrites: Vec::new(),
            }),
            wake: Condvar::new(),
            written: Condvar::new(),
            feed: broadcast::Sender::new(FEED),
            applied: watch::Sender::new(index_of(applied)),
            trail: Mutex::new(trail),
            margin: AtomicU64::new(MARGIN),
        });
        let writer = shared.clone();
        let writer = std::thread::Builder::new()
            .name("raft-state".into())
            .spawn(move || writer.write_behind())
            .map_err(|source| StateFileError::Io {
                doing: "start writing",
                path: path.to_owned(),
                source,
            })?;
        let writer = Arc::new(Mutex::new(Some(writer)));
        let handle = MachineHandle { shared: shared.clone(), writer };
        Ok((Self { shared, log: None, applied, membership, digest }, handle, installed))
    }

    pub(super) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// From now on applies nothing that the log does not have on its disk ([`super::log::LogStore::run_ahead`]).
    pub(super) fn follow(&mut self, log: Progress) {
        self.log = Some(log);
    }

    fn apply_batch(state: &mut State, batch: &Batch, index: u64, to: &mut Work) -> Outcomes {
        let mut outcomes = Vec::with_capacity(batch.commands().len());
        let mut heard = Vec::new();
        for stamped in batch.commands() {
            let Applied { outcome, changes } = state.apply(stamped);
            let changes = skew(state, changes);
            changes.iter().for_each(|change| to.tally.take(change));
            outcomes.push(outcome);
            heard.extend(changes.into_iter().filter_map(|change| to.changeset.take(change)));
        }
        if !heard.is_empty() {
            to.feed.push(Changes { index, changes: heard, replaced: false });
        }
        Outcomes(outcomes)
    }

    async fn flush(&self) -> Result<(), StorageError> {
        let shared = self.shared.clone();
        flush(shared).await
    }
}

fn index_of(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index)
}

/// What applying gathers before anybody sees it.
struct Work {
    changeset: Changeset,
    feed: Vec<Changes>,
    tally: Tally,
    trail: Vec<(u64, Digest)>,
}

impl Work {
    fn new(tally: Tally) -> Self {
        Self { changeset: Changeset::default(), feed: Vec::new(), tally, trail: Vec::new() }
    }
}

/// Where a test wants a manager that goes astray: makes another row of the object of a name than the entry says.
fn skew(state: &mut State, changes: Vec<Change>) -> Vec<Change> {
    let Some(name) = skewed() else { return changes };
    let other = |change: Change| match change {
        Change::Put(Entity::Object(object)) if object.name.as_str() == name => {
            let mut object = Object::clone(&object);
            object.labels.insert("skewed".to_owned(), "1".to_owned());
            let change = Change::Put(Entity::Object(Arc::new(object)));
            state.replay(&change);
            change
        }
        change => change,
    };
    changes.into_iter().map(other).collect()
}

async fn flush(shared: Arc<Shared>) -> Result<(), StorageError> {
    tokio::task::spawn_blocking(move || shared.flush())
        .await
        .map_err(|e| StorageIOError::write_state_machine(AnyError::new(&e)))?
        .map_err(|why| StorageIOError::write_state_machine(AnyError::error(why)).into())
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if let (Some(log), Some(last)) = (&self.log, entries.last()) {
            let flushed = log.reach(last.log_id.index).await;
            flushed.map_err(|e| StorageIOError::apply(last.log_id, AnyError::new(&e)))?;
        }
        let mut state = State::clone(&self.shared.state.load());
        let mut work = Work::new(Tally::new(self.digest, state.clone()));
        let mut answers = Vec::new();
        for entry in entries {
            answers.push(match entry.payload {
                EntryPayload::Blank => Outcomes::default(),
                EntryPayload::Normal(batch) => {
                    Self::apply_batch(&mut state, &batch, entry.log_id.index, &mut work)
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcomes::default()
                }
            });
            self.applied = Some(entry.log_id);
            work.trail.push((entry.log_id.index, work.tally.digest()));
        }
        let Work { mut changeset, feed, tally, trail } = work;
        self.digest = tally.digest();
        changeset.digest = self.digest;
        changeset.dirty = true;
        changeset.applied = self.applied;
        changeset.membership = self.membership.clone();
        let crowded = self
            .shared
            .add(changeset, Arc::new(state))
            .map_err(|why| StorageIOError::write_state_machine(AnyError::error(why)))?;
        {
            let mut kept = self.shared.trail();
            trail.into_iter().for_each(|(index, digest)| kept.note(index, digest));
        }
        self.shared.applied.send_replace(index_of(self.applied));
        for changes in feed {
            // Nobody may be listening.
            let _nobody = self.shared.feed.send(Arc::new(changes));
        }
        if crowded {
            self.flush().await?;
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(self.shared.clone())
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        let (path, identity) = (self.shared.path.clone(), self.shared.identity.clone());
        let begun = tokio::task::spawn_blocking(move || Incoming::begin(&path, identity)).await;
        let incoming = begun
            .map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)))?
            .map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)))?;
        Ok(Box::new(SnapshotData::Incoming(Box::new(incoming))))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        let (shared, wanted) = (self.shared.clone(), meta.clone());
        let installed =
            tokio::task::spawn_blocking(move || shared.install(&wanted, *snapshot)).await;
        let failed = |e: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), e);
        let installed = installed.map_err(|e| failed(AnyError::new(&e)))?;
        self.digest = installed.map_err(|e| failed(AnyError::new(&e)))?;
        self.applied = meta.last_log_id;
        self.shared.applied.send_replace(index_of(self.applied));
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        if !self.shared.lock().has_snapshot {
            return Ok(None);
        }
        Builder(self.shared.clone()).build_snapshot().await.map(Some)
    }
}

/// Takes snapshots: everything applied is written down, and a view of the file is the snapshot.
#[derive(Debug)]
pub(super) struct Builder(Arc<Shared>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        flush(self.0.clone()).await?;
        let view = {
            let mut unwritten = self.0.lock();
            unwritten.has_snapshot = true;
            unwritten.file.as_ref().map(StateFile::view)
        };
        let failed = |e: AnyError| StorageIOError::read_snapshot(None, e);
        let view: View = view
            .ok_or_else(|| failed(AnyError::error(CLOSED)))?
            .map_err(|e| failed(AnyError::new(&e)))?;
        let meta = snapshot::meta(&view);
        failpoint("snapshot.build");
        Ok(Snapshot { meta, snapshot: Box::new(SnapshotData::Outgoing(Box::new(view))) })
    }
}

impl MachineHandle {
    pub(super) fn identity(&self) -> Arc<LogIdentity> {
        self.shared.identity.clone()
    }

    /// Everything applied, as it is now, while writes go on.
    pub(super) async fn view(&self) -> Result<Box<View>, StorageError> {
        match *Builder(self.shared.clone()).build_snapshot().await?.snapshot {
            SnapshotData::Outgoing(view) => Ok(view),
            SnapshotData::Incoming(_) => unreachable!("a builder takes them from the file"),
        }
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.shared.feed.subscribe()
    }

    /// The index of the last entry that the state has; 0 if none.
    pub(super) fn applied(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    /// Waits until the state has this entry; says no if the store is closed before.
    pub(super) async fn wait_applied(&self, index: u64) -> bool {
        self.shared.applied.subscribe().wait_for(|applied| *applied >= index).await.is_ok()
    }

    /// The sealed payload of a version, written or not yet. Reads the disk. The state that is read afterwards has the
    /// keyring's terms that open it, unless they were dropped since.
    ///
    /// # Errors
    /// [`BodyError`].
    pub(super) fn body(&self, version: &ObjectVersion) -> Result<Sealed, BodyError> {
        let Found { key, body, file } = self.find(version)?;
        let body = match body {
            Some(body) => Vec::clone(&body),
            None => from_file(file.as_deref(), version, StateFile::body)?,
        };
        let key = match key {
            Some(key) => key,
            None => from_file(file.as_deref(), version, StateFile::key)?,
        };
        Ok(Sealed::new(key, body))
    }

    /// The data key of a version, as it is wrapped; otherwise like [`MachineHandle::body`].
    ///
    /// # Errors
    /// [`BodyError`].
    pub(super) fn key(&self, version: &ObjectVersion) -> Result<WrappedKey, BodyError> {
        let Found { key, body: _, file } = self.find(version)?;
        match key {
            Some(key) => Ok(key),
            None => from_file(file.as_deref(), version, StateFile::key),
        }
    }

    /// Looks at what is not written yet.
    fn find(&self, version: &ObjectVersion) -> Result<Found, BodyError> {
        let unwritten = self.shared.lock();
        let mut found = Found { key: None, body: None, file: unwritten.file.clone() };
        let layers = [Some(&unwritten.pending), unwritten.writing.as_deref()];
        for layer in layers.into_iter().flatten() {
            if found.body.is_none()
                && let Some(body) = layer.bodies.get(version)
            {
                found.body = Some(Arc::clone(body.as_ref().ok_or(BodyError::Unknown(*version))?));
            }
            if found.key.is_none()
                && let Some(key) = layer.keys.get(version)
            {
                found.key = Some(key.clone().ok_or(BodyError::Unknown(*version))?);
            }
        }
        Ok(found)
    }

    /// Why no more changes should be taken on, if the state file's disk is full.
    pub(super) fn full(&self) -> Option<String> {
        self.shared.lock().full.clone()
    }

    /// Writes what is left and ends the writer; blocks until it has.
    pub(super) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
        let writer = self.writer.lock().expect("no holder of this lock panics").take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of the state file panicked");
        }
        // Others may hold on to this handle; the file must be free for whoever opens it next.
        self.shared.lock().file = None;
        self.shared.written.notify_all();
    }
}

/// What of a version is in memory, and the file that has the rest.
struct Found {
    key: Option<WrappedKey>,
    body: Option<Arc<Vec<u8>>>,
    file: Option<Arc<StateFile>>,
}

fn from_file<T>(
    file: Option<&StateFile>,
    version: &ObjectVersion,
    read: impl FnOnce(&StateFile, &ObjectVersion) -> Result<Option<T>, StateFileError>,
) -> Result<T, BodyError> {
    let Some(file) = file else { return Err(BodyError::Read(CLOSED.into())) };
    match read(file, version) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(BodyError::Unknown(*version)),
        Err(error) => Err(BodyError::Read(chain(&error).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{
            clock::Timestamp,
            id::{ClientId, ObjectId},
        },
        model::{
            Labels,
            command::{Command, RequestId, Stamped},
            object::{Kind, VersionNumber},
        },
        raft::testing::identity,
    };
    use openraft::{LeaderId, LogId as Id};
    use std::{sync::atomic::Ordering, time::Duration};
    use tempfile::TempDir;

    fn create(number: u8) -> (ObjectVersion, Entry) {
        let object = ObjectId::from_random([number; 17]);
        let sealed = Sealed { term: 1, wrapped_key: vec![1], body: vec![number; 100] };
        let command = Command::CreateObject {
            kind: Kind::Secret,
            id: object,
            name: format!("secret-{number}").parse().unwrap(),
            labels: Labels::new(),
            size: 10,
            sealed,
        };
        let stamped = Stamped { request: None, at: Timestamp(1), command };
        let payload = EntryPayload::Normal(Batch::new(vec![stamped], 100));
        let log_id = Id::new(LeaderId::new(1, 1), u64::from(number));
        (ObjectVersion { object, version: VersionNumber::FIRST }, Entry { log_id, payload })
    }

    #[tokio::test]
    async fn a_full_disk_delays_the_state_file_and_loses_nothing() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity.clone()).unwrap();
        machine.apply([create(1).1]).await.unwrap();
        machine.flush().await.unwrap();
        assert_eq!(handle.full(), None);

        machine.shared.margin.store(u64::MAX / 2, Ordering::Relaxed);
        machine.apply([create(2).1]).await.unwrap();
        machine.flush().await.unwrap();
        assert!(handle.full().unwrap().contains("free"), "{:?}", handle.full());
        for number in [1, 2] {
            assert_eq!(handle.body(&create(number).0).unwrap().body, vec![number; 100]);
        }
        // A snapshot now is one of what was written, so the log keeps the rest.
        let snapshot = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        assert_eq!(snapshot.meta.last_log_id, Some(create(1).1.log_id));
        drop(snapshot);

        machine.shared.margin.store(0, Ordering::Relaxed);
        while handle.full().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        machine.flush().await.unwrap();
        handle.close();
        let (machine, handle, _) = Machine::open(&path, identity).unwrap();
        assert_eq!(machine.applied(), Some(create(2).1.log_id));
        assert_eq!(handle.body(&create(2).0).unwrap().body, vec![2; 100]);
        handle.close();
    }

    #[tokio::test]
    async fn a_rewrapped_key_is_read_wherever_it_is_and_the_body_is_not_written_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity.clone()).unwrap();
        let (version, entry) = create(1);
        machine.apply([entry]).await.unwrap();
        machine.flush().await.unwrap();
        let key = |term| WrappedKey { term, wrapped: vec![9; 3] };
        let digest = machine.digest;
        let rewrap = |term| {
            let mut changes = Changeset { digest, ..Changeset::default() };
            let ObjectVersion { object, version } = version;
            changes.take(Change::PutKey { object, version, key: key(term) });
            assert!(changes.bodies.is_empty());
            changes
        };
        // Twice before anything is written, then as it lies in the file.
        for term in [2, 3] {
            let state = machine.shared.state.load_full();
            machine.shared.add(rewrap(term), state).unwrap();
            assert_eq!(handle.key(&version).unwrap(), key(term));
            assert_eq!(handle.body(&version).unwrap(), Sealed::new(key(term), vec![1; 100]));
        }
        machine.flush().await.unwrap();
        assert!(!machine.shared.lock().pending.dirty);
        assert_eq!(handle.body(&version).unwrap(), Sealed::new(key(3), vec![1; 100]));
        handle.close();
        let (_, handle, _) = Machine::open(&path, identity).unwrap();
        assert_eq!(handle.body(&version).unwrap(), Sealed::new(key(3), vec![1; 100]));
        let view = handle.view().await.unwrap();
        let mut seen = Vec::new();
        view.each::<StateFileError>(
            |_| Ok(()),
            |at, sealed| {
                seen.push((at, sealed));
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, [(version, Sealed::new(key(3), vec![1; 100]))]);
        drop(view);
        handle.close();
    }

    #[tokio::test]
    async fn what_a_listener_has_not_read_keeps_neither_states_nor_answers() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity).unwrap();
        let mut unread = handle.changes();
        let (version, mut entry) = create(1);
        let EntryPayload::Normal(batch) = &mut entry.payload else { panic!() };
        let request = Some(RequestId { client: ClientId::random(), sequence: 1 });
        let asked = batch.commands().iter().map(|one| Stamped { request, ..one.clone() });
        *batch = Batch::new(asked.collect(), 100);
        machine.apply([entry]).await.unwrap();
        let then = Arc::downgrade(&handle.state());
        machine.apply([create(2).1]).await.unwrap();
        assert!(then.upgrade().is_none());
        let heard = unread.recv().await.unwrap();
        match &heard.changes[..] {
            [Change::Put(Entity::Object(object))] => assert_eq!(object.id, version.object),
            other => panic!("{other:?}"),
        }
        handle.close();
    }

    #[tokio::test]
    async fn a_state_file_that_was_taken_away_from_redb_is_opened_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.redb");
        let identity = identity(1);
        let (mut machine, handle, _) = Machine::open(&path, identity).unwrap();
        machine.apply([create(1).1]).await.unwrap();
        machine.flush().await.unwrap();
        machine.shared.lock().file = None;
        machine.apply([create(2).1]).await.unwrap();
        machine.flush().await.unwrap();
        for number in [1, 2] {
            assert_eq!(handle.body(&create(number).0).unwrap().body, vec![number; 100]);
        }
        handle.close();
    }
}
