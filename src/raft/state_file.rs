//! The durable state machine: rows, bodies and the applied index in one `redb` file, every value encrypted.
//!
//! Each commit is one transaction, so what the file holds is always the state after some entry, whole. The log is the
//! write-ahead log: the file may lag behind it, but never by entries that were purged.

use super::{
    codec,
    digest::Digest,
    load,
    log::{LogIdentity, free_space},
    types::{LogId, StoredMembership},
};
use crate::{
    crypto::seal::{Sealed, WrappedKey},
    kit::{
        failpoint::failpoint,
        id::{ID_LEN, ObjectId},
    },
    model::{object::VersionNumber, task::ObjectVersion},
    store::{Change, Entity, Key, State},
    wire::{Malformed, v1},
};
use prost::Message;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
pub(super) const BODIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bodies");
/// The data keys of the bodies, apart from them: a rotation of the keyring writes only these.
const KEYS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("keys");

/// Plain: format, cluster, node. The rest is sealed.
pub(super) const FORMAT_KEY: &str = "format";
/// How far the log has been applied.
const APPLIED_KEY: &str = "applied";
/// The last entry of the snapshot that was installed last, if any.
const INSTALLED_KEY: &str = "installed";
const FORMAT: u8 = 3;

/// redb's page cache; its default of 1 GiB would be most of our memory.
const CACHE_BYTES: usize = 8 << 20;
/// Bodies are cut into parts of this size, each a row: pages round up to powers of two, and this leaves room for the key.
pub(super) const BODY_PART: usize = 32 * 1024 - 256;
/// Up to this size every page of the file is checked when it is opened; rows are authenticated either way.
const CHECKED_BYTES: u64 = 256 << 20;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    #[error("cannot {doing} the state file {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the state file {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("the state file {} cannot be used: {what}", path.display())]
    Foreign { path: PathBuf, what: String },
    #[error("the state file {} is in use by another process", path.display())]
    InUse { path: PathBuf },
}

impl StateFileError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on this disk; nothing that was stored is lost"
            }
            Self::Io { .. } => {
                "check the disk and the permissions of the data directory, then start secretd again"
            }
            Self::Damaged { .. } => {
                "nothing was changed; start secretd and refill it from the other managers with `secretctl refill`, or restore a backup if it is the only one"
            }
            Self::Foreign { .. } => {
                "give secretd the data directory and the key file that belong together"
            }
            Self::InUse { .. } => "stop the other secretd that uses this data directory",
        }
    }

    /// Whether what is on the disk is to blame, and not the way to it.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Foreign { .. } => true,
            Self::Io { .. } | Self::InUse { .. } => false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// What is to be written: the newest value of each row that changed, and where in the log that is.
#[derive(Debug, Default, Clone)]
pub(super) struct Changeset {
    pub(super) rows: BTreeMap<Key, Option<Entity>>,
    pub(super) bodies: BTreeMap<ObjectVersion, Option<Arc<Vec<u8>>>>,
    pub(super) keys: BTreeMap<ObjectVersion, Option<WrappedKey>>,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    /// Of all rows after these changes.
    pub(super) digest: Digest,
    /// About what it takes in memory.
    pub(super) bytes: usize,
    pub(super) dirty: bool,
}

impl Changeset {
    /// Takes a change in; returns it if others may want to hear of it: remembered answers are the store's own, and as large
    /// as all the rest.
    pub(super) fn take(&mut self, change: Change) -> Option<Change> {
        const ROW: usize = 1024;
        self.dirty = true;
        match change {
            Change::Put(entity) => {
                self.bytes += ROW;
                self.rows.insert(entity.key(), Some(entity.clone()));
                (!matches!(entity, Entity::Answered(_))).then_some(Change::Put(entity))
            }
            Change::Delete(key) => {
                self.rows.insert(key, None);
                (!matches!(key, Key::Answered(_))).then_some(Change::Delete(key))
            }
            Change::PutBody { object, version, sealed } => {
                self.put_body(ObjectVersion { object, version }, sealed);
                None
            }
            Change::PutKey { object, version, key } => {
                self.bytes += ROW;
                self.keys.insert(ObjectVersion { object, version }, Some(key));
                None
            }
            Change::DeleteBody { object, version } => {
                self.bodies.insert(ObjectVersion { object, version }, None);
                self.keys.insert(ObjectVersion { object, version }, None);
                None
            }
        }
    }

    /// Takes in a payload and its data key.
    pub(super) fn put_body(&mut self, version: ObjectVersion, sealed: Sealed) {
        self.bytes += sealed.body.len() + sealed.wrapped_key.len();
        self.keys.insert(version, Some(sealed.key()));
        self.bodies.insert(version, Some(Arc::new(sealed.body)));
    }

    /// Puts newer changes over these.
    pub(super) fn merge(&mut self, newer: Self) {
        let Self { rows, bodies, keys, applied, membership, digest, bytes, dirty } = newer;
        self.rows.extend(rows);
        self.bodies.extend(bodies);
        self.keys.extend(keys);
        if dirty {
            self.applied = applied;
            self.membership = membership;
            self.digest = digest;
        }
        self.bytes += bytes;
        self.dirty |= dirty;
    }
}

/// What a state file held when it was opened.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) digest: Digest,
    pub(super) installed: Option<LogId>,
}

/// An open state file.
#[derive(Debug)]
pub(super) struct StateFile {
    pub(super) database: Database,
    path: PathBuf,
    pub(super) identity: Arc<LogIdentity>,
}

impl StateFile {
    /// Opens the file, or makes an empty one: under another name first, because a crash inside redb's first writes would
    /// leave a file that does not open.
    ///
    /// # Errors
    /// [`StateFileError`]; nothing was changed.
    pub(super) fn open(
        path: &Path,
        identity: Arc<LogIdentity>,
    ) -> Result<(Self, Loaded), StateFileError> {
        if !path.exists() {
            let new = Self::create(&path.with_extension("new"), identity.clone())?;
            failpoint("state.made");
            new.rename(path)?;
            failpoint("state.renamed");
        }
        let size = std::fs::metadata(path).map_err(io_error("open", path))?.len();
        let check = size <= CHECKED_BYTES;
        // redb trusts the pages of a file it closed itself, and may panic on ones that were changed since.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
            let database = builder.open(path).map_err(|e| database_error(path, e))?;
            let file = Self { database, path: path.to_owned(), identity };
            let loaded = file.load()?;
            Ok((file, loaded))
        }));
        opened.unwrap_or_else(|_| {
            let what = "its pages make no sense".to_owned();
            Err(StateFileError::Damaged { path: path.to_owned(), what })
        })
    }

    /// Opens a file that was open a moment ago.
    pub(super) fn reopen(path: &Path, identity: Arc<LogIdentity>) -> Result<Self, StateFileError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.open(path).map_err(|e| database_error(path, e))?;
        Ok(Self { database, path: path.to_owned(), identity })
    }

    /// Whether the disk has room for so many bytes more.
    ///
    /// # Errors
    /// [`StateFileError::Io`] of kind `StorageFull` if not.
    pub(super) fn check_free(path: &Path, need: u64) -> Result<(), StateFileError> {
        let free = free_space(path.parent().unwrap_or(path)).map_err(io_error("write", path))?;
        if free >= need {
            return Ok(());
        }
        let text = format!("{need} bytes are needed, {free} are free");
        Err(io_error("write", path)(io::Error::new(io::ErrorKind::StorageFull, text)))
    }

    /// Makes an empty state file, in place of one that was there.
    pub(super) fn create(path: &Path, identity: Arc<LogIdentity>) -> Result<Self, StateFileError> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(io_error("create", path))?;
        drop(file);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(path).map_err(|e| database_error(path, e))?;
        let file = Self { database, path: path.to_owned(), identity };
        let empty = Changeset { dirty: true, ..Changeset::default() };
        file.transact(|txn| {
            let mut meta = txn.open_table(META)?;
            let mut format = vec![FORMAT];
            format.extend_from_slice(file.identity.cluster.as_str().as_bytes());
            format.extend_from_slice(file.identity.node.as_str().as_bytes());
            meta.insert(FORMAT_KEY, format.as_slice())?;
            Ok(())
        })?;
        file.commit(&empty)?;
        Ok(file)
    }

    /// Gives the file its final name, in place of one that was there, durably. It stays open.
    pub(super) fn rename(mut self, path: &Path) -> Result<Self, StateFileError> {
        let renamed = || {
            std::fs::rename(&self.path, path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        renamed().map_err(io_error("rename", path))?;
        path.clone_into(&mut self.path);
        Ok(self)
    }

    /// Writes the changes and how far they go, durably, in one transaction.
    pub(super) fn commit(&self, changes: &Changeset) -> Result<(), StateFileError> {
        let Changeset { rows, bodies, keys, applied, membership, digest, bytes: _, dirty: _ } =
            changes;
        self.transact(|txn| {
            let mut table = txn.open_table(ROWS)?;
            for (key, entity) in rows {
                let key = codec::row_key(key);
                match entity {
                    Some(entity) => {
                        let plain = codec::entity_to(entity).encode_to_vec();
                        table.insert(key.as_slice(), self.seal(&key, &plain).as_slice())?;
                    }
                    None => drop(table.remove(key.as_slice())?),
                }
            }
            let mut table = txn.open_table(BODIES)?;
            for (version, body) in bodies {
                let mut parts = 0;
                let mut was_there = body.is_none();
                if let Some(body) = body {
                    let bytes = self.seal(&body_key(version), body);
                    for part in bytes.chunks(BODY_PART) {
                        let key = part_key(version, parts);
                        was_there |= table.insert(key.as_slice(), part)?.is_some();
                        parts += 1;
                    }
                }
                // Versions do not change, so almost always this one is new and leaves nothing behind.
                if was_there {
                    let (first, last) = (part_key(version, parts), part_key(version, u16::MAX));
                    table.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?;
                }
            }
            let mut table = txn.open_table(KEYS)?;
            for (version, wrapped) in keys {
                let key = key_key(version);
                match wrapped {
                    Some(wrapped) => {
                        let plain = v1::WrappedKey::from(wrapped).encode_to_vec();
                        table.insert(key.as_slice(), self.seal(&key, &plain).as_slice())?;
                    }
                    None => drop(table.remove(key.as_slice())?),
                }
            }
            let applied = codec::applied_to(applied.as_ref(), membership, *digest).encode_to_vec();
            let sealed = self.seal(APPLIED_KEY.as_bytes(), &applied);
            txn.open_table(META)?.insert(APPLIED_KEY, sealed.as_slice())?;
            failpoint("state.commit.written");
            Ok(())
        })
    }

    /// Notes that everything up to here came from a snapshot.
    pub(super) fn set_installed(&self, upto: &LogId) -> Result<(), StateFileError> {
        let plain = codec::log_id_to(upto).encode_to_vec();
        let sealed = self.seal(INSTALLED_KEY.as_bytes(), &plain);
        self.transact(|txn| {
            txn.open_table(META)?.insert(INSTALLED_KEY, sealed.as_slice())?;
            Ok(())
        })
    }

    /// The sealed payload of a version without its data key, if the file has it.
    pub(super) fn body(&self, version: &ObjectVersion) -> Result<Option<Vec<u8>>, StateFileError> {
        let read = || {
            let table = self.database.begin_read()?.open_table(BODIES)?;
            let mut bytes = Vec::new();
            let (first, last) = part_bounds(version);
            for part in table.range(first.as_slice()..=last.as_slice())? {
                bytes.extend_from_slice(part?.1.value());
            }
            Ok(bytes)
        };
        let bytes = read().map_err(|e: redb::Error| self.error("read", e))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.open_body(version, &bytes).map(Some)
    }

    /// The data key of a version's payload, if the file has it.
    pub(super) fn key(
        &self,
        version: &ObjectVersion,
    ) -> Result<Option<WrappedKey>, StateFileError> {
        let read = || {
            let table = self.database.begin_read()?.open_table(KEYS)?;
            Ok(table.get(key_key(version).as_slice())?.map(|value| value.value().to_vec()))
        };
        let sealed = read().map_err(|e: redb::Error| self.error("read", e))?;
        sealed.map(|sealed| self.open_key(version, &sealed)).transpose()
    }

    /// A view of the file as it is now, for a snapshot.
    pub(super) fn view(self: &Arc<Self>) -> Result<View, StateFileError> {
        let txn = self.database.begin_read().map_err(|e| self.error("read", e.into()))?;
        let meta = txn.open_table(META).map_err(|e| self.error("read", e.into()))?;
        let (applied, membership, digest) = self.applied(&meta)?;
        Ok(View { txn, file: self.clone(), applied, membership, digest })
    }

    /// Reads every row; each is authenticated and parsed.
    pub(super) fn load(&self) -> Result<Loaded, StateFileError> {
        let txn = self.database.begin_read().map_err(|e| self.error("read", e.into()))?;
        let meta = txn.open_table(META).map_err(|e| self.error("read", e.into()))?;
        self.check_format(&meta)?;
        let (applied, membership, digest) = self.applied(&meta)?;
        let installed = self
            .meta(&meta, INSTALLED_KEY)?
            .map(|plain| v1::LogId::decode(plain.as_slice()))
            .transpose()
            .map_err(|e| self.damaged(e))?
            .map(|id| codec::log_id_from(&id));
        let rows = txn.open_table(ROWS).map_err(|e| self.error("read", e.into()))?;
        let rows = rows.range::<&[u8]>(..).map_err(|e| self.error("read", e.into()))?;
        let rows = rows.map(|row| {
            let (key, value) = row.map_err(|e| self.error("read", e.into()))?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        });
        let (state, found) = load::load(rows, |key, sealed| self.open_row(key, sealed))?;
        if found != digest {
            let upto = applied.map_or(0, |id| id.index);
            return Err(self.damaged(format!("its rows are not those of entry {upto}")));
        }
        Ok(Loaded { state, applied, membership, digest, installed })
    }

    fn check_format(
        &self,
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<(), StateFileError> {
        let foreign = |what: String| StateFileError::Foreign { path: self.path.clone(), what };
        let format = meta.get(FORMAT_KEY).map_err(|e| self.error("read", e.into()))?;
        let format = format.map(|f| f.value().to_vec()).unwrap_or_default();
        let (Some(FORMAT), 51) = (format.first().copied(), format.len()) else {
            return Err(foreign("this version of secretd does not know its format".into()));
        };
        for (what, at, ours) in [
            ("cluster", 1, self.identity.cluster.as_str()),
            ("node", 1 + ID_LEN, self.identity.node.as_str()),
        ] {
            let theirs = String::from_utf8_lossy(&format[at..at + ID_LEN]);
            if theirs != ours {
                let text = format!("it belongs to {what} {theirs}, this is {what} {ours}");
                return Err(foreign(text));
            }
        }
        Ok(())
    }

    fn applied(
        &self,
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<(Option<LogId>, StoredMembership, Digest), StateFileError> {
        let plain = self
            .meta(meta, APPLIED_KEY)?
            .ok_or_else(|| self.damaged("it does not say how far it goes"))?;
        let applied = v1::Applied::decode(plain.as_slice()).map_err(|e| self.damaged(e))?;
        codec::applied_from(applied).map_err(|e| self.damaged(e))
    }

    fn meta(
        &self,
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &'static str,
    ) -> Result<Option<Vec<u8>>, StateFileError> {
        let Some(sealed) = meta.get(key).map_err(|e| self.error("read", e.into()))? else {
            return Ok(None);
        };
        // The first sealed value that is read: if this one does not open, the key is another or it was tampered with.
        self.identity.key.open(&self.aad(key.as_bytes()), sealed.value()).map(Some).map_err(
            |error| StateFileError::Foreign {
                path: self.path.clone(),
                what: format!("its row {key:?} does not open: {error}"),
            },
        )
    }

    pub(super) fn open_row(&self, key: &[u8], sealed: &[u8]) -> Result<Entity, StateFileError> {
        let open = || {
            let plain = self.identity.key.open(&self.aad(key), sealed).map_err(Malformed::new)?;
            let row = v1::Entity::decode(plain.as_slice()).map_err(codec::garbled)?;
            let entity = codec::entity_from(row)?;
            if codec::row_key(&entity.key()) != key {
                return Err(Malformed::new("it lies under the key of another"));
            }
            Ok(entity)
        };
        open().map_err(|error| self.damaged(format!("row {}: {error}", text(key))))
    }

    fn open_body(&self, version: &ObjectVersion, sealed: &[u8]) -> Result<Vec<u8>, StateFileError> {
        let key = body_key(version);
        self.identity
            .key
            .open(&self.aad(&key), sealed)
            .map_err(|error| self.damaged(format!("body {}: {error}", text(&key))))
    }

    fn open_key(
        &self,
        version: &ObjectVersion,
        sealed: &[u8],
    ) -> Result<WrappedKey, StateFileError> {
        let key = key_key(version);
        let open = || {
            let plain = self.identity.key.open(&self.aad(&key), sealed).map_err(Malformed::new)?;
            v1::WrappedKey::decode(plain.as_slice()).map_err(codec::garbled)?.try_into()
        };
        open().map_err(|error: Malformed| self.damaged(format!("key {}: {error}", text(&key))))
    }

    fn seal(&self, key: &[u8], plain: &[u8]) -> Vec<u8> {
        self.identity.key.seal(&self.aad(key), plain)
    }

    /// A sealed value under the newest storage key, whichever it lies under.
    pub(super) fn resealed(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StateFileError> {
        let opened = self.identity.key.open(&self.aad(key), sealed);
        let plain = opened.map_err(|error| self.damaged(format!("row {}: {error}", text(key))))?;
        Ok(self.seal(key, &plain))
    }

    /// Binds a value to cluster, node and row.
    fn aad(&self, key: &[u8]) -> Vec<u8> {
        let mut aad = b"secretd/state/row/1".to_vec();
        aad.extend_from_slice(self.identity.cluster.as_str().as_bytes());
        aad.extend_from_slice(self.identity.node.as_str().as_bytes());
        aad.extend_from_slice(key);
        aad
    }

    pub(super) fn transact(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StateFileError> {
        let run = || {
            let mut txn = self.database.begin_write()?;
            txn.set_quick_repair(true);
            work(&txn)?;
            txn.commit()?;
            Ok(())
        };
        run().map_err(|e| self.error("write", e))
    }

    fn damaged(&self, what: impl std::fmt::Display) -> StateFileError {
        StateFileError::Damaged { path: self.path.clone(), what: what.to_string() }
    }

    pub(super) fn error(&self, doing: &'static str, error: redb::Error) -> StateFileError {
        match error {
            redb::Error::Io(source) => io_error(doing, &self.path)(source),
            redb::Error::DatabaseAlreadyOpen => StateFileError::InUse { path: self.path.clone() },
            other @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
                io_error(doing, &self.path)(io::Error::other(other))
            }
            other => self.damaged(other),
        }
    }
}

/// The file as it was at one moment; writes go on beside it.
pub(super) struct View {
    txn: ReadTransaction,
    file: Arc<StateFile>,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) digest: Digest,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("applied", &self.applied).finish_non_exhaustive()
    }
}

impl View {
    /// Hands over every row, then every body, in the order of their keys.
    pub(super) fn each<E: From<StateFileError>>(
        &self,
        mut row: impl FnMut(Entity) -> Result<(), E>,
        mut body: impl FnMut(ObjectVersion, Sealed) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = &self.file;
        let read = |e: redb::Error| file.error("read", e);
        let rows = self.txn.open_table(ROWS).map_err(|e| read(e.into()))?;
        for one in rows.range::<&[u8]>(..).map_err(|e| read(e.into()))? {
            let (key, value) = one.map_err(|e| read(e.into()))?;
            row(file.open_row(key.value(), value.value())?)?;
        }
        let keys = self.txn.open_table(KEYS).map_err(|e| read(e.into()))?;
        let mut body = |version: ObjectVersion, bytes: &[u8]| {
            let key = keys.get(key_key(&version).as_slice()).map_err(|e| read(e.into()))?;
            let key = key.ok_or_else(|| file.damaged(format!("no key of {}", version.object)))?;
            let key = file.open_key(&version, key.value())?;
            body(version, Sealed::new(key, file.open_body(&version, bytes)?))
        };
        let bodies = self.txn.open_table(BODIES).map_err(|e| read(e.into()))?;
        let mut current: Option<(ObjectVersion, Vec<u8>)> = None;
        for one in bodies.range::<&[u8]>(..).map_err(|e| read(e.into()))? {
            let (key, part) = one.map_err(|e| read(e.into()))?;
            let version = part_of(key.value())
                .ok_or_else(|| file.damaged(format!("body {}", text(key.value()))))?;
            match &mut current {
                Some((same, bytes)) if *same == version => bytes.extend_from_slice(part.value()),
                _ => {
                    if let Some((done, bytes)) = current.take() {
                        body(done, &bytes)?;
                    }
                    current = Some((version, part.value().to_vec()));
                }
            }
        }
        if let Some((done, bytes)) = current {
            body(done, &bytes)?;
        }
        Ok(())
    }
}

fn body_key(version: &ObjectVersion) -> Vec<u8> {
    let ObjectVersion { object, version: VersionNumber(number) } = version;
    let mut key = b"b".to_vec();
    key.extend_from_slice(object.as_str().as_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn key_key(version: &ObjectVersion) -> Vec<u8> {
    let mut key = body_key(version);
    key[0] = b'k';
    key
}

fn part_key(version: &ObjectVersion, number: u16) -> Vec<u8> {
    let mut key = body_key(version);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn part_bounds(version: &ObjectVersion) -> (Vec<u8>, Vec<u8>) {
    (part_key(version, 0), part_key(version, u16::MAX))
}

fn part_of(key: &[u8]) -> Option<ObjectVersion> {
    let id = std::str::from_utf8(key.get(1..1 + ID_LEN)?).ok()?;
    let object: ObjectId = id.parse().ok()?;
    let number = key.get(1 + ID_LEN..1 + ID_LEN + 8)?;
    let version = VersionNumber(u64::from_be_bytes(number.try_into().ok()?));
    Some(ObjectVersion { object, version })
}

/// Ids are text; the rest of a key may not be.
fn text(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateFileError {
    let path = path.to_owned();
    move |source| StateFileError::Io { doing, path, source }
}

fn database_error(path: &Path, error: DatabaseError) -> StateFileError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StateFileError::InUse { path },
        DatabaseError::Storage(redb::StorageError::Io(source))
            if source.kind() != io::ErrorKind::InvalidData
                && source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            StateFileError::Io { doing: "open", path, source }
        }
        other => StateFileError::Damaged { path, what: other.to_string() },
    }
}
