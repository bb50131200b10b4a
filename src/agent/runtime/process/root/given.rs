//! What the job gives the task: mounts, and files with their payloads.

use super::{Refusal, Result, Root, failed, mounts::*, seat::Shape};
use crate::{
    agent::runtime::process::job::{Job, JobFile, JobMount, Source},
    kit::os::{Bound, Tmpfs, add_mount_attributes},
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, openat},
    io::Errno,
    mount::MountAttrFlags,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
};
use zeroize::Zeroizing;

impl Root {
    pub(super) fn add_mount(&mut self, mount: &JobMount, job: &Job) -> Result<()> {
        let JobMount { target, read_only, source } = mount;
        let (tree, shape) = match source {
            Source::Host(path) | Source::Volume(path) => {
                let shown = path.display();
                let tree = clone_tree(CWD, path).map_err(|error| match error {
                    Errno::NOENT => Refusal(format!("bind source path does not exist: {shown}")),
                    error => failed(format!("bind {shown}"))(error),
                })?;
                let seen = fstat(&tree).map_err(failed(format!("look at {shown}")))?;
                let is_dir = FileType::from_raw_mode(seen.st_mode) == FileType::Directory;
                (tree, if is_dir { Shape::Dir } else { Shape::File })
            }
            Source::Tmpfs { size, mode } => {
                let tmpfs = Tmpfs {
                    size: if *size == 0 { "50%".to_owned() } else { size.to_string() },
                    inodes: None,
                    mode: Mode::from_bits_truncate(*mode),
                    attributes: quiet(),
                    noswap: false,
                };
                let (tree, _) =
                    tmpfs.make().map_err(failed(format!("make the tmpfs for {target}")))?;
                if *mode == 0o755 {
                    // An anonymous volume: its directory belongs to whom it is for.
                    let (uid, gid) = (job.identity.uid, job.identity.gid);
                    chownat(
                        &tree,
                        "",
                        Some(Uid::from_raw(uid)),
                        Some(Gid::from_raw(gid)),
                        AtFlags::EMPTY_PATH,
                    )
                    .map_err(failed(format!("give away the volume at {target}")))?;
                }
                self.ours.push(device(&tree)?);
                (tree, Shape::Dir)
            }
        };
        if *read_only {
            add_mount_attributes(&tree, true, MountAttrFlags::MOUNT_ATTR_RDONLY)
                .map_err(failed(format!("make {target} read-only")))?;
        }
        let seat = self
            .seat(target, shape, true)
            .map_err(|error| Refusal(format!("mount target {target}: {error}")))?;
        if !*read_only && !matches!(source, Source::Tmpfs { .. }) {
            self.writable.push(seat.path.clone());
        }
        self.take_seat(&seat, &tree, format!("mount {target}"))
    }

    /// Writes the payloads into one tmpfs, which is attached nowhere in the end, and binds each to its target.
    pub(super) fn add_files(&mut self, files: &[JobFile], payloads: &mut impl Read) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let bound = Bound::for_files(files.iter().map(|file| file.len));
        let (shelf, _) = Tmpfs::for_payloads(bound)
            .make()
            .map_err(failed("make a tmpfs for the task's files"))?;
        attach(&shelf, &self.top, "proc").map_err(failed("mount the task's files"))?;
        let mut trees = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            let name = number.to_string();
            self.write_file(&shelf, &name, file, payloads)
                .map_err(failed(format!("write {} for {}", file.what, file.target)))?;
            trees.push(
                clone_tree(&shelf, &*name)
                    .map_err(io::Error::from)
                    .and_then(|tree| set_read_only(&tree).map(|()| tree))
                    .map_err(failed(format!("bind {} to {}", file.what, file.target)))?,
            );
        }
        self.detach_proc().map_err(failed("take the task's files off"))?;
        drop(shelf);
        for (file, tree) in files.iter().zip(trees) {
            let what = format!("{} for {}", file.what, file.target);
            let seat = self
                .seat(&file.target, Shape::File, false)
                .map_err(|error| Refusal(format!("{what}: {error}")))?;
            self.take_seat(&seat, &tree, what)?;
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        shelf: &OwnedFd,
        name: &str,
        file: &JobFile,
        payloads: &mut impl Read,
    ) -> io::Result<()> {
        let JobFile { what: _, target: _, uid, gid, mode, len } = file;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut to = File::from(openat(
            shelf,
            name,
            flags | OFlags::NOFOLLOW,
            Mode::from_bits_truncate(0o600),
        )?);
        let mut buffer = Zeroizing::new([0; 64 * 1024]);
        let mut left = *len;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            payloads.read_exact(&mut buffer[..part])?;
            to.write_all(&buffer[..part])?;
            left -= part as u64;
        }
        // The owner goes first: changing it may clear bits of the mode.
        fchown(&to, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
        fchmod(&to, Mode::from_bits_truncate(*mode))?;
        self.payloads.0.push(to);
        Ok(())
    }
}
