//! Weighs a message before it is decoded: a few bytes on the wire can become hundreds in memory.
//!
//! An empty element of a list takes two bytes of a message and a whole struct once it is decoded. The shapes of all
//! messages are generated from `proto/`; a walk over the bytes, which allocates nothing, adds up what they would take.

use crate::kit::limits::{WEIGHT_FLOOR, WEIGHT_PER_BYTE};

/// Messages within messages; ours lie less than half as deep.
const DEPTH: u32 = 32;

/// What a message consists of, as far as it can grow.
#[derive(Debug)]
pub struct Shape {
    /// Bytes that it takes in memory, without what lies elsewhere.
    pub size: usize,
    /// By number; a field that is not here is part of the size, or is skipped.
    pub fields: &'static [(u32, Field)],
}

/// What a field adds to its message.
#[derive(Debug)]
pub enum Field {
    /// A message that is part of the one around it.
    One(&'static Shape),
    /// A message that lies elsewhere.
    Boxed(&'static Shape),
    /// Any number of messages, or entries of a map.
    Each(&'static Shape),
    /// Any number of strings or byte strings.
    Texts,
    /// Any number of numbers.
    Numbers,
}

/// A message whose shape is known.
pub trait Shaped {
    const SHAPE: &'static Shape;
}

/// What an entry of a map takes: its key and its value twice, for a tree's nodes are half empty at worst.
pub const fn entry<K, V>() -> usize {
    2 * (size_of::<K>() + size_of::<V>())
}

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a message of {len} bytes would take more than {} in memory", allowance(*len))]
    Heavy { len: usize },
    #[error("messages lie too deep within each other")]
    Deep,
    #[error("the bytes are no message")]
    Garbled,
}

/// What a message of so many bytes may take in memory.
pub const fn allowance(len: usize) -> usize {
    WEIGHT_FLOOR.saturating_add(len.saturating_mul(WEIGHT_PER_BYTE))
}

/// Checks that a message, once decoded, takes no more than its length allows.
///
/// # Errors
/// It would, or it cannot be decoded at all.
pub fn weigh(shape: &Shape, bytes: &[u8]) -> Result<(), Unfit> {
    let mut scale = Scale { left: allowance(bytes.len()), len: bytes.len() };
    scale.add(shape.size)?;
    scale.message(shape, bytes, DEPTH)
}

struct Scale {
    left: usize,
    len: usize,
}

impl Scale {
    fn add(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(bytes).ok_or(Unfit::Heavy { len: self.len })?;
        Ok(())
    }

    fn message(&mut self, shape: &Shape, mut bytes: &[u8], depth: u32) -> Result<(), Unfit> {
        let depth = depth.checked_sub(1).ok_or(Unfit::Deep)?;
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let number = u32::try_from(key >> 3).map_err(|_| Unfit::Garbled)?;
            let field = shape.fields.iter().find(|(n, _)| *n == number).map(|(_, field)| field);
            match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                }
                1 => drop(take(&mut bytes, 8)?),
                5 => drop(take(&mut bytes, 4)?),
                2 => {
                    let len = usize::try_from(varint(&mut bytes)?).map_err(|_| Unfit::Garbled)?;
                    let inner = take(&mut bytes, len)?;
                    self.delimited(field, inner, depth)?;
                    continue;
                }
                // Groups, which nobody sends any more.
                _ => return Err(Unfit::Garbled),
            }
            if matches!(field, Some(Field::Numbers)) {
                self.add(size_of::<u64>())?;
            }
        }
        Ok(())
    }

    fn delimited(&mut self, field: Option<&Field>, inner: &[u8], depth: u32) -> Result<(), Unfit> {
        match field {
            Some(Field::One(shape)) => self.message(shape, inner, depth),
            Some(Field::Boxed(shape) | Field::Each(shape)) => {
                self.add(shape.size)?;
                self.message(shape, inner, depth)
            }
            Some(Field::Texts) => self.add(size_of::<Vec<u8>>() + inner.len()),
            // Packed: none takes less than a byte.
            Some(Field::Numbers) => self.add(size_of::<u64>() * inner.len()),
            None => self.add(inner.len()),
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Unfit> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or(Unfit::Garbled)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Unfit> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or(Unfit::Garbled)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unfit::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1;
    use prost::Message;

    fn weigh_as<M: Shaped>(bytes: &[u8]) -> Result<(), Unfit> {
        weigh(M::SHAPE, bytes)
    }

    /// A message with this field `count` times, empty each time.
    fn empties(field: u8, count: usize) -> Vec<u8> {
        [field << 3 | 2, 0].repeat(count)
    }

    #[test]
    fn millions_of_empty_elements_are_too_heavy_at_any_depth() {
        let heavy = |bytes: &[u8]| Err(Unfit::Heavy { len: bytes.len() });
        let entries = empties(4, 2_000_000);
        assert_eq!(weigh_as::<v1::AppendEntriesRequest>(&entries), heavy(&entries));
        let commands = v1::LogEntry {
            payload: Some(v1::log_entry::Payload::Batch(v1::Batch {
                commands: vec![v1::Stamped::default(); 500_000],
            })),
            ..Default::default()
        };
        let deep = v1::AppendEntriesRequest { entries: vec![commands], ..Default::default() };
        let deep = deep.encode_to_vec();
        assert_eq!(weigh_as::<v1::AppendEntriesRequest>(&deep), heavy(&deep));
        let lines = empties(3, 100_000);
        assert_eq!(weigh_as::<v1::PublishLogsRequest>(&lines), heavy(&lines));
    }

    #[test]
    fn what_is_really_sent_is_light_enough() {
        let log_id = Some(v1::LogId { term: 3, leader: 1, index: 70_000 });
        let line = v1::LogLine { at_ms: 1_790_000_000_000, output: 1, line: Vec::new() };
        let lines = v1::PublishLogsRequest { lines: vec![line; 100_000], ..Default::default() };
        weigh_as::<v1::PublishLogsRequest>(&lines.encode_to_vec()).unwrap();
        let id = "k".repeat(26);
        let change = v1::TaskChange {
            change: Some(v1::task_change::Change::Wiped(v1::task_change::Wiped {
                id: id.clone(),
                node_id: id.clone(),
            })),
        };
        let command = v1::Command {
            command: Some(v1::command::Command::ChangeTasks(v1::command::ChangeTasks {
                changes: vec![change; 10_000],
            })),
        };
        let stamped =
            v1::Stamped { request: None, at_ms: 1_790_000_000_000, command: Some(command) };
        let batch = v1::Batch { commands: vec![stamped] };
        let entry = v1::LogEntry { log_id, payload: Some(v1::log_entry::Payload::Batch(batch)) };
        let blank = v1::LogEntry {
            log_id,
            payload: Some(v1::log_entry::Payload::Blank(v1::log_entry::Blank {})),
        };
        let mut entries = vec![blank; 1000];
        entries.push(entry);
        let request = v1::AppendEntriesRequest { target: 7, entries, ..Default::default() };
        weigh_as::<v1::AppendEntriesRequest>(&request.encode_to_vec()).unwrap();
        let wiped =
            v1::UpdateTaskStatusRequest { wiped_task_ids: vec![id; 50_000], ..Default::default() };
        weigh_as::<v1::UpdateTaskStatusRequest>(&wiped.encode_to_vec()).unwrap();
    }

    #[test]
    fn cut_bytes_groups_and_deep_nesting_are_refused() {
        let good = v1::HeartbeatRequest { session_id: "s".into() }.encode_to_vec();
        weigh_as::<v1::HeartbeatRequest>(&good).unwrap();
        for bytes in [&good[..2], &[0x0b], &[0x80; 11]] {
            assert_eq!(weigh_as::<v1::HeartbeatRequest>(bytes), Err(Unfit::Garbled));
        }
        static ENDLESS: Shape = Shape { size: 8, fields: &[(1, Field::One(&ENDLESS))] };
        let deep = (0..40_u8).fold(Vec::new(), |inner: Vec<u8>, _| {
            let len = u8::try_from(inner.len()).unwrap();
            [vec![0x0a, len], inner].concat()
        });
        assert_eq!(weigh(&ENDLESS, &deep), Err(Unfit::Deep));
    }
}
