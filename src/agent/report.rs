//! What there is to tell the manager of our tasks: the newest status of each, until the manager has stored it.

use crate::{
    kit::id::TaskId,
    model::task::{TaskState, TaskStatus},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// Updates in one message, at most.
const BATCH: usize = 500;

/// The statuses of all our tasks; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<BTreeMap<TaskId, Entry>>,
    news: Notify,
}

#[derive(Debug)]
struct Entry {
    status: TaskStatus,
    stored: bool,
}

impl Reports {
    /// Notes a task's status. One that stands earlier in its life than what is known is old news.
    pub(super) fn push(&self, task: TaskId, status: TaskStatus) {
        let mut latest = self.lock();
        match latest.get(&task) {
            Some(known) if known.status.state > status.state || known.status == status => return,
            Some(_) | None => {}
        }
        latest.insert(task, Entry { status, stored: false });
        drop(latest);
        self.0.news.notify_one();
    }

    /// The manager shows what it has stored of the task: is that older than what we told, it is told again.
    pub(super) fn compare(&self, task: TaskId, stored: TaskState) {
        if let Some(entry) = self.lock().get_mut(&task)
            && entry.status.state > stored
        {
            entry.stored = false;
            self.0.news.notify_one();
        }
    }

    /// The task is no longer ours.
    pub(super) fn forget(&self, task: TaskId) {
        self.lock().remove(&task);
    }

    /// Waits until there is something to tell.
    pub(super) async fn next(&self) -> Vec<(TaskId, TaskStatus)> {
        loop {
            let batch: Vec<_> = self
                .lock()
                .iter()
                .filter(|(_, entry)| !entry.stored)
                .take(BATCH)
                .map(|(task, entry)| (*task, entry.status.clone()))
                .collect();
            if !batch.is_empty() {
                return batch;
            }
            self.0.news.notified().await;
        }
    }

    /// The manager has stored these: what has not changed since needs no more telling.
    pub(super) fn stored(&self, batch: &[(TaskId, TaskStatus)]) {
        let mut latest = self.lock();
        for (task, status) in batch {
            if let Some(entry) = latest.get_mut(task)
                && entry.status == *status
            {
                entry.stored = true;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        self.0.latest.lock().expect("no panic while held")
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
        assert_eq!(batch, [(task, status(TaskState::Running))]);
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
        assert_eq!(reports.next().now_or_never(), Some(vec![(task, status(TaskState::Failed))]));
    }

    #[tokio::test]
    async fn a_manager_that_knows_less_is_told_again() {
        let (reports, task) = (Reports::default(), TaskId::random());
        reports.push(task, status(TaskState::Running));
        reports.stored(&reports.next().await);
        reports.compare(task, TaskState::Running);
        assert!(reports.next().now_or_never().is_none());
        reports.compare(task, TaskState::Assigned);
        assert_eq!(reports.next().now_or_never().map(|b| b.len()), Some(1));
        reports.forget(task);
        assert!(reports.next().now_or_never().is_none());
    }
}
