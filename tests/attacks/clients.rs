//! Hostile input to `secretctl`: what a checkout, a directory or a server may do to who runs it.

use crate::world::{SECRETCTL, Said, World};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::Uid,
    thread::set_thread_res_uid,
};
use std::{
    fs,
    io::Read as _,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixListener,
    },
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const STRANGER: u32 = 4711;
/// What a command of these may take of address space: far more than it needs, far less than a bomb.
const SPACE: &str = "--as=1500000000";

/// Runs `secretctl` without a daemon, in little memory, and not for long.
fn alone(args: &[&str], host: &str) -> Said {
    let started = Instant::now();
    let mut command = Command::new("prlimit");
    command.args([SPACE, SECRETCTL]).args(args).env("SECRETD_HOST", host).stdin(Stdio::null());
    let said = Said::of(&command.output().unwrap());
    assert!(started.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", started.elapsed());
    said
}

#[test]
fn a_checkout_whose_variables_double_is_refused_before_it_fills_memory() {
    let world = World::new();
    let mut env = "A=xxxxxxxx\n".to_owned();
    for pair in ('A'..='Z').chain('a'..='z').collect::<Vec<_>>().windows(2) {
        env += &format!("{}=${}${}\n", pair[1], pair[0], pair[0]);
    }
    assert!(env.len() < 700);
    world.file("bomb/.env", &env);
    let compose = world.file("bomb/compose.yaml", "services: {a: {image: \"$z\"}}\n");
    let err = alone(&["stack", "config", "-c", &compose], "unix:///nowhere").fails(5);
    assert!(err.contains(".env:") && err.contains("fill in more than"), "{err}");

    // One large value, named very often: in the document, and by files it names.
    world.file("many/.env", format!("A={}\n", "x".repeat(1 << 20)));
    let many = format!("services: {{a: {{image: \"{}\"}}}}\n", "$A".repeat(100_000));
    let compose = world.file("many/compose.yaml", many);
    let err = alone(&["stack", "config", "-c", &compose], "unix:///nowhere").fails(5);
    assert!(err.contains("fill in more than"), "{err}");
    let files = "[.env, .env, .env, .env, .env, .env, .env, .env, .env]";
    let services: String =
        (0..100).map(|at| format!("  s{at}: {{image: x, env_file: {files}}}\n")).collect();
    let compose = world.file("many/files.yaml", format!("services:\n{services}"));
    let err = alone(&["stack", "config", "-c", &compose], "unix:///nowhere").fails(5);
    assert!(err.contains("fill in more than"), "{err}");
}

#[test]
fn a_source_that_never_ends_or_never_begins_is_refused_at_once() {
    let world = World::new();
    let fifo = world.path("fifo");
    mkfifoat(CWD, &fifo, Mode::RWXU).unwrap();
    let fifo = fifo.to_str().unwrap();
    let file = |text: &str| world.file("compose.yaml", text);
    let secret = file(&format!("services: {{a: {{image: x, env_file: {fifo}}}}}\n"));
    let host = "unix:///nowhere";
    for args in [
        vec!["create", "s", fifo],
        vec!["create", "s", "/dev/zero"],
        vec!["config", "create", "c", fifo],
        vec!["join", "--token-file", fifo, "127.0.0.1:1"],
        vec!["service", "create", "--name", "a", "--env-file", fifo, "x"],
        vec!["stack", "config", "-c", fifo],
        vec!["stack", "config", "-c", &secret],
        vec!["backup", "verify", fifo],
    ] {
        let said = alone(&args, host);
        assert_ne!(said.code, 0, "{args:?}");
        let device = args.contains(&"/dev/zero");
        let what =
            if device { "a character device, not a file" } else { "a named pipe, not a file" };
        assert!(said.err.contains(what), "{args:?}: {}", said.err);
    }
    let err = Said::of(&world.secretd().arg("--config").arg(fifo).output().unwrap()).fails(2);
    assert!(err.contains("a named pipe, not a file"), "{err}");
}

#[test]
fn what_a_shell_makes_of_a_command_is_read_and_an_empty_token_is_called_that() {
    let world = World::initialised();
    let script = format!("'{SECRETCTL}' create piped <(printf value)");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env("SECRETD_HOST", world.socket());
    Said::of(&shell.output().unwrap()).ok();
    let empty = world.file("token", "\n");
    for args in [
        vec!["join", "--token-file", &empty, "127.0.0.1:1"],
        vec!["join", "--token-file", "-", "127.0.0.1:1"],
    ] {
        let err = alone(&args, &world.socket()).fails(5);
        assert!(err.contains("the join token is empty"), "{err}");
        assert!(err.contains("hint: print one with"), "{err}");
    }
}

/// Whoever came first to a directory that anybody may make waits there for what is meant for the daemon.
#[test]
fn a_socket_that_a_stranger_serves_is_told_nothing() {
    let world = World::new();
    let dir = world.path("taken");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(world.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&dir, Some(STRANGER), Some(STRANGER)).unwrap();
    let socket = dir.join("secretd.sock");
    // The kernel notes whose thread calls listen(2).
    let (up, is_up) = mpsc::channel();
    let at = socket.clone();
    let impostor = std::thread::spawn(move || {
        let uid = Uid::from_raw(STRANGER);
        set_thread_res_uid(uid, uid, uid).unwrap();
        let listener = UnixListener::bind(at).unwrap();
        up.send(()).unwrap();
        let mut heard = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        heard
    });
    is_up.recv().unwrap();
    let secret = world.file("secret", "canary-for-the-daemon");
    let host = format!("unix://{}", socket.display());
    let said = alone(&["create", "s", &secret], &host);
    let err = said.fails(8);
    assert!(err.contains(&format!("is served by user {STRANGER}")), "{err}");
    assert!(err.contains(&format!("SECRETD_SERVER_UID={STRANGER}")), "{err}");
    assert_eq!(impostor.join().unwrap(), b"");
}

#[test]
fn a_daemon_does_not_start_where_others_could_replace_its_files() {
    let mut world = World::new();
    for name in ["data", "run"] {
        fs::create_dir(world.path(name)).unwrap();
        chown(world.path(name), Some(STRANGER), None).unwrap();
        let err = world.start_fails().fails(1);
        let what = if name == "data" { "data" } else { "run" };
        assert!(err.contains(&format!("cannot trust the {what} directory")), "{err}");
        assert!(err.contains(&format!("belongs to user {STRANGER}")), "{err}");
        assert!(err.contains("hint: chown"), "{err}");
        fs::remove_dir(world.path(name)).unwrap();
    }
    // The key file's neighbours: whoever may write to its directory may put another there.
    fs::set_permissions(world.path("."), fs::Permissions::from_mode(0o770)).unwrap();
    let err = world.start_fails().fails(1);
    assert!(err.contains("has mode 0770") && err.contains("hint: chmod go-w"), "{err}");
    fs::set_permissions(world.path("."), fs::Permissions::from_mode(0o700)).unwrap();
    world.start();
    assert_eq!(world.stop(), 0);
    fs::write(world.path("data.key"), "").unwrap();
    chown(world.path("data.key"), Some(STRANGER), None).unwrap();
    let err = world.start_fails().fails(1);
    assert!(err.contains("cannot trust the key file"), "{err}");
}

#[test]
fn every_line_that_a_change_leaves_in_the_log_says_who_asked() {
    let world = World::initialised();
    world.ctl_with(["create", "--label", "a=b", "s", "-"], b"x").ok();
    world.ctl(["node", "update", "--label-add", "a=b", "self"]).ok();
    world.ctl(["rm", "none"]).fails(3);
    world.ctl(["ls"]).ok();
    let log = fs::read_to_string(world.path("log")).unwrap();
    let line = |text: &str| {
        let found = log.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no line has {text:?}: {log}")).to_owned()
    };
    for text in [
        "object created",
        "founded a cluster",
        "call=\"CreateObject\"",
        "call=\"SetNode\"",
        "order was refused",
    ] {
        assert!(line(text).contains("operator{uid=0}"), "{}", line(text));
    }
    assert!(!log.contains("call=\"ListObjects\""), "{log}");
}

/// A list is lines, whatever is in it; errors are words of ours, whatever they quote.
#[test]
fn text_of_others_is_text_and_nothing_else_where_people_read_it() {
    let world = World::initialised();
    let label = "note=\u{1b}[2Jgone\nforged   row\u{202e}";
    world.ctl_with(["create", "--label", label, "s", "-"], b"x").ok();
    let table = world.ctl(["ls", "--format", "table {{.Name}}\\t{{.Labels}}"]).ok();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("\\u001b[2Jgone\\nforged   row\\u202e"), "{table}");
    // A program gets what there is.
    let raw = world.ctl(["ls", "--format", "{{.Label \"note\"}}"]).ok();
    assert!(raw.contains('\u{1b}') && raw.contains('\u{202e}'), "{raw:?}");
    let odd = world.file("odd.yaml", "services: {a: {image: x, \"b\\e[31m\\nhint: run me\": 1}}\n");
    let err = world.ctl(["stack", "config", "-c", &odd]).fails(5);
    assert!(!err.contains('\u{1b}') && !err.contains("\nhint: run me"), "{err:?}");
    let err = world.ctl(["rm", "no\u{1b}]0;x\u{7}\nhint: run me"]);
    assert!(!err.err.contains('\u{1b}') && !err.err.contains("\nhint: run me"), "{err:?}");
    // And so in the daemon's log, which was told the name.
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(!log.contains('\u{1b}'), "{log:?}");
    // On a terminal the same is text.
    let command = format!("'{SECRETCTL}' ls --format '{{{{.Labels}}}}'");
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).env("SECRETD_HOST", world.socket());
    let seen = Said::of(&terminal.stdin(Stdio::null()).output().unwrap()).ok();
    assert!(seen.contains("\\u001b[2J") && !seen.contains('\u{1b}'), "{seen:?}");
}
