//! The decoders of the log as functions of bytes. Checksums are made to fit, or nothing behind them would ever be tried.

use super::{
    LogIdentity,
    frame::{self, Found, Frame, SECTOR},
    record::Record,
    segment::Header,
};
use crate::{
    crypto::key::Key,
    kit::id::{ClusterId, NodeId},
};
use std::sync::Arc;

/// What lies on the disk where a frame should begin: these bytes, and a frame with these bytes as its body.
pub(in crate::raft) fn frame(bytes: &[u8]) {
    let mut sectors = bytes.to_vec();
    sectors.resize(bytes.len().next_multiple_of(SECTOR), 0);
    frame::judge(&sectors);
    let (Some(count), Some(body)) = (bytes.first(), bytes.get(1..)) else { return };
    let fitting = fitting(u32::from(*count % 8), body);
    if let Found::Frame(found) = frame::judge(&fitting) {
        assert_eq!(found.extent, fitting.len(), "a frame ends where it was written to");
    }
}

/// A frame whose sums fit, whatever its body holds.
fn fitting(count: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new(7);
    let head = frame.push(body) - 4;
    let mut bytes = frame.finish();
    // One record was pushed; take its length away, so that the body is all ours.
    bytes.drain(head..head + 4);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[16..20].copy_from_slice(&count.to_le_bytes());
    bytes[20..24].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(frame::extent(body.len()), 0);
    bytes
}

/// The first sector of a segment: these bytes, and one of ours with its numbers from these bytes.
pub(in crate::raft) fn header(bytes: &[u8]) {
    let (cluster, node) = (ClusterId::from_random([1; 17]), NodeId::from_random([2; 17]));
    let identity = LogIdentity { cluster, node, key: Arc::new(Key::random().into()) };
    drop(Header::decode(bytes, &identity));
    let ours = Header { number: 1, first_record: 0, size: 4096, chain: [0; 32] };
    let mut fitting = ours.encode(&identity);
    let part = bytes.len().min(114);
    fitting[..part].copy_from_slice(&bytes[..part]);
    let sum = crc32fast::hash(&fitting[..114]);
    fitting[114..118].copy_from_slice(&sum.to_le_bytes());
    if let Ok(header) = Header::decode(&fitting, &identity) {
        assert_eq!(Header::decode(&header.encode(&identity), &identity), Ok(header));
    }
}

/// What a record says once it is open.
pub(in crate::raft) fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        let printed = record.encode();
        let again = Record::decode(&printed).expect("what we print can be read");
        assert_eq!(again.encode(), printed);
    }
}

/// Records to begin with.
#[cfg(test)]
pub(in crate::raft) fn records(entry: &crate::raft::types::Entry) -> Vec<Vec<u8>> {
    use crate::raft::types::Vote;
    let marks = [Record::Vote(Vote::new(3, 1)), Record::Truncate(9), Record::Purge(entry.log_id)];
    let marks = marks.iter().map(Record::encode);
    marks.chain([super::record::encode_entry(entry)]).collect()
}
