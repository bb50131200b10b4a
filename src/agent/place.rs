//! Puts payloads on the host for the docker runtime: one tmpfs, opaque names, every step by descriptor.
//!
//! The tmpfs hangs at `<run-dir>/place`, 0700 and root's. A task's files are `<task id>/0`, `/1`, …; their target paths
//! are never used on the host. The engine binds them into the container one by one, so nobody needs to get
//! through the directories above them.

use crate::{
    crypto::plaintext::Plaintext,
    kit::{
        id::TaskId,
        os::{Swap, Tmpfs, swap_is_on},
    },
    model::reference::FileMode,
};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, Gid, Mode, OFlags, ResolveFlags, StatxFlags, Uid, fchmod, fchown, fstat,
        fstatfs, ftruncate, mkdirat, openat2, statx, unlinkat,
    },
    io::Errno,
    mount::{MoveMountFlags, UnmountFlags, move_mount, unmount},
};
use std::{
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

/// The tmpfs may fill at most this share of memory; payloads of all tasks of the node live there.
const SIZE: &str = "25%";

/// `statfs` calls a tmpfs so.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Why files could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(
        "cannot mount a tmpfs for secrets at {path}: the docker runtime needs secretd to run as root"
    )]
    NotRoot { path: PathBuf },
    #[error("cannot use {path} for secrets: {reason}")]
    Unfit { path: PathBuf, reason: &'static str },
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

/// The node's tmpfs of payloads.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    root: OwnedFd,
    swap: Swap,
}

impl Place {
    /// Mounts the tmpfs at `<run_dir>/place`, or takes the one that an earlier run of the agent left there.
    ///
    /// # Errors
    /// [`PlaceError::NotRoot`]; `run_dir` is missing; something else is mounted there.
    pub fn open(run_dir: &Path) -> Result<Self, PlaceError> {
        let place = Self::mount(run_dir)?;
        if place.swap == Swap::Possible && swap_is_on() {
            warn_of_swap();
        }
        Ok(place)
    }

    fn mount(run_dir: &Path) -> Result<Self, PlaceError> {
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
        let under = open_dir(&parent, "place", STRAIGHT).map_err(io("open"))?;
        if let Some(found) = adopted(&under, &path)? {
            return Ok(found);
        }
        let (root, swap) = match Tmpfs::for_payloads(SIZE.to_owned()).make() {
            Ok(made) => made,
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                return Err(PlaceError::NotRoot { path });
            }
            Err(err) => return Err(PlaceError::Io { doing: "mount a tmpfs at", path, err }),
        };
        move_mount(
            &root,
            "",
            &under,
            "",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .map_err(io("mount a tmpfs at"))?;
        Ok(Self { path, root, swap })
    }

    /// Whether the kernel may write payloads to a swap device; before Linux 6.4 it may.
    pub fn swap(&self) -> Swap {
        self.swap
    }

    /// Writes a task's files and returns their paths on the host, in the same order. What the task had before is
    /// wiped first, so a container that still binds it must be gone by then.
    ///
    /// # Errors
    /// [`PlaceError::Io`], above all when the tmpfs is full; nothing of the task is left then.
    pub fn place(&self, task: TaskId, files: &[Placed<'_>]) -> Result<Vec<PathBuf>, PlaceError> {
        self.wipe(task)?;
        let written = self.write(task, files);
        if written.is_err() {
            self.wipe(task)?;
        }
        written
    }

    /// Overwrites and removes a task's files. A task without files counts as wiped.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn wipe(&self, task: TaskId) -> Result<(), PlaceError> {
        let path = self.path.join(task.as_str());
        let io = |doing| {
            let path = path.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        let dir = match open_dir(&self.root, task.as_str(), STRAIGHT) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(()),
            Err(err) => return Err(io("open")(err)),
        };
        for name in names(&dir).map_err(io("list"))? {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            if let Ok(file) = openat2(&dir, &name, flags, Mode::empty(), STRAIGHT) {
                overwrite(&File::from(file)).map_err(|err| PlaceError::Io {
                    doing: "wipe",
                    path: path.clone(),
                    err,
                })?;
            }
            unlinkat(&dir, &name, AtFlags::empty()).map_err(io("empty"))?;
        }
        unlinkat(&self.root, task.as_str(), AtFlags::REMOVEDIR).map_err(io("remove"))
    }

    /// The tasks that have files here.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn held(&self) -> Result<Vec<TaskId>, PlaceError> {
        let listed = open_dir(&self.root, ".", STRAIGHT).and_then(|root| names(&root));
        let mut tasks: Vec<TaskId> = listed
            .map_err(|err| PlaceError::Io {
                doing: "list",
                path: self.path.clone(),
                err: err.into(),
            })?
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        tasks.sort();
        Ok(tasks)
    }

    /// Wipes the files of every task that `keep` does not know; returns those tasks.
    ///
    /// # Errors
    /// [`PlaceError::Io`] of the first that could not be wiped.
    pub fn wipe_strangers(&self, keep: impl Fn(TaskId) -> bool) -> Result<Vec<TaskId>, PlaceError> {
        let strangers: Vec<TaskId> = self.held()?.into_iter().filter(|task| !keep(*task)).collect();
        strangers.iter().try_for_each(|task| self.wipe(*task))?;
        Ok(strangers)
    }

    /// Wipes everything and takes the tmpfs away: the node leaves its cluster.
    ///
    /// # Errors
    /// [`PlaceError::Io`].
    pub fn leave(self) -> Result<(), PlaceError> {
        self.wipe_strangers(|_| false)?;
        let Self { path, root, swap: _ } = self;
        drop(root);
        unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(|err| {
            PlaceError::Io { doing: "unmount", path: path.clone(), err: err.into() }
        })?;
        std::fs::remove_dir(&path).map_err(|err| PlaceError::Io { doing: "remove", path, err })
    }

    fn write(&self, task: TaskId, files: &[Placed<'_>]) -> Result<Vec<PathBuf>, PlaceError> {
        let home = self.path.join(task.as_str());
        let io = |doing| {
            let path = home.clone();
            move |err: Errno| PlaceError::Io { doing, path, err: err.into() }
        };
        mkdirat(&self.root, task.as_str(), Mode::RWXU).map_err(io("make"))?;
        let dir = open_dir(&self.root, task.as_str(), STRAIGHT).map_err(io("open"))?;
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
        Ok(paths)
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

/// No way out of the directory and no links on the way.
const STRAIGHT: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn open_dir(
    at: impl std::os::fd::AsFd,
    path: impl rustix::path::Arg,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    openat2(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn names(dir: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            found.push(name.into_owned());
        }
    }
    Ok(found)
}

/// The place itself, if `dir` is already the root of a tmpfs of ours.
fn adopted(dir: &OwnedFd, path: &Path) -> Result<Option<Place>, PlaceError> {
    let io =
        |err: Errno| PlaceError::Io { doing: "look at", path: path.to_owned(), err: err.into() };
    let seen = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(io)?;
    if !seen.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    let unfit = |reason| Err(PlaceError::Unfit { path: path.to_owned(), reason });
    if fstatfs(dir).map_err(io)?.f_type != TMPFS_MAGIC {
        return unfit("something that is no tmpfs is mounted there; unmount it");
    }
    if seen.stx_uid != rustix::process::geteuid().as_raw() || seen.stx_mode & 0o777 != 0o700 {
        return unfit("the tmpfs there is not root's alone; unmount it");
    }
    let root = dir.try_clone().map_err(|err| PlaceError::Io {
        doing: "hold",
        path: path.to_owned(),
        err,
    })?;
    let swap = if mount_options(path).is_some_and(|options| options.contains("noswap")) {
        Swap::Never
    } else {
        Swap::Possible
    };
    Ok(Some(Place { path: path.to_owned(), root, swap }))
}

/// The superblock's options of what is mounted at `path`, as `/proc/self/mountinfo` has them.
fn mount_options(path: &Path) -> Option<String> {
    let path = std::fs::canonicalize(path).ok()?;
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = text.lines().rfind(|line| line.split(' ').nth(4).map(Path::new) == Some(&path))?;
    Some(line.rsplit(' ').next()?.to_owned())
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

        fn is_mounted(&self) -> bool {
            let path = self.dir.path().join("place");
            let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            text.lines().any(|line| line.split(' ').nth(4) == path.to_str())
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
    fn a_restarted_agent_takes_over_the_mounted_place() {
        let home = Home::new();
        let (kept, stranger) = (TaskId::random(), TaskId::random());
        let secret = Plaintext::new(b"x".to_vec());
        home.place().place(kept, &[file(&secret, 0, 0o400)]).unwrap();
        home.place().place(stranger, &[file(&secret, 0, 0o400)]).unwrap();
        let again = Place::open(home.dir.path()).unwrap();
        assert_eq!(again.swap(), home.place().swap());
        assert_eq!(again.wipe_strangers(|task| task == kept).unwrap(), [stranger]);
        assert_eq!(home.place().held().unwrap(), [kept]);
    }

    #[test]
    fn leaving_takes_files_and_mount_away() {
        let mut home = Home::new();
        let secret = Plaintext::new(b"x".to_vec());
        home.place().place(TaskId::random(), &[file(&secret, 0, 0o400)]).unwrap();
        assert!(home.is_mounted());
        home.place.take().unwrap().leave().unwrap();
        assert!(!home.is_mounted());
        assert!(!home.dir.path().join("place").exists());
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("place")).unwrap();
        let error = Place::open(dir.path()).unwrap_err();
        assert!(matches!(error, PlaceError::Io { doing: "open", .. }), "{error:?}");

        let home = Home::new();
        let task = TaskId::random();
        let inside = home.dir.path().join("place").join(task.as_str());
        std::os::unix::fs::symlink(elsewhere.path(), &inside).unwrap();
        std::fs::write(elsewhere.path().join("0"), "mine").unwrap();
        home.place().wipe(task).unwrap_err();
        assert_eq!(std::fs::read(elsewhere.path().join("0")).unwrap(), b"mine");
        std::fs::remove_file(inside).unwrap();
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
