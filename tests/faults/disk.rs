//! A disk that a test has in its hand: `disk.c`, compiled and put under a daemon, told what to refuse, and read.

use crate::world::World;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

pub(crate) const WRITE: u32 = 1;
pub(crate) const SYNC: u32 = 2;
pub(crate) const RENAME: u32 = 4;
pub(crate) const CREATE: u32 = 8;
pub(crate) const UNLINK: u32 = 16;
pub(crate) const RESIZE: u32 = 32;
pub(crate) const MKDIR: u32 = 64;
pub(crate) const SYNCDIR: u32 = 128;
const OPEN: u32 = 256;
const SYNCED: u32 = 512;
const SYNCFAILED: u32 = 1024;
const DIRSYNCED: u32 = 2048;

pub(crate) const EIO: u32 = 5;
pub(crate) const ENOSPC: u32 = 28;

const RECORD: usize = 24;
const CONTROL: u64 = 128;

/// What is refused, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refusal {
    /// Of the names above.
    pub(crate) operations: u32,
    /// So many of them pass before that.
    pub(crate) pass: u32,
    pub(crate) error: u32,
    /// Not only once.
    pub(crate) forever: bool,
}

/// One thing that happened below the data directory; paths are relative to it.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Open { handle: u64, path: String },
    Create { handle: u64, path: String },
    Write { handle: u64, offset: usize, bytes: Vec<u8> },
    Resize { handle: u64, size: usize },
    Sync { handle: u64, path: String },
    Synced { handle: u64 },
    SyncFailed { handle: u64 },
    DirSync { path: String },
    DirSynced { path: String },
    Rename { from: String, to: String },
    Unlink { path: String },
    Mkdir { path: String },
}

/// The disk under the data directory of one machine.
pub(crate) struct Disk {
    trace: PathBuf,
    control: File,
}

/// Compiles `disk.c` once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (fresh, made) =
            (place.join(format!("disk-{}.so", std::process::id())), place.join("disk.so"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
        let said = cc.arg(&fresh).arg(&source).arg("-ldl").output().expect("there is a C compiler");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        fs::rename(&fresh, &made).unwrap();
        made
    })
}

impl Disk {
    /// Puts itself under the daemons that this machine starts from now on.
    pub(crate) fn under(world: &mut World) -> Self {
        fs::create_dir_all(world.data_dir()).unwrap();
        let (trace, control) = (world.path("trace"), world.path("control"));
        fs::write(&trace, "").unwrap();
        let options = File::options().read(true).write(true).create(true).truncate(true).clone();
        let file = options.open(&control).unwrap();
        file.set_len(CONTROL).unwrap();
        world.set("LD_PRELOAD", library().to_str().unwrap());
        world.set("SECRETD_DISK_ROOT", world.data_dir().to_str().unwrap());
        world.set("SECRETD_DISK_CONTROL", control.to_str().unwrap());
        world.set("SECRETD_DISK_TRACE", trace.to_str().unwrap());
        Self { trace, control: file }
    }

    fn write(&self, at: u64, word: u32) {
        self.control.write_all_at(&word.to_ne_bytes(), at).unwrap();
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        let Refusal { operations, pass, error, forever } = refusal;
        self.write(4, pass);
        self.write(8, error);
        self.write(12, forever.into());
        self.write(0, operations);
    }

    /// How long each sync takes from now on.
    pub(crate) fn slow(&self, sleep_ms: u32) {
        self.write(16, sleep_ms);
    }

    /// From now on everything works, and at once.
    pub(crate) fn heal(&self) {
        self.refuse(Refusal::default());
        self.slow(0);
    }

    /// How many operations were refused so far.
    pub(crate) fn refused(&self) -> u32 {
        let mut word = [0; 4];
        self.control.read_exact_at(&mut word, 20).unwrap();
        u32::from_ne_bytes(word)
    }

    /// How far the trace goes: what was answered by now is before this place.
    pub(crate) fn now(&self) -> usize {
        usize::try_from(fs::metadata(&self.trace).unwrap().len()).unwrap()
    }

    /// Everything that happened, each with the place in the trace where it ends.
    pub(crate) fn steps(&self) -> Vec<(usize, Step)> {
        let trace = fs::read(&self.trace).unwrap();
        let mut steps = Vec::new();
        let mut at = 0;
        while let Some(head) = trace.get(at..at + RECORD) {
            let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
            let (operation, length, handle) = (word(0), word(4) as usize, long(8));
            let offset = usize::try_from(long(16)).unwrap();
            // A daemon that was killed may have left half a record.
            let Some(bytes) = trace.get(at + RECORD..at + RECORD + length) else { break };
            at += RECORD + length;
            let path = || String::from_utf8(bytes.to_vec()).unwrap();
            let step = match operation {
                WRITE => Step::Write { handle, offset, bytes: bytes.to_vec() },
                SYNC => Step::Sync { handle, path: path() },
                RENAME => {
                    let both = path();
                    let (from, to) = both.split_once('\0').unwrap();
                    Step::Rename { from: from.to_owned(), to: to.to_owned() }
                }
                CREATE => Step::Create { handle, path: path() },
                UNLINK => Step::Unlink { path: path() },
                RESIZE => Step::Resize { handle, size: offset },
                MKDIR => Step::Mkdir { path: path() },
                SYNCDIR => Step::DirSync { path: path() },
                OPEN => Step::Open { handle, path: path() },
                SYNCED => Step::Synced { handle },
                SYNCFAILED => Step::SyncFailed { handle },
                DIRSYNCED => Step::DirSynced { path: path() },
                other => panic!("an unknown record {other}"),
            };
            steps.push((at, step));
        }
        steps
    }
}
