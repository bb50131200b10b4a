//! The payloads this node was given, in memory, for as long as its assignment has them.

use super::runtime::File;
use crate::{
    crypto::plaintext::Plaintext,
    kit::id::NodeId,
    model::task::{ObjectVersion, Task},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What the manager sent for one version.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Payload(Arc<Plaintext>),
    /// It cannot be had, and why.
    Unavailable(String),
}

/// Mirrors what the manager believes we hold: dropping something by ourselves would leave the next task that needs it
/// without, for the manager sends each version once.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    contents: BTreeMap<ObjectVersion, Content>,
}

/// A task's payload is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    what: String,
    service: String,
    node: NodeId,
    why: String,
}

impl Shelf {
    pub(super) fn put(&mut self, version: ObjectVersion, content: Content) {
        self.contents.insert(version, content);
    }

    /// Wiped as soon as no task is being made with it.
    pub(super) fn take_away(&mut self, version: ObjectVersion) {
        self.contents.remove(&version);
    }

    /// Whether the payload itself is here.
    pub(super) fn has(&self, version: &ObjectVersion) -> bool {
        matches!(self.contents.get(version), Some(Content::Payload(_)))
    }

    /// Returns all files of a task, or what is missing.
    pub(super) fn files(&self, task: &Task, node: NodeId) -> Result<Vec<File>, Missing> {
        let references = &task.spec.references;
        references
            .iter()
            .enumerate()
            .map(|(at, reference)| {
                let missing = |why: &str| Missing {
                    what: format!("{} {}", reference.kind, reference.name),
                    service: task.service_name.to_string(),
                    node,
                    why: why.to_owned(),
                };
                let version = task
                    .versions
                    .get(at)
                    .ok_or_else(|| missing("the task does not say which version it gets"))?;
                match self.contents.get(version) {
                    Some(Content::Payload(payload)) => {
                        Ok(File { reference: reference.clone(), payload: Arc::clone(payload) })
                    }
                    Some(Content::Unavailable(why)) => Err(missing(why)),
                    None => Err(missing("the manager did not send it")),
                }
            })
            .collect()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, service, node, why } = self;
        write!(f, "{what} for service {service} is not available on node {node}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::testing,
        model::object::{Kind, VersionNumber},
    };

    fn task_with(names: &[&str]) -> Task {
        let mut task = testing::task("web");
        let spec = Arc::make_mut(&mut task.spec);
        for name in names {
            let reference = testing::reference(Kind::Secret, name, name);
            let version = ObjectVersion { object: reference.object, version: VersionNumber::FIRST };
            spec.references.push(reference);
            task.versions.push(version);
        }
        task
    }

    fn payload(text: &str) -> Content {
        Content::Payload(Arc::new(Plaintext::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn a_task_gets_the_versions_it_was_made_with() {
        let task = task_with(&["a", "b"]);
        let mut shelf = Shelf::default();
        shelf.put(task.versions[1], payload("two!"));
        shelf.put(task.versions[0], payload("one"));
        let files = shelf.files(&task, NodeId::random()).unwrap();
        let lengths: Vec<_> = files.iter().map(|f| f.payload.len()).collect();
        assert_eq!(lengths, [3, 4]);
    }

    #[test]
    fn what_is_missing_is_named_with_service_node_and_reason() {
        let task = task_with(&["a", "db-password"]);
        let node = NodeId::random();
        let mut shelf = Shelf::default();
        shelf.put(task.versions[0], payload("x"));
        assert_eq!(
            shelf.files(&task, node).unwrap_err().to_string(),
            format!(
                "secret db-password for service web is not available on node {node}: the manager did not send it"
            )
        );
        shelf.put(task.versions[1], Content::Unavailable("the keyring is locked".into()));
        let error = shelf.files(&task, node).unwrap_err().to_string();
        assert!(error.ends_with("the keyring is locked"), "{error}");
    }

    #[test]
    fn what_is_taken_away_lives_only_as_long_as_a_task_is_made_with_it() {
        let task = task_with(&["a"]);
        let mut shelf = Shelf::default();
        shelf.put(task.versions[0], payload("x"));
        let held = Arc::downgrade(&shelf.files(&task, NodeId::random()).unwrap()[0].payload);
        assert!(held.upgrade().is_some());
        shelf.take_away(task.versions[0]);
        assert!(held.upgrade().is_none());
    }
}
