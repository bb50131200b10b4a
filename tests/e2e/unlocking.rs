//! Managers that start locked: what they still answer, what opens them, and that nothing is lost meanwhile.

use crate::world::{World, until};
use std::{fs, process::Command};

/// The first line of `text` that is a code.
pub(crate) fn codes(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("SECRETD-")).map(str::to_owned).collect()
}

pub(crate) fn state(world: &World) -> String {
    world.ctl(["status", "--format", "{{.State}}"]).ok().trim().to_owned()
}

pub(crate) fn key_file(world: &World) -> std::path::PathBuf {
    world.data_dir().with_extension("key")
}

/// The header follows the store at once, but not before the command is answered.
fn until_header_names(world: &World, id: &str) {
    let header = world.data_dir().join("node.keys");
    until("the key header to follow", || {
        let bytes = fs::read(&header).unwrap();
        bytes.windows(id.len()).any(|part| part == id.as_bytes()).then_some(())
    });
}

fn init_autolock(world: &World) -> String {
    let said = world
        .ctl([
            "init",
            "--autolock",
            "--listen-addr",
            "127.0.0.1:0",
            "--advertise-addr",
            "127.0.0.1",
        ])
        .ok();
    let [key] = codes(&said).try_into().unwrap();
    key
}

#[test]
fn a_locked_manager_says_so_and_its_key_brings_everything_back() {
    let mut world = World::new();
    world.start();
    let key = init_autolock(&world);
    assert!(!key_file(&world).exists(), "nothing on this machine opens the keys");
    world.ctl_with(["create", "s", "-"], b"value").ok();
    world
        .ctl(["service", "create", "--name", "web", "--secret", "s", "busybox", "sleep", "1000"])
        .ok();
    let task = world.tasks("web");
    world.kill();
    world.start();

    assert_eq!(state(&world), "locked");
    let refused = world.ctl(["ls"]).fails(7);
    assert!(refused.contains("locked") && refused.contains("secretctl unlock"), "{refused}");
    world.ctl(["init"]).fails(5);
    let wrong = format!("{}0000", &key[..key.len() - 4]);
    let said = world.ctl_with(["unlock"], wrong.as_bytes());
    assert!(said.fails(5).contains("check digits"), "a slip of the pen is told from a wrong key");
    assert!(world.ctl_with(["unlock"], b"open sesame").fails(5).contains("no passphrase"));
    assert_eq!(state(&world), "locked");

    world.ctl_with(["unlock"], key.as_bytes()).ok();
    assert_eq!(state(&world), "active");
    assert_eq!(world.ctl(["ls", "-q"]).ok().lines().count(), 1);
    until("the task to be known again", || (world.tasks("web") == task).then_some(()));
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(!log.contains(&key), "a key is in no log");
    world.ctl_with(["unlock"], key.as_bytes()).fails(5);
}

#[test]
fn autolock_is_switched_and_its_key_replaced_while_everything_runs() {
    let mut world = World::initialised();
    assert!(key_file(&world).exists());
    world.ctl(["unlock-key"]).fails(5);
    let [first] = codes(&world.ctl(["update", "--autolock=true"]).ok()).try_into().unwrap();
    until("the key file to go", || (!key_file(&world).exists()).then_some(()));
    world.ctl(["unlock-key"]).fails(5);
    let [second] = codes(&world.ctl(["unlock-key", "--rotate", "-q"]).ok()).try_into().unwrap();
    until_header_names(&world, world.ctl(["unlocker", "ls", "-q"]).ok().trim());
    let last = world.ctl(["unlocker", "rm", "autolock"]).fails(5);
    assert!(last.contains("the last unlocker cannot be removed"), "{last}");
    restart(&mut world);
    let old = world.ctl_with(["unlock"], first.as_bytes()).fails(5);
    assert!(old.contains("belongs to no unlocker"), "{old}");
    world.ctl_with(["unlock"], second.as_bytes()).ok();

    world.ctl(["update", "--autolock=false"]).ok();
    until("a key file to come", || key_file(&world).exists().then_some(()));
    restart(&mut world);
    assert_eq!(state(&world), "active");
}

#[test]
fn each_way_opens_alone_when_the_key_file_is_lost() {
    let mut world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"value").ok();
    let [paper] = codes(&world.ctl(["unlocker", "add", "recovery"]).ok()).try_into().unwrap();
    let shares = world.ctl(["unlocker", "add", "shamir", "--shares", "3", "--threshold", "2"]).ok();
    let shares = codes(&shares);
    assert_eq!(shares.len(), 3);
    let words = "correct horse battery staple";
    world.ctl_with(["unlocker", "add", "passphrase", "-"], b"short").fails(5);
    world.ctl_with(["unlocker", "add", "passphrase", "-"], words.as_bytes()).ok();
    world.ctl(["unlocker", "add", "shamir", "--shares", "3", "--threshold", "4"]).fails(5);
    let ids = world.ctl(["unlocker", "ls", "-q"]).ok();
    assert_eq!(ids.lines().count(), 4);
    until_header_names(&world, ids.lines().last().unwrap());
    assert_eq!(world.stop(), 0);
    let away = world.path("away.key");
    fs::rename(key_file(&world), &away).unwrap();
    for ways in [vec![paper], vec![shares[2].clone(), shares[0].clone()], vec![words.to_owned()]] {
        world.start();
        assert_eq!(state(&world), "locked");
        let why = world.ctl(["status", "--format", "{{.Error}}"]).ok();
        assert!(why.contains("there is no key file at"), "{why}");
        for way in ways {
            world.ctl_with(["unlock"], way.as_bytes()).ok();
        }
        assert_eq!(state(&world), "active");
        assert_eq!(world.ctl(["ls", "-q"]).ok().lines().count(), 1);
        world.stop();
    }
    fs::rename(away, key_file(&world)).unwrap();
    world.start();
    assert_eq!(state(&world), "active");
}

/// A program that works while the file `secret` is there.
fn kms(world: &World, secret: &str) -> String {
    let kms = world.path("kms").to_str().unwrap().to_owned();
    let script = include_str!("../../examples/unlocker-command/openssl.sh");
    let script = script.replace("/etc/secretd/kms.key", secret);
    // Written by another process: a fork of this one might hold it open for writing, and then nobody can run it.
    let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let written = Command::new("/bin/sh").args(["-c", write, "sh", &script, &kms]).status();
    assert!(written.unwrap().success());
    kms
}

#[test]
fn a_command_opens_by_itself_and_when_its_kms_is_gone_the_recovery_key_does() {
    let mut world = World::initialised();
    let secret = world.file("kms.key", "11".repeat(32));
    let kms = kms(&world, &secret);
    world.ctl(["unlocker", "add", "command", &kms]).ok();
    let [paper] = codes(&world.ctl(["unlocker", "add", "recovery"]).ok()).try_into().unwrap();
    world.ctl(["unlocker", "rm", "file"]).ok();
    until("the key file to go", || (!key_file(&world).exists()).then_some(()));
    restart(&mut world);
    assert_eq!(state(&world), "active", "the command opened it");
    fs::remove_file(&secret).unwrap();
    restart(&mut world);
    assert_eq!(state(&world), "locked");
    world.ctl_with(["unlock"], paper.as_bytes()).ok();
    assert_eq!(state(&world), "active");
}

#[test]
fn a_manager_whose_only_way_is_a_command_waits_for_it_and_then_opens_by_itself() {
    let mut world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"value").ok();
    let secret = world.file("kms.key", "11".repeat(32));
    let kms = kms(&world, &secret);
    world.ctl(["unlocker", "add", "command", &kms]).ok();
    world.ctl(["unlocker", "rm", "file"]).ok();
    until("the key file to go", || (!key_file(&world).exists()).then_some(()));
    let away = world.path("away");
    fs::rename(&secret, &away).unwrap();
    restart(&mut world);
    assert_eq!(state(&world), "locked");
    let said = world.ctl(["status"]).ok();
    assert!(said.contains("kms failed (exit code"), "{said}");
    assert!(said.ends_with("This node is locked.\nIt keeps trying by itself: command\n"), "{said}");
    world.ctl(["ls"]).fails(7);
    fs::rename(&away, &secret).unwrap();
    until("the keys to open", || (state(&world) == "active").then_some(()));
    assert_eq!(world.ctl(["ls", "-q"]).ok().lines().count(), 1);
    fs::rename(&secret, &away).unwrap();
    restart(&mut world);
    assert_eq!(world.stop(), 0, "it drains while it waits");
}

#[test]
fn a_locked_manager_can_leave_by_force() {
    let mut world = World::new();
    world.start();
    init_autolock(&world);
    restart(&mut world);
    world.ctl(["leave"]).fails(5);
    world.ctl(["leave", "--force"]).ok();
    assert_eq!(state(&world), "inactive");
    assert!(!world.data_dir().join("node.keys").exists());
}

pub(crate) fn restart(world: &mut World) {
    world.stop();
    world.start();
}
