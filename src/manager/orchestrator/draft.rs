//! The state as it will be once the decisions of this pass are carried out, and those decisions.

use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, TaskId},
    },
    model::{
        Meta,
        command::{Command, Stamped, TaskChange},
        service::Service,
        task::{Task, TaskState, TaskStatus},
    },
    store::State,
};
use std::{sync::Arc, time::Duration};

/// Task changes in one proposal; the log's entries stay small, and other writers get their turn in between.
pub const BATCH: usize = 500;

/// What a pass decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// To be proposed one after the other: then the state becomes what the draft was. No command changes more than
    /// [`BATCH`] tasks.
    pub commands: Vec<Command>,
    /// When to look again even if nothing happens.
    pub wake: Option<Timestamp>,
}

/// A pass under way.
pub struct Draft<'a> {
    state: State,
    now: Timestamp,
    ids: &'a mut dyn FnMut() -> TaskId,
    plan: Plan,
}

impl<'a> Draft<'a> {
    /// Begins a pass over `state` at `now`; new tasks get their ids from `ids`.
    pub fn new(state: &State, now: Timestamp, ids: &'a mut dyn FnMut() -> TaskId) -> Self {
        Self { state: state.clone(), now, ids, plan: Plan::default() }
    }

    /// The state with what was decided so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How long a node may be silent, or unable to work, before its tasks are replaced.
    pub(super) fn grace(&self) -> Duration {
        let settings = self.state.cluster().map(|cluster| cluster.settings.clone());
        settings.unwrap_or_default().grace()
    }

    /// The wake-up time asked for since this was last called; the pass's own forgets it.
    pub fn take_wake(&mut self) -> Option<Timestamp> {
        self.plan.wake.take()
    }

    /// Ends the pass.
    pub fn finish(self) -> Plan {
        self.plan
    }

    /// Adds decisions that were made elsewhere, as the scheduler's.
    pub fn extend(&mut self, changes: Vec<TaskChange>) {
        for change in changes {
            self.make(change);
        }
    }

    pub(super) fn make(&mut self, change: TaskChange) {
        let stamped = Stamped {
            request: None,
            at: self.now,
            command: Command::ChangeTasks { changes: vec![change] },
        };
        if self.state.apply(&stamped).changes.is_empty() {
            return;
        }
        let Command::ChangeTasks { changes: mut change } = stamped.command else { return };
        match self.plan.commands.last_mut() {
            Some(Command::ChangeTasks { changes }) if changes.len() < BATCH => {
                changes.append(&mut change);
            }
            _ => self.plan.commands.push(Command::ChangeTasks { changes: change }),
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        let stamped = Stamped { request: None, at: self.now, command: command.clone() };
        if self.state.apply(&stamped).outcome.is_ok() {
            self.plan.commands.push(command);
        }
    }

    pub(super) fn desire(&mut self, task: &Task, desired: TaskState) {
        self.make(TaskChange::Desire { id: task.id, desired });
    }

    /// Makes a task of the service's present spec; `node` is preset for a global service.
    pub(super) fn create(
        &mut self,
        service: &Service,
        slot: u64,
        node: Option<NodeId>,
        desired: TaskState,
    ) {
        let task = Task {
            id: (self.ids)(),
            meta: Meta::new(self.now),
            service: service.id,
            service_name: service.spec.name.clone(),
            service_labels: service.spec.labels.clone(),
            slot,
            node,
            // Filled in when it is applied, from the service.
            spec: Arc::default(),
            spec_index: service.spec_index,
            versions: Vec::new(),
            desired,
            status: TaskStatus::new(TaskState::Pending, self.now, "created"),
            started_at: None,
            wiped: false,
        };
        self.make(TaskChange::Create(Box::new(task)));
    }

    /// Asks to be woken at `at`, if nothing asked for an earlier moment.
    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }
}
