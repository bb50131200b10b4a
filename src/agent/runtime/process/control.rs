//! What the agent asks of a shim, and a shim of its sandbox: one JSON value each, on sockets no other user reaches.

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    net::{RecvFlags, SendFlags, recv, send},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

/// The socket's name in the task's home.
pub(super) const SOCKET: &str = "control";

/// An answer takes the shim as long as an `execve`; a hung network file system should not hang the agent.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest message in bytes; an error text may name a target path twice.
const MESSAGE_LEN: usize = 16 * 1024;

/// Agent to shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    Start,
    /// Sends the stop signal now and kills everything after so many milliseconds.
    Stop {
        grace_ms: u64,
    },
}

/// Shim to agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    /// The task cannot run; why, for `service ps`.
    Refused(String),
}

/// Shim to sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    Start,
    Signal(i32),
    /// Ends everything at once.
    Kill,
}

/// Sandbox to shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// All files are in place.
    Ready,
    Started,
    /// The sandbox cannot be built, or the command cannot be executed.
    Refused {
        code: i32,
        why: String,
    },
    Exited {
        code: i32,
    },
    Signaled {
        signal: i32,
    },
}

/// Asks the shim that lives in `home`.
///
/// # Errors
/// The shim is gone, or does not answer.
pub(super) fn ask(home: &Path, request: &Request) -> io::Result<Answer> {
    // A socket's path may have 107 bytes, a run directory's may have more.
    let dir = openat(CWD, home, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_line(&mut stream, request)?;
    read_line(&stream)
}

pub(super) fn write_line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads one line; an end before the line's is an error.
pub(super) fn read_line<T: DeserializeOwned>(from: impl io::Read) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(from.take(MESSAGE_LEN as u64)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Sends one message over a socket that keeps messages apart.
pub(super) fn tell(link: impl AsFd, value: &impl Serialize) -> io::Result<()> {
    let message = serde_json::to_vec(value)?;
    send(link, &message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for one message; none if the other side is gone.
pub(super) fn hear<T: DeserializeOwned>(link: impl AsFd) -> io::Result<Option<T>> {
    let mut buffer = [0; MESSAGE_LEN];
    let (got, _) = match recv(link, buffer.as_mut_slice(), RecvFlags::empty()) {
        Ok(got) => got,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if got == 0 { Ok(None) } else { Ok(Some(serde_json::from_slice(&buffer[..got])?)) }
}
