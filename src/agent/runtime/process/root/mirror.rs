//! Mirrors: a tmpfs in place of a directory, with every entry of the directory bound back into it.

use super::{Refusal, Result, Root, failed, mounts::*};
use crate::kit::os::{Tmpfs, add_mount_attributes};
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, Uid, chownat, fchmod, fchown, fstat, mkdirat,
        readlinkat, statat, symlinkat,
    },
    io::Errno,
    mount::MountAttrFlags,
};
use std::{io, os::fd::OwnedFd};

/// What a task may write into mirrored directories; all of it is memory.
const MIRROR_SIZE: &str = "256m";
/// A directory with more entries is not mirrored: each entry is a mount, and the kernel allows 100 000.
const MIRROR_ENTRIES: usize = 20_000;

/// How entries of the node are bound back.
#[derive(Clone, Copy)]
pub(super) struct Host {
    pub(super) read_only: bool,
}

impl Root {
    /// Mounts a tmpfs over the directory, with everything that is in it bound back.
    pub(super) fn mirror(&mut self, dir: &OwnedFd, path: &str) -> Result<OwnedFd> {
        let from = open_dir(dir, ".").map_err(failed(format!("read {path}")))?;
        let to = mirror_tmpfs().map_err(failed(format!("mirror {path}")))?;
        copy_look(&from, &to)?;
        // Before it is filled: older kernels mount only into what is mounted itself.
        attach_at(&to, dir).map_err(failed(format!("mirror {path}")))?;
        bind_entries(&from, &to, path, &[], Host { read_only: false })?;
        self.ours.push(device(&to)?);
        self.mirrors.push(path.to_owned());
        Ok(to)
    }
}

pub(super) fn bind_entries(
    from: &OwnedFd,
    to: &OwnedFd,
    path: &str,
    skip: &[&str],
    host: Host,
) -> Result<()> {
    let entries = Dir::read_from(from).map_err(failed(format!("read {path}")))?;
    let mut count = 0;
    for entry in entries {
        let entry = entry.map_err(failed(format!("read {path}")))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..")
            || skip.iter().any(|skipped| skipped.as_bytes() == name.to_bytes())
        {
            continue;
        }
        count += 1;
        if count > MIRROR_ENTRIES {
            return Err(Refusal(format!(
                "{path} has more than {MIRROR_ENTRIES} entries, too many to add one to it; choose a target in a \
                 directory of its own"
            )));
        }
        match bind_entry(from, to, name, host) {
            // It went away while we looked.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let shown = name.to_string_lossy();
                return Err(failed(format!("bind {path}/{shown}"))(error));
            }
        }
    }
    Ok(())
}

fn bind_entry(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &std::ffi::CStr,
    host: Host,
) -> std::result::Result<(), Errno> {
    let seen = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
            // Whose link it is matters to nobody but `ls`.
            let (uid, gid) = (Uid::from_raw(seen.st_uid), Gid::from_raw(seen.st_gid));
            let _ = chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            return Ok(());
        }
        FileType::Directory => mkdirat(to, name, Mode::from_bits_truncate(0o755))?,
        _ => make_file(to, name)?,
    }
    let tree = clone_tree(from, name)?;
    if host.read_only {
        add_mount_attributes(&tree, true, MountAttrFlags::MOUNT_ATTR_RDONLY)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    attach(&tree, to, name)
}

/// Gives a mirror the look of what it stands for, as far as we may.
pub(super) fn copy_look(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let seen = fstat(from).map_err(failed("look at a directory"))?;
    // A fresh mount's descriptor is one for paths only.
    let to = open_dir(to, ".").map_err(failed("open a new directory"))?;
    let mut mode = Mode::from_raw_mode(seen.st_mode);
    if fchown(&to, Some(Uid::from_raw(seen.st_uid)), Some(Gid::from_raw(seen.st_gid))).is_err() {
        // It stays ours then, and what was somebody else's to write must not become the task's.
        mode -= Mode::from_bits_truncate(0o222);
    }
    fchmod(&to, mode).map_err(failed("set the mode of a directory"))
}

pub(super) fn mirror_tmpfs() -> io::Result<OwnedFd> {
    let tmpfs = Tmpfs {
        size: MIRROR_SIZE.to_owned(),
        inodes: None,
        mode: Mode::from_bits_truncate(0o755),
        attributes: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        noswap: false,
    };
    Ok(tmpfs.make()?.0)
}
