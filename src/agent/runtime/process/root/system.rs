//! What every system has and no task should share: `/dev`, `/proc`, and covers over the daemon's own paths.

use super::{Result, Root, failed, mounts::*};
use crate::kit::os::{Tmpfs, add_mount_attributes};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, statat,
        symlinkat,
    },
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    },
};
use std::{io, os::fd::OwnedFd, path::Path};

/// Devices a task finds in its `/dev`, if the node has them.
const DEVICES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "fuse"];
/// What shows or changes the whole machine; hidden, as the engine does.
const MASKED: [&str; 9] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
];
/// As [`MASKED`], but readable.
const FROZEN: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

impl Root {
    /// A small `/dev` of the task's own.
    pub(super) fn add_devices(&mut self) -> Result<()> {
        let dev = Tmpfs {
            size: "64k".to_owned(),
            inodes: None,
            mode: Mode::from_bits_truncate(0o755),
            attributes: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            noswap: false,
        };
        let (dev, _) = dev.make().map_err(failed("make a tmpfs for /dev"))?;
        attach(&dev, &self.top, "dev").map_err(failed("mount /dev"))?;
        let host = open_dir(CWD, "/dev").map_err(failed("read /dev"))?;
        for name in DEVICES {
            match clone_tree(&host, name) {
                Ok(tree) => {
                    make_file(&dev, name).map_err(failed(format!("make /dev/{name}")))?;
                    attach(&tree, &dev, name).map_err(failed(format!("bind /dev/{name}")))?;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(format!("bind /dev/{name}"))(error)),
            }
        }
        for (link, to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            symlinkat(to, &dev, link).map_err(failed(format!("make /dev/{link}")))?;
        }
        for name in ["pts", "shm"] {
            mkdirat(&dev, name, Mode::from_bits_truncate(0o755))
                .map_err(failed(format!("make /dev/{name}")))?;
        }
        let shm = Tmpfs {
            size: "64m".to_owned(),
            inodes: None,
            mode: Mode::from_bits_truncate(0o1777),
            attributes: quiet(),
            noswap: false,
        };
        let (shm, _) = shm.make().map_err(failed("make a tmpfs for /dev/shm"))?;
        attach(&shm, &dev, "shm").map_err(failed("mount /dev/shm"))?;
        // Terminals are a comfort; kernels and containers without them are known.
        if let Ok(pts) = terminals() {
            attach(&pts, &dev, "pts").map_err(failed("mount /dev/pts"))?;
        }
        self.ours.push(device(&shm)?);
        Ok(())
    }

    /// Covers a path of the daemon with nothing. What is not there needs no cover.
    pub(super) fn hide(&mut self, path: &Path) -> Result<()> {
        let shown = path.display();
        let inside = path.strip_prefix("/").unwrap_or(path);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let seat = match openat2(&self.top, inside, flags, Mode::empty(), resolve) {
            Ok(seat) => seat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
            Err(error) => return Err(failed(format!("look at {shown}"))(error)),
        };
        let empty = Tmpfs {
            size: "4k".to_owned(),
            inodes: None,
            mode: Mode::from_bits_truncate(0o555),
            attributes: quiet(),
            noswap: false,
        };
        let (cover, _) = empty.make().map_err(failed(format!("make a cover for {shown}")))?;
        let seen = fstat(&seat).map_err(failed(format!("look at {shown}")))?;
        if FileType::from_raw_mode(seen.st_mode) == FileType::Directory {
            set_read_only(&cover).map_err(failed(format!("cover {shown}")))?;
            return attach_at(&cover, &seat).map_err(failed(format!("cover {shown}")));
        }
        let cover = self.lone_file(&cover).map_err(failed(format!("cover {shown}")))?;
        attach_at(&cover, &seat).map_err(failed(format!("cover {shown}")))
    }

    /// An empty, read-only file with no directory anywhere: `tmpfs` is attached only while it is cloned.
    fn lone_file(&self, tmpfs: &OwnedFd) -> io::Result<OwnedFd> {
        make_file(tmpfs, "0")?;
        attach(tmpfs, &self.top, "proc")?;
        let tree = clone_tree(tmpfs, "0")?;
        self.detach_proc()?;
        set_read_only(&tree)?;
        Ok(tree)
    }

    /// The task's own `/proc`, of its own pid namespace, without what shows or changes the machine.
    pub(super) fn add_proc(&mut self) -> Result<()> {
        let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)
            .and_then(|context| {
                fsconfig_create(&context)?;
                fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, quiet())
            })
            .map_err(failed("mount a /proc of the task's own"))?;
        attach(&proc, &self.top, "proc").map_err(failed("mount /proc"))?;
        for name in FROZEN {
            match clone_tree(&proc, name) {
                Ok(tree) => {
                    add_mount_attributes(&tree, true, MountAttrFlags::MOUNT_ATTR_RDONLY)
                        .map_err(failed(format!("make /proc/{name} read-only")))?;
                    attach(&tree, &proc, name).map_err(failed(format!("cover /proc/{name}")))?;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(format!("cover /proc/{name}"))(error)),
            }
        }
        for name in MASKED {
            let Ok(seen) = statat(&proc, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let cover = if FileType::from_raw_mode(seen.st_mode) == FileType::Directory {
                let empty = Tmpfs {
                    size: "4k".to_owned(),
                    inodes: None,
                    mode: Mode::from_bits_truncate(0o555),
                    attributes: quiet() | MountAttrFlags::MOUNT_ATTR_RDONLY,
                    noswap: false,
                };
                empty.make().map_err(failed(format!("cover /proc/{name}")))?.0
            } else {
                clone_tree(CWD, "/dev/null").map_err(failed(format!("cover /proc/{name}")))?
            };
            attach(&cover, &proc, name).map_err(failed(format!("cover /proc/{name}")))?;
        }
        Ok(())
    }
}

fn terminals() -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "ptmxmode", "0666")?;
    fsconfig_set_string(&context, "mode", "0620")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
