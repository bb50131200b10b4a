//! Stands between a daemon and the Docker Engine that scripts/test provides, and can cut them off from each other.

use crate::world::docker_host;
use std::{
    fs,
    io::copy,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// A way to the engine that can be closed and opened, as if the engine stopped and started.
pub(crate) struct Door {
    path: PathBuf,
    engine: PathBuf,
    open: Option<Open>,
}

struct Open {
    closing: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
    accepting: JoinHandle<()>,
}

impl Door {
    pub(crate) fn to_engine(path: &Path) -> Self {
        let host = docker_host();
        let engine = host.strip_prefix("unix://").expect("an engine on a Unix socket").into();
        let mut door = Self { path: path.to_owned(), engine, open: None };
        door.open();
        door
    }

    pub(crate) fn open(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let engine = self.engine.clone();
        let (closing, streams) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ends, known) = (Arc::clone(&closing), Arc::clone(&streams));
        let accepting = std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let far = UnixStream::connect(&engine).unwrap();
                let both = |a: &UnixStream, b: &UnixStream| {
                    (a.try_clone().unwrap(), b.try_clone().unwrap())
                };
                for (mut from, mut to) in [both(&near, &far), both(&far, &near)] {
                    std::thread::spawn(move || {
                        // Ends when one side hangs up, or the door is closed.
                        copy(&mut from, &mut to).ok();
                        to.shutdown(Shutdown::Write).ok();
                    });
                }
                let known: &Mutex<Vec<UnixStream>> = &known;
                known.lock().unwrap().extend([near, far]);
            }
        });
        self.open = Some(Open { closing, streams, accepting });
    }

    pub(crate) fn close(&mut self) {
        let Some(Open { closing, streams, accepting }) = self.open.take() else { return };
        closing.store(true, Ordering::SeqCst);
        // A last knock, to be noticed.
        UnixStream::connect(&self.path).unwrap();
        accepting.join().unwrap();
        fs::remove_file(&self.path).unwrap();
        for stream in streams.lock().unwrap().drain(..) {
            // The other side may have hung up before.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}
