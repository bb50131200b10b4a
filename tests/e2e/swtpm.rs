//! A TPM in software for a test, `swtpm`, and what a test does with it.

use crate::world::until;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// A TPM of one machine; what it keeps lies in a directory.
pub(crate) struct Swtpm {
    dir: PathBuf,
    program: Option<Child>,
}

impl Swtpm {
    /// A new TPM in a directory that is not there yet, switched on.
    pub(crate) fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        let mut tpm = Self { dir, program: None };
        tpm.on();
        tpm
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    pub(crate) fn device(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    pub(crate) fn on(&mut self) {
        let program = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", self.dir.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", self.socket().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.join("log")).unwrap())
            .spawn()
            .expect("these tests need swtpm: scripts/test installs it");
        self.program = Some(program);
        until("the TPM to listen", || UnixStream::connect(self.socket()).ok());
    }

    /// The machine's power goes, and with it what the TPM measured.
    pub(crate) fn off(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().unwrap();
            program.wait().unwrap();
        }
        fs::remove_file(self.socket()).ok();
    }

    /// Has a register measure something else.
    pub(crate) fn extend(&self, pcr: u8) {
        let body = [
            &u32::from(pcr).to_be_bytes()[..],
            // An empty password.
            &9_u32.to_be_bytes(),
            &0x4000_0009_u32.to_be_bytes(),
            &[0, 0, 0, 0, 0],
            // One digest, of SHA-256.
            &1_u32.to_be_bytes(),
            &0x000B_u16.to_be_bytes(),
            &[0x5A; 32],
        ]
        .concat();
        let length = u32::try_from(body.len() + 10).unwrap();
        let command =
            [&0x8002_u16.to_be_bytes()[..], &length.to_be_bytes(), &0x182_u32.to_be_bytes(), &body];
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket.write_all(&command.concat()).unwrap();
        let mut answer = [0; 10];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer[6..], [0; 4], "the TPM measures");
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.off();
    }
}

/// Somebody on the bus between a program and its TPM, for as many connections as were said.
pub(crate) struct Bus {
    socket: PathBuf,
    heard: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Bus {
    /// Passes everything on; `meddle` may change an answer: it gets the code of its command.
    pub(crate) fn tap(
        socket: PathBuf,
        tpm: &Swtpm,
        connections: usize,
        meddle: impl Fn(u32, &mut Vec<u8>) + Send + 'static,
    ) -> Self {
        let (listener, to) = (UnixListener::bind(&socket).unwrap(), tpm.socket());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heard);
        let listening = thread::spawn(move || {
            for _ in 0..connections {
                let (mut near, _) = listener.accept().unwrap();
                let mut far = UnixStream::connect(&to).unwrap();
                while let Some(command) = message(&mut near) {
                    far.write_all(&command).unwrap();
                    let mut answer = message(&mut far).unwrap();
                    record.lock().unwrap().extend([&command[..], &answer].concat());
                    meddle(u32::from_be_bytes(command[6..10].try_into().unwrap()), &mut answer);
                    near.write_all(&answer).unwrap();
                }
            }
        });
        Self { socket, heard, listening }
    }

    pub(crate) fn device(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// All that went by.
    pub(crate) fn heard(self) -> Vec<u8> {
        self.listening.join().unwrap();
        Arc::into_inner(self.heard).unwrap().into_inner().unwrap()
    }
}

/// A whole command or answer; none at the end.
fn message(socket: &mut UnixStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 6];
    socket.read_exact(&mut bytes).ok()?;
    let length = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
    bytes.resize(usize::try_from(length).unwrap(), 0);
    socket.read_exact(&mut bytes[6..]).unwrap();
    Some(bytes)
}

/// A TPM that answers each command with these bytes and hangs up.
pub(crate) fn liar(socket: &Path, answers: Vec<Vec<u8>>) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for answer in answers {
            let (mut near, _) = listener.accept().unwrap();
            message(&mut near);
            // Whoever has heard enough may have hung up.
            near.write_all(&answer).ok();
        }
    })
}
