//! The demo plays, and leaves nothing behind however it ends: by itself, by Ctrl-C, or with nobody reading any more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_secretctl");

fn demo(temp: &Path) -> Child {
    Command::new(PROGRAM)
        .arg("demo")
        .env("TMPDIR", temp)
        .env_remove("SECRETD_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads up to the line that begins with this.
fn read_until(lines: &mut impl BufRead, beginning: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "no {beginning:?} in\n{all}");
        all += &line;
        if line.starts_with(beginning) {
            return all;
        }
    }
}

/// What is left: files, mounts, and processes of this program (the node, and the shims of its tasks).
fn left(temp: &Path) -> Vec<String> {
    let mut left: Vec<String> = fs::read_dir(temp)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = temp.display().to_string();
    left.extend(mounts.lines().filter(|line| line.contains(&below)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if fs::read_link(path.join("exe")).is_ok_and(|exe| exe == Path::new(PROGRAM)) {
            let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            left.push(format!("{}: {}", path.display(), line.replace('\0', " ")));
        }
    }
    left
}

// One test, since each part looks for processes the others would have.
#[test]
fn the_demo_leaves_nothing_behind_however_it_ends() {
    let temp = tempfile::tempdir().unwrap();

    let mut child = demo(temp.path());
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{shown}\n{errors}");
    for line in [
        "$ secretctl create nerd-dinner-db-sa-password examples/nerd-dinner/sa-password.txt\n",
        "$ secretctl stack deploy -c examples/nerd-dinner/compose.yaml nerd-dinner\n",
        "the password at /app/sa-password has 10 bytes\n",
        "| title = Nerd Dinner\n",
        "67e3aa9732300dc37d02da86e18df175230bb3fd4287b5b0e8b7f4e481896672  /app/sa-password\n",
        "Nothing is left: no process, no mount, no file.\n",
    ] {
        assert!(shown.contains(line), "no {line:?} in\n{shown}");
    }
    let value = include_str!("../examples/nerd-dinner/sa-password.txt");
    assert!(!shown.contains(value) && !errors.contains(value), "the value was shown");
    assert!(errors.contains("is in use by the following services"), "{errors}");
    assert_eq!(left(temp.path()), Vec::<String>::new());

    let mut child = demo(temp.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut lines, "$ secretctl stack ps");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    read_until(&mut lines, "Nothing is left");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(left(temp.path()), Vec::<String>::new(), "after Ctrl-C");

    let mut child = demo(temp.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut lines, "$ secretctl stack ps");
    drop(lines);
    assert!(!child.wait().unwrap().success());
    assert_eq!(left(temp.path()), Vec::<String>::new(), "with nobody reading");
}
