//! Takes a tree apart field by field: what is there has the right shape, what is left over is an error.

use super::{
    error::{ComposeError, Result},
    tree::{Entry, Map, Node, Pos, Value, child, item},
    units,
};
use crate::kit::duration::parse_duration;
use std::{collections::BTreeSet, time::Duration};

/// A node and its path in the document.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

impl<'a> View<'a> {
    pub(crate) fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    pub(crate) fn error(&self, why: impl Into<String>) -> ComposeError {
        self.node.pos.error(&self.path, why)
    }

    fn expected(&self, what: &str) -> ComposeError {
        self.error(format!("must be {what}, not {}", self.node.kind()))
    }

    pub(crate) fn map(&self) -> Result<&'a Map> {
        self.node.as_map().ok_or_else(|| self.expected("a mapping"))
    }

    pub(crate) fn fields(&self) -> Result<Fields<'a>> {
        let (map, path) = (self.map()?, self.path.clone());
        Ok(Fields { map, path, pos: &self.node.pos, taken: BTreeSet::new() })
    }

    /// The entries of a mapping whose keys are names, extensions left out.
    pub(crate) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = (&'a str, &'a Entry, Self)> + use<'a>> {
        let path = self.path.clone();
        Ok(self.map()?.iter().filter(|(key, _)| !key.starts_with("x-")).map(move |(key, entry)| {
            (key.as_str(), entry, Self::new(&entry.node, child(&path, key)))
        }))
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>> {
        let Value::List(items) = &self.node.value else { return Err(self.expected("a list")) };
        let view = |(index, node)| Self::new(node, item(&self.path, index));
        Ok(items.iter().enumerate().map(view).collect())
    }

    pub(crate) fn text(&self) -> Result<&'a str> {
        let Some(text) = self.node.as_text() else { return Err(self.expected("a text")) };
        if text.contains('\0') {
            return Err(self.error("must not contain a NUL byte"));
        }
        Ok(text)
    }

    pub(crate) fn owned(&self) -> Result<String> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>> {
        self.list()?.iter().map(Self::owned).collect()
    }

    pub(crate) fn truth(&self) -> Result<bool> {
        units::truth(self.text()?).ok_or_else(|| self.error("must be true or false"))
    }

    pub(crate) fn whole(&self) -> Result<u64> {
        units::whole(self.text()?).ok_or_else(|| self.error("must be a whole number, 0 or more"))
    }

    pub(crate) fn bytes(&self) -> Result<u64> {
        units::bytes(self.text()?).ok_or_else(|| {
            self.error("must be a size").hint("a size is a number with a unit: 64M, 1g")
        })
    }

    pub(crate) fn duration(&self) -> Result<Duration> {
        parse_duration(self.text()?).map_err(|err| self.error(err.to_string()))
    }

    /// One of several words, `(word, meaning)`.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!("must be one of: {}", names.join(", ")))
        })
    }
}

/// A mapping being taken apart. Fields starting with `x-` belong to the user.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    map: &'a Map,
    path: String,
    pos: &'a Pos,
    taken: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn error(&self, why: impl Into<String>) -> ComposeError {
        self.pos.error(&self.path, why)
    }

    /// A field that is there and is not null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<View<'a>> {
        self.taken.insert(key);
        let entry = self.map.get(key)?;
        (!entry.node.is_null()).then(|| View::new(&entry.node, child(&self.path, key)))
    }

    /// Reads a field if it is there.
    pub(crate) fn opt<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&View<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.take(key).map(|view| read(&view)).transpose()
    }

    /// Reads a field if it is there, else takes the type's default.
    pub(crate) fn or_default<T: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&View<'a>) -> Result<T>,
    ) -> Result<T> {
        Ok(self.opt(key, read)?.unwrap_or_default())
    }

    /// Takes a field that means nothing to a stack; true if it was there.
    pub(crate) fn ignore(&mut self, key: &'static str) -> bool {
        self.take(key).is_some()
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        for (key, entry) in self.map {
            if self.taken.contains(key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let error = entry.key.error(&child(&self.path, key), "unknown field");
            return Err(match nearest(key, &self.taken) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("fields of your own start with x-"),
            });
        }
        Ok(())
    }
}

/// The known name that a typing slip away is this one.
fn nearest<'n>(name: &str, known: &BTreeSet<&'n str>) -> Option<&'n str> {
    let letters = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let distance = |other: &str| edits(&letters(name), &letters(other));
    known
        .iter()
        .map(|other| (distance(other), *other))
        .filter(|(edits, other)| *edits <= 2 && *edits < other.len().min(name.len()))
        .min()
        .map(|(_, other)| other)
}

/// Insertions, deletions and replacements between two short names.
fn edits(a: &str, b: &str) -> usize {
    const FAR: usize = 100;
    if a.len() > FAR || b.len() > FAR {
        return FAR;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let here = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = here;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml;

    #[test]
    fn what_nobody_took_is_an_error_with_a_guess() {
        let node = yaml::parse("f.yaml", b"image: a\nlable: {}\nx-mine: 1\n").unwrap().remove(0);
        let mut fields = View::new(&node, "services.a").fields().unwrap();
        assert!(fields.take("image").is_some() && fields.take("labels").is_none());
        let err = fields.finish().unwrap_err();
        assert_eq!(err.to_string(), "f.yaml:2:1: services.a.lable: unknown field");
        assert_eq!(err.hint.as_deref(), Some("did you mean labels?"));
    }

    #[test]
    fn a_wrong_shape_names_both_shapes_and_no_value() {
        let node = yaml::parse("f.yaml", b"a: hunter2\nb: [1]\n").unwrap().remove(0);
        let mut fields = View::new(&node, "").fields().unwrap();
        let a = fields.take("a").unwrap();
        assert_eq!(
            a.list().unwrap_err().to_string(),
            "f.yaml:1:4: a: must be a list, not a single value"
        );
        assert_eq!(a.whole().unwrap_err().why, "must be a whole number, 0 or more");
        assert_eq!(fields.take("b").unwrap().text().unwrap_err().why, "must be a text, not a list");
    }
}
