//! One node's stream of assignments: first everything, then each change, with the payloads opened as they are sent.
//!
//! A payload is released on a state confirmed just before it is opened, and opening uses the release up. It leaves sealed for
//! this stream alone.

use super::{
    Shared, answers,
    holding::{Holding, Step},
    sessions::{Mailbox, Session},
};
use crate::{
    crypto::{plaintext::Plaintext, transit::Transit},
    kit::{chain::chain, id::TaskId},
    manager::payloads,
    model::task::{ObjectVersion, Task},
    store::Linear,
    wire::v1::{self, assigned_payload::Content, assignment_change::Change},
};
use prost::Message;
use std::{collections::VecDeque, mem, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Code, Status};

/// Bytes of one message, about; a single larger payload goes alone. Well below `kit::limits::MESSAGE_SIZE`.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Shortest time between two steps; the changes of a burst meanwhile become one. The first goes at once.
const PACE: Duration = Duration::from_millis(10);

/// The stream's side of one `Assignments` call.
pub(super) struct Flow {
    shared: Arc<Shared>,
    session: Arc<Session>,
    mailbox: Arc<Mailbox>,
    holding: Holding,
    transit: Transit,
    /// For the first message.
    key_share: Vec<u8>,
    revision: u64,
    /// The step being sent.
    sending: Option<Sending>,
    stepped_at: Option<Instant>,
    over: bool,
}

struct Sending {
    kind: v1::AssignmentType,
    applies_to: u64,
    results_in: u64,
    payloads: VecDeque<ObjectVersion>,
    tasks: VecDeque<Arc<Task>>,
    gone_tasks: Vec<TaskId>,
    gone_payloads: Vec<ObjectVersion>,
}

impl Flow {
    /// A stream whose payloads go sealed with these keys, which the share lets the agent have too.
    pub(super) fn new(
        shared: Arc<Shared>,
        session: Arc<Session>,
        (transit, key_share): (Transit, Vec<u8>),
    ) -> Self {
        let mailbox = session.open_mailbox();
        let holding = Holding::new(session.node());
        Self {
            shared,
            session,
            mailbox,
            holding,
            transit,
            key_share,
            revision: 0,
            sending: None,
            stepped_at: None,
            over: false,
        }
    }

    /// The next message; the stream ends after an error.
    pub(super) async fn next(mut self) -> Option<(Result<v1::AssignmentsResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        let (session, mailbox) = (Arc::clone(&self.session), Arc::clone(&self.mailbox));
        let message = tokio::select! {
            biased;
            why = session.over() => Err(why),
            () = mailbox.closed.cancelled() => {
                Err(Status::aborted("the node has opened another assignments stream"))
            }
            message = self.message() => message,
        };
        self.over = message.is_err();
        Some((message, self))
    }

    async fn message(&mut self) -> Result<v1::AssignmentsResponse, Status> {
        loop {
            if let Some(mut sending) = self.sending.take() {
                let message = self.fill(&mut sending).await?;
                if message.more {
                    self.sending = Some(sending);
                } else {
                    self.revision = sending.results_in;
                }
                return Ok(message);
            }
            self.mailbox.filled().await;
            if let Some(at) = self.stepped_at {
                tokio::time::sleep_until(at + PACE).await;
            }
            self.step().await?;
        }
    }

    /// Looks at what changed and decides what to tell.
    async fn step(&mut self) -> Result<(), Status> {
        let dirty = self.mailbox.take();
        let linear = self.linear().await?;
        let first = self.revision == 0;
        let step = if first {
            self.holding.first(linear.state())
        } else if dirty.all {
            self.holding.all(linear.state())
        } else {
            self.holding.some(linear.state(), &dirty.tasks)
        };
        if step.is_empty() && !first {
            return Ok(());
        }
        let Step { payloads, tasks, gone_tasks, gone_payloads } = step;
        self.stepped_at = Some(Instant::now());
        self.sending = Some(Sending {
            kind: if first {
                v1::AssignmentType::Complete
            } else {
                v1::AssignmentType::Incremental
            },
            applies_to: self.revision,
            results_in: self.revision + 1,
            payloads: payloads.into(),
            tasks: tasks.into(),
            gone_tasks,
            gone_payloads,
        });
        Ok(())
    }

    /// Takes as much of the step as fits into one message.
    async fn fill(&mut self, sending: &mut Sending) -> Result<v1::AssignmentsResponse, Status> {
        let mut changes = Vec::new();
        let mut bytes = 0;
        if !sending.payloads.is_empty() {
            // Confirmed anew for each message: a slow reader may take the step much later than it was decided.
            let linear = self.linear().await?;
            while bytes < MESSAGE_BYTES
                && let Some(version) = sending.payloads.pop_front()
            {
                let payload = self.payload(&linear, version).await;
                bytes += payload.encoded_len();
                changes.push(Change::Payload(payload));
            }
        }
        while bytes < MESSAGE_BYTES
            && sending.payloads.is_empty()
            && let Some(task) = sending.tasks.pop_front()
        {
            let task = v1::Task::from(task.as_ref());
            bytes += task.encoded_len();
            changes.push(Change::Task(task));
        }
        let more = !sending.payloads.is_empty() || !sending.tasks.is_empty();
        if !more {
            let gone = sending.gone_tasks.iter().map(|id| Change::RemovedTaskId(id.to_string()));
            changes.extend(gone);
            changes.extend(sending.gone_payloads.iter().map(|v| Change::RemovedPayload(v.into())));
        }
        Ok(v1::AssignmentsResponse {
            r#type: sending.kind.into(),
            applies_to: sending.applies_to,
            results_in: sending.results_in,
            changes: changes
                .into_iter()
                .map(|change| v1::AssignmentChange { change: Some(change) })
                .collect(),
            more,
            key_share: mem::take(&mut self.key_share),
        })
    }

    /// Releases, opens and seals one payload, or says why it cannot be had.
    async fn payload(&mut self, linear: &Linear, version: ObjectVersion) -> v1::AssignedPayload {
        let content = match self.open(linear, version).await {
            Ok(plain) => Content::Sealed(self.transit.seal(&plain)),
            Err(why) => {
                tracing::warn!(
                    node = %self.session.node(), object = %version.object, version = %version.version, why,
                    "payload not delivered"
                );
                Content::Unavailable(format!("{}: {why}", named(linear, version)))
            }
        };
        v1::AssignedPayload { version: Some((&version).into()), content: Some(content) }
    }

    async fn open(&self, linear: &Linear, version: ObjectVersion) -> Result<Plaintext, String> {
        let node = self.session.node();
        let release = linear.release(node, &version).map_err(|error| chain(&error).to_string())?;
        let fetched = payloads::fetch(&self.shared.raft, &self.shared.keys, version).await;
        let (sealed, keyring) = fetched.map_err(|error| chain(&error).to_string())?;
        let plain = release.open(&keyring, &sealed);
        let plain = plain.map_err(|error| chain(&error).to_string())?;
        tracing::debug!(%node, object = %version.object, version = %version.version, "payload released");
        Ok(plain)
    }

    async fn linear(&self) -> Result<Linear, Status> {
        self.shared.raft.linear().await.map_err(|error| {
            let status = answers::read(&error);
            debug_assert_eq!(status.code(), Code::Unavailable);
            status
        })
    }
}

/// `secret db-password v1`, or its id if the object is gone.
fn named(linear: &Linear, ObjectVersion { object, version }: ObjectVersion) -> String {
    match linear.state().object_by_id(object) {
        Some(object) => format!("{} {} {version}", object.kind, object.name),
        None => format!("object {object} {version}"),
    }
}
