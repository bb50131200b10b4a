//! The key file: an unlocker's key as a small text file outside the data directory.
//!
//! ```text
//! secretd-key-file-1
//! id 0czk7yqx…            the unlocker it belongs to
//! key 5f3c…               32 bytes
//! sum 9a41…               the first 8 bytes of SHA-256 over the two, so that damage is told from a wrong file
//! ```
//! Empty lines and lines that start with `#` do not count. Everything else must be exactly as above.

use crate::{
    crypto::{
        envelope::Binding,
        key::{Key, Unlock},
    },
    kit::{failpoint::failpoint, hex, id::UnlockerId},
};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const MAGIC: &str = "secretd-key-file-";
const FORMAT: &str = "secretd-key-file-1";
const NOTE: &str = "\
# This key opens the data directory of a secretd node. Keep it readable by secretd alone (0600), keep a copy in a
# safe place, and keep it away from backups of the data directory: together they are every secret in the clear.
";
/// Ends the name of a key file that is being made: `NAME.ID.new`.
const STAGED: &str = ".new";
/// A key file with many comments is far below this many bytes; a wrong file may be anything.
const SIZE: u64 = 16 * 1024;

/// A key file that was read or made.
#[derive(Debug)]
pub struct KeyFile {
    pub id: UnlockerId,
    pub key: Key<Unlock>,
}

/// Why a key file was not read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("there is no key file at {path}")]
    Missing { path: PathBuf },
    #[error("a key file is already at {path}")]
    Exists { path: PathBuf },
    #[error("cannot read the key file {path}")]
    Read {
        path: PathBuf,
        #[source]
        err: io::Error,
    },
    #[error("cannot write the key file {path}")]
    Write {
        path: PathBuf,
        #[source]
        err: io::Error,
    },
    #[error("the key file {path} has mode {mode:04o}: others than its owner may use it")]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{path} is not a key file of secretd")]
    Foreign { path: PathBuf },
    #[error("the key file {path} has a format this secretd does not know")]
    Format { path: PathBuf },
    #[error("the key file {path} is damaged")]
    Damaged { path: PathBuf },
    #[error("the key file {path} lies inside the data directory {dir}")]
    Inside { path: PathBuf, dir: PathBuf },
}

impl KeyFileError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "bring the key file back from its copy, or point --key-file at it; without it the data directory cannot be read"
            }
            Self::Exists { .. } => {
                "move it away first, it may be the only copy of another node's key"
            }
            Self::Read { .. } | Self::Write { .. } => {
                "check that the path exists and that secretd's user may use it"
            }
            Self::TooOpen { .. } => "chmod 0600 the file, and think about who may have read it",
            Self::Foreign { .. } => "check --key-file",
            Self::Format { .. } => "it was written by a newer secretd: run that version",
            Self::Damaged { .. } => "bring the key file back from its copy",
            Self::Inside { .. } => {
                "choose a path outside: whoever gets hold of the data directory must not get the key with it"
            }
        }
    }
}

/// Makes a new key and writes it to `path`, which must not exist; it is durable when this returns.
///
/// # Errors
/// The file exists, or cannot be written; then nothing is left behind.
pub fn create(path: &Path) -> Result<KeyFile, KeyFileError> {
    let made = KeyFile { id: UnlockerId::random(), key: Key::random() };
    let failed = |err| match err {
        err if io::Error::kind(&err) == io::ErrorKind::AlreadyExists => {
            KeyFileError::Exists { path: path.to_owned() }
        }
        err => KeyFileError::Write { path: path.to_owned(), err },
    };
    // Complete under a name of its own first: a crash leaves no half-written key where one is looked for.
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}{STAGED}", made.id));
    let staged = PathBuf::from(staged);
    let written = write(&staged, &print(&made)).and_then(|()| {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        failpoint("keyfile.written");
        renameat_with(CWD, &staged, CWD, path, RenameFlags::NOREPLACE)?;
        failpoint("keyfile.renamed");
        File::open(parent(path))?.sync_all()?;
        failpoint("keyfile.done");
        Ok(())
    });
    if let Err(err) = written {
        // It may not have come to be; if it cannot be removed, the first error says more.
        drop(fs::remove_file(&staged));
        return Err(failed(err));
    }
    Ok(made)
}

/// Removes what a [`create`] of `path` left beside it when it was cut off: keys that nothing was ever put under. Returns
/// how many there were.
///
/// # Errors
/// The directory cannot be read, or a file in it not removed.
pub fn sweep(path: &Path) -> io::Result<usize> {
    let Some(name) = path.file_name() else { return Ok(0) };
    let mut swept = 0;
    let entries = match fs::read_dir(parent(path)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name();
        let rest = found.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let id = rest
            .and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(STAGED.as_bytes()))
            .and_then(|id| std::str::from_utf8(id).ok());
        if id.is_some_and(|id| id.parse::<UnlockerId>().is_ok()) {
            fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Reads the key file at `path`.
///
/// # Errors
/// No file, not a key file, damaged, open to others than its owner.
pub fn load(path: &Path) -> Result<KeyFile, KeyFileError> {
    let failed = |err| match err {
        err if io::Error::kind(&err) == io::ErrorKind::NotFound => {
            KeyFileError::Missing { path: path.to_owned() }
        }
        err => KeyFileError::Read { path: path.to_owned(), err },
    };
    // Without O_NONBLOCK a FIFO in its place would hold us for ever.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(KeyFileError::Foreign { path: path.to_owned() });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(SIZE).unwrap_or(0) + 1));
    file.take(SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    parse(&text).map_err(|bad| match bad {
        Bad::Foreign => KeyFileError::Foreign { path: path.to_owned() },
        Bad::Format => KeyFileError::Format { path: path.to_owned() },
        Bad::Damaged => KeyFileError::Damaged { path: path.to_owned() },
    })
}

/// Refuses a key file that would lie inside `dir`; neither needs to exist yet.
///
/// # Errors
/// [`KeyFileError::Inside`].
pub fn refuse_inside(path: &Path, dir: &Path) -> Result<(), KeyFileError> {
    if resolved(path).starts_with(resolved(dir)) {
        return Err(KeyFileError::Inside { path: path.to_owned(), dir: dir.to_owned() });
    }
    Ok(())
}

/// The path without symbolic links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).expect("an ancestor is a prefix");
            return real.join(rest);
        }
    }
    path
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// What is wrong with the text of a key file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::crypto) enum Bad {
    Foreign,
    Format,
    Damaged,
}

fn print(file: &KeyFile) -> Zeroizing<String> {
    // With room for all of it at once: growing would leave copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(512));
    let KeyFile { id, key } = file;
    write!(text, "{NOTE}{FORMAT}\nid {id}\nkey ").expect("strings take everything");
    hex::push(&mut text, key.bytes());
    text.push_str("\nsum ");
    hex::push(&mut text, &sum(*id, key));
    text.push('\n');
    text
}

pub(in crate::crypto) fn parse(text: &[u8]) -> Result<KeyFile, Bad> {
    let text = std::str::from_utf8(text).map_err(|_| Bad::Foreign)?;
    let mut lines =
        text.lines().map(str::trim_end).filter(|l| !l.is_empty() && !l.starts_with('#'));
    match lines.next() {
        Some(FORMAT) => {}
        Some(line) if line.starts_with(MAGIC) => return Err(Bad::Format),
        _ => return Err(Bad::Foreign),
    }
    let mut field = |name: &str| {
        lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' ')).ok_or(Bad::Damaged)
    };
    let (id, key_hex, sum_hex) = (field("id")?, field("key")?, field("sum")?);
    let id: UnlockerId = id.parse().map_err(|_| Bad::Damaged)?;
    let mut key = Key::blank();
    let mut read_sum = [0; 8];
    hex::read(key_hex, key.bytes_mut()).ok_or(Bad::Damaged)?;
    hex::read(sum_hex, &mut read_sum).ok_or(Bad::Damaged)?;
    if read_sum != sum(id, &key) || lines.next().is_some() {
        return Err(Bad::Damaged);
    }
    Ok(KeyFile { id, key })
}

fn sum(id: UnlockerId, key: &Key<Unlock>) -> [u8; 8] {
    let hash = Binding::new("secretd/key-file/1")
        .field(id.as_str().as_bytes())
        .field(key.bytes())
        .finish();
    *hash.first_chunk().expect("32 bytes hold 8")
}

/// Reads these bytes as a key file.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    if let Ok(file) = parse(bytes) {
        assert!(parse(print(&file).as_bytes()).is_ok(), "what we print can be read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn at(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("node.key")
    }

    #[test]
    fn a_key_file_reads_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = create(&at(&dir)).unwrap();
        let read = load(&at(&dir)).unwrap();
        assert_eq!((read.id, read.key.bytes()), (made.id, made.key.bytes()));
        assert_eq!(fs::metadata(at(&dir)).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no staged file stays");
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(at(&dir), "precious").unwrap();
        assert!(matches!(create(&at(&dir)), Err(KeyFileError::Exists { .. })));
        assert_eq!(fs::read_to_string(at(&dir)).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no staged file stays");
    }

    #[test]
    fn what_a_creation_that_was_cut_off_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sweep(&dir.path().join("no/such/dir/node.key")).unwrap(), 0);
        let made = create(&at(&dir)).unwrap();
        let id = UnlockerId::random();
        let others = [
            "node.key.new".to_owned(),
            "node.key.old.new".to_owned(),
            format!("other.key.{id}.new"),
            format!("node.key.{id}"),
        ];
        for other in &others {
            fs::write(dir.path().join(other), "").unwrap();
        }
        fs::write(dir.path().join(format!("node.key.{id}.new")), "half a key").unwrap();
        assert_eq!(sweep(&at(&dir)).unwrap(), 1);
        assert_eq!(sweep(&at(&dir)).unwrap(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 1);
        assert_eq!(load(&at(&dir)).unwrap().id, made.id);
    }

    #[test]
    fn a_missing_file_is_told_from_an_unreadable_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(&at(&dir)), Err(KeyFileError::Missing { .. })));
        assert!(matches!(load(dir.path()), Err(KeyFileError::Foreign { .. })));
        let nowhere = dir.path().join("no/such/dir");
        assert!(matches!(create(&nowhere), Err(KeyFileError::Write { .. })));
    }

    #[test]
    fn a_file_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(&at(&dir)).unwrap();
        fs::set_permissions(at(&dir), fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(&at(&dir)).unwrap_err();
        assert!(matches!(error, KeyFileError::TooOpen { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("mode 0640"));
    }

    #[test]
    fn foreign_newer_and_damaged_files_are_told_apart() {
        let text = print(&KeyFile { id: UnlockerId::random(), key: Key::random() });
        let bad = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(bad(""), Bad::Foreign);
        assert_eq!(bad("-----BEGIN PRIVATE KEY-----\n"), Bad::Foreign);
        assert_eq!(bad(&text.replace("file-1", "file-2")), Bad::Format);
        assert_eq!(bad(&format!("{}more\n", *text)), Bad::Damaged);
        assert_eq!(bad(&text[..text.len() - 4]), Bad::Damaged);
        parse(text.replace('\n', "\r\n").as_bytes()).unwrap();
        parse(format!("\n# ours\n{}\n\n", *text).as_bytes()).unwrap();
    }

    #[test]
    fn every_changed_character_of_the_key_is_noticed() {
        let text = print(&KeyFile { id: UnlockerId::random(), key: Key::random() });
        let at = text.find("\nkey ").unwrap() + 5;
        for i in at..at + 64 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[i] = if bytes[i] == b'0' { b'1' } else { b'0' };
            assert_eq!(parse(&bytes).unwrap_err(), Bad::Damaged);
        }
    }

    #[test]
    fn a_key_file_inside_the_data_directory_is_refused_however_it_is_spelt() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, dir.path().join("alias")).unwrap();
        for inside in ["data/key", "data/deeper/key", "alias/key"] {
            let refused = refuse_inside(&dir.path().join(inside), &data);
            assert!(matches!(refused, Err(KeyFileError::Inside { .. })), "{inside}");
        }
        refuse_inside(&dir.path().join("data.key"), &data).unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "(secretd-key-file-1\n)?(id [0-9a-z]{25}\n)?.*") {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }
    }
}
