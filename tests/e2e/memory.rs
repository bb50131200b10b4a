//! What keeps keys out of swap, core dumps and other programs of the same user.

use crate::world::{SECRETCTL, SECRETD, World, until};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::chown,
            net::UnixListener,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
};

/// Bytes of the pool of keys.
const POOL: u64 = 64 * 1024;
/// A user with no rights and no files.
const NOBODY: u32 = 65534;

/// One mapping of a process: its bounds, its rights, and the kernel's flags for it.
#[derive(Debug)]
struct Mapping {
    from: u64,
    to: u64,
    rights: String,
    flags: Vec<String>,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if let Some((from, to)) = first.split_once('-')
            && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
        {
            let rights = words.next().unwrap().to_owned();
            all.push(Mapping { from, to, rights, flags: Vec::new() });
        } else if first == "VmFlags:" {
            all.last_mut().unwrap().flags = words.map(str::to_owned).collect();
        }
    }
    all
}

/// The pages that hold keys: as many as the pool has, left out of core dumps, between guard pages.
fn pool(pid: u32) -> Mapping {
    let mut all = mappings(pid);
    let has = |mapping: &Mapping, flag: &str| mapping.flags.iter().any(|one| one == flag);
    let found: Vec<usize> = (1..all.len() - 1)
        .filter(|at| {
            let (before, this, behind) = (&all[at - 1], &all[*at], &all[at + 1]);
            this.to - this.from == POOL
                && this.rights.starts_with("rw-")
                && has(this, "dd")
                && has(this, "dc")
                && (before.to, &before.rights[..3]) == (this.from, "---")
                && (behind.from, &behind.rights[..3]) == (this.to, "---")
        })
        .collect();
    let [at] = found[..] else { panic!("not one pool: {all:#?}") };
    all.swap_remove(at)
}

fn locked_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmLck:").trim_end_matches("kB").trim().parse().unwrap()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().to_owned()
}

fn memory(world: &World) -> String {
    world.ctl(["status", "--format", "{{.Memory}}"]).ok()
}

fn is_locked(pid: u32) -> bool {
    pool(pid).flags.iter().any(|flag| flag == "lo")
}

#[test]
fn a_running_daemon_has_its_keys_in_locked_pages() {
    let world = World::initialised();
    assert!(is_locked(world.pid()), "{:?}", pool(world.pid()));
    assert!(locked_kib(world.pid()) >= POOL / 1024);
    assert!(memory(&world).starts_with("keys are locked: never swapped, never in a core dump"));
}

/// What takes the right to lock memory, and then all room for it or but the right to it.
fn without_the_right(room: &'static str) -> Vec<&'static str> {
    let mut words = vec!["prlimit", room];
    if rustix::process::geteuid().is_root() {
        words.splice(0..0, ["setpriv", "--bounding-set=-ipc_lock,-sys_resource"]);
    }
    words
}

#[test]
fn where_locking_is_forbidden_the_daemon_says_so_and_goes_on() {
    let mut world = World::new();
    world.through = without_the_right("--memlock=0:0");
    world.start();
    world.init();
    world.ctl_with(["create", "s", "-"], b"value").ok();
    assert!(!is_locked(world.pid()), "but still left out of core dumps");
    assert!(memory(&world).starts_with("keys are NOT locked ("));
    let log = fs::read_to_string(world.path("log")).unwrap();
    let said = log.lines().filter(|line| line.contains("memory that is not locked"));
    assert_eq!(said.count(), 1, "once is enough: {log}");
}

#[test]
fn a_limit_that_may_be_raised_is_raised_for_the_keys_alone() {
    let mut world = World::new();
    world.through = without_the_right("--memlock=0:1048576");
    world.start();
    world.init();
    assert!(is_locked(world.pid()));
    let limit = field(&format!("/proc/{}/limits", world.pid()), "Max locked memory");
    assert!(limit.starts_with("0 "), "tasks get the limit that secretd was given: {limit}");
}

/// Runs a program as somebody without rights, who is also the one who looks.
fn as_nobody(command: &mut Command) -> &mut Command {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A process that ends with the test, also with one that fails.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whether another process of its user may look into it: the kernel asks the same of ptrace.
fn can_be_looked_into(Started(child): &Started) -> bool {
    let environment = format!("/proc/{}/environ", child.id());
    let output = as_nobody(Command::new("cat").arg(environment)).output().unwrap();
    output.status.success()
}

/// Whether another process of its user may debug it: the kernel asks the same of whoever opens its memory.
fn can_be_debugged(Started(child): &Started) -> bool {
    let memory = format!("/proc/{}/mem", child.id());
    as_nobody(Command::new("head").args(["-c", "0", &memory])).output().unwrap().status.success()
}

/// Ends it by a signal that dumps a core, and says whether there was one, though its user raised the limit before.
fn dumps_core(Started(child): &mut Started, signal: Signal) -> bool {
    let pid = Pid::from_child(child);
    let raise = ["--core=unlimited", "--pid", &child.id().to_string()];
    let raised = as_nobody(Command::new("prlimit").args(raise)).output().unwrap();
    assert!(raised.status.success(), "{raised:?}");
    let ended = until("it to end", || {
        // The first SIGSEGV that comes from outside only removes std's handler.
        kill_process(pid, signal).unwrap();
        child.try_wait().unwrap()
    });
    assert_eq!(ended.signal(), Some(signal.as_raw()), "{ended}");
    ended.core_dumped()
}

/// Starts a program of ours by its descriptor: the user may not reach the directory it lies in.
fn start(program: &str, args: &[&str], host: &Path) -> Started {
    let file = File::open(program).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let child = as_nobody(Command::new(path).args(args))
        .env_clear()
        .env("SECRETD_HOST", format!("unix://{}", host.display()))
        .current_dir(host.parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Started(child.unwrap())
}

#[test]
fn neither_program_dumps_its_core_or_lets_its_own_user_look_into_it() {
    let dir = tempfile::Builder::new().prefix("sd").tempdir_in("/tmp").unwrap();
    if rustix::process::geteuid().is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mute = UnixListener::bind(dir.path().join("mute")).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(dir.path().join("mute"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let sleep = as_nobody(Command::new("sleep").arg("1000")).current_dir(dir.path()).spawn();
    let mut control = Started(sleep.unwrap());
    let (data, run) = (path("data"), path("run"));
    let args = ["--data-dir", &data, "--run-dir", &run, "--runtime", "process"];
    let daemon = start(SECRETD, &args, &dir.path().join("mute"));
    // It waits for a manager that never answers.
    let ctl = start(SECRETCTL, &["ls"], &dir.path().join("mute"));
    let mut children = [daemon, ctl];
    for child in &mut children {
        let limits = format!("/proc/{}/limits", child.0.id());
        until("the core limit to be zero", || {
            assert!(child.0.try_wait().unwrap().is_none(), "it ended");
            field(&limits, "Max core file size").starts_with("0 ").then_some(())
        });
        until("nobody to be let in", || (!can_be_looked_into(child)).then_some(()));
        assert!(!can_be_debugged(child));
    }
    assert!(can_be_looked_into(&control), "an ordinary process of this user is open to it");
    // Some kernels let nobody debug but parents.
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    assert!(can_be_debugged(&control) || !["", "0"].contains(&scope.trim()));

    let [mut daemon, mut ctl] = children;
    assert!(!dumps_core(&mut daemon, Signal::SEGV));
    assert!(!dumps_core(&mut ctl, Signal::ABORT));
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(dumps_core(&mut control, Signal::ABORT), "nobody's core comes to {pattern}");
    drop(mute);
}
