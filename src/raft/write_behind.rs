//! Brings what was applied to the state file, soon after: the thread that writes, and what waits for it.

use super::{
    digest::{Digest, Trail},
    log::LogIdentity,
    machine::Changes,
    shrink::{self, RewriteError},
    snapshot::{self, Incoming, SnapshotData, SnapshotError},
    state_file::{Changeset, Loaded, StateFile, StateFileError},
    types::SnapshotMeta,
};
use crate::{
    kit::{chain::chain, failpoint::failpoint, os::give_back_memory},
    store::State,
};
use arc_swap::ArcSwap;
use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{broadcast, oneshot, watch};

/// A change reaches the state file at the latest this long after it was applied, if the disk keeps up.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Changes of this many bytes are written at once.
const FLUSH_BYTES: usize = 16 << 20;
/// So many bytes written leave memory behind that nothing needs any more, in pieces; it goes back to the kernel once
/// there is little to write.
const LOAD_BYTES: usize = 16 << 20;
/// A round that writes less than this is a quiet one.
const QUIET_BYTES: usize = 1 << 20;
/// Left on the disk when the state file is written anew beside itself.
const MARGIN: u64 = 64 << 20;
/// With this many bytes unwritten, applying waits for the disk.
const PENDING_BYTES: usize = 48 << 20;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Arc<LogIdentity>,
    pub(super) path: PathBuf,
    pub(super) state: ArcSwap<State>,
    pub(super) unwritten: Mutex<Unwritten>,
    /// Something for the writer.
    pub(super) wake: Condvar,
    /// Something from the writer.
    pub(super) written: Condvar,
    pub(super) feed: broadcast::Sender<Arc<Changes>>,
    /// The last entry that `state` has.
    pub(super) applied: watch::Sender<u64>,
    /// The digests after the last entries.
    pub(super) trail: Mutex<Trail>,
    /// Bytes left free on the disk when changes are written; beside them redb needs room to work.
    pub(super) margin: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Unwritten {
    /// Unset once it is closed.
    pub(super) file: Option<Arc<StateFile>>,
    pub(super) pending: Changeset,
    /// Being written; older than `pending`, newer than the file.
    pub(super) writing: Option<Arc<Changeset>>,
    /// Somebody waits for everything to be written.
    pub(super) urgent: bool,
    pub(super) closing: bool,
    /// The disk is full; it is tried again.
    pub(super) full: Option<String>,
    /// The file cannot be written any more.
    pub(super) broken: Option<String>,
    /// A snapshot was taken or installed since the start.
    pub(super) has_snapshot: bool,
    /// Whoever wants the file to be written anew. Nobody any more once the writer has ended.
    pub(super) rewrites: Vec<oneshot::Sender<Result<(), RewriteError>>>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().expect("no holder of this lock panics")
    }

    pub(super) fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.lock().expect("no holder of this lock panics")
    }

    /// Adds changes to be written and shows the state after them; says whether so many wait that the caller should. Under
    /// one lock: whoever sees the state finds what it speaks of, and whoever has read a body sees the terms that open it.
    pub(super) fn add(&self, changes: Changeset, state: Arc<State>) -> Result<bool, String> {
        let mut unwritten = self.lock();
        if let Some(why) = &unwritten.broken {
            return Err(why.clone());
        }
        let was_clean = !unwritten.pending.dirty;
        unwritten.pending.merge(changes);
        self.state.store(state);
        if was_clean || unwritten.pending.bytes >= FLUSH_BYTES {
            self.wake.notify_all();
        }
        Ok(unwritten.pending.bytes >= PENDING_BYTES && unwritten.full.is_none())
    }

    /// Waits until everything applied so far is in the file, or until the disk proves to be full.
    pub(super) fn flush(&self) -> Result<(), String> {
        let mut unwritten = self.lock();
        loop {
            if let Some(why) = &unwritten.broken {
                return Err(why.clone());
            }
            if unwritten.full.is_some() || unwritten.closing {
                return Ok(());
            }
            if !unwritten.pending.dirty && unwritten.writing.is_none() {
                return Ok(());
            }
            unwritten.urgent = true;
            self.wake.notify_all();
            unwritten = self.written.wait(unwritten).expect("no holder of this lock panics");
        }
    }

    /// Asks for the file to be written anew. Who waits hears of an error if it is closed before.
    pub(super) fn rewrite(&self) -> oneshot::Receiver<Result<(), RewriteError>> {
        let (done, wait) = oneshot::channel();
        let mut unwritten = self.lock();
        if !unwritten.closing && unwritten.broken.is_none() {
            unwritten.rewrites.push(done);
            self.wake.notify_all();
        }
        wait
    }

    /// The writer thread.
    pub(super) fn write_behind(&self) {
        self.write_until_closed();
        self.lock().rewrites.clear();
    }

    fn write_until_closed(&self) {
        let poisoned = "no holder of this lock panics";
        let mut unwritten = self.lock();
        // Counted from the first, because starting is much work too.
        let (mut since_tidied, mut quiet, mut written_anew) = (LOAD_BYTES, false, 0);
        loop {
            let idle = |u: &mut Unwritten| !u.pending.dirty && !u.closing && u.rewrites.is_empty();
            if since_tidied >= LOAD_BYTES {
                let waited = self.wake.wait_timeout_while(unwritten, FLUSH_EVERY, idle);
                let (now, waited) = waited.expect(poisoned);
                (unwritten, quiet) = (now, quiet || waited.timed_out());
                if quiet {
                    drop(unwritten);
                    self.tidy(&mut written_anew);
                    (unwritten, since_tidied) = (self.lock(), 0);
                }
            }
            unwritten = self.wake.wait_while(unwritten, idle).expect(poisoned);
            if !unwritten.rewrites.is_empty() && !unwritten.closing {
                let asked = std::mem::take(&mut unwritten.rewrites);
                drop(unwritten);
                let done = self.write_anew(&mut written_anew);
                for one in asked {
                    // Nobody may wait any more.
                    drop(one.send(done.clone()));
                }
                (unwritten, since_tidied) = (self.lock(), LOAD_BYTES);
                continue;
            }
            if !unwritten.pending.dirty {
                return;
            }
            let gathering = |u: &mut Unwritten| {
                let hurried = u.urgent && u.full.is_none();
                !hurried && !u.closing && (u.pending.bytes < FLUSH_BYTES || u.full.is_some())
            };
            (unwritten, _) =
                self.wake.wait_timeout_while(unwritten, FLUSH_EVERY, gathering).expect(poisoned);
            if !unwritten.pending.dirty {
                // A snapshot took the place of what was to be written.
                continue;
            }
            let changes = Arc::new(std::mem::take(&mut unwritten.pending));
            since_tidied += changes.bytes;
            quiet = changes.bytes < QUIET_BYTES && !unwritten.urgent;
            unwritten.writing = Some(changes.clone());
            unwritten.urgent = false;
            let file = unwritten.file.clone();
            drop(unwritten);
            let (file, result) = self.commit(file, &changes);
            unwritten = self.lock();
            unwritten.file = file;
            unwritten.writing = None;
            match result {
                Ok(()) => unwritten.full = None,
                Err(error) => {
                    let mut all = Arc::unwrap_or_clone(changes);
                    all.merge(std::mem::take(&mut unwritten.pending));
                    unwritten.pending = all;
                    self.failed(&mut unwritten, &error);
                }
            }
            let over = unwritten.broken.is_some()
                || (unwritten.closing && (unwritten.full.is_some() || !unwritten.pending.dirty));
            self.written.notify_all();
            if over {
                return;
            }
        }
    }

    /// Writes the changes; returns the file to go on with. redb takes no more after a failed write, so then it is none.
    fn commit(
        &self,
        file: Option<Arc<StateFile>>,
        changes: &Changeset,
    ) -> (Option<Arc<StateFile>>, Result<(), StateFileError>) {
        // Asked beforehand, because a write that runs out of space takes the file away from its readers too.
        let need = changes.bytes as u64 * 3 + self.margin.load(Ordering::Relaxed);
        if let Err(error) = StateFile::check_free(&self.path, need) {
            return (file, Err(error));
        }
        let file = match file {
            Some(file) => file,
            None => match StateFile::reopen(&self.path, self.identity.clone()) {
                Ok(file) => Arc::new(file),
                Err(error) => return (None, Err(error)),
            },
        };
        failpoint("state.commit.begun");
        match file.commit(changes) {
            Ok(()) => {
                failpoint("state.commit.done");
                (Some(file), Ok(()))
            }
            Err(error) => (None, Err(error)),
        }
    }

    /// For quiet moments after much work: frees the disk and the memory of what nothing needs any more. `written_anew` is how
    /// large the file was when it was written anew last.
    fn tidy(&self, written_anew: &mut u64) {
        let needed = shrink::needed(&self.state.load());
        if shrink::is_due(self.size(), needed, *written_anew)
            && StateFile::check_free(&self.path, needed + MARGIN).is_ok()
            && let Err(error) = self.write_anew(written_anew)
        {
            let error = chain(&error);
            tracing::warn!(%error, "the state file stays larger than it need be");
        }
        give_back_memory();
    }

    /// Bytes of the state file; 0 if it cannot be asked.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Writes the file anew; notes how large it is then, also if it could not be done: it will not be smaller soon.
    fn write_anew(&self, written_anew: &mut u64) -> Result<(), RewriteError> {
        let before = self.size();
        let done = self.replace_by_copy();
        *written_anew = self.size();
        if done.is_ok() {
            tracing::info!(before, now = *written_anew, "wrote the state file anew");
        }
        done
    }

    fn replace_by_copy(&self) -> Result<(), RewriteError> {
        let failed =
            |error: StateFileError| RewriteError::Failed { why: chain(&error).to_string() };
        let needed = shrink::needed(&self.state.load()) + MARGIN;
        StateFile::check_free(&self.path, needed).map_err(failed)?;
        let mut unwritten = self.lock();
        let file = unwritten.file.clone().ok_or(RewriteError::Stopped)?;
        // Nobody may write to this file meanwhile, or put another in its place.
        unwritten.writing = Some(Arc::new(Changeset::default()));
        drop(unwritten);
        let copied = shrink::copy(&file, &self.path, || !self.lock().closing);
        failpoint("debts.copied");
        let renamed = match copied {
            Ok(Some(copy)) => Ok(copy.rename(&self.path)),
            Ok(None) => Err(RewriteError::Stopped),
            Err(error) => Err(failed(error)),
        };
        let mut unwritten = self.lock();
        let done = match renamed {
            Ok(Ok(copy)) => {
                unwritten.file = Some(Arc::new(copy));
                Ok(())
            }
            Ok(Err(error)) => {
                // Nobody knows which of the two has the name.
                let text = chain(&error).to_string();
                tracing::error!(error = text, "the state file cannot be written");
                unwritten.broken = Some(text);
                Err(failed(error))
            }
            Err(error) => Err(error),
        };
        unwritten.writing = None;
        self.written.notify_all();
        drop(unwritten);
        // redb's last words to the old file need no lock.
        drop(file);
        done
    }

    /// A full disk is tried again; anything else stops the store, because nobody knows what the file holds now.
    fn failed(&self, unwritten: &mut Unwritten, error: &StateFileError) {
        let text = chain(error).to_string();
        if !error.is_full() {
            tracing::error!(error = text, "the state file cannot be written");
            unwritten.broken = Some(text);
            return;
        }
        tracing::warn!(error = text, "the disk is full; the state file waits, the log has it all");
        unwritten.full = Some(text);
    }

    /// Puts a received snapshot in the place of everything.
    pub(super) fn install(
        &self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<Digest, SnapshotError> {
        let incoming = match snapshot {
            SnapshotData::Incoming(incoming) => *incoming,
            SnapshotData::Outgoing(view) => {
                // One of our own, or of another store in this process.
                let mut incoming = Incoming::begin(&self.path, self.identity.clone())?;
                snapshot::send(&view, &self.identity, |part| incoming.part(part))?;
                incoming
            }
        };
        let file = incoming.finish(meta)?;
        let Loaded { state, applied: _, membership: _, digest, installed: _ } = file.load()?;
        let state = Arc::new(state);
        let mut unwritten = self
            .written
            .wait_while(self.lock(), |u| u.writing.is_some())
            .expect("no holder of this lock panics");
        failpoint("install.checked");
        unwritten.file = Some(Arc::new(file.rename(&self.path)?));
        failpoint("install.renamed");
        unwritten.pending = Changeset::default();
        unwritten.has_snapshot = true;
        self.state.store(state);
        drop(unwritten);
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.trail().restart(index, digest);
        let changes = Changes { index, changes: Vec::new(), replaced: true };
        // Nobody may be listening.
        let _nobody = self.feed.send(Arc::new(changes));
        failpoint("install.done");
        Ok(digest)
    }
}
