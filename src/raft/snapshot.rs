//! The whole state for a peer that is too far behind: sent from a view of the state file, received into a new one.
//!
//! Nothing is written twice and little is kept in memory: the sender reads rows while its writes go on, the receiver
//! fills a state file of its own beside the present one, and only what was judged whole takes its place.

use super::{
    codec,
    digest::Digest as StateDigest,
    log::LogIdentity,
    state_file::{Changeset, StateFile, StateFileError, View},
    types::{LogId, SnapshotMeta},
};
use crate::{
    kit::failpoint::failpoint,
    store::{Change, Entity},
    wire::v1,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const FORMAT: u32 = 2;
/// How the extension of a file that is being received begins.
const INCOMING: &str = "incoming";
/// A chunk is sent once it holds this many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// What is received is written in pieces of this many bytes, because each costs the disk two flushes.
const COMMIT_BYTES: usize = 16 << 20;

/// Why a snapshot is not taken over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    File(#[from] StateFileError),
    #[error("the snapshot is not usable: {0}")]
    Unusable(String),
    #[error("the receiver of the snapshot went away")]
    Gone,
}

/// A snapshot as openraft passes it around.
#[derive(Debug)]
pub(super) enum SnapshotData {
    Outgoing(Box<View>),
    Incoming(Box<Incoming>),
}

/// One message of a snapshot on its way.
#[derive(Debug)]
pub(super) enum Part {
    Header(v1::SnapshotHeader),
    Rows(v1::SnapshotRows),
    End(v1::SnapshotEnd),
}

/// Sends everything in the view: header, rows, end.
///
/// # Errors
/// The state file cannot be read, or `send` failed.
pub(super) fn send(
    view: &View,
    identity: &LogIdentity,
    mut send: impl FnMut(Part) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    send(Part::Header(v1::SnapshotHeader {
        format: FORMAT,
        cluster_id: identity.cluster.to_string(),
        id: meta(view).snapshot_id,
        applied: Some(codec::applied_to(view.applied.as_ref(), &view.membership, view.digest)),
    }))?;
    failpoint("snapshot.send.header");
    let chunk = std::cell::RefCell::new(Chunk::default());
    let sender = std::cell::RefCell::new(&mut send);
    view.each::<SnapshotError>(
        |entity| {
            let row = codec::entity_to(&entity);
            let mut chunk = chunk.borrow_mut();
            chunk.make_room(row.encoded_len(), &mut **sender.borrow_mut())?;
            chunk.entities += 1;
            chunk.rows.entities.push(row);
            Ok(())
        },
        |version, sealed| {
            let row = codec::body_to(&version, &sealed);
            let mut chunk = chunk.borrow_mut();
            chunk.make_room(row.encoded_len(), &mut **sender.borrow_mut())?;
            chunk.bodies += 1;
            chunk.rows.bodies.push(row);
            Ok(())
        },
    )?;
    let mut chunk = chunk.into_inner();
    chunk.flush(&mut send)?;
    let Chunk { digest, entities, bodies, .. } = chunk;
    let digest = digest.finalize().to_vec();
    failpoint("snapshot.send.end");
    send(Part::End(v1::SnapshotEnd { entities, bodies, digest }))
}

/// What openraft wants to know of a view.
pub(super) fn meta(view: &View) -> SnapshotMeta {
    let snapshot_id = match &view.applied {
        Some(id) => format!("{}-{}-{}", id.leader_id.term, id.leader_id.node_id, id.index),
        None => "empty".to_owned(),
    };
    SnapshotMeta {
        last_log_id: view.applied,
        last_membership: view.membership.clone(),
        snapshot_id,
    }
}

#[derive(Default)]
struct Chunk {
    rows: v1::SnapshotRows,
    bytes: usize,
    digest: Sha256,
    entities: u64,
    bodies: u64,
}

impl Chunk {
    fn make_room(
        &mut self,
        bytes: usize,
        send: &mut dyn FnMut(Part) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        if self.bytes > 0 && self.bytes + bytes > CHUNK_BYTES {
            self.flush(send)?;
        }
        self.bytes += bytes;
        Ok(())
    }

    fn flush(
        &mut self,
        send: &mut dyn FnMut(Part) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        if self.bytes == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.digest.update(rows.encode_to_vec());
        send(Part::Rows(rows))
    }
}

/// A snapshot being received, and in the end a state file that can take the place of the present one.
#[derive(Debug)]
pub(super) struct Incoming {
    file: StateFile,
    scratch: Scratch,
    identity: Arc<LogIdentity>,
    step: Step,
    digest: Sha256,
    /// Of the state that they make up.
    found: StateDigest,
    entities: u64,
    bodies: u64,
    /// Not written yet.
    gathered: Changeset,
    applied: Changeset,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Step {
    Header,
    Rows,
    Whole,
}

/// A file that goes when its reception ends without having been finished.
#[derive(Debug)]
struct Scratch(Option<PathBuf>);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(std::fs::remove_file) {
            tracing::debug!(%error, "an unfinished snapshot was gone already");
        }
    }
}

/// Receptions of this process; a sender that gave up may still be heard when it begins anew, so each has its own file.
static RECEPTIONS: AtomicU64 = AtomicU64::new(0);

/// A file of its own for what may take the place of the one at `path`; if it is left behind, [`sweep`] finds it.
pub(super) fn scratch(path: &Path) -> PathBuf {
    let number = RECEPTIONS.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{INCOMING}-{number}"))
}

/// Removes what receptions left beside `path` when their process was killed.
pub(super) fn sweep(path: &Path) -> io::Result<()> {
    let (Some(dir), Some(stem)) = (path.parent(), path.file_stem().and_then(|s| s.to_str())) else {
        return Ok(());
    };
    let begins = format!("{stem}.{INCOMING}");
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&begins)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Incoming {
    /// Begins a new file beside `path`.
    pub(super) fn begin(path: &Path, identity: Arc<LogIdentity>) -> Result<Self, StateFileError> {
        let scratch = scratch(path);
        let file = StateFile::create(&scratch, identity.clone())?;
        failpoint("snapshot.receive.begun");
        Ok(Self {
            file,
            scratch: Scratch(Some(scratch)),
            identity,
            step: Step::Header,
            digest: Sha256::new(),
            found: StateDigest::default(),
            entities: 0,
            bodies: 0,
            gathered: Changeset::default(),
            applied: Changeset::default(),
        })
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`SnapshotError::Unusable`]: out of order, of another cluster or format, or not what its end says.
    pub(super) fn part(&mut self, part: Part) -> Result<(), SnapshotError> {
        let unusable = |what: String| Err(SnapshotError::Unusable(what));
        match (self.step, part) {
            (
                Step::Header,
                Part::Header(v1::SnapshotHeader { format, cluster_id, id: _, applied }),
            ) => {
                if format != FORMAT {
                    return unusable(format!("it has format {format}, we know {FORMAT}"));
                }
                if cluster_id != self.identity.cluster.as_str() {
                    return unusable(format!("it is of cluster {cluster_id}"));
                }
                let Some(applied) = applied else { return unusable("it has no index".into()) };
                let (last, membership, digest) = codec::applied_from(applied)
                    .map_err(|e| SnapshotError::Unusable(e.to_string()))?;
                self.applied.applied = last;
                self.applied.membership = membership;
                self.applied.digest = digest;
                self.step = Step::Rows;
            }
            (Step::Rows, Part::Rows(rows)) => {
                self.digest.update(rows.encode_to_vec());
                self.rows(rows)?;
                failpoint("snapshot.receive.rows");
            }
            (Step::Rows, Part::End(v1::SnapshotEnd { entities, bodies, digest })) => {
                let ours = self.digest.clone().finalize().to_vec();
                if (entities, bodies, &digest) != (self.entities, self.bodies, &ours) {
                    return unusable("it does not match its digest".into());
                }
                if self.found != self.applied.digest {
                    return unusable("its rows are not those that its sender had applied".into());
                }
                self.write()?;
                if let Some(last) = &self.applied.applied {
                    self.file.set_installed(last)?;
                }
                self.file.commit(&Changeset { dirty: true, ..self.applied.clone() })?;
                self.step = Step::Whole;
                failpoint("snapshot.receive.end");
            }
            (step, _) => return unusable(format!("a part came that does not follow {step:?}")),
        }
        Ok(())
    }

    fn rows(&mut self, rows: v1::SnapshotRows) -> Result<(), SnapshotError> {
        let v1::SnapshotRows { entities, bodies } = rows;
        let unusable = |e: crate::wire::Malformed| SnapshotError::Unusable(e.to_string());
        for entity in entities {
            let entity: Entity = codec::entity_from(entity).map_err(unusable)?;
            self.entities += 1;
            self.found.add(StateDigest::of(&entity));
            self.gathered.take(Change::Put(entity));
        }
        for body in bodies {
            let (version, sealed) = codec::body_from(body).map_err(unusable)?;
            self.bodies += 1;
            self.gathered.put_body(version, sealed);
        }
        if self.gathered.bytes >= COMMIT_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StateFileError> {
        self.file.commit(&std::mem::take(&mut self.gathered))
    }

    /// Whether it is whole, and the snapshot that `meta` speaks of.
    ///
    /// # Errors
    /// [`SnapshotError::Unusable`] if not.
    pub(super) fn check(&self, meta: &SnapshotMeta) -> Result<(), SnapshotError> {
        let Changeset { applied, membership, .. } = &self.applied;
        if self.step != Step::Whole {
            return Err(SnapshotError::Unusable("it is not complete".into()));
        }
        if *applied != meta.last_log_id || *membership != meta.last_membership {
            return Err(SnapshotError::Unusable("it is not the one that was announced".into()));
        }
        Ok(())
    }

    /// Gives the file away, whatever snapshot it is, with the last entry it holds.
    ///
    /// # Errors
    /// [`SnapshotError::Unusable`] if it is not whole.
    pub(super) fn whole(mut self) -> Result<(StateFile, Option<LogId>), SnapshotError> {
        if self.step != Step::Whole {
            return Err(SnapshotError::Unusable("it is not complete".into()));
        }
        self.scratch.0 = None;
        Ok((self.file, self.applied.applied))
    }

    /// Gives the file away.
    ///
    /// # Errors
    /// As [`Incoming::check`].
    pub(super) fn finish(mut self, meta: &SnapshotMeta) -> Result<StateFile, SnapshotError> {
        self.check(meta)?;
        self.scratch.0 = None;
        Ok(self.file)
    }
}
