//! A service and its tasks as they change, for progress on the operator's screen.

use super::ControlService;
use crate::{
    kit::{
        id::{ServiceId, TaskId},
        task::Stop,
    },
    raft::{Changes, Raft},
    store::{Change, Entity, Key, State},
    wire::v1,
};
use futures::stream::{self, BoxStream, StreamExt};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tonic::Status;

/// Entries of the log merged into one message, at most; a fast writer must not starve the reader.
const MERGED: usize = 256;

impl ControlService {
    pub(super) fn watch(
        &self,
        reference: &str,
    ) -> Result<BoxStream<'static, Result<v1::WatchServiceResponse, Status>>, Status> {
        // Changes before state, so that none falls between.
        let changes = self.raft.changes();
        let id = self.state().service(reference)?.id;
        let watch = Watch {
            raft: self.raft.clone(),
            changes,
            shown: Shown { service: id, index: None, tasks: BTreeMap::new() },
            fresh: true,
            over: false,
        };
        Ok(until(self.stop.clone(), stream::unfold(watch, Watch::next)).boxed())
    }
}

/// Ends a stream when the manager stops.
pub(super) fn until<T: Send + 'static>(
    stop: Stop,
    stream: impl stream::Stream<Item = Result<T, Status>> + Send + 'static,
) -> impl stream::Stream<Item = Result<T, Status>> + Send + 'static {
    stream.take_until(stop.cancelled_owned())
}

struct Watch {
    raft: Raft,
    changes: broadcast::Receiver<Arc<Changes>>,
    shown: Shown,
    /// Nothing was sent yet.
    fresh: bool,
    over: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<v1::WatchServiceResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        loop {
            let message = if self.fresh {
                self.fresh = false;
                self.shown.all(&self.raft.state())
            } else {
                match self.changes.recv().await {
                    Ok(changes) => self.merge(changes),
                    Err(RecvError::Lagged(_)) => self.shown.all(&self.raft.state()),
                    Err(RecvError::Closed) => return None,
                }
            };
            if let Some(message) = message {
                self.over = message.gone;
                return Some((Ok(message), self));
            }
        }
    }

    /// Takes in all changes that wait, and says what they come to.
    fn merge(&mut self, first: Arc<Changes>) -> Option<v1::WatchServiceResponse> {
        let mut touched = BTreeSet::new();
        let mut all = false;
        let mut concerned = self.shown.touch(&first, &mut touched, &mut all);
        for _ in 1..MERGED {
            match self.changes.try_recv() {
                Ok(changes) => {
                    concerned |= self.shown.touch(&changes, &mut touched, &mut all);
                }
                Err(TryRecvError::Lagged(_)) => all = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if all {
            return self.shown.all(&self.raft.state());
        }
        if !concerned {
            return None;
        }
        self.shown.some(&self.raft.state(), &touched)
    }
}

/// What the caller has been shown.
struct Shown {
    service: ServiceId,
    /// `meta.index` of the service and of each task.
    index: Option<u64>,
    tasks: BTreeMap<TaskId, u64>,
}

impl Shown {
    /// Notes what of ours an entry touched; returns whether anything was.
    fn touch(&self, changes: &Changes, touched: &mut BTreeSet<TaskId>, all: &mut bool) -> bool {
        let mut concerned = false;
        *all |= changes.replaced;
        for change in &changes.changes {
            match change {
                Change::Put(Entity::Service(service)) => concerned |= service.id == self.service,
                Change::Delete(Key::Service(id)) => concerned |= *id == self.service,
                Change::Put(Entity::Task(task)) if task.service == self.service => {
                    concerned = true;
                    touched.insert(task.id);
                }
                Change::Delete(Key::Task(id))
                    if self.tasks.contains_key(id) || touched.contains(id) =>
                {
                    concerned = true;
                    touched.insert(*id);
                }
                Change::Put(_)
                | Change::Delete(_)
                | Change::PutBody { .. }
                | Change::PutKey { .. }
                | Change::DeleteBody { .. } => {}
            }
        }
        concerned
    }

    /// Compares everything.
    fn all(&mut self, state: &State) -> Option<v1::WatchServiceResponse> {
        let ids: BTreeSet<_> = state
            .tasks_of(self.service)
            .map(|task| task.id)
            .chain(self.tasks.keys().copied())
            .collect();
        self.some(state, &ids)
    }

    /// Compares the service and these tasks; nothing if there is nothing new.
    fn some(&mut self, state: &State, ids: &BTreeSet<TaskId>) -> Option<v1::WatchServiceResponse> {
        let mut message = v1::WatchServiceResponse::default();
        let Some(service) = state.service_by_id(self.service) else {
            message.gone = true;
            return Some(message);
        };
        if self.index != Some(service.meta.index) {
            self.index = Some(service.meta.index);
            message.service = Some(service.as_ref().into());
        }
        for id in ids {
            match state.task_by_id(*id) {
                Some(task) => {
                    if self.tasks.insert(*id, task.meta.index) != Some(task.meta.index) {
                        message.tasks.push(task.as_ref().into());
                    }
                }
                None => {
                    if self.tasks.remove(id).is_some() {
                        message.gone_task_ids.push(id.to_string());
                    }
                }
            }
        }
        let news = message.service.is_some()
            || !message.tasks.is_empty()
            || !message.gone_task_ids.is_empty();
        news.then_some(message)
    }
}
