//! Turns the engine's log stream into lines with their time.

use crate::{
    agent::runtime::{LogLine, Output},
    kit::clock::Timestamp,
};
use bollard::container::LogOutput;
use std::collections::VecDeque;

/// A line longer than this is handed on in pieces, in bytes: it must fit into a message.
const LINE: usize = 256 * 1024;

/// Puts lines together from what the engine sends.
///
/// Without a terminal each frame is one line or a part of one, and begins with its own time. With one there are no
/// frames: only bytes, in which each line begins with its time and ends with `\r\n`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    stdout: Part,
    stderr: Part,
    terminal: Vec<u8>,
    ready: VecDeque<LogLine>,
}

#[derive(Debug, Default)]
struct Part {
    at: Option<Timestamp>,
    bytes: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, output: LogOutput) {
        match output {
            LogOutput::StdOut { message } => self.frame(Output::Stdout, &message),
            LogOutput::StdErr { message } => self.frame(Output::Stderr, &message),
            LogOutput::Console { message } => self.console(&message),
            LogOutput::StdIn { .. } => {}
        }
    }

    /// Hands over what has no line end yet: nothing more comes.
    pub(super) fn finish(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            if !self.part(output).bytes.is_empty() {
                self.emit(output);
            }
        }
        if !self.terminal.is_empty() {
            let rest = std::mem::take(&mut self.terminal);
            self.console_line(&rest);
        }
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> Option<LogLine> {
        self.ready.pop_front()
    }

    fn part(&mut self, output: Output) -> &mut Part {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    fn frame(&mut self, output: Output, message: &[u8]) {
        let (at, text) = split_time(message);
        let whole = text.last() == Some(&b'\n');
        let part = self.part(output);
        part.at = part.at.or(at);
        part.bytes.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
        if whole || part.bytes.len() >= LINE {
            self.emit(output);
        }
    }

    fn emit(&mut self, output: Output) {
        let Part { at, bytes } = std::mem::take(self.part(output));
        self.ready.push_back(LogLine { at: at.unwrap_or_default(), output, line: bytes });
    }

    fn console(&mut self, message: &[u8]) {
        self.terminal.extend_from_slice(message);
        while let Some(end) = self.terminal.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.terminal.drain(..=end).collect();
            self.console_line(&line);
        }
        if self.terminal.len() >= LINE {
            let line = std::mem::take(&mut self.terminal);
            self.console_line(&line);
        }
    }

    fn console_line(&mut self, line: &[u8]) {
        let (at, text) = split_time(line);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let line =
            LogLine { at: at.unwrap_or_default(), output: Output::Stdout, line: text.to_vec() };
        self.ready.push_back(line);
    }
}

/// Takes the time off the front: `2026-11-23T06:58:00.123456789Z text`.
fn split_time(message: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let Some(space) = message.iter().take(40).position(|b| *b == b' ') else {
        return (None, message);
    };
    match std::str::from_utf8(&message[..space]).ok().and_then(parse_time) {
        Some(at) => (Some(at), &message[space + 1..]),
        None => (None, message),
    }
}

/// Reads RFC 3339 in UTC, to the millisecond.
fn parse_time(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-');
    let year = date.next()?.parse().ok()?;
    let month: u8 = date.next()?.parse().ok()?;
    let day = date.next()?.parse().ok()?;
    let mut clock = clock.splitn(3, ':');
    let hour = clock.next()?.parse().ok()?;
    let minute = clock.next()?.parse().ok()?;
    let (second, fraction) = match clock.next()?.split_once('.') {
        Some((second, fraction)) => (second.parse().ok()?, fraction),
        None => return None,
    };
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let date =
        time::Date::from_calendar_date(year, time::Month::try_from(month).ok()?, day).ok()?;
    let at = date.with_hms_milli(hour, minute, second, millis).ok()?.assume_utc();
    Some(Timestamp(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: &str = "2026-11-23T06:58:00.123456789Z ";

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into_bytes().into() }
    }

    fn all(lines: &mut Lines) -> Vec<(Output, String)> {
        std::iter::from_fn(|| lines.next())
            .map(|l| (l.output, String::from_utf8(l.line).unwrap()))
            .collect()
    }

    #[test]
    fn a_line_in_parts_is_one_line_with_the_time_of_its_first() {
        let mut lines = Lines::default();
        lines.push(out(&format!("{AT}one ")));
        lines.push(LogOutput::StdErr { message: format!("{AT}beside\n").into_bytes().into() });
        assert_eq!(all(&mut lines), [(Output::Stderr, "beside".to_owned())]);
        lines.push(out("2026-11-23T06:59:00.000000000Z line\n"));
        let line = lines.next().unwrap();
        assert_eq!(line.line, b"one line");
        assert_eq!(line.at.to_string(), "2026-11-23T06:58:00.123Z");
    }

    #[test]
    fn a_terminals_bytes_are_cut_at_line_ends_wherever_they_arrive() {
        let mut lines = Lines::default();
        for piece in [AT, "a\r", "\n", AT, "b\r\n", AT, "rest"] {
            lines.push(LogOutput::Console { message: piece.to_owned().into_bytes().into() });
        }
        lines.finish();
        let texts: Vec<_> = all(&mut lines).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a", "b", "rest"]);
    }

    #[test]
    fn an_endless_line_comes_in_pieces() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.push(out(&format!("{AT}{}", "x".repeat(16 * 1024))));
        }
        assert_eq!(lines.next().unwrap().line.len(), LINE);
        assert_eq!(lines.next().unwrap().line.len(), LINE);
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        let mut lines = Lines::default();
        lines.push(out(&format!("{AT}\n")));
        assert_eq!(all(&mut lines), [(Output::Stdout, String::new())]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut lines = Lines::default();
            for piece in pieces {
                lines.push(LogOutput::Console { message: piece.clone().into() });
                lines.push(LogOutput::StdOut { message: piece.into() });
            }
            lines.finish();
            while lines.next().is_some() {}
        }
    }
}
