//! Small files of the data directory that are replaced as a whole: the old one or the new, never a torn one.

use crate::kit::{failpoint::failpoint, source};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Replaces `path` by `bytes` (0600); durable when this returns.
///
/// # Errors
/// What the filesystem says; then the old file is as it was.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_added_extension("new");
    let write = || {
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        file.write_all(bytes)?;
        failpoint("replace.written");
        file.sync_all()?;
        failpoint("replace.synced");
        fs::rename(&staged, path)?;
        failpoint("replace.renamed");
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        failpoint("replace.done");
        Ok(())
    };
    write().inspect_err(|_| {
        // It may not have come to be; the error before says more.
        drop(fs::remove_file(&staged));
    })
}

/// Reads `path`, if it exists; stops at `most` bytes.
///
/// # Errors
/// What the filesystem says, and `FileTooLarge`.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match source::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Moves what there is of `paths` into a new folder `to`; returns whether there was anything.
///
/// # Errors
/// What the filesystem says; nothing is ever overwritten or removed.
pub(super) fn set_aside(paths: &[PathBuf], to: &Path) -> io::Result<bool> {
    let there: Vec<_> = paths.iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    if there.is_empty() {
        return Ok(false);
    }
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for path in there {
        fs::rename(path, to.join(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?))?;
    }
    Ok(true)
}

/// Removes a file or folder with all it holds, if it is there; durable when this returns.
///
/// # Errors
/// What the filesystem says.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.keys");
        assert_eq!(read(&path, 9).unwrap(), None);
        // What a crash may have left.
        fs::write(dir.path().join("node.keys.new"), "a longer leftover").unwrap();
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        replace(&path, b"").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "").unwrap();
        replace(&path, b"one").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_set_aside_is_kept_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (raft, keys) = (dir.path().join("raft"), dir.path().join("node.keys"));
        let aside = dir.path().join("aside");
        assert!(!set_aside(&[raft.clone(), keys.clone()], &aside).unwrap());
        assert!(!aside.exists());
        fs::create_dir(&raft).unwrap();
        fs::write(raft.join("log"), "everything").unwrap();
        assert!(set_aside(&[raft.clone(), keys], &aside).unwrap());
        assert!(!raft.exists());
        assert_eq!(fs::read_to_string(aside.join("raft/log")).unwrap(), "everything");
    }
}
