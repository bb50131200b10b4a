//! The same job on a real Docker Engine.

use crate::{
    door::Door,
    world::{World, docker_host, files_with, until},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const CANARY: &[u8] = b"canary-c0ffee42-in-a-container";
const IMAGE: &str = "secretd-test:1";

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", &docker_host()]).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn world() -> World {
    let mut world = World::with_runtime("docker");
    world.start();
    world.init();
    world
}

fn containers(service: &str) -> Vec<String> {
    let filter = format!("name=^{service}\\.");
    docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
}

fn gone(world: &World, service: &str) {
    world.ctl(["service", "rm", service]).ok();
    until("the containers to be gone", || containers(service).is_empty().then_some(()));
}

#[test]
fn a_container_sees_its_files_with_owner_and_mode_and_nobody_else_sees_the_value() {
    let world = world();
    world.ctl_with(["create", "s", "-"], CANARY).ok();
    world.ctl_with(["config", "create", "c", "-"], b"hello").ok();
    let script = "stat -c '%n %u:%g %a' /app/key /run/secrets/s /c /run/secrets/n; cat /c; touch /app/key && echo writable; echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    world
        .ctl([
            "service",
            "create",
            "--name",
            "d1",
            "--user",
            "1000",
            "--secret",
            "src=s,target=/app/key,uid=0,gid=0,mode=0444",
            "--secret",
            "s",
            "--secret",
            "src=s,target=n,uid=nobody,gid=root,mode=0440",
            "--config",
            "c",
            IMAGE,
            "sh",
            "-c",
            script,
        ])
        .ok();
    let seen = world.output_with("d1", "ready");
    assert!(seen.contains("/app/key 0:0 444"), "{seen}");
    assert!(seen.contains("/run/secrets/s 1000:"), "the container's user owns it: {seen}");
    assert!(
        seen.lines().any(|l| l.starts_with("/run/secrets/s ") && l.ends_with(" 400")),
        "{seen}"
    );
    assert!(
        seen.lines().any(|l| l.starts_with("/run/secrets/n ") && l.ends_with(":0 440")),
        "{seen}"
    );
    assert!(seen.contains("/c ") && seen.contains("hello"), "{seen}");
    assert!(!seen.contains("writable"), "{seen}");

    let id = containers("d1").pop().unwrap();
    let inspect = docker(&["inspect", &id]);
    assert!(
        !inspect.contains(std::str::from_utf8(CANARY).unwrap()),
        "the engine's definition holds no value"
    );
    assert_eq!(files_with(&world.data_dir(), CANARY), Vec::<PathBuf>::new());
    assert_eq!(files_with(&world.path("log"), CANARY), Vec::<PathBuf>::new());
    let placed = files_with(&world.path("run"), CANARY);
    assert!(!placed.is_empty(), "on the host it lies on the tmpfs");
    for path in placed {
        let fs = rustix::fs::statfs(&path).unwrap();
        assert_eq!(fs.f_type, 0x0102_1994, "{} is on tmpfs", path.display());
    }
    let root = docker(&["info", "--format", "{{.DockerRootDir}}"]);
    assert_eq!(files_with(Path::new(root.trim()), CANARY), Vec::<PathBuf>::new());
    gone(&world, "d1");
    until("the files to be gone", || {
        files_with(&world.path("run"), CANARY).is_empty().then_some(())
    });
}

#[test]
fn a_restart_of_the_daemon_restarts_no_container_and_loses_no_file() {
    let mut world = world();
    world.ctl_with(["create", "s", "-"], CANARY).ok();
    let script = "echo started; trap 'exit 0' TERM; while :; do cat </run/secrets/s >/dev/null || echo LOST; sleep 0.1; done";
    world
        .ctl(["service", "create", "--name", "d2", "--secret", "s", IMAGE, "sh", "-c", script])
        .ok();
    let before = containers("d2");
    assert_eq!(before.len(), 1);
    for gentle in [true, false] {
        if gentle {
            assert_eq!(world.stop(), 0);
        } else {
            world.kill();
        }
        world.start();
        until("the task to be reported again", || {
            let tasks = world.tasks("d2");
            (tasks.len() == 1 && tasks[0].1.starts_with("Running")).then_some(())
        });
        assert_eq!(containers("d2"), before);
    }
    let seen = world.output_with("d2", "started");
    assert_eq!(seen.matches("started").count(), 1);
    assert!(!seen.contains("LOST"), "{seen}");
    gone(&world, "d2");
}

#[test]
fn a_missing_image_is_told_in_service_ps() {
    let world = world();
    world.ctl(["service", "create", "--detach", "--name", "d3", "no-such-image:9", "true"]).ok();
    until("a rejected task", || {
        world
            .tasks("d3")
            .iter()
            .any(|t| t.1.starts_with("Rejected") && t.2.contains("no-such-image:9"))
            .then_some(())
    });
    gone(&world, "d3");
}

#[test]
fn an_exit_status_is_told_and_the_orchestrator_restarts_not_the_engine() {
    let world = world();
    world.ctl(["service", "create", "--detach", "--name", "d4", IMAGE, "sh", "-c", "exit 7"]).ok();
    until("a failed task", || {
        world
            .tasks("d4")
            .iter()
            .any(|t| t.1.starts_with("Failed") && t.2.contains('7'))
            .then_some(())
    });
    let id = containers("d4").pop().unwrap();
    assert_eq!(
        docker(&["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", &id]).trim(),
        "no"
    );
    gone(&world, "d4");
}

#[test]
fn the_demo_works_on_docker_too() {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new(crate::world::SECRETCTL)
        .args(["demo", "--runtime", "docker", "--docker-host", &docker_host(), "--image", IMAGE])
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(containers("nerd-dinner_").is_empty());
}

#[test]
fn while_the_engine_is_stopped_tasks_say_so_and_afterwards_they_go_on() {
    let mut world = World::with_engine_at("engine.sock");
    let mut door = Door::to_engine(&world.path("engine.sock"));
    world.start();
    world.init();
    world.ctl_with(["create", "s", "-"], CANARY).ok();
    let script =
        "test -s /run/secrets/s || exit 9; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let command = [IMAGE, "sh", "-c", script];
    let create = |world: &World, name: &str| {
        let service = ["service", "create", "--detach", "--name", name, "--secret", "s"];
        world.ctl(service.into_iter().chain(command)).ok();
    };
    let running = |world: &World, name: &str| {
        until("a running task", || {
            let tasks = world.tasks(name);
            (tasks.len() == 1 && tasks[0].1.starts_with("Running")).then_some(())
        });
    };
    create(&world, "d5");
    running(&world, "d5");
    let before = containers("d5");

    door.close();
    create(&world, "d6");
    until("a task that says what it waits for", || {
        world
            .tasks("d6")
            .iter()
            .any(|(_, state, error)| {
                // It was placed before the engine was missed, or it waits for a node that can work.
                state.starts_with("Preparing")
                    && error.contains("engine.sock")
                    && error.contains("is it running")
                    || state.starts_with("Pending")
                        && error.contains("the runtime does not work on 1 node")
            })
            .then_some(())
    });
    let status = world.ctl(["status"]).ok();
    assert!(status.contains("engine.sock"), "{status}");
    assert_eq!(world.tasks("d5").len(), 1, "what runs is none the worse");
    assert_eq!(containers("d5"), before);
    // The store needs no engine, and neither does a start.
    world.ctl_with(["create", "t", "-"], b"x").ok();
    assert_eq!(world.stop(), 0);
    world.start();
    until("the node to say that its engine does not answer", || {
        let said = world.ctl(["node", "ls", "--format", "{{.Status}} {{.EngineVersion}}"]);
        (said.out.trim() == "Not ready no answer").then_some(())
    });

    door.open();
    running(&world, "d6");
    running(&world, "d5");
    assert_eq!(containers("d5"), before, "nothing was restarted");
    world.ctl(["inspect", "s", "t"]).ok();
    gone(&world, "d5");
    gone(&world, "d6");
    door.close();
}
