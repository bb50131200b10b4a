//! Placement constraints: `node.labels.zone == a`, checked against what a node is.

use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
}

/// `key op value`; keys are those of Swarm, an unknown one never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    pub key: String,
    pub operator: Operator,
    pub value: String,
}

/// Why a constraint was refused; the texts are Swarm's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConstraint {
    #[error("constraint expected one operator from ==, !=")]
    Operator,
    #[error("key '{0}' is invalid")]
    Key(String),
    #[error("value '{0}' is invalid")]
    Value(String),
}

/// # Errors
/// [`BadConstraint`]: no operator, or a key or value with characters outside Swarm's set.
impl FromStr for Constraint {
    type Err = BadConstraint;
    fn from_str(text: &str) -> Result<Self, BadConstraint> {
        let (operator, at) = match (text.find("=="), text.find("!=")) {
            (Some(at), _) => (Operator::Equal, at),
            (None, Some(at)) => (Operator::NotEqual, at),
            (None, None) => return Err(BadConstraint::Operator),
        };
        let (key, value) = (text[..at].trim(), text[at + 2..].trim());
        let in_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || key.len() < 2 || !key.bytes().all(in_key) {
            return Err(BadConstraint::Key(key.to_owned()));
        }
        let in_value = |b: u8| b.is_ascii_alphanumeric() || b":-_ \t.*()?+[]\\^$|/".contains(&b);
        if value.is_empty() || !value.bytes().all(in_value) {
            return Err(BadConstraint::Value(value.to_owned()));
        }
        Ok(Self { key: key.to_owned(), operator, value: value.to_owned() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
        };
        write!(f, "{} {operator} {}", self.key, self.value)
    }
}
