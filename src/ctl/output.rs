//! The only place that prints: results to stdout, everything said about them to stderr.
//!
//! What nodes, tasks and files say of themselves comes through here, so nothing but lines of text goes to a terminal, and to
//! stderr: see [`crate::kit::text`]. A program that reads stdout gets every byte. The exception is a task's own output.

use super::exit::{Code, Failure};
use crate::kit::text::lines;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Writes a line of the result.
///
/// # Errors
/// [`Code::Pipe`] when the reader has gone, [`Code::Other`] for any other failed write (a full disk).
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    self::text(format_args!("{text}\n"))
}

/// Writes the result; to a terminal only as text.
///
/// # Errors
/// As [`line`].
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    if is_terminal() {
        return written(io::stdout().lock().write_all(lines(&text.to_string()).as_bytes()));
    }
    written(write!(io::stdout().lock(), "{text}"))
}

/// Writes text in place of the `rows` that were written last, on a terminal.
///
/// # Errors
/// As [`line`].
pub(crate) fn redraw(rows: usize, text: &str) -> Result<(), Failure> {
    if rows > 0 {
        // Up to the first of our lines, and away with everything from there on.
        written(write!(io::stdout().lock(), "\x1b[{rows}A\x1b[J"))?;
    }
    self::text(text)
}

/// Writes bytes of a task's output as they are, to the stream they came from.
///
/// # Errors
/// As [`line`].
pub(crate) fn bytes(to_stderr: bool, bytes: &[u8]) -> Result<(), Failure> {
    if to_stderr {
        written(io::stderr().lock().write_all(bytes))
    } else {
        written(io::stdout().lock().write_all(bytes))
    }
}

/// Writes out what is still buffered, so that a failed write is not lost at the end.
///
/// # Errors
/// As [`line`].
pub(crate) fn flush() -> Result<(), Failure> {
    written(io::stdout().lock().flush())
}

/// Tells the person at the terminal something; nobody's data, so a failed write does not matter.
pub(crate) fn note(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", lines(&text.to_string())).ok();
}

/// As [`note`], with a word of ours in front. Further lines are set in, so that none looks like a word of ours.
fn say(word: &str, text: impl Display) {
    let text = text.to_string();
    let text = lines(&text).replace('\n', "\n  ");
    writeln!(io::stderr().lock(), "{word} {text}").ok();
}

/// Says why the command failed; the first word in red on a terminal.
pub(crate) fn failure(failure: &Failure) {
    if failure.code == Code::Pipe || failure.message().is_empty() {
        return;
    }
    let (error, hint) = if colour(&io::stderr()) {
        ("\x1b[1;31merror:\x1b[0m", "\x1b[1;36mhint:\x1b[0m")
    } else {
        ("error:", "hint:")
    };
    say(error, failure.message());
    if let Some(text) = failure.hint_text() {
        say(hint, text);
    }
}

/// Warns about something that did not stop the command.
pub(crate) fn warning(text: impl Display) {
    let word = if colour(&io::stderr()) { "\x1b[1;33mwarning:\x1b[0m" } else { "warning:" };
    say(word, text);
}

/// Whether stdout is a terminal, so that progress may be redrawn in place.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Code::Pipe, ""),
        _ => Failure::new(Code::Other, format!("cannot write the output: {error}")),
    })
}
