//! Containers and images that want more than their own files.

use crate::world::{World, docker_host, until};
use std::{fs, process::Command};

const IMAGE: &str = "secretd-test:1";
/// A task that reads its file until it is asked to end.
const READER: &str = "trap 'exit 0' TERM; while cat /run/secrets/s >/dev/null; do echo reads; sleep 0.2; done; echo LOST";

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", &docker_host()]).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn world() -> World {
    let mut world = World::with_runtime("docker");
    world.start();
    world.init();
    world.ctl_with(["create", "s", "-"], b"canary-of-a-container").ok();
    world
}

fn container(service: &str) -> String {
    docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("name=^{service}\\.")])
}

fn runs(world: &World, service: &str) {
    until("a running task", || {
        let tasks = world.tasks(service);
        (tasks.len() == 1 && tasks[0].1.starts_with("Running")).then_some(())
    });
}

fn gone(world: &World, service: &str) {
    world.ctl(["service", "rm", service]).ok();
    until("the containers to be gone", || container(service).is_empty().then_some(()));
}

/// The remount changes the filesystem under the file, not only the container's own mount of it.
#[test]
fn a_container_that_makes_its_filesystem_read_only_stops_no_other_tasks_delivery() {
    let mut world = world();
    let hostile = format!("mount -o remount,ro none /run/secrets/s && echo remounted; {READER}");
    let service = |world: &World, name: &str| {
        let before = ["service", "create", "--detach", "--name", name, "--secret", "s"];
        world.ctl(before.iter().chain(&[IMAGE, "sh", "-c", READER])).ok();
        runs(world, name);
        world.output_with(name, "reads");
    };
    let stack = serde_json::json!({
        "services": {"a1": {
            "image": IMAGE,
            "command": ["sh", "-c", hostile.replace('$', "$$")],
            "cap_add": ["SYS_ADMIN"],
            "secrets": ["s"],
        }},
        "secrets": {"s": {"external": true}},
    });
    world
        .ctl_with(["stack", "deploy", "--detach", "-c", "-", "x"], stack.to_string().as_bytes())
        .ok();
    world.output_with("x_a1", "remounted");
    let before = container("x_a1");
    service(&world, "a2");

    // What the next agent adopts it looks at first, and it restarts nobody for it.
    world.kill();
    world.start();
    runs(&world, "x_a1");
    assert_eq!(container("x_a1"), before);
    until("the log to name the task", || {
        let log = fs::read_to_string(world.path("log")).unwrap();
        log.contains("somebody had made its tmpfs read-only").then_some(())
    });
    service(&world, "a3");
    let seen = world.output_with("x_a1", "reads");
    assert!(!seen.contains("LOST"), "{seen}");
    for service in ["x_a1", "a2", "a3"] {
        gone(&world, service);
    }
    until("nothing to be left of the files", || {
        fs::read_dir(world.path("run/place")).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn an_image_with_our_labels_gets_no_container_deleted_or_taken_for_ours() {
    let mut world = world();
    let node = world.ctl(["node", "ls", "-q"]).ok().trim().to_owned();
    let node = docker_label_of(&world, &node);
    let (task, image) = ("0123456789abcdefghijklmno", "secretd-test-labels:1");
    let made = docker(&["create", IMAGE, "true"]);
    let change = format!("LABEL io.secretd.probe=1 io.secretd.node={node} io.secretd.task={task}");
    docker(&["commit", "--change", &change, &made, image]);
    docker(&["rm", &made]);
    let args = ["service", "create", "--detach", "--name", "a4", "--secret", "s"];
    world.ctl(args.iter().chain(&[image, "sh", "-c", READER])).ok();
    runs(&world, "a4");
    let before = container("a4");
    // Somebody else on this machine runs the image too, as what it is.
    let stranger = docker(&["run", "-d", image, "sleep", "600"]);
    world.kill();
    world.start();
    until("the log to name the container", || {
        let log = fs::read_to_string(world.path("log")).unwrap();
        let mut lines = log.lines().filter(|line| line.contains("not a name of ours"));
        lines.any(|line| line.contains(&stranger)).then_some(())
    });
    runs(&world, "a4");
    assert_eq!(container("a4"), before);
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &stranger]), "true");
    gone(&world, "a4");
    docker(&["rm", "-f", &stranger]);
    docker(&["rmi", image]);
}

/// The node's whole id, as its containers have it.
fn docker_label_of(world: &World, node: &str) -> String {
    let shown = world.json(["node", "inspect", node]);
    shown[0]["ID"].as_str().unwrap().to_owned()
}
