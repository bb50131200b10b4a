//! The process that stays with a task: not the agent's to take along when it ends.
//!
//! The agent starts its own program again as a shim, in a session of its own. Job and payloads come on standard input, the verdict
//! goes to standard output; after that only the control socket remains. The shim has one thread and
//! holds no payload: pid 1 of the sandbox reads those itself. So it hides from nobody, and an agent of the same user
//! finds it even where `/proc` shows only what one may trace (`hidepid`).
//!
//! ```text
//! agent ──stdin: job, payloads──▶ shim ──fork──▶ pid 1 (own mounts, pids, users) ──fork──▶ command
//!       ◀─stdout: ready | refused─      ◀─reports──                               ◀─reaps──
//!       ──control: start, stop──▶       ──orders──▶
//! ```

use super::{
    control::{self, Answer, Order, Report, Request},
    home::{self, Ended, Record},
    init::{self, Ties},
    job::Job,
    output::Writer,
};
use crate::{
    agent::runtime::Output,
    kit::{
        clock::Clock,
        os::{self, Forked, ProcessId},
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, setsid, waitpid,
    },
    thread::UnshareFlags,
};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::ExitStatusExt},
    },
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

/// The first argument that makes the program a shim. It takes no other: everything comes on standard input.
pub(super) const MARK: &str = "__task-shim";
/// In the shim's environment: how many descriptors a task may open.
pub(super) const DESCRIPTORS: &str = "SECRETD_TASK_DESCRIPTORS";

/// After the order to kill everything, pid 1 itself is killed if it has not ended in this time.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// How often a shim looks whether its task is still wanted, as long as that was never started.
const LONELY: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The longest job in bytes: a spec is at most 1 MiB on the wire, and JSON may escape it sixfold.
pub(super) const JOB_LEN: u32 = 8 * 1024 * 1024;

/// To be called first thing in `main`, before any thread is started: does the shim's work and exits if this process was
/// started as one, and returns otherwise.
pub fn main_if_asked() {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != MARK) {
        return;
    }
    let code = match run() {
        Ok(()) => 0,
        Err(error) => {
            // The agent still listens if nothing was promised yet; if not, the missing note tells enough.
            let refused = Answer::Refused(error.to_string());
            drop(control::write_line(&mut io::stdout(), &refused));
            1
        }
    };
    #[expect(clippy::exit, reason = "the first line of main; nothing is there to unwind")]
    std::process::exit(code)
}

fn run() -> io::Result<()> {
    os::close_from(3)?;
    // For `ps`: the kernel names us after the descriptor we were executed from.
    rustix::thread::set_name(c"secretd-task")?;
    // Fails only for a group leader, which is what somebody trying this in a shell gets.
    let _ = setsid();
    // Not through std's stdin: it would read ahead and keep payloads in its buffer.
    let mut payloads = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let job = read_job(&mut payloads)?;
    let listener = match &job.home {
        Some(home) => {
            rustix::process::chdir(home)?;
            Some(UnixListener::bind(control::SOCKET)?)
        }
        None => {
            rustix::process::chdir("/")?;
            None
        }
    };
    separate(&job)?;
    let (link, far_link) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (stdout, far_stdout) = pipe()?;
    let (stderr, far_stderr) = pipe()?;
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    match os::fork()? {
        Forked::Child => {
            drop((link, stdout, stderr, listener));
            // The agent is answered by the shim alone.
            rustix::stdio::dup2_stdout(&null)?;
            init::live(
                &job,
                Ties { link: far_link, payloads, stdout: far_stdout, stderr: far_stderr },
            );
            #[expect(
                clippy::exit,
                reason = "the child of a fork must not return into its parent's code"
            )]
            std::process::exit(0)
        }
        Forked::Parent { child } => {
            drop((far_link, far_stdout, far_stderr, payloads));
            let listener = match (control::hear(&link)?, listener) {
                (Some(Report::Ready), Some(listener)) => listener,
                (Some(Report::Ready), None) => {
                    // A mere check: closing the link ends the sandbox.
                    drop(link);
                    waitpid(Some(child), WaitOptions::empty())?;
                    return control::write_line(&mut io::stdout(), &Answer::Done);
                }
                (Some(Report::Refused { code: _, why }), _) => return Err(io::Error::other(why)),
                (report, _) => {
                    return Err(io::Error::other(format!(
                        "the sandbox ended before it was ready: {report:?}"
                    )));
                }
            };
            let record = Record {
                boot: home::boot()?,
                shim: ProcessId::current()?,
                init: ProcessId::of(child.as_raw_nonzero().get())?
                    .ok_or_else(|| io::Error::other("the sandbox ended before it was started"))?,
                running: false,
            };
            let watch = pidfd_open(child, PidfdFlags::empty())?;
            let output = Writer::new(Path::new("."))?;
            // From here on the task is there: whatever may fail comes before.
            home::note_record(&record)?;
            // If the agent is gone by now, its successor finds the record.
            drop(control::write_line(&mut io::stdout(), &Answer::Done));
            rustix::stdio::dup2_stdout(&null)?;
            Shim {
                link,
                listener,
                child,
                watch,
                stdout: Some(stdout),
                stderr: Some(stderr),
                output,
                record,
                stop_signal: job.stop_signal,
                kill_at: None,
                asked_to_kill: false,
                end: None,
                clock: Clock::system(),
            }
            .serve()
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

fn read_job(from: &mut impl Read) -> io::Result<Job> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > JOB_LEN {
        return Err(io::Error::other("the job is too long"));
    }
    let mut json = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Leaves the node's namespaces; the mounts are left to pid 1, so that they go with it.
fn separate(job: &Job) -> io::Result<()> {
    let with = |error: io::Error, doing: &str| {
        io::Error::new(error.kind(), format!("cannot {doing}: {error}"))
    };
    let own = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if job.privileged {
        os::unshare(own).map_err(|error| with(error, "make namespaces"))?;
    } else {
        let (uid, gid) = (job.identity.uid, job.identity.gid);
        os::unshare(own | UnshareFlags::NEWUSER)
            .map_err(|error| with(error, "make a user namespace"))?;
        // One user, mapped to itself: without help from setuid programs the kernel allows no more.
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{uid} {uid} 1")),
            ("gid_map", format!("{gid} {gid} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|error| with(error, "map our user into its namespace"))?;
        }
    }
    Ok(())
}

/// The shim at its post.
#[derive(Debug)]
struct Shim {
    link: OwnedFd,
    listener: UnixListener,
    child: Pid,
    watch: OwnedFd,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    output: Writer,
    record: Record,
    stop_signal: i32,
    /// When the patience of whoever asked to stop ends.
    kill_at: Option<Instant>,
    asked_to_kill: bool,
    /// What pid 1 said of the command's end.
    end: Option<Ended>,
    clock: Clock,
}

impl Shim {
    fn serve(mut self) -> io::Result<()> {
        loop {
            let timeout = match (self.kill_at, self.record.running) {
                (Some(at), _) => Some(until(at)),
                (None, true) => None,
                (None, false) => Some(LONELY),
            };
            let mut ready = vec![
                PollFd::new(&self.watch, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            let pipes = [&self.stdout, &self.stderr];
            ready.extend(pipes.into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let outcome = poll(&mut ready, timeout.as_ref());
            let [ended, asked] = [0, 1].map(|at: usize| !ready[at].revents().is_empty());
            let wrote = ready[2..].iter().any(|pipe| !pipe.revents().is_empty());
            drop(ready);
            match outcome {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if wrote {
                self.take_output();
            }
            if ended {
                return self.finish();
            }
            if asked {
                self.answer();
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill();
            }
            if self.kill_at.is_none() && !self.record.running && is_forsaken() {
                self.kill();
            }
        }
    }

    /// Reads what is there, without waiting for more.
    fn take_output(&mut self) {
        let mut buffer = [0; 64 * 1024];
        for (output, slot) in
            [(Output::Stdout, &mut self.stdout), (Output::Stderr, &mut self.stderr)]
        {
            let Some(pipe) = slot else { continue };
            let mut ready = [PollFd::new(pipe, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(poll(&mut ready, Some(&now)), Ok(1..)) {
                continue;
            }
            match rustix::io::read(&*pipe, &mut buffer) {
                Ok(0) => *slot = None,
                // A full disk costs lines; it must not stop the task.
                Ok(got) => drop(self.output.take(output, &buffer[..got], self.clock.now())),
                Err(_) => {}
            }
        }
    }

    /// Answers one request. Who asks badly is not answered.
    fn answer(&mut self) {
        let Ok((mut stream, _)) = self.listener.accept() else { return };
        let patience = Some(Duration::from_secs(1));
        if stream.set_read_timeout(patience).is_err() || stream.set_write_timeout(patience).is_err()
        {
            return;
        }
        let Ok(request) = control::read_line(&stream) else { return };
        let answer = match request {
            Request::Start => self.start(),
            Request::Stop { grace_ms } => self.stop(Duration::from_millis(grace_ms)),
        };
        if let Ok(answer) = answer {
            drop(control::write_line(&mut stream, &answer));
        }
    }

    fn start(&mut self) -> io::Result<Answer> {
        if self.record.running {
            return Ok(Answer::Done);
        }
        control::tell(&self.link, &Order::Start)?;
        match control::hear(&self.link)? {
            Some(Report::Started) => {
                self.record.running = true;
                home::note_record(&self.record)?;
                Ok(Answer::Done)
            }
            Some(Report::Refused { code, why }) => {
                self.end = Some(Ended { code, note: why.clone() });
                // Noted before it is told, so that whoever hears of it finds it.
                home::note_exit(&Ended { code, note: why.clone() })?;
                Ok(Answer::Refused(why))
            }
            report => Ok(Answer::Refused(format!("the sandbox answered strangely: {report:?}"))),
        }
    }

    fn stop(&mut self, grace: Duration) -> io::Result<Answer> {
        if !self.record.running || grace.is_zero() {
            self.kill();
            return Ok(Answer::Done);
        }
        control::tell(&self.link, &Order::Signal(self.stop_signal))?;
        // Asked twice, the less patient one counts; a grace beyond reckoning never ends.
        if let Some(at) = Instant::now().checked_add(grace)
            && !self.asked_to_kill
        {
            self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        }
        Ok(Answer::Done)
    }

    /// First the polite way, in which pid 1 kills and wipes; then pid 1 itself.
    fn kill(&mut self) {
        let told = !self.asked_to_kill && control::tell(&self.link, &Order::Kill).is_ok();
        if told {
            self.asked_to_kill = true;
            self.kill_at = Some(Instant::now() + KILL_PATIENCE);
        } else {
            // Ended this instant, or about to.
            let _ = pidfd_send_signal(&self.watch, Signal::KILL);
            self.kill_at = None;
        }
    }

    /// Pid 1 has ended and the kernel has killed the rest: drains the output and leaves a note.
    fn finish(mut self) -> io::Result<()> {
        // A zombie holds the namespaces no more, and whoever waits for us wants no zombie either.
        let status = waitpid(Some(self.child), WaitOptions::empty())?;
        // Somebody outside may have been passed a pipe, so its end is not waited for.
        while self.has_output() {
            self.take_output();
        }
        drop(self.output.finish(self.clock.now()));
        while self.end.is_none() {
            match control::hear(&self.link) {
                Ok(Some(Report::Exited { code })) => {
                    self.end = Some(Ended { code, note: String::new() });
                }
                Ok(Some(Report::Signaled { signal })) => {
                    let note = format!("killed by signal {signal}");
                    self.end = Some(Ended { code: 128 + signal, note });
                }
                Ok(Some(Report::Refused { code, why })) => {
                    self.end = Some(Ended { code, note: why });
                }
                Ok(Some(Report::Ready | Report::Started)) => {}
                Ok(None) | Err(_) => {
                    self.end = Some(self.last_word(status.map(|(_, s)| s.as_raw())));
                }
            }
        }
        let end = self.end.expect("the loop above ends with one");
        home::note_exit(&end)?;
        // Nobody can ask any more; the socket would only puzzle.
        drop(fs::remove_file(control::SOCKET));
        Ok(())
    }

    fn has_output(&self) -> bool {
        let pipes = [&self.stdout, &self.stderr];
        let mut ready: Vec<_> =
            pipes.into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        !ready.is_empty()
            && matches!(poll(&mut ready, Some(&now)), Ok(1..))
            && ready.iter().any(|pipe| pipe.revents().contains(PollFlags::IN))
    }

    /// When pid 1 could not say how it ended.
    fn last_word(&self, status: Option<i32>) -> Ended {
        if !self.record.running {
            return Ended { code: 137, note: "stopped before it was started".to_owned() };
        }
        match status.and_then(|status| ExitStatus::from_raw(status).signal()) {
            Some(signal) => {
                Ended { code: 128 + signal, note: format!("killed by signal {signal}") }
            }
            None => Ended { code: 137, note: "the sandbox ended without a word".to_owned() },
        }
    }
}

/// Whether the directory we live in was taken away, by an agent that found us half made: it will not ask for us.
fn is_forsaken() -> bool {
    rustix::fs::stat(".").is_ok_and(|seen| seen.st_nlink == 0)
}

fn until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    // Rounded up, or the last millisecond would be spent spinning.
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}
