//! The way to a TPM: one command written, one answer read, through the kernel's resource manager or a socket.

use super::TpmError;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};
use zeroize::Zeroizing;

/// The longest answer that the specification's limits allow for what we ask.
const ANSWER: usize = 4096;
/// Making a key takes an old TPM seconds; the kernel's own patience is of that order.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open TPM.
pub(super) enum Device {
    /// `/dev/tpmrm0`: each answer is read at once.
    File(File),
    /// The same bytes over a socket, as `swtpm` serves them.
    Socket(UnixStream),
}

impl Device {
    /// Opens a device by its path, or `unix:PATH`.
    pub(super) fn open(name: &str) -> Result<Self, TpmError> {
        let failed = |source| TpmError::Open { device: name.to_owned(), source };
        match name.strip_prefix("unix:") {
            Some(path) => {
                let socket = UnixStream::connect(path).map_err(failed)?;
                socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
                socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
                Ok(Self::Socket(socket))
            }
            None => {
                File::options().read(true).write(true).open(name).map(Self::File).map_err(failed)
            }
        }
    }

    /// Sends a whole command and gives the whole answer.
    pub(super) fn ask(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let mut answer = Zeroizing::new(vec![0; ANSWER]);
        let read = match self {
            Self::File(file) => file
                .write_all(command)
                .and_then(|()| file.read(&mut answer))
                .map_err(TpmError::Talk),
            Self::Socket(socket) => socket
                .write_all(command)
                .and_then(|()| hear(socket, &mut answer))
                .map_err(TpmError::Talk),
        }?;
        answer.truncate(read);
        Ok(answer)
    }
}

/// Reads as much as the answer's own length says, which stands behind its tag.
fn hear(socket: &mut UnixStream, answer: &mut [u8]) -> io::Result<usize> {
    let (head, _) = answer.split_at_mut(6);
    socket.read_exact(head)?;
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
    let rest = answer.get_mut(6..length).ok_or(io::ErrorKind::InvalidData)?;
    socket.read_exact(rest)?;
    Ok(length)
}
