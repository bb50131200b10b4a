//! A Compose document as a tree in which every node knows its file, line and column.

use super::error::ComposeError;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Where a node stands; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pos {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Pos {
    pub(crate) fn error(&self, path: &str, why: impl Into<String>) -> ComposeError {
        ComposeError::at(self, path, why)
    }
}

/// How a node meets the one of the same name in an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// By the rules of merging.
    Merge,
    /// `!reset`: both go.
    Reset,
    /// `!override`: it stands in place of the earlier one.
    Override,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A scalar's text. What it means (a number, a mode, a duration) is for its field to say.
#[derive(Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, so that `true` is a truth and not a word.
    pub(crate) plain: bool,
}

impl fmt::Debug for Scalar {
    /// Values may be secret: environment variables, contents of configs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(..)")
    }
}

/// A value with the place of its key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Pos,
    pub(crate) node: Node,
}

/// A mapping, sorted by key: whatever is made from it comes out the same each time.
pub(crate) type Map = BTreeMap<String, Entry>;

impl Node {
    pub(crate) fn new(pos: &Pos, value: Value) -> Self {
        Self { pos: pos.clone(), mark: Mark::Merge, value }
    }

    pub(crate) fn null(pos: &Pos) -> Self {
        Self::new(pos, Value::Null)
    }

    /// A text that reads back as a text whatever it looks like.
    pub(crate) fn text(pos: &Pos, text: impl Into<String>) -> Self {
        Self::new(pos, Value::Scalar(Scalar { text: text.into(), plain: false }))
    }

    /// A number or a truth.
    pub(crate) fn plain(pos: &Pos, text: impl Into<String>) -> Self {
        Self::new(pos, Value::Scalar(Scalar { text: text.into(), plain: true }))
    }

    pub(crate) fn texts(pos: &Pos, texts: impl IntoIterator<Item = String>) -> Self {
        Self::new(pos, Value::List(texts.into_iter().map(|text| Self::text(pos, text)).collect()))
    }

    pub(crate) fn map<'k>(pos: &Pos, fields: impl IntoIterator<Item = (&'k str, Self)>) -> Self {
        let entry = |(key, node): (&str, Self)| (key.to_owned(), Entry { key: pos.clone(), node });
        Self::new(pos, Value::Map(fields.into_iter().map(entry).collect()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        if let Value::Map(map) = &self.value { Some(map) } else { None }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Scalar(scalar) = &self.value { Some(&scalar.text) } else { None }
    }

    /// The text of a field of a mapping, if it has that field and it is a scalar.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.as_map()?.get(key)?.node.as_text()
    }

    /// A word for the kind of node, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// What `a.b` or `a[0]` is called.
pub(crate) fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(crate) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeMap, SerializeSeq};
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Scalar(scalar) => scalar.serialize(serializer),
            Value::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, entry) in map {
                    out.serialize_entry(key, &entry.node)?;
                }
                out.end()
            }
        }
    }
}

impl serde::Serialize for Scalar {
    /// Writes numbers and truths as such only if they come out as they were written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.plain {
            match self.text.as_str() {
                "true" => return serializer.serialize_bool(true),
                "false" => return serializer.serialize_bool(false),
                text => {
                    if let Ok(number) = text.parse::<i64>()
                        && number.to_string() == text
                    {
                        return serializer.serialize_i64(number);
                    }
                }
            }
        }
        serializer.serialize_str(&self.text)
    }
}
