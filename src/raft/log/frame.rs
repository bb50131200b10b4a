//! Commit frames: what one write and one `fdatasync` put on the disk, and how its remains are judged.
//!
//! A segment is zero-filled before it is used, and only one frame is ever on its way to the disk. So an incomplete
//! last frame betrays itself by zeros where bytes should be (a whole sector, or the end marker), while a damaged one
//! does not: the first was never acknowledged and may go, the second must not.
//!
//! ```text
//! offset  0  magic "SFRM"        4  length of the body      8  sequence of the first record
//!        16  number of records  20  CRC-32 of the body     24  CRC-32 of bytes 0..24
//!        28  zeros              31  marker 0xA5
//!        32  body: each record as length (u32) and sealed bytes
//!         …  marker 0xA5, then zeros up to the next multiple of 512
//! ```
//! Numbers are little-endian.

/// Frames start at multiples of this: what a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
const HEADER: usize = 32;
const MAGIC: [u8; 4] = *b"SFRM";
/// Not zero, and no single flipped bit makes it so.
const MARKER: u8 = 0xA5;

/// A frame being filled.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    first_record: u64,
    count: u32,
}

/// A frame read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) first_record: u64,
    /// Each sealed record and its offset from the start of the frame.
    pub(super) records: Vec<(usize, &'a [u8])>,
    pub(super) body: &'a [u8],
    /// Bytes it takes on the disk, padding included.
    pub(super) extent: usize,
}

/// What lies where a frame could start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Frame(Parsed<'a>),
    /// Zeros from here to the end of the segment.
    End,
    /// The remains of a frame whose write was cut off; nothing in it was acknowledged.
    Torn,
    /// A frame that was complete once.
    Damaged(&'static str),
}

impl Frame {
    pub(super) fn new(first_record: u64) -> Self {
        Self { bytes: vec![0; HEADER], first_record, count: 0 }
    }

    /// Adds one sealed record; returns its offset from the start of the frame.
    ///
    /// # Panics
    /// If a record or the whole frame exceeds 4 GiB; callers stay under a few MiB.
    pub(super) fn push(&mut self, sealed: &[u8]) -> usize {
        let length = u32::try_from(sealed.len()).expect("records stay far below 4 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(sealed);
        self.count += 1;
        offset
    }

    /// The sequence the next record would get.
    pub(super) fn next_record(&self) -> u64 {
        self.first_record + u64::from(self.count)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    /// Completes header, marker and padding.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - HEADER).expect("frames stay below 4 GiB");
        let body_crc = crc32fast::hash(&self.bytes[HEADER..]);
        self.bytes[0..4].copy_from_slice(&MAGIC);
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&self.first_record.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[20..24].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes[0..24]);
        self.bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        self.bytes[31] = MARKER;
        self.bytes.push(MARKER);
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR), 0);
        self.bytes
    }
}

/// Bytes a frame with a body of this length takes on the disk.
pub(super) fn extent(body: usize) -> usize {
    (HEADER + body + 1).next_multiple_of(SECTOR)
}

/// Judges what starts at `rest[0]`; `rest` goes to the end of the segment and starts at a multiple of [`SECTOR`].
pub(super) fn judge(rest: &[u8]) -> Found<'_> {
    match parse(rest) {
        Ok(frame) => return Found::Frame(frame),
        Err(Flaw::NotComplete) => {}
        Err(Flaw::Nonsense(what)) => return Found::Damaged(what),
    }
    if is_zero(rest) {
        return Found::End;
    }
    // Frames are written one after another, each only when the one before is on the disk.
    let mut later = SECTOR;
    while later + HEADER <= rest.len() {
        if rest[later..].starts_with(&MAGIC) && parse(&rest[later..]).is_ok() {
            return Found::Damaged("a frame is unreadable although a later one is whole");
        }
        later += SECTOR;
    }
    let Some((length, _)) = header(rest) else {
        let lost = rest.get(..SECTOR).is_none_or(is_zero);
        return if lost || rest[HEADER - 1] == 0 {
            Found::Torn
        } else {
            Found::Damaged("the header of the last frame does not match its checksum")
        };
    };
    let end = HEADER + length + 1;
    if end > rest.len() {
        return Found::Damaged("the last frame is longer than the segment");
    }
    let extent = end.next_multiple_of(SECTOR).min(rest.len());
    if !is_zero(&rest[extent..]) {
        return Found::Damaged("there are bytes behind the last frame");
    }
    if rest[end - 1] == 0 || rest[..extent].chunks(SECTOR).any(is_zero) {
        Found::Torn
    } else {
        Found::Damaged("the last frame does not match its checksum")
    }
}

enum Flaw {
    NotComplete,
    /// Checksums fit, contents do not.
    Nonsense(&'static str),
}

fn parse(rest: &[u8]) -> Result<Parsed<'_>, Flaw> {
    let (length, crc) = header(rest).ok_or(Flaw::NotComplete)?;
    let body = rest.get(HEADER..HEADER + length).ok_or(Flaw::NotComplete)?;
    let end = rest.get(HEADER + length).ok_or(Flaw::NotComplete)?;
    if *end != MARKER || crc32fast::hash(body) != crc {
        return Err(Flaw::NotComplete);
    }
    let count = u32_at(rest, 16);
    let mut records = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let nonsense = Flaw::Nonsense("a frame's records do not fit it");
        let Some(prefix) = body.get(at..at + 4) else { return Err(nonsense) };
        let size = u32_at(prefix, 0) as usize;
        let Some(sealed) = body.get(at + 4..at + 4 + size) else { return Err(nonsense) };
        records.push((HEADER + at + 4, sealed));
        at += 4 + size;
    }
    if records.len() != count as usize || count == 0 {
        return Err(Flaw::Nonsense("a frame holds another number of records than it says"));
    }
    let first_record = u64::from_le_bytes(rest[8..16].try_into().expect("eight bytes"));
    Ok(Parsed { first_record, records, body, extent: extent(length) })
}

/// Length and checksum of the body, if the header is whole.
fn header(rest: &[u8]) -> Option<(usize, u32)> {
    let header = rest.get(..HEADER)?;
    let whole = header[0..4] == MAGIC
        && header[31] == MARKER
        && header[28..31] == [0; 3]
        && u32_at(header, 24) == crc32fast::hash(&header[..24]);
    whole.then(|| (u32_at(header, 4) as usize, u32_at(header, 20)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u64, sizes: &[usize]) -> Vec<u8> {
        let mut frame = Frame::new(first);
        for size in sizes {
            frame.push(&vec![0xEE; *size]);
        }
        assert_eq!(frame.next_record(), first + sizes.len() as u64);
        let extent = extent(frame.body().len());
        let bytes = frame.finish();
        assert_eq!(bytes.len(), extent);
        bytes
    }

    fn in_segment(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut segment = frames.concat();
        segment.resize(segment.len() + 4096, 0);
        segment
    }

    #[test]
    fn a_frame_reads_back() {
        let segment = in_segment(&[frame(7, &[10, 600, 0])]);
        let Found::Frame(parsed) = judge(&segment) else { panic!() };
        assert_eq!(parsed.first_record, 7);
        let sizes: Vec<usize> = parsed.records.iter().map(|(_, r)| r.len()).collect();
        assert_eq!(sizes, [10, 600, 0]);
        let (offset, record) = parsed.records[1];
        assert_eq!(&segment[offset..offset + 600], record);
        assert_eq!(judge(&segment[parsed.extent..]), Found::End);
    }

    #[test]
    fn a_frame_cut_off_at_any_byte_is_torn() {
        let whole = frame(1, &[900, 200]);
        let end = 32 + 4 + 900 + 4 + 200 + 1;
        for cut in 1..end {
            let mut segment = in_segment(std::slice::from_ref(&whole));
            segment[cut..].fill(0);
            assert_eq!(judge(&segment), Found::Torn, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_lost_any_sectors_is_torn() {
        let whole = frame(1, &[1900]);
        let sectors = whole.len() / SECTOR;
        for lost in 1..(1_u32 << sectors) - 1 {
            let mut segment = in_segment(std::slice::from_ref(&whole));
            for sector in 0..sectors {
                if lost & (1 << sector) != 0 {
                    segment[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
                }
            }
            assert_eq!(judge(&segment), Found::Torn, "lost {lost:b}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_last_frame_is_damage() {
        let whole = frame(1, &[700]);
        let end = 32 + 4 + 700 + 1;
        for byte in 0..end {
            let mut segment = in_segment(std::slice::from_ref(&whole));
            segment[byte] ^= 1 << (byte % 8);
            assert!(matches!(judge(&segment), Found::Damaged(_)), "byte {byte}");
        }
    }

    #[test]
    fn anything_wrong_before_a_whole_frame_is_damage() {
        let first = frame(1, &[700]);
        for cut in 0..first.len() {
            let mut segment = in_segment(&[first.clone(), frame(2, &[30])]);
            segment[cut..first.len()].fill(0);
            let whole = segment[..first.len()] == first[..];
            assert_eq!(matches!(judge(&segment), Found::Damaged(_)), !whole, "cut at {cut}");
        }
    }
}
