//! The node's key header, `node.keys`: who it is, the unlockers of the root key, and its storage key.
//!
//! ```text
//! magic "secretd keys\n" ‖ SHA-256 of what follows (32) ‖ protobuf secretd.v1.NodeKeys
//! ```
//!
//! It is made first and holds no key in the clear; everything else in the data directory needs it to be read. A manager's
//! header follows the unlockers that the store lists ([`settle`]); a worker has a root key and a key file of its own.

mod header;
mod locked;
mod tpms;

pub use locked::{Attempt, Locked, Progress, UnlockError};
pub use tpms::{TpmChangeError, add_tpm, remove_tpm, tpms};

use super::files;
use crate::{
    crypto::{
        OpenError,
        key::{Key, Root, Storage, Unlock},
        storage::StorageKeys,
        unlock::{
            Kind, Method, Unlocker,
            command::HelperError,
            file::{self, KeyFile, KeyFileError},
            tpm::TpmError,
        },
    },
    kit::{
        chain::chain,
        failpoint::failpoint,
        id::{ClusterId, NodeId, UnlockerId},
    },
    model::cluster::Cluster,
    raft::backup,
};
use header::{Bad, Header, WrappedStorage};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const NAME: &str = "node.keys";
/// A header with all the unlockers there may be is far below this many bytes.
const SIZE: u64 = 2 * 1024 * 1024;

/// Why the node's keys were not made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    #[error("there is no key header {}", path.display())]
    Missing { path: PathBuf },
    #[error("there is a key header {} already", path.display())]
    Exists { path: PathBuf },
    #[error("cannot read the key header {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the key header {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is not a key header of secretd", path.display())]
    Foreign { path: PathBuf },
    #[error("the key header {} has format {format}, which this secretd does not know", path.display())]
    Format { path: PathBuf, format: u32 },
    #[error("the key header {} is damaged", path.display())]
    Damaged { path: PathBuf },
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("the key file {} does not belong to the data directory {}", key_file.display(), dir.display())]
    OtherKeyFile { key_file: PathBuf, dir: PathBuf },
    #[error("the unlocker's command did not open the keys")]
    Helper(#[from] HelperError),
    #[error("the TPM did not open the keys")]
    Tpm(#[from] TpmError),
    #[error("cannot open the {what} in {}", path.display())]
    Open { what: &'static str, path: PathBuf, source: OpenError },
}

impl KeyStoreError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "this node is new: run `secretctl init` or `secretctl join`",
            Self::Exists { .. } => {
                "the data directory belongs to a node: restart secretd, or give a new one its own --data-dir"
            }
            Self::Read { .. } | Self::Write { .. } => {
                "check the data directory: its disk, its free space, its owner"
            }
            Self::Foreign { .. } => "check --data-dir",
            Self::Format { .. } => "it was written by a newer secretd: run that version",
            Self::Damaged { .. } | Self::Open { .. } => {
                "bring the file back from a copy of the data directory; if there is none, take the node out on another manager (`secretctl node demote`, `secretctl node rm --force`), move the data directory away and join it as a new one"
            }
            Self::KeyFile(error) => error.hint(),
            Self::OtherKeyFile { .. } => {
                "give the key file that was made with this data directory: --key-file"
            }
            Self::Tpm(error) => error.hint(),
            Self::Helper(_) => {
                "run the program by hand and see that it reaches its KMS; secretd asks it again by itself"
            }
        }
    }
}

/// A node's keys, open.
#[derive(Debug)]
pub struct Unlocked {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub root: Arc<Key<Root>>,
    /// Those that may replace it.
    pub next: Vec<Arc<Key<Root>>>,
    pub storage: Arc<StorageKeys>,
}

impl Unlocked {
    /// The same keys once more.
    pub fn shared(&self) -> Self {
        let Self { cluster, node, root, next, storage } = self;
        let (root, storage) = (Arc::clone(root), Arc::clone(storage));
        Self { cluster: *cluster, node: *node, root, next: next.clone(), storage }
    }
}

/// A node's keys as they were found.
#[derive(Debug)]
pub enum Opened {
    Open(Unlocked),
    /// Somebody has to be asked.
    Locked(Locked),
}

/// The ways there shall be to a node's root key. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// A key file of its own.
    pub key_file: bool,
    /// What all managers have.
    pub shared: Vec<Unlocker>,
}

impl Ways {
    /// A key file and nothing else.
    pub fn key_file() -> Self {
        Self { key_file: true, shared: Vec::new() }
    }

    /// What a manager of this cluster shall have.
    pub fn of(cluster: &Cluster) -> Self {
        Self { key_file: cluster.key_files, shared: cluster.unlockers.clone() }
    }
}

/// Removes what a creation of the key file that was cut off left beside it. It opens nothing, so a failure is only told.
pub fn sweep(key_file: &Path) {
    match file::sweep(key_file) {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(count, key_file = %key_file.display(), "removed what unfinished creations of the key file left");
        }
        Err(error) => {
            tracing::warn!(%error, key_file = %key_file.display(), "cannot remove what an unfinished creation of the key file left");
        }
    }
}

/// Whether `dir` belongs to a node that was set up, or whose set-up was cut off.
pub fn exists(dir: &Path) -> bool {
    dir.join(NAME).exists()
}

/// Where the header lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Makes the header of a new node, with a new storage key. A key file is made too if there shall be one, or the one that
/// is there is used.
///
/// # Errors
/// The directory has keys already, the key file lies inside it or cannot be used, the disk fails.
pub fn create(
    dir: &Path,
    key_file: &Path,
    (cluster, node): (ClusterId, NodeId),
    root: impl Into<Arc<Key<Root>>>,
    ways: &Ways,
) -> Result<Unlocked, KeyStoreError> {
    let path = dir.join(NAME);
    if path.exists() {
        return Err(KeyStoreError::Exists { path });
    }
    let (root, storage) = (root.into(), Arc::new(Key::<Storage>::random().into()));
    write(
        dir,
        key_file,
        Unlocked { cluster, node, root, next: Vec::new(), storage },
        Vec::new(),
        ways,
    )
}

/// Puts the node's storage keys under another root key, with a new one to write with from now on: what was written stays
/// readable until [`forget_older`], and what the node's TPMs have sealed opens the new root key. Blocks for seconds if there
/// are any.
///
/// # Errors
/// The key file cannot be used, the disk fails; then the header is as it was.
pub fn rekey(
    dir: &Path,
    key_file: &Path,
    keys: &Unlocked,
    root: Key<Root>,
    ways: &Ways,
) -> Result<Unlocked, KeyStoreError> {
    let Unlocked { cluster, node, root: _, next: _, storage } = keys;
    let root = Arc::new(root);
    let storage = StorageKeys::of(with_new(storage)).expect("there is a new one");
    let (cluster, node, storage) = (*cluster, *node, Arc::new(storage));
    let keys = Unlocked { cluster, node, root, next: Vec::new(), storage };
    let tpms = tpms::carried_over(&keys, tpms(dir));
    let written = write(dir, key_file, keys, tpms, ways)?;
    failpoint("rekey.written");
    if !ways.key_file {
        forget_key_file(key_file, None);
    }
    Ok(written)
}

fn write(
    dir: &Path,
    key_file: &Path,
    keys: Unlocked,
    tpms: Vec<Unlocker>,
    ways: &Ways,
) -> Result<Unlocked, KeyStoreError> {
    let mut unlockers = Vec::new();
    if ways.key_file {
        unlockers.push(own(dir, key_file, &keys, &keys.root)?);
    }
    unlockers.extend(tpms);
    unlockers.extend(ways.shared.iter().cloned());
    let _writing = writing();
    save(dir, &keys, &keys.root, &keys.storage.all(), unlockers, Vec::new())?;
    Ok(keys)
}

/// A new storage key, and those that there are.
fn with_new(storage: &StorageKeys) -> Vec<Arc<Key<Storage>>> {
    std::iter::once(Arc::new(Key::random())).chain(storage.all()).collect()
}

/// An unlocker for the key file, which is made unless it is there: on purpose, or from a set-up that was cut off before
/// the header was written.
fn own(
    dir: &Path,
    key_file: &Path,
    keys: &Unlocked,
    root: &Key<Root>,
) -> Result<Unlocker, KeyStoreError> {
    file::refuse_inside(key_file, dir)?;
    let KeyFile { id, key } = match file::load(key_file) {
        Err(KeyFileError::Missing { .. }) => file::create(key_file)?,
        loaded => loaded?,
    };
    Ok(Unlocker::new(keys.cluster, id, Method::File, &key, root))
}

fn save(
    dir: &Path,
    keys: &Unlocked,
    root: &Key<Root>,
    storage: &[Arc<Key<Storage>>],
    unlockers: Vec<Unlocker>,
    next: Vec<Unlocker>,
) -> Result<(), KeyStoreError> {
    let (cluster, node) = (keys.cluster, keys.node);
    let wrapped = storage.iter().map(|key| key.wrapped_for_header(root, cluster, node, &unlockers));
    let storage = WrappedStorage::Node(wrapped.collect());
    let header = Header { cluster, node, unlockers, storage, next };
    let path = dir.join(NAME);
    files::replace(&path, &header.print()).map_err(|source| KeyStoreError::Write { path, source })
}

/// Makes the header say what `ways` says; returns whether it did not before. A key file that is not wanted any more is
/// removed, after the header that needed it.
///
/// # Errors
/// The header cannot be read or written, a key file is wanted and cannot be made; then the header is as it was.
pub fn settle(
    dir: &Path,
    key_file: &Path,
    keys: &Unlocked,
    ways: &Ways,
) -> Result<bool, KeyStoreError> {
    let _writing = writing();
    let (header, root) = load_own(dir, keys)?;
    let next = header.next;
    let (local, shared): (Vec<_>, Vec<_>) =
        header.unlockers.into_iter().partition(|unlocker| unlocker.kind().is_local());
    let (mine, tpms): (Vec<_>, Vec<_>) =
        local.into_iter().partition(|unlocker| unlocker.kind() == Kind::File);
    if shared == ways.shared && mine.is_empty() != ways.key_file {
        return Ok(false);
    }
    let mut unlockers = match (ways.key_file, mine.is_empty()) {
        // The file itself may be elsewhere, on a stick in a drawer; that is the operator's choice.
        (true, false) => mine.clone(),
        (true, true) => vec![own(dir, key_file, keys, &root)?],
        (false, _) => Vec::new(),
    };
    unlockers.extend(tpms);
    unlockers.extend(ways.shared.iter().cloned());
    save(dir, keys, &root, &keys.storage.all(), unlockers, next)?;
    failpoint("keys.settled");
    if !ways.key_file {
        forget_key_file(key_file, Some(&mine));
        failpoint("keys.forgotten");
    }
    Ok(true)
}

/// Keeps a root key that may become the present one, behind every way in that shall be here; nothing of it lies under the
/// present one.
///
/// # Errors
/// The header cannot be read or written; then it is as it was.
pub fn prepare(
    dir: &Path,
    keys: &Unlocked,
    ways: &Ways,
    next: &Key<Root>,
) -> Result<(), KeyStoreError> {
    let _writing = writing();
    let (header, root) = load_own(dir, keys)?;
    let sealed = resealed(dir, keys, &header, ways, next)?;
    save(dir, keys, &root, &keys.storage.all(), header.unlockers, sealed)?;
    failpoint("root.prepared");
    Ok(())
}

/// Makes `next` the root key of this node: from then on the header has nothing that the one before opens, and everything new is
/// written under a new storage key. Says no if that was done already.
///
/// # Errors
/// The header cannot be read or written; then it is as it was.
pub fn turn_to(
    dir: &Path,
    keys: &Unlocked,
    ways: &Ways,
    next: &Key<Root>,
) -> Result<bool, KeyStoreError> {
    let _writing = writing();
    let (header, root) = load_own(dir, keys)?;
    if root.id(keys.cluster) == next.id(keys.cluster) {
        return Ok(false);
    }
    let unlockers = resealed(dir, keys, &header, ways, next)?;
    let storage = with_new(&keys.storage);
    save(dir, keys, next, &storage, unlockers, Vec::new())?;
    failpoint("root.turned");
    keys.storage.replace(storage).expect("there is a new one");
    Ok(true)
}

/// Whether the header lies under this root key.
pub fn lies_under(dir: &Path, root: &Key<Root>) -> bool {
    load(dir).is_ok_and(|header| header.storage_keys(root).is_ok())
}

/// Forgets all storage keys but the newest. Nothing on the disk may lie under them any more.
///
/// # Errors
/// The header cannot be read or written; then it is as it was.
pub fn forget_older(dir: &Path, keys: &Unlocked) -> Result<(), KeyStoreError> {
    let _writing = writing();
    let (header, root) = load_own(dir, keys)?;
    let newest = vec![keys.storage.newest()];
    save(dir, keys, &root, &newest, header.unlockers, header.next)?;
    failpoint("root.forgotten");
    keys.storage.replace(newest).expect("there is one");
    Ok(())
}

/// The ways in with another root key behind them; nobody is asked for what opens them.
fn resealed(
    dir: &Path,
    keys: &Unlocked,
    header: &Header,
    ways: &Ways,
    root: &Key<Root>,
) -> Result<Vec<Unlocker>, KeyStoreError> {
    let here = |one: &&Unlocker| match one.kind() {
        Kind::File => ways.key_file,
        kind => kind.is_local(),
    };
    let all = header.unlockers.iter().filter(here).chain(&ways.shared);
    let resealed = all.map(|one| one.resealed(keys.cluster, root)).collect::<Result<Vec<_>, _>>();
    resealed.map_err(|source| KeyStoreError::Open { what: "unlocker", path: path(dir), source })
}

/// The header as this node wrote it, and which of its root keys it lies under: nobody else has put an unlocker there.
fn load_own(dir: &Path, keys: &Unlocked) -> Result<(Header, Arc<Key<Root>>), KeyStoreError> {
    let header = load(dir)?;
    let mut failed = OpenError::Short;
    for root in std::iter::once(&keys.root).chain(&keys.next) {
        match header.storage_keys(root) {
            Ok(_) => return Ok((header, Arc::clone(root))),
            Err(error) => failed = error,
        }
    }
    Err(KeyStoreError::Open { what: "storage key", path: path(dir), source: failed })
}

/// Held by whoever reads the header to write it anew.
fn writing() -> MutexGuard<'static, ()> {
    static WRITING: Mutex<()> = Mutex::new(());
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the key file if it is one of ours; what it opened is on the disk no more, so a failure is only told.
fn forget_key_file(path: &Path, mine: Option<&[Unlocker]>) {
    let ours = |id: UnlockerId| mine.is_none_or(|mine| mine.iter().any(|one| one.id == id));
    match file::load(path) {
        Ok(KeyFile { id, .. }) if ours(id) => {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove the key file, which opens nothing any more");
            }
        }
        Ok(_) | Err(KeyFileError::Missing { .. }) => {}
        Err(error) => {
            tracing::warn!(error = %chain(&error), "left alone what is in the place of the key file");
        }
    }
}

fn load(dir: &Path) -> Result<Header, KeyStoreError> {
    let path = dir.join(NAME);
    match files::read(&path, SIZE) {
        Ok(Some(bytes)) => Header::parse(&bytes).map_err(|bad| match bad {
            Bad::Foreign => KeyStoreError::Foreign { path },
            Bad::Format(format) => KeyStoreError::Format { path, format },
            Bad::Damaged => KeyStoreError::Damaged { path },
        }),
        Ok(None) => Err(KeyStoreError::Missing { path }),
        Err(source) => Err(KeyStoreError::Read { path, source }),
    }
}

/// Opens the node's keys with its key file or a command. Blocks as long as a command takes. Where somebody can be asked, or
/// something outside this machine may work again by itself, keys that do not open are locked.
///
/// # Errors
/// No header or a damaged one; where there is nothing but a key file: one that is missing, too open, damaged, or another
/// node's.
pub fn open(dir: &Path, key_file: &Path) -> Result<Opened, KeyStoreError> {
    let header = load(dir)?;
    let mut failed = match try_all(dir, key_file, &header) {
        Ok(keys) => return Ok(Opened::Open(keys)),
        Err(failed) => failed,
    };
    if header.unlockers.iter().all(|unlocker| unlocker.kind() == Kind::File) {
        let none = KeyStoreError::Damaged { path: path(dir) };
        return Err(if failed.is_empty() { none } else { failed.swap_remove(0) });
    }
    Ok(Opened::Locked(Locked::new(dir, header, reasons(&failed))))
}

/// Tries all that asks nobody, one after another; gives why each did not open.
fn try_all(dir: &Path, key_file: &Path, header: &Header) -> Result<Unlocked, Vec<KeyStoreError>> {
    let mut failed = Vec::new();
    for unlocker in &header.unlockers {
        match automatic(dir, key_file, header, unlocker) {
            None => {}
            Some(Ok(keys)) => return Ok(keys),
            Some(Err(error)) => failed.push(error),
        }
    }
    Err(failed)
}

fn reasons(failed: &[KeyStoreError]) -> Vec<String> {
    let reason = |error: &KeyStoreError| match error {
        // What became of a TPM is seldom plain from its words.
        KeyStoreError::Tpm(tpm) => format!("{}; {}", chain(error), tpm.hint()),
        other => chain(other).to_string(),
    };
    failed.iter().map(reason).collect()
}

/// The keys of a backup: its id stands in for a node's, its own key for the storage key.
pub fn of_backup(header: &backup::Header) -> Locked {
    let backup::Header { id, cluster, unlockers, wrapped_key, .. } = header;
    let header = Header {
        cluster: *cluster,
        node: *id,
        unlockers: unlockers.clone(),
        storage: WrappedStorage::Backup(wrapped_key.clone()),
        next: Vec::new(),
    };
    Locked::new(Path::new("backup"), header, Vec::new())
}

/// Tries an unlocker that asks nobody; nothing if it is none.
fn automatic(
    dir: &Path,
    key_file: &Path,
    header: &Header,
    unlocker: &Unlocker,
) -> Option<Result<Unlocked, KeyStoreError>> {
    let key = match &unlocker.method {
        Method::File => match file::load(key_file) {
            Ok(KeyFile { id, key }) if id == unlocker.id => Ok(key),
            Ok(_) => Err(KeyStoreError::OtherKeyFile {
                key_file: key_file.to_owned(),
                dir: dir.to_owned(),
            }),
            Err(error) => Err(error.into()),
        },
        Method::Command(helper) => helper.key().map_err(KeyStoreError::Helper),
        Method::Tpm2(tpm) => tpm.key().map_err(KeyStoreError::Tpm),
        Method::Autolock | Method::Recovery | Method::Passphrase(_) | Method::Shamir { .. } => {
            return None;
        }
    };
    Some(key.and_then(|key| {
        let opened = unlocker.unlock(header.cluster, &key);
        let root = opened.map_err(|source| KeyStoreError::Open {
            what: "root key",
            path: path(dir),
            source,
        })?;
        with_root(dir, header, root, (unlocker.id, &key))
    }))
}

fn with_root(
    dir: &Path,
    header: &Header,
    root: Key<Root>,
    (id, key): (UnlockerId, &Key<Unlock>),
) -> Result<Unlocked, KeyStoreError> {
    let failed = |what| move |source| KeyStoreError::Open { what, path: path(dir), source };
    let storage = header.storage_keys(&root).map_err(failed("storage key"))?;
    // The same way in opens the root key that is offered.
    let next = header.next.iter().find(|next| next.id == id);
    let next = next.map(|next| next.unlock(header.cluster, key)).transpose();
    let next = next.map_err(failed("next root key"))?.map(Arc::new).into_iter().collect();
    let (root, storage) = (Arc::new(root), Arc::new(storage));
    Ok(Unlocked { cluster: header.cluster, node: header.node, root, next, storage })
}

impl Header {
    /// The storage keys, if this is the root key they lie under, beside these unlockers.
    fn storage_keys(&self, root: &Key<Root>) -> Result<StorageKeys, OpenError> {
        let Self { cluster, node, unlockers, storage, next: _ } = self;
        match storage {
            WrappedStorage::Node(wrapped) => {
                let open = |wrapped: &Vec<u8>| {
                    Key::open_in_header(root, *cluster, *node, unlockers, wrapped).map(Arc::new)
                };
                StorageKeys::of(wrapped.iter().map(open).collect::<Result<_, _>>()?)
            }
            WrappedStorage::Backup(wrapped) => {
                Key::<Storage>::open(root, *cluster, *node, wrapped).map(Into::into)
            }
        }
    }
}

/// Reads these bytes as a header, and as what stands in one under a sum that fits.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    drop(Header::parse(bytes));
    if let Ok(header) = Header::parse(&header::around(bytes)) {
        assert_eq!(Header::parse(&header.print()), Ok(header), "what we print can be read");
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
