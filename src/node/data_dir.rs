//! The data directory: who may use it, and what lies where.

use super::settings::Settings;
use crate::kit::owner::{self, Insecure};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("another secretd (pid {pid}) uses the data directory {}", path.display())]
    Taken { path: PathBuf, pid: String },
    #[error("the data directory {} belongs to user {owner}, not to the user secretd runs as ({user})", path.display())]
    Foreign { path: PathBuf, owner: u32, user: u32 },
    #[error("cannot use the data directory {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Somebody else could put another thing in the place of one of ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot trust the {what}")]
pub(super) struct InsecurePlace {
    what: &'static str,
    source: Insecure,
}

impl InsecurePlace {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        self.source.hint()
    }
}

/// Refuses directories and a key file that somebody else could put others in place of. What is missing will be made below
/// what was looked at.
pub(super) fn refuse_insecure(settings: &Settings) -> Result<(), InsecurePlace> {
    for (what, path) in [
        ("data directory", &settings.data_dir),
        ("run directory", &settings.run_dir),
        ("key file", &settings.key_file),
    ] {
        owner::check(path).map_err(|source| InsecurePlace { what, source })?;
    }
    Ok(())
}

impl DataDirError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Taken { .. } => {
                "stop that daemon, or give this one its own --data-dir and --run-dir"
            }
            Self::Foreign { .. } => "start secretd as the user that made it",
            Self::Io { .. } => {
                "check that the directory exists, is a directory, and is readable and writable for secretd"
            }
        }
    }
}

/// A data directory that is ours alone for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be (0700) and locks it.
    ///
    /// # Errors
    /// [`DataDirError`]: used by another daemon, owned by another user, or not usable.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let metadata = fs::metadata(path).map_err(io)?;
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(DataDirError::Foreign {
                path: path.to_owned(),
                owner: metadata.uid(),
                user,
            });
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(io)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let pid = fs::read_to_string(&file).unwrap_or_default();
            let pid =
                if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(DataDirError::Taken { path: path.to_owned(), pid });
        }
        lock.set_len(0).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(&dir.path().join("d")).unwrap();
        let Err(DataDirError::Taken { pid, .. }) = DataDir::open(first.path()) else {
            panic!("opened twice")
        };
        assert_eq!(pid, std::process::id().to_string());
        let path = first.path().to_owned();
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn the_directory_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_its_place_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}
