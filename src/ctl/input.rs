//! Where payloads come in: a file, standard input, or a prompt that does not show them. Never argv or environment.

use super::{
    exit::{Code, Failure},
    output,
};
use crate::{
    crypto::plaintext::Plaintext,
    kit::{
        prompt::{self, Asked},
        source,
    },
    model::object::{Kind, check_size},
};
use rustix::termios;
use std::{
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};
use zeroize::Zeroizing;

/// Reads the payload of a new `kind` from `source` (`None` and `-` are standard input), and looks at its size.
///
/// Says on stderr that a secret from a pipe or terminal ends with a newline, or drops it if `trim_newline`.
///
/// # Errors
/// A source that cannot be read, Ctrl-C at the prompt, an empty or oversized payload.
pub(crate) fn payload(
    kind: Kind,
    source: Option<&Path>,
    trim_newline: bool,
) -> Result<Plaintext, Failure> {
    let file = source.filter(|path| *path != Path::new("-"));
    let mut bytes = match file {
        Some(path) => read_file(bound(kind), path)?,
        None => {
            let stdin = io::stdin();
            if kind == Kind::Secret && termios::isatty(&stdin) {
                let question = format!("Value of the {kind} (not shown; end it with Ctrl-D): ");
                ask(&question, bound(kind), CTRL_D)?
            } else {
                read_all(bound(kind), Stdin(stdin.as_fd())).map_err(|error| {
                    Failure::new(Code::Other, format!("cannot read standard input: {error}"))
                })?
            }
        }
    };
    if trim_newline && bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    check_size(kind, bytes.len()).map_err(|bad| {
        let failure = Failure::refused(bad.to_string());
        if bytes.is_empty() { failure.hint("the value is empty") } else { failure }
    })?;
    if kind == Kind::Secret && file.is_none() && bytes.last() == Some(&b'\n') {
        output::note(
            "note: the value ends with a newline, which is kept; --trim-newline drops it (or printf '%s' instead of echo)",
        );
    }
    Ok(Plaintext::new(std::mem::take(&mut *bytes)))
}

/// Whether somebody sits at standard input.
pub(crate) fn is_terminal() -> bool {
    termios::isatty(io::stdin())
}

/// Reads a join token from `source` (`None` and `-` are standard input).
///
/// # Errors
/// A source that cannot be read, or with nothing in it.
pub(crate) fn token(source: Option<&Path>) -> Result<Plaintext, Failure> {
    let mut bytes = match source.filter(|path| *path != Path::new("-")) {
        Some(path) => read_file(LINE, path)?,
        None => read_all(LINE, Stdin(io::stdin().as_fd())).map_err(|error| {
            Failure::new(Code::Other, format!("cannot read standard input: {error}"))
        })?,
    };
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(no_token());
    }
    Ok(Plaintext::new(std::mem::take(&mut *bytes)))
}

/// Says that there is no token where one should be.
pub(crate) fn no_token() -> Failure {
    Failure::refused("the join token is empty")
        .hint("print one with `secretctl join-token worker` (or manager) on a manager")
}

/// Reads one line from `source` (`-` is standard input), or asks for it: what is typed is not shown.
///
/// # Errors
/// A source that cannot be read, or has more than a line of [`LINE`] bytes; Ctrl-C at the prompt.
pub(crate) fn line(question: &str, source: Option<&Path>) -> Result<Plaintext, Failure> {
    let stdin = io::stdin();
    let mut bytes = match source.filter(|path| *path != Path::new("-")) {
        Some(path) => read_file(LINE, path)?,
        None if source.is_none() && termios::isatty(&stdin) => ask(question, LINE, b'\n')?,
        None => read_all(LINE, Stdin(stdin.as_fd())).map_err(|error| {
            Failure::new(Code::Other, format!("cannot read standard input: {error}"))
        })?,
    };
    while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Failure::refused("nothing was given"));
    }
    if bytes.len() >= LINE || bytes.contains(&b'\n') {
        return Err(Failure::refused("more than one line was given"));
    }
    Ok(Plaintext::new(std::mem::take(&mut *bytes)))
}

/// Reads what is on each line of `source` (`-` is standard input).
///
/// # Errors
/// A source that cannot be read, or has nothing in it, or more than a few lines of codes.
pub(crate) fn lines(source: &Path) -> Result<Vec<Plaintext>, Failure> {
    const MOST: usize = 64 * LINE;
    let bytes = if source == Path::new("-") {
        read_all(MOST, Stdin(io::stdin().as_fd())).map_err(|error| {
            Failure::new(Code::Other, format!("cannot read standard input: {error}"))
        })?
    } else {
        read_file(MOST, source)?
    };
    if bytes.len() >= MOST {
        return Err(Failure::refused("this is too much to be keys or shares"));
    }
    let lines =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines: Vec<Plaintext> =
        lines.filter(|line| !line.is_empty()).map(|line| Plaintext::new(line.to_vec())).collect();
    if lines.is_empty() {
        return Err(Failure::refused("nothing was given"));
    }
    Ok(lines)
}

/// Passphrases and codes are shorter.
const LINE: usize = 4096;

/// At most this many bytes are read before the size is judged: enough to tell "too large" from "endless".
fn bound(kind: Kind) -> usize {
    2 * kind.size_limit()
}

fn read_file(bound: usize, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |error: io::Error| {
        let failure = Failure::new(Code::Other, format!("cannot read {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => {
                failure.hint("give the path of a file, or - for standard input")
            }
            io::ErrorKind::IsADirectory => failure.hint("give the path of a file"),
            io::ErrorKind::InvalidInput => {
                failure.hint("give the path of a file, or - to read standard input to its end")
            }
            _ => failure,
        }
    };
    read_all(bound, source::open(path).map_err(cannot)?).map_err(cannot)
}

/// Reads up to the bound into one allocation, so that growing leaves no copy behind.
fn read_all(bound: usize, source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; bound]);
    let mut source = source;
    let mut filled = 0;
    while filled < bound {
        match source.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Standard input without the library's buffer, which nobody would wipe.
struct Stdin<'a>(BorrowedFd<'a>);

impl Read for Stdin<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

const CTRL_D: u8 = 4;

/// Asks whoever sits at standard input.
fn ask(question: &str, bound: usize, end: u8) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match prompt::hidden(io::stdin().as_fd(), question, bound, end) {
        Ok(Asked::Typed(bytes)) => Ok(bytes),
        Ok(Asked::Interrupted) => Err(Failure::new(Code::Interrupted, "")),
        Err(error) => {
            Err(Failure::new(Code::Other, format!("cannot read from the terminal: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn length(kind: Kind, bytes: &[u8], trim: bool) -> Result<usize, Failure> {
        payload(kind, Some(file(bytes).path()), trim).map(|p| p.len())
    }

    #[test]
    fn a_file_is_taken_byte_by_byte() {
        assert_eq!(length(Kind::Secret, b"a\n", false).unwrap(), 2);
        assert_eq!(length(Kind::Secret, b"a\r\n", true).unwrap(), 1);
        assert_eq!(length(Kind::Secret, b"a\n\n", true).unwrap(), 2);
        assert_eq!(length(Kind::Secret, &[0; 511_999], false).unwrap(), 511_999);
    }

    #[test]
    fn empty_and_oversized_values_are_refused() {
        for (bytes, trim) in [(&b""[..], false), (b"\n", true), (&[0; 512_000], false)] {
            let failure = length(Kind::Secret, bytes, trim).unwrap_err();
            assert_eq!(failure.code, Code::Refused);
            assert_eq!(
                failure.message(),
                "secret data must be larger than 0 and less than 512000 bytes"
            );
        }
        length(Kind::Config, &[0; 512_000], false).unwrap();
    }

    #[test]
    fn an_endless_source_is_not_read_to_its_end() {
        let read = read_all(bound(Kind::Secret), io::repeat(7)).unwrap();
        assert_eq!(read.len(), 1_024_000);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_named() {
        let failure = payload(Kind::Secret, Some(Path::new("/nowhere/x")), false).unwrap_err();
        assert_eq!(
            failure.message(),
            "cannot read /nowhere/x: No such file or directory (os error 2)"
        );
        let failure = payload(Kind::Config, Some(Path::new("/")), false).unwrap_err();
        assert_eq!(failure.hint_text(), Some("give the path of a file"));
    }
}
