//! Builds the file system a task sees: the node's own, entry by entry, with the task's files and mounts in it.
//!
//! The new root is a tmpfs into which every entry of `/` is bound back (a *mirror*). Where a mount point is missing in a
//! directory of the node, that directory gets mirrored in turn and the mount point is made in its tmpfs; so nothing is
//! ever created on a disk. All of it happens in a private mount namespace and is gone with the last process in it.
//!
//! Paths are walked (`seat`) component by component, relative to descriptors, and links are resolved as the task would
//! see them. So a link can lead a target to another place of the sandbox, but not out of it and not onto
//! `/proc`, `/sys` or `/dev`.

mod given;
mod mirror;
mod mounts;
mod seat;
mod system;

use self::{
    mirror::{Host, bind_entries, copy_look, mirror_tmpfs},
    mounts::{attach, clone_tree, device, open_dir},
    seat::{Shape, is_system},
};
use super::job::Job;
use crate::{agent::place, kit::os::add_mount_attributes};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2},
    io::Errno,
    mount::{
        MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change,
        move_mount, unmount,
    },
    process::{chdir, fchdir, pivot_root},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

/// Why a sandbox cannot be built; said to the user as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

type Result<T> = std::result::Result<T, Refusal>;

/// Says what was being done when the kernel refused.
fn failed<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> Refusal {
    let doing = doing.into();
    move |error| Refusal(format!("cannot {doing}: {error}"))
}

/// A root under construction.
#[derive(Debug)]
pub(super) struct Root {
    top: OwnedFd,
    /// The tmpfses of ours, by device: directories in them may be changed.
    ours: Vec<u64>,
    /// Paths of mirrors, to be made read-only at the end if the task wants that.
    mirrors: Vec<String>,
    /// Where the task may write to the node: a mirror there would swallow what it writes.
    writable: Vec<String>,
    read_only: bool,
    /// What was mounted at which real path.
    taken: BTreeMap<String, String>,
    /// The payload files, open for writing: to be overwritten when the task has ended.
    payloads: Payloads,
}

/// The task's payload files, held open by pid 1 so that it can wipe them at the end.
#[derive(Debug, Default)]
pub(super) struct Payloads(Vec<File>);

impl Payloads {
    /// Overwrites and empties the files. Nobody reads them any more; what fails here the kernel frees anyway.
    pub(super) fn wipe(self) {
        for file in &self.0 {
            drop(place::overwrite(file));
        }
    }
}

/// Builds the job's root and moves this process into it. Call it in a mount namespace of its own.
///
/// # Errors
/// [`Refusal`], in words for `service ps`. The process is good for nothing but exit then.
pub(super) fn enter(job: &Job, payloads: &mut impl Read) -> Result<Payloads> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("make mounts private"))?;
    let old = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open /"))?;
    let mut root = Root::new(job.read_only)?;
    root.mirror_top()?;
    root.add_devices()?;
    for path in &job.hide {
        root.hide(path)?;
    }
    for mount in &job.mounts {
        root.add_mount(mount, job)?;
    }
    if !is_system(&job.dir) {
        root.seat(&job.dir, Shape::Dir, true)
            .map_err(|error| Refusal(format!("working directory {}: {error}", job.dir)))?;
    }
    root.add_files(&job.files, payloads)?;
    root.add_proc()?;
    root.switch(&old)
}

impl Root {
    fn new(read_only: bool) -> Result<Self> {
        let top = mirror_tmpfs().map_err(failed("make a tmpfs for the root"))?;
        // Any directory would do to hang it on before the switch; /proc is the one that must exist.
        move_mount(&top, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("mount the new root"))?;
        let ours = vec![device(&top)?];
        Ok(Self {
            top,
            ours,
            mirrors: Vec::new(),
            writable: Vec::new(),
            read_only,
            taken: BTreeMap::new(),
            payloads: Payloads::default(),
        })
    }

    fn mirror_top(&mut self) -> Result<()> {
        let from = open_dir(CWD, "/").map_err(failed("read /"))?;
        copy_look(&from, &self.top)?;
        let host = Host { read_only: self.read_only };
        bind_entries(&from, &self.top, "/", &["proc", "sys", "dev"], host)?;
        for name in ["proc", "sys", "dev"] {
            mkdirat(&self.top, name, Mode::from_bits_truncate(0o755))
                .map_err(failed(format!("make /{name}")))?;
        }
        match clone_tree(&from, "sys") {
            Ok(tree) => {
                add_mount_attributes(&tree, true, MountAttrFlags::MOUNT_ATTR_RDONLY)
                    .map_err(failed("make /sys read-only"))?;
                attach(&tree, &self.top, "sys").map_err(failed("mount /sys"))
            }
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("bind /sys")(error)),
        }
    }

    /// Takes off what hangs at the new root's `/proc`, which serves as a coat hook until the end.
    fn detach_proc(&self) -> io::Result<()> {
        fchdir(&self.top)?;
        unmount("proc", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        chdir("/")?;
        Ok(())
    }

    /// Makes the new root this process's root and lets go of the old one.
    fn switch(self, old: &OwnedFd) -> Result<Payloads> {
        if self.read_only {
            let read_only = |mirror: &OwnedFd| {
                add_mount_attributes(mirror, false, MountAttrFlags::MOUNT_ATTR_RDONLY)
                    .map_err(failed("make the root read-only"))
            };
            for path in &self.mirrors {
                // By path, because a mirror further up may have taken a copy of it.
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
                let mirror = openat2(&self.top, &path[1..], flags, Mode::empty(), resolve)
                    .map_err(failed(format!("open {path}")))?;
                read_only(&mirror)?;
            }
            read_only(&self.top)?;
        }
        let switched = (|| {
            fchdir(&self.top)?;
            pivot_root(".", ".")?;
            // Both hang at the same place now, the old one on top.
            fchdir(old)?;
            unmount(".", UnmountFlags::DETACH)?;
            chdir("/")
        })();
        switched.map_err(failed("switch to the task's root"))?;
        Ok(self.payloads)
    }
}
