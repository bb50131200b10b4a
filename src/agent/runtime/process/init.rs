//! Pid 1 of the sandbox: builds it, waits for the word, starts the command, reaps, and wipes the files at the end.

use super::{
    control::{self, Order, Report},
    job::Job,
    root::{self, Payloads, Refusal},
    shim::DESCRIPTORS,
};
use crate::kit::os::{self, Forked};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    process::{
        DumpableBehavior, Gid, Pid, Signal, Uid, WaitOptions, WaitStatus, chdir,
        set_dumpable_behavior, set_parent_process_death_signal, setsid, umask, wait,
    },
    thread::{
        UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

/// What the shim hands to the sandbox.
#[derive(Debug)]
pub(super) struct Ties {
    /// Orders and reports.
    pub(super) link: OwnedFd,
    /// The payloads, one after another.
    pub(super) payloads: File,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Lives the whole life of pid 1. Returns when the process should exit.
pub(super) fn live(job: &Job, ties: Ties) {
    let Ties { link, payloads, stdout, stderr } = ties;
    let (program, payloads) = match prepare(job, payloads) {
        Ok(prepared) => prepared,
        Err(Refusal(why)) => {
            // If the shim is gone there is nobody left to tell.
            drop(control::tell(&link, &Report::Refused { code: 126, why }));
            return;
        }
    };
    let end = control::tell(&link, &Report::Ready)
        .and_then(|()| serve(job, &program, &link, stdout, stderr));
    finish(payloads);
    match end {
        Ok(Some(report)) => drop(control::tell(&link, &report)),
        Ok(None) => {}
        Err(error) => {
            let why = format!("cannot supervise the task: {error}");
            drop(control::tell(&link, &Report::Refused { code: 126, why }));
        }
    }
}

fn prepare(job: &Job, mut payloads: File) -> Result<(PathBuf, Payloads), Refusal> {
    let failed = |doing: &'static str| move |error| Refusal(format!("cannot {doing}: {error}"));
    // The task must not outlive its supervisor: nobody would note how it ends.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| failed("tie to the shim")(e.into()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| failed("guard the sandbox's memory")(e.into()))?;
    rustix::thread::set_name(c"secretd-init").map_err(|e| failed("take a name")(e.into()))?;
    os::unshare(UnshareFlags::NEWNS).map_err(failed("make a mount namespace"))?;
    rustix::system::sethostname(job.hostname.as_bytes())
        .map_err(|e| failed("set the host name")(e.into()))?;
    umask(Mode::empty());
    let files = root::enter(job, &mut payloads)?;
    umask(Mode::from_bits_truncate(0o022));
    if job.home.is_none() {
        return Ok((PathBuf::new(), files));
    }
    let path = job.env.get("PATH").map_or("", String::as_str);
    match find_program(&job.command[0], path, &job.dir) {
        Some(program) => Ok((program, files)),
        None => {
            files.wipe();
            Err(Refusal(format!("executable '{}' not found", job.command[0])))
        }
    }
}

/// Obeys orders until the command has ended; returns what to report then.
fn serve(
    job: &Job,
    program: &Path,
    link: &OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> io::Result<Option<Report>> {
    let children = os::child_events()?;
    let mut pipes = Some((stdout, stderr));
    let mut main: Option<Pid> = None;
    loop {
        let mut ready = [PollFd::new(link, PollFlags::IN), PollFd::new(&children, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (said, died) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if died {
            drain(&children);
            while let Some((pid, status)) = reap(WaitOptions::NOHANG)? {
                if Some(pid) == main {
                    return Ok(Some(report(status)));
                }
            }
        }
        if said {
            match control::hear::<Order>(link)? {
                None => return Ok(None),
                Some(Order::Kill) if main.is_none() => return Ok(None),
                Some(Order::Kill) => {
                    // Everyone at once; the command's own status comes with its death.
                    drop(os::signal_everyone_else(libc::SIGKILL));
                }
                Some(Order::Signal(number)) => {
                    if let Some(main) = main {
                        // It may have ended this instant.
                        drop(os::signal_process(main, number));
                    }
                }
                Some(Order::Start) => {
                    let Some((stdout, stderr)) = pipes.take() else { continue };
                    match spawn(job, program, stdout, stderr)? {
                        Ok(pid) => {
                            main = Some(pid);
                            control::tell(link, &Report::Started)?;
                        }
                        Err(refused) => return Ok(Some(refused)),
                    }
                }
            }
        }
    }
}

/// Ends whatever is left in the namespace, and only then wipes: nobody is to read zeros.
fn finish(payloads: Payloads) {
    drop(os::signal_everyone_else(libc::SIGKILL));
    while let Ok(Some(_)) = reap(WaitOptions::empty()) {}
    payloads.wipe();
}

/// The next dead child; none if there is none (yet).
fn reap(options: WaitOptions) -> io::Result<Option<(Pid, WaitStatus)>> {
    loop {
        return match wait(options) {
            Ok(found) => Ok(found),
            Err(Errno::CHILD) => Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

fn report(status: WaitStatus) -> Report {
    let status = ExitStatus::from_raw(status.as_raw());
    match (status.code(), status.signal()) {
        (Some(code), _) => Report::Exited { code },
        (None, Some(signal)) => Report::Signaled { signal },
        (None, None) => Report::Exited { code: 255 },
    }
}

/// The signals say no more than that somebody died.
fn drain(children: &OwnedFd) {
    let mut buffer = [0; 1024];
    while matches!(rustix::io::read(children, &mut buffer), Ok(got) if got > 0) {}
}

/// Starts the command in a child and waits until it has been executed, or could not be.
fn spawn(
    job: &Job,
    program: &Path,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> io::Result<Result<Pid, Report>> {
    let (mut reader, writer) = UnixStream::pair()?;
    match os::fork()? {
        Forked::Parent { child } => {
            drop((writer, stdout, stderr));
            let mut said = Vec::new();
            // Closed by a successful execve, without a word.
            reader.read_to_end(&mut said)?;
            if said.is_empty() {
                return Ok(Ok(child));
            }
            Ok(Err(serde_json::from_slice(&said)?))
        }
        Forked::Child => {
            drop(reader);
            let why = execute(job, program, &stdout, &stderr);
            let mut writer = writer;
            let told = serde_json::to_vec(&why).unwrap_or_default();
            drop(writer.write_all(&told));
            #[expect(
                clippy::exit,
                reason = "the child of a fork must not return into its parent's code"
            )]
            std::process::exit(127)
        }
    }
}

/// Becomes the command; returns only with the reason why it cannot.
fn execute(job: &Job, program: &Path, stdout: &OwnedFd, stderr: &OwnedFd) -> Report {
    let refused = |code, why| Report::Refused { code, why };
    if let Err(error) = become_user(job, stdout, stderr) {
        return refused(126, format!("cannot become {}: {error}", job.identity.uid));
    }
    if let Err(error) = chdir(&*job.dir) {
        return refused(126, format!("cannot enter working directory {}: {error}", job.dir));
    }
    let usual = std::env::var(DESCRIPTORS).ok().and_then(|count| count.parse().ok());
    if let Some(error) = usual.and_then(|usual| os::limit_descriptors(usual).err()) {
        return refused(126, format!("cannot limit its descriptors: {error}"));
    }
    // Replaces this process, with the default signal mask and dispositions.
    let error = Command::new(program)
        .arg0(&job.command[0])
        .args(&job.command[1..])
        .env_clear()
        .envs(&job.env)
        .exec();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    refused(code, format!("cannot execute '{}': {error}", job.command[0]))
}

fn become_user(job: &Job, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    let null = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    setsid()?;
    // In a user namespace as well: whoever is root there could unmount what was mounted for it.
    let kept = job.capabilities;
    os::drop_bounding_capabilities(|number| kept & (1 << number) != 0)?;
    if job.privileged {
        let groups: Vec<Gid> = job.identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        // Per thread, says rustix; this process has one.
        match set_thread_groups(&groups) {
            // Root of somebody's user namespace may be anyone in it, but leave no group.
            Err(Errno::PERM) if may_not_leave_groups() => {}
            set => set?,
        }
        let gid = Gid::from_raw(job.identity.gid);
        set_thread_res_gid(gid, gid, gid)?;
        let uid = Uid::from_raw(job.identity.uid);
        set_thread_res_uid(uid, uid, uid)?;
    }
    set_no_new_privs(true)?;
    Ok(())
}

fn may_not_leave_groups() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// Looks for the command as a shell would: in the working directory if it has a slash, else along the path.
fn find_program(name: &str, path: &str, dir: &str) -> Option<PathBuf> {
    let dir = Path::new(dir);
    if name.contains('/') {
        return Some(dir.join(name)).filter(|program| is_program(program));
    }
    path.split(':').map(|entry| dir.join(entry).join(name)).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_along_the_path_or_from_the_working_directory() {
        let sh = find_program("sh", "/nowhere:/bin", "/").unwrap();
        assert_eq!(sh, Path::new("/bin/sh"));
        assert_eq!(find_program("bin/sh", "", "/").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find_program("./sh", "", "/bin").unwrap(), Path::new("/bin/./sh"));
        assert_eq!(find_program("etc", "/", "/"), None, "a directory is no program");
        assert_eq!(find_program("/etc/passwd", "", "/"), None, "nor is what nobody may execute");
        assert_eq!(find_program("sh", "/nowhere", "/bin"), None);
    }
}
