//! Wrong input of every kind: each gets a clear error with the right exit code, and what is stored stays.

use crate::world::{SECRETCTL, SECRETD, World, until};
use std::{fs, os::unix::process::CommandExt, process::Command};

/// A user with no rights, `nobody`.
const STRANGER: u32 = 65_534;

#[test]
fn payloads_of_the_wrong_size_are_refused_with_the_limit() {
    let world = World::initialised();
    world.ctl_with(["create", "empty", "-"], b"").fails(5);
    let err = world.ctl_with(["create", "big", "-"], &vec![b'x'; 512_000]).fails(5);
    assert!(err.contains("secret data must be larger than 0 and less than 512000 bytes"), "{err}");
    world.ctl_with(["create", "fits", "-"], &vec![b'x'; 511_999]).ok();
    let err = world.ctl_with(["config", "create", "big", "-"], &vec![b'x'; 1_024_000]).fails(5);
    assert!(err.contains("config data must be larger than 0 and less than 1024000 bytes"), "{err}");
    world.ctl_with(["config", "create", "fits", "-"], &vec![b'x'; 1_023_999]).ok();
}

#[test]
fn names_that_break_the_rule_are_refused_and_taken_ones_conflict() {
    let world = World::initialised();
    for name in ["-x", "a b", "a/b", "é", &"x".repeat(254)] {
        let said = world.ctl_with(["create", "--", name, "-"], b"v");
        assert_eq!(said.code, 5, "{name}: {}", said.err);
        assert!(said.err.contains("invalid name"), "{}", said.err);
    }
    world.ctl_with(["create", &"x".repeat(253), "-"], b"v").ok();
    world.ctl_with(["create", "Taken", "-"], b"v").ok();
    let err = world.ctl_with(["create", "tAKEN", "-"], b"v").fails(4);
    assert!(err.contains("secret tAKEN already exists"), "{err}");
    world.ctl_with(["config", "create", "Taken", "-"], b"v").ok();
}

#[test]
fn unknown_and_ambiguous_references_are_told_apart() {
    let world = World::initialised();
    let err = world.ctl(["inspect", "nope"]).fails(3);
    assert!(err.contains("secret nope not found"), "{err}");
    let ids: Vec<String> = (0..40)
        .map(|n| world.ctl_with(["create", &format!("s{n}"), "-"], b"v").ok().trim().to_owned())
        .collect();
    let shared = (0..36)
        .map(|d| char::from_digit(d, 36).unwrap().to_string())
        .find(|d| ids.iter().filter(|id| id.starts_with(d.as_str())).count() > 1)
        .expect("forty ids cannot all begin differently");
    let err = world.ctl(["inspect", &shared]).fails(5);
    assert!(err.contains("is ambiguous"), "{err}");
    world.ctl(["rm", "s0", "nope2"]).fails(3);
    world.ctl(["inspect", "s0"]).fails(3);
}

#[test]
fn a_secret_in_use_cannot_be_removed() {
    let world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"v").ok();
    world
        .ctl([
            "service", "create", "--detach", "--name", "w", "--secret", "s", "x", "sleep", "1000",
        ])
        .ok();
    let err = world.ctl(["rm", "s"]).fails(5);
    assert!(err.contains("secret 's' is in use by the following service: w"), "{err}");
    world.ctl(["service", "rm", "w"]).ok();
    world.ctl(["rm", "s"]).ok();
}

#[test]
fn targets_that_could_hurt_are_refused_when_the_service_is_made() {
    let world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"v").ok();
    for target in ["../x", "/a/../../b", "/proc/1/environ", "/sys/x", "/dev/null", "/"] {
        let said = world.ctl([
            "service",
            "create",
            "--name",
            "w",
            "--secret",
            &format!("src=s,target={target}"),
            "x",
            "true",
        ]);
        assert_ne!(said.code, 0, "{target}");
        assert!(said.err.contains("target"), "{target}: {}", said.err);
    }
    let twice = [
        "service",
        "create",
        "--name",
        "w",
        "--secret",
        "src=s,target=/k",
        "--secret",
        "src=s,target=/k",
        "x",
        "true",
    ];
    assert!(world.ctl(twice).err.contains("/k"));
    let missing =
        world.ctl(["service", "create", "--name", "w", "--secret", "nope", "x", "true"]).fails(3);
    assert!(missing.contains("nope"), "{missing}");
    assert!(world.ctl(["service", "ls", "-q"]).ok().is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let world = World::initialised();
    let err = world.ctl(["create", "x", "/no/such/file"]);
    assert_ne!(err.code, 0);
    assert!(err.err.contains("/no/such/file"), "{}", err.err);
    assert_ne!(world.ctl(["create", "x", "/tmp"]).code, 0);
    assert!(world.ctl(["ls", "-q"]).ok().is_empty());
}

#[test]
fn malformed_compose_files_are_told_with_file_line_and_path_but_not_with_values() {
    let world = World::initialised();
    let file = world.file("bad.yaml", "services:\n  db:\n    image: x\n    environment:\n      PASSWORD: hunter2\n    deploy:\n      replicas: hunter2\n");
    let said = world.ctl(["stack", "deploy", "-c", &file, "s"]);
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(
        said.err.contains("bad.yaml:7") && said.err.contains("services.db.deploy.replicas"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}

#[test]
fn without_a_daemon_the_way_out_is_told() {
    let world = World::new();
    let err = world.ctl(["ls"]).fails(6);
    assert!(err.contains("hint: "), "{err}");
}

#[test]
fn a_stranger_on_the_socket_is_refused() {
    let world = World::initialised();
    // Even one whom the file's mode lets in.
    let socket = world.path("run/secretd.sock");
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in
        [(world.path("."), 0o755), (world.path("run"), 0o755), (socket.clone(), 0o666)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // The test's own binary may lie where a stranger cannot look.
    let copy = world.path("secretctl");
    fs::copy(SECRETCTL, &copy).unwrap();
    let output = Command::new(&copy)
        .args(["-H", &format!("unix://{}", socket.display()), "ls"])
        .uid(STRANGER)
        .gid(STRANGER)
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(err.contains("secretd") && err.contains("hint: "), "{err}");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let world = World::initialised();
    let said = world.start_fails();
    assert_ne!(said.code, 0);
    assert!(
        said.err.contains("another secretd") && said.err.contains(&world.pid().to_string()),
        "{}",
        said.err
    );
    world.ctl(["ls"]).ok();
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let world = World::new();
    world.file("data", "not a directory");
    let said = world.start_fails();
    assert_ne!(said.code, 0);
    assert!(said.err.contains("data directory") && said.err.contains("hint"), "{}", said.err);
}

#[test]
fn a_data_directory_that_cannot_be_read_is_named_with_what_to_do_and_left_as_it_is() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let world = World::new();
    // Its owner is root, who is refused nothing, or a stranger as below.
    let data = world.data_dir();
    fs::create_dir_all(&data).unwrap();
    fs::create_dir(world.path("run")).unwrap();
    // The test's own binary may lie where a stranger cannot look.
    let program = world.path("secretd");
    fs::copy(SECRETD, &program).unwrap();
    fs::set_permissions(world.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    chown(world.path("run"), Some(STRANGER), Some(STRANGER)).unwrap();
    let start = || {
        let mut command = world.secretd();
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(&program);
        let output = command.args(args).uid(STRANGER).gid(STRANGER).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let path = data.to_str().unwrap();

    let (code, err) = start();
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(path) && err.contains("belongs to user 0"), "{err}");
    assert!(err.contains("hint: start secretd as the user that made it"), "{err}");

    chown(&data, Some(STRANGER), Some(STRANGER)).unwrap();
    for mode in [0o000, 0o500] {
        fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
        let (code, err) = start();
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(path) && err.contains("Permission denied"), "{err}");
        assert!(err.contains("hint: check that the directory exists"), "{err}");
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, mode, "nobody asked for that");
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_lost_or_foreign_key_file_stops_the_start_and_harms_nothing() {
    let mut world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"v").ok();
    world.stop();
    let key = world.path("data.key");
    let good = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let said = world.start_fails();
    assert_ne!(said.code, 0);
    assert!(said.err.contains("data.key") && said.err.contains("hint"), "{}", said.err);
    let other = World::initialised();
    fs::copy(other.path("data.key"), &key).unwrap();
    assert_ne!(world.start_fails().code, 0);
    fs::write(&key, "garbage").unwrap();
    assert_ne!(world.start_fails().code, 0);
    fs::write(&key, good).unwrap();
    world.start();
    world.ctl(["inspect", "s"]).ok();
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let mut world = World::new();
    fs::create_dir(world.data_dir()).unwrap();
    rustix::mount::mount(
        "tmpfs",
        world.data_dir(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"size=100m,mode=0700",
    )
    .unwrap();
    world.start();
    world.init();
    world.ctl_with(["create", "kept", "-"], b"v").ok();
    let filler = world.data_dir().join("filler");
    let mut stored = vec!["kept".to_owned()];
    // Fill what is left, then write until it shows.
    let free = rustix::fs::statvfs(world.data_dir()).unwrap();
    fs::write(&filler, vec![0; usize::try_from(free.f_bavail * free.f_frsize).unwrap()]).unwrap();
    let payload = vec![b'x'; 400_000];
    let refused = (0..1000).find_map(|n| {
        let name = format!("s{n}");
        let said = world.ctl_with(["create", &name, "-"], &payload);
        if said.code == 0 {
            stored.push(name);
            return None;
        }
        Some(said)
    });
    let refused = refused.expect("a full disk cannot take 400 MB");
    assert!(refused.err.contains("hint: ") || refused.err.contains("space"), "{}", refused.err);
    world.kill();
    fs::remove_file(&filler).unwrap();
    world.start();
    let names = world.ctl(["ls", "--format", "{{.Name}}"]).ok();
    for name in stored {
        assert!(names.lines().any(|n| n == name), "{name} was acknowledged and is gone");
    }
    world.ctl_with(["create", "after", "-"], b"v").ok();
}

#[test]
fn damage_is_found_at_the_start_and_named() {
    let mut world = World::initialised();
    for n in 0..20 {
        world.ctl_with(["create", &format!("s{n}"), "-"], b"some value").ok();
    }
    world.stop();
    let mut hurt = 0;
    for entry in crate::world::files_with(&world.data_dir().join("raft"), b"") {
        // The next segment may be taken meanwhile; it holds nothing yet.
        let Ok(whole) = fs::read(&entry) else { continue };
        if whole.iter().all(|b| *b == 0) {
            continue;
        }
        let mut broken = whole.clone();
        // The header of every format lies in its first bytes.
        for byte in broken.iter_mut().take(64) {
            *byte ^= 0x5a;
        }
        fs::write(&entry, &broken).unwrap();
        world.start();
        let status = world.json(["status", "--format", "json"]);
        assert_eq!(status["State"], "damaged", "{} was hurt and nobody noticed", entry.display());
        let named = entry.file_name().unwrap().to_str().unwrap();
        assert!(status["Error"].as_str().unwrap().contains(named), "{named}: {status}");
        let said = world.ctl(["status"]).ok();
        assert!(said.contains("Nobody else has what it stored"), "{said}");
        let refused = world.ctl(["refill"]).fails(5);
        assert!(refused.contains("only manager") && refused.contains("hint: "), "{refused}");
        world.stop();
        fs::write(&entry, &whole).unwrap();
        hurt += 1;
    }
    assert!(hurt >= 2, "a log and a state file at least");
    world.start();
    until("everything to be there", || {
        (world.ctl(["ls", "-q"]).ok().lines().count() == 20).then_some(())
    });
}
