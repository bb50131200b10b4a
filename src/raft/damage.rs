//! A store that was found to be wrong while it was in use: it takes no part any more, and says so after every start too.
//!
//! A manager must not obey a leader that lacks what this manager has applied: openraft takes for granted that what is
//! committed here is the leader's as well, would pass over entries that differ, and the two would say different things
//! for ever. Such a leader can only be there because some manager forgot what it had acknowledged, most likely because
//! it was started from an older copy of its disk. Which one it was cannot be told from here; that the two do not agree
//! can, and this one is not the leader.

use super::{
    handle::{Core, StartError},
    log::LogError,
    types::{Entry, LogId, Vote},
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use tokio::sync::watch;
use tracing::error;

/// Says why; lies in the store's directory and goes with it.
const CONDEMNED: &str = "condemned";
/// No reason is this long.
const REASON: usize = 4096;

/// Whether this store is condemned, and the place where that is kept.
#[derive(Debug)]
pub(super) struct Damage {
    path: PathBuf,
    why: watch::Sender<Option<String>>,
}

impl Damage {
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(CONDEMNED), why: watch::Sender::new(None) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.why.subscribe()
    }

    pub(super) fn why(&self) -> Option<String> {
        self.why.borrow().clone()
    }
}

/// Why the store in this directory was condemned, if it was.
///
/// # Errors
/// It cannot be read.
pub(super) fn found(dir: &Path) -> Result<Option<String>, StartError> {
    let path = dir.join(CONDEMNED);
    match fs::read(&path) {
        Ok(text) => {
            let text = &text[..text.len().min(REASON)];
            Ok(Some(String::from_utf8_lossy(text).into_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::Io { doing: "read", path, source }.into()),
    }
}

/// Takes the store in this directory for good all the same: there is no other.
///
/// # Errors
/// The disk fails.
pub(super) fn pardon(dir: &Path) -> Result<(), StartError> {
    let path = dir.join(CONDEMNED);
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(LogError::Io { doing: "remove", path, source }.into()),
    }
    sync(dir).map_err(|source| LogError::Io { doing: "remove", path, source }.into())
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn write(path: &Path, why: &str) -> io::Result<()> {
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(why.as_bytes())?;
    file.sync_all()?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

impl Core {
    /// From now on this manager takes no part. The first reason stays.
    pub(super) fn condemn(&self, why: &str) {
        self.raft.runtime_config().elect(false);
        let first = self.damage.why.send_if_modified(|before| {
            let first = before.is_none();
            if first {
                *before = Some(why.to_owned());
            }
            first
        });
        if !first {
            return;
        }
        error!(
            why,
            "this manager's store is not what the cluster agreed on; it takes no part any more"
        );
        if let Err(error) = write(&self.damage.path, why) {
            error!(%error, path = %self.damage.path.display(), "this cannot be noted for the next start");
        }
    }

    /// Whether a leader of this vote, which speaks of these entries, lacks what this manager has applied; in words.
    pub(super) fn contradiction(
        &self,
        vote: &Vote,
        prev: Option<&LogId>,
        entries: &[Entry],
    ) -> Option<String> {
        // One that was deposed may well have others; it is refused anyway. What was applied under a vote was applied
        // after that vote was saved.
        if self.log.vote().is_some_and(|ours| vote.leader_id < ours.leader_id) {
            return None;
        }
        // What is committed will be applied.
        let applied = self.machine.applied().max(self.log.committed().map_or(0, |id| id.index));
        let ids = prev.into_iter().chain(entries.iter().map(|entry| &entry.log_id));
        let applied_here = ids.filter(|id| id.index <= applied);
        let mut differing = applied_here.filter_map(|id| {
            let ours = self.log.id_at(id.index)?;
            (ours != *id).then_some((id, ours))
        });
        differing.next().map(|(theirs, ours)| {
            format!(
                "part of what this manager had applied is not in the leader's log: entry {} is of term {} here and of term {} there",
                ours.index, ours.leader_id.term, theirs.leader_id.term
            )
        })
    }

    /// The same for a snapshot that ends with this entry.
    pub(super) fn snapshot_contradiction(
        &self,
        vote: &Vote,
        last: Option<&LogId>,
    ) -> Option<String> {
        let found = self.contradiction(vote, last, &[]);
        if found.is_some() || self.log.vote().is_some_and(|ours| vote.leader_id < ours.leader_id) {
            return found;
        }
        let applied = self.raft.metrics().borrow().last_applied?;
        let last = last?;
        // Terms grow with the index.
        let back = last.index < applied.index && last.leader_id > applied.leader_id;
        back.then(|| {
            format!(
                "part of what this manager had applied is not in the leader's store: it ends with entry {} of term {}, this manager had applied entry {} of term {}",
                last.index, last.leader_id.term, applied.index, applied.leader_id.term
            )
        })
    }
}
