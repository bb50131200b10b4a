//! What the README promises a newcomer, step by step, on the process runtime.

use crate::world::{World, until};
use std::path::Path;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/nerd-dinner");

pub(crate) fn deploy_nerd_dinner(world: &World) {
    world.ctl_with(["create", "nerd-dinner-db-sa-password", "-"], b"N3rdD!nner-canary-4711").ok();
    world.ctl(["stack", "deploy", "-c", &format!("{EXAMPLE}/compose.yaml"), "nerd-dinner"]).ok();
}

#[test]
fn a_new_daemon_waits_for_init_and_says_so() {
    let mut world = World::new();
    world.start();
    assert_eq!(world.ctl(["status", "--format", "{{.State}}"]).ok().trim(), "inactive");
    let err = world.ctl_with(["create", "x", "-"], b"y").fails(7);
    assert!(err.contains("hint: ") && err.contains("secretctl init"), "{err}");
    world.init();
    assert_eq!(
        world.ctl(["status", "--format", "{{.State}} {{.Role}} {{.Leader}}"]).ok().trim(),
        "active manager true"
    );
    let again = world.ctl(["init"]);
    assert_ne!(again.code, 0);
    assert!(again.err.contains("already part of a cluster"), "{}", again.err);
}

#[test]
fn a_secret_reaches_the_task_at_its_target_and_is_shown_nowhere_else() {
    let world = World::initialised();
    deploy_nerd_dinner(&world);
    let services =
        world.ctl(["stack", "services", "--format", "{{.Name}} {{.Replicas}}", "nerd-dinner"]).ok();
    assert!(services.contains("nerd-dinner_db 1/1"), "{services}");
    assert!(services.contains("nerd-dinner_web"), "{services}");

    let inspect = world.ctl(["inspect", "nerd-dinner-db-sa-password"]).ok();
    assert!(!inspect.contains("canary") && !inspect.contains("\"Data\""), "{inspect}");
    let config = world.json(["config", "inspect", "nerd-dinner-config"]);
    assert!(config[0]["Spec"]["Data"].is_string(), "configs show their data: {config}");
    world.ctl(["stack", "rm", "nerd-dinner"]).ok();
    until("the stack to be gone", || {
        world.ctl(["service", "ls", "-q"]).ok().trim().is_empty().then_some(())
    });
}

#[test]
fn a_second_deploy_changes_nothing_and_restarts_nothing() {
    let world = World::initialised();
    deploy_nerd_dinner(&world);
    let tasks = |w: &World| w.ctl(["stack", "ps", "-q", "--no-trunc", "nerd-dinner"]).ok();
    let index =
        |w: &World| w.json(["service", "inspect", "nerd-dinner_db"])[0]["Version"]["Index"].clone();
    let (before, at) = (tasks(&world), index(&world));
    world.ctl(["stack", "deploy", "-c", &format!("{EXAMPLE}/compose.yaml"), "nerd-dinner"]).ok();
    assert_eq!(tasks(&world), before);
    assert_eq!(index(&world), at);
}

#[test]
fn services_that_left_the_file_go_with_prune() {
    let world = World::initialised();
    let two = world.file("two.yaml", "services:\n  a: {image: x, command: [sleep, '1000']}\n  b: {image: x, command: [sleep, '1000']}\n");
    let one = world.file("one.yaml", "services:\n  a: {image: x, command: [sleep, '1000']}\n");
    world.ctl(["stack", "deploy", "-c", &two, "s"]).ok();
    world.ctl(["stack", "deploy", "-c", &one, "s"]).ok();
    let names = |w: &World| w.ctl(["service", "ls", "--format", "{{.Name}}"]).ok();
    assert!(names(&world).contains("s_b"));
    world.ctl(["stack", "deploy", "--prune", "-c", &one, "s"]).ok();
    assert_eq!(names(&world).trim(), "s_a");
}

#[test]
fn a_missing_external_secret_fails_the_deploy_before_anything_is_made() {
    let world = World::initialised();
    let file = world.file(
        "c.yaml",
        "services:\n  a: {image: x, command: [sleep, '9'], secrets: [nope]}\nsecrets: {nope: {external: true}}\nconfigs: {c: {content: hello}}\n",
    );
    let said = world.ctl(["stack", "deploy", "-c", &file, "s"]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("nope") && said.err.contains('a'), "{}", said.err);
    assert!(world.ctl(["service", "ls", "-q"]).ok().trim().is_empty());
    assert!(world.ctl(["config", "ls", "-q"]).ok().trim().is_empty());
}

#[test]
fn the_demo_shows_the_way_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::world::SECRETCTL)
        .args(["demo", "--runtime", "process"])
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for shown in
        ["secretctl create", "secretctl stack deploy", "secretctl inspect", "secretctl stack rm"]
    {
        assert!(out.contains(shown), "{shown} is not in\n{out}");
    }
    let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(temp.path().to_str().unwrap()), "{mounts}");
    assert!(Path::new(EXAMPLE).join("compose.yaml").exists());
}
