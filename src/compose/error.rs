//! What is wrong with a Compose file, and where: file, line, column and path into the document.

use super::tree::Pos;
use std::fmt;

/// A place in a document and what is wrong there. Shows names (of services, objects, fields, variables, images) and
/// paths; never another value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeError {
    pub file: String,
    /// From 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// From 1; 0 when the line as a whole is meant.
    pub column: usize,
    /// As `services.db.secrets[0].target`; empty for the document as a whole.
    pub path: String,
    pub why: String,
    pub hint: Option<String>,
}

impl ComposeError {
    pub(crate) fn at(pos: &Pos, path: &str, why: impl Into<String>) -> Self {
        Self {
            file: pos.file.to_string(),
            line: pos.line,
            column: pos.column,
            path: path.to_owned(),
            why: why.into(),
            hint: None,
        }
    }

    pub(crate) fn in_file(file: &str, line: usize, why: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column: 0,
            path: String::new(),
            why: why.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, why, hint: _ } = self;
        f.write_str(file)?;
        for number in [line, column] {
            if *number > 0 {
                write!(f, ":{number}")?;
            }
        }
        if !path.is_empty() {
            write!(f, ": {path}")?;
        }
        write!(f, ": {why}")
    }
}

impl std::error::Error for ComposeError {}

pub(crate) type Result<T> = std::result::Result<T, ComposeError>;
