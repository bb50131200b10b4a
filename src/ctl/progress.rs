//! Lines that change while one waits: redrawn in place on a terminal, printed when they change elsewhere.

use crate::{
    ctl::{exit::Failure, output},
    kit::text,
};

#[derive(Debug)]
pub(crate) struct Progress {
    in_place: bool,
    quiet: bool,
    /// Stands before each line; several of these may be shown at once.
    label: String,
    shown: Vec<String>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { in_place: output::is_terminal(), quiet, label: String::new(), shown: Vec::new() }
    }

    /// Lines of one of several things that are waited for at the same time: each change is a line of its own.
    pub(crate) fn labelled(quiet: bool, label: &str) -> Self {
        Self { in_place: false, quiet, label: format!("{label}: "), shown: Vec::new() }
    }

    /// Shows these lines in place of the ones before.
    pub(crate) fn show(&mut self, lines: Vec<String>) -> Result<(), Failure> {
        if !self.quiet && lines != self.shown {
            let text = update(&self.shown, &lines, self.in_place, &self.label);
            output::redraw(if self.in_place { self.shown.len() } else { 0 }, &text)?;
            output::flush()?;
            self.shown = lines;
        }
        Ok(())
    }

    /// Shows another last line.
    pub(crate) fn replace_last(&mut self, line: String) -> Result<(), Failure> {
        let mut lines = self.shown.clone();
        lines.pop();
        lines.push(line);
        self.show(lines)
    }
}

fn update(before: &[String], lines: &[String], in_place: bool, label: &str) -> String {
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if in_place || before.get(at) != Some(line) {
            out.push_str(label);
            // One row each, or what is drawn over is not what was drawn.
            out.push_str(&text::line(line));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[&str]) -> Vec<String> {
        of.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn away_from_a_terminal_only_changed_lines_are_printed() {
        let text = update(&lines(&["a", "b"]), &lines(&["a", "c", "d"]), false, "x: ");
        assert_eq!(text, "x: c\nx: d\n");
    }

    #[test]
    fn on_a_terminal_the_lines_are_drawn_over() {
        assert_eq!(update(&[], &lines(&["a"]), true, ""), "a\n");
        assert_eq!(update(&lines(&["a", "b"]), &lines(&["a", "c"]), true, ""), "a\nc\n");
    }

    #[test]
    fn a_tasks_error_is_one_line_whatever_it_says() {
        let text = update(&[], &lines(&["1/2: \u{1b}[2Kfailed\noverall"]), true, "");
        assert_eq!(text, "1/2: \\u001b[2Kfailed\\noverall\n");
    }
}
