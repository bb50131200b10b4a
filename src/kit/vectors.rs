//! Reads the golden vectors of `tests/formats` for the tests of the floors they belong to.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// One file: `name: value` lines, `#` for comments.
pub(crate) struct Vector {
    pub(crate) path: PathBuf,
    fields: BTreeMap<String, String>,
}

impl Vector {
    /// All vectors of a folder below `tests/formats`.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(folder);
        let entries = fs::read_dir(&dir).expect("the folder is there");
        entries.map(|entry| Self::read(entry.unwrap().path())).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').expect("a line is `name: value`");
            (name.to_owned(), value.trim().to_owned())
        };
        Self { fields: lines.map(pair).collect(), path }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let missing = || panic!("{} has no field {name}", self.path.display());
        self.fields.get(name).unwrap_or_else(missing)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let (pairs, rest) = self.text(name).as_bytes().as_chunks::<2>();
        assert!(rest.is_empty(), "{}: {name} has half a byte", self.path.display());
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.iter().map(byte).collect()
    }
}
