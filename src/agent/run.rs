//! The agent as a whole: a worker that goes on by itself, and one session after another.

use super::{
    report::Reports,
    runtime::Runtime,
    session::{self, SessionError},
    worker::{INBOX, Worker},
};
use crate::{
    kit::{
        backoff::Backoff,
        clock::Clock,
        id::NodeId,
        task::{self, Stop},
    },
    model::node::Node,
    pki::{self, Tls},
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

/// A manager to turn to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub node: NodeId,
    /// `host:port`.
    pub addr: String,
}

/// What an agent needs.
#[derive(Debug)]
pub struct AgentConfig {
    pub node: NodeId,
    pub tls: Tls,
    /// Where to begin; the managers tell of the others.
    pub managers: Vec<Manager>,
    pub runtime: Arc<dyn Runtime>,
    pub clock: Clock,
}

/// What the agent knows of its cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub connected: bool,
    /// Why there is no session, once one has failed.
    pub trouble: Option<String>,
    /// This node, as the managers see it.
    pub node: Option<Node>,
    pub managers: Vec<Manager>,
    /// DER; what the managers say is to be trusted.
    pub ca_certificates: Vec<Vec<u8>>,
}

/// Tells how the agent is.
#[derive(Debug, Clone)]
pub struct Handle {
    seen: watch::Receiver<Seen>,
}

impl Handle {
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits for what the agent knows to change. Nothing once the agent has ended.
    pub async fn changed(&mut self) -> Option<Seen> {
        self.seen.changed().await.ok()?;
        Some(self.seen.borrow_and_update().clone())
    }
}

/// A node's agent.
pub struct Agent {
    node: NodeId,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    dial: Box<dyn Fn(&Manager) -> Channel + Send + Sync>,
    seen: watch::Sender<Seen>,
}

impl Agent {
    pub fn new(config: AgentConfig) -> (Self, Handle) {
        let AgentConfig { node, tls, managers, runtime, clock } = config;
        let dial = move |manager: &Manager| pki::channel(&tls, &manager.addr, manager.node);
        Self::dialling(node, managers, runtime, clock, Box::new(dial))
    }

    pub(super) fn dialling(
        node: NodeId,
        managers: Vec<Manager>,
        runtime: Arc<dyn Runtime>,
        clock: Clock,
        dial: Box<dyn Fn(&Manager) -> Channel + Send + Sync>,
    ) -> (Self, Handle) {
        let (seen, receiver) = watch::channel(Seen { managers, ..Seen::default() });
        (Self { node, runtime, clock, dial, seen }, Handle { seen: receiver })
    }

    /// Runs until `stop`. Tasks that run then go on running, and the next agent of this node takes them up.
    pub async fn run(self, stop: Stop) {
        let Self { node, runtime, clock, dial, seen } = self;
        let reports = Reports::default();
        let (updates, inbox) = mpsc::channel(INBOX);
        let worker = Worker::new(node, Arc::clone(&runtime), clock, reports.clone(), inbox);
        let worker = task::start("worker", worker.run(stop.clone()));
        let shared = session::Shared { runtime, reports, updates, seen };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sessions(shared, &*dial) => {}
        }
        worker.wait().await;
    }
}

/// Holds one session after another, for ever.
async fn sessions(shared: session::Shared, dial: &(dyn Fn(&Manager) -> Channel + Send + Sync)) {
    // Swarm's: it grows to 8 s, and a session that came about starts it over.
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(8));
    let mut turn = 0;
    loop {
        let managers = shared.seen.borrow().managers.clone();
        if let Some(manager) = managers.get(turn % managers.len().max(1)) {
            tracing::debug!(manager = %manager.node, addr = manager.addr, "connecting");
            let connected = || {
                tracing::info!(manager = %manager.node, addr = manager.addr, "session with a manager");
                backoff.reset();
            };
            let error = session::hold(shared.clone(), dial(manager), connected).await;
            match error {
                SessionError::Changed => tracing::info!(%error, "beginning a new session"),
                _ => {
                    tracing::warn!(manager = %manager.node, addr = manager.addr, %error, "session ended");
                }
            }
            shared.seen.send_modify(|seen| {
                seen.connected = false;
                seen.trouble = Some(error.to_string());
            });
        }
        // The next manager, should this one be down.
        turn = turn.wrapping_add(1);
        backoff.wait().await;
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("node", &self.node).finish_non_exhaustive()
    }
}
