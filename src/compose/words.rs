//! Splits a command line into words as a POSIX shell does, without expanding anything.

/// A quote or a final backslash is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quote or a backslash at the end is left open")]
pub(crate) struct BadWords;

/// Splits at blanks outside quotes; single quotes keep everything, double quotes all but `\`.
pub(crate) fn split(line: &str) -> Result<Vec<String>, BadWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(BadWords)? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next().ok_or(BadWords)? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_split_as_in_a_shell() {
        for (line, expected) in [
            ("", vec![]),
            ("  a  b\tc\n", vec!["a", "b", "c"]),
            ("sh -c 'a \"b\" $c'", vec!["sh", "-c", "a \"b\" $c"]),
            (r#"a"b c"d "" '' \  "\n\"""#, vec!["ab cd", "", "", " ", "\\n\""]),
            ("a\\\nb", vec!["ab"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        for open in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(open), Err(BadWords), "{open}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[^']{0,12}", 0..5)) {
            let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&line.join(" ")), Ok(words));
        }

        #[test]
        fn no_text_makes_it_panic(line in ".{0,60}") {
            drop(split(&line));
        }
    }
}
