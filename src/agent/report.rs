//! What there is to tell the manager of our tasks: the newest status of each, and of which nothing is left here, until
//! the manager has stored it.

use crate::{
    kit::{id::TaskId, limits::STATUSES_PER_REPORT as BATCH},
    model::task::{TaskState, TaskStatus},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// What goes into one message.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) statuses: Vec<(TaskId, TaskStatus)>,
    /// Tasks of whose payloads nothing is left.
    pub(super) wiped: Vec<TaskId>,
}

/// The statuses of all our tasks; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<TaskId, Entry>,
    wiped: BTreeSet<TaskId>,
}

#[derive(Debug)]
struct Entry {
    status: TaskStatus,
    stored: bool,
}

impl Reports {
    /// Notes a task's status. One that stands earlier in its life than what is known is old news.
    pub(super) fn push(&self, task: TaskId, status: TaskStatus) {
        let mut known = self.lock();
        match known.latest.get(&task) {
            Some(known) if known.status.state > status.state || known.status == status => return,
            Some(_) | None => {}
        }
        known.latest.insert(task, Entry { status, stored: false });
        drop(known);
        self.0.news.notify_one();
    }

    /// The manager shows what it has stored of the task: is that older than what we told, it is told again.
    pub(super) fn compare(&self, task: TaskId, stored: TaskState) {
        if let Some(entry) = self.lock().latest.get_mut(&task)
            && entry.status.state > stored
        {
            entry.stored = false;
            self.0.news.notify_one();
        }
    }

    /// The task is no longer ours.
    pub(super) fn forget(&self, task: TaskId) {
        self.lock().latest.remove(&task);
    }

    /// Nothing is left here of the task's payloads, and nothing of them will come again.
    pub(super) fn confirm_wiped(&self, task: TaskId) {
        self.lock().wiped.insert(task);
        self.0.news.notify_one();
    }

    /// The task's payloads come again after all: the manager was set back to an older state.
    pub(super) fn withdraw(&self, task: TaskId) {
        self.lock().wiped.remove(&task);
    }

    /// Waits until there is something to tell.
    pub(super) async fn next(&self) -> Batch {
        loop {
            let batch = self.lock().batch();
            if batch != Batch::default() {
                return batch;
            }
            self.0.news.notified().await;
        }
    }

    /// The manager has stored these: what has not changed since needs no more telling.
    pub(super) fn stored(&self, batch: &Batch) {
        let mut known = self.lock();
        for (task, status) in &batch.statuses {
            if let Some(entry) = known.latest.get_mut(task)
                && entry.status == *status
            {
                entry.stored = true;
            }
        }
        for task in &batch.wiped {
            known.wiped.remove(task);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().expect("no panic while held")
    }
}

impl Known {
    fn batch(&self) -> Batch {
        let mut untold = self.latest.iter().filter(|(_, entry)| !entry.stored);
        let told = |(task, entry): (&TaskId, &Entry)| (*task, entry.status.clone());
        let statuses = untold.by_ref().take(BATCH).map(told).collect();
        // The manager believes only of a task that has ended that nothing is left of it, so the ends go first.
        let wiped = match untold.next() {
            Some(_) => Vec::new(),
            None => self.wiped.iter().take(BATCH).copied().collect(),
        };
        Batch { statuses, wiped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::Timestamp;
    use futures::FutureExt;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus::new(state, Timestamp(1), "")
    }

    #[tokio::test]
    async fn only_the_newest_status_is_told_until_it_is_stored() {
        let (reports, task) = (Reports::default(), TaskId::random());
        reports.push(task, status(TaskState::Preparing));
        reports.push(task, status(TaskState::Running));
        reports.push(task, status(TaskState::Starting));
        let batch = reports.next().await;
        assert_eq!(batch.statuses, [(task, status(TaskState::Running))]);
        // Not stored: the session broke. The next one tells it again.
        assert_eq!(reports.next().now_or_never(), Some(batch.clone()));
        reports.stored(&batch);
        assert!(reports.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_changes_while_it_is_sent_is_told_again() {
        let (reports, task) = (Reports::default(), TaskId::random());
        reports.push(task, status(TaskState::Running));
        let batch = reports.next().await;
        reports.push(task, status(TaskState::Failed));
        reports.stored(&batch);
        let batch = reports.next().now_or_never().unwrap();
        assert_eq!(batch.statuses, [(task, status(TaskState::Failed))]);
    }

    #[tokio::test]
    async fn a_removal_is_confirmed_until_it_is_stored_and_never_before_the_end() {
        let reports = Reports::default();
        let tasks: BTreeSet<_> = (0..=BATCH).map(|_| TaskId::random()).collect();
        for task in &tasks {
            reports.push(*task, status(TaskState::Failed));
            reports.confirm_wiped(*task);
        }
        let first = reports.next().await;
        assert_eq!((first.statuses.len(), first.wiped.len()), (BATCH, 0));
        reports.stored(&first);
        let second = reports.next().await;
        assert_eq!((second.statuses.len(), second.wiped.len()), (1, BATCH));
        // Not stored: the session broke. The next one tells it again.
        assert_eq!(reports.next().now_or_never(), Some(second.clone()));
        reports.stored(&second);
        let third = reports.next().await;
        assert_eq!(third.statuses, []);
        reports.withdraw(third.wiped[0]);
        assert!(reports.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_manager_that_knows_less_is_told_again() {
        let (reports, task) = (Reports::default(), TaskId::random());
        reports.push(task, status(TaskState::Running));
        reports.stored(&reports.next().await);
        reports.compare(task, TaskState::Running);
        assert!(reports.next().now_or_never().is_none());
        reports.compare(task, TaskState::Assigned);
        assert_eq!(reports.next().now_or_never().map(|b| b.statuses.len()), Some(1));
        reports.forget(task);
        assert!(reports.next().now_or_never().is_none());
    }
}
