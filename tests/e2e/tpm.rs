//! Keys that a TPM keeps: what it opens, where it does not, and what is said then.

use crate::{
    swtpm::{Bus, Swtpm, liar},
    unlocking::{codes, key_file, restart, state},
    world::{World, until},
};
use secretd::{
    crypto::{
        key::Key,
        unlock::{
            Method, Unlocker, code,
            tpm::{Pcrs, Tpm2, TpmError},
        },
    },
    kit::id::{ClusterId, UnlockerId},
};
use std::{fs, process::Command};

fn pcrs(text: &str) -> Pcrs {
    text.parse().unwrap()
}

/// Whether what the TPM opens is what it was given.
fn opens(tpm: &Tpm2, key: &Key<secretd::crypto::key::Unlock>) -> bool {
    let cluster = ClusterId::random();
    let method = Method::Tpm2(tpm.clone());
    let unlocker = Unlocker::new(cluster, UnlockerId::random(), method, key, &Key::random());
    unlocker.unlock(cluster, &tpm.key().unwrap()).is_ok()
}

fn dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sd").tempdir_in("/tmp").unwrap()
}

#[test]
fn a_tpm_gives_a_key_back_as_often_as_it_is_asked() {
    let dir = dir();
    let mut machine = Swtpm::new(dir.path().join("tpm"));
    let key = Key::random();
    let any = Tpm2::seal(&machine.device(), Pcrs::default(), &key).unwrap();
    let measured = Tpm2::seal(&machine.device(), pcrs("7,11"), &key).unwrap();
    machine.off();
    machine.on();
    // It has room for three objects: each must be taken out again.
    for _ in 0..5 {
        assert!(opens(&any, &key) && opens(&measured, &key));
    }
    machine.extend(4);
    assert!(opens(&measured, &key), "what is not asked for does not count");
    machine.extend(11);
    let refused = measured.key().unwrap_err();
    assert!(matches!(refused, TpmError::Measured(which) if which == pcrs("7,11")), "{refused}");
    assert!(opens(&any, &key));
    machine.off();
    machine.on();
    assert!(opens(&measured, &key), "the machine was started as it was then");
}

#[test]
fn another_tpm_and_edited_objects_are_refused() {
    let dir = dir();
    let one = Swtpm::new(dir.path().join("one"));
    let other = Swtpm::new(dir.path().join("other"));
    let sealed = Tpm2::seal(&one.device(), Pcrs::default(), &Key::random()).unwrap();
    let moved = Tpm2 { device: other.device(), ..sealed.clone() };
    let refused = moved.key().unwrap_err();
    assert!(matches!(refused, TpmError::Another), "{refused}");
    let theirs = Tpm2::seal(&other.device(), Pcrs::default(), &Key::random()).unwrap();
    // Even where the storage key is not looked at, the TPM itself refuses.
    let forged = Tpm2 { parent: theirs.parent, ..moved };
    assert!(matches!(forged.key().unwrap_err(), TpmError::Another));
    let mut private = sealed.private.clone();
    *private.last_mut().unwrap() ^= 1;
    let changed = Tpm2 { private, ..sealed };
    assert!(matches!(changed.key().unwrap_err(), TpmError::Another | TpmError::Refused(_)));
    let gone = format!("unix:{}", dir.path().join("nowhere").display());
    let refused = Tpm2::seal(&gone, Pcrs::default(), &Key::random()).unwrap_err();
    assert!(matches!(refused, TpmError::Open { .. }));
}

#[test]
fn who_listens_on_the_bus_learns_no_key_and_who_meddles_is_noticed() {
    let dir = dir();
    let machine = Swtpm::new(dir.path().join("tpm"));
    let (id, key) = (UnlockerId::random(), Key::random());
    // Sealing, with a look whether it opens, and opening.
    let bus = Bus::tap(dir.path().join("bus"), &machine, 3, |_, _| {});
    let sealed = Tpm2::seal(&bus.device(), pcrs("7"), &key).unwrap();
    assert!(opens(&sealed, &key));
    let printed = code::print_key(id, &key);
    let text = String::from_utf8(printed.expose().to_vec()).unwrap();
    let digits = text.split('-').nth(4).unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    let heard = bus.heard();
    assert!(heard.len() > 2000 && heard.windows(sealed.public.len()).any(|w| w == sealed.public));
    for part in bytes.chunks(8) {
        assert!(!heard.windows(8).any(|window| window == part), "the key went by in the clear");
    }
    const UNSEAL: u32 = 0x15E;
    let flip = |code: u32, answer: &mut Vec<u8>| {
        if code == UNSEAL {
            answer[20] ^= 1;
        }
    };
    let bus = Bus::tap(dir.path().join("meddler"), &machine, 1, flip);
    let through = Tpm2 { device: bus.device(), ..sealed };
    assert!(matches!(through.key().unwrap_err(), TpmError::Forged));
    bus.heard();
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let dir = dir();
    let machine = Swtpm::new(dir.path().join("tpm"));
    let sealed = Tpm2::seal(&machine.device(), Pcrs::default(), &Key::random()).unwrap();
    let answers: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 10],
        vec![0xFF; 10],
        vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0],
        vec![0x80, 0x02, 0, 0, 0, 14, 0, 0, 0, 0, 0x80, 0, 0, 1],
        vec![0x80, 0x02, 0, 0, 0, 18, 0, 0, 0, 0, 0x80, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
        vec![0x80, 0x02, 0, 0, 0, 20, 0, 0, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 2, 0xFF, 0xFF],
        vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0],
    ];
    let socket = dir.path().join("liar");
    let count = answers.len();
    let lying = liar(&socket, answers);
    let through = Tpm2 { device: format!("unix:{}", socket.display()), ..sealed };
    for _ in 0..count {
        let error = through.key().unwrap_err();
        assert!(
            matches!(error, TpmError::Answer | TpmError::Talk(_) | TpmError::Refused(_)),
            "{error}"
        );
    }
    lying.join().unwrap();
}

/// A manager that its TPM alone opens by itself, and a recovery key.
fn manager_with(tpm: &Swtpm, pcrs: &str) -> (World, String) {
    let world = World::initialised();
    world.ctl_with(["create", "s", "-"], b"value").ok();
    let [paper] = codes(&world.ctl(["unlocker", "add", "recovery"]).ok()).try_into().unwrap();
    let device = tpm.device();
    let mut add = vec!["unlocker", "add", "tpm2", "--device", &device];
    if !pcrs.is_empty() {
        add.extend(["--pcrs", pcrs]);
    }
    let said = world.ctl(add).ok();
    assert!(said.contains("this node's TPM opens its keys"), "{said}");
    world.ctl(["unlocker", "rm", "file"]).ok();
    until("the key file to go", || (!key_file(&world).exists()).then_some(()));
    (world, paper)
}

fn why(world: &World) -> String {
    world.ctl(["status", "--format", "{{.Error}}"]).ok()
}

#[test]
fn a_manager_opens_with_its_tpm_and_waits_for_one_that_is_gone() {
    let dir = dir();
    let mut tpm = Swtpm::new(dir.path().join("tpm"));
    let (mut world, _) = manager_with(&tpm, "");
    let listed = world.ctl(["unlocker", "ls", "--format", "{{.Kind}}: {{.Detail}}"]).ok();
    assert_eq!(listed, format!("recovery: \ntpm2: {} of this node\n", tpm.device()));
    restart(&mut world);
    assert_eq!(state(&world), "active", "the TPM opened it");
    let said = world.ctl(["status"]).ok();
    assert!(said.contains("on this machine alone") && said.contains("with any system"), "{said}");
    tpm.off();
    restart(&mut world);
    assert_eq!(state(&world), "locked");
    assert!(why(&world).contains("cannot open the TPM"), "{}", why(&world));
    tpm.on();
    until("the TPM to open the keys", || (state(&world) == "active").then_some(()));
    assert_eq!(world.ctl(["ls", "-q"]).ok().lines().count(), 1);
}

#[test]
fn a_machine_that_was_started_otherwise_is_refused_until_somebody_comes() {
    let dir = dir();
    let tpm = Swtpm::new(dir.path().join("tpm"));
    let (mut world, paper) = manager_with(&tpm, "7,11");
    restart(&mut world);
    assert_eq!(state(&world), "active");
    tpm.extend(7);
    restart(&mut world);
    assert_eq!(state(&world), "locked");
    let said = why(&world);
    assert!(said.contains("started otherwise") && said.contains("PCRs 7,11"), "{said}");
    assert!(said.contains("remove and add this one"), "what to do is said: {said}");
    world.ctl_with(["unlock"], paper.as_bytes()).ok();
    assert_eq!(state(&world), "active");
    world.ctl(["unlocker", "rm", "tpm2"]).ok();
    world.ctl(["unlocker", "add", "tpm2", "--device", &tpm.device(), "--pcrs", "7,11"]).ok();
    restart(&mut world);
    assert_eq!(state(&world), "active", "sealed to what is measured now");
}

#[test]
fn a_copied_disk_does_not_open_on_another_machine() {
    let dir = dir();
    let mut tpm = Swtpm::new(dir.path().join("tpm"));
    let (mut world, _) = manager_with(&tpm, "");
    world.stop();
    let mut thief = World::new();
    let copied =
        Command::new("cp").arg("-a").args([world.data_dir(), thief.data_dir()]).status().unwrap();
    assert!(copied.success());
    // Even one that stands in the place of the first.
    tpm.off();
    fs::rename(dir.path().join("tpm"), dir.path().join("left behind")).unwrap();
    let _other = Swtpm::new(dir.path().join("tpm"));
    thief.start();
    assert_eq!(state(&thief), "locked");
    assert!(why(&thief).contains("another TPM"), "{}", why(&thief));
}

#[test]
fn what_is_no_tpm_is_not_added() {
    let world = World::initialised();
    let absent = world.ctl(["unlocker", "add", "tpm2", "--device", "/nowhere"]).fails(5);
    assert!(absent.contains("cannot open the TPM /nowhere"), "{absent}");
    world.ctl(["unlocker", "add", "tpm2", "--device", "tpm0"]).fails(5);
    world.ctl(["unlocker", "add", "tpm2", "--pcrs", "24"]).fails(2);
    world.ctl(["unlocker", "rm", "tpm2"]).fails(3);
}
