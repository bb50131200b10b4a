//! The variables a document may use: the caller's environment, and a `.env` file below it.

use super::{dotenv, error::Result};
use std::{collections::BTreeMap, fmt};

/// Names and values; printing it shows neither.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(vars.into_iter().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Adds what a `.env` file sets; what is already there wins.
    ///
    /// # Errors
    /// The file is malformed; says the line, never the text.
    pub fn with_dotenv(mut self, file: &str, bytes: &[u8]) -> Result<Self> {
        for (name, value) in dotenv::parse(file, bytes, &|name| self.get(name).map(str::to_owned))?
        {
            self.0.entry(name).or_insert(value);
        }
        Ok(self)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_environment_wins_over_the_file() {
        let env = Environment::new([("A".into(), "shell".into())])
            .with_dotenv(".env", b"A=file\nB=$A\n")
            .unwrap();
        assert_eq!((env.get("A"), env.get("B")), (Some("shell"), Some("shell")));
        assert_eq!(format!("{env:?}"), "Environment(2 variables)");
    }
}
