//! What one record of the log says, and what ties it to its place.

use super::LogIdentity;
use crate::{
    raft::{
        codec,
        types::{Entry, LogId, Vote},
    },
    wire::{Malformed, v1},
};
use prost::Message;
use sha2::{Digest, Sha256};

/// A record as it is replayed.
#[derive(Debug)]
pub(super) enum Record {
    Entry(Entry),
    Vote(Vote),
    /// Entries from this index on are gone.
    Truncate(u64),
    /// Entries up to this one are gone.
    Purge(LogId),
    /// Entries up to this one were committed.
    Commit(LogId),
}

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMIT: u8 = 5;

/// Ties a record to what was written before it: a hash over all earlier frames of the log.
pub(super) type Chain = [u8; 32];

/// The chain at the start of a segment, given the bytes of its header, which hold the chain of the one before.
pub(super) fn chain_start(header: &[u8]) -> Chain {
    Sha256::new().chain_update(b"secretd/log/segment/1").chain_update(header).finalize().into()
}

/// The chain after a frame with this body.
pub(super) fn chain_next(chain: &Chain, body: &[u8]) -> Chain {
    Sha256::new()
        .chain_update(b"secretd/log/frame/1")
        .chain_update(chain)
        .chain_update(body)
        .finalize()
        .into()
}

/// Where a record stands; all fields have fixed lengths, so their bytes in a row are unambiguous.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) sequence: u64,
    /// The chain before its frame.
    pub(super) chain: Chain,
}

impl Position {
    pub(super) fn aad(&self, identity: &LogIdentity) -> Vec<u8> {
        let mut aad = b"secretd/log/record/1".to_vec();
        aad.extend_from_slice(identity.cluster.as_str().as_bytes());
        aad.extend_from_slice(identity.node.as_str().as_bytes());
        aad.extend_from_slice(&self.segment.to_le_bytes());
        aad.extend_from_slice(&self.sequence.to_le_bytes());
        aad.extend_from_slice(&self.chain);
        aad
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry) => encode_entry(entry),
            Self::Vote(vote) => encode(VOTE, &codec::vote_to(vote)),
            Self::Truncate(from) => {
                encode(TRUNCATE, &v1::LogId { term: 0, leader: 0, index: *from })
            }
            Self::Purge(upto) => encode(PURGE, &codec::log_id_to(upto)),
            Self::Commit(upto) => encode(COMMIT, &codec::log_id_to(upto)),
        }
    }

    /// # Errors
    /// [`Malformed`]: written by a newer version, or not by us.
    pub(super) fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let (kind, message) =
            plain.split_first().ok_or_else(|| Malformed::new("an empty record"))?;
        let log_id = |m| v1::LogId::decode(m).map_err(codec::garbled);
        Ok(match *kind {
            ENTRY => Self::Entry(codec::entry_from(
                v1::LogEntry::decode(message).map_err(codec::garbled)?,
            )?),
            VOTE => {
                Self::Vote(codec::vote_from(&v1::Vote::decode(message).map_err(codec::garbled)?))
            }
            TRUNCATE => Self::Truncate(log_id(message)?.index),
            PURGE => Self::Purge(codec::log_id_from(&log_id(message)?)),
            COMMIT => Self::Commit(codec::log_id_from(&log_id(message)?)),
            other => return Err(Malformed::new(format!("a record of unknown kind {other}"))),
        })
    }

    /// Opens and decodes a record that was sealed at `position`.
    ///
    /// # Errors
    /// [`Malformed`]: it does not open there, or holds nonsense.
    pub(super) fn open(
        identity: &LogIdentity,
        position: &Position,
        sealed: &[u8],
    ) -> Result<Self, Malformed> {
        let plain = identity.key.open(&position.aad(identity), sealed).map_err(Malformed::new)?;
        Self::decode(&plain)
    }
}

pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(ENTRY, &codec::entry_to(entry))
}

fn encode(kind: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(kind);
    message.encode(&mut bytes).expect("a vector grows as needed");
    bytes
}
