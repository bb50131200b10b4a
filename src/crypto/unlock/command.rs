//! A key that a program has decrypted elsewhere: by a cloud's KMS, an HSM, whatever it can reach.
//!
//! secretd starts the program without arguments, in `/`, with its own environment, writes one line of JSON to its standard
//! input and closes it; the program writes one line of JSON to its standard output and ends with 0. Binary fields are base64.
//!
//! ```text
//! → {"version":1,"operation":"wrap","key":"…"}          once, when the unlocker is added
//! ← {"wrapped":"…"}                                     up to 48 KiB, kept in node.keys
//! → {"version":1,"operation":"unwrap","wrapped":"…"}    at each start
//! ← {"key":"…"}                                         the same 32 bytes
//! ```
//!
//! Any other end is a failure, and the last line of standard error says why. It has 30 seconds. Every manager must have
//! the program at the same path, owned by root or secretd's user and writable by nobody else, like the directories on the way to it.

use crate::{
    crypto::key::{Key, Unlock},
    kit::owner::{self, Insecure},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::Deserialize;
use std::{
    io::{self, Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// A KMS in another region answers in less, an HSM that asks a person does not.
const PATIENCE: Duration = Duration::from_secs(30);
/// What KMSs make of 32 bytes is below 1 KiB; the key header must stay small.
const ANSWER: u64 = 64 * 1024;
/// Words of the program in our error; more would hide ours.
const WORDS: usize = 300;

/// A program, and what it made of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    pub program: PathBuf,
    /// Only the program can turn it back into the key.
    pub wrapped_key: Vec<u8>,
}

/// Why a program did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    #[error("{} is not the absolute path of a program", path.display())]
    NotAbsolute { path: PathBuf },
    #[error("{} can be changed by others than root and secretd's user", path.display())]
    TooOpen { path: PathBuf, source: Insecure },
    #[error("cannot run {}", path.display())]
    Run { path: PathBuf, source: io::Error },
    #[error("{} did not answer within {} s", path.display(), PATIENCE.as_secs())]
    Late { path: PathBuf },
    #[error("{} failed ({how}): {words}", path.display())]
    Failed { path: PathBuf, how: String, words: String },
    #[error("{} gave an answer that cannot be understood", path.display())]
    Answer { path: PathBuf },
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    wrapped: &'a str,
}

#[derive(Deserialize)]
struct Unwrapped<'a> {
    key: &'a str,
}

impl Helper {
    /// Has the program encrypt `key`, and makes sure that it can get it back. Blocks up to a minute.
    ///
    /// # Errors
    /// [`HelperError`]
    pub fn wrap(program: &Path, key: &Key<Unlock>) -> Result<Self, HelperError> {
        let answer = run(program, "wrap", "key", key.bytes())?;
        let bad = || HelperError::Answer { path: program.to_owned() };
        let Wrapped { wrapped } = serde_json::from_slice(&answer).map_err(|_| bad())?;
        let wrapped_key = STANDARD.decode(wrapped).map_err(|_| bad())?;
        let helper = Self { program: program.to_owned(), wrapped_key };
        // A helper that cannot decrypt is found out today and not at the next power failure.
        if helper.key()?.bytes() != key.bytes() {
            return Err(bad());
        }
        Ok(helper)
    }

    /// Has the program decrypt the key. Blocks up to half a minute.
    ///
    /// # Errors
    /// [`HelperError`]
    pub fn key(&self) -> Result<Key<Unlock>, HelperError> {
        let Self { program, wrapped_key } = self;
        let answer = run(program, "unwrap", "wrapped", wrapped_key)?;
        let bad = || HelperError::Answer { path: program.clone() };
        let Unwrapped { key: text } = serde_json::from_slice(&answer).map_err(|_| bad())?;
        let mut key = Key::blank();
        // The engine wants room for its estimate of the length; the rest of it stays zero.
        let mut room = Zeroizing::new([0; 48]);
        let len = STANDARD.decode_slice(text, room.as_mut_slice()).map_err(|_| bad())?;
        let bytes: &[u8; 32] = room[..len].try_into().map_err(|_| bad())?;
        key.bytes_mut().copy_from_slice(bytes);
        Ok(key)
    }
}

fn run(
    program: &Path,
    operation: &str,
    field: &str,
    value: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HelperError> {
    let path = || program.to_owned();
    check(program)?;
    let mut line = Zeroizing::new(String::with_capacity(128 + value.len() * 2));
    line.push_str(&format!("{{\"version\":1,\"operation\":\"{operation}\",\"{field}\":\""));
    STANDARD.encode_string(value, &mut line);
    line.push_str("\"}\n");
    let failed = |source| HelperError::Run { path: path(), source };
    let child = Command::new(program)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (status, answer, words) = converse(child, &line).map_err(failed)?;
    let Some(status) = status else { return Err(HelperError::Late { path: path() }) };
    if !status.success() {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        let words = String::from_utf8_lossy(&words);
        let words = words.trim().lines().next_back().unwrap_or("it did not say why");
        let words = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        return Err(HelperError::Failed { path: path(), how, words });
    }
    Ok(answer)
}

/// Refuses a program that somebody else could put another in place of.
fn check(program: &Path) -> Result<(), HelperError> {
    let path = || program.to_owned();
    if !program.is_absolute() {
        return Err(HelperError::NotAbsolute { path: path() });
    }
    program.metadata().map_err(|source| HelperError::Run { path: path(), source })?;
    owner::check(program).map_err(|source| HelperError::TooOpen { path: path(), source })
}

type Said = (Option<ExitStatus>, Zeroizing<Vec<u8>>, Vec<u8>);

/// Says `line` and hears both streams to their end; no status: it took too long and was killed.
fn converse(mut child: Child, line: &str) -> io::Result<Said> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (answers, answer) = mpsc::channel();
    let (complaints, complaint) = mpsc::channel();
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // A reader that is given up ends when the program's last descriptor closes.
    thread::spawn(move || answers.send(Zeroizing::new(hear(stdout))).ok());
    thread::spawn(move || complaints.send(hear(stderr)).ok());
    // One that does not read its input says why in its own way; a line fits into the pipe.
    stdin.write_all(line.as_bytes()).ok();
    drop(stdin);
    let end = Instant::now() + PATIENCE;
    let left = || end.saturating_duration_since(Instant::now());
    let heard = answer.recv_timeout(left());
    let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let patience = Timespec { tv_sec: i64::try_from(left().as_secs()).unwrap_or(0), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience))? > 0;
    if !ended {
        child.kill()?;
    }
    let status = Some(child.wait()?).filter(|_| ended);
    let words = complaint.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    Ok((status, heard.unwrap_or_default(), words))
}

fn hear(stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    // What cannot be read was not said.
    stream.take(ANSWER).read_to_end(&mut bytes).ok();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn program(&self, text: &str) -> PathBuf {
            let path = self.0.path().join("kms");
            // Written by another process: a fork of this one might hold it open for writing, and then nobody can run it.
            let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2.new\" && chmod 755 \"$2.new\" && mv \"$2.new\" \"$2\"";
            let args = ["-c", write, "sh", text, path.to_str().unwrap()];
            assert!(Command::new("/bin/sh").args(args).status().unwrap().success());
            path
        }
    }

    /// "Encrypts" by putting three zeros in front; good enough to see that both ways are gone.
    const ZEROS: &str = r#"
read -r line
value=$(printf %s "$line" | sed 's/.*:"\([^"]*\)"}$/\1/')
case $line in
  '{"version":1,"operation":"wrap","key":"'*) printf '{"wrapped":"AAAA%s"}\n' "$value" ;;
  '{"version":1,"operation":"unwrap","wrapped":"'*) printf '{"key":"%s"}\n' "${value#AAAA}" ;;
  *) echo "what is $line?" >&2; exit 3 ;;
esac"#;

    #[test]
    fn a_key_comes_back_from_the_program_that_took_it() {
        let place = Place::new();
        let (program, key) = (place.program(ZEROS), Key::random());
        let helper = Helper::wrap(&program, &key).unwrap();
        assert_ne!(helper.wrapped_key, key.bytes());
        assert_eq!(helper.key().unwrap().bytes(), key.bytes());
    }

    #[test]
    fn a_program_that_fails_is_quoted_without_the_key() {
        let place = Place::new();
        let program =
            place.program("cat > /dev/null; echo first >&2; echo 'KMS says no' >&2; exit 4");
        let error = Helper::wrap(&program, &Key::random()).unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("kms failed (exit code 4): KMS says no"), "{text}");
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        let place = Place::new();
        for answer in
            ["", "null", "{\"wrapped\":3}", "{\"wrapped\":\"!\"}", "{\"wrapped\":\"AAAA\"}"]
        {
            let program = place.program(&format!("cat > /dev/null; echo '{answer}'"));
            let error = Helper::wrap(&program, &Key::random()).unwrap_err();
            assert!(matches!(error, HelperError::Answer { .. }), "{answer}: {error}");
        }
    }

    #[test]
    fn a_program_that_forgets_the_key_is_found_out_when_it_is_added() {
        let place = Place::new();
        let zeros = STANDARD.encode([0; 32]);
        let program = place.program(&format!(
            "read -r l; case $l in *unwrap*) echo '{{\"key\":\"{zeros}\"}}' ;; *) echo '{{\"wrapped\":\"AAAA\"}}' ;; esac"
        ));
        let error = Helper::wrap(&program, &Key::random()).unwrap_err();
        assert!(matches!(error, HelperError::Answer { .. }), "{error}");
    }

    #[test]
    fn a_program_that_others_may_change_is_not_run() {
        let place = Place::new();
        let program = place.program("exit 0");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o775)).unwrap();
        let error = Helper::wrap(&program, &Key::random()).unwrap_err();
        assert!(matches!(error, HelperError::TooOpen { .. }), "{error}");
        let error = Helper::wrap(Path::new("kms"), &Key::random()).unwrap_err();
        assert!(matches!(error, HelperError::NotAbsolute { .. }), "{error}");
        let error = Helper::wrap(&place.0.path().join("none"), &Key::random()).unwrap_err();
        assert!(matches!(error, HelperError::Run { .. }), "{error}");
    }
}
