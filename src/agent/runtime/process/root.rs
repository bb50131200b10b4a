//! Builds the file system a task sees: the node's own, entry by entry, with the task's files and mounts in it.
//!
//! The new root is a tmpfs into which every entry of `/` is bound back (a *mirror*). Where a mount point is missing in a
//! directory of the node, that directory gets mirrored in turn and the mount point is made in its tmpfs; so nothing is
//! ever created on a disk. All of it happens in a private mount namespace and is gone with the last process in it.
//!
//! Paths are walked here, component by component, relative to descriptors, and links are resolved as the task would
//! see them. So a link can lead a target to another place of the sandbox, but not out of it and not onto
//! `/proc`, `/sys` or `/dev`.

use super::job::{Job, JobFile, JobMount, Source};
use crate::{
    agent::place,
    kit::os::{Tmpfs, add_mount_attributes},
};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod,
        fchown, fstat, mkdirat, openat, openat2, readlinkat, statat, symlinkat,
    },
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
        mount_change, move_mount, open_tree, unmount,
    },
    process::{chdir, fchdir, pivot_root},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};
use zeroize::Zeroizing;

/// What a task may write into mirrored directories; all of it is memory.
const MIRROR_SIZE: &str = "256m";
/// A directory with more entries is not mirrored: each entry is a mount, and the kernel allows 100 000.
const MIRROR_ENTRIES: usize = 20_000;
/// As the kernel's own limit.
const LINKS: usize = 40;

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

/// A place to mount at.
struct Seat {
    fd: OwnedFd,
    /// Free of links.
    path: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    File,
    Dir,
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

    /// A small `/dev` of the task's own.
    fn add_devices(&mut self) -> Result<()> {
        let dev = Tmpfs {
            size: "64k".to_owned(),
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
    fn hide(&mut self, path: &Path) -> Result<()> {
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

    /// Takes off what hangs at the new root's `/proc`, which serves as a coat hook until the end.
    fn detach_proc(&self) -> io::Result<()> {
        fchdir(&self.top)?;
        unmount("proc", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        chdir("/")?;
        Ok(())
    }

    fn add_mount(&mut self, mount: &JobMount, job: &Job) -> Result<()> {
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
    fn add_files(&mut self, files: &[JobFile], payloads: &mut impl Read) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let pages: u64 = files.iter().map(|file| file.len.div_ceil(4096) + 1).sum();
        let (shelf, _) = Tmpfs::for_payloads((pages * 4096 + 65536).to_string())
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

    /// The task's own `/proc`, of its own pid namespace, without what shows or changes the machine.
    fn add_proc(&mut self) -> Result<()> {
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

    fn take_seat(&mut self, seat: &Seat, tree: &OwnedFd, what: String) -> Result<()> {
        if let Some(first) = self.taken.get(&seat.path) {
            return Err(Refusal(format!("{what} and {first} lead to the same file {}", seat.path)));
        }
        attach_at(tree, &seat.fd).map_err(failed(format!("mount {what}")))?;
        self.taken.insert(seat.path.clone(), what);
        Ok(())
    }

    /// Finds the place a target stands for, or makes it without touching the node's disks.
    fn seat(&mut self, target: &str, shape: Shape, devices: bool) -> Result<Seat> {
        let mut rest: VecDeque<Vec<u8>> = components(target.as_bytes()).collect();
        // Where we are: names and descriptors of the directories from the root down.
        let mut way: Vec<(String, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == b".." {
                way.pop();
                continue;
            }
            let name = String::from_utf8(name)
                .map_err(|_| Refusal("a link on the way has a name that is no text".to_owned()))?;
            let last = rest.is_empty();
            let here = format!("{}/{name}", real_path(&way));
            let may_pass = here == "/dev" || devices && here.starts_with("/dev/");
            if is_system(&here) && !may_pass {
                return Err(Refusal(format!("it lies on {here}, which belongs to the system")));
            }
            let (fd, seen) = match self.look(&way, &name) {
                Ok(found) => found,
                Err(Errno::NOENT) => {
                    let as_dir = !last || shape == Shape::Dir;
                    self.make(&mut way, &name, as_dir)?;
                    self.look(&way, &name).map_err(failed(format!("open {here}")))?
                }
                Err(error) => return Err(failed(format!("open {here}"))(error)),
            };
            match FileType::from_raw_mode(seen.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(Refusal(format!("too many links at {here}")));
                    }
                    let to = readlinkat(&fd, "", Vec::new())
                        .map_err(failed(format!("read the link {here}")))?;
                    if to.as_bytes().first() == Some(&b'/') {
                        way.clear();
                    }
                    for part in components(to.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                FileType::Directory => way.push((name, fd)),
                _ if !last => return Err(Refusal(format!("{here} is not a directory"))),
                FileType::RegularFile if shape == Shape::File => {
                    return Ok(Seat { fd, path: here });
                }
                _ if shape == Shape::File && devices => return Ok(Seat { fd, path: here }),
                _ if shape == Shape::File => {
                    return Err(Refusal(format!("{here} is not a regular file")));
                }
                _ => return Err(Refusal(format!("{here} is not a directory"))),
            }
        }
        let path = real_path(&way);
        match (way.pop(), shape) {
            (_, Shape::File) => Err(Refusal(format!("{path}/ is a directory"))),
            (Some((_, fd)), Shape::Dir) => Ok(Seat { fd, path }),
            (None, Shape::Dir) => {
                let fd = self.top.try_clone().map_err(failed("hold the root"))?;
                Ok(Seat { fd, path: "/".to_owned() })
            }
        }
    }

    fn look(
        &self,
        way: &[(String, OwnedFd)],
        name: &str,
    ) -> std::result::Result<(OwnedFd, Stat), Errno> {
        let at = way.last().map_or(&self.top, |(_, fd)| fd);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(at, name, flags, Mode::empty())?;
        let seen = fstat(&fd)?;
        Ok((fd, seen))
    }

    /// Makes `name` in the last directory of the way, which is mirrored first unless it is ours.
    fn make(&mut self, way: &mut Vec<(String, OwnedFd)>, name: &str, as_dir: bool) -> Result<()> {
        let parent = real_path(way);
        let shown = format!("{parent}/{name}");
        if let Some((_, fd)) = way.last_mut()
            && !self.ours.contains(&device(&*fd)?)
        {
            if let Some(mount) = self.writable.iter().find(|mount| is_below(&parent, mount)) {
                return Err(Refusal(format!(
                    "{shown} is missing in the mount {mount}; make an empty one there, or choose a target outside it"
                )));
            }
            *fd = self.mirror(fd, &parent)?;
        }
        let at = way.last().map_or(&self.top, |(_, fd)| fd);
        let made = if as_dir {
            mkdirat(at, name, Mode::from_bits_truncate(0o755))
        } else {
            make_file(at, name)
        };
        made.map_err(failed(format!("make {shown}")))
    }

    /// Mounts a tmpfs over the directory, with everything that is in it bound back.
    fn mirror(&mut self, dir: &OwnedFd, path: &str) -> Result<OwnedFd> {
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

/// How entries of the node are bound back.
#[derive(Clone, Copy)]
struct Host {
    read_only: bool,
}

fn bind_entries(from: &OwnedFd, to: &OwnedFd, path: &str, skip: &[&str], host: Host) -> Result<()> {
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
fn copy_look(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
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

fn mirror_tmpfs() -> io::Result<OwnedFd> {
    let tmpfs = Tmpfs {
        size: MIRROR_SIZE.to_owned(),
        mode: Mode::from_bits_truncate(0o755),
        attributes: MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        noswap: false,
    };
    Ok(tmpfs.make()?.0)
}

fn terminals() -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "ptmxmode", "0666")?;
    fsconfig_set_string(&context, "mode", "0620")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Neither set-id bits nor devices nor programs.
fn quiet() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn set_read_only(tree: &OwnedFd) -> io::Result<()> {
    add_mount_attributes(tree, false, quiet() | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn clone_tree(at: impl AsFd, path: impl rustix::path::Arg) -> std::result::Result<OwnedFd, Errno> {
    // Always with what is mounted below: in a user namespace the kernel keeps trees together, so that nobody looks
    // under a mount.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    open_tree(at, path, flags)
}

fn attach(
    tree: &OwnedFd,
    dir: &OwnedFd,
    name: impl rustix::path::Arg,
) -> std::result::Result<(), Errno> {
    move_mount(tree, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn attach_at(tree: &OwnedFd, seat: &OwnedFd) -> std::result::Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", seat, "", flags)
}

fn make_file(dir: &OwnedFd, name: impl rustix::path::Arg) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::from_bits_truncate(0o444)).map(drop)
}

fn open_dir(at: impl AsFd, path: impl rustix::path::Arg) -> std::result::Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn device(fd: impl AsFd) -> Result<u64> {
    Ok(fstat(fd).map_err(failed("look at a mount"))?.st_dev)
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec)
}

fn real_path(way: &[(String, OwnedFd)]) -> String {
    way.iter().fold(String::new(), |path, (name, _)| format!("{path}/{name}"))
}

fn is_system(path: &str) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|system| is_below(path, system))
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
