//! One file of the log: its name, its header, and the zeros that wait to be written over.
//!
//! ```text
//! offset  0  magic "sdlog\0\0" and the format, 1       8  number of the segment
//!        16  sequence of its first record             24  bytes of the file
//!        32  chain of the segment before (32 bytes)   64  cluster id (25)   89  node id (25)
//!       114  CRC-32 of bytes 0..114                  118  zeros up to 512, where the first frame starts
//! ```

use super::{
    LogIdentity,
    disk::{Disk, DiskFile},
    frame::SECTOR,
    record::Chain,
};
use crate::kit::{failpoint::failpoint, id::ID_LEN};
use std::{io, sync::Arc};

const MAGIC: [u8; 7] = *b"sdlog\0\0";
const FORMAT: u8 = 1;
const CLUSTER: usize = 64;
const NODE: usize = CLUSTER + ID_LEN;
const CRC: usize = NODE + ID_LEN;
const END: usize = CRC + 4;
/// Name of the file that is being filled with zeros.
pub(super) const SPARE: &str = "spare";
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// A segment that can be read and, if it is the last, written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) size: u64,
}

/// A file of zeros.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) size: u64,
}

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) first_record: u64,
    pub(super) size: u64,
    pub(super) chain: Chain,
}

/// Why a segment is not read; each says what is wrong, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is not as it was written.
    Damaged(String),
    /// It was written so by somebody else.
    Foreign(String),
}

pub(super) fn name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The number in a segment's name; nothing if the file is no segment.
pub(super) fn number(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".log")?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?
}

/// Makes the spare of `size` zero bytes, or of a part of it where the disk is small, and leaves `margin` bytes free.
pub(super) fn fill_spare(disk: &dyn Disk, size: u64, margin: u64) -> io::Result<Filled> {
    let free = disk.free()?.saturating_sub(margin);
    let sizes = [size, size / 4, size / 16];
    let Some(size) = sizes.into_iter().find(|size| *size <= free) else {
        let text = format!("only {free} bytes are free beyond the {margin} that are kept");
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    };
    Ok(Filled { file: zeroed(disk, SPARE, size)?, size })
}

/// Makes a file of `size` zero bytes, on the disk: writing over them later changes no file size and allocates nothing.
pub(super) fn zeroed(disk: &dyn Disk, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
    let fill = || {
        let file = disk.create(name)?;
        let mut at = 0;
        while at < size {
            let part = usize::try_from(size - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
            file.write_at(&ZEROS[..part], at)?;
            at += part as u64;
        }
        file.sync()?;
        failpoint("log.spare.filled");
        Ok(file)
    };
    fill().inspect_err(|_| {
        // A half-filled file would only keep a full disk full; if it cannot go either, the next try replaces it.
        let _gone = disk.remove(name);
    })
}

impl Header {
    pub(super) fn encode(&self, identity: &LogIdentity) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[7] = FORMAT;
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_record.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.chain);
        bytes[CLUSTER..NODE].copy_from_slice(identity.cluster.as_str().as_bytes());
        bytes[NODE..CRC].copy_from_slice(identity.node.as_str().as_bytes());
        let crc = crc32fast::hash(&bytes[..CRC]);
        bytes[CRC..END].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// # Errors
    /// [`BadHeader`]: no single bit that turned round makes a segment one of somebody else.
    pub(super) fn decode(bytes: &[u8], identity: &LogIdentity) -> Result<Self, BadHeader> {
        let damaged = |what: &str| BadHeader::Damaged(what.to_owned());
        let bytes =
            bytes.get(..SECTOR).ok_or_else(|| damaged("it is too short to be a segment"))?;
        // A header of ours but for the byte that tells its format has not another format.
        let mut ours = [0; CRC];
        ours.copy_from_slice(&bytes[..CRC]);
        ours[7] = FORMAT;
        let sum = bytes[CRC..END].to_vec();
        let whole = |header: &[u8]| sum == crc32fast::hash(header).to_le_bytes();
        if bytes[..7] != MAGIC {
            return Err(damaged("its header does not start like that of a segment"));
        }
        if bytes[7] != FORMAT && !whole(&ours) {
            return Err(BadHeader::Foreign(format!(
                "it has format {}, this version of secretd knows {FORMAT}",
                bytes[7]
            )));
        }
        let u64_at =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if !whole(&bytes[..CRC]) {
            return Err(damaged("its header does not match its checksum"));
        }
        // It counts as well: the chain of the records begins with the whole sector.
        if bytes[END..].iter().any(|byte| *byte != 0) {
            return Err(damaged("there is something behind its header"));
        }
        for (what, at, ours) in [
            ("cluster", CLUSTER, identity.cluster.as_str()),
            ("node", NODE, identity.node.as_str()),
        ] {
            let theirs = &bytes[at..at + ID_LEN];
            if theirs != ours.as_bytes() {
                let theirs = String::from_utf8_lossy(theirs);
                let text = format!("it belongs to {what} {theirs}, this is {what} {ours}");
                return Err(BadHeader::Foreign(text));
            }
        }
        Ok(Self {
            number: u64_at(8),
            first_record: u64_at(16),
            size: u64_at(24),
            chain: bytes[32..64].try_into().expect("32 bytes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::key::Key,
        kit::id::{ClusterId, NodeId},
    };

    fn identity(n: u8) -> LogIdentity {
        let (cluster, node) = (ClusterId::from_random([1; 17]), NodeId::from_random([n; 17]));
        LogIdentity { cluster, node, key: Arc::new(Key::random().into()) }
    }

    #[test]
    fn a_bit_that_turns_round_in_a_header_is_damage_and_makes_it_nobody_elses() {
        let (ours, theirs) = (identity(1), identity(2));
        let header = Header { number: 3, first_record: 70, size: 1 << 20, chain: [9; 32] };
        let good = header.encode(&ours);
        assert_eq!(Header::decode(&good, &ours), Ok(header));
        assert!(matches!(Header::decode(&good, &theirs), Err(BadHeader::Foreign(_))));
        for bit in 0..8 * SECTOR {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = Header::decode(&bytes, &ours);
            assert!(matches!(read, Err(BadHeader::Damaged(_))), "bit {bit}: {read:?}");
        }
    }

    #[test]
    fn a_header_of_another_format_is_told_from_a_damaged_one() {
        let header = Header { number: 1, first_record: 0, size: 4096, chain: [0; 32] };
        let mut bytes = header.encode(&identity(1));
        bytes[7] = FORMAT + 1;
        let sum = crc32fast::hash(&bytes[..CRC]);
        bytes[CRC..END].copy_from_slice(&sum.to_le_bytes());
        let read = Header::decode(&bytes, &identity(1));
        let Err(BadHeader::Foreign(what)) = read else { panic!("{read:?}") };
        assert!(what.contains("format 2"), "{what}");
    }
}
