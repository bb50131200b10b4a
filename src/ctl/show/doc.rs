//! Documents for `inspect` that are put together field by field.

use serde::{Serialize, Serializer};
use serde_json::Value;
use std::time::Duration;

/// A document whose fields keep their order.
#[derive(Debug)]
pub(super) enum Doc {
    Value(Value),
    Map(Vec<(&'static str, Self)>),
    List(Vec<Self>),
}

impl Doc {
    pub(super) fn map() -> Self {
        Self::Map(Vec::new())
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Self>) -> Self {
        if let Self::Map(fields) = &mut self {
            fields.push((name, value.into()));
        }
        self
    }

    /// Leaves the field out if the value says nothing: empty, zero, false.
    pub(super) fn some(self, name: &'static str, value: impl Into<Self>) -> Self {
        let value = value.into();
        if value.says_nothing() { self } else { self.with(name, value) }
    }

    fn says_nothing(&self) -> bool {
        match self {
            Self::Value(Value::Null) => true,
            Self::Value(Value::Bool(truth)) => !truth,
            Self::Value(Value::Number(number)) => number.as_f64() == Some(0.0),
            Self::Value(Value::String(text)) => text.is_empty(),
            Self::Value(Value::Array(items)) => items.is_empty(),
            Self::Value(Value::Object(map)) => map.is_empty(),
            Self::Map(fields) => fields.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }
}

impl<T: Into<Value>> From<T> for Doc {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

impl Serialize for Doc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Map(fields) => serializer.collect_map(fields.iter().map(|(k, v)| (k, v))),
            Self::List(items) => serializer.collect_seq(items),
        }
    }
}

pub(super) fn nanos(duration: Duration) -> Doc {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).into()
}

pub(super) fn list<T>(items: &[T], doc: impl Fn(&T) -> Doc) -> Doc {
    Doc::List(items.iter().map(doc).collect())
}
