//! Where the managers are reached: what the cluster's rows say, and what was heard since.

use crate::kit::id::NodeId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The addresses of managers (`IP:PORT`). Whoever is met there proves which node it is, so a wrong one costs time and
/// nothing else. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    rows: BTreeMap<NodeId, String>,
    /// What a manager said of itself, or somebody who met it there, until its row says something new.
    heard: BTreeMap<NodeId, String>,
}

impl Book {
    /// Takes note of a row. One that has changed is newer than what was heard before.
    pub fn note_row(&self, node: NodeId, addr: &str) {
        let mut pages = self.pages();
        let before = pages.rows.insert(node, addr.to_owned());
        if before.is_some_and(|before| before != addr) {
            pages.heard.remove(&node);
        }
    }

    /// Takes note of where a manager is now, whatever its row says.
    pub fn hear(&self, node: NodeId, addr: &str) {
        self.pages().heard.insert(node, addr.to_owned());
    }

    /// Where the manager is, if anything is known.
    pub fn find(&self, node: NodeId) -> Option<String> {
        let pages = self.pages();
        pages.heard.get(&node).or_else(|| pages.rows.get(&node)).cloned()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_counts_until_the_row_says_something_new() {
        let (book, node) = (Book::default(), NodeId::random());
        assert_eq!(book.find(node), None);
        book.note_row(node, "a:1");
        book.hear(node, "b:1");
        book.note_row(node, "a:1");
        assert_eq!(book.find(node).as_deref(), Some("b:1"));
        book.note_row(node, "c:1");
        assert_eq!(book.find(node).as_deref(), Some("c:1"));
    }
}
