//! Says, beside the run directory, how far the log was written since the machine booted: a copy of the data directory
//! that is put back later is older than that.
//!
//! One short line, written over itself after every frame that reached the disk; it lies on a tmpfs and is not synced, for
//! it counts only until the machine stops. Losing it costs nothing but that the others are asked.

use super::record::Chain;
use crate::kit::{
    hex::{self, Hex},
    id::NodeId,
};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What the witness of this boot says of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::raft) enum Seen {
    /// It has everything.
    Whole,
    /// It ends before, or is another.
    Older,
    /// There is none.
    Nothing,
}

/// Where a log was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) sequence: u64,
    pub(super) chain: Chain,
}

#[derive(Debug)]
pub(in crate::raft) struct Witness {
    path: PathBuf,
    boot: String,
    node: NodeId,
    raft_id: u64,
    file: Mutex<Option<File>>,
}

impl Witness {
    /// Nothing if the system does not say when it booted.
    pub(in crate::raft) fn new(path: &Path, node: NodeId, raft_id: u64) -> Option<Self> {
        let boot = fs::read_to_string(BOOT).ok()?.trim().to_owned();
        Some(Self { path: path.to_owned(), boot, node, raft_id, file: Mutex::default() })
    }

    /// What it says of the log of this node: of an older one if this Raft id came before the one it knows.
    pub(super) fn read(&self) -> Result<Option<Point>, Seen> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let mut words = text.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (boot, node, raft_id) = (word(), word(), word().parse::<u64>().unwrap_or(0));
        if boot != self.boot || node != self.node.as_str() || raft_id < self.raft_id {
            return Ok(None);
        }
        if raft_id > self.raft_id {
            return Err(Seen::Older);
        }
        let (sequence, mut chain) = (word().parse().ok(), Chain::default());
        let good = hex::read(word(), &mut chain).is_some();
        Ok(sequence.filter(|_| good && word() == ".").map(|sequence| Point { sequence, chain }))
    }

    /// Notes that the log is on the disk up to here.
    pub(super) fn note(&self, sequence: u64, chain: &Chain) {
        let Self { path, boot, node, raft_id, file } = self;
        let chain = Hex(chain);
        let line = format!("{boot} {node} {raft_id:020} {sequence:020} {chain} .\n");
        let mut file = file.lock().expect("no holder of this lock panics");
        if file.is_none() {
            let opened =
                File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
            *file =
                opened.inspect_err(|error| tracing::debug!(%error, "no witness of the log")).ok();
        }
        if let Some(file) = &*file
            && let Err(error) = file.write_all_at(line.as_bytes(), 0)
        {
            tracing::debug!(%error, "no witness of the log");
        }
    }
}
