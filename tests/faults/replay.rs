//! What a disk may hold after the power failed: everything synced, and of the rest any part.

use crate::{disk::Step, split_mix::SplitMix};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

/// The unit a disk writes as a whole, unless it is the last write: that one may be torn at any byte.
const SECTOR: usize = 512;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Compared in pieces: a loop over bytes takes seconds in a test.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}

#[derive(Debug, Clone)]
pub(crate) struct Draw(SplitMix);

impl Draw {
    pub(crate) fn from(seed: u64) -> Self {
        Self(SplitMix(seed))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.number() % end as u64).unwrap()
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What becomes of that which was not synced.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is gone.
    Dropped,
    /// It is there, but for a piece of the last write.
    Torn(Draw),
    /// Any sectors, any sizes, and the first few names.
    Some(Draw),
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

#[derive(Debug, Clone, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Change>,
    /// How much of that was there when the sync that is under way began.
    begun: usize,
}

/// A file by its number; nothing stands for a directory.
type Names = BTreeMap<String, Option<usize>>;

#[derive(Debug, Clone)]
enum Naming {
    Put(String, Option<usize>),
    Move(String, String),
    Remove(String),
}

/// A data directory, as the daemon left it and as the disk has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replay {
    files: Vec<Content>,
    names: Names,
    synced_names: Names,
    namings: Vec<Naming>,
    /// Namings that were there when a sync of this directory began.
    begun: BTreeMap<String, usize>,
    handles: BTreeMap<u64, usize>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn below<'a>(names: &'a Names, dir: &str) -> impl Iterator<Item = &'a String> {
    let dir = format!("{dir}/");
    names.keys().filter(move |name| name.starts_with(&dir))
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Move(from, to) => {
                let Some(file) = names.remove(from) else { return };
                names.insert(to.clone(), file);
                let inside: Vec<_> = below(names, from).cloned().collect();
                for old in inside {
                    let file = names.remove(&old).unwrap();
                    names.insert(format!("{to}{}", &old[from.len()..]), file);
                }
            }
        }
    }

    fn is_in(&self, dir: &str) -> bool {
        match self {
            Self::Put(path, _) | Self::Remove(path) => parent(path) == dir,
            Self::Move(from, to) => parent(from) == dir || parent(to) == dir,
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => {
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Self::Resize(size) => bytes.resize(*size, 0),
        }
    }

    /// Any sectors of it.
    fn apply_some(&self, bytes: &mut Vec<u8>, draw: &mut Draw) {
        match self {
            Self::Resize(size) if draw.coin() => bytes.resize(*size, 0),
            Self::Resize(_) => {}
            Self::Write(at, new) => {
                let mut done = 0;
                while done < new.len() {
                    let end = (((at + done) / SECTOR + 1) * SECTOR - at).min(new.len());
                    if draw.coin() {
                        Self::Write(at + done, new[done..end].to_vec()).apply(bytes);
                    }
                    done = end;
                }
            }
        }
    }
}

impl Replay {
    /// Begins with a data directory as it is, all of it synced.
    pub(crate) fn of(dir: &Path) -> Self {
        let mut replay = Self::default();
        replay.take_in(dir, "");
        replay.synced_names = replay.names.clone();
        replay
    }

    fn take_in(&mut self, dir: &Path, prefix: &str) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                self.names.insert(path.clone(), None);
                self.take_in(&entry.path(), &format!("{path}/"));
            } else {
                let synced = fs::read(entry.path()).unwrap();
                self.files.push(Content { synced, ..Content::default() });
                self.names.insert(path, Some(self.files.len() - 1));
            }
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.namings.push(naming);
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Create { handle, path } => {
                self.files.push(Content::default());
                let file = self.files.len() - 1;
                self.handles.insert(*handle, file);
                self.name(Naming::Put(path.clone(), Some(file)));
            }
            Step::Open { handle, path } => {
                let file = self.names[path].expect("only files are opened to be written");
                self.handles.insert(*handle, file);
            }
            Step::Write { handle, offset, bytes } => {
                let change = Change::Write(*offset, bytes.clone());
                self.files[self.handles[handle]].pending.push(change);
            }
            Step::Resize { handle, size } => {
                self.files[self.handles[handle]].pending.push(Change::Resize(*size));
            }
            Step::Sync { handle, path: _ } => {
                let content = &mut self.files[self.handles[handle]];
                content.begun = content.pending.len();
            }
            Step::Synced { handle } => {
                let content = &mut self.files[self.handles[handle]];
                for change in content.pending.drain(..content.begun) {
                    change.apply(&mut content.synced);
                }
                content.begun = 0;
            }
            // What it was to keep may be there or not.
            Step::SyncFailed { handle: _ } => {}
            Step::DirSync { path } => {
                self.begun.insert(path.clone(), self.namings.len());
            }
            Step::DirSynced { path } => {
                let begun = self.begun.remove(path).unwrap_or(0);
                let later = self.namings.split_off(begun.min(self.namings.len()));
                let (synced, other): (Vec<_>, Vec<_>) =
                    self.namings.drain(..).partition(|naming| naming.is_in(path));
                for naming in synced {
                    naming.apply(&mut self.synced_names);
                }
                self.namings = other.into_iter().chain(later).collect();
            }
            Step::Rename { from, to } => self.name(Naming::Move(from.clone(), to.clone())),
            Step::Unlink { path } => self.name(Naming::Remove(path.clone())),
            Step::Mkdir { path } => self.name(Naming::Put(path.clone(), None)),
        }
    }

    /// Writes what the disk may hold now into an empty directory.
    pub(crate) fn crash(&self, fate: &Fate, to: &Path) {
        let mut names = self.synced_names.clone();
        let mut fate = fate.clone();
        let kept = match &mut fate {
            Fate::Dropped => 0,
            Fate::Torn(_) => self.namings.len(),
            Fate::Some(draw) => draw.below(self.namings.len() + 1),
        };
        for naming in &self.namings[..kept] {
            naming.apply(&mut names);
        }
        for (path, file) in &names {
            let at = to.join(path);
            // Where the directory is gone, so is what was in it.
            let Some(file) = file else {
                drop(fs::create_dir(&at));
                continue;
            };
            if !at.parent().unwrap().is_dir() {
                continue;
            }
            let bytes = self.files[*file].after(&mut fate);
            let file = File::create(&at).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            // Segments are mostly zeros.
            for (n, part) in bytes.chunks(64 << 10).enumerate() {
                if !is_zero(part) {
                    file.write_all_at(part, (n as u64) << 16).unwrap();
                }
            }
        }
    }
}

impl Content {
    fn after(&self, fate: &mut Fate) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        match fate {
            Fate::Dropped => {}
            Fate::Torn(draw) => {
                for (n, change) in self.pending.iter().enumerate() {
                    match change {
                        Change::Write(at, new) if n + 1 == self.pending.len() => {
                            let cut = draw.below(new.len());
                            Change::Write(*at, new[..cut].to_vec()).apply(&mut bytes);
                        }
                        change => change.apply(&mut bytes),
                    }
                }
            }
            Fate::Some(draw) => {
                for change in &self.pending {
                    change.apply_some(&mut bytes, draw);
                }
            }
        }
        bytes
    }
}
