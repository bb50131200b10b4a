//! Opens files that a person named: what has an end and waits for nobody.

use rustix::{
    fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat, stat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// What stands at a path instead of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {0}, not a file")]
pub struct NoFile(pub &'static str);

/// Opens `path` for reading if it is a regular file, through links.
///
/// One more is let in: a pipe that this process was started with, named as `/dev/fd/63` or `/dev/stdin`, which is what a shell
/// makes of `<(command)`. A FIFO with a name is not: whoever made it decides when a reader comes free, and devices may never
/// end, or do something when they are opened.
///
/// # Errors
/// [`NoFile`] within an [`io::Error`]; what the filesystem says.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened, because opening a device is an act; and after, because it may be another by then.
    fits(path, stat(path)?.st_mode)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    fits(path, fstat(&file)?.st_mode)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Reads a text of at most `most` bytes.
///
/// # Errors
/// As [`open`]; `FileTooLarge`; `InvalidData` for what is no UTF-8 text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

fn fits(path: &Path, mode: u32) -> io::Result<()> {
    let what = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Fifo if is_inherited(path) => return Ok(()),
        FileType::Directory => return Err(Errno::ISDIR.into()),
        FileType::Fifo => "a named pipe",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Socket => "a socket",
        _ => "something else",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, NoFile(what)))
}

/// Whether the path names a descriptor of this process.
fn is_inherited(path: &Path) -> bool {
    path == Path::new("/dev/stdin")
        || path
            .parent()
            .is_some_and(|dir| dir == Path::new("/dev/fd") || dir == Path::new("/proc/self/fd"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::{io::Write as _, os::fd::AsRawFd as _};

    #[test]
    fn only_what_has_an_end_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, fifo) =
            (dir.path().join("file"), dir.path().join("link"), dir.path().join("fifo"));
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        mkfifoat(CWD, &fifo, Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert_eq!(read_text(&link, 4).unwrap(), "text");
        assert_eq!(read_text(&link, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let why = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(why(&fifo), "it is a named pipe, not a file");
        assert_eq!(why(Path::new("/dev/zero")), "it is a character device, not a file");
        assert_eq!(why(&dir.path().join("socket")), "it is a socket, not a file");
        assert_eq!(open(dir.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(open(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_that_a_shell_gave_is_read_to_its_end_and_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let mut opened = open(Path::new(&path)).unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&[b'x'; 200_000]));
        drop(reader);
        let mut read = Vec::new();
        opened.read_to_end(&mut read).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(read.len(), 200_000);
    }
}
