//! Tells whether others could put something else in the place of a path: who owns it and every directory on the way to it,
//! and who may write there. As ssh asks of a key (`StrictModes`).

use rustix::{
    fs::{AtFlags, CWD, FileType, Stat, readlinkat, statat},
    io::Errno,
    process::geteuid,
};
use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Component, Path, PathBuf},
};

/// As the kernel's own limit.
const LINKS: usize = 40;

/// Why a path is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Insecure {
    #[error(
        "{} belongs to user {owner}, who is neither root nor the user secretd runs as ({user})",
        path.display()
    )]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("{} belongs to user {owner} and has mode {mode:04o}: others may replace what is in it", path.display())]
    Writable { path: PathBuf, owner: u32, mode: u32 },
    #[error("cannot look at {}", path.display())]
    Look { path: PathBuf, source: io::Error },
}

impl Insecure {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Owner { path, .. } => format!(
                "chown {} to root or to secretd's user if nobody else has put anything there, or choose another place",
                path.display()
            ),
            Self::Writable { path, .. } => format!(
                "chmod go-w {} if nobody else has put anything there, or choose another place",
                path.display()
            ),
            Self::Look { .. } => {
                "check that the path exists and that secretd's user may use it".to_owned()
            }
        }
    }
}

/// Walks to `path`, which must be absolute, through links as the kernel would, and looks at each step. What does not exist
/// yet is no step: who may make it was looked at.
///
/// A step must belong to root or to this process's user. A directory that its group or everybody may write to is refused,
/// unless it is root's and sticky, as `/tmp` is: there nobody can rename or remove what is not his, so what the next step finds
/// is its owner's, who is looked at then. The last step is looked at as the others are, whatever it is.
///
/// # Errors
/// [`Insecure`] names the first step that somebody else controls.
pub fn check(path: &Path) -> Result<(), Insecure> {
    check_for(path, geteuid().as_raw())
}

fn check_for(path: &Path, user: u32) -> Result<(), Insecure> {
    let mut left: VecDeque<OsString> = steps(path).collect();
    let mut here = PathBuf::from("/");
    look(&here, user, stat(&here)?.as_ref())?;
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let Some(seen) = stat(&next)? else { return Ok(()) };
        look(&next, user, Some(&seen))?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::Symlink {
            here = next;
            continue;
        }
        links += 1;
        let broken = |err: Errno| Insecure::Look { path: next.clone(), source: err.into() };
        if links > LINKS {
            return Err(broken(Errno::LOOP));
        }
        let to = readlinkat(CWD, &next, Vec::new()).map_err(broken)?;
        let to = PathBuf::from(OsString::from_vec(to.into_bytes()));
        if to.is_absolute() {
            here = PathBuf::from("/");
        }
        for step in steps(&to).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(step);
        }
    }
    Ok(())
}

fn steps(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn stat(path: &Path) -> Result<Option<Stat>, Insecure> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(seen) => Ok(Some(seen)),
        // ENOTDIR: what stands in the way of the rest will be told when that is opened.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(err) => Err(Insecure::Look { path: path.to_owned(), source: err.into() }),
    }
}

fn look(path: &Path, user: u32, seen: Option<&Stat>) -> Result<(), Insecure> {
    let Some(seen) = seen else { return Ok(()) };
    let (owner, mode) = (seen.st_uid, seen.st_mode & 0o7777);
    if owner != 0 && owner != user {
        return Err(Insecure::Owner { path: path.to_owned(), owner, user });
    }
    let kind = FileType::from_raw_mode(seen.st_mode);
    let is_shared = kind == FileType::Directory && owner == 0 && mode & 0o1000 != 0;
    // A link has no mode of its own, and who may write to a socket or a device cannot change what it is.
    let counts = matches!(kind, FileType::Directory | FileType::RegularFile);
    if counts && mode & 0o022 != 0 && !is_shared {
        return Err(Insecure::Writable { path: path.to_owned(), owner, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    const STRANGER: u32 = 4711;

    /// A directory of ours under the shared `/tmp`.
    fn home() -> tempfile::TempDir {
        assert!(geteuid().is_root(), "run these tests as root: they give files away");
        tempfile::Builder::new().tempdir_in("/tmp").unwrap()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_ours_under_what_is_roots_is_secure_and_what_is_not_there_yet_too() {
        let dir = home();
        fs::write(dir.path().join("key"), "").unwrap();
        for path in ["", "key", "none", "none/deeper", "../."] {
            check(&dir.path().join(path)).unwrap();
        }
        // A daemon that is not root: its own directory in the shared one, and what root made.
        check_for(dir.path(), STRANGER).unwrap();
        chown(dir.path(), Some(STRANGER), None).unwrap();
        check_for(&dir.path().join("key"), STRANGER).unwrap();
    }

    #[test]
    fn a_strangers_directory_or_file_on_the_way_is_named_with_its_owner() {
        let dir = home();
        let middle = dir.path().join("a");
        fs::create_dir_all(middle.join("b")).unwrap();
        chown(&middle, Some(STRANGER), None).unwrap();
        let error = check(&middle.join("b/key")).unwrap_err();
        assert!(matches!(&error, Insecure::Owner { path, owner: STRANGER, .. } if *path == middle));
        assert!(error.to_string().contains("4711") && error.hint().contains("chown"));
        // The first to come makes a directory in /tmp, and whoever comes later is not to use it.
        chown(&middle, Some(0), None).unwrap();
        mode(&middle, 0o1777);
        chown(middle.join("b"), Some(STRANGER), None).unwrap();
        assert!(matches!(check(&middle.join("b")), Err(Insecure::Owner { .. })));
    }

    #[test]
    fn what_others_may_write_to_is_refused_unless_it_is_roots_and_sticky() {
        let dir = home();
        for (bits, secure) in
            [(0o775, false), (0o757, false), (0o755, true), (0o1777, true), (0o700, true)]
        {
            mode(dir.path(), bits);
            assert_eq!(check(&dir.path().join("x")).is_ok(), secure, "{bits:o}");
        }
        chown(dir.path(), Some(STRANGER), None).unwrap();
        mode(dir.path(), 0o1777);
        let error = check_for(&dir.path().join("x"), STRANGER).unwrap_err();
        assert!(matches!(error, Insecure::Writable { mode: 0o1777, .. }), "{error}");
    }

    #[test]
    fn a_link_counts_as_a_step_and_so_does_where_it_leads() {
        let (dir, elsewhere) = (home(), home());
        let (shared, far) = (dir.path().join("shared"), elsewhere.path().join("far"));
        fs::create_dir(&shared).unwrap();
        mode(&shared, 0o1777);
        fs::create_dir(&far).unwrap();
        symlink(&far, shared.join("link")).unwrap();
        symlink("../shared/link", shared.join("again")).unwrap();
        check(&shared.join("again/x")).unwrap();
        std::os::unix::fs::lchown(shared.join("link"), Some(STRANGER), None).unwrap();
        assert!(matches!(check(&shared.join("again/x")), Err(Insecure::Owner { .. })));
        std::os::unix::fs::lchown(shared.join("link"), Some(0), None).unwrap();
        mode(&far, 0o777);
        let error = check(&shared.join("again/x")).unwrap_err();
        assert!(matches!(&error, Insecure::Writable { path, .. } if *path == far), "{error}");
        symlink("loop", shared.join("loop")).unwrap();
        assert!(matches!(check(&shared.join("loop")), Err(Insecure::Look { .. })));
    }
}
