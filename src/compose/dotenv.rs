//! Reads `.env` files as Compose does: comments, `export`, quotes over several lines, escapes, variables.

use super::{
    error::{ComposeError, Result},
    interpolate::{Filling, substitute},
};
use std::collections::BTreeMap;

/// Reads the assignments of a file, in their order. Later values may use earlier ones; `lookup`
/// comes first. A name without `=` takes its value from `lookup` or is left out.
pub(crate) fn parse(
    file: &str,
    bytes: &[u8],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(bytes).map_err(|err| {
        let line = 1 + bytes[..err.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        ComposeError::in_file(file, line, "is not UTF-8 text")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader { file, text: &text, at: 0, line: 1 };
    let mut out = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut filling = Filling::default();
    while let Some((name, raw)) = reader.assignment()? {
        let line = reader.line;
        let find = |name: &str| lookup(name).or_else(|| known.get(name).cloned());
        let value = match raw {
            Raw::Inherited => lookup(&name),
            Raw::Literal(text) => Some(text),
            Raw::Template(text) => {
                let value = substitute(&text, &find, &mut filling).map_err(|err| {
                    let error = ComposeError::in_file(file, line, format!("{name}: {err}"));
                    match err.hint() {
                        Some(hint) => {
                            error.hint(format!("{hint}, or put the value in single quotes"))
                        }
                        None => error,
                    }
                })?;
                Some(value)
            }
        };
        reader.end_of_assignment();
        if let Some(value) = value {
            known.insert(name.clone(), value.clone());
            out.push((name, value));
        }
    }
    Ok(out)
}

/// Reads a file of `NAME=VALUE` lines in which nothing has a meaning but `=` and the end of the line.
pub(crate) fn parse_raw(
    file: &str,
    bytes: &[u8],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ComposeError::in_file(file, 0, "is not UTF-8 text"))?;
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), lookup(line.trim_end())),
        };
        if !is_name(name) {
            return Err(ComposeError::in_file(
                file,
                index + 1,
                "the name of a variable is not valid",
            ));
        }
        out.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(out)
}

enum Raw {
    Inherited,
    /// In single quotes.
    Literal(String),
    /// Bare or in double quotes, escapes undone; variables still to be filled in.
    Template(String),
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.at += bytes;
    }

    fn error(&self, why: &str) -> ComposeError {
        ComposeError::in_file(self.file, self.line, why)
    }

    fn assignment(&mut self) -> Result<Option<(String, Raw)>> {
        loop {
            let blank = self.rest().len() - self.rest().trim_start().len();
            self.skip(blank);
            if self.rest().is_empty() {
                return Ok(None);
            }
            if !self.rest().starts_with('#') {
                break;
            }
            let end = self.rest().find('\n').unwrap_or(self.rest().len());
            self.skip(end);
        }
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            let gap = after.len() - after.trim_start_matches([' ', '\t']).len();
            self.skip("export".len() + gap);
        }
        let end = self.rest().find(['=', ':', '\n']).unwrap_or(self.rest().len());
        let name = self.rest()[..end].trim();
        if !is_name(name) {
            return Err(self
                .error("the name of a variable is not valid")
                .hint("a line is NAME=VALUE, a comment starts with #"));
        }
        let inherited = !self.rest()[end..].starts_with(['=', ':']);
        self.skip(end);
        if inherited {
            return Ok(Some((name.to_owned(), Raw::Inherited)));
        }
        self.skip(1);
        let gap = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
        self.skip(gap);
        let raw = match self.rest().chars().next() {
            Some('\'') => Raw::Literal(self.quoted('\'')?),
            Some('"') => Raw::Template(unescape(&self.quoted('"')?)),
            _ => Raw::Template(self.bare()),
        };
        Ok(Some((name.to_owned(), raw)))
    }

    fn bare(&self) -> String {
        let line = self.rest().split('\n').next().unwrap_or_default();
        // A comment needs a blank before it, so that colours and anchors may stand in values.
        let end = line
            .char_indices()
            .find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])))
            .map_or(line.len(), |(at, _)| at);
        line[..end].trim_end().to_owned()
    }

    /// Reads up to the closing quote and leaves the position there.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let inner = &self.rest()[1..];
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote {
                let after = inner[at + 1..].split('\n').next().unwrap_or_default().trim_start();
                if !after.is_empty() && !after.starts_with('#') {
                    return Err(self.error("something follows the closing quote"));
                }
                let text = inner[..at].to_owned();
                self.skip(1 + at);
                return Ok(text);
            }
        }
        Err(self.error("a quote is not closed"))
    }

    fn end_of_assignment(&mut self) {
        let end = self.rest().find('\n').unwrap_or(self.rest().len());
        self.skip(end);
    }
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'[' | b']');
    !name.is_empty() && name.bytes().all(inner)
}

/// Undoes the escapes of double quotes; an escaped dollar sign stays one through interpolation.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String)>> {
        parse(".env", text.as_bytes(), &|name| (name == "SHELL_VAR").then(|| "from-shell".into()))
    }

    fn value(text: &str) -> String {
        read(text).unwrap().pop().unwrap().1
    }

    #[test]
    fn variables_made_of_variables_do_not_grow_without_bound() {
        let names: Vec<char> = ('A'..='Z').chain('a'..='z').collect();
        let mut text = "A=xxxxxxxx\n".to_owned();
        for pair in names.windows(2) {
            text += &format!("{}=${}${}\n", pair[1], pair[0], pair[0]);
        }
        assert!(text.len() < 700);
        let error = read(&text).unwrap_err();
        assert!(error.to_string().contains("fill in more than 16777216 bytes"), "{error}");
    }

    #[test]
    fn values_read_as_compose_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            ("  A = b  ", "b"),
            ("export A=b", "b"),
            ("A: b", "b"),
            ("A=", ""),
            ("A=b # remark", "b"),
            ("A=b#c", "b#c"),
            ("A=# remark", ""),
            ("A='x $SHELL_VAR \\n # y' # remark", "x $SHELL_VAR \\n # y"),
            ("A=\"x $SHELL_VAR\\n\\\"y\\\" \\$z\"", "x from-shell\n\"y\" $z"),
            ("A=${SHELL_VAR}/${NONE:-d}", "from-shell/d"),
            ("A='line 1\nline 2'", "line 1\nline 2"),
            ("A=\"line 1\nline 2\"\r\n", "line 1\nline 2"),
            ("B=1\nA=$B$$", "1$"),
            ("\u{feff}# remark\n\nA=it's", "it's"),
            ("A=x=y", "x=y"),
            ("A.b-c[0]=x", "x"),
            ("SHELL_VAR", "from-shell"),
            ("export SHELL_VAR", "from-shell"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert_eq!(read("NOT_SET\nA=1").unwrap().len(), 1);
        assert_eq!(read("A='1'\nB=2\n").unwrap().len(), 2);
    }

    #[test]
    fn errors_name_the_line_and_never_the_text() {
        for (text, expected) in [
            ("A=1\nhunter 2=x", ".env:2: the name of a variable is not valid"),
            ("\n\nA='hunter2", ".env:3: a quote is not closed"),
            ("A='x' hunter2", ".env:1: something follows the closing quote"),
            (
                "A='x\ny'\nB=hunter2$1",
                ".env:3: B: invalid interpolation: a $ that starts no variable",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn raw_files_give_no_meaning_to_anything() {
        let vars = parse_raw("f", b"# c\nA='x' # $y\nSHELL_VAR\n", &|_| Some("s".into())).unwrap();
        assert_eq!(vars, [("A".into(), "'x' # $y".into()), ("SHELL_VAR".into(), "s".into())]);
        parse_raw("f", b"a b=1", &|_| None).unwrap_err();
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-zé=:#'\"\\\\$\\{\\}\n\t ]{0,80}") {
            drop(read(&text));
        }

        #[test]
        fn single_quotes_keep_everything(text in "[^'\r]{0,40}") {
            prop_assert_eq!(value(&format!("A='{text}'")), text);
        }
    }
}
