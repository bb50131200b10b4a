//! Looks after one task: makes it, starts it, waits for its end, and tells how it goes.
//!
//! A controller moves its task forward only. Asked to end it, from whatever state, it stops the process with its
//! grace, takes the files away and keeps the container, whose output people may want, until the task is dismissed.

use super::{
    plan::{Begin, settle},
    report::Reports,
    runtime::{ContainerState, Exit, File, Order, Runtime, RuntimeError},
};
use crate::{
    kit::{backoff::Backoff, clock::Clock, id::TaskId},
    model::{
        service::STOP_GRACE,
        task::{Task, TaskState, TaskStatus},
    },
};
use futures::{FutureExt, future::BoxFuture};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::{oneshot, watch};

/// What the manager wants of the task.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Task(Arc<Task>),
    /// It is not ours any more.
    Dismissed,
}

/// Waits between tries when the engine does not answer.
pub(super) fn patience() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(8))
}

/// Tries to take away a task's files before that is left to its removal.
const WIPES: usize = 5;

#[derive(Debug)]
pub(super) struct Controller {
    task: Arc<Task>,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    reports: Reports,
    wish: watch::Receiver<Wish>,
    status: TaskStatus,
}

/// The task is to end, or is dismissed.
#[derive(Debug)]
struct Cut;

/// How the work on a task came to its end.
#[derive(Debug)]
enum Ended {
    /// The process ended by itself.
    Exit(Exit),
    /// It could not be made: nothing has run.
    Unmade(String),
    /// It could not be started, or got out of sight.
    Broken(String),
    Cut,
}

impl Controller {
    pub(super) fn new(
        task: Arc<Task>,
        runtime: Arc<dyn Runtime>,
        clock: Clock,
        reports: Reports,
        wish: watch::Receiver<Wish>,
    ) -> Self {
        let status = task.status.clone();
        Self { task, runtime, clock, reports, wish, status }
    }

    /// Runs until the task is dismissed and everything of it removed. `files` is what a task that is still to be made
    /// finds at its targets, or why it cannot have them. `wiped` hears when they are gone, which may be long before.
    pub(super) async fn run(
        mut self,
        begin: Begin,
        files: Result<Vec<File>, String>,
        wiped: oneshot::Sender<()>,
    ) {
        let gone = match begin {
            Begin::Rest => self.rest().await,
            begin => {
                let ended = self.work(begin, files).await;
                self.finish(ended).await
            }
        };
        if gone {
            // Fails only if the worker has gone, and we with it.
            let _: Result<(), ()> = wiped.send(());
        }
        let dismissed = |wish: &Wish| matches!(wish, Wish::Dismissed);
        // An error means that nobody can dismiss it any more: the worker has gone, and we with it.
        if self.wish.wait_for(dismissed).await.is_err() {
            return;
        }
        remove(&*self.runtime, self.task.id).await;
        self.reports.forget(self.task.id);
    }

    async fn work(&mut self, begin: Begin, files: Result<Vec<File>, String>) -> Ended {
        match begin {
            Begin::Halt => return Ended::Cut,
            Begin::Settle(exit) => return Ended::Exit(exit),
            Begin::Vanished => return Ended::Broken("the container is gone".to_owned()),
            Begin::Rest | Begin::Watch => {}
            Begin::Start => {
                if let Err(ended) = self.start().await {
                    return ended;
                }
            }
            Begin::Make => {
                if let Err(ended) = self.make(files).await {
                    return ended;
                }
                if let Err(ended) = self.start().await {
                    return ended;
                }
            }
        }
        let task = self.task.id;
        let wait = |runtime: Arc<dyn Runtime>| async move { runtime.wait(task).await }.boxed();
        match self.patiently(wait).await {
            Ok(Ok(exit)) => Ended::Exit(exit),
            Ok(Err(RuntimeError::Gone)) => {
                Ended::Broken("the container is gone: somebody else removed it".to_owned())
            }
            Ok(Err(error)) => Ended::Broken(error.to_string()),
            Err(Cut) => Ended::Cut,
        }
    }

    /// From nothing to ready, and waits there until it is wanted running.
    async fn make(&mut self, files: Result<Vec<File>, String>) -> Result<(), Ended> {
        let files = files.map_err(Ended::Unmade)?;
        self.report(TaskState::Accepted, "accepted");
        self.report(TaskState::Preparing, "preparing");
        let order = Arc::new(Order { task: Arc::clone(&self.task), files });
        let create = |runtime: Arc<dyn Runtime>| {
            let order = Arc::clone(&order);
            async move { runtime.create(&order).await }.boxed()
        };
        match self.patiently(create).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Ended::Unmade(error.to_string())),
            Err(Cut) => return Err(Ended::Cut),
        }
        // With it go the payloads, unless another task is being made with them.
        drop(order);
        self.report(TaskState::Ready, "prepared");
        let wanted = |wish: &Wish| match wish {
            Wish::Task(task) => task.desired >= TaskState::Running,
            Wish::Dismissed => true,
        };
        match self.wish.wait_for(wanted).await.map(|wish| is_cut(&wish)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Ended::Cut),
            // As in `unless_cut`.
            Err(_) => std::future::pending().await,
        }
    }

    async fn start(&mut self) -> Result<(), Ended> {
        self.report(TaskState::Starting, "starting");
        let task = self.task.id;
        let start = |runtime: Arc<dyn Runtime>| async move { runtime.start(task).await }.boxed();
        match self.patiently(start).await {
            Ok(Ok(ContainerState::Running { container_id, pid })) => {
                self.status.container_id = container_id;
                self.status.pid = pid;
                self.report(TaskState::Running, "started");
                Ok(())
            }
            Ok(Ok(ContainerState::Ended(exit))) => Err(Ended::Exit(exit)),
            Ok(Ok(ContainerState::Created)) => {
                Err(Ended::Broken("the engine did not start the container".to_owned()))
            }
            Ok(Err(RuntimeError::Gone)) => {
                Err(Ended::Broken("the container is gone: somebody else removed it".to_owned()))
            }
            Ok(Err(error)) => Err(Ended::Broken(error.to_string())),
            Err(Cut) => Err(Ended::Cut),
        }
    }

    /// After this nothing of the task runs and its status says how it ended. Returns whether its files are gone too.
    async fn finish(&mut self, ended: Ended) -> bool {
        let (state, message, error) = match ended {
            Ended::Exit(exit) => {
                self.status.exit_code = Some(exit.code);
                let (state, error) = settle(&exit);
                let message = if error.is_empty() { "finished" } else { "failed" };
                (state, message, error)
            }
            Ended::Unmade(error) => (TaskState::Rejected, "rejected", error),
            Ended::Broken(error) => {
                self.stop().await;
                (TaskState::Failed, "failed", error)
            }
            Ended::Cut => {
                let exit = self.stop().await;
                if self.status.state < TaskState::Starting {
                    // Nothing has run, so there is no output to keep.
                    remove(&*self.runtime, self.task.id).await;
                } else {
                    self.status.exit_code = exit.map(|exit| exit.code);
                }
                (TaskState::Shutdown, "shutdown", String::new())
            }
        };
        let gone = self.wipe().await;
        self.status.error = error;
        self.report(state, message);
        gone
    }

    /// The manager knows that the task has ended; makes sure that this is so. Returns whether its files are gone.
    async fn rest(&mut self) -> bool {
        self.stop().await;
        self.wipe().await
    }

    /// Ends the process if there is one; nothing if there is no container.
    async fn stop(&mut self) -> Option<Exit> {
        let grace = self.task.spec.container.stop_grace.unwrap_or(STOP_GRACE);
        let mut backoff = patience();
        loop {
            match self.runtime.stop(self.task.id, grace).await {
                Ok(exit) => return Some(exit),
                Err(RuntimeError::Gone) => return None,
                Err(error) => self.wait_out(&error, &mut backoff).await,
            }
        }
    }

    async fn wipe(&self) -> bool {
        let mut backoff = patience();
        for _ in 0..WIPES {
            match self.runtime.wipe(self.task.id).await {
                Ok(()) | Err(RuntimeError::Gone) => return true,
                Err(error) => {
                    tracing::error!(task = %self.task.id, %error, "files are still there");
                }
            }
            backoff.wait().await;
        }
        false
    }

    /// Repeats the call while the engine does not answer, and gives up when the task is to end.
    async fn patiently<T>(
        &mut self,
        call: impl Fn(Arc<dyn Runtime>) -> BoxFuture<'static, Result<T, RuntimeError>>,
    ) -> Result<Result<T, RuntimeError>, Cut> {
        let mut wish = self.wish.clone();
        let mut backoff = patience();
        loop {
            match unless_cut(&mut wish, call(Arc::clone(&self.runtime))).await? {
                Err(error @ RuntimeError::Unreachable(_)) => {
                    unless_cut(&mut wish, self.wait_out(&error, &mut backoff)).await?;
                }
                done => {
                    self.status.error.clear();
                    return Ok(done);
                }
            }
        }
    }

    /// Shows what holds the task up, and waits a while.
    async fn wait_out(&mut self, error: &RuntimeError, backoff: &mut Backoff) {
        tracing::warn!(task = %self.task.id, %error, "trying again");
        // A running task that cannot be watched for a while is none the worse.
        if self.status.state < TaskState::Running {
            self.status.error = error.to_string();
            self.status.at = self.clock.now();
            self.reports.push(self.task.id, self.status.clone());
        }
        backoff.wait().await;
    }

    fn report(&mut self, state: TaskState, message: &str) {
        // What the manager has seen already is not taken back: an agent before us may have come further.
        if state < self.status.state {
            return;
        }
        self.status.state = state;
        self.status.at = self.clock.now();
        message.clone_into(&mut self.status.message);
        tracing::info!(task = %self.task.id, name = self.task.short_name(), %state, error = self.status.error, "task");
        self.reports.push(self.task.id, self.status.clone());
    }
}

/// Ends and removes whatever there is of a task, however long it takes until the engine answers.
pub(super) async fn remove(runtime: &dyn Runtime, task: TaskId) {
    let mut backoff = patience();
    while let Err(error) = runtime.remove(task).await {
        if matches!(error, RuntimeError::Gone) {
            return;
        }
        tracing::warn!(%task, %error, "cannot remove what is left of the task, trying again");
        backoff.wait().await;
    }
}

async fn unless_cut<T>(
    wish: &mut watch::Receiver<Wish>,
    work: impl Future<Output = T>,
) -> Result<T, Cut> {
    let cut = async {
        if wish.wait_for(is_cut).await.is_err() {
            // The worker has gone and asks for nothing any more. We go with it; the task must not.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = cut => Err(Cut),
        done = work => Ok(done),
    }
}

fn is_cut(wish: &Wish) -> bool {
    match wish {
        Wish::Task(task) => task.desired >= TaskState::Shutdown,
        Wish::Dismissed => true,
    }
}
