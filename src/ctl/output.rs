//! The only place that prints: results to stdout, everything said about them to stderr.

use super::exit::{Code, Failure};
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Writes a line of the result.
///
/// # Errors
/// [`Code::Pipe`] when the reader has gone, [`Code::Other`] for any other failed write (a full disk).
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// Writes the result as it is.
///
/// # Errors
/// As [`line`].
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    written(write!(io::stdout().lock(), "{text}"))
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
    writeln!(io::stderr().lock(), "{text}").ok();
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
    note(format_args!("{error} {}", failure.message()));
    if let Some(text) = failure.hint_text() {
        note(format_args!("{hint} {text}"));
    }
}

/// Warns about something that did not stop the command.
pub(crate) fn warning(text: impl Display) {
    let word = if colour(&io::stderr()) { "\x1b[1;33mwarning:\x1b[0m" } else { "warning:" };
    note(format_args!("{word} {text}"));
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
