//! A daemon of its own for each test, and hands to drive it with; everything goes when the value goes.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

pub(crate) const SECRETD: &str = env!("CARGO_BIN_EXE_secretd");
pub(crate) const SECRETCTL: &str = env!("CARGO_BIN_EXE_secretctl");

/// How long anything may take before the test says what it waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `ready` gives a value; a state, not a moment.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    until_or_say(what, || ready().ok_or(""))
}

/// Waits for a state; a failure says what there was instead.
pub(crate) fn until_or_say<T, Instead: std::fmt::Display>(
    what: &str,
    mut ready: impl FnMut() -> Result<T, Instead>,
) -> T {
    let start = Instant::now();
    loop {
        let instead = match ready() {
            Ok(value) => return value,
            Err(instead) => instead,
        };
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}\n{instead}");
        #[expect(
            clippy::disallowed_methods,
            reason = "the one pause between two looks at the state"
        )]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        assert!(!self.err.trim().is_empty(), "a failure says why");
        self.err
    }
}

/// A machine for one test: directories, and a daemon when one is started.
pub(crate) struct World {
    dir: tempfile::TempDir,
    runtime: &'static str,
    /// Where the Docker Engine is, if not where scripts/test says.
    engine: Option<String>,
    /// What the daemon is started through: programs that take rights away and then execute it.
    pub(crate) through: Vec<&'static str>,
    /// What the daemon finds in its environment, beside the PATH.
    env: BTreeMap<String, String>,
    daemon: Option<Child>,
}

impl World {
    /// A machine without daemon, whose tasks are sandboxed processes.
    pub(crate) fn new() -> Self {
        Self::with_runtime("process")
    }

    pub(crate) fn with_runtime(runtime: &'static str) -> Self {
        // A short path: the socket's must fit in 107 bytes.
        let dir = tempfile::Builder::new().prefix("sd").tempdir_in("/tmp").unwrap();
        let (through, env) = (Vec::new(), BTreeMap::new());
        Self { dir, runtime, engine: None, through, env, daemon: None }
    }

    /// A machine without daemon, with containers of the engine at `socket` in its directory.
    pub(crate) fn with_engine_at(socket: &str) -> Self {
        let mut world = Self::with_runtime("docker");
        world.engine = Some(format!("unix://{}", world.path(socket).display()));
        world
    }

    /// A running, initialised daemon.
    pub(crate) fn initialised() -> Self {
        let mut world = Self::new();
        world.start();
        world.init();
        world
    }

    /// Sets a variable of the daemons that are started from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path("run/secretd.sock").display())
    }

    /// The daemon's command line, not started.
    pub(crate) fn secretd(&self) -> Command {
        let mut words = self.through.iter().copied().chain([SECRETD]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.env);
        command.arg("--data-dir").arg(self.data_dir());
        command.arg("--run-dir").arg(self.path("run"));
        command.args(["--runtime", self.runtime, "--log-level", "debug"]);
        if self.runtime == "docker" {
            let host = self.engine.clone().unwrap_or_else(docker_host);
            command.args(["--docker-host", &host]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        let log = self.path("log");
        until("the daemon to answer", || {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {}", fs::read_to_string(&log).unwrap());
            (self.ctl(["status"]).code == 0).then_some(())
        });
    }

    /// Starts the daemon and does not wait.
    pub(crate) fn spawn(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = self.secretd().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.daemon = Some(child);
    }

    /// Starts the daemon where it must not start; gives its exit code and last words.
    pub(crate) fn start_fails(&self) -> Said {
        Said::of(&self.secretd().output().unwrap())
    }

    pub(crate) fn init(&self) -> String {
        self.ctl(["init", "--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"]).ok()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Ends the daemon without warning.
    pub(crate) fn kill(&mut self) {
        let mut child = self.daemon.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.daemon.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits until the daemon has ended by itself, and says how.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().unwrap();
        until("the daemon to end", || child.try_wait().unwrap())
    }

    /// Asks the daemon to end, and waits for it.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.daemon.take().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        let ended = until("the daemon to drain", || child.try_wait().unwrap());
        ended.code().unwrap_or(-1)
    }

    pub(crate) fn ctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        self.ctl_with(args, b"")
    }

    /// Runs `secretctl` with something on its standard input.
    pub(crate) fn ctl_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Said {
        let mut child = Command::new(SECRETCTL)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SECRETD_HOST", self.socket())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input closes the pipe; that is its right.
        let written = child.stdin.take().unwrap().write_all(input);
        if let Err(error) = written {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
        Said::of(&child.wait_with_output().unwrap())
    }

    /// The JSON a command prints.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        serde_json::from_str(&self.ctl(args).ok()).unwrap()
    }

    /// The tasks of a service as `NAME STATE` pairs, newest first, with their errors.
    pub(crate) fn tasks(&self, service: &str) -> Vec<(String, String, String)> {
        let format = "{{.Name}}\t{{.CurrentState}}\t{{.Error}}";
        let out = self.ctl(["service", "ps", "--no-trunc", "--format", format, service]).ok();
        out.lines()
            .map(|line| {
                let mut parts = line.split('\t').map(str::to_owned);
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or_default())
            })
            .collect()
    }

    /// Waits until the service's output contains `text`, and returns the output.
    pub(crate) fn output_with(&self, service: &str, text: &str) -> String {
        until(&format!("`{text}` in the output of {service}"), || {
            let said = self.ctl(["service", "logs", "--raw", service]);
            said.out.contains(text).then_some(said.out)
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Services first, while there is a daemon that can end their tasks.
        if self.daemon.is_some() {
            let names = self.ctl(["service", "ls", "-q"]);
            for id in names.out.lines() {
                self.ctl(["service", "rm", id]);
            }
            if !names.out.is_empty() {
                let held = self.path("run/process");
                until("the tasks to end", || {
                    let left = fs::read_dir(&held).map(Iterator::count).unwrap_or(0);
                    (left == 0).then_some(())
                });
            }
        }
        if let Some(mut child) = self.daemon.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        end_tasks_below(self.dir.path());
        unmount_below(self.dir.path());
        if std::thread::panicking()
            && let Ok(log) = fs::read_to_string(self.path("log"))
        {
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!(
                "--- the daemon's log\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}

/// Ends the tasks of a killed daemon, known by the directory they stand in: nobody else is left to.
pub(crate) fn end_tasks_below(dir: &Path) {
    until("tasks to end", || {
        let ours = processes_below(dir);
        for pid in &ours {
            // It may end at this very moment by itself.
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(*pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .ok();
        }
        ours.is_empty().then_some(())
    });
}

/// Those whose working directory is below `dir`.
pub(crate) fn processes_below(dir: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

/// Detaches what a killed daemon left mounted below `dir`.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut points: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|p| Path::new(p).starts_with(dir))
        .collect();
    points.sort_by_key(|p| std::cmp::Reverse(p.len()));
    for point in points {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// The engine that scripts/test provides.
pub(crate) fn docker_host() -> String {
    std::env::var("SECRETD_TEST_DOCKER_HOST").expect(
        "these tests need a Docker Engine in SECRETD_TEST_DOCKER_HOST: run them with scripts/test",
    )
}

/// Every file below `dir` (and `dir` itself if it is a file) that contains `needle`.
pub(crate) fn files_with(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(kind) = fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if kind.is_file() && contains(&fs::read(&path).unwrap(), needle) {
            found.push(path);
        }
    }
    found
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || bytes.windows(needle.len()).any(|window| window == needle)
}
