//! The agent as a whole: a worker that goes on by itself, and one session after another.

use super::{
    assignments::Update,
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
    /// A manager said that this node is no member any more, and nothing is left of its tasks.
    pub removed: bool,
}

/// Why an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to. Tasks that run then go on running, and the next agent of this node takes them up.
    Stopped,
    /// This node is no member any more: its tasks have been stopped, their containers and files removed.
    Removed,
}

/// Tells how the agent is.
#[derive(Debug, Clone)]
pub struct Handle {
    seen: watch::Receiver<Seen>,
    leaving: Stop,
}

impl Handle {
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Asks the agent to end as if the cluster had removed the node: nothing stays of its tasks.
    pub fn leave(&self) {
        self.leaving.cancel();
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
    leaving: Stop,
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
        let leaving = Stop::new();
        let handle = Handle { seen: receiver, leaving: leaving.clone() };
        (Self { node, runtime, clock, dial, seen, leaving }, handle)
    }

    /// Runs until `stop`, or until the cluster has removed this node and everything of its tasks is gone.
    pub async fn run(self, stop: Stop) -> Ended {
        let Self { node, runtime, clock, dial, seen, leaving } = self;
        let reports = Reports::default();
        let (updates, inbox) = mpsc::channel(INBOX);
        let worker = Worker::new(node, Arc::clone(&runtime), clock, reports.clone(), inbox);
        let worker = task::start("worker", worker.run(stop.clone()));
        let shared = session::Shared { runtime, reports, updates: updates.clone(), seen };
        let seen = shared.seen.clone();
        let ended = tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            () = leaving.cancelled() => Ended::Removed,
            () = sessions(node, shared, &*dial) => Ended::Removed,
        };
        if ended == Ended::Removed {
            tracing::warn!(%node, "this node is no member of the cluster any more: removing its tasks");
            // Fails only if the worker has ended, which then was told to stop.
            drop(updates.send(Update::farewell()).await);
        }
        worker.wait().await;
        if ended == Ended::Removed && !stop.is_cancelled() {
            seen.send_modify(|seen| seen.removed = true);
            return Ended::Removed;
        }
        Ended::Stopped
    }
}

/// Holds one session after another, until a manager says that `node` is no member any more.
async fn sessions(
    node: NodeId,
    shared: session::Shared,
    dial: &(dyn Fn(&Manager) -> Channel + Send + Sync),
) {
    // Swarm's: it grows to 8 s, and a session that came about starts it over.
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(8));
    let mut round = Round::default();
    loop {
        let managers = shared.seen.borrow().managers.clone();
        if let Some(manager) = round.next(managers) {
            tracing::debug!(manager = %manager.node, addr = manager.addr, "connecting");
            let connected = || {
                tracing::info!(manager = %manager.node, addr = manager.addr, "session with a manager");
                backoff.reset();
                round.begin_again();
            };
            let error = session::hold(shared.clone(), dial(&manager), connected).await;
            match &error {
                SessionError::Changed => tracing::info!(%error, "beginning a new session"),
                _ => {
                    tracing::warn!(manager = %manager.node, addr = manager.addr, %error, "session ended");
                }
            }
            shared.seen.send_modify(|seen| {
                seen.connected = false;
                seen.trouble = Some(error.to_string());
            });
            if error.is_removal(node) {
                return;
            }
        }
        backoff.wait().await;
    }
}

/// Goes through the managers in random order, each once, then anew.
#[derive(Debug, Default)]
struct Round {
    left: Vec<Manager>,
    last: Option<Manager>,
}

impl Round {
    /// Whom to try next; not the one tried last if there are others.
    fn next(&mut self, managers: Vec<Manager>) -> Option<Manager> {
        self.left.retain(|manager| managers.contains(manager));
        if self.left.is_empty() {
            self.left = managers;
            shuffle(&mut self.left);
            // Taken from the end, so the first comes last.
            if let Some(at) =
                self.left.iter().position(|manager| Some(manager) == self.last.as_ref())
            {
                self.left.swap(0, at);
            }
        }
        let next = self.left.pop()?;
        self.last = Some(next.clone());
        Some(next)
    }

    /// One has answered: whoever did not before may be back.
    fn begin_again(&mut self) {
        self.left.clear();
    }
}

fn shuffle(managers: &mut [Manager]) {
    for end in (1..managers.len()).rev() {
        let random = getrandom::u64().expect("the kernel gives randomness once booted");
        let count = u64::try_from(end + 1).expect("a list's length fits");
        let pick = usize::try_from(random % count).expect("less than a list's length");
        managers.swap(end, pick);
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_gets_its_turn_and_the_last_one_comes_last() {
        let manager = |addr: &str| Manager { node: NodeId::random(), addr: addr.into() };
        let all = vec![manager("a"), manager("b"), manager("c")];
        let mut round = Round::default();
        for _ in 0..20 {
            let mut tried: Vec<_> = (0..3).map(|_| round.next(all.clone()).unwrap()).collect();
            let next = round.next(all.clone()).unwrap();
            assert_ne!(Some(&next), tried.last(), "not the same again at once");
            round.begin_again();
            tried.sort_by(|a, b| a.addr.cmp(&b.addr));
            assert_eq!(tried, all);
            // One that is no manager any more is not turned to.
            let few = vec![next.clone()];
            assert_eq!(round.next(few.clone()), Some(next.clone()));
            assert_eq!(round.next(few), Some(next));
            round.begin_again();
        }
        assert_eq!(round.next(Vec::new()), None);
    }
}
