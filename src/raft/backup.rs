//! A backup: a snapshot in a file of its own, sealed to a key of its own.
//!
//! ```text
//! magic "secretd backup\n" ‖ length (u32) ‖ SHA-256 of the header ‖ header: protobuf secretd.v1.BackupHeader
//! frames: length (u32) ‖ protobuf secretd.v1.BackupPart, sealed; bound to the digest of the header and its number
//! ```
//! Numbers are big-endian. The header says which unlockers open the root key; the root key opens the backup's key. The last
//! frame is the end of the snapshot, with its digest: a file that was cut off has none.

use super::{
    log::LogIdentity,
    snapshot::{self, Part, SnapshotError},
    state_file::{StateFileError, View},
};
use crate::{
    crypto::{
        OpenError,
        key::{Key, Root, Storage},
        keyring::Keyring,
        record,
        unlock::Unlocker,
    },
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ObjectId},
    },
    model::{
        cluster::Cluster,
        object::{Kind, Object},
    },
    store::Entity,
    wire::{
        Malformed,
        v1::{self, backup_part},
    },
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

const MAGIC: &[u8] = b"secretd backup\n";
const FORMAT: u32 = 2;
/// A header with all the unlockers there may be is far below this many bytes.
const HEADER: u32 = 4 * 1024 * 1024;
/// A frame holds a chunk of a snapshot: about a mebibyte, or one row.
const FRAME: u32 = 64 * 1024 * 1024;

/// What can be known of a backup without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Has the form of a node's id, because its key is sealed as a node's storage key is.
    pub id: NodeId,
    pub cluster: ClusterId,
    pub created_at: Timestamp,
    /// The last entry it holds.
    pub index: u64,
    /// The secretd that made it.
    pub version: String,
    /// What opens the root key.
    pub unlockers: Vec<Unlocker>,
    /// The backup's key, sealed to the root key.
    pub wrapped_key: Vec<u8>,
}

/// What a backup holds, once it was opened to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub header: Header,
    /// The cluster as it was.
    pub restored: Arc<Cluster>,
    pub secrets: u64,
    pub configs: u64,
    pub services: u64,
    pub nodes: u64,
}

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot read the backup")]
    Read(#[source] io::Error),
    #[error("this is not a backup of secretd")]
    Foreign,
    #[error("the backup has format {0}, which this secretd does not know")]
    Format(u32),
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    #[error("the backup ends before its end: it was not written, or not copied, completely")]
    Cut,
    #[error("the backup's {what} cannot be opened")]
    Open { what: String, source: OpenError },
    #[error("cannot write the state file")]
    StateFile(#[source] StateFileError),
    #[error("cannot make a backup: {0}")]
    Make(String),
}

impl BackupError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign => Some("give the file that `secretctl backup create` wrote"),
            Self::Format(_) => Some("it was written by a newer secretd: use that version"),
            Self::Damaged(_) | Self::Cut | Self::Open { .. } => {
                Some("use another backup, or another copy of this one")
            }
            Self::StateFile(error) => Some(error.hint()),
            Self::Read(_) | Self::Make(_) => None,
        }
    }
}

impl From<Malformed> for BackupError {
    fn from(bad: Malformed) -> Self {
        Self::Damaged(bad.to_string())
    }
}

impl Header {
    fn print(&self) -> Vec<u8> {
        let Self { id, cluster, created_at, index, version, unlockers, wrapped_key } = self;
        let header = v1::BackupHeader {
            format: FORMAT,
            id: id.to_string(),
            cluster_id: cluster.to_string(),
            created_at_ms: created_at.0,
            index: *index,
            version: version.clone(),
            unlockers: unlockers.iter().map(Into::into).collect(),
            wrapped_key: wrapped_key.clone(),
        };
        header.encode_to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let bad = |what: &'static str| move |_| BackupError::Damaged(format!("bad {what}"));
        let header = v1::BackupHeader::decode(bytes).map_err(bad("header"))?;
        let v1::BackupHeader {
            format,
            id,
            cluster_id,
            created_at_ms,
            index,
            version,
            unlockers,
            wrapped_key,
        } = header;
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        // The sum fits, so what cannot be understood is not damaged but newer.
        let unlockers = unlockers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>();
        Ok(Self {
            id: id.parse().map_err(|_| BackupError::Damaged("bad id".to_owned()))?,
            cluster: cluster_id
                .parse()
                .map_err(|_| BackupError::Damaged("bad cluster id".to_owned()))?,
            created_at: Timestamp(created_at_ms),
            index,
            version,
            unlockers: unlockers.map_err(|_: Malformed| BackupError::Format(format))?,
            wrapped_key,
        })
    }
}

/// Puts a backup together, piece by piece.
pub(super) struct Writer<'a> {
    key: &'a Key<Storage>,
    digest: [u8; 32],
    number: u64,
}

impl<'a> Writer<'a> {
    /// Begins with these bytes.
    pub(super) fn begin(header: &Header, key: &'a Key<Storage>) -> (Self, Vec<u8>) {
        let body = header.print();
        let digest: [u8; 32] = Sha256::digest(&body).into();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = [MAGIC, &length, &digest, &body].concat();
        (Self { key, digest, number: 0 }, bytes)
    }

    /// The bytes of the next frame.
    pub(super) fn frame(&mut self, part: Part) -> Vec<u8> {
        let part = match part {
            Part::Header(header) => backup_part::Part::Header(header),
            Part::Rows(rows) => backup_part::Part::Rows(rows),
            Part::End(end) => backup_part::Part::End(end),
        };
        let plain = v1::BackupPart { part: Some(part) }.encode_to_vec();
        let mut bytes = vec![0; 4];
        record::seal_into(self.key, &aad(&self.digest, self.number), &plain, &mut bytes);
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.number += 1;
        bytes
    }
}

fn aad(digest: &[u8; 32], number: u64) -> Vec<u8> {
    [b"backup".as_slice(), digest, &number.to_be_bytes()].concat()
}

/// A backup that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    digest: [u8; 32],
    number: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// No backup, a damaged or newer one, a file that cannot be read.
    pub fn begin(mut input: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BackupError::Foreign);
            }
            read => read.map_err(BackupError::Read)?,
        }
        if magic != MAGIC {
            return Err(BackupError::Foreign);
        }
        let length = number(&mut input)?;
        let mut digest = [0; 32];
        exact(&mut input, &mut digest)?;
        let body = bytes(&mut input, length, HEADER)?;
        if Sha256::digest(&body)[..] != digest {
            return Err(BackupError::Damaged("its header does not fit its sum".to_owned()));
        }
        let header = Header::parse(&body)?;
        Ok(Self { input, header, digest, number: 0, ended: false })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next part; none after the end, which must be the end of the file too.
    fn next(&mut self, key: &Key<Storage>) -> Result<Option<Part>, BackupError> {
        if self.ended {
            let mut more = [0; 1];
            return match self.input.read(&mut more).map_err(BackupError::Read)? {
                0 => Ok(None),
                _ => Err(BackupError::Damaged("something follows its end".to_owned())),
            };
        }
        let length = number(&mut self.input)?;
        let sealed = bytes(&mut self.input, length, FRAME)?;
        let opened = record::open(key, &aad(&self.digest, self.number), &sealed);
        let what = format!("frame {}", self.number);
        let plain = opened.map_err(|source| BackupError::Open { what, source })?;
        self.number += 1;
        let part = v1::BackupPart::decode(plain.as_slice()).ok().and_then(|part| part.part);
        let part = match part.ok_or_else(|| BackupError::Damaged("an empty frame".to_owned()))? {
            backup_part::Part::Header(header) => Part::Header(header),
            backup_part::Part::Rows(rows) => Part::Rows(rows),
            backup_part::Part::End(end) => {
                self.ended = true;
                Part::End(end)
            }
        };
        Ok(Some(part))
    }

    /// Opens everything, payloads too, and says what there is.
    ///
    /// # Errors
    /// [`BackupError`]: anything that would keep it from being restored.
    pub fn verify(mut self, key: &Key<Storage>, root: &Key<Root>) -> Result<Summary, BackupError> {
        let mut check = Check::new(root);
        while let Some(part) = self.next(key)? {
            check.part(part)?;
        }
        let Self { header, .. } = self;
        check.summary(header)
    }

    /// Hands over every part, in order.
    ///
    /// # Errors
    /// As [`Reader::verify`], without a look at the payloads.
    pub(super) fn each(
        mut self,
        key: &Key<Storage>,
        mut take: impl FnMut(Part) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        while let Some(part) = self.next(key)? {
            take(part)?;
        }
        Ok(())
    }
}

fn exact(input: &mut impl Read, out: &mut [u8]) -> Result<(), BackupError> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Cut,
        _ => BackupError::Read(error),
    })
}

fn number(input: &mut impl Read) -> Result<u32, BackupError> {
    let mut bytes = [0; 4];
    exact(input, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Reads as it goes: a length that lies must not take the memory it speaks of.
fn bytes(input: &mut impl Read, length: u32, most: u32) -> Result<Vec<u8>, BackupError> {
    if length > most {
        return Err(BackupError::Damaged(format!("a length of {length} bytes")));
    }
    let mut bytes = Vec::new();
    let read = input.take(u64::from(length)).read_to_end(&mut bytes).map_err(BackupError::Read)?;
    if u32::try_from(read).ok() == Some(length) { Ok(bytes) } else { Err(BackupError::Cut) }
}

/// Judges a backup as it is read.
struct Check<'a> {
    root: &'a Key<Root>,
    begun: bool,
    ended: bool,
    sha: Sha256,
    entities: u64,
    bodies: u64,
    cluster: Option<Arc<Cluster>>,
    keyring: Option<Keyring>,
    objects: BTreeMap<ObjectId, Arc<Object>>,
    services: u64,
    nodes: u64,
}

impl<'a> Check<'a> {
    fn new(root: &'a Key<Root>) -> Self {
        Self {
            root,
            begun: false,
            ended: false,
            sha: Sha256::new(),
            entities: 0,
            bodies: 0,
            cluster: None,
            keyring: None,
            objects: BTreeMap::new(),
            services: 0,
            nodes: 0,
        }
    }

    fn part(&mut self, part: Part) -> Result<(), BackupError> {
        let damaged = |what: &str| Err(BackupError::Damaged(what.to_owned()));
        match part {
            Part::Header(_) if !self.begun => self.begun = true,
            Part::Rows(rows) if self.begun && !self.ended => {
                self.sha.update(rows.encode_to_vec());
                let v1::SnapshotRows { entities, bodies } = rows;
                for entity in entities {
                    self.entity(super::codec::entity_from(entity)?)?;
                }
                for body in bodies {
                    self.body(body)?;
                }
            }
            Part::End(v1::SnapshotEnd { entities, bodies, digest }) if self.begun => {
                let sha = std::mem::take(&mut self.sha).finalize();
                if (entities, bodies) != (self.entities, self.bodies) || digest != sha[..] {
                    return damaged("it does not match its digest");
                }
                self.ended = true;
            }
            Part::Header(_) | Part::Rows(_) | Part::End(_) => {
                return damaged("its parts are out of order");
            }
        }
        Ok(())
    }

    fn entity(&mut self, entity: Entity) -> Result<(), BackupError> {
        self.entities += 1;
        match entity {
            Entity::Cluster(cluster) => {
                let opened = Keyring::open(self.root, cluster.id, &cluster.keyring);
                let what = "keyring".to_owned();
                self.keyring = Some(opened.map_err(|source| BackupError::Open { what, source })?);
                self.cluster = Some(cluster);
            }
            Entity::Object(object) => {
                self.objects.insert(object.id, object);
            }
            Entity::Service(_) => self.services += 1,
            Entity::Node(_) => self.nodes += 1,
            Entity::Task(_) | Entity::Answered(_) | Entity::Remnant(_) | Entity::Destroyed(_) => {}
        }
        Ok(())
    }

    /// All rows come before the first body.
    fn body(&mut self, body: v1::Body) -> Result<(), BackupError> {
        self.bodies += 1;
        let (at, sealed) = super::codec::body_from(body)?;
        let damaged = |what: String| BackupError::Damaged(what);
        let (Some(cluster), Some(keyring)) = (&self.cluster, &self.keyring) else {
            return Err(damaged("payloads without a cluster".to_owned()));
        };
        let object = self.objects.get(&at.object);
        let version = object.and_then(|object| object.version(at.version));
        let (Some(object), Some(version)) = (object, version) else {
            return Err(damaged(format!("a payload of object {}, which it lacks", at.object)));
        };
        let context = object.context(cluster.id, at.version);
        let what = format!("payload of {} {} {}", object.kind, object.name, at.version);
        let checked = keyring.check(&context, &sealed);
        let len = checked.map_err(|source| BackupError::Open { what: what.clone(), source })?;
        if len as u64 != version.size {
            return Err(damaged(format!("the {what} has another size")));
        }
        Ok(())
    }

    fn summary(self, header: Header) -> Result<Summary, BackupError> {
        let Self { ended, bodies, cluster, objects, services, nodes, .. } = self;
        let damaged = |what: &str| Err(BackupError::Damaged(what.to_owned()));
        if !ended {
            return Err(BackupError::Cut);
        }
        let Some(restored) = cluster.filter(|cluster| cluster.id == header.cluster) else {
            return damaged("it holds another cluster than it says");
        };
        let versions: usize = objects.values().map(|object| object.versions.len()).sum();
        if versions as u64 != bodies {
            return damaged("it lacks payloads");
        }
        let of = |kind| objects.values().filter(|object| object.kind == kind).count() as u64;
        let (secrets, configs) = (of(Kind::Secret), of(Kind::Config));
        Ok(Summary { header, restored, secrets, configs, services, nodes })
    }
}

/// Writes all that a view shows; `send` takes the pieces.
pub(super) fn write(
    view: &View,
    identity: &LogIdentity,
    header: &Header,
    key: &Key<Storage>,
    mut send: impl FnMut(Vec<u8>) -> bool,
) -> Result<(), BackupError> {
    let (mut writer, begin) = Writer::begin(header, key);
    let gone = || BackupError::Make("the caller went away".to_owned());
    if !send(begin) {
        return Err(gone());
    }
    let sent = snapshot::send(view, identity, |part| {
        if send(writer.frame(part)) { Ok(()) } else { Err(SnapshotError::Gone) }
    });
    sent.map_err(|error| match error {
        SnapshotError::Gone => gone(),
        error @ (SnapshotError::File(_) | SnapshotError::Unusable(_)) => {
            BackupError::Make(crate::kit::chain::chain(&error).to_string())
        }
    })
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::unlock::Method, kit::id::UnlockerId};
    use proptest::prelude::*;

    fn header(root: &Key<Root>, key: &Key<Storage>) -> Header {
        let (id, cluster) = (NodeId::random(), ClusterId::random());
        let unlocker =
            Unlocker::new(cluster, UnlockerId::random(), Method::Recovery, &Key::random(), root);
        Header {
            id,
            cluster,
            created_at: Timestamp(1_790_000_000_000),
            index: 7,
            version: "0.1.0".to_owned(),
            unlockers: vec![unlocker],
            wrapped_key: key.wrapped(root, cluster, id),
        }
    }

    /// A backup without any row; its parts are as those of a full one.
    fn small(header: &Header, key: &Key<Storage>) -> Vec<u8> {
        let (mut writer, mut bytes) = Writer::begin(header, key);
        let begin = v1::SnapshotHeader { format: 1, ..Default::default() };
        bytes.extend(writer.frame(Part::Header(begin)));
        let digest = Sha256::new().finalize().to_vec();
        bytes.extend(writer.frame(Part::End(v1::SnapshotEnd { entities: 0, bodies: 0, digest })));
        bytes
    }

    fn read(bytes: &[u8], key: &Key<Storage>) -> Result<usize, BackupError> {
        let mut parts = 0;
        Reader::begin(bytes)?.each(key, |_| {
            parts += 1;
            Ok(())
        })?;
        Ok(parts)
    }

    #[test]
    fn parts_come_back_in_order_and_the_header_as_it_was() {
        let (root, key) = (Key::random(), Key::random());
        let header = header(&root, &key);
        let bytes = small(&header, &key);
        assert_eq!(Reader::begin(bytes.as_slice()).unwrap().header(), &header);
        assert_eq!(read(&bytes, &key).unwrap(), 2);
        let empty = Reader::begin(bytes.as_slice()).unwrap().verify(&key, &root).unwrap_err();
        assert!(matches!(empty, BackupError::Damaged(_)), "it holds no cluster: {empty}");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (root, key) = (Key::random(), Key::random());
        let good = small(&header(&root, &key), &key);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            read(&bad, &key).unwrap_err();
        }
        for len in 0..good.len() {
            read(&good[..len], &key).unwrap_err();
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert!(matches!(read(&longer, &key), Err(BackupError::Damaged(_))));
    }

    #[test]
    fn frames_of_another_backup_or_in_another_order_do_not_open() {
        let (root, key) = (Key::random(), Key::random());
        let (one, two) = (header(&root, &key), header(&root, &key));
        let cut = |header: &Header| {
            let (_, begin) = Writer::begin(header, &key);
            let all = small(header, &key);
            let length = u32::from_be_bytes(all[begin.len()..][..4].try_into().unwrap());
            let first = begin.len() + 4 + length as usize;
            (begin.clone(), all[begin.len()..first].to_vec(), all[first..].to_vec())
        };
        let ((begin, first, last), (_, foreign, _)) = (cut(&one), cut(&two));
        for frames in [[&last, &first], [&first, &first], [&foreign, &last]] {
            let mixed = [begin.as_slice(), frames[0], frames[1]].concat();
            let error = read(&mixed, &key).unwrap_err();
            assert!(matches!(error, BackupError::Open { .. }), "{error}");
        }
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let bytes = [MAGIC, &u32::MAX.to_be_bytes(), &[0; 32]].concat();
        assert!(matches!(Reader::begin(bytes.as_slice()), Err(BackupError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>, rest: Vec<u8>) {
            prop_assert!(Reader::begin(body.as_slice()).is_err());
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            let framed = [MAGIC, &length, &Sha256::digest(&body)[..], &body, &rest].concat();
            if let Ok(reader) = Reader::begin(framed.as_slice()) {
                prop_assert!(reader.verify(&Key::random(), &Key::random()).is_err());
            }
        }
    }
}
