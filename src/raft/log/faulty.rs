//! A disk in memory that loses what was not synced, tears what was being written, and refuses when told to.

use super::{
    disk::{Disk, DiskFile},
    frame::SECTOR,
};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

/// Clones share the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<Inner>>, Arc<Condvar>);

#[derive(Debug, Default, Clone)]
struct Inner {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    /// Changes of names since the directory was synced.
    unsynced: Vec<NameChange>,
    next_file: u64,
    begun: bool,
    operations: u64,
    /// From this operation on nothing works any more: the machine stopped.
    stop_at: Option<u64>,
    /// Files may have so many bytes together.
    capacity: Option<u64>,
    failing_syncs: u64,
    held: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct Handle(FaultyDisk, u64);

impl FaultyDisk {
    /// Stops the machine at the given operation, counted from now.
    pub(super) fn stop_after(&self, operations: u64) {
        let mut inner = self.lock();
        inner.stop_at = Some(inner.operations + operations);
    }

    pub(super) fn stopped(&self) -> bool {
        let inner = self.lock();
        inner.stop_at.is_some_and(|at| inner.operations >= at)
    }

    pub(super) fn limit(&self, capacity: Option<u64>) {
        self.lock().capacity = capacity;
    }

    pub(super) fn used(&self) -> u64 {
        self.lock().used()
    }

    pub(super) fn fail_next_sync(&self) {
        self.lock().failing_syncs = 1;
    }

    /// Whether a sync waits until it is let go.
    pub(super) fn hold(&self, held: bool) {
        self.lock().held = held;
        self.1.notify_all();
    }

    /// The disk as it may be after the power failed: of what was not synced, any sectors and the first few names.
    pub(super) fn after_crash(&self, mut random: impl FnMut() -> u64) -> Self {
        let inner = self.lock();
        let mut after = Inner { names: inner.synced_names.clone(), ..Inner::default() };
        let kept = usize::try_from(random()).unwrap_or(0) % (inner.unsynced.len() + 1);
        for change in &inner.unsynced[..kept] {
            after.change(change);
        }
        (after.next_file, after.begun) = (inner.next_file, inner.begun);
        for (id, Content { now, synced }) in &inner.files {
            let longer = random().is_multiple_of(2);
            let mut image = synced.clone();
            if longer {
                image.resize(now.len().max(synced.len()), 0);
            }
            let sectors = image.chunks_mut(SECTOR).zip(now.chunks(SECTOR));
            for (old, new) in sectors {
                if random().is_multiple_of(2) && old.len() == new.len() {
                    old.copy_from_slice(new);
                }
            }
            after.files.insert(*id, Content { now: image.clone(), synced: image });
        }
        after.synced_names = after.names.clone();
        Self(Arc::new(Mutex::new(after)), Arc::default())
    }

    /// A copy, all of it synced.
    pub(super) fn copy(&self) -> Self {
        let inner = self.lock();
        let mut copy = Inner { next_file: inner.next_file, begun: inner.begun, ..Inner::default() };
        copy.names = inner.names.clone();
        copy.synced_names = inner.names.clone();
        for (id, Content { now, synced: _ }) in &inner.files {
            copy.files.insert(*id, Content { now: now.clone(), synced: now.clone() });
        }
        Self(Arc::new(Mutex::new(copy)), Arc::default())
    }

    /// Every file by name.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.lock();
        inner.names.iter().map(|(name, id)| (name.clone(), inner.files[id].now.clone())).collect()
    }

    /// Changes a file behind everyone's back.
    pub(super) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let id = inner.names[name];
        let content = inner.files.get_mut(&id).unwrap();
        change(&mut content.now);
        content.synced = content.now.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn operate<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.lock();
        if inner.stop_at.is_some_and(|at| inner.operations >= at) {
            return Err(io::Error::other("the machine has stopped"));
        }
        inner.operations += 1;
        work(&mut inner)
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].now.len() as u64).sum()
    }

    fn change(&mut self, change: &NameChange) {
        match change {
            NameChange::Create(name, id) => {
                self.names.insert(name.clone(), *id);
            }
            NameChange::Rename(from, to) => {
                let id = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), id);
            }
            NameChange::Remove(name) => {
                self.names.remove(name);
            }
        }
    }

    fn note(&mut self, change: NameChange) {
        self.change(&change);
        self.unsynced.push(change);
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.operate(|inner| Ok(inner.names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.operate(|inner| {
            inner.next_file += 1;
            let id = inner.next_file;
            inner.files.insert(id, Content::default());
            inner.note(NameChange::Create(name.to_owned(), id));
            Ok(Arc::new(Handle(self.clone(), id)) as Arc<dyn DiskFile>)
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.operate(|inner| {
            let id = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(Arc::new(Handle(self.clone(), id)) as Arc<dyn DiskFile>)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|inner| {
            inner.note(NameChange::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|inner| {
            inner.note(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.operate(|inner| {
            inner.synced_names = inner.names.clone();
            inner.unsynced.clear();
            Ok(())
        })
    }

    fn mark_begun(&self) -> io::Result<()> {
        self.operate(|inner| {
            inner.begun = true;
            Ok(())
        })
    }

    fn is_begun(&self) -> io::Result<bool> {
        self.operate(|inner| Ok(inner.begun))
    }

    fn free(&self) -> io::Result<u64> {
        let inner = self.lock();
        Ok(inner.capacity.map_or(u64::MAX, |most| most.saturating_sub(inner.used())))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/faulty").join(name)
    }
}

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        self.0.operate(|inner| Ok(inner.files[&self.1].now.len() as u64))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.operate(|inner| {
            let at = usize::try_from(offset).unwrap();
            let content = &inner.files[&self.1].now;
            bytes.copy_from_slice(
                content.get(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?,
            );
            Ok(())
        })
    }

    /// Stopping in the middle of a write leaves it to [`FaultyDisk::after_crash`] which sectors arrive.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut inner = self.0.lock();
        let stopping = inner.stop_at == Some(inner.operations);
        if inner.stop_at.is_some_and(|stop| inner.operations >= stop) && !stopping {
            return Err(io::Error::other("the machine has stopped"));
        }
        inner.operations += 1;
        let (used, capacity) = (inner.used(), inner.capacity);
        let content = inner.files.get_mut(&self.1).unwrap();
        let end = at + bytes.len();
        let growth = end.saturating_sub(content.now.len()) as u64;
        if growth > 0 && capacity.is_some_and(|most| used + growth > most) {
            return Err(io::Error::from_raw_os_error(28));
        }
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[at..end].copy_from_slice(bytes);
        if stopping { Err(io::Error::other("the machine has stopped")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.0.1.wait_while(self.0.lock(), |inner| inner.held).unwrap());
        self.0.operate(|inner| {
            if inner.failing_syncs > 0 {
                inner.failing_syncs -= 1;
                return Err(io::Error::from_raw_os_error(5));
            }
            let content = inner.files.get_mut(&self.1).unwrap();
            content.synced = content.now.clone();
            Ok(())
        })
    }
}
