//! Keeps this node's tasks as its assignment wants them: one controller for each.
//!
//! Stopping the worker stops no task: the next one finds the containers by what the runtime holds.

use super::{
    assignments::Update,
    controller::{Controller, Wish, patience, remove},
    plan::{Begin, Step, begin, plan},
    removals::Removals,
    report::Reports,
    runtime::{ContainerState, Held, Runtime, RuntimeError},
    shelf::Shelf,
};
use crate::{
    kit::{
        clock::Clock,
        id::{NodeId, TaskId},
        task::{self, Stop},
    },
    model::{
        service::STOP_GRACE,
        task::{ObjectVersion, Task, TaskState, TaskStatus},
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Updates that wait for the worker; the session holds the stream back when it is full.
pub(super) const INBOX: usize = 16;

#[derive(Debug)]
pub(super) struct Worker {
    node: NodeId,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    reports: Reports,
    inbox: mpsc::Receiver<Update>,
    shelf: Shelf,
    /// The assignment; nothing until the manager has sent all of it once.
    want: Option<BTreeMap<TaskId, Arc<Task>>>,
    /// The assignment will not change any more.
    leaving: bool,
    /// Tasks of the assignment that we cannot understand: left as they are.
    unreadable: BTreeSet<TaskId>,
    /// Containers of an agent before us that no controller looks after yet.
    unclaimed: BTreeMap<TaskId, ContainerState>,
    controlled: BTreeMap<TaskId, Controlled>,
    /// What becomes of the controllers.
    signals: FuturesUnordered<BoxFuture<'static, Signal>>,
    removals: Removals,
}

/// What a controller has come to.
#[derive(Debug, Clone, Copy)]
enum Signal {
    /// Its task has ended and the files are gone.
    Wiped(TaskId),
    /// It ended without saying so.
    Silent,
    /// It has finished: everything of its task has been removed.
    Finished(TaskId),
}

#[derive(Debug)]
struct Controlled {
    /// What its controller was told last; nothing once it is dismissed.
    told: Option<Arc<Task>>,
    wish: watch::Sender<Wish>,
    /// The files are gone, though the container may still be here.
    wiped: bool,
}

impl Worker {
    pub(super) fn new(
        node: NodeId,
        runtime: Arc<dyn Runtime>,
        clock: Clock,
        reports: Reports,
        inbox: mpsc::Receiver<Update>,
    ) -> Self {
        Self {
            node,
            runtime,
            clock,
            reports,
            inbox,
            shelf: Shelf::default(),
            want: None,
            leaving: false,
            unreadable: BTreeSet::new(),
            unclaimed: BTreeMap::new(),
            controlled: BTreeMap::new(),
            signals: FuturesUnordered::new(),
            removals: Removals::default(),
        }
    }

    /// Runs until `stop`, or until nobody can send updates any more; tasks go on without it. Or until it has carried
    /// out the last update.
    pub(super) async fn run(mut self, stop: Stop) {
        if !self.find_held(&stop).await {
            return;
        }
        self.act();
        self.confirm_removals();
        while !self.is_done() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(signal) = self.signals.next() => {
                    match signal {
                        Signal::Wiped(task) => {
                            if let Some(controlled) = self.controlled.get_mut(&task) {
                                controlled.wiped = true;
                            }
                        }
                        Signal::Silent => {}
                        Signal::Finished(task) => {
                            self.controlled.remove(&task);
                            self.act();
                        }
                    }
                    self.confirm_removals();
                }
                update = self.inbox.recv() => match update {
                    Some(update) => self.take(update),
                    None => return,
                },
            }
        }
    }

    fn is_done(&self) -> bool {
        self.leaving && self.controlled.is_empty() && self.unclaimed.is_empty()
    }

    /// Asks the runtime what it holds, until it answers: a task must not be made before we know that it is not here.
    async fn find_held(&mut self, stop: &Stop) -> bool {
        let (trouble_in, mut trouble) = watch::channel(String::new());
        let mut finding = held(Arc::clone(&self.runtime), trouble_in).boxed();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                held = &mut finding => {
                    self.unclaimed = held.into_iter().map(|h| (h.task, h.container)).collect();
                    return true;
                }
                Ok(()) = trouble.changed() => {}
                update = self.inbox.recv() => match update {
                    Some(update) => {
                        let gone = self.note(update);
                        self.take_away(gone);
                    }
                    None => return false,
                },
            }
            let why = trouble.borrow().clone();
            if !why.is_empty() {
                self.tell_waiting(&why);
            }
        }
    }

    /// Says of every task that it waits for the engine.
    fn tell_waiting(&self, why: &str) {
        for task in self.want.iter().flat_map(BTreeMap::values) {
            let mut status = task.status.clone();
            if status.state >= TaskState::Running {
                continue;
            }
            if status.state < TaskState::Accepted {
                status = TaskStatus::new(
                    TaskState::Accepted,
                    self.clock.now(),
                    "waiting for the engine",
                );
            }
            why.clone_into(&mut status.error);
            self.reports.push(task.id, status);
        }
    }

    fn take(&mut self, update: Update) {
        let gone = self.note(update);
        self.act();
        // Only now: a task of the same update may have been made with them.
        self.take_away(gone);
        self.confirm_removals();
    }

    /// Tells the manager of which tasks nothing is left here. Called when every task that is wanted has a controller.
    fn confirm_removals(&mut self) {
        let (controlled, unclaimed, shelf) = (&self.controlled, &self.unclaimed, &self.shelf);
        let files = |task| match controlled.get(&task) {
            Some(controlled) => !controlled.wiped,
            None => unclaimed.contains_key(&task),
        };
        for task in self.removals.take_settled(files, |version| shelf.has(version)) {
            tracing::debug!(%task, "nothing is left of a task's payloads");
            self.reports.confirm_wiped(task);
        }
    }

    fn take_away(&mut self, gone: Vec<ObjectVersion>) {
        for version in gone {
            self.shelf.take_away(version);
        }
    }

    /// Brings assignment and shelf up to date. Returns the payloads that are to go.
    fn note(&mut self, update: Update) -> Vec<ObjectVersion> {
        let Update { complete, last, payloads, tasks, removed_tasks, removed_payloads, unreadable } =
            update;
        self.leaving |= last;
        let before = if complete { self.want.take() } else { None };
        if complete {
            self.shelf = Shelf::default();
            self.unreadable.clear();
        }
        let Some(want) =
            (if complete { Some(self.want.insert(BTreeMap::new())) } else { self.want.as_mut() })
        else {
            // The session starts each stream with everything, so this cannot be reached by a well-behaved one.
            return Vec::new();
        };
        for (version, content) in payloads {
            self.shelf.put(version, content);
        }
        for task in tasks {
            if complete {
                self.reports.compare(task.id, task.status.state);
            }
            self.unreadable.remove(&task.id);
            self.removals.note(&task);
            want.insert(task.id, task);
        }
        for (id, why) in unreadable {
            tracing::error!(task = %id, %why, "cannot understand a task");
            self.unreadable.insert(id);
            let known = before.as_ref().and_then(|before| before.get(&id)).cloned();
            match known {
                Some(known) => drop(want.insert(id, known)),
                None if self.unclaimed.contains_key(&id) || want.contains_key(&id) => {}
                None => {
                    let mut status =
                        TaskStatus::new(TaskState::Rejected, self.clock.now(), "rejected");
                    status.error = format!(
                        "secretd {} on node {} does not understand the task: {why}",
                        env!("CARGO_PKG_VERSION"),
                        self.node
                    );
                    self.reports.push(id, status);
                }
            }
        }
        for id in removed_tasks {
            want.remove(&id);
            self.unreadable.remove(&id);
            self.removals.note_deleted(id);
            if !self.controlled.contains_key(&id) {
                self.reports.forget(id);
            }
        }
        removed_payloads
    }

    fn act(&mut self) {
        let Some(want) = &self.want else { return };
        let told: BTreeMap<_, _> = self
            .controlled
            .iter()
            .filter_map(|(id, controlled)| Some((*id, Arc::clone(controlled.told.as_ref()?))))
            .collect();
        for step in plan(want, &told, &self.unclaimed) {
            match step {
                Step::Begin { task, container } => self.begin(task, container),
                Step::Tell(task) => {
                    let Some(controlled) = self.controlled.get_mut(&task.id) else { continue };
                    controlled.told = Some(Arc::clone(&task));
                    controlled.wish.send_replace(Wish::Task(task));
                }
                Step::Dismiss(id) => {
                    let Some(controlled) = self.controlled.get_mut(&id) else { continue };
                    controlled.told = None;
                    controlled.wish.send_replace(Wish::Dismissed);
                }
                Step::Sweep(id) => self.sweep(id),
            }
        }
        // Of these we may know nothing: an agent before us had them.
        for id in self.removals.take_unlooked() {
            self.sweep(id);
        }
    }

    fn begin(&mut self, task: Arc<Task>, container: Option<ContainerState>) {
        let id = task.id;
        // Dismissed and wanted again: its controller ends first.
        if self.controlled.contains_key(&id) {
            return;
        }
        self.unclaimed.remove(&id);
        let begin = begin(&task, container.as_ref());
        if begin == Begin::Make {
            self.removals.begin_again(&task);
            self.reports.withdraw(id);
        }
        let files = match begin {
            Begin::Make => {
                self.shelf.files(&task, self.node).map_err(|missing| missing.to_string())
            }
            Begin::Start
            | Begin::Watch
            | Begin::Settle(_)
            | Begin::Vanished
            | Begin::Halt
            | Begin::Rest => Ok(Vec::new()),
        };
        let (wish, told) = watch::channel(Wish::Task(Arc::clone(&task)));
        let controller = Controller::new(
            Arc::clone(&task),
            Arc::clone(&self.runtime),
            self.clock.clone(),
            self.reports.clone(),
            told,
        );
        let controlled = Controlled { told: Some(task), wish, wiped: false };
        let (wiped, is_wiped) = oneshot::channel();
        self.look_after(id, controlled, controller.run(begin, files, wiped));
        let signal = move |told: Result<(), _>| match told {
            Ok(()) => Signal::Wiped(id),
            Err(_) => Signal::Silent,
        };
        self.signals.push(is_wiped.map(signal).boxed());
    }

    fn sweep(&mut self, id: TaskId) {
        self.unclaimed.remove(&id);
        if self.unreadable.contains(&id) || self.controlled.contains_key(&id) {
            return;
        }
        tracing::info!(task = %id, "removing the container of a task that is no longer ours");
        let runtime = Arc::clone(&self.runtime);
        let (wish, _) = watch::channel(Wish::Dismissed);
        let controlled = Controlled { told: None, wish, wiped: false };
        self.look_after(id, controlled, async move {
            let mut backoff = patience();
            while let Err(error @ RuntimeError::Unreachable(_)) = runtime.stop(id, STOP_GRACE).await
            {
                tracing::warn!(task = %id, %error, "cannot stop a container, trying again");
                backoff.wait().await;
            }
            remove(&*runtime, id).await;
        });
    }

    fn look_after(
        &mut self,
        id: TaskId,
        controlled: Controlled,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.controlled.insert(id, controlled);
        let running = task::start("task controller", work);
        self.signals.push(running.wait().map(move |()| Signal::Finished(id)).boxed());
    }
}

/// What the runtime holds, asked until it says so.
async fn held(runtime: Arc<dyn Runtime>, trouble: watch::Sender<String>) -> Vec<Held> {
    let mut backoff = patience();
    loop {
        match runtime.held().await {
            Ok(held) => return held,
            Err(error) => {
                tracing::warn!(%error, "cannot learn which containers are here");
                trouble.send_replace(error.to_string());
            }
        }
        backoff.wait().await;
    }
}

#[cfg(test)]
mod tests;
