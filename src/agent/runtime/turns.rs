//! One piece of work on a task's files at a time, also when whoever asked for it has stopped waiting.
//!
//! Work on files runs where it may block, and goes on there when its caller is cancelled. Whoever takes files away must
//! not be done before those who put them there are.

use crate::kit::id::TaskId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The turns of all tasks of a runtime.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<TaskId, Weak<Turn<()>>>>);

impl Turns {
    /// Waits for the task's turn. The work keeps it to its end, wherever that is.
    pub(super) async fn take(&self, task: TaskId) -> OwnedMutexGuard<()> {
        self.of(task).lock_owned().await
    }

    fn of(&self, task: TaskId) -> Arc<Turn<()>> {
        // A map of turns is whole whatever its holder died of.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&task).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(task, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_waited_for() {
        let (turns, task) = (Turns::default(), TaskId::random());
        let turn = turns.take(task).await;
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || {
            let _ended: Result<(), _> = gone.recv();
            drop(turn);
        });
        let mut next = Box::pin(turns.take(task));
        assert!(next.as_mut().now_or_never().is_none());
        assert!(turns.take(TaskId::random()).now_or_never().is_some(), "another task's");
        drop(go);
        drop(next.await);
        work.await.unwrap();
        assert_eq!(turns.0.lock().unwrap().len(), 2);
        drop(turns.take(task).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "none is kept for long");
    }
}
