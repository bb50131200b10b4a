//! Runs the commands of the demo: each is shown as a reader would type it, then carried out by this very program.

use crate::ctl::{
    exit::{Code, Failure},
    output,
};
use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
};
use tokio::process::Command;

/// Where the commands are run, and against which daemon.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) host: String,
    pub(super) image: String,
}

impl Stage {
    /// Says what comes next.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        output::line(format_args!("\n# {text}"))
    }

    /// Adds a line to what a command has shown.
    pub(super) fn remark(&self, text: &str) -> Result<(), Failure> {
        output::line(format_args!("# {text}"))
    }

    /// Shows a command that this program does not run itself.
    pub(super) fn show(&self, line: &str) -> Result<(), Failure> {
        output::line(format_args!("$ {line}"))?;
        output::flush()
    }

    /// Runs a command whose output goes straight to the reader.
    pub(super) async fn live(&self, words: &[&str]) -> Result<(), Failure> {
        self.show(&typed(words))?;
        let status = self.command(words).status().await.map_err(cannot_run)?;
        judge(words, status, None)
    }

    /// Runs a command, shows its output and returns it.
    pub(super) async fn captured(&self, words: &[&str]) -> Result<String, Failure> {
        self.show(&typed(words))?;
        let text = self.silent(words).await?;
        output::text(&text)?;
        Ok(text)
    }

    /// Runs a command nobody sees, and returns its output.
    pub(super) async fn silent(&self, words: &[&str]) -> Result<String, Failure> {
        let mut command = self.command(words);
        let done = command.stdout(Stdio::piped()).output().await.map_err(cannot_run)?;
        judge(words, done.status, None)?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Runs a command that is to be refused with this code.
    pub(super) async fn refused(&self, words: &[&str], code: Code) -> Result<(), Failure> {
        self.show(&typed(words))?;
        let status = self.command(words).status().await.map_err(cannot_run)?;
        judge(words, status, Some(code))
    }

    /// Goes on only if what we show is true.
    pub(super) fn check(&self, truth: bool, otherwise: &str) -> Result<(), Failure> {
        if truth {
            Ok(())
        } else {
            Err(Failure::new(Code::Other, format!("the demo went wrong: {otherwise}")))
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(&self.dir)
            .env("SECRETD_HOST", &self.host)
            .env("NERD_DINNER_IMAGE", &self.image)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

fn cannot_run(error: std::io::Error) -> Failure {
    Failure::new(Code::Other, format!("cannot run secretctl: {error}"))
}

fn judge(words: &[&str], status: ExitStatus, wanted: Option<Code>) -> Result<(), Failure> {
    let wanted = wanted.map_or(0, |code| i32::from(code as u8));
    if status.code() == Some(wanted) {
        return Ok(());
    }
    Err(Failure::new(
        Code::Other,
        format!("the demo went wrong: 'secretctl {}' ended with {status}", words.join(" ")),
    ))
}

/// The command line as one types it into a shell.
fn typed(words: &[&str]) -> String {
    let mut line = "secretctl".to_owned();
    for word in words {
        line.push(' ');
        line.push_str(&quoted(word));
    }
    line
}

pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_line_can_be_typed() {
        assert_eq!(
            typed(&[
                "service",
                "create",
                "--secret",
                "source=a,target=/b",
                "sh",
                "-c",
                "echo 'x' && y"
            ]),
            r"secretctl service create --secret source=a,target=/b sh -c 'echo '\''x'\'' && y'"
        );
        assert_eq!(quoted(""), "''");
    }
}
