//! The node's key header, `node.keys`: who it is, the unlockers of the root key, and its storage key.
//!
//! ```text
//! magic "secretd keys\n" ‖ SHA-256 of what follows (32) ‖ protobuf secretd.v1.NodeKeys
//! ```
//!
//! It is made first and holds no key in the clear; everything else in the data directory needs it to be read.

use super::files;
use crate::{
    crypto::{
        OpenError,
        key::{Key, Root, Storage},
        unlock::{
            Kind, Unlocker,
            file::{self, KeyFile, KeyFileError},
        },
    },
    kit::id::{ClusterId, NodeId},
    wire::v1,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const NAME: &str = "node.keys";
const MAGIC: &[u8] = b"secretd keys\n";
const FORMAT: u32 = 1;
/// A header with dozens of unlockers is far below this many bytes.
const SIZE: u64 = 64 * 1024;

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
                "bring the file back from a backup, or let the node leave and join anew"
            }
            Self::KeyFile(error) => error.hint(),
            Self::OtherKeyFile { .. } => {
                "give the key file that was made with this data directory: --key-file"
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
    pub storage: Arc<Key<Storage>>,
    /// The ways there are to the root key.
    pub unlockers: Vec<Kind>,
}

/// Whether `dir` belongs to a node that was set up, or whose set-up was cut off.
pub fn exists(dir: &Path) -> bool {
    dir.join(NAME).exists()
}

/// Where the header lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Makes the keys of a new node and cluster. The key file is made too, or used if there is one.
///
/// # Errors
/// The directory has keys already, the key file lies inside it or cannot be used, the disk fails.
pub fn create(
    dir: &Path,
    key_file: &Path,
    cluster: ClusterId,
    node: NodeId,
) -> Result<Unlocked, KeyStoreError> {
    create_with_root(dir, key_file, cluster, node, Key::random())
}

/// As [`create`], for a node that joins: the root key is the cluster's.
///
/// # Errors
/// As [`create`].
pub fn create_with_root(
    dir: &Path,
    key_file: &Path,
    cluster: ClusterId,
    node: NodeId,
    root: Key<Root>,
) -> Result<Unlocked, KeyStoreError> {
    let path = dir.join(NAME);
    if path.exists() {
        return Err(KeyStoreError::Exists { path });
    }
    file::refuse_inside(key_file, dir)?;
    // One may be there on purpose, or from a set-up that was cut off before the header was written.
    let KeyFile { id, key } = match file::load(key_file) {
        Err(KeyFileError::Missing { .. }) => file::create(key_file)?,
        loaded => loaded?,
    };
    let storage = Key::random();
    let header = Header {
        cluster,
        node,
        unlockers: vec![Unlocker::new(cluster, id, Kind::File, &key, &root)],
        wrapped_storage: storage.wrapped(&root, cluster, node),
    };
    files::replace(&path, &header.print())
        .map_err(|source| KeyStoreError::Write { path, source })?;
    let (root, storage) = (Arc::new(root), Arc::new(storage));
    Ok(Unlocked { cluster, node, root, storage, unlockers: vec![Kind::File] })
}

/// Puts the node's storage key under another root key: what was written with it stays readable.
///
/// # Errors
/// The key file cannot be used, the disk fails; then the header is as it was.
pub fn rekey(
    dir: &Path,
    key_file: &Path,
    keys: Unlocked,
    root: Key<Root>,
) -> Result<Unlocked, KeyStoreError> {
    let Unlocked { cluster, node, root: _, storage, unlockers: _ } = keys;
    let path = dir.join(NAME);
    let KeyFile { id, key } = file::load(key_file)?;
    let header = Header {
        cluster,
        node,
        unlockers: vec![Unlocker::new(cluster, id, Kind::File, &key, &root)],
        wrapped_storage: storage.wrapped(&root, cluster, node),
    };
    files::replace(&path, &header.print())
        .map_err(|source| KeyStoreError::Write { path, source })?;
    let root = Arc::new(root);
    Ok(Unlocked { cluster, node, root, storage, unlockers: vec![Kind::File] })
}

/// Opens the node's keys with its key file.
///
/// # Errors
/// No header, a damaged one, a key file that is missing, too open, damaged, or another node's.
pub fn open(dir: &Path, key_file: &Path) -> Result<Unlocked, KeyStoreError> {
    let path = dir.join(NAME);
    let header = match files::read(&path, SIZE) {
        Ok(Some(bytes)) => Header::parse(&bytes).map_err(|bad| match bad {
            Bad::Foreign => KeyStoreError::Foreign { path: path.clone() },
            Bad::Format(format) => KeyStoreError::Format { path: path.clone(), format },
            Bad::Damaged => KeyStoreError::Damaged { path: path.clone() },
        })?,
        Ok(None) => return Err(KeyStoreError::Missing { path }),
        Err(source) => return Err(KeyStoreError::Read { path, source }),
    };
    let Header { cluster, node, unlockers, wrapped_storage } = header;
    let KeyFile { id, key } = file::load(key_file)?;
    let unlocker =
        unlockers.iter().find(|u| u.kind == Kind::File && u.id == id).ok_or_else(|| {
            KeyStoreError::OtherKeyFile { key_file: key_file.to_owned(), dir: dir.to_owned() }
        })?;
    let failed = |what| move |source| KeyStoreError::Open { what, path: path.clone(), source };
    let root = unlocker.unlock(cluster, &key).map_err(failed.clone()("root key"))?;
    let storage = Key::<Storage>::open(&root, cluster, node, &wrapped_storage)
        .map_err(failed("storage key"))?;
    let unlockers = unlockers.iter().map(|u| u.kind).collect();
    Ok(Unlocked { cluster, node, root: Arc::new(root), storage: Arc::new(storage), unlockers })
}

/// `node.keys`, parsed.
#[derive(Debug, PartialEq)]
struct Header {
    cluster: ClusterId,
    node: NodeId,
    unlockers: Vec<Unlocker>,
    wrapped_storage: Vec<u8>,
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    Foreign,
    Format(u32),
    Damaged,
}

impl Header {
    fn print(&self) -> Vec<u8> {
        let Self { cluster, node, unlockers, wrapped_storage } = self;
        let print = |unlocker: &Unlocker| {
            let Unlocker { id, kind, wrapped_root } = unlocker;
            v1::Unlocker {
                kind: kind.as_str().to_owned(),
                parameters: Vec::new(),
                wrapped_root: wrapped_root.clone(),
                id: id.to_string(),
            }
        };
        let keys = v1::NodeKeys {
            format: FORMAT,
            cluster_id: cluster.to_string(),
            node_id: node.to_string(),
            unlockers: unlockers.iter().map(print).collect(),
            wrapped_storage_key: wrapped_storage.clone(),
        };
        let body = keys.encode_to_vec();
        [MAGIC, &Sha256::digest(&body)[..], &body].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Self, Bad> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Bad::Foreign)?;
        let (digest, body) = rest.split_first_chunk::<32>().ok_or(Bad::Damaged)?;
        if Sha256::digest(body)[..] != digest[..] {
            return Err(Bad::Damaged);
        }
        let keys = v1::NodeKeys::decode(body).map_err(|_| Bad::Damaged)?;
        let v1::NodeKeys { format, cluster_id, node_id, unlockers, wrapped_storage_key } = keys;
        if format != FORMAT {
            return Err(Bad::Format(format));
        }
        let parse = |unlocker: v1::Unlocker| {
            let v1::Unlocker { kind, parameters, wrapped_root, id } = unlocker;
            let kind = Kind::from_name(&kind).ok_or(Bad::Format(format))?;
            let id = id.parse().map_err(|_| Bad::Damaged)?;
            match kind {
                Kind::File if parameters.is_empty() => Ok(Unlocker { id, kind, wrapped_root }),
                Kind::File => Err(Bad::Format(format)),
            }
        };
        Ok(Self {
            cluster: cluster_id.parse().map_err(|_| Bad::Damaged)?,
            node: node_id.parse().map_err(|_| Bad::Damaged)?,
            unlockers: unlockers.into_iter().map(parse).collect::<Result<_, _>>()?,
            wrapped_storage: wrapped_storage_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("data")).unwrap();
            Self { root }
        }

        fn dir(&self) -> PathBuf {
            self.root.path().join("data")
        }

        fn key(&self) -> PathBuf {
            self.root.path().join("data.key")
        }

        fn create(&self) -> Result<Unlocked, KeyStoreError> {
            create(&self.dir(), &self.key(), ClusterId::random(), NodeId::random())
        }

        fn open(&self) -> Result<Unlocked, KeyStoreError> {
            open(&self.dir(), &self.key())
        }
    }

    /// Whether both stand for the same keys: what one seals, the other opens.
    fn same(a: &Unlocked, b: &Unlocked) -> bool {
        use crate::crypto::{keyring::Keyring, record};
        let (_, terms) = Keyring::generate(&a.root, a.cluster);
        let sealed = record::seal(&a.storage, b"", b"x");
        (a.cluster, a.node) == (b.cluster, b.node)
            && Keyring::open(&b.root, b.cluster, &terms).is_ok()
            && record::open(&b.storage, b"", &sealed).is_ok()
    }

    #[test]
    fn keys_open_again_with_their_key_file() {
        let place = Place::new();
        assert!(!exists(&place.dir()));
        let made = place.create().unwrap();
        assert!(exists(&place.dir()));
        assert!(same(&made, &place.open().unwrap()));
    }

    #[test]
    fn keys_are_made_once() {
        let place = Place::new();
        let made = place.create().unwrap();
        assert!(matches!(place.create(), Err(KeyStoreError::Exists { .. })));
        assert!(same(&made, &place.open().unwrap()));
    }

    #[test]
    fn a_key_file_that_is_there_already_is_used() {
        let place = Place::new();
        file::create(&place.key()).unwrap();
        let made = place.create().unwrap();
        assert!(same(&made, &place.open().unwrap()));
    }

    #[test]
    fn without_the_key_file_nothing_opens_and_the_error_says_so() {
        let place = Place::new();
        place.create().unwrap();
        fs::remove_file(place.key()).unwrap();
        let error = place.open().unwrap_err();
        assert!(error.to_string().starts_with("there is no key file at "), "{error}");
        assert!(error.hint().contains("--key-file"));
    }

    #[test]
    fn the_key_file_of_another_node_is_refused_by_name() {
        let (place, other) = (Place::new(), Place::new());
        place.create().unwrap();
        other.create().unwrap();
        let error = open(&place.dir(), &other.key()).unwrap_err();
        assert!(matches!(error, KeyStoreError::OtherKeyFile { .. }), "{error}");
    }

    #[test]
    fn a_key_file_inside_the_data_directory_is_refused_and_nothing_is_made() {
        let place = Place::new();
        let inside = place.dir().join("key");
        let error = create(&place.dir(), &inside, ClusterId::random(), NodeId::random());
        assert!(matches!(error, Err(KeyStoreError::KeyFile(KeyFileError::Inside { .. }))));
        assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_key_file_makes_no_header() {
        let place = Place::new();
        fs::write(place.key(), "secretd-key-file-1\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(place.key(), mode).unwrap();
        assert!(matches!(
            place.create(),
            Err(KeyStoreError::KeyFile(KeyFileError::Damaged { .. }))
        ));
        assert!(!exists(&place.dir()));
    }

    #[test]
    fn a_missing_foreign_and_newer_header_are_told_apart() {
        let place = Place::new();
        assert!(matches!(place.open(), Err(KeyStoreError::Missing { .. })));
        place.create().unwrap();
        let path = place.dir().join(NAME);
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(place.open(), Err(KeyStoreError::Foreign { .. })));
        let body = v1::NodeKeys { format: 2, ..Default::default() }.encode_to_vec();
        fs::write(&path, [MAGIC, &Sha256::digest(&body)[..], &body].concat()).unwrap();
        assert!(matches!(place.open(), Err(KeyStoreError::Format { format: 2, .. })));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(place.open(), Err(KeyStoreError::Read { .. })));
    }

    #[test]
    fn every_flipped_bit_of_the_header_is_noticed() {
        let place = Place::new();
        place.create().unwrap();
        let path = place.dir().join(NAME);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Header::parse(&bad).unwrap_err();
            assert!(matches!(error, Bad::Foreign | Bad::Damaged), "bit {bit}: {error:?}");
        }
        for len in 0..good.len() {
            Header::parse(&good[..len]).unwrap_err();
        }
    }

    #[test]
    fn a_header_edited_with_care_still_does_not_open() {
        let place = Place::new();
        place.create().unwrap();
        let path = place.dir().join(NAME);
        let mut header = Header::parse(&fs::read(&path).unwrap()).unwrap();
        header.node = NodeId::random();
        fs::write(&path, header.print()).unwrap();
        let error = place.open().unwrap_err();
        assert!(matches!(error, KeyStoreError::Open { what: "storage key", .. }), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            prop_assert!(Header::parse(&body).is_err());
            let framed = [MAGIC, &Sha256::digest(&body)[..], &body].concat();
            prop_assert!(Header::parse(&framed).is_err());
        }
    }
}
