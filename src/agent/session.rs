//! One session with a manager: from the first call until something breaks.

use super::{
    assignments::{Chain, Update},
    describe::{describe, has_changed},
    logs::{Subscription, options, publish},
    report::Reports,
    run::{Manager, Seen},
    runtime::Runtime,
};
use crate::{
    crypto::transit::Offer,
    kit::{
        id::NodeId,
        limits::MESSAGE_SIZE,
        task::{self, Running},
    },
    model::node::NodeDescription,
    pki::TlsRefusal,
    wire::{
        Malformed,
        status::is_removed,
        v1::{self, dispatcher_client::DispatcherClient, session_response::Event},
    },
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tonic::{Status, Streaming, transport::Channel};

/// How long the manager may take to answer, except where it stores something.
const ANSWER: Duration = Duration::from_secs(5);
/// How long storing may take: a proposal's deadline, and a change of leaders before it.
const STORE: Duration = Duration::from_secs(30);
/// How often we look whether the machine has become another.
const DESCRIBE: Duration = Duration::from_secs(5);
/// Tasks whose output is handed over at a time, fewer than the streams that a manager lets a node have: heartbeats need
/// one, too.
const READERS: usize = 100;
/// Waits before assignments are asked for again after a gap.
const RESYNC: Duration = Duration::from_millis(100);

/// What tells this process from every other one with the same data directory: one before it, or a copy's.
fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let draw = || getrandom::u64().expect("the kernel gives randomness once booted");
    *PROCESS.get_or_init(draw)
}

/// Why a session ended. None of them concerns the tasks.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the manager does not answer: {}", reason(.0))]
    Call(#[from] Status),
    #[error("the manager does not answer in time")]
    Late,
    #[error("the manager ended the session")]
    Closed,
    #[error("the manager sent what makes no sense: {0}")]
    Malformed(#[from] Malformed),
    #[error("this machine has changed")]
    Changed,
}

impl SessionError {
    /// Whether a manager said that `node` is no member any more. Managers are reached by mutual TLS only, so this is
    /// the word of our cluster.
    pub(super) fn is_removal(&self, node: NodeId) -> bool {
        match self {
            Self::Call(status) => is_removed(status, node),
            Self::Late | Self::Closed | Self::Malformed(_) | Self::Changed => false,
        }
    }
}

fn reason(status: &Status) -> String {
    if let Some(refusal) = TlsRefusal::find(status) {
        return format!("{refusal}; {}", refusal.hint());
    }
    let cause = std::error::Error::source(status).map(|e| crate::kit::chain::chain(e).to_string());
    match cause {
        Some(cause) => cause,
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

/// What outlives sessions.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) reports: Reports,
    pub(super) updates: mpsc::Sender<Update>,
    pub(super) seen: watch::Sender<Seen>,
}

struct Session {
    shared: Shared,
    client: DispatcherClient<Channel>,
    id: String,
    description: NodeDescription,
}

/// Holds a session until it breaks; `connected` is called once the manager knows us.
pub(super) async fn hold(
    shared: Shared,
    channel: Channel,
    connected: impl FnOnce(),
) -> SessionError {
    match start(shared, channel, connected).await {
        Err(error) => error,
    }
}

async fn start(
    shared: Shared,
    channel: Channel,
    connected: impl FnOnce(),
) -> Result<Infallible, SessionError> {
    let mut client = DispatcherClient::new(channel)
        .max_decoding_message_size(MESSAGE_SIZE)
        .max_encoding_message_size(MESSAGE_SIZE);
    let description = describe(&*shared.runtime).await;
    let process = process();
    let request = v1::SessionRequest { description: Some((&description).into()), process };
    let mut events = soon(client.session(request)).await?.into_inner();
    let first = timeout(ANSWER, events.message()).await.map_err(|_| SessionError::Late)??;
    let Some(v1::SessionResponse { event: Some(Event::State(state)) }) = first else {
        return Err(Malformed::new("the session does not begin with its state").into());
    };
    let id = state.session_id.clone();
    let period: Duration = match state.heartbeat {
        Some(span) => span.try_into()?,
        None => return Err(Malformed::new("must be set").within("heartbeat").into()),
    };
    note_state(&shared.seen, state)?;
    connected();
    let session = Session { shared, client, id, description };
    tokio::select! {
        ended = session.heartbeat(period) => ended,
        ended = session.listen(events) => ended,
        ended = session.follow_assignments() => ended,
        ended = session.report() => ended,
        ended = session.watch_machine() => ended,
    }
}

impl Session {
    async fn heartbeat(&self, mut period: Duration) -> Result<Infallible, SessionError> {
        let mut client = self.client.clone();
        loop {
            sleep(period).await;
            let beat = v1::HeartbeatRequest { session_id: self.id.clone() };
            let v1::HeartbeatResponse { period: next } =
                soon(client.heartbeat(beat)).await?.into_inner();
            if let Some(next) = next {
                period = next.try_into()?;
            }
        }
    }

    /// Hears of managers and of readers who want output.
    async fn listen(
        &self,
        mut events: Streaming<v1::SessionResponse>,
    ) -> Result<Infallible, SessionError> {
        let mut readers: BTreeMap<String, Running<()>> = BTreeMap::new();
        let turns = Arc::new(Semaphore::new(READERS));
        loop {
            let v1::SessionResponse { event } =
                events.message().await?.ok_or(SessionError::Closed)?;
            readers.retain(|_, reader| !reader.is_finished());
            match event {
                Some(Event::State(state)) => note_state(&self.shared.seen, state)?,
                Some(Event::Logs(v1::LogSubscription { id, close: true, .. })) => {
                    readers.remove(&id);
                }
                Some(Event::Logs(v1::LogSubscription {
                    id,
                    task_id,
                    options: wanted,
                    close: false,
                })) => {
                    let task =
                        task_id.parse().map_err(|e| Malformed::new(e).within("logs.task_id"))?;
                    let subscription = Subscription {
                        session: self.id.clone(),
                        id: id.clone(),
                        task,
                        options: options(wanted.unwrap_or_default()),
                    };
                    let runtime = Arc::clone(&self.shared.runtime);
                    let (client, turns) = (self.client.clone(), Arc::clone(&turns));
                    let work = async move {
                        let _turn = turns.acquire().await.expect("never closed");
                        publish(runtime, client, subscription).await;
                    };
                    readers.insert(id, task::start("log reader", work));
                }
                // What a newer manager may say is none of our business.
                None => {}
            }
        }
    }

    /// Follows the assignment stream, and opens it again when a step is missing.
    async fn follow_assignments(&self) -> Result<Infallible, SessionError> {
        let mut client = self.client.clone();
        loop {
            let offer = Offer::new();
            let request = v1::AssignmentsRequest {
                session_id: self.id.clone(),
                key_share: offer.share().to_vec(),
            };
            let mut steps = soon(client.assignments(request)).await?.into_inner();
            let mut chain = Chain::new(offer);
            loop {
                let step = steps.message().await?.ok_or(SessionError::Closed)?;
                match chain.push(step) {
                    Ok(None) => {}
                    Ok(Some(update)) => {
                        if self.shared.updates.send(update).await.is_err() {
                            return Err(SessionError::Closed);
                        }
                    }
                    Err(broken) => {
                        tracing::warn!(session = self.id, %broken, "asking for the whole assignment");
                        break;
                    }
                }
            }
            sleep(RESYNC).await;
        }
    }

    async fn report(&self) -> Result<Infallible, SessionError> {
        let mut client = self.client.clone();
        loop {
            let batch = self.shared.reports.next().await;
            let updates = batch
                .statuses
                .iter()
                .map(|(task, status)| v1::TaskStatusUpdate {
                    task_id: task.to_string(),
                    status: Some(status.into()),
                })
                .collect();
            let wiped_task_ids = batch.wiped.iter().map(ToString::to_string).collect();
            let session_id = self.id.clone();
            let request = v1::UpdateTaskStatusRequest { session_id, updates, wiped_task_ids };
            let told = timeout(STORE, client.update_task_status(request));
            let v1::UpdateTaskStatusResponse {} =
                told.await.map_err(|_| SessionError::Late)??.into_inner();
            self.shared.reports.stored(&batch);
        }
    }

    async fn watch_machine(&self) -> Result<Infallible, SessionError> {
        loop {
            sleep(DESCRIBE).await;
            let now = describe(&*self.shared.runtime).await;
            if has_changed(&self.description, &now) {
                if !now.runtime_error.is_empty() {
                    tracing::error!(
                        error = now.runtime_error,
                        "this node cannot work: its runtime does not answer"
                    );
                }
                return Err(SessionError::Changed);
            }
        }
    }
}

async fn soon<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, SessionError> {
    Ok(timeout(ANSWER, call).await.map_err(|_| SessionError::Late)??)
}

fn note_state(seen: &watch::Sender<Seen>, state: v1::SessionState) -> Result<(), Malformed> {
    let v1::SessionState { session_id: _, node, managers, ca_certificates, heartbeat: _ } = state;
    let node = node.map(TryInto::try_into).transpose()?;
    let managers = managers
        .into_iter()
        .map(|v1::ManagerAddr { node_id, addr }| {
            let node = node_id.parse().map_err(|e| Malformed::new(e).within("managers.node_id"))?;
            Ok(Manager { node, addr })
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    seen.send_modify(|seen| {
        seen.connected = true;
        seen.trouble = None;
        seen.node = node.or(seen.node.take());
        if !managers.is_empty() {
            seen.managers = managers;
        }
        if !ca_certificates.is_empty() {
            seen.ca_certificates = ca_certificates;
        }
    });
    Ok(())
}
