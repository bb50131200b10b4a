//! Shows text that others wrote: to a terminal it must be text and nothing else.
//!
//! A host name, a task's error or a name in a file may hold an escape sequence that moves the cursor, a newline that begins a
//! line of its own, or a mark that turns the direction of writing around. Each is written as JSON writes it, `\u001b`.

use std::{borrow::Cow, fmt::Write as _};

/// One line: control characters, newlines and tabs too, and marks that reorder or hide text are escaped.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_active)
}

/// As [`line()`], but newlines and tabs stay: text that was put together of lines before.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !matches!(c, '\n' | '\t') && is_active(c))
}

/// Whether a character does something to a terminal or to a reader but show itself.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Directions: marks, embeddings, overrides, isolates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Lines and paragraphs, and what is not seen at all. The joiners of scripts and emoji stay.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_bad(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a String takes everything");
                }
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("\u{1b}[31mred\u{1b}]0;title\u{7}", "\\u001b[31mred\\u001b]0;title\\u0007"),
            ("a\nerror: b\r\tc", "a\\nerror: b\\r\\tc"),
            ("\u{9b}2J\u{7f}\0", "\\u009b2J\\u007f\\u0000"),
            ("user\u{202e}gpj.exe", "user\\u202egpj.exe"),
            ("\u{feff}a\u{200b}b\u{e0041}", "\\ufeffa\\u200bb\\udb40\\udc41"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\tb\n\u{1b}c\n"), "a\tb\n\\u001bc\n");
    }

    #[test]
    fn text_stays_as_it_is_in_every_script() {
        for text in ["plain", "Ünïcödé €", "שלום", "می‌خواهم", "👩‍🔬", "日本語", "a\\nb"]
        {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_with_escapes_is_still_the_same_json() {
        let value = serde_json::json!({"Name": "a\u{9b}\u{202e}\u{e0041}\u{7f}"});
        let shown = lines(&value.to_string()).into_owned();
        assert_ne!(shown, value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
