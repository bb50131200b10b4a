//! The process runtime with real processes: what a task finds, how it ends, and that nothing is left.
//!
//! `anyone` holds what must be true whoever secretd runs as. Run as root, `as_root::everything_holds_without_root` runs it once more
//! as an unprivileged user.

#![expect(clippy::unwrap_used, reason = "what must not fail here fails the test")]

use futures::StreamExt;
use secretd::{
    agent::runtime::{
        ContainerState, Exit, File, Held, LogOptions, Order, Output, Runtime, RuntimeError,
        process::{Options, ProcessRuntime},
    },
    crypto::plaintext::Plaintext,
    kit::{
        clock::Timestamp,
        id::{ObjectId, ServiceId, TaskId},
        os::{ProcessId, ended, harden},
    },
    model::{
        Labels, Meta,
        object::Kind,
        reference::{FileMode, OnChange, Reference, Target, VersionPick},
        service::{ContainerSpec, Mount, MountKind, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where the program to use as a shim is, when the tests run from a copy.
const PROGRAM: &str = "SECRETD_TEST_PROGRAM";

/// A run directory with a runtime, and a directory that tasks may see.
struct World {
    dir: tempfile::TempDir,
    runtime: ProcessRuntime,
}

impl World {
    fn new() -> Self {
        // As the daemon does; an unprivileged one no longer owns its own files in /proc then.
        harden().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("seen")).unwrap();
        let runtime = runtime_in(dir.path());
        Self { dir, runtime }
    }

    /// A path that tasks may see.
    fn seen(&self, name: &str) -> PathBuf {
        self.dir.path().join("seen").join(name)
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Runs the task to its end and returns how it ended and what it wrote.
    async fn run(&self, order: &Order) -> (Exit, Vec<String>) {
        self.start(order).await;
        let exit = self.runtime.wait(order.task.id).await.unwrap();
        let lines = self.lines(order.task.id, all()).await;
        (exit, lines)
    }

    async fn start(&self, order: &Order) {
        self.runtime.create(order).await.unwrap();
        self.runtime.start(order.task.id).await.unwrap();
    }

    async fn refusal(&self, order: &Order) -> String {
        match self.runtime.create(order).await {
            Err(RuntimeError::Rejected(why)) => {
                assert_eq!(self.runtime.held().await.unwrap(), [], "a refused task leaves nothing");
                why
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn lines(&self, task: TaskId, options: LogOptions) -> Vec<String> {
        let stream = self.runtime.logs(task, options).await.unwrap();
        stream.map(|line| String::from_utf8(line.unwrap().line).unwrap()).collect().await
    }

    /// Waits for a line of the task's output.
    async fn until_line(&self, task: TaskId, wanted: &str) {
        let mut stream =
            self.runtime.logs(task, LogOptions { follow: true, ..all() }).await.unwrap();
        while let Some(line) = stream.next().await {
            if line.unwrap().line == wanted.as_bytes() {
                return;
            }
        }
        panic!("the task ended without writing {wanted:?}");
    }
}

fn runtime_in(dir: &Path) -> ProcessRuntime {
    let program =
        std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_secretd").into()).into();
    ProcessRuntime::new(Options { run_dir: dir.join("run"), program, hide: vec![] }).unwrap()
}

fn all() -> LogOptions {
    LogOptions { stdout: true, stderr: true, ..LogOptions::default() }
}

struct Draft {
    container: ContainerSpec,
    files: Vec<File>,
}

fn task(command: &[&str]) -> Draft {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Draft { container: ContainerSpec { command, ..ContainerSpec::default() }, files: vec![] }
}

fn shell(script: &str) -> Draft {
    task(&["sh", "-c", script])
}

impl Draft {
    fn spec(mut self, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        change(&mut self.container);
        self
    }

    fn secret(self, target: impl AsRef<Path>, payload: &[u8]) -> Self {
        self.file(Kind::Secret, target, payload, |_| ())
    }

    fn config(self, target: impl AsRef<Path>, payload: &[u8]) -> Self {
        self.file(Kind::Config, target, payload, |_| ())
    }

    fn file(
        mut self,
        kind: Kind,
        target: impl AsRef<Path>,
        payload: &[u8],
        change: impl FnOnce(&mut Reference),
    ) -> Self {
        let mut reference = Reference {
            kind,
            object: ObjectId::random(),
            name: "thing".parse().unwrap(),
            version: VersionPick::Latest,
            target: Target::parse(kind, target.as_ref().to_str().unwrap()).unwrap(),
            uid: None,
            gid: None,
            mode: None,
            on_change: OnChange::Keep,
        };
        change(&mut reference);
        let payload = Arc::new(Plaintext::new(payload.to_vec()));
        self.files.push(File { reference, payload });
        self
    }

    fn mount(mut self, kind: MountKind, source: &Path, target: &Path, read_only: bool) -> Self {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (source, target) = (text(source), text(target));
        self.container.mounts.push(Mount { kind, source, target, read_only });
        self
    }

    fn build(self) -> Order {
        let spec = TaskSpec { container: self.container, ..TaskSpec::default() };
        let task = Task {
            id: TaskId::random(),
            meta: Meta::default(),
            service: ServiceId::random(),
            service_name: "web".parse().unwrap(),
            service_labels: Labels::new(),
            slot: 1,
            node: None,
            spec: Arc::new(spec),
            spec_index: 0,
            versions: vec![],
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Assigned,
                at: Timestamp(0),
                message: String::new(),
                error: String::new(),
                container_id: String::new(),
                pid: 0,
                exit_code: None,
            },
            started_at: None,
            wiped: false,
        };
        Order { task: Arc::new(task), files: self.files }
    }
}

fn pid_of(state: &ContainerState) -> u32 {
    match state {
        ContainerState::Running { pid, .. } => *pid,
        other => panic!("not running: {other:?}"),
    }
}

/// The pids of the processes whose ancestor is `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) else {
        return vec![];
    };
    let children = text.split_whitespace().map(|pid| pid.parse().unwrap());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Looks for bytes in every file below a directory.
fn contains(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return contains(&entry.path(), needle);
        }
        kind.is_file()
            && std::fs::read(entry.path())
                .unwrap()
                .windows(needle.len())
                .any(|window| window == needle)
    })
}

mod anyone {
    use super::*;

    #[tokio::test]
    async fn the_kernel_lets_us() {
        World::new().runtime.check().await.unwrap();
    }

    #[tokio::test]
    async fn files_are_at_their_targets_and_nowhere_on_the_node() {
        let world = World::new();
        std::fs::write(world.seen("existing"), "the node's").unwrap();
        let missing_below_a_missing_top = "/secretd-test-app/deep/sa-password";
        let order = shell(
            "cat /run/secrets/secretd-test /secretd-test-app/deep/sa-password /etc/secretd-test.conf \"$F\"; \
             stat -c '%n %u:%g %a' /run/secrets/secretd-test /etc/secretd-test.conf; id -u; id -g; \
             test -e /etc/passwd && test -d /usr/bin && echo rest is there",
        )
        .secret("secretd-test", b"one\n")
        .secret(missing_below_a_missing_top, b"two\n")
        .config("etc/secretd-test.conf", b"three\n")
        .config(world.seen("existing"), b"four\n")
        .spec(|spec| spec.env = vec![format!("F={}", world.seen("existing").display())])
        .build();
        world.runtime.create(&order).await.unwrap();
        for path in ["/run/secrets/secretd-test", "/secretd-test-app", "/etc/secretd-test.conf"] {
            assert!(!Path::new(path).exists(), "{path} is to be seen on the node");
        }
        assert!(!contains(&world.run_dir(), b"two"), "a payload lies in the run directory");
        world.runtime.start(order.task.id).await.unwrap();
        let exit = world.runtime.wait(order.task.id).await.unwrap();
        let lines = world.lines(order.task.id, all()).await;
        let me = format!("{}:{}", lines[lines.len() - 3], lines[lines.len() - 2]);
        assert_eq!(
            lines[..6],
            [
                "one",
                "two",
                "three",
                "four",
                &format!("/run/secrets/secretd-test {me} 400"),
                &format!("/etc/secretd-test.conf {me} 444"),
            ]
        );
        assert_eq!(lines.last().unwrap(), "rest is there");
        assert_eq!(exit, Exit { code: 0, note: String::new() });
        assert_eq!(std::fs::read(world.seen("existing")).unwrap(), b"the node's");
    }

    #[tokio::test]
    async fn nothing_runs_before_the_start() {
        let world = World::new();
        let order = shell("echo ran > \"$D/mark\"")
            .spec(|spec| spec.env = vec![format!("D={}", world.seen("").display())])
            .secret("x", b"x")
            .build();
        world.runtime.create(&order).await.unwrap();
        let held = world.runtime.held().await.unwrap();
        assert_eq!(held, [Held { task: order.task.id, container: ContainerState::Created }]);
        world.runtime.create(&order).await.unwrap();
        assert!(!world.seen("mark").exists());
        world.runtime.start(order.task.id).await.unwrap();
        world.runtime.wait(order.task.id).await.unwrap();
        assert!(world.seen("mark").exists());
        let again = world.runtime.start(order.task.id).await.unwrap();
        assert_eq!(again, ContainerState::Ended(Exit { code: 0, note: String::new() }));
    }

    #[tokio::test]
    async fn the_end_is_told_as_it_was() {
        let world = World::new();
        let (exit, _) = world.run(&shell("exit 7").build()).await;
        assert_eq!(exit, Exit { code: 7, note: String::new() });
        let (exit, _) = world.run(&shell("kill -SEGV $$").build()).await;
        assert_eq!(exit, Exit { code: 139, note: "killed by signal 11".to_owned() });
    }

    #[tokio::test]
    async fn a_task_that_listens_ends_by_its_own_hand() {
        let world = World::new();
        let order = shell("trap 'echo bye; exit 3' USR1; echo up; while :; do sleep 0.05; done")
            .spec(|spec| spec.stop_signal = "SIGUSR1".to_owned())
            .build();
        world.start(&order).await;
        world.until_line(order.task.id, "up").await;
        let exit = world.runtime.stop(order.task.id, Duration::from_secs(60)).await.unwrap();
        assert_eq!(exit, Exit { code: 3, note: String::new() });
        assert_eq!(world.lines(order.task.id, all()).await, ["up", "bye"]);
    }

    #[tokio::test]
    async fn a_plain_program_ends_at_the_first_signal() {
        let world = World::new();
        let order = task(&["sleep", "600"]).build();
        world.start(&order).await;
        let exit = world.runtime.stop(order.task.id, Duration::from_secs(60)).await.unwrap();
        assert_eq!(exit, Exit { code: 143, note: "killed by signal 15".to_owned() });
    }

    #[tokio::test]
    async fn a_task_that_does_not_listen_is_killed_with_all_it_started() {
        let world = World::new();
        let order =
            shell("trap '' TERM; (sleep 600 & sleep 600) & echo up; while :; do sleep 600; done")
                .build();
        world.runtime.create(&order).await.unwrap();
        let state = world.runtime.start(order.task.id).await.unwrap();
        world.until_line(order.task.id, "up").await;
        let init = pid_of(&state);
        let family = [vec![init], descendants(init)].concat();
        assert!(family.len() > 2, "{family:?}");
        let exit = world.runtime.stop(order.task.id, Duration::from_millis(100)).await.unwrap();
        assert_eq!(exit, Exit { code: 137, note: "killed by signal 9".to_owned() });
        assert!(!family.iter().any(|pid| lives(*pid)));
    }

    #[tokio::test]
    async fn output_comes_with_time_and_stream_and_can_be_narrowed() {
        let world = World::new();
        let order = shell("echo one; echo two >&2; printf three").build();
        world.start(&order).await;
        world.runtime.wait(order.task.id).await.unwrap();
        let id = order.task.id;
        let stream = world.runtime.logs(id, all()).await.unwrap();
        let mut lines: Vec<_> = stream.map(Result::unwrap).collect().await;
        lines.sort_by_key(|line| line.line.clone());
        let streams: Vec<_> = lines.iter().map(|line| line.output).collect();
        assert_eq!(streams, [Output::Stdout, Output::Stdout, Output::Stderr]);
        assert!(lines[0].at > Timestamp(1_700_000_000_000));

        assert_eq!(world.lines(id, LogOptions { stdout: false, ..all() }).await, ["two"]);
        assert_eq!(world.lines(id, LogOptions { tail: Some(0), ..all() }).await, [""; 0]);
        let last = LogOptions { tail: Some(1), stderr: false, ..all() };
        assert_eq!(world.lines(id, last).await, ["three"]);
        let later = Timestamp(lines.iter().map(|line| line.at.0).max().unwrap() + 1);
        assert_eq!(world.lines(id, LogOptions { since: Some(later), ..all() }).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_follower_sees_everything_and_the_end() {
        let world = World::new();
        let order = shell("for i in 1 2 3 4 5; do echo $i; sleep 0.02; done").build();
        world.runtime.create(&order).await.unwrap();
        let stream =
            world.runtime.logs(order.task.id, LogOptions { follow: true, ..all() }).await.unwrap();
        world.runtime.start(order.task.id).await.unwrap();
        let lines: Vec<_> = stream.map(|line| line.unwrap().line).collect().await;
        assert_eq!(lines, [b"1", b"2", b"3", b"4", b"5"]);
    }

    #[tokio::test]
    async fn another_run_of_the_agent_finds_its_tasks_again() {
        let world = World::new();
        let created = task(&["true"]).secret("x", b"x").build();
        let running = shell("echo up; exec sleep 600").build();
        let ended = shell("exit 9").build();
        world.runtime.create(&created).await.unwrap();
        world.start(&running).await;
        let before = world.runtime.start(running.task.id).await.unwrap();
        world.run(&ended).await;

        let next = runtime_in(world.dir.path());
        let mut held = next.held().await.unwrap();
        held.sort_by_key(|held| held.task);
        let mut want = [
            Held { task: created.task.id, container: ContainerState::Created },
            Held { task: running.task.id, container: before },
            Held {
                task: ended.task.id,
                container: ContainerState::Ended(Exit { code: 9, note: String::new() }),
            },
        ];
        want.sort_by_key(|held| held.task);
        assert_eq!(held, want);
        next.start(created.task.id).await.unwrap();
        assert_eq!(next.wait(created.task.id).await.unwrap().code, 0);
        assert_eq!(next.stop(running.task.id, Duration::from_secs(60)).await.unwrap().code, 143);
        assert_eq!(world.lines(running.task.id, all()).await, ["up"]);
    }

    #[tokio::test]
    async fn the_death_of_the_supervisor_ends_the_task() {
        let world = World::new();
        let order = task(&["sleep", "600"]).build();
        world.runtime.create(&order).await.unwrap();
        let init = pid_of(&world.runtime.start(order.task.id).await.unwrap());
        let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
        let shim = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
        std::process::Command::new("kill").args(["-9", &shim]).status().unwrap();
        let exit = world.runtime.wait(order.task.id).await.unwrap();
        assert_eq!(exit.code, 137);
        assert!(exit.note.contains("supervised"), "{}", exit.note);
        world.runtime.remove(order.task.id).await.unwrap();
        assert!(!lives(shim.parse().unwrap()));
    }

    #[tokio::test]
    async fn removed_tasks_leave_nothing() {
        let world = World::new();
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let before = mounts();
        let created = task(&["true"]).secret("x", b"x").build();
        let running = task(&["sleep", "600"]).secret("/secretd-test/x", b"x").build();
        world.runtime.create(&created).await.unwrap();
        world.runtime.create(&running).await.unwrap();
        let init = pid_of(&world.runtime.start(running.task.id).await.unwrap());
        assert_eq!(mounts(), before, "nothing is mounted in the node's own namespace");
        for order in [&created, &running] {
            world.runtime.remove(order.task.id).await.unwrap();
            world.runtime.remove(order.task.id).await.unwrap();
        }
        assert!(!lives(init));
        assert_eq!(world.runtime.held().await.unwrap(), []);
        assert_eq!(std::fs::read_dir(world.run_dir().join("process")).unwrap().count(), 0);
        assert!(matches!(world.runtime.start(created.task.id).await, Err(RuntimeError::Gone)));
        assert!(matches!(world.runtime.wait(created.task.id).await, Err(RuntimeError::Gone)));
    }

    #[tokio::test]
    async fn wiping_waits_for_the_end_and_keeps_the_output() {
        let world = World::new();
        let order = shell("echo up; exec sleep 600").secret("x", b"x").build();
        world.start(&order).await;
        world.until_line(order.task.id, "up").await;
        world.runtime.wipe(order.task.id).await.unwrap_err();
        world.runtime.stop(order.task.id, Duration::ZERO).await.unwrap();
        world.runtime.wipe(order.task.id).await.unwrap();
        assert_eq!(world.lines(order.task.id, all()).await, ["up"]);

        let never = task(&["true"]).secret("x", b"x").build();
        world.runtime.create(&never).await.unwrap();
        world.runtime.wipe(never.task.id).await.unwrap();
        let exit = world.runtime.wait(never.task.id).await.unwrap();
        assert_eq!(exit.note, "stopped before it was started");
    }

    #[tokio::test]
    async fn what_an_agent_left_half_made_is_cleared_away() {
        let world = World::new();
        let task_id = TaskId::random();
        let half = world.run_dir().join("process").join(task_id.as_str());
        std::fs::create_dir(&half).unwrap();
        assert_eq!(world.runtime.held().await.unwrap(), []);
        assert!(!half.exists());
    }

    #[tokio::test]
    async fn a_sandbox_nobody_can_find_any_more_ends_by_itself() {
        let world = World::new();
        let order = task(&["true"]).secret("x", b"x").build();
        world.runtime.create(&order).await.unwrap();
        let home = world.run_dir().join("process").join(order.task.id.as_str());
        let record = std::fs::read_to_string(home.join("record")).unwrap();
        std::fs::remove_dir_all(&home).unwrap();
        let shim: serde_json::Value = serde_json::from_str(&record).unwrap();
        let shim: ProcessId = serde_json::from_value(shim["shim"].clone()).unwrap();
        if let Some(watch) = shim.open().unwrap() {
            tokio::time::timeout(Duration::from_secs(60), ended(watch)).await.unwrap().unwrap();
        }
        shim.reap().unwrap();
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_executed_is_named() {
        let world = World::new();
        let why = world.refusal(&task(&["no-such-program", "x"]).build()).await;
        assert_eq!(why, "executable 'no-such-program' not found");
        let why = world.refusal(&task(&[]).build()).await;
        assert!(why.contains("needs a command"), "{why}");

        let script = world.seen("script");
        std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let order = task(&[script.to_str().unwrap()]).build();
        world.runtime.create(&order).await.unwrap();
        let error = world.runtime.start(order.task.id).await.unwrap_err();
        assert!(matches!(&error, RuntimeError::Rejected(why) if why.contains("script")), "{error}");
        let exit = world.runtime.wait(order.task.id).await.unwrap();
        assert_eq!(exit.code, 127);
        assert!(exit.note.contains("cannot execute"), "{}", exit.note);
    }

    #[tokio::test]
    async fn links_are_followed_inside_the_sandbox_only() {
        let world = World::new();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, world.seen(name)).unwrap();
        link("etc", "/etc");
        link("up", "../../../../../../../../../../etc");
        link("proc", "/proc/self");
        link("loop", "loop");
        link("dangling", "/secretd-test-nowhere/x");
        let order = shell("cat /etc/secretd-test-1 /etc/secretd-test-2 /secretd-test-nowhere/x")
            .secret(world.seen("etc/secretd-test-1"), b"one\n")
            .secret(world.seen("up/secretd-test-2"), b"two\n")
            .secret(world.seen("dangling"), b"three\n")
            .build();
        let (_, lines) = world.run(&order).await;
        assert_eq!(lines, ["one", "two", "three"]);
        for path in ["/etc/secretd-test-1", "/etc/secretd-test-2", "/secretd-test-nowhere"] {
            assert!(!Path::new(path).exists(), "{path} was made on the node");
        }
        world.runtime.remove(order.task.id).await.unwrap();

        let why = world.refusal(&task(&["true"]).secret(world.seen("proc/x"), b"x").build()).await;
        assert!(why.contains("belongs to the system"), "{why}");
        let why = world.refusal(&task(&["true"]).secret(world.seen("loop"), b"x").build()).await;
        assert!(why.contains("too many links"), "{why}");
    }

    #[tokio::test]
    async fn targets_that_cannot_be_are_refused_with_a_reason() {
        let world = World::new();
        std::fs::create_dir(world.seen("dir")).unwrap();
        std::fs::write(world.seen("file"), "").unwrap();
        std::os::unix::fs::symlink("file", world.seen("same")).unwrap();
        for (target, reason) in [("dir", "is a directory"), ("file/x", "is not a directory")] {
            let why =
                world.refusal(&task(&["true"]).secret(world.seen(target), b"x").build()).await;
            assert!(why.contains(reason) && why.contains("secret thing"), "{why}");
        }
        let twice = task(&["true"])
            .secret(world.seen("file"), b"x")
            .secret(world.seen("same"), b"y")
            .build();
        let why = world.refusal(&twice).await;
        assert!(why.contains("lead to the same file"), "{why}");
    }

    #[tokio::test]
    async fn the_sandbox_has_its_own_processes_devices_and_environment() {
        let world = World::new();
        let order = shell(
            "ls -d /proc/[0-9]* | wc -l; hostname; env | sort; pwd; \
             echo x > /dev/null && head -c 3 /dev/zero | wc -c; ls /dev | grep -c vda; \
             grep NoNewPrivs /proc/self/status; ls -A \"$RUN\"; echo q > /dev/shm/f && cat /dev/shm/f",
        )
        .spec(|spec| {
            spec.env = vec![format!("RUN={}", world.run_dir().display()), "A=1".to_owned()];
            spec.dir = "/secretd-test-work/dir".to_owned();
            spec.hostname = "web-1".to_owned();
        })
        .build();
        let (_, lines) = world.run(&order).await;
        let count: usize = lines[0].trim().parse().unwrap();
        assert!(count < 10, "the node's processes are to be seen: {count}");
        assert_eq!(lines[1], "web-1");
        let run = format!("RUN={}", world.run_dir().display());
        let env: Vec<_> =
            lines[2..].iter().take_while(|line| line.contains('=')).map(String::as_str).collect();
        let names: Vec<_> = env.iter().map(|line| line.split('=').next().unwrap()).collect();
        assert_eq!(names, ["A", "HOME", "HOSTNAME", "PATH", "PWD", "RUN"]);
        assert!(env.contains(&"HOSTNAME=web-1") && env.contains(&&*run));
        assert_eq!(
            lines[2 + env.len()..],
            ["/secretd-test-work/dir", "3", "0", "NoNewPrivs:\t1", "q"],
            "the run directory is covered"
        );
    }

    #[tokio::test]
    async fn mounts_are_where_they_should_be() {
        let world = World::new();
        std::fs::create_dir(world.seen("data")).unwrap();
        std::fs::write(world.seen("data/file"), "hello\n").unwrap();
        let order = || {
            shell(
                "cat /secretd-test/ro/file; touch /secretd-test/ro/x || echo read-only; \
                 echo new > /secretd-test/rw/new; cat /secretd-test/vol/kept; echo kept > /secretd-test/vol/kept; \
                 echo t > /secretd-test/tmp/t && stat -f -c %T /secretd-test/tmp; cat /secretd-test/tmp/secret",
            )
            .mount(MountKind::Bind, &world.seen("data"), "/secretd-test/ro".as_ref(), true)
            .mount(MountKind::Bind, &world.seen("data"), "/secretd-test/rw".as_ref(), false)
            .mount(MountKind::Volume, "vol".as_ref(), "/secretd-test/vol".as_ref(), false)
            .mount(
                MountKind::Tmpfs { size: 1 << 20, mode: 0o1777 },
                "".as_ref(),
                "/secretd-test/tmp".as_ref(),
                false,
            )
            .secret("/secretd-test/tmp/secret", b"in a mount\n")
            .build()
        };
        let first = order();
        world.start(&first).await;
        world.runtime.wait(first.task.id).await.unwrap();
        let stdout = LogOptions { stderr: false, ..all() };
        let lines = world.lines(first.task.id, stdout.clone()).await;
        assert_eq!(lines, ["hello", "read-only", "tmpfs", "in a mount"]);
        assert_eq!(std::fs::read(world.seen("data/new")).unwrap(), b"new\n");

        let second = order();
        world.start(&second).await;
        world.runtime.wait(second.task.id).await.unwrap();
        let lines = world.lines(second.task.id, stdout).await;
        assert_eq!(lines[2], "kept", "a named volume outlives its tasks");
        for order in [first, second] {
            world.runtime.remove(order.task.id).await.unwrap();
        }

        let missing = task(&["true"])
            .mount(MountKind::Bind, &world.seen("none"), "/secretd-test".as_ref(), false)
            .build();
        let why = world.refusal(&missing).await;
        assert!(why.contains("bind source path does not exist"), "{why}");
        let swallowed = task(&["true"])
            .mount(MountKind::Bind, &world.seen("data"), "/secretd-test".as_ref(), false)
            .secret("/secretd-test/secret", b"x")
            .build();
        let why = world.refusal(&swallowed).await;
        assert!(why.contains("is missing in the mount /secretd-test"), "{why}");
    }

    #[tokio::test]
    async fn a_read_only_root_can_be_written_nowhere_but_in_mounts() {
        let world = World::new();
        let order = shell(
            "for d in / /secretd-test /etc \"$SEEN\"; do touch $d/new 2>/dev/null && echo wrote $d; done; \
             echo x > /secretd-test/tmp/x && cat /secretd-test/tmp/x /etc/secretd-test-x",
        )
        .mount(
            MountKind::Tmpfs { size: 0, mode: 0 },
            "".as_ref(),
            "/secretd-test/tmp".as_ref(),
            false,
        )
        .secret("/etc/secretd-test-x", b"s\n")
        .spec(|spec| {
            spec.read_only = true;
            spec.env = vec![format!("SEEN={}", world.seen("").display())];
        })
        .build();
        let (_, lines) = world.run(&order).await;
        assert_eq!(lines, ["x", "s"]);
    }

    #[tokio::test]
    async fn large_payloads_and_many_files_arrive_whole() {
        let world = World::new();
        let large: Vec<u8> = (0..500_000_u32).map(|n| n.to_be_bytes()[3] ^ 0x5a).collect();
        let mut draft = shell("cksum < /run/secrets/large; cat /run/secrets/many/* | wc -c")
            .secret("large", &large);
        for number in 0..100 {
            draft = draft.secret(format!("many/{number}"), b"twelve bytes");
        }
        std::fs::write(world.seen("large"), &large).unwrap();
        let sum = std::process::Command::new("cksum")
            .stdin(std::fs::File::open(world.seen("large")).unwrap())
            .output()
            .unwrap();
        let (_, lines) = world.run(&draft.build()).await;
        assert_eq!(lines, [String::from_utf8(sum.stdout).unwrap().trim(), "1200"]);
    }

    #[tokio::test]
    async fn files_are_read_only_for_the_task() {
        let world = World::new();
        let order = shell(
            "echo y > /run/secrets/x; rm /run/secrets/x; mv /run/secrets/x /tmp/; umount /run/secrets/x; \
             chmod 777 /run/secrets/x; ls /proc/1/root/; for f in /proc/1/fd/*; do head -c 1 $f; done; cat /run/secrets/x",
        )
        .file(Kind::Secret, "x", b"x\n", |reference| {
            reference.mode = Some(FileMode::new(0o666).unwrap());
        })
        .build();
        world.start(&order).await;
        world.runtime.wait(order.task.id).await.unwrap();
        let stdout = LogOptions { stderr: false, ..all() };
        assert_eq!(world.lines(order.task.id, stdout).await, ["x"]);
    }
}

mod as_root {
    use super::*;
    use secretd::model::reference::Owner;
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};

    fn need_root() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(
            status.contains("CapEff:\t") && !status.contains("CapEff:\t0000000000000000"),
            "run these tests as root: they start processes as several users"
        );
    }

    #[tokio::test]
    async fn a_task_runs_as_its_user_and_owns_its_files() {
        need_root();
        let world = World::new();
        let order = shell(
            "id -u; id -g; id -G; stat -c '%u:%g %a' /run/secrets/mine /run/secrets/other; cat /run/secrets/mine; \
             cat /run/secrets/other; grep CapEff /proc/self/status; echo $HOME",
        )
        .spec(|spec| {
            spec.user = "1234:5678".to_owned();
            spec.groups = vec!["99".to_owned()];
        })
        .secret("mine", b"mine\n")
        .file(Kind::Secret, "other", b"other\n", |reference| {
            reference.uid = Some(Owner::Name("daemon".to_owned()));
            reference.gid = Some(Owner::Id(7));
            reference.mode = Some(FileMode::new(0o640).unwrap());
        })
        .build();
        world.start(&order).await;
        world.runtime.wait(order.task.id).await.unwrap();
        let lines = world.lines(order.task.id, LogOptions { stderr: false, ..all() }).await;
        assert_eq!(
            lines,
            [
                "1234",
                "5678",
                "5678 99",
                "1234:5678 400",
                "1:7 640",
                "mine",
                "CapEff:\t0000000000000000",
                "/"
            ]
        );
    }

    #[tokio::test]
    async fn a_root_task_lacks_what_would_open_the_sandbox() {
        need_root();
        let world = World::new();
        let order = shell(
            "mount -t tmpfs x /mnt || echo no mount; umount /run/secrets/x || echo no umount; \
             mknod /dev/shm/x b 7 0 || echo no mknod; echo 1 > /proc/sys/vm/drop_caches || echo no sysctl",
        )
        .secret("x", b"x")
        .build();
        world.start(&order).await;
        world.runtime.wait(order.task.id).await.unwrap();
        let lines = world.lines(order.task.id, LogOptions { stderr: false, ..all() }).await;
        assert_eq!(lines, ["no mount", "no umount", "no mknod", "no sysctl"]);
    }

    /// In a user namespace whose limit of further ones is zero, without capabilities: as on a node that forbids them.
    #[tokio::test]
    async fn a_kernel_that_forbids_it_is_told_with_what_to_do() {
        const INSIDE: &str = "SECRETD_TEST_FORBIDDEN";
        if std::env::var_os(INSIDE).is_some() {
            let error = World::new().runtime.check().await.unwrap_err();
            println!("it said: {error}");
            return;
        }
        need_root();
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                      exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
        let ran = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact"])
            .arg("as_root::a_kernel_that_forbids_it_is_told_with_what_to_do")
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr);
        assert!(text.contains("it said: the process runtime cannot work here: "), "{text}");
        assert!(text.contains("sysctl -w user.max_user_namespaces=10000"), "{text}");
    }

    /// Runs all of `anyone` as a user without any rights, from copies that such a user may execute.
    #[test]
    fn everything_holds_without_root() {
        need_root();
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let copy = |from: &Path, name: &str| {
            let to = dir.path().join(name);
            std::fs::copy(from, &to).unwrap();
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).unwrap();
            to
        };
        let tests = copy(&std::env::current_exe().unwrap(), "tests");
        let program = copy(Path::new(env!("CARGO_BIN_EXE_secretd")), "secretd");
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        std::os::unix::fs::chown(&scratch, Some(65534), Some(65534)).unwrap();
        let ran = std::process::Command::new(tests)
            .arg("anyone::")
            .env(PROGRAM, program)
            .env("TMPDIR", &scratch)
            .current_dir("/")
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{text}");
        assert!(text.contains("the_kernel_lets_us ... ok"), "{text}");
    }
}
