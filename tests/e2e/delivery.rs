//! What a task sees of its secrets and configs, what outlives the daemon, and what is left afterwards.

use crate::world::{World, files_with, until};
use std::fs;

const CANARY: &[u8] = b"canary-7e3c19aa-do-not-leak";

/// A service whose task prints what it sees at `target`, then waits.
fn looker(world: &World, name: &str, options: &[&str], target: &str) {
    let script = format!(
        "stat -c '%u:%g %a' {target}; cksum < {target}; echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    );
    let mut args = vec!["service", "create", "--name", name];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", &script]);
    world.ctl(args).ok();
    world.output_with(name, "ready");
}

#[test]
fn targets_owners_and_modes_are_as_asked() {
    let world = World::initialised();
    world.ctl_with(["create", "s", "-"], CANARY).ok();
    world.ctl_with(["config", "create", "c", "-"], b"hello").ok();
    for (n, (option, reference, target, sees)) in [
        ("--secret", "s", "/run/secrets/s", "0:0 400"),
        ("--config", "c", "/c", "0:0 444"),
        (
            "--secret",
            "src=s,target=/app/deep/down/key.pem,mode=0440",
            "/app/deep/down/key.pem",
            "0:0 440",
        ),
        (
            "--secret",
            "src=s,target=pw,uid=1000,gid=1001,mode=0400",
            "/run/secrets/pw",
            "1000:1001 400",
        ),
        ("--config", "src=c,target=/etc/hostname", "/etc/hostname", "0:0 444"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("look{n}");
        looker(&world, &name, &[option, reference], target);
        let seen = world.output_with(&name, "ready");
        assert!(seen.contains(sees), "{reference}: {seen}");
    }
}

#[test]
fn the_stored_value_is_found_nowhere_but_in_the_task() {
    let world = World::initialised();
    world.ctl_with(["create", "s", "-", "-l", "team=blue"], CANARY).ok();
    looker(&world, "look", &["--secret", "src=s,target=/app/key"], "/app/key");
    world.ctl(["inspect", "s"]).ok();
    world.ctl(["service", "inspect", "look"]).ok();
    for dir in [world.data_dir(), world.path("log")] {
        assert_eq!(files_with(&dir, CANARY), Vec::<std::path::PathBuf>::new());
    }
    // Names and labels are metadata that the disk must not show either.
    assert_eq!(files_with(&world.data_dir(), b"team"), Vec::<std::path::PathBuf>::new());
    let outside = files_with(&world.path("run"), CANARY);
    assert_eq!(
        outside,
        Vec::<std::path::PathBuf>::new(),
        "the process runtime shows no file to the host"
    );
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        for part in ["cmdline", "environ"] {
            if let Ok(bytes) = fs::read(process.path().join(part)) {
                let own = process.file_name().to_str() == Some(&std::process::id().to_string());
                assert!(
                    own || !bytes.windows(CANARY.len()).any(|w| w == CANARY),
                    "{:?}/{part}",
                    process.path()
                );
            }
        }
    }
}

#[test]
fn a_restart_of_the_daemon_restarts_no_task() {
    let mut world = World::initialised();
    world.ctl_with(["create", "s", "-"], CANARY).ok();
    looker(&world, "look", &["--secret", "s"], "/run/secrets/s");
    let task = world.ctl(["service", "ps", "-q", "--no-trunc", "look"]).ok();
    let pid = |w: &World| w.json(["service", "ps", "--format", "json", "look"]).to_string();
    assert!(!pid(&world).is_empty());
    for gentle in [true, false] {
        if gentle {
            assert_eq!(world.stop(), 0);
        } else {
            world.kill();
        }
        world.start();
        until("the task to be reported again", || {
            let tasks = world.tasks("look");
            (tasks.len() == 1 && tasks[0].1.starts_with("Running")).then_some(())
        });
        assert_eq!(world.ctl(["service", "ps", "-q", "--no-trunc", "look"]).ok(), task);
        let seen = world.output_with("look", "ready");
        assert_eq!(seen.matches("ready").count(), 1, "started once: {seen}");
    }
    // And what was re-adopted can still be ended.
    world.ctl(["service", "rm", "look"]).ok();
    until("the sandbox to be gone", || {
        (fs::read_dir(world.path("run/process")).map(Iterator::count).unwrap_or(0) == 0)
            .then_some(())
    });
}

#[test]
fn a_task_that_ends_says_why_and_is_followed_by_another() {
    let world = World::initialised();
    let fails =
        ["service", "create", "--detach", "--name", "f", "x", "sh", "-c", "echo oops; exit 3"];
    world.ctl(fails).ok();
    until("a failed task", || {
        world
            .tasks("f")
            .iter()
            .any(|t| t.1.starts_with("Failed") && t.2.contains("exit") && t.2.contains('3'))
            .then_some(())
    });
    until("its follower", || (world.tasks("f").len() > 1).then_some(()));
    let missing = ["service", "create", "--detach", "--name", "m", "x", "/no/such/program"];
    world.ctl(missing).ok();
    until("a rejected task", || {
        world
            .tasks("m")
            .iter()
            .any(|t| t.1.starts_with("Rejected") && t.2.contains("/no/such/program"))
            .then_some(())
    });
}

#[test]
fn scaling_up_and_down_keeps_the_low_slots() {
    let world = World::initialised();
    world.ctl(["service", "create", "--name", "n", "--replicas", "1", "x", "sleep", "1000"]).ok();
    world.ctl(["service", "scale", "n=3"]).ok();
    assert_eq!(world.ctl(["service", "ls", "--format", "{{.Replicas}}"]).ok().trim(), "3/3");
    world.ctl(["service", "scale", "n=1"]).ok();
    until("one task", || {
        (world.ctl(["service", "ls", "--format", "{{.Replicas}}"]).ok().trim() == "1/1")
            .then_some(())
    });
    let left = world
        .ctl(["service", "ps", "--filter", "desired-state=running", "--format", "{{.Name}}", "n"])
        .ok();
    assert_eq!(left.trim(), "n.1");
}

#[test]
fn environment_user_and_directory_reach_the_process() {
    let world = World::initialised();
    let script = "echo \"$GREETING $(id -u):$(id -g) $(pwd)\"; sleep 1000";
    world
        .ctl([
            "service",
            "create",
            "--name",
            "e",
            "--env",
            "GREETING=hello",
            "--user",
            "1000:1001",
            "--workdir",
            "/tmp",
            "x",
            "sh",
            "-c",
            script,
        ])
        .ok();
    world.output_with("e", "hello 1000:1001 /tmp");
}
