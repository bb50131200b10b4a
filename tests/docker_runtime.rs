//! The docker runtime against a real engine: `scripts/test` finds or starts one and names it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly too")]

use bollard::{
    Docker,
    query_parameters::{
        CreateImageOptions, InspectContainerOptions, ListContainersOptions, ListVolumesOptions,
        RemoveContainerOptions, RemoveImageOptions,
    },
};
use futures::{StreamExt, TryStreamExt};
use secretd::{
    agent::{
        place::Place,
        runtime::{
            ContainerState, Exit, File, LogLine, LogOptions, Order, Output, Runtime, RuntimeError,
            docker::DockerRuntime,
        },
    },
    crypto::plaintext::Plaintext,
    kit::{
        clock::{Clock, Timestamp},
        id::{NodeId, ObjectId, ServiceId, TaskId},
    },
    model::{
        Labels, Meta,
        object::Kind,
        reference::{FileMode, OnChange, Owner, Reference, Target, VersionPick},
        service::{
            ContainerSpec, Healthcheck, Mount, MountKind, Port, Protocol, Resources, STACK_LABEL,
            TaskSpec,
        },
        task::{Task, TaskState, TaskStatus},
    },
};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

const IMAGE: &str = "secretd-test:1";
const CANARY: &str = "canary-6f1c0d";

/// A node of its own on the engine, with a run directory of its own. Leaves nothing behind.
struct World {
    host: String,
    node: NodeId,
    runtime: DockerRuntime,
    docker: Docker,
    run_dir: tempfile::TempDir,
    images: Vec<String>,
}

impl World {
    fn start() -> Self {
        let host = std::env::var("SECRETD_TEST_DOCKER_HOST").unwrap_or_else(|_| {
            panic!(
                "these tests need a Docker Engine: run scripts/test, or eval \"$(scripts/docker up)\" before"
            )
        });
        let node = NodeId::random();
        let run_dir = tempfile::tempdir().unwrap();
        let runtime = DockerRuntime::new(&host, node, Place::open(run_dir.path()).unwrap());
        let docker = Docker::connect_with_host(&host).unwrap();
        Self { host, node, runtime, docker, run_dir, images: Vec::new() }
    }

    /// The agent of the same node after a restart.
    fn restart(&mut self) {
        let place = Place::open(self.run_dir.path()).unwrap();
        self.runtime = DockerRuntime::new(&self.host, self.node, place);
    }

    async fn docker(&self) -> Docker {
        self.docker.clone().negotiate_version().await.unwrap()
    }

    /// Makes and starts the task, waits for its end, and returns what it wrote.
    async fn run(&self, order: &Order) -> (Exit, String) {
        self.runtime.create(order).await.unwrap();
        self.runtime.start(order.task.id).await.unwrap();
        let exit = self.runtime.wait(order.task.id).await.unwrap();
        (exit, text(&self.output(order.task.id, LogOptions::default()).await))
    }

    async fn output(&self, task: TaskId, options: LogOptions) -> Vec<LogLine> {
        let options = LogOptions { stdout: true, stderr: true, ..options };
        self.runtime.logs(task, options).await.unwrap().try_collect().await.unwrap()
    }

    /// The test image with another `/etc/passwd` and what `change` says.
    async fn image(&mut self, change: &str, entries: &[(&str, Entry<'_>)]) -> String {
        let docker = self.docker().await;
        let name = format!("secretd-test-{}:1", TaskId::random());
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(name.trim_end_matches(":1").to_owned()),
            tag: Some("1".to_owned()),
            changes: vec![change.to_owned(), "ENV PATH=/bin".to_owned()],
            ..Default::default()
        };
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find_map(|path| std::fs::read(path).ok())
            .expect("busybox-static is installed by scripts/docker");
        let mut tar = Vec::new();
        for dir in ["bin", "etc", "usr"] {
            tar_entry(&mut tar, dir, b'5', "", b"");
        }
        tar_entry(&mut tar, "bin/busybox", b'0', "", &busybox);
        tar_entry(&mut tar, "bin/sh", b'2', "busybox", b"");
        for (path, entry) in entries {
            match entry {
                Entry::Text(text) => tar_entry(&mut tar, path, b'0', "", text.as_bytes()),
                Entry::Link(to) => tar_entry(&mut tar, path, b'2', to, b""),
            }
        }
        tar.resize(tar.len() + 1024, 0);
        let body = bollard::body_full(tar.into());
        let steps = docker.create_image(Some(options), Some(body), None);
        steps.try_collect::<Vec<_>>().await.unwrap();
        self.images.push(name.clone());
        name
    }
}

enum Entry<'a> {
    Text(&'a str),
    Link(&'a str),
}

fn tar_entry(tar: &mut Vec<u8>, path: &str, kind: u8, link: &str, body: &[u8]) {
    let mut header = [0; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[100..107].copy_from_slice(b"0000755");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(body);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Removes the node's containers and images and unmounts its place, also after a failed test.
impl Drop for World {
    fn drop(&mut self) {
        let (docker, node, images) =
            (self.docker.clone(), self.node, std::mem::take(&mut self.images));
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let Ok(docker) = docker.negotiate_version().await else { return };
                for id in containers(&docker, &format!("io.secretd.node={node}")).await {
                    let options = RemoveContainerOptions { force: true, v: true, link: false };
                    docker.remove_container(&id, Some(options)).await.ok();
                }
                for image in images {
                    let options = RemoveImageOptions { force: true, ..Default::default() };
                    docker.remove_image(&image, Some(options), None).await.ok();
                }
            });
        });
        cleaner.join().unwrap();
        for mounted in std::fs::read_dir(self.run_dir.path().join("place")).into_iter().flatten() {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(mounted.unwrap().path(), flags).ok();
        }
    }
}

async fn containers(docker: &Docker, label: &str) -> Vec<String> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
        ..Default::default()
    };
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|c| c.id).collect()
}

fn spec(script: &str) -> ContainerSpec {
    ContainerSpec {
        image: IMAGE.to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned()],
        args: vec![script.to_owned()],
        ..Default::default()
    }
}

fn order(container: ContainerSpec) -> Order {
    order_of(TaskSpec { container, ..Default::default() }, Vec::new())
}

fn order_of(spec: TaskSpec, files: Vec<File>) -> Order {
    let task = Task {
        id: TaskId::random(),
        meta: Meta::default(),
        service: ServiceId::random(),
        service_name: "web".parse().unwrap(),
        service_labels: Labels::from([(STACK_LABEL.to_owned(), "shop".to_owned())]),
        slot: 1,
        node: None,
        spec: Arc::new(spec),
        spec_index: 1,
        versions: Vec::new(),
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
    Order { task: Arc::new(task), files }
}

fn file(kind: Kind, name: &str, target: &str) -> File {
    File {
        reference: Reference {
            kind,
            object: ObjectId::random(),
            name: name.parse().unwrap(),
            version: VersionPick::Latest,
            target: Target::parse(kind, target).unwrap(),
            uid: None,
            gid: None,
            mode: None,
            on_change: OnChange::Keep,
        },
        payload: Arc::new(Plaintext::new(format!("{CANARY}-{name}").into_bytes())),
    }
}

fn with_files(container: ContainerSpec, files: Vec<File>) -> Order {
    let references = files.iter().map(|f| f.reference.clone()).collect();
    order_of(TaskSpec { container, references, ..Default::default() }, files)
}

fn text(lines: &[LogLine]) -> String {
    let lines: Vec<_> = lines.iter().map(|l| String::from_utf8_lossy(&l.line)).collect();
    lines.join("\n")
}

fn rejected(error: RuntimeError) -> String {
    match error {
        RuntimeError::Rejected(why) => why,
        other => panic!("expected a rejection, got: {other}"),
    }
}

fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .map_or(0, |entries| entries.map(|e| e.unwrap()).map(|e| 1 + files_in(&e.path())).sum())
}

#[tokio::test]
async fn files_are_at_their_targets_before_the_process_starts() {
    let world = World::start();
    let mut deep = file(Kind::Secret, "deep", "/app/sub/deep");
    deep.reference.uid = Some(Owner::Id(1000));
    deep.reference.gid = Some(Owner::Id(2000));
    deep.reference.mode = Some(FileMode::new(0o440).unwrap());
    let order = with_files(
        spec(
            "for f in /run/secrets/db /etc/app.conf /app/sub/deep; do stat -c '%n %u:%g %a' $f; cat $f; echo; done; \
             touch /run/secrets/db 2>&1; echo x 2>&1 >/etc/app.conf; mount | grep -c 'secrets/db.*ro,'",
        ),
        vec![file(Kind::Secret, "db", "db"), file(Kind::Config, "conf", "etc/app.conf"), deep],
    );
    let (exit, output) = world.run(&order).await;
    assert_eq!(exit, Exit { code: 0, note: String::new() }, "{output}");
    assert_eq!(
        output,
        "/run/secrets/db 0:0 400\ncanary-6f1c0d-db\n/etc/app.conf 0:0 444\ncanary-6f1c0d-conf\n\
         /app/sub/deep 1000:2000 440\ncanary-6f1c0d-deep\n\
         touch: /run/secrets/db: Read-only file system\n\
         sh: can't create /etc/app.conf: Read-only file system\n1"
    );
}

#[tokio::test]
async fn the_engine_knows_no_payload() {
    let world = World::start();
    let order = with_files(spec("sleep 1000"), vec![file(Kind::Secret, "db", "db")]);
    world.runtime.create(&order).await.unwrap();
    let state = world.runtime.start(order.task.id).await.unwrap();
    let ContainerState::Running { container_id, pid } = state else { panic!("{state:?}") };
    assert!(pid > 0);
    let docker = world.docker().await;
    let found =
        docker.inspect_container(&container_id, None::<InspectContainerOptions>).await.unwrap();
    let definition = serde_json::to_string(&found).unwrap();
    assert!(!definition.contains(CANARY), "{definition}");
    assert_eq!(found.name.as_deref(), Some(&*format!("/web.1.{}", order.task.id)));
    let labels = found.config.unwrap().labels.unwrap();
    assert_eq!(labels["io.secretd.task"], order.task.id.to_string());
    assert_eq!(labels["io.secretd.service.name"], "web");
    assert_eq!(labels[STACK_LABEL], "shop");
    // Nor does the container's own layer: a commit would not carry it away.
    let mut layer = docker.export_container(&container_id);
    let mut exported = Vec::new();
    while let Some(part) = layer.next().await {
        exported.extend_from_slice(&part.unwrap());
    }
    assert!(!exported.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
}

#[tokio::test]
async fn a_file_belongs_to_the_user_the_container_runs_as() {
    let world = World::start();
    let container = ContainerSpec {
        user: "app".to_owned(),
        ..spec("id -u; stat -c '%u:%g %a' /run/secrets/db; cat /run/secrets/db")
    };
    let (exit, output) =
        world.run(&with_files(container, vec![file(Kind::Secret, "db", "db")])).await;
    assert_eq!((exit.code, &*output), (0, "1000\n1000:1000 400\ncanary-6f1c0d-db"));
}

#[tokio::test]
async fn names_are_looked_up_in_the_image_through_its_own_links_and_none_lead_outside() {
    let mut world = World::start();
    let image = world
        .image(
            "USER svc",
            &[
                ("etc/passwd", Entry::Link("../../../../usr/passwd")),
                ("usr/passwd", Entry::Link("passwd.real")),
                ("usr/passwd.real", Entry::Text("svc:x:777:778::/:\n")),
                ("etc/group", Entry::Text("readers:x:555:\n")),
            ],
        )
        .await;
    let mut named = file(Kind::Secret, "b", "b");
    named.reference.uid = Some(Owner::Name("svc".to_owned()));
    named.reference.gid = Some(Owner::Name("readers".to_owned()));
    let script = "/bin/busybox stat -c '%u:%g %a' /run/secrets/a /run/secrets/b";
    let container = ContainerSpec { image, ..spec(script) };
    let order = with_files(container, vec![file(Kind::Secret, "a", "a"), named]);
    let (exit, output) = world.run(&order).await;
    assert_eq!((exit.code, &*output), (0, "777:778 400\n777:555 400"));
}

#[tokio::test]
async fn an_owner_the_image_does_not_know_is_named_before_anything_is_made() {
    let world = World::start();
    let mut secret = file(Kind::Secret, "db", "db");
    secret.reference.uid = Some(Owner::Name("ghost".to_owned()));
    let order = with_files(spec("true"), vec![secret]);
    let why = rejected(world.runtime.create(&order).await.unwrap_err());
    assert!(why.contains("secret db") && why.contains("no user 'ghost'"), "{why}");
    assert_eq!(world.runtime.held().await.unwrap(), []);
    let label = format!("io.secretd.node={}", world.node);
    assert_eq!(containers(&world.docker().await, &label).await, [""; 0], "the probe is gone too");
    assert_eq!(files_in(&world.run_dir.path().join("place")), 0);
}

#[tokio::test]
async fn a_missing_image_is_rejected_by_name() {
    let world = World::start();
    for image in ["secretd.invalid/none:7", "no?such"] {
        let container = ContainerSpec { image: image.to_owned(), ..spec("true") };
        let order = with_files(container, vec![file(Kind::Secret, "db", "db")]);
        let why = rejected(world.runtime.create(&order).await.unwrap_err());
        assert!(why.contains(image), "{why}");
        assert_eq!(files_in(&world.run_dir.path().join("place")), 0, "no payload for nothing");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_with_the_engines_words() {
    let world = World::start();
    let container = ContainerSpec { command: vec!["/no/such".to_owned()], ..spec("") };
    let order = order(container);
    world.runtime.create(&order).await.unwrap();
    let why = rejected(world.runtime.start(order.task.id).await.unwrap_err());
    assert!(why.contains("/no/such"), "{why}");
}

#[tokio::test]
async fn a_missing_bind_source_is_rejected_and_leaves_no_file() {
    let world = World::start();
    let mount = Mount {
        kind: MountKind::Bind,
        source: "/no/such/dir".to_owned(),
        target: "/data".to_owned(),
        read_only: false,
    };
    let container = ContainerSpec { mounts: vec![mount], ..spec("true") };
    let order = with_files(container, vec![file(Kind::Secret, "db", "db")]);
    let why = rejected(world.runtime.create(&order).await.unwrap_err());
    assert!(why.contains("/no/such/dir"), "{why}");
    assert_eq!(files_in(&world.run_dir.path().join("place")), 0);
}

#[tokio::test]
async fn what_the_spec_says_is_what_the_container_has() {
    let world = World::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("f"), "from the host").unwrap();
    let mount = |kind, source: &str, target: &str, read_only| Mount {
        kind,
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    let container = ContainerSpec {
        env: vec!["A=1=2".to_owned(), "EMPTY".to_owned()],
        dir: "/tmp".to_owned(),
        user: "1000:1000".to_owned(),
        groups: vec!["readers".to_owned()],
        hostname: "box".to_owned(),
        read_only: true,
        init: Some(true),
        stop_signal: "SIGINT".to_owned(),
        mounts: vec![
            mount(MountKind::Bind, host.path().to_str().unwrap(), "/host", true),
            mount(MountKind::Volume, "", "/vol", false),
            mount(MountKind::Tmpfs { size: 65536, mode: 0o1777 }, "", "/scratch", false),
        ],
        hosts: vec!["db.local:10.1.2.3".to_owned()],
        cap_drop: vec!["CHOWN".to_owned()],
        ..spec(
            "echo $A ${EMPTY-unset}; pwd; id -u; id -G; hostname; cat /host/f; echo; touch /x 2>&1; \
             df -k /scratch | tail -1 | awk '{print $2}'; grep db.local /etc/hosts; cat /proc/1/comm; \
             mount | grep -c ' /vol '",
        )
    };
    let spec = TaskSpec {
        container,
        resources: Resources {
            limit_nano_cpus: 500_000_000,
            limit_memory_bytes: 64 << 20,
            limit_pids: 50,
            ..Default::default()
        },
        ports: vec![Port { target: 80, published: 0, protocol: Protocol::Udp }],
        ..Default::default()
    };
    let order = order_of(spec, Vec::new());
    let (exit, output) = world.run(&order).await;
    assert_eq!(exit.code, 0, "{output}");
    assert_eq!(
        output,
        "1=2\n/tmp\n1000\n1000 2000\nbox\nfrom the host\ntouch: /x: Read-only file system\n64\n10.1.2.3\tdb.local\ndocker-init\n1"
    );
    let docker = world.docker().await;
    let name = order.task.name();
    let found = docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
    let config = found.config.unwrap();
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    let host = found.host_config.unwrap();
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.pids_limit, Some(50));
    assert_eq!(host.cap_drop.unwrap(), ["CHOWN"]);
    assert!(host.port_bindings.unwrap().contains_key("80/udp"));
    assert_eq!(host.restart_policy.unwrap().name.unwrap().to_string(), "no");
}

#[tokio::test]
async fn the_exit_status_comes_back_and_running_out_of_memory_says_so() {
    let world = World::start();
    let (exit, _) = world.run(&order(spec("exit 7"))).await;
    assert_eq!(exit, Exit { code: 7, note: String::new() });
    let hungry = TaskSpec {
        container: spec("exec tail /dev/zero"),
        resources: Resources { limit_memory_bytes: 8 << 20, ..Default::default() },
        ..Default::default()
    };
    let (exit, _) = world.run(&order_of(hungry, Vec::new())).await;
    assert_eq!(exit, Exit { code: 137, note: "out of memory".to_owned() });
}

#[tokio::test]
async fn a_task_is_asked_to_stop_and_killed_after_its_grace() {
    let world = World::start();
    let polite = order(spec("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"));
    let deaf = order(spec("trap '' TERM; echo up; while :; do sleep 0.1; done"));
    for order in [&polite, &deaf] {
        world.runtime.create(order).await.unwrap();
        world.runtime.start(order.task.id).await.unwrap();
        // The trap is set once it says so.
        let options = LogOptions { follow: true, stdout: true, ..Default::default() };
        let mut lines = world.runtime.logs(order.task.id, options).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().line, b"up");
    }
    let exit = world.runtime.stop(polite.task.id, Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit.code, 3);
    let exit = world.runtime.stop(deaf.task.id, Duration::from_millis(1)).await.unwrap();
    assert_eq!(exit.code, 137);
    // Once more changes nothing.
    let exit = world.runtime.stop(polite.task.id, Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit.code, 3);
}

fn check(test: &str, retries: u64) -> Option<Healthcheck> {
    Some(Healthcheck {
        test: vec!["CMD-SHELL".to_owned(), test.to_owned()],
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        start_period: Duration::ZERO,
        retries,
    })
}

#[tokio::test]
async fn a_checked_task_runs_only_once_it_is_well() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    let container = ContainerSpec {
        healthcheck: check("test -e /shared/well", 1000),
        mounts: vec![Mount {
            kind: MountKind::Bind,
            source: dir.path().to_str().unwrap().to_owned(),
            target: "/shared".to_owned(),
            read_only: true,
        }],
        ..spec("sleep 1000")
    };
    let order = order(container);
    world.runtime.create(&order).await.unwrap();
    let mut start = world.runtime.start(order.task.id);
    assert!(
        tokio::time::timeout(Duration::from_millis(1500), &mut start).await.is_err(),
        "it must not count as running before its check has passed"
    );
    std::fs::write(dir.path().join("well"), "").unwrap();
    let state = start.await.unwrap();
    assert!(matches!(state, ContainerState::Running { .. }), "{state:?}");
}

#[tokio::test]
async fn a_task_its_check_gives_up_is_stopped() {
    let world = World::start();
    let container = ContainerSpec { healthcheck: check("exit 1", 2), ..spec("exec sleep 1000") };
    let order1 = order(ContainerSpec { stop_signal: "SIGKILL".to_owned(), ..container });
    world.runtime.create(&order1).await.unwrap();
    let state = world.runtime.start(order1.task.id).await.unwrap();
    let ContainerState::Ended(exit) = state else { panic!("{state:?}") };
    assert_eq!(exit, Exit { code: 137, note: "unhealthy container".to_owned() });

    let container = ContainerSpec {
        healthcheck: check("rm /tmp/well", 2),
        stop_signal: "SIGKILL".to_owned(),
        ..spec("touch /tmp/well; exec sleep 1000")
    };
    let order2 = order(container);
    world.runtime.create(&order2).await.unwrap();
    let state = world.runtime.start(order2.task.id).await.unwrap();
    assert!(matches!(state, ContainerState::Running { .. }), "{state:?}");
    let exit = world.runtime.wait(order2.task.id).await.unwrap();
    assert_eq!(exit.note, "unhealthy container");
}

#[tokio::test]
async fn output_comes_by_stream_by_tail_by_time_and_live() {
    let world = World::start();
    let order1 =
        order(spec("echo one; sleep 0.05; echo two >&2; sleep 1.1; echo three; printf four"));
    let (_, _) = world.run(&order1).await;
    let all = world.output(order1.task.id, LogOptions::default()).await;
    assert_eq!(text(&all), "one\ntwo\nthree\nfour");
    assert_eq!(all[1].output, Output::Stderr);
    let now = Clock::system().now();
    assert!(all.iter().all(|l| now.since(l.at) < Duration::from_secs(60)), "{all:?}");
    let tail = LogOptions { tail: Some(2), ..Default::default() };
    assert_eq!(text(&world.output(order1.task.id, tail).await), "three\nfour");
    let since = LogOptions { since: Some(all[2].at), ..Default::default() };
    assert_eq!(text(&world.output(order1.task.id, since).await), "three\nfour");
    let err = LogOptions { stderr: true, ..Default::default() };
    let lines: Vec<_> =
        world.runtime.logs(order1.task.id, err).await.unwrap().try_collect().await.unwrap();
    assert_eq!(text(&lines), "two");

    let container =
        ContainerSpec { tty: true, ..spec("echo from a terminal; read line; echo got $line") };
    let order2 = order(container);
    world.runtime.create(&order2).await.unwrap();
    world.runtime.start(order2.task.id).await.unwrap();
    let options = LogOptions { follow: true, stdout: true, stderr: true, ..Default::default() };
    let mut live = world.runtime.logs(order2.task.id, options).await.unwrap();
    assert_eq!(live.next().await.unwrap().unwrap().line, b"from a terminal");
    world.runtime.stop(order2.task.id, Duration::ZERO).await.unwrap();
    let rest: Vec<_> = live.try_collect().await.unwrap();
    assert!(rest.len() <= 1, "the stream ends with the task: {rest:?}");

    let long = "x".repeat(40_000);
    let (_, output) = world.run(&order(spec(&format!("echo {long}; echo end")))).await;
    assert_eq!(output, format!("{long}\nend"));
}

#[tokio::test]
async fn a_restarted_agent_finds_its_containers_and_their_files() {
    let mut world = World::start();
    let running = with_files(
        spec("while ! test -e /tmp/go; do sleep 0.1; done; cat /run/secrets/db"),
        vec![file(Kind::Secret, "db", "db")],
    );
    let created = with_files(spec("cat /run/secrets/db"), vec![file(Kind::Secret, "db", "db")]);
    let ended = order(spec("exit 4"));
    world.runtime.create(&running).await.unwrap();
    let before = world.runtime.start(running.task.id).await.unwrap();
    world.runtime.create(&created).await.unwrap();
    world.run(&ended).await;

    world.restart();
    let held: HashMap<_, _> =
        world.runtime.held().await.unwrap().into_iter().map(|h| (h.task, h.container)).collect();
    assert_eq!(held.len(), 3);
    assert_eq!(held[&running.task.id], before, "the same container, the same process");
    assert_eq!(held[&created.task.id], ContainerState::Created);
    assert_eq!(held[&ended.task.id], ContainerState::Ended(Exit { code: 4, note: String::new() }));
    // What runs goes on, with its file; asked again to be made and started, it does not start again.
    world.runtime.create(&running).await.unwrap();
    assert_eq!(world.runtime.start(running.task.id).await.unwrap(), before);
    let docker = world.docker().await;
    let exec = docker
        .create_exec(
            &running.task.name(),
            bollard::models::ExecConfig {
                cmd: Some(vec!["touch".to_owned(), "/tmp/go".to_owned()]),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    let detached = bollard::exec::StartExecOptions { detach: true, ..Default::default() };
    docker.start_exec(&exec.id, Some(detached)).await.unwrap();
    assert_eq!(world.runtime.wait(running.task.id).await.unwrap().code, 0);
    let output = world.output(running.task.id, LogOptions::default()).await;
    assert_eq!(text(&output), "canary-6f1c0d-db");
    // What was made before the restart is made again and starts.
    let (exit, output) = world.run(&created).await;
    assert_eq!((exit.code, &*output), (0, "canary-6f1c0d-db"));
    // Another node's agent on the same engine does not see them.
    let other = tempfile::tempdir().unwrap();
    let place = Place::open(other.path()).unwrap();
    let stranger = DockerRuntime::new(&world.host, NodeId::random(), place);
    assert_eq!(stranger.held().await.unwrap(), []);
    drop(stranger);
}

#[tokio::test]
async fn after_the_end_the_files_go_and_the_output_stays_until_all_goes() {
    let world = World::start();
    let volume = Mount {
        kind: MountKind::Volume,
        source: String::new(),
        target: "/vol".to_owned(),
        read_only: false,
    };
    let container = ContainerSpec { mounts: vec![volume], ..spec("cat /run/secrets/db") };
    let order = with_files(container, vec![file(Kind::Secret, "db", "db")]);
    let place = world.run_dir.path().join("place");
    world.run(&order).await;
    assert!(files_in(&place) > 0);
    world.runtime.wipe(order.task.id).await.unwrap();
    assert_eq!(files_in(&place), 0);
    let output = world.output(order.task.id, LogOptions::default()).await;
    assert_eq!(text(&output), "canary-6f1c0d-db");

    let docker = world.docker().await;
    let name = order.task.name();
    let found = docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
    let volume = found.mounts.unwrap().into_iter().find_map(|m| m.name).unwrap();
    world.runtime.remove(order.task.id).await.unwrap();
    world.runtime.remove(order.task.id).await.unwrap();
    assert_eq!(world.runtime.held().await.unwrap(), []);
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap();
    assert!(volumes.volumes.unwrap_or_default().iter().all(|v| v.name != volume));
    assert!(matches!(world.runtime.wait(order.task.id).await, Err(RuntimeError::Gone)));
    assert!(matches!(
        world.runtime.logs(order.task.id, LogOptions::default()).await,
        Err(RuntimeError::Gone)
    ));
}

#[tokio::test]
async fn a_removed_task_that_ran_is_gone_with_its_files() {
    let world = World::start();
    let order = with_files(spec("sleep 1000"), vec![file(Kind::Secret, "db", "db")]);
    world.runtime.create(&order).await.unwrap();
    world.runtime.start(order.task.id).await.unwrap();
    world.runtime.remove(order.task.id).await.unwrap();
    // Looked at first: asking what is held would wipe what nobody uses.
    assert_eq!(files_in(&world.run_dir.path().join("place")), 0);
    assert_eq!(world.runtime.held().await.unwrap(), []);
}

#[tokio::test]
async fn an_engine_that_comes_back_is_used_again() {
    let mut world = World::start();
    let Some(socket) = world.host.strip_prefix("unix://").map(str::to_owned) else {
        panic!("this test needs an engine at a unix:// address, not {}", world.host);
    };
    let link = world.run_dir.path().join("engine.sock");
    world.host = format!("unix://{}", link.display());
    world.restart();
    let error = world.runtime.info().await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Unreachable(why) if why.contains("engine.sock")),
        "{error}"
    );
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let info = world.runtime.info().await.unwrap();
    assert!(!info.version.is_empty());
    // And once more, after the version of the API was settled.
    std::fs::remove_file(&link).unwrap();
    let order = order(spec("true"));
    let error = world.runtime.create(&order).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable(_)), "{error}");
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    world.runtime.create(&order).await.unwrap();
}
