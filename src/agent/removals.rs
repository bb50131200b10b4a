//! Decides when nothing is left here of a task's payloads, so that this can be confirmed to the manager. Pure.
//!
//! The confirmation is about a task, not about a version: a version may be given to this node again at any moment,
//! while a task that has ended never comes back, so what was true when it was said stays true however late it is heard.
//! A version that another task here needs is that task's to confirm.

use crate::{
    kit::id::TaskId,
    model::task::{ObjectVersion, Task},
};
use std::collections::{BTreeMap, BTreeSet};

/// The tasks whose removal the manager does not know of yet.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// With the versions they were given.
    owed: BTreeMap<TaskId, Vec<ObjectVersion>>,
    /// Deleted tasks that somebody has yet to look for.
    unlooked: BTreeSet<TaskId>,
}

impl Removals {
    /// The manager shows a task and what it knows of its removal.
    pub(super) fn note(&mut self, task: &Task) {
        if task.wiped || task.versions.is_empty() {
            self.owed.remove(&task.id);
        } else {
            self.owed.insert(task.id, task.versions.clone());
        }
    }

    /// The manager has deleted a task. What it was given is remembered if it was ever here.
    pub(super) fn note_deleted(&mut self, task: TaskId) {
        self.owed.entry(task).or_default();
        self.unlooked.insert(task);
    }

    /// The task is made, though it may have been confirmed before: a cluster may be set back to an older state.
    pub(super) fn begin_again(&mut self, task: &Task) {
        self.note(task);
    }

    /// Takes the deleted tasks whose containers and files must be looked for.
    pub(super) fn take_unlooked(&mut self) -> BTreeSet<TaskId> {
        std::mem::take(&mut self.unlooked)
    }

    /// Takes the tasks of whose payloads nothing is left: no file, and in memory only what other tasks still have too.
    pub(super) fn take_settled(
        &mut self,
        has_files: impl Fn(TaskId) -> bool,
        is_in_memory: impl Fn(&ObjectVersion) -> bool,
    ) -> Vec<TaskId> {
        let (busy, over): (Vec<_>, Vec<_>) = self.owed.keys().partition(|task| has_files(**task));
        let needed: BTreeSet<ObjectVersion> =
            busy.into_iter().flat_map(|task| self.owed[task].iter().copied()).collect();
        let is_left = |version: &ObjectVersion| is_in_memory(version) && !needed.contains(version);
        let settled: Vec<TaskId> = over
            .into_iter()
            .filter(|task| !self.owed[*task].iter().any(is_left))
            .copied()
            .collect();
        for task in &settled {
            self.owed.remove(task);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::testing,
        kit::id::ObjectId,
        model::object::{Kind, VersionNumber},
    };
    use std::sync::Arc;

    fn version() -> ObjectVersion {
        ObjectVersion { object: ObjectId::random(), version: VersionNumber::FIRST }
    }

    fn task(versions: &[ObjectVersion]) -> Task {
        let mut task = testing::task("web");
        for version in versions {
            let mut reference = testing::reference(Kind::Secret, "token", "token");
            reference.object = version.object;
            Arc::make_mut(&mut task.spec).references.push(reference);
            task.versions.push(*version);
        }
        task
    }

    #[test]
    fn a_task_is_confirmed_once_when_files_and_memory_are_gone() {
        let mut removals = Removals::default();
        let a = version();
        let task = task(&[a]);
        removals.note(&task);
        assert_eq!(removals.take_settled(|_| true, |_| true), []);
        assert_eq!(removals.take_settled(|_| false, |_| true), [], "the memory still has it");
        assert_eq!(removals.take_settled(|_| true, |_| false), [], "its files are still there");
        assert_eq!(removals.take_settled(|_| false, |_| false), [task.id]);
        assert_eq!(removals.take_settled(|_| false, |_| false), []);
    }

    #[test]
    fn a_version_that_another_task_needs_is_for_that_task_to_confirm() {
        let mut removals = Removals::default();
        let (a, b) = (version(), version());
        let (over, busy, both) = (task(&[a]), task(&[a]), task(&[a, b]));
        for task in [&over, &busy, &both] {
            removals.note(task);
        }
        let has_files = |task| task == busy.id;
        assert_eq!(removals.take_settled(has_files, |_| true), [over.id], "not b, which none has");
        assert_eq!(
            removals.take_settled(|_| false, |v| *v == a),
            [],
            "neither vouches for the other"
        );
        let mut last = removals.take_settled(|_| false, |_| false);
        last.sort();
        let mut wanted = [busy.id, both.id];
        wanted.sort();
        assert_eq!(last, wanted);
    }

    #[test]
    fn what_the_manager_knows_or_never_asked_about_is_not_confirmed() {
        let mut removals = Removals::default();
        let (known, bare) = (Task { wiped: true, ..task(&[version()]) }, task(&[]));
        removals.note(&known);
        removals.note(&bare);
        assert_eq!(removals.take_settled(|_| false, |_| false), []);
    }

    #[test]
    fn a_deleted_task_is_looked_for_once_and_confirmed_also_if_it_was_never_here() {
        let mut removals = Removals::default();
        let stranger = TaskId::random();
        removals.note_deleted(stranger);
        assert_eq!(removals.take_unlooked(), BTreeSet::from([stranger]));
        assert_eq!(removals.take_unlooked(), BTreeSet::new());
        assert_eq!(removals.take_settled(|_| true, |_| false), []);
        assert_eq!(removals.take_settled(|_| false, |_| false), [stranger]);
    }
}
