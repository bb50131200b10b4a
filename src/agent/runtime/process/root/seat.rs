//! Finds the place in the sandbox that a target stands for, or makes it.

use super::{Refusal, Result, Root, failed, mounts::*};
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat},
    io::Errno,
};
use std::{collections::VecDeque, os::fd::OwnedFd};

/// As the kernel's own limit.
const LINKS: usize = 40;

/// A place to mount at.
pub(super) struct Seat {
    pub(super) fd: OwnedFd,
    /// Free of links.
    pub(super) path: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    File,
    Dir,
}

impl Root {
    pub(super) fn take_seat(&mut self, seat: &Seat, tree: &OwnedFd, what: String) -> Result<()> {
        if let Some(first) = self.taken.get(&seat.path) {
            return Err(Refusal(format!("{what} and {first} lead to the same file {}", seat.path)));
        }
        attach_at(tree, &seat.fd).map_err(failed(format!("mount {what}")))?;
        self.taken.insert(seat.path.clone(), what);
        Ok(())
    }

    /// Finds the place a target stands for, or makes it without touching the node's disks.
    pub(super) fn seat(&mut self, target: &str, shape: Shape, devices: bool) -> Result<Seat> {
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
    fn make(&mut self, way: &mut [(String, OwnedFd)], name: &str, as_dir: bool) -> Result<()> {
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
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec)
}

fn real_path(way: &[(String, OwnedFd)]) -> String {
    way.iter().fold(String::new(), |path, (name, _)| format!("{path}/{name}"))
}

pub(super) fn is_system(path: &str) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|system| is_below(path, system))
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_paths_are_told_from_their_namesakes() {
        for path in ["/proc", "/proc/self", "/sys/fs", "/dev/null"] {
            assert!(is_system(path), "{path}");
        }
        for path in ["/", "/process", "/app/proc", "/devices/x"] {
            assert!(!is_system(path), "{path}");
        }
    }

    #[test]
    fn components_leave_out_what_says_nothing() {
        let parts: Vec<_> = components(b"/a//./b/../c/").collect();
        assert_eq!(parts, [&b"a"[..], b"b", b"..", b"c"]);
    }
}
