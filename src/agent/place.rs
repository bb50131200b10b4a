//! Puts payloads on the host for the docker runtime: a tmpfs for each task, opaque names, every step by descriptor.
//!
//! A task's tmpfs hangs at `<run-dir>/place/<task id>`, 0700 and root's; its files are `0`, `1`, …, and their target paths
//! are never used on the host. The engine binds them into the container one by one, so nobody needs to get
//! through the directories above them.
//!
//! Whoever has CAP_SYS_ADMIN in a container can change the filesystem his files lie on, though not its mount here: turn it
//! read-only, or make it larger. So no two tasks share one, and what an agent before us left is looked at before it is
//! trusted.

use crate::{
    crypto::plaintext::Plaintext,
    kit::{
        id::TaskId,
        os::{Bound, Swap, Tmpfs, make_writable, swap_is_on},
    },
    model::reference::FileMode,
};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, StatVfsMountFlags,
        StatxAttributes, StatxFlags, Uid, fchmod, fchown, fstat, fstatfs, fstatvfs, ftruncate,
        mkdirat, openat2, statat, statx, unlinkat,
    },
    io::Errno,
    mount::{MoveMountFlags, UnmountFlags, move_mount, unmount},
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The files of all tasks of a node may fill this part of its memory: a quarter.
const SHARE: u64 = 4;

/// `statfs` calls a tmpfs so.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Mounts on top of each other that are taken off one place before it counts as hopeless.
const STACKED: usize = 64;

/// Why files could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(
        "cannot mount a tmpfs for secrets at {path}: the docker runtime needs secretd to run as root"
    )]
    NotRoot { path: PathBuf },
    #[error("cannot use {path} for secrets: {reason}")]
    Unfit { path: PathBuf, reason: &'static str },
    #[error(
        "the files of all tasks of this node would take {wanted} bytes, more than a quarter of its memory ({most} bytes)"
    )]
    Full { wanted: u64, most: u64 },
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        err: io::Error,
    },
}

/// One file to be put in place.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    pub uid: u32,
    pub gid: u32,
    pub mode: FileMode,
    pub payload: &'a Plaintext,
}

/// How the files of a task were found that an agent before us placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// As they were left; also a task without files.
    Sound,
    /// Somebody had changed their tmpfs, and it is again as it was made.
    Mended(&'static str),
    /// They are not what we placed. The container keeps what it has bound; nothing here is trusted for another start.
    Spoiled(&'static str),
}

/// What an agent finds of the agents before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Names of what was nobody's any more, and is gone now.
    pub wiped: Vec<String>,
    /// Tasks whose files were not as they had been left.
    pub changed: Vec<(TaskId, Found)>,
}

/// The node's payloads: a directory with one tmpfs for each task.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    base: OwnedFd,
    swap: Swap,
    /// What all tasks may take together, in bytes.
    most: u64,
    /// What each task's tmpfs may take.
    taken: Mutex<BTreeMap<TaskId, u64>>,
}

impl Place {
    /// Makes `<run_dir>/place`, or takes the one that an earlier run of the agent left there.
    ///
    /// # Errors
    /// [`PlaceError::NotRoot`]; `run_dir` is missing; something is mounted there, or it belongs to somebody else.
    pub fn open(run_dir: &Path) -> Result<Self, PlaceError> {
        let place = Self::make(run_dir)?;
        if place.swap == Swap::Possible && swap_is_on() {
            warn_of_swap();
        }
        Ok(place)
    }

    fn make(run_dir: &Path) -> Result<Self, PlaceError> {
        let path = run_dir.join("place");
        let io = |doing| {
            let path = path.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        let parent = open_dir(CWD, run_dir, ResolveFlags::NO_MAGICLINKS).map_err(io("open"))?;
        match mkdirat(&parent, "place", Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(err) => return Err(io("make")(err)),
        }
        let base = open_dir(&parent, "place", STRAIGHT).map_err(io("open"))?;
        let unfit = |reason| Err(PlaceError::Unfit { path: path.clone(), reason });
        if is_mount_root(&base).map_err(io("look at"))? {
            return unfit("something is mounted there; unmount it");
        }
        let seen = fstat(&base).map_err(io("look at"))?;
        if seen.st_uid != rustix::process::geteuid().as_raw() {
            return unfit("it belongs to somebody else; remove it");
        }
        fchmod(&base, Mode::RWXU).map_err(io("set the mode of"))?;
        // Tried now: without the right to mount no task would get its files.
        let (_, swap) = tmpfs(&path, Bound::for_files([]))?;
        let taken = Mutex::default();
        Ok(Self { path, base, swap, most: memory() / SHARE, taken })
    }

    /// Whether the kernel may write payloads to a swap device; before Linux 6.4 it may.
    pub fn swap(&self) -> Swap {
        self.swap
    }

    /// Writes a task's files into a tmpfs of its own and returns their paths on the host, in the same order. What the task
    /// had before is wiped first, so a container that still binds it must be gone by then.
    ///
    /// # Errors
    /// [`PlaceError::Full`], [`PlaceError::Io`]; nothing of the task is left then.
    pub fn place(&self, task: TaskId, files: &[Placed<'_>]) -> Result<Vec<PathBuf>, PlaceError> {
        self.wipe(task)?;
        let lengths = files.iter().map(|file| file.payload.len() as u64);
        let bound = Bound::for_files(lengths);
        self.reserve(task, bound.bytes)?;
        let written = self.write(task, files, bound);
        if written.is_err() {
            self.wipe(task)?;
        }
        written
    }

    /// Overwrites a task's files and takes its tmpfs away. A task without files counts as wiped.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn wipe(&self, task: TaskId) -> Result<(), PlaceError> {
        let name = CString::new(task.as_str()).expect("an id has no zero byte");
        self.clear(&name)?;
        self.taken().remove(&task);
        Ok(())
    }

    /// The tasks that have files here.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn held(&self) -> Result<Vec<TaskId>, PlaceError> {
        let mut tasks: Vec<TaskId> = self.names()?.iter().filter_map(|name| task(name)).collect();
        tasks.sort();
        Ok(tasks)
    }

    /// Takes over what an agent before us left: wipes what is of no task that `keep` knows, and looks at the files of the
    /// others, whose containers may have had the right to change what they lie on. No file of theirs is touched.
    ///
    /// # Errors
    /// [`PlaceError::Io`] of the first that could not be wiped or looked at; the others were.
    pub fn take_over(&self, keep: impl Fn(TaskId) -> bool) -> Result<TakenOver, PlaceError> {
        let (mut over, mut trouble) = (TakenOver::default(), None);
        for name in self.names()? {
            let found = match task(&name).filter(|task| keep(*task)) {
                Some(task) => self.look(task, &name).map(|found| {
                    if found != Found::Sound {
                        over.changed.push((task, found));
                    }
                }),
                None => {
                    self.clear(&name).map(|()| over.wiped.push(name.to_string_lossy().into_owned()))
                }
            };
            trouble = trouble.or(found.err());
        }
        trouble.map_or(Ok(over), Err)
    }

    /// Wipes everything and takes the directory away: the node leaves its cluster.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn leave(self) -> Result<(), PlaceError> {
        self.take_over(|_| false)?;
        let Self { path, base, swap: _, most: _, taken: _ } = self;
        drop(base);
        std::fs::remove_dir(&path).map_err(|err| PlaceError::Io { doing: "remove", path, err })
    }

    fn reserve(&self, task: TaskId, bytes: u64) -> Result<(), PlaceError> {
        let mut taken = self.taken();
        let wanted = taken.values().sum::<u64>() + bytes;
        if wanted > self.most {
            return Err(PlaceError::Full { wanted, most: self.most });
        }
        taken.insert(task, bytes);
        Ok(())
    }

    /// Mounted only once it is whole: whoever finds it here finds everything in it.
    fn write(
        &self,
        task: TaskId,
        files: &[Placed<'_>],
        bound: Bound,
    ) -> Result<Vec<PathBuf>, PlaceError> {
        let home = self.path.join(task.as_str());
        let io = |doing| {
            let path = home.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        let (mount, _) = tmpfs(&home, bound)?;
        // The mount's own descriptor is one for paths only.
        let dir = open_dir(&mount, ".", STRAIGHT).map_err(io("open"))?;
        let mut paths = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            let name = number.to_string();
            let Placed { uid, gid, mode, payload } = *file;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = openat2(&dir, &name, flags, Mode::WUSR, STRAIGHT).map_err(io("make"))?;
            let mut file = File::from(fd);
            file.write_all(payload.expose()).map_err(|err| PlaceError::Io {
                doing: "write",
                path: home.join(&name),
                err,
            })?;
            // The owner goes first: changing it may clear bits of the mode.
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(io("set the owner of a file in"))?;
            fchmod(&file, Mode::from_bits_truncate(mode.bits()))
                .map_err(io("set the mode of a file in"))?;
            paths.push(home.join(name));
        }
        mkdirat(&self.base, task.as_str(), Mode::RWXU).map_err(io("make"))?;
        let under = open_dir(&self.base, task.as_str(), STRAIGHT).map_err(io("open"))?;
        move_mount(
            &mount,
            "",
            &under,
            "",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .map_err(io("mount a tmpfs at"))?;
        Ok(paths)
    }

    /// Takes away whatever lies under a name: a task's tmpfs, the directory it hung at, or what nobody should have put there.
    fn clear(&self, name: &CStr) -> Result<(), PlaceError> {
        let path = self.path.join(name.to_string_lossy().as_ref());
        let io = |doing| {
            let path = path.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        for _ in 0..STACKED {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let top = match openat2(&self.base, name, flags, Mode::empty(), STRAIGHT) {
                Ok(top) => top,
                Err(Errno::NOENT) => return Ok(()),
                Err(err) => return Err(io("open")(err)),
            };
            let seen = fstat(&top).map_err(io("look at"))?;
            let is_dir = FileType::from_raw_mode(seen.st_mode) == FileType::Directory;
            if !is_mount_root(&top).map_err(io("look at"))? {
                if !is_dir {
                    return unlinkat(&self.base, name, AtFlags::empty()).map_err(io("remove"));
                }
                empty(&top).map_err(|err| PlaceError::Io {
                    doing: "empty",
                    path: path.clone(),
                    err,
                })?;
                return unlinkat(&self.base, name, AtFlags::REMOVEDIR).map_err(io("remove"));
            }
            if is_dir && fstatfs(&top).map_err(io("look at"))?.f_type == TMPFS_MAGIC {
                let wiped = ensure_writable(&top).and_then(|_| empty(&top));
                if let Err(error) = wiped {
                    // Its pages go back to the kernel with the last mount of it, though not as zeros.
                    tracing::warn!(path = %path.display(), %error, "cannot overwrite files; unmounting them");
                }
            }
            // The last part of the path is no link of /proc, so the flag means what it says.
            let base = format!("/proc/self/fd/{}", self.base.as_raw_fd());
            unmount(
                Path::new(&base).join(name.to_string_lossy().as_ref()),
                UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
            )
            .map_err(io("unmount"))?;
        }
        Err(PlaceError::Unfit { path, reason: "too much is mounted there; unmount it" })
    }

    /// Looks at the files of a task whose container is here.
    fn look(&self, task: TaskId, name: &CStr) -> Result<Found, PlaceError> {
        let path = self.path.join(task.as_str());
        let io = |doing| {
            let path = path.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        let dir = match open_dir(&self.base, name, STRAIGHT) {
            Ok(dir) => dir,
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Spoiled("it is no directory")),
            Err(err) => return Err(io("open")(err)),
        };
        if !is_mount_root(&dir).map_err(io("look at"))? {
            return Ok(Found::Spoiled("its tmpfs is not mounted any more"));
        }
        if fstatfs(&dir).map_err(io("look at"))?.f_type != TMPFS_MAGIC {
            return Ok(Found::Spoiled("another filesystem is mounted over it"));
        }
        let seen = fstat(&dir).map_err(io("look at"))?;
        if seen.st_uid != rustix::process::geteuid().as_raw() || seen.st_mode & 0o777 != 0o700 {
            return Ok(Found::Spoiled("its tmpfs is not root's alone"));
        }
        let quiet =
            StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV | StatVfsMountFlags::NOEXEC;
        let stat = fstatvfs(&dir).map_err(io("look at"))?;
        if !stat.f_flag.contains(quiet) {
            return Ok(Found::Spoiled("its tmpfs allows devices or programs"));
        }
        let mut lengths = Vec::new();
        for name in names(&dir).map_err(io("list"))? {
            let file = statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(io("look at"))?;
            let is_ours = name.to_bytes().iter().all(u8::is_ascii_digit)
                && FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
            if !is_ours {
                return Ok(Found::Spoiled("its tmpfs holds what was not placed there"));
            }
            lengths.push(u64::try_from(file.st_size).unwrap_or(0));
        }
        let bound = Bound::for_files(lengths);
        self.taken().insert(task, bound.bytes);
        match ensure_writable(&dir) {
            Ok(false) => {}
            Ok(true) => return Ok(Found::Mended("somebody had made its tmpfs read-only")),
            Err(_) => return Ok(Found::Spoiled("its tmpfs is read-only and stays so")),
        }
        let is_bounded = bound.holds(&dir).map_err(|err| PlaceError::Io {
            doing: "look at",
            path: path.clone(),
            err,
        })?;
        if is_bounded {
            return Ok(Found::Sound);
        }
        Ok(match bound.impose(&dir) {
            Ok(()) => Found::Mended("somebody had made its tmpfs larger"),
            Err(_) => Found::Spoiled("its tmpfs is larger than it was made and stays so"),
        })
    }

    fn names(&self) -> Result<Vec<CString>, PlaceError> {
        let listed = open_dir(&self.base, ".", STRAIGHT).and_then(|base| names(&base));
        listed.map_err(|err| PlaceError::Io {
            doing: "list",
            path: self.path.clone(),
            err: err.into(),
        })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, u64>> {
        // A map of numbers is whole whatever its holder died of.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a promise cannot be kept on this machine.
pub(super) fn warn_of_swap() {
    tracing::warn!(
        "the kernel may swap secrets to a disk: it cannot make a tmpfs without swap here (that takes Linux 6.4 and \
         root); turn swap off or encrypt it"
    );
}

/// Writes payloads one after another: how the process runtime hands them to the shim, over a pipe and nothing else.
///
/// # Errors
/// The pipe's: the other side has gone.
pub(super) fn feed<'a>(
    pipe: &mut impl Write,
    payloads: impl IntoIterator<Item = &'a Plaintext>,
) -> io::Result<()> {
    payloads.into_iter().try_for_each(|payload| pipe.write_all(payload.expose()))
}

/// Fills a file with zeros up to its length and then empties it.
///
/// # Errors
/// The file is not writable.
pub(super) fn overwrite(file: &File) -> io::Result<()> {
    fill_with_zeros(file)?;
    ftruncate(file, 0)?;
    Ok(())
}

fn fill_with_zeros(file: &File) -> io::Result<()> {
    let zeros = [0; 64 * 1024];
    let len = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let mut at = 0;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len());
        at += file.write_at(&zeros[..part], at)? as u64;
    }
    Ok(())
}

/// A task's tmpfs, attached nowhere yet.
fn tmpfs(path: &Path, bound: Bound) -> Result<(OwnedFd, Swap), PlaceError> {
    Tmpfs::for_payloads(bound).make().map_err(|err| match err.kind() {
        io::ErrorKind::PermissionDenied => PlaceError::NotRoot { path: path.to_owned() },
        _ => PlaceError::Io { doing: "make a tmpfs for", path: path.to_owned(), err },
    })
}

/// All memory of the machine, in bytes.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// The task a name is the id of.
fn task(name: &CStr) -> Option<TaskId> {
    name.to_str().ok()?.parse().ok()
}

/// Turns a tmpfs that was made read-only back; false if it was not.
fn ensure_writable(root: &OwnedFd) -> io::Result<bool> {
    let is_read_only =
        || fstatvfs(root).map(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    if !is_read_only()? {
        return Ok(false);
    }
    make_writable(root)?;
    if is_read_only()? { Err(Errno::ROFS.into()) } else { Ok(true) }
}

/// Overwrites and removes the files of a directory, and folders in it that are empty.
fn empty(dir: &OwnedFd) -> io::Result<()> {
    let dir = open_dir(dir, ".", STRAIGHT)?;
    for name in names(&dir)? {
        let seen = statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let how = match FileType::from_raw_mode(seen.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let file = openat2(&dir, &name, flags, Mode::empty(), STRAIGHT)?;
                overwrite(&File::from(file))?;
                AtFlags::empty()
            }
            _ => AtFlags::empty(),
        };
        unlinkat(&dir, &name, how)?;
    }
    Ok(())
}

/// No way out of the directory and no links on the way.
const STRAIGHT: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn open_dir(
    at: impl AsFd,
    path: impl rustix::path::Arg,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    openat2(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

fn is_mount_root(fd: impl AsFd) -> Result<bool, Errno> {
    let seen = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// A place in a directory of its own, taken away with it.
    struct Home {
        dir: tempfile::TempDir,
        place: Option<Place>,
    }

    impl Home {
        fn new() -> Self {
            assert!(
                rustix::process::geteuid().is_root(),
                "run these tests as root: they mount a tmpfs"
            );
            let dir = tempfile::tempdir().unwrap();
            let place = Some(Place::open(dir.path()).unwrap());
            Self { dir, place }
        }

        fn place(&self) -> &Place {
            self.place.as_ref().unwrap()
        }

        fn path(&self, task: TaskId) -> PathBuf {
            self.dir.path().join("place").join(task.as_str())
        }

        fn mounts(&self) -> usize {
            let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let points = text.lines().filter_map(|line| line.split(' ').nth(4));
            points.filter(|point| Path::new(point).starts_with(self.dir.path())).count()
        }

        /// What a container with CAP_SYS_ADMIN may do to the filesystem its file lies on.
        fn remount(&self, task: TaskId, options: &str) {
            let file = self.path(task).join("0");
            let script = format!(
                "touch {0}/bound && mount --bind {1} {0}/bound && mount -o remount,{options} {0}/bound; \
                 umount {0}/bound; rm {0}/bound",
                self.dir.path().display(),
                file.display()
            );
            let done = std::process::Command::new("sh").args(["-ec", &script]).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            if let Some(place) = self.place.take() {
                place.leave().unwrap();
            }
        }
    }

    fn file(payload: &Plaintext, uid: u32, mode: u32) -> Placed<'_> {
        Placed { uid, gid: uid, mode: FileMode::new(mode).unwrap(), payload }
    }

    #[test]
    fn files_have_their_bytes_owner_and_mode_under_opaque_names() {
        let home = Home::new();
        let (task, secret) = (TaskId::random(), Plaintext::new(b"hush".to_vec()));
        let paths = home
            .place()
            .place(task, &[file(&secret, 1000, 0o400), file(&secret, 0, 0o444)])
            .unwrap();
        assert_eq!(paths[0], home.dir.path().join("place").join(task.as_str()).join("0"));
        assert_eq!(std::fs::read(&paths[0]).unwrap(), b"hush");
        let meta = std::fs::metadata(&paths[0]).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1000, 1000, 0o400));
        assert_eq!(std::fs::metadata(&paths[1]).unwrap().mode() & 0o7777, 0o444);
        let top = std::fs::metadata(home.dir.path().join("place")).unwrap();
        assert_eq!(top.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn wiped_files_are_overwritten_before_they_are_unlinked() {
        let home = Home::new();
        let (task, secret) = (TaskId::random(), Plaintext::new(vec![b'x'; 100_000]));
        let paths = home.place().place(task, &[file(&secret, 0, 0o400)]).unwrap();
        let open = File::open(&paths[0]).unwrap();
        home.place().wipe(task).unwrap();
        assert_eq!(open.metadata().unwrap().len(), 0, "who held it open reads nothing now");
        assert_eq!(home.place().held().unwrap(), []);
        home.place().wipe(task).unwrap();
    }

    #[test]
    fn overwriting_leaves_zeros_where_the_payload_was() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b'x'; 70_000]).unwrap();
        fill_with_zeros(&file).unwrap();
        let mut found = vec![1; 70_000];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_restarted_agent_takes_over_the_files_of_its_tasks_and_wipes_the_others() {
        let home = Home::new();
        let (kept, stranger) = (TaskId::random(), TaskId::random());
        let secret = Plaintext::new(b"x".to_vec());
        home.place().place(kept, &[file(&secret, 0, 0o400)]).unwrap();
        home.place().place(stranger, &[file(&secret, 0, 0o400)]).unwrap();
        let again = Place::open(home.dir.path()).unwrap();
        assert_eq!(again.swap(), home.place().swap());
        let over = again.take_over(|task| task == kept).unwrap();
        assert_eq!(over, TakenOver { wiped: vec![stranger.to_string()], changed: Vec::new() });
        assert_eq!(home.place().held().unwrap(), [kept]);
        assert_eq!(std::fs::read(home.path(kept).join("0")).unwrap(), b"x");
        assert_eq!(home.mounts(), 1);
    }

    #[test]
    fn each_task_has_a_tmpfs_of_its_own_with_room_for_its_files_and_little_more() {
        let home = Home::new();
        let (one, other) = (TaskId::random(), TaskId::random());
        let secret = Plaintext::new(vec![b'x'; 500_000]);
        home.place().place(one, &[file(&secret, 0, 0o400)]).unwrap();
        home.place().place(other, &[file(&secret, 0, 0o400), file(&secret, 0, 0o400)]).unwrap();
        let stat = |task| rustix::fs::statvfs(home.path(task)).unwrap();
        assert_ne!(stat(one).f_fsid, stat(other).f_fsid);
        let bytes = stat(one).f_blocks * stat(one).f_frsize;
        assert!((1_000_000..1_300_000).contains(&bytes), "{bytes}");
        assert!((2..32).contains(&stat(one).f_files), "{}", stat(one).f_files);
        let quiet =
            StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV | StatVfsMountFlags::NOEXEC;
        assert!(stat(one).f_flag.contains(quiet));
    }

    #[test]
    fn a_task_that_makes_its_filesystem_read_only_stops_nobody_and_is_wiped_all_the_same() {
        let home = Home::new();
        let (hostile, other) = (TaskId::random(), TaskId::random());
        let secret = Plaintext::new(b"hush".to_vec());
        home.place().place(hostile, &[file(&secret, 0, 0o400)]).unwrap();
        home.remount(hostile, "ro");
        home.place().place(other, &[file(&secret, 0, 0o400)]).unwrap();
        let open = File::open(home.path(hostile).join("0")).unwrap();

        let again = Place::open(home.dir.path()).unwrap();
        let over = again.take_over(|_| true).unwrap();
        let mended = Found::Mended("somebody had made its tmpfs read-only");
        assert_eq!(over.changed, [(hostile, mended)]);
        assert_eq!(std::fs::read(home.path(hostile).join("0")).unwrap(), b"hush", "it keeps it");
        home.remount(hostile, "size=1g");
        let over = again.take_over(|_| true).unwrap();
        let mended = Found::Mended("somebody had made its tmpfs larger");
        assert_eq!(over.changed, [(hostile, mended)]);
        assert_eq!(again.take_over(|_| true).unwrap(), TakenOver::default());

        home.remount(hostile, "ro");
        again.wipe(hostile).unwrap();
        assert_eq!(open.metadata().unwrap().len(), 0);
        assert_eq!(home.mounts(), 1);
    }

    #[test]
    fn what_is_not_as_it_was_placed_is_said_and_goes_with_its_task() {
        let home = Home::new();
        let secret = Plaintext::new(b"x".to_vec());
        let tasks: [TaskId; 4] = std::array::from_fn(|_| TaskId::random());
        for task in tasks {
            home.place().place(task, &[file(&secret, 0, 0o400)]).unwrap();
        }
        let over = |task, kind: &str, options: &str| {
            let path = home.path(task);
            let args = ["-t", kind, "-o", options, "none", path.to_str().unwrap()];
            let done = std::process::Command::new("mount").args(args).status().unwrap();
            assert!(done.success());
        };
        over(tasks[0], "ramfs", "mode=700");
        over(tasks[1], "tmpfs", "mode=777");
        unmount(home.path(tasks[2]), UnmountFlags::DETACH).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", home.path(tasks[3]).join("1")).unwrap();
        let found = home.place().take_over(|_| true).unwrap().changed;
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|(_, found)| matches!(found, Found::Spoiled(_))), "{found:?}");
        for task in tasks {
            home.place().wipe(task).unwrap();
        }
        assert_eq!(home.mounts(), 0);
        assert_eq!(home.place().held().unwrap(), []);
    }

    #[test]
    fn all_tasks_together_may_not_take_the_nodes_memory() {
        let mut home = Home::new();
        home.place.as_mut().unwrap().most = 2_500_000;
        let secret = Plaintext::new(vec![b'x'; 500_000]);
        let tasks: [TaskId; 3] = std::array::from_fn(|_| TaskId::random());
        for task in [tasks[0], tasks[1], tasks[1]] {
            home.place().place(task, &[file(&secret, 0, 0o400)]).unwrap();
        }
        let error = home.place().place(tasks[2], &[file(&secret, 0, 0o400)]).unwrap_err();
        assert!(matches!(error, PlaceError::Full { .. }), "{error}");
        home.place().wipe(tasks[0]).unwrap();
        home.place().place(tasks[2], &[file(&secret, 0, 0o400)]).unwrap();
    }

    #[test]
    fn leaving_takes_files_and_mounts_away() {
        let mut home = Home::new();
        let secret = Plaintext::new(b"x".to_vec());
        home.place().place(TaskId::random(), &[file(&secret, 0, 0o400)]).unwrap();
        assert_eq!(home.mounts(), 1);
        home.place.take().unwrap().leave().unwrap();
        assert_eq!(home.mounts(), 0);
        assert!(!home.dir.path().join("place").exists());
    }

    #[test]
    fn a_link_or_a_mount_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("place")).unwrap();
        let error = Place::open(dir.path()).unwrap_err();
        assert!(matches!(error, PlaceError::Io { doing: "open", .. }), "{error:?}");

        let home = Home::new();
        let task = TaskId::random();
        std::fs::write(elsewhere.path().join("0"), "mine").unwrap();
        for name in [task.as_str(), "stray"] {
            std::os::unix::fs::symlink(elsewhere.path(), home.dir.path().join("place").join(name))
                .unwrap();
        }
        home.place().wipe(task).unwrap();
        assert_eq!(home.place().take_over(|_| true).unwrap().wiped, ["stray"]);
        assert_eq!(std::fs::read(elsewhere.path().join("0")).unwrap(), b"mine");

        let base = home.dir.path().join("place");
        rustix::mount::mount_bind(elsewhere.path(), &base).unwrap();
        let error = Place::open(home.dir.path()).unwrap_err();
        assert!(matches!(error, PlaceError::Unfit { .. }), "{error:?}");
        unmount(&base, UnmountFlags::DETACH).unwrap();
        assert_eq!(std::fs::read(elsewhere.path().join("0")).unwrap(), b"mine");
    }

    #[test]
    fn placing_again_replaces_what_was_there() {
        let home = Home::new();
        let task = TaskId::random();
        let (old, new) = (Plaintext::new(b"old".to_vec()), Plaintext::new(b"new".to_vec()));
        home.place().place(task, &[file(&old, 0, 0o400), file(&old, 0, 0o400)]).unwrap();
        let paths = home.place().place(task, &[file(&new, 0, 0o400)]).unwrap();
        assert_eq!(std::fs::read(&paths[0]).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(paths[0].parent().unwrap()).unwrap().count(), 1);
    }
}
