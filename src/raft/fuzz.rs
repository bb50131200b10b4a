//! The decoders of this floor as functions of bytes.

use super::{
    backup::{Header, Reader, Writer},
    codec, log,
    snapshot::Part,
};
use crate::{
    crypto::key::{Key, Root, Storage},
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId},
    },
    wire::v1::{self, backup_part},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub fn log_frame(bytes: &[u8]) {
    log::fuzz::frame(bytes);
}

pub fn log_header(bytes: &[u8]) {
    log::fuzz::header(bytes);
}

pub fn log_record(bytes: &[u8]) {
    log::fuzz::record(bytes);
}

/// A row of the state file or of a snapshot.
pub fn state_row(bytes: &[u8]) {
    let Ok(row) = v1::Entity::decode(bytes) else { return };
    if let Ok(entity) = codec::entity_from(row) {
        let again = codec::entity_from(codec::entity_to(&entity));
        assert_eq!(again.expect("what we print can be read"), entity);
        codec::row_key(&entity.key());
    }
}

/// How far a state goes and who was a member then; an entry and a payload as they travel.
pub fn raft_message(bytes: &[u8]) {
    if let Ok(applied) = v1::Applied::decode(bytes) {
        drop(codec::applied_from(applied));
    }
    if let Ok(entry) = v1::LogEntry::decode(bytes) {
        drop(codec::entry_from(entry));
    }
    if let Ok(body) = v1::Body::decode(bytes) {
        drop(codec::body_from(body));
    }
}

/// The header of a backup: as it is, and under a sum that fits.
pub fn backup(bytes: &[u8]) {
    let (key, root) = (Key::<Storage>::random(), Key::<Root>::random());
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let fitting = [b"secretd backup\n", &length[..], &Sha256::digest(bytes)[..], bytes].concat();
    for bytes in [bytes, &fitting] {
        if let Ok(reader) = Reader::begin(bytes) {
            drop(reader.verify(&key, &root));
        }
    }
}

/// The parts of a backup, sealed as they should be: each is a length (a byte, in units of 16) and so many bytes.
pub fn backup_parts(mut bytes: &[u8]) {
    let (key, root) = (Key::<Storage>::random(), Key::<Root>::random());
    let (id, cluster) = (NodeId::random(), ClusterId::random());
    let header = Header {
        id,
        cluster,
        created_at: Timestamp(1),
        index: 7,
        version: String::new(),
        unlockers: Vec::new(),
        wrapped_key: key.wrapped(&root, cluster, id),
    };
    let (mut writer, mut file) = Writer::begin(&header, &key);
    while let Some((length, rest)) = bytes.split_first() {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(*length) * 16));
        bytes = rest;
        let part = match v1::BackupPart::decode(part).ok().and_then(|part| part.part) {
            Some(backup_part::Part::Header(header)) => Part::Header(header),
            Some(backup_part::Part::Rows(rows)) => Part::Rows(rows),
            Some(backup_part::Part::End(end)) => Part::End(end),
            None => continue,
        };
        file.extend(writer.frame(part));
    }
    let read = Reader::begin(file.as_slice()).expect("the header is ours");
    drop(read.verify(&key, &root));
}

/// Records and rows to begin with, out of a command and an object as they travel.
#[cfg(test)]
pub(crate) fn seeds(stamped: &[u8], object: &[u8]) -> Vec<Vec<u8>> {
    use super::types::{Batch, Entry, LogId};
    let stamped = crate::wire::convert::decode(stamped).unwrap();
    let payload = openraft::EntryPayload::Normal(Batch::new(vec![stamped], 100));
    let log_id = LogId::new(openraft::LeaderId::new(2, 1), 8);
    let entry = Entry { log_id, payload };
    let row = crate::store::Entity::Object(std::sync::Arc::new(
        crate::wire::convert::decode(object).unwrap(),
    ));
    let mut seeds = log::fuzz::records(&entry);
    seeds.push(codec::entry_to(&entry).encode_to_vec());
    seeds.push(codec::entity_to(&row).encode_to_vec());
    seeds
}
