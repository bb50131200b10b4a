//! The agent's side: spawns shims, asks them, and finds them again after a restart.

use super::{
    control::{self, Answer, Request},
    home::{Home, Seen, Supervisor},
    job::{self, Job, Me, Paths, Source},
    output::Reader,
    shim,
    users::Users,
};
use crate::{
    agent::{
        place,
        runtime::{
            ContainerState, EngineInfo, Exit, Held, LogLine, LogOptions, Order, Output, Runtime,
            RuntimeError, turns::Turns,
        },
    },
    crypto::plaintext::Plaintext,
    kit::{
        id::TaskId,
        os::{Bound, Swap, Tmpfs, ended, swap_is_on, usual_descriptors},
    },
};
use futures::stream::{self, BoxStream, StreamExt};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    process::{Signal, getegid, geteuid, pidfd_send_signal},
    thread::{CapabilitySet, capabilities},
};
use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, chown},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a shim may take over its last steps after everything was killed, before it is killed itself.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How often a follower looks for new output.
const FOLLOW_PACE: Duration = Duration::from_millis(50);

/// Where the process runtime works and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon's run directory; state is kept in `process/` below it. No task sees the directory.
    pub run_dir: PathBuf,
    /// The program to start as a shim: one whose `main` begins with [`shim::main_if_asked`], as a rule
    /// `std::env::current_exe()`.
    pub program: PathBuf,
    /// Further paths of the daemon that no task must see: its data directory, its key file.
    pub hide: Vec<PathBuf>,
}

/// Starts tasks as sandboxed processes. Cheap to clone; several instances on one run directory see the same tasks.
#[derive(Debug, Clone)]
pub struct ProcessRuntime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    /// Held open: after an upgrade on disk a shim is still of the same make as the agent that speaks with it.
    program: OwnedFd,
    root: PathBuf,
    volumes: PathBuf,
    me: Me,
    /// Tasks whose directories are being made by this very process.
    creating: Mutex<BTreeSet<TaskId>>,
    turns: Turns,
}

impl ProcessRuntime {
    /// Makes the directories. Starts nothing.
    ///
    /// # Errors
    /// The run directory is not writable, or the program is missing.
    pub fn new(options: Options) -> Result<Self, RuntimeError> {
        let with = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| RuntimeError::Other(format!("cannot use {path}: {error}"))
        };
        let make = |path: &Path| {
            fs::DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(with(path))
        };
        let (root, volumes) =
            (options.run_dir.join("process"), options.run_dir.join("process-volumes"));
        make(&root)?;
        make(&volumes)?;
        let absolute = |path: &Path| fs::canonicalize(path).map_err(with(path));
        let program = openat(CWD, &options.program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| with(&options.program)(error.into()))?;
        let options = Options { run_dir: absolute(&options.run_dir)?, ..options };
        let may_mount =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        let me = Me {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            privileged: geteuid().is_root() && may_mount,
        };
        if swap_is_on() && !may_avoid_swap(me) {
            place::warn_of_swap();
        }
        Ok(Self(Arc::new(Inner {
            root: absolute(&root)?,
            volumes: absolute(&volumes)?,
            options,
            program,
            me,
            creating: Mutex::default(),
            turns: Turns::default(),
        })))
    }

    /// Builds a sandbox without a task and takes it down again.
    ///
    /// # Errors
    /// [`RuntimeError::Rejected`]: the kernel does not let us; the text says why and what to do.
    pub async fn check(&self) -> Result<(), RuntimeError> {
        self.blocking(|inner| inner.launch(&job::check(inner.me), &[])).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(RuntimeError::Other("the agent is shutting down".to_owned())),
            },
        }
    }

    async fn state(&self, task: TaskId) -> Result<Option<ContainerState>, RuntimeError> {
        self.blocking(move |inner| inner.home(task).state().map_err(unreadable)).await
    }

    /// Asks a shim; none if it ended meanwhile.
    async fn ask(&self, task: TaskId, request: Request) -> Result<Option<Answer>, RuntimeError> {
        self.blocking(move |inner| {
            let home = inner.home(task);
            match control::ask(home.path(), &request) {
                Ok(answer) => Ok(Some(answer)),
                Err(error) => match home.look().map_err(unreadable)? {
                    Seen::Alive(_) => Err(RuntimeError::Other(format!(
                        "the task's supervisor does not answer: {error}"
                    ))),
                    _ => Ok(None),
                },
            }
        })
        .await
    }

    /// Waits until the shim has gone, at most so long; false if it has not.
    async fn shim_is_gone(
        &self,
        task: TaskId,
        most: Option<Duration>,
    ) -> Result<bool, RuntimeError> {
        let found =
            self.blocking(move |inner| inner.home(task).supervisor().map_err(unreadable)).await?;
        if let Some(Supervisor { shim, init: _ }) = found {
            let gone = ended(shim);
            match most {
                None => gone.await.map_err(unreadable)?,
                Some(most) => match tokio::time::timeout(most, gone).await {
                    Ok(gone) => gone.map_err(unreadable)?,
                    Err(_) => return Ok(false),
                },
            }
        }
        self.blocking(move |inner| inner.home(task).reap().map_err(unreadable)).await?;
        Ok(true)
    }

    /// Makes sure that nothing of a task runs any more, by force where words do not help.
    async fn kill(&self, task: TaskId, grace: Duration) -> Result<(), RuntimeError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let asked = self.ask(task, Request::Stop { grace_ms }).await;
        if asked.is_ok() && self.shim_is_gone(task, grace.checked_add(END_PATIENCE)).await? {
            return Ok(());
        }
        let found =
            self.blocking(move |inner| inner.home(task).supervisor().map_err(unreadable)).await?;
        if let Some(Supervisor { shim, init }) = found {
            let init = init.open().map_err(unreadable)?;
            for process in init.iter().chain([&shim]) {
                // Gone this instant is as good.
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            if let Some(init) = init {
                ended(init).await.map_err(unreadable)?;
            }
            self.shim_is_gone(task, None).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Runtime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo::default())
    }

    async fn held(&self) -> Result<Vec<Held>, RuntimeError> {
        self.blocking(Inner::held).await
    }

    async fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        let order = order.clone();
        let turn = self.0.turns.take(order.task.id).await;
        let create = move |inner: &Inner| {
            let made = inner.create(&order);
            drop(order);
            drop(turn);
            made
        };
        self.blocking(create).await
    }

    async fn start(&self, task: TaskId) -> Result<ContainerState, RuntimeError> {
        if self.state(task).await?.ok_or(RuntimeError::Gone)? == ContainerState::Created
            && let Some(Answer::Refused(why)) = self.ask(task, Request::Start).await?
        {
            return Err(RuntimeError::Rejected(why));
        }
        self.state(task).await?.ok_or(RuntimeError::Gone)
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        self.shim_is_gone(task, None).await?;
        match self.state(task).await? {
            Some(ContainerState::Ended(exit)) => Ok(exit),
            Some(_) => Err(RuntimeError::Other("the task's supervisor cannot be seen".to_owned())),
            None => Err(RuntimeError::Gone),
        }
    }

    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Exit, RuntimeError> {
        self.kill(task, grace).await?;
        self.wait(task).await
    }

    async fn wipe(&self, task: TaskId) -> Result<(), RuntimeError> {
        match self.state(task).await? {
            Some(ContainerState::Running { .. }) => {
                Err(RuntimeError::Other("the task still runs and needs its files".to_owned()))
            }
            // Pid 1 of the sandbox held the files and wiped them before it ended; its mounts went with it.
            _ => {
                self.kill(task, Duration::ZERO).await?;
                // One that was being made meanwhile has come to its end, one way or the other.
                let _turn = self.0.turns.take(task).await;
                self.kill(task, Duration::ZERO).await
            }
        }
    }

    async fn remove(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.kill(task, Duration::ZERO).await?;
        let _turn = self.0.turns.take(task).await;
        self.kill(task, Duration::ZERO).await?;
        self.blocking(move |inner| inner.home(task).remove().map_err(unreadable)).await
    }

    async fn logs(
        &self,
        task: TaskId,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        if !options.stdout && !options.stderr {
            return Err(RuntimeError::Other("choose stdout, stderr or both".to_owned()));
        }
        let home = self.0.home(task);
        self.state(task).await?.ok_or(RuntimeError::Gone)?;
        let reader = Reader::new(home.path()).map_err(unreadable)?;
        let follower =
            Follower { home, reader, options, ready: VecDeque::new(), began: false, over: false };
        let lines = stream::try_unfold(follower, |mut follower| async move {
            Ok(follower.next().await?.map(|line| (line, follower)))
        });
        Ok(lines.boxed())
    }
}

impl Inner {
    fn home(&self, task: TaskId) -> Home {
        Home::new(&self.root, task)
    }

    fn held(&self) -> Result<Vec<Held>, RuntimeError> {
        let mut held = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(task) = name.to_str().and_then(|name| name.parse::<TaskId>().ok()) else {
                continue;
            };
            let home = self.home(task);
            home.reap().map_err(unreadable)?;
            match home.state().map_err(unreadable)? {
                Some(container) => held.push(Held { task, container }),
                None if self.creating().contains(&task) => {}
                // Cut off by the end of an agent. A shim that was under way finds no place for its record and gives up.
                None => home.remove().map_err(unreadable)?,
            }
        }
        held.sort_by_key(|held| held.task);
        Ok(held)
    }

    fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        let task = order.task.id;
        let home = self.home(task);
        if !self.creating().insert(task) {
            return Err(RuntimeError::Other("the task is already being created".to_owned()));
        }
        let made = self.create_home(order, &home);
        if matches!(home.look(), Ok(Seen::Unfinished)) {
            drop(home.remove());
        }
        self.creating().remove(&task);
        made
    }

    fn create_home(&self, order: &Order, home: &Home) -> Result<(), RuntimeError> {
        if !home.make().map_err(unreadable)? {
            if home.look().map_err(unreadable)? != Seen::Unfinished {
                return Ok(());
            }
            // Left by an agent that was cut off in the middle.
            home.remove().map_err(unreadable)?;
            home.make().map_err(unreadable)?;
        }
        let users = Users::read().map_err(unreadable)?;
        let hide = self.hidden();
        let paths = Paths { home: home.path(), volumes: &self.volumes, hide: &hide };
        let job = job::draw(order, self.me, &users, paths)?;
        for mount in &job.mounts {
            if let Source::Volume(path) = &mount.source {
                make_volume(path, &job).map_err(|error| {
                    RuntimeError::Other(format!("cannot make volume {}: {error}", path.display()))
                })?;
            }
        }
        let payloads: Vec<&Plaintext> = order.files.iter().map(|file| &*file.payload).collect();
        self.launch(&job, &payloads)
    }

    /// The daemon's own paths as they are now. A run directory at the top of the tree is likely to be other programs' too,
    /// so only what is ours in it is hidden.
    fn hidden(&self) -> Vec<PathBuf> {
        let run = &self.options.run_dir;
        let mut hidden = if run.components().count() > 2 {
            vec![run.clone()]
        } else {
            ["process", "process-volumes", "place", "secretd.sock"]
                .map(|name| run.join(name))
                .to_vec()
        };
        hidden.extend(self.options.hide.iter().filter_map(|path| fs::canonicalize(path).ok()));
        hidden
    }

    /// Starts a shim, hands it the job and the payloads, and waits for its verdict.
    fn launch(&self, job: &Job, payloads: &[&Plaintext]) -> Result<(), RuntimeError> {
        let program = &self.options.program;
        let failed = |error: io::Error| {
            RuntimeError::Other(format!("cannot start {} as a shim: {error}", program.display()))
        };
        let mut child = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()))
            .arg0(program)
            .arg(shim::MARK)
            .env_clear()
            .envs(usual_descriptors().map(|count| (shim::DESCRIPTORS, count.to_string())))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut stdin = child.stdin.take().expect("asked for a pipe");
        let stdout = child.stdout.take().expect("asked for a pipe");
        let json = serde_json::to_vec(job).expect("a job is plain data with text keys");
        let told = match u32::try_from(json.len()) {
            Ok(len) if len <= shim::JOB_LEN => stdin
                .write_all(&len.to_be_bytes())
                .and_then(|()| stdin.write_all(&json))
                .and_then(|()| place::feed(&mut stdin, payloads.iter().copied())),
            _ => Err(io::Error::other("the task's spec is too long")),
        };
        drop(stdin);
        // If it hung up on us it has usually said why.
        let answer = control::read_line::<Answer>(stdout);
        if let (Ok(()), Ok(Answer::Done)) = (&told, &answer) {
            if job.home.is_none() {
                child.wait().map_err(failed)?;
            }
            return Ok(());
        }
        drop(child.kill());
        child.wait().map_err(failed)?;
        match (told, answer) {
            (_, Ok(Answer::Refused(why))) if is_about_the_kernel(&why) => {
                Err(RuntimeError::Rejected(format!(
                    "the process runtime cannot work here: {why}; {}",
                    advice(self.me)
                )))
            }
            (_, Ok(Answer::Refused(why))) => Err(RuntimeError::Rejected(why)),
            (Err(error), _) => Err(failed(error)),
            (Ok(()), Err(error)) => Err(failed(error)),
            (Ok(()), Ok(Answer::Done)) => unreachable!("returned above"),
        }
    }

    fn creating(&self) -> std::sync::MutexGuard<'_, BTreeSet<TaskId>> {
        // A set of ids is whole whatever its holder died of.
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a sandbox's tmpfs will be kept from swap: never in a user namespace, nor before Linux 6.4.
fn may_avoid_swap(me: Me) -> bool {
    me.privileged
        && Tmpfs::for_payloads(Bound::for_files([]))
            .make()
            .is_ok_and(|(_, swap)| swap == Swap::Never)
}

/// A named volume belongs to the user of the first task that mounts it.
fn make_volume(path: &Path, job: &Job) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => chown(path, Some(job.identity.uid), Some(job.identity.gid)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn unreadable(error: io::Error) -> RuntimeError {
    RuntimeError::Other(format!("cannot read or write the task's state: {error}"))
}

fn is_about_the_kernel(why: &str) -> bool {
    ["namespace", "make mounts private", "make a tmpfs for the root", "/proc of the task's own"]
        .iter()
        .any(|sign| why.contains(sign))
}

/// What to do about a kernel that does not let us.
fn advice(me: Me) -> String {
    let is = |name: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() == value)
    };
    if me.privileged {
        return "it takes CAP_SYS_ADMIN and a kernel of 5.12 or later; in a container, start it with --privileged \
                or use the docker runtime"
            .to_owned();
    }
    for (name, value, better) in [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ] {
        if is(name, value) {
            return format!(
                "this node forbids user namespaces; run `sysctl -w {better}` as root, run secretd as root, or use the \
                 docker runtime"
            );
        }
    }
    "without root's rights it takes user namespaces, which something here forbids (a container's seccomp profile, \
     perhaps); run secretd as root outside a container, or use the docker runtime"
        .to_owned()
}

/// A task's output as a stream.
struct Follower {
    home: Home,
    reader: Reader,
    options: LogOptions,
    ready: VecDeque<LogLine>,
    /// The lines that were there at the beginning have been read.
    began: bool,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<LogLine>, RuntimeError> {
        if !self.began {
            self.read_what_is_there()?;
            self.began = true;
        }
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.over || !self.options.follow {
                return Ok(None);
            }
            // Asked before reading: what was written before the end must not be missed.
            let living = matches!(self.home.supervisor(), Ok(Some(_)));
            let lines = self.reader.next().map_err(unreadable)?;
            if lines.is_empty() {
                self.over = !living;
                if living {
                    tokio::time::sleep(FOLLOW_PACE).await;
                }
            }
            self.ready.extend(lines.into_iter().filter(|line| wanted(&self.options, line)));
        }
    }

    fn read_what_is_there(&mut self) -> Result<(), RuntimeError> {
        let most = self.options.tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX));
        loop {
            let lines = self.reader.next().map_err(unreadable)?;
            if lines.is_empty() {
                return Ok(());
            }
            self.ready.extend(lines.into_iter().filter(|line| wanted(&self.options, line)));
            let Some(most) = most else { return Ok(()) };
            self.ready.drain(..self.ready.len().saturating_sub(most));
        }
    }
}

fn wanted(options: &LogOptions, line: &LogLine) -> bool {
    let stream = match line.output {
        Output::Stdout => options.stdout,
        Output::Stderr => options.stderr,
    };
    stream && options.since.is_none_or(|since| line.at >= since)
}
