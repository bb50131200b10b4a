//! Plays the transcripts in `tests/cli/`: what is typed, what is shown, and the exit code, word for word.
//!
//! A line `$ …` is run by `sh` in an empty directory; the lines below it are its output (both streams), then `? N`
//! if it ends with `N` instead of 0. In the expected text `[..]` stands for anything within a line, and a line `...`
//! for any number of lines. `UPDATE_TRANSCRIPTS=1` writes what is shown now into the files; read the difference.
//! Those in `live/` start a node of their own, with the process runtime, and stop it at their end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// One command of a transcript.
#[derive(Debug, Default)]
struct Step {
    /// Comments and blank lines before it.
    before: Vec<String>,
    line: String,
    shown: Vec<String>,
}

fn read(text: &str) -> (Vec<Step>, Vec<String>) {
    let mut steps: Vec<Step> = Vec::new();
    let mut loose = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let before = std::mem::take(&mut loose);
            steps.push(Step { before, line: command.to_owned(), shown: Vec::new() });
        } else if line.starts_with("## ") || !loose.is_empty() || steps.is_empty() {
            loose.push(line.to_owned());
        } else if let Some(step) = steps.last_mut() {
            step.shown.push(line.to_owned());
        }
    }
    for step in &mut steps {
        while step.shown.last().is_some_and(String::is_empty) {
            step.shown.pop();
        }
    }
    (steps, loose)
}

fn write(steps: &[Step], rest: &[String]) -> String {
    let mut text = String::new();
    for step in steps {
        for line in &step.before {
            writeln!(text, "{line}").unwrap();
        }
        writeln!(text, "$ {}", step.line).unwrap();
        for line in &step.shown {
            writeln!(text, "{line}").unwrap();
        }
        text.push('\n');
    }
    for line in rest {
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn run(line: &str, dir: &Path, host: &str) -> Vec<String> {
    let bin = Path::new(env!("CARGO_BIN_EXE_secretctl")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let done = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("SECRETD_HOST", host)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    match done.status.code() {
        Some(0) => {}
        Some(code) => lines.push(format!("? {code}")),
        None => lines.push(format!("? {}", done.status)),
    }
    lines
}

fn lines_fit(wanted: &[String], shown: &[String]) -> bool {
    match wanted.split_first() {
        None => shown.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=shown.len()).any(|skip| lines_fit(rest, &shown[skip..]))
        }
        Some((first, rest)) => shown
            .split_first()
            .is_some_and(|(line, others)| line_fits(first, line) && lines_fit(rest, others)),
    }
}

fn line_fits(wanted: &str, shown: &str) -> bool {
    let mut parts = wanted.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = shown.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn transcripts(folder: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Plays one transcript and returns what was shown otherwise than it says.
fn play(path: &Path, dir: &Path, host: &str) -> String {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut wrong = String::new();
    let (mut steps, rest) = read(&fs::read_to_string(path).unwrap());
    for step in &mut steps {
        let shown = run(&step.line, dir, host);
        if lines_fit(&step.shown, &shown) {
            continue;
        }
        if update {
            step.shown = shown;
        } else {
            writeln!(
                wrong,
                "\n{}\n$ {}\n--- should show\n{}\n--- shows\n{}",
                path.display(),
                step.line,
                step.shown.join("\n"),
                shown.join("\n")
            )
            .unwrap();
        }
    }
    if update {
        fs::write(path, write(&steps, &rest).trim_end().to_owned() + "\n").unwrap();
    }
    wrong
}

fn judge(wrong: &str) {
    assert!(wrong.is_empty(), "{wrong}\n(UPDATE_TRANSCRIPTS=1 writes what is shown now)");
}

#[test]
fn the_tool_speaks_as_its_transcripts_say() {
    let mut wrong = String::new();
    for path in transcripts("tests/cli") {
        let dir = tempfile::tempdir().unwrap();
        wrong += &play(&path, dir.path(), "unix:///nowhere/secretd.sock");
    }
    judge(&wrong);
}

#[test]
fn with_a_node_the_tool_does_what_its_transcripts_say() {
    let mut wrong = String::new();
    for path in transcripts("tests/cli/live") {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("unix://{}/run/secretd.sock", dir.path().display());
        wrong += &play(&path, dir.path(), &host);
        // Each ends its own tasks; the node goes here, whatever the transcript came to.
        run("kill $(cat pid) && tail --pid=$(cat pid) -f /dev/null", dir.path(), &host);
    }
    judge(&wrong);
}

#[test]
fn patterns_stand_for_what_they_say() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(lines_fit(&lines("a\n...\nz"), &lines("a\nb\nc\nz")));
    assert!(!lines_fit(&lines("a\n...\nz"), &lines("a\nb")));
    assert!(line_fits("id [..] of [..]", "id 12 of 13"));
    assert!(!line_fits("id [..] of", "id 12 of 13"));
    assert!(!line_fits("a", "ab"));
}
