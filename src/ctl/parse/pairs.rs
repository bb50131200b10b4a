//! Reads `key=value` in its several coats: labels, environment, filters, and the fields of comma lists.

use crate::{
    ctl::exit::{Code, Failure},
    kit::source,
    model::Labels,
};
use std::path::Path;

/// A file of variables, in bytes: all of a service's settings together have at most 1 MiB.
const ENV_FILE: u64 = 4 * 1024 * 1024;

/// Splits a comma list whose fields may be quoted, as `"source=a,b",target=x`.
///
/// # Errors
/// A quote that is not closed, or one in the middle of a field.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    loop {
        let field = fields.last_mut().expect("starts with one and only grows");
        match chars.next() {
            None => return Ok(fields),
            Some(',') => fields.push(String::new()),
            Some('"') if field.is_empty() => loop {
                match chars.next() {
                    None => return Err("a quote is not closed".to_owned()),
                    Some('"') if chars.peek() == Some(&'"') => {
                        chars.next();
                        field.push('"');
                    }
                    Some('"') => match chars.peek() {
                        None | Some(',') => break,
                        Some(_) => return Err("text after a closing quote".to_owned()),
                    },
                    Some(c) => field.push(c),
                }
            },
            Some('"') => return Err("a quote in the middle of a field".to_owned()),
            Some(c) => field.push(c),
        }
    }
}

/// Reads `key=value`; a key alone has an empty value.
///
/// # Errors
/// An empty key.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(format!("'{text}' has no key"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads a filter, `key=value`; both must be there.
///
/// # Errors
/// A filter without `=`, in docker's words.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(format!("invalid argument \"{text}\": expected <key>=<value>")),
    }
}

/// Gathers labels; of one key given twice the last counts.
pub(crate) fn labels(pairs: &[(String, String)]) -> Labels {
    pairs.iter().cloned().collect()
}

/// Gathers the environment from `--env-file` and `--env`: a key alone takes its value from ours, or stays alone.
///
/// # Errors
/// A file that cannot be read, or an entry without a key.
pub(crate) fn env_entries(
    files: &[impl AsRef<Path>],
    entries: &[String],
) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let path = file.as_ref();
        let text = source::read_text(path, ENV_FILE).map_err(|error| {
            Failure::new(Code::Other, format!("cannot read {}: {error}", path.display()))
        })?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            all.push(entry(line).map_err(|why| {
                Failure::refused(format!("{}:{}: {why}", path.display(), at + 1))
            })?);
        }
    }
    for text in entries {
        all.push(entry(text).map_err(Failure::usage)?);
    }
    // Of one key given twice the last counts, and stands where it was first given.
    let mut kept: Vec<String> = Vec::new();
    for entry in all {
        match kept.iter_mut().find(|known| key(known) == key(&entry)) {
            Some(known) => *known = entry,
            None => kept.push(entry),
        }
    }
    Ok(kept)
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

fn entry(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        None if !text.is_empty() => Ok(match std::env::var(text) {
            Ok(value) => format!("{text}={value}"),
            Err(_) => text.to_owned(),
        }),
        _ => Err(format!("invalid environment variable: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(csv("a,b=c,"), Ok(vec!["a".into(), "b=c".into(), String::new()]));
        assert_eq!(csv("\"a,b\",c"), Ok(vec!["a,b".into(), "c".into()]));
        assert_eq!(csv("\"a\"\"b\""), Ok(vec!["a\"b".into()]));
        for text in ["\"a", "a\"b", "\"a\"b"] {
            csv(text).expect_err(text);
        }
    }

    #[test]
    fn the_last_of_two_equal_environment_keys_counts() {
        let none: [&str; 0] = [];
        let entries = ["A=1".to_owned(), "B=2".to_owned(), "A=3".to_owned()];
        assert_eq!(env_entries(&none, &entries), Ok(vec!["A=3".to_owned(), "B=2".to_owned()]));
        env_entries(&none, &["=x".to_owned()]).unwrap_err();
    }

    #[test]
    fn an_environment_file_has_comments_and_line_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# c\n\nA=1 # kept\n").unwrap();
        assert_eq!(env_entries(&[&path], &[]), Ok(vec!["A=1 # kept".to_owned()]));
        std::fs::write(&path, "A=1\n=2\n").unwrap();
        let failure = env_entries(&[&path], &[]).unwrap_err();
        assert!(failure.message().ends_with("env:2: invalid environment variable: =2"));
    }

    #[test]
    fn filters_and_labels() {
        assert_eq!(filter("Name=x"), Ok(("name".into(), "x".into())));
        assert_eq!(filter("label=a=b"), Ok(("label".into(), "a=b".into())));
        filter("name").unwrap_err();
        assert_eq!(key_value("a"), Ok(("a".into(), String::new())));
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        key_value("=b").unwrap_err();
    }
}
