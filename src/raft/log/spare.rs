//! Fills the next segment with zeros ahead of time, so that no write waits for it.
//!
//! Allocating alone does not help: a write into unwritten extents costs a journal commit like one that grows the file.

use super::{
    disk::Disk,
    segment::{self, Filled},
};
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

/// How long to wait before a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The next segment, in the making.
#[derive(Debug)]
pub(super) struct Spare {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Wanted,
    Ready(Filled),
    /// Given away, and still under its first name.
    Taken,
    /// The disk refused; it is tried again from time to time, and at once when a segment is needed.
    Refused(io::ErrorKind, String),
    Closed,
}

impl Spare {
    /// Begins with a spare that is ready, or with making one.
    pub(super) fn new(first: Option<Filled>) -> Arc<Self> {
        let state = first.map_or(State::Wanted, State::Ready);
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Starts the thread that keeps a spare of `size` bytes ready, as long as `margin` bytes stay free.
    pub(super) fn run(
        self: &Arc<Self>,
        disk: Arc<dyn Disk>,
        size: u64,
        margin: u64,
    ) -> io::Result<JoinHandle<()>> {
        let spare = self.clone();
        std::thread::Builder::new().name("raft-spare".into()).spawn(move || {
            while spare.wait_until_wanted() {
                spare.finish(segment::fill_spare(&*disk, size, margin));
            }
        })
    }

    /// Takes the spare, waiting while it is being filled. The next one is begun by [`Spare::begin_next`].
    ///
    /// # Errors
    /// What the disk said when it was last asked, which is not longer ago than this call.
    pub(super) fn take(&self) -> io::Result<Filled> {
        let mut state = self.lock();
        if matches!(*state, State::Refused(..)) {
            *state = State::Wanted;
            self.changed.notify_all();
        }
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Ready(filled) => return Ok(filled),
                State::Wanted | State::Taken => {
                    *state = State::Wanted;
                    state = self.changed.wait(state).expect("no holder of this lock panics");
                }
                State::Refused(kind, text) => {
                    *state = State::Refused(kind, text.clone());
                    return Err(io::Error::new(kind, text));
                }
                State::Closed => {
                    *state = State::Closed;
                    return Err(io::Error::other("the log is closed"));
                }
            }
        }
    }

    /// Lets the next spare be made: the one that was taken has got its own name.
    pub(super) fn begin_next(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Taken) {
            *state = State::Wanted;
            self.changed.notify_all();
        }
    }

    /// Why there will be no next segment as things stand. An attempt that is under way is waited for: before it has ended
    /// nobody knows, and whoever writes then would wait for it just as long.
    pub(super) fn refusal(&self) -> Option<(io::ErrorKind, String)> {
        let mut state = self.lock();
        while matches!(*state, State::Wanted) {
            let (next, waited) =
                self.changed.wait_timeout(state, RETRY).expect("no holder of this lock panics");
            state = next;
            if waited.timed_out() {
                break;
            }
        }
        match &*state {
            State::Refused(kind, text) => Some((*kind, text.clone())),
            State::Wanted | State::Ready(_) | State::Taken | State::Closed => None,
        }
    }

    pub(super) fn close(&self) {
        *self.lock() = State::Closed;
        self.changed.notify_all();
    }

    fn wait_until_wanted(&self) -> bool {
        let mut state = self.lock();
        loop {
            state = match &*state {
                State::Wanted => return true,
                State::Closed => return false,
                State::Ready(_) | State::Taken => {
                    self.changed.wait(state).expect("no holder of this lock panics")
                }
                State::Refused(..) => {
                    let (mut state, waited) = self
                        .changed
                        .wait_timeout(state, RETRY)
                        .expect("no holder of this lock panics");
                    if waited.timed_out() && matches!(*state, State::Refused(..)) {
                        *state = State::Wanted;
                    }
                    state
                }
            };
        }
    }

    fn finish(&self, filled: io::Result<Filled>) {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return;
        }
        *state = match filled {
            Ok(filled) => State::Ready(filled),
            Err(error) => {
                tracing::warn!(%error, "cannot prepare the next log segment");
                State::Refused(error.kind(), error.to_string())
            }
        };
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
