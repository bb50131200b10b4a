//! A disk that was copied from a manager, and a backup beside it, without what opens them: no byte of values, names, labels,
//! in whatever form.

use crate::world::{World, until};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Begins everything that an operator named or stored here, and is long enough not to come about by chance.
const MARK: &str = "zq9xw4vk7";

/// Every form in which a text may show through.
fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hex = |upper: bool| -> Vec<u8> {
        let digit = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
        text.as_bytes().iter().flat_map(|b| digit(b).into_bytes()).collect()
    };
    let mut forms = vec![
        ("as it is", text.as_bytes().to_vec()),
        ("in upper case", text.to_uppercase().into_bytes()),
        ("backwards", text.bytes().rev().collect()),
        ("in UTF-16, little end first", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("in UTF-16, big end first", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("in hexadecimal", hex(false)),
        ("in upper hexadecimal", hex(true)),
    ];
    // As a part of something longer it may begin at any of three places; the edges depend on the neighbours.
    for shift in 0..3 {
        let padded = [&b"..."[..shift], text.as_bytes()].concat();
        for engine in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
            let code = engine.encode(&padded);
            let from = [0, 2, 3][shift];
            let upto = padded.len() / 3 * 4;
            forms.push(("in base64", code.as_bytes()[from..upto].to_vec()));
        }
    }
    forms
}

/// How the mark shows in a file or its name.
fn traces(path: &Path) -> Vec<&'static str> {
    let name = path.file_name().unwrap().to_str().unwrap().as_bytes().to_vec();
    let texts = [fs::read(path).unwrap(), name];
    let shows = |form: &[u8]| {
        texts.iter().any(|text| text.windows(form.len()).any(|window| window == form))
    };
    forms(MARK).into_iter().filter(|(_, form)| shows(form)).map(|(how, _)| how).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Copies what a directory holds, without the zeros that files end with: there are many, and nothing is in them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        fs::write(to, bytes).unwrap();
    }
}

/// Makes, changes and removes something of everything, all of it marked.
fn live(world: &World, round: usize) {
    let mark = |what: &str| format!("{MARK}-{what}-{round}");
    let label = format!("{}={}", mark("key"), mark("label"));
    for n in 0..6 {
        let value = mark(&format!("value-{n}")).repeat(20);
        let name = mark(&format!("secret-{n}"));
        world.ctl_with(["create", "-l", &label, &name, "-"], value.as_bytes()).ok();
        let name = mark(&format!("config-{n}"));
        world.ctl_with(["config", "create", "-l", &label, &name, "-"], value.as_bytes()).ok();
    }
    let (service, env) = (mark("service"), format!("{}={}", mark("env").replace('-', "_"), MARK));
    let secret = format!("source={},target={}", mark("secret-0"), mark("target"));
    let (constraint, script) = (format!("node.labels.{MARK} == {MARK}"), mark("argument"));
    let mut create = vec!["service", "create", "--name", &service, "--detach", "--label", &label];
    create.extend(["--env", &env, "--secret", &secret, "--constraint", &constraint]);
    create.extend(["busybox", "sh", "-c", &script]);
    world.ctl(create).ok();
    let more = format!("{}={MARK}", mark("more").replace('-', "_"));
    world.ctl(["service", "update", "--detach", "--env-add", &more, &service]).ok();
    let compose = format!(
        "services:\n  web:\n    image: busybox\n    command: [\"sleep\", \"1000\"]\n    labels:\n      {MARK}: {MARK}\n    \
         secrets: [{MARK}]\nsecrets:\n  {MARK}:\n    file: ./value\n"
    );
    let file = world.file(&format!("{round}/compose.yaml"), compose);
    world.file(&format!("{round}/value"), mark("stack"));
    world.ctl(["stack", "deploy", "--detach", "-c", &file, &mark("stack")]).ok();
    let node = format!("{MARK}={MARK}");
    world.ctl(["node", "update", "--label-add", &node, "self"]).ok();
    // What is removed must be as unreadable as what stays.
    for n in 3..6 {
        world.ctl(["rm", &mark(&format!("secret-{n}"))]).ok();
        world.ctl(["config", "rm", &mark(&format!("config-{n}"))]).ok();
    }
    world.ctl(["service", "rm", &service]).ok();
}

#[test]
fn a_disk_copied_from_a_manager_reveals_nothing_without_its_unlocker() {
    let mut first = World::initialised();
    live(&first, 1);
    // The second gets everything by snapshot.
    let token = first.ctl(["join-token", "-q", "manager"]).ok();
    let addr = first.ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok();
    let mut second = World::new();
    second.start();
    let token = second.file("token", token);
    let join = ["join", "--token-file", &token, "--listen-addr", "127.0.0.1:0"];
    second.ctl(join.iter().chain(&["--advertise-addr", "127.0.0.1", addr.trim()])).ok();
    until("both to vote", || {
        let status = first.json(["status", "--format", "json"]);
        let managers = status["RemoteManagers"].as_array()?.clone();
        (managers.iter().filter(|one| one["Voter"] == true).count() == 2).then_some(())
    });
    live(&first, 2);
    // Removals cut the log and free pages; the killed daemons leave both as they are.
    until("the removed ones to be dropped", || {
        (first.json(["status", "--format", "json"])["DestructionsPending"] == 0).then_some(())
    });
    live(&second, 3);
    let place = World::new();
    fs::create_dir(place.path("stolen")).unwrap();
    let backup = place.path("stolen/backup");
    let made = ["backup", "create", backup.to_str().unwrap(), "--recipient", "recovery"];
    assert_eq!(first.ctl(made).code, 0);
    first.ctl(["ls"]).ok();
    for world in [&mut first, &mut second] {
        world.kill();
        world.start();
    }
    until("the cluster to be back", || (first.ctl(["ls"]).code == 0).then_some(()));
    live(&first, 4);
    first.kill();
    second.kill();
    copy(&first.data_dir(), &place.path("stolen/first"));
    copy(&second.data_dir(), &place.path("stolen/second"));
    let stolen = files(&place.path("stolen"));
    for (ending, count) in [("state.redb", 2), (".log", 2), ("node.keys", 2), ("backup", 1)] {
        let there = stolen.iter().filter(|path| path.to_str().unwrap().ends_with(ending)).count();
        assert!(there >= count, "{ending} is not among {stolen:?}");
    }
    for path in &stolen {
        assert!(traces(path).is_empty(), "{:?} in {}", traces(path), path.display());
    }

    // The same search finds it wherever and however it is written.
    for path in &stolen {
        let whole = fs::read(path).unwrap();
        let (mut bytes, mut rest) = (Vec::new(), whole.as_slice());
        let part = whole.len() / forms(MARK).len();
        for (_, form) in forms(MARK) {
            let (before, after) = rest.split_at(part);
            bytes.extend([before, &form].concat());
            rest = after;
        }
        fs::write(path, [&bytes, rest].concat()).unwrap();
        let all: Vec<_> = forms(MARK).into_iter().map(|(how, _)| how).collect();
        assert_eq!(traces(path), all, "in {}", path.display());
    }
    // And the daemons' own directories hold it where it belongs: with the key file everything is there.
    for world in [&mut first, &mut second] {
        world.start();
    }
    until("the cluster to be back", || (first.ctl(["ls"]).code == 0).then_some(()));
    let names = second.ctl(["ls", "--format", "{{.Name}}"]).ok();
    assert!(names.lines().filter(|name| name.starts_with(MARK)).count() > 10, "{names}");
}
