//! Backups: everything comes back from one file and one key, and from nothing less.

use crate::world::{World, files_with, until};
use std::fs;

const VALUE: &[u8] = b"canary-backup-91e2";
const CONFIG: &[u8] = b"colour = \"canary-config-91e2\"\n";
const HERE: [&str; 4] = ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];

fn codes(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("SECRETD-")).map(str::to_owned).collect()
}

fn state(world: &World) -> String {
    world.ctl(["status", "--format", "{{.State}}"]).ok().trim().to_owned()
}

/// A cluster with something of everything; its objects carry a name to look for.
fn filled() -> World {
    let world = World::initialised();
    world
        .ctl_with(["create", "-l", "owner=canary-label-91e2", "canary-name-91e2", "-"], VALUE)
        .ok();
    world.ctl_with(["config", "create", "colours", "-"], CONFIG).ok();
    let hold = "grep -q canary-backup /run/secrets/s && echo it is there; sleep 1000";
    let secret = "source=canary-name-91e2,target=s";
    let service =
        ["service", "create", "--name", "web", "--secret", secret, "busybox", "sh", "-c", hold];
    world.ctl(service).ok();
    world
}

/// What a user could tell two clusters apart by, without what changes by itself.
fn shown(world: &World) -> String {
    let format = "{{.ID}} {{.Version.Index}} {{.CreatedAt}} {{json .Spec}} {{json .Versions}}";
    let secret = world.ctl(["inspect", "--format", format, "canary-name-91e2"]).ok();
    let config = world.ctl(["config", "inspect", "--format", format, "colours"]).ok();
    let spec = world.ctl(["service", "inspect", "--format", "{{.ID}} {{json .Spec}}", "web"]).ok();
    format!("{secret}{config}{spec}")
}

fn restore(world: &World, backup: &str, key: &str) -> crate::world::Said {
    let args = ["backup", "restore", backup, "--key", "-"].into_iter().chain(HERE);
    world.ctl_with(args, key.as_bytes())
}

#[test]
fn everything_comes_back_from_a_backup_and_a_recovery_key() {
    let mut world = filled();
    let [key] = codes(&world.ctl(["unlocker", "add", "recovery"]).ok()).try_into().unwrap();
    let before = shown(&world);
    let node = world.ctl(["node", "ls", "-q"]).ok();
    let place = World::new();
    let backup = place.path("backup");
    let file = backup.to_str().unwrap();
    let said = world.ctl(["backup", "create", file]).ok();
    assert!(
        said.contains("written and verified") && said.contains("1 secret, 1 config, 1 service"),
        "{said}"
    );
    for canary in
        ["canary-backup-91e2", "canary-name-91e2", "canary-label-91e2", "canary-config-91e2"]
    {
        assert!(
            files_with(&place.path(""), canary.as_bytes()).is_empty(),
            "{canary} is in the file"
        );
    }
    assert_ne!(world.ctl(["status", "--format", "{{.BackupVerifiedAt}}"]).ok().trim(), "");
    // What came after it is not in it.
    world.ctl_with(["create", "later", "-"], b"x").ok();
    world.ctl(["backup", "verify", file]).ok();
    let refused = restore(&world, file, &key).fails(5);
    assert!(refused.contains("already part of a cluster"), "{refused}");
    world.kill();

    let mut world = World::new();
    world.start();
    let locked = world.ctl(["backup", "verify", file]).fails(5);
    assert!(locked.contains("locked") && locked.contains("recovery"), "{locked}");
    world.ctl_with(["backup", "verify", file, "--key", "-"], key.as_bytes()).ok();
    restore(&world, file, &key).ok();
    assert_eq!(shown(&world), before);
    let holders = world.ctl(["inspect", "--pretty", "canary-name-91e2"]).ok();
    assert!(holders.contains(node.trim()), "the machine it was taken from may have it: {holders}");
    world.ctl(["inspect", "later"]).fails(3);
    world.output_with("web", "it is there");
    world.ctl_with(["create", "after", "-"], b"x").ok();
    // It is a cluster like any other: it starts again, and by itself.
    world.kill();
    world.start();
    until("it to be active again", || (state(&world) == "active").then_some(()));
    assert_eq!(world.ctl(["ls", "-q"]).ok().lines().count(), 2);
    let node = world.ctl(["node", "ls", "--format", "{{.ManagerStatus}}"]).ok();
    assert!(node.lines().any(|line| line == "Leader"), "{node}");
}

#[test]
fn a_backup_opens_with_a_passphrase_or_a_key_of_its_own() {
    let world = filled();
    let place = World::new();
    let (one, two) = (place.path("one"), place.path("two"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let nobody = world.ctl(["backup", "create", one]).fails(5);
    assert!(nobody.contains("key files") && nobody.contains("--recipient"), "{nobody}");
    let words = "correct horse battery staple";
    let passphrase = ["--recipient", "passphrase", "--passphrase-file", "-"];
    world.ctl_with(["backup", "create", one].into_iter().chain(passphrase), b"short").fails(5);
    world.ctl_with(["backup", "create", one].into_iter().chain(passphrase), words.as_bytes()).ok();
    let said = world.ctl(["backup", "create", two, "--recipient", "recovery"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let [key] = codes(&said.err).try_into().unwrap();

    let mut other = World::new();
    other.start();
    assert!(restore(&other, one, "correct horse battery stable").fails(5).contains("wrong"));
    assert!(restore(&other, one, &key).fails(5).contains("belongs to no unlocker"));
    other.ctl_with(["backup", "verify", two, "--key", "-"], key.as_bytes()).ok();

    // From a pipe as from a file.
    let (piped, words_file) = (fs::read(one).unwrap(), other.file("words", words));
    let verify = ["backup", "verify", "-", "--key"];
    let said = other.ctl_with(verify.into_iter().chain([&*words_file]), &piped).ok();
    assert!(said.starts_with("the backup on standard input is good: made "), "{said}");
    let cut = other.ctl_with(verify.into_iter().chain([&*words_file]), &piped[..piped.len() - 9]);
    assert!(cut.fails(5).contains("the backup on standard input is not good"));
    let locked = other.ctl_with(["backup", "verify", "-"], &piped).fails(5);
    assert!(locked.contains("locked") && locked.contains("passphrase"), "{locked}");
    let both = other.ctl_with(verify.into_iter().chain(["-"]), &piped).fails(2);
    assert!(both.contains("cannot be both the backup and its key"), "{both}");
    let restored = ["backup", "restore", "-", "--key", &words_file].into_iter().chain(HERE);
    let cut = other.ctl_with(restored.clone(), &piped[..piped.len() - 9]).fails(5);
    assert!(cut.contains("cannot restore the backup on standard input"), "{cut}");
    assert_eq!(state(&other), "inactive");
    other.ctl_with(restored, &piped).ok();
    assert_eq!(other.ctl(["ls", "-q"]).ok().lines().count(), 1);
}

#[test]
fn what_is_not_a_whole_backup_changes_nothing() {
    let world = filled();
    let place = World::new();
    let good = place.path("good");
    let said = world.ctl(["backup", "create", good.to_str().unwrap(), "--recipient", "recovery"]);
    let [key] = codes(&said.err).try_into().unwrap();
    let bytes = fs::read(&good).unwrap();
    let mut other = World::new();
    other.start();
    let flipped = |at: usize| {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        bad
    };
    let bad = [
        Vec::new(),
        b"not a backup at all".to_vec(),
        bytes[..bytes.len() / 2].to_vec(),
        bytes[..bytes.len() - 1].to_vec(),
        [bytes.as_slice(), b"more"].concat(),
        flipped(3),
        flipped(60),
        flipped(bytes.len() / 2),
        flipped(bytes.len() - 1),
    ];
    for bad in bad {
        let file = place.file("bad", &bad);
        let said = restore(&other, &file, &key).fails(5);
        assert!(said.contains("hint:"), "{said}");
        assert_eq!(state(&other), "inactive");
        assert!(!other.data_dir().join("raft").exists());
    }
    let none = place.path("none");
    restore(&other, none.to_str().unwrap(), &key).fails(1);
    restore(&other, good.to_str().unwrap(), &key).ok();
    assert_eq!(other.ctl(["ls", "-q"]).ok().lines().count(), 1);
}
