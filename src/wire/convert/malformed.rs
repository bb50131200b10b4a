//! What is wrong with a message, and in which field.

use std::fmt;

/// A message that does not stand for anything: a field is missing, or its value breaks a rule of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// From the outside in: `spec.task.references[2].target`; empty for the message itself.
    pub path: String,
    pub why: String,
}

impl Malformed {
    pub fn new(why: impl fmt::Display) -> Self {
        Self { path: String::new(), why: why.to_string() }
    }

    /// Says in which field of the message around it the fault lies.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.why);
        }
        write!(f, "{}: {}", self.path, self.why)
    }
}

impl std::error::Error for Malformed {}
