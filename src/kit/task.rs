//! Starts tasks that somebody waits for: each gets a [`Stop`] to listen to and a [`Running`] to be awaited.

use std::future::Future;
use tokio::task::{JoinError, JoinHandle};
pub use tokio_util::sync::CancellationToken as Stop;
use tracing::Instrument as _;

/// A task that runs. Dropping it aborts the task, so nothing is ever left behind unseen.
#[derive(Debug)]
#[must_use = "a task nobody waits for is cut off at once"]
pub struct Running<T> {
    name: &'static str,
    handle: Option<JoinHandle<T>>,
}

/// Starts `work` on the runtime; `name` appears when it panics.
pub fn start<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Running<T> {
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    let handle = tokio::spawn(work);
    Running { name, handle: Some(handle) }
}

/// Runs `work` to its end even if whoever waits for it goes away: what was begun is not left half done.
///
/// # Panics
/// As [`Running::wait`].
pub async fn to_the_end<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    // It is still the caller's work, and its lines in the log say so.
    let mut running = start(name, work.in_current_span());
    let handle = running.handle.take().expect("it was just started");
    result(name, handle.await)
}

/// Starts `work` that ends by itself, when whoever it works for goes away.
pub fn leave(name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let mut running = start(name, work);
    // Dropping the handle lets it go on.
    drop(running.handle.take());
}

fn result<T>(name: &'static str, done: Result<T, JoinError>) -> T {
    match done {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                tracing::error!(task = name, "task panicked");
                std::panic::resume_unwind(panic)
            }
            Err(_) => unreachable!("only drop aborts, and it takes the handle"),
        },
    }
}

impl<T> Running<T> {
    /// Waits for the task's result.
    ///
    /// # Panics
    /// Goes on with the task's panic, if it had one: a broken promise must not be swallowed here.
    pub async fn wait(mut self) -> T {
        let handle = self.handle.as_mut().expect("taken only by drop");
        let done = handle.await;
        self.handle = None;
        result(self.name, done)
    }

    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_hands_over_its_result() {
        assert_eq!(start("sum", async { 1 + 1 }).wait().await, 2);
    }

    #[tokio::test]
    async fn what_was_begun_goes_on_when_nobody_waits_any_more() {
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (tx, rx) = tokio::sync::oneshot::channel();
        let mut waiting = Box::pin(to_the_end("order", async move {
            gone.await.unwrap();
            tx.send(7).unwrap();
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(rx.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_dropped_task_is_cut_off() {
        let (tx, rx) = tokio::sync::oneshot::channel::<()>();
        drop(start("forever", async move {
            let _held = tx;
            std::future::pending::<()>().await;
        }));
        assert_eq!(rx.await.ok(), None);
    }
}
