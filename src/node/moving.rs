//! A manager whose address has changed: where it listens now, how the others hear of it, and how it finds them.
//!
//! The moved one calls, since nobody can call it: every manager it reaches, each of which goes by what it hears at once
//! and proposes it. So it is found again also where the others need its vote to write anything down. Where several have
//! moved at once, `--managers` says where some of them are.

use super::{
    active::{ActiveError, Surroundings, bind},
    address,
    keystore::Unlocked,
    member::Member,
    settings::Settings,
};
use crate::{
    agent::Manager,
    client::{Book, enroll},
    kit::{backoff::Backoff, chain::chain, id::NodeId, task::Stop},
    model::command::Command,
    pki::{self, Tls},
    raft::{Changes, Raft},
    store::{Change, Entity, State},
};
use futures::future::join_all;
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tracing::{info, warn};

/// Waits between attempts to tell the others.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long one manager may take to answer that it has written the address down.
const TELLING: Duration = Duration::from_secs(10);

/// Listens where the settings say, or where this manager did before. Remembers a new address; the others are told later.
pub(super) async fn listen(
    around: &Surroundings,
    keys: &Unlocked,
    member: &mut Member,
) -> Result<TcpListener, ActiveError> {
    let listen = around.settings.listen_addr.as_deref().unwrap_or(&member.listen_addr);
    let (listener, bound) = bind(address::listen(listen)?).await?;
    note(around, keys, member, bound).await?;
    Ok(listener)
}

/// Remembers the address at which a manager that is not running will be reached.
pub(super) async fn note_address(
    around: &Surroundings,
    keys: &Unlocked,
    member: &mut Member,
) -> Result<(), ActiveError> {
    let listen = around.settings.listen_addr.as_deref().unwrap_or(&member.listen_addr);
    let bound = address::listen(listen)?;
    note(around, keys, member, bound).await
}

async fn note(
    around: &Surroundings,
    keys: &Unlocked,
    member: &mut Member,
    bound: SocketAddr,
) -> Result<(), ActiveError> {
    let Settings { listen_addr, advertise_addr, .. } = &around.settings;
    if listen_addr.is_none() && advertise_addr.is_none() {
        return Ok(());
    }
    let others = member.managers.iter().filter(|manager| manager.node != keys.node);
    let others: Vec<String> = others.map(|manager| manager.addr.clone()).collect();
    let told = advertise_addr.as_deref().unwrap_or_default();
    let (listen, advertise) =
        (bound.to_string(), address::told(told, bound, &others).await?.to_string());
    if (&member.listen_addr, &member.advertise_addr) == (&listen, &advertise) {
        return Ok(());
    }
    info!(before = member.advertise_addr, now = advertise, "this manager's address has changed");
    for own in member.managers.iter_mut().filter(|manager| manager.node == keys.node) {
        own.addr.clone_from(&advertise);
    }
    (member.listen_addr, member.advertise_addr) = (listen, advertise);
    Ok(member.save(&around.data, keys)?)
}

/// Remembers what a worker shall use once it is promoted.
pub(super) fn note_for_later(
    around: &Surroundings,
    keys: &Unlocked,
    member: &mut Member,
) -> Result<(), ActiveError> {
    let Settings { listen_addr, advertise_addr, .. } = &around.settings;
    let listen = listen_addr.as_ref().filter(|addr| **addr != member.listen_addr);
    let advertise = advertise_addr.as_ref().filter(|addr| **addr != member.advertise_addr);
    if listen.is_none() && advertise.is_none() {
        return Ok(());
    }
    if let Some(listen) = listen {
        member.listen_addr.clone_from(listen);
    }
    if let Some(advertise) = advertise {
        member.advertise_addr.clone_from(advertise);
    }
    Ok(member.save(&around.data, keys)?)
}

/// The managers an agent begins with, and each of them where managers are said to be: whoever is met there proves which
/// one it is.
pub(super) fn with_seeds(settings: &Settings, mut managers: Vec<Manager>) -> Vec<Manager> {
    let nodes: BTreeSet<NodeId> = managers.iter().map(|manager| manager.node).collect();
    for addr in &settings.managers {
        let seeds = nodes.iter().map(|node| Manager { node: *node, addr: addr.clone() });
        managers.extend(seeds);
    }
    managers.dedup();
    managers
}

/// Keeps the book in step with the rows.
pub(super) async fn follow_rows(raft: Raft, book: Book, stop: Stop) {
    let mut changes = raft.changes();
    loop {
        for node in raft.state().nodes() {
            if let Some(manager) = &node.manager {
                book.note_row(node.id, &manager.addr);
            }
        }
        let concerns = |change: &Change| matches!(change, Change::Put(Entity::Node(_)));
        tokio::select! {
            () = stop.cancelled() => return,
            more = Changes::until(&mut changes, concerns) => if !more { return },
        }
    }
}

/// Sees to it that the others know where this manager is, and that it knows where they are.
pub(super) struct Mover {
    pub(super) raft: Raft,
    pub(super) tls: Tls,
    pub(super) node: NodeId,
    /// Where this manager is reached.
    pub(super) addr: String,
    /// Where managers are said to be.
    pub(super) seeds: Vec<String>,
    pub(super) book: Book,
}

impl Mover {
    /// Runs until everybody is found who is to be, and the row says where this manager is.
    pub(super) async fn run(self, stop: Stop) {
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut seeds = self.seeds.clone();
        loop {
            let state = self.raft.state();
            let row = state.node_by_id(self.node).and_then(|node| node.manager.as_ref());
            let known = row.is_none_or(|manager| manager.addr == self.addr);
            if known && seeds.is_empty() {
                return;
            }
            let round = async {
                seeds = self.meet(&state, std::mem::take(&mut seeds)).await;
                if !known {
                    self.tell(&state).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = backoff.wait() => {}
            }
        }
    }

    /// The other managers, and where their rows say that they are.
    fn others(&self, state: &State) -> Vec<(NodeId, String)> {
        let others = state.nodes().filter(|node| node.id != self.node);
        others.filter_map(|node| Some((node.id, node.manager.as_ref()?.addr.clone()))).collect()
    }

    /// Looks which managers are where some are said to be. Returns the addresses at which none was met.
    async fn meet(&self, state: &State, seeds: Vec<String>) -> Vec<String> {
        let mut left = Vec::new();
        for seed in seeds {
            let mut met = seed == self.addr;
            for (node, addr) in self.others(state) {
                if met {
                    break;
                }
                met = pki::connect(&self.tls, &seed, node).await.is_ok();
                if met && addr != seed {
                    info!(manager = %node, addr = seed, "met a manager that has moved");
                    self.book.hear(node, &seed);
                }
            }
            if !met {
                left.push(seed);
            }
        }
        left
    }

    /// Tells all managers that can be reached: each goes by it, and whoever finds a leader has it written down.
    async fn tell(&self, state: &State) {
        let leads = self.raft.leadership().borrow().is_leading();
        if leads {
            let command = Command::MoveManager { id: self.node, addr: self.addr.clone() };
            if let Err(error) = self.raft.propose(None, command).await {
                warn!(error = %chain(&error), "cannot write down where this manager is");
            }
            return;
        }
        let mut calls = Vec::new();
        for (node, addr) in self.others(state) {
            let at = self.book.find(node).unwrap_or(addr);
            calls.push(tell_one(self.tls.clone(), node, at, self.addr.clone()));
        }
        join_all(calls).await;
    }
}

async fn tell_one(tls: Tls, node: NodeId, at: String, addr: String) {
    let told = enroll::relocate(&tls, (node, &at), &addr);
    match tokio::time::timeout(TELLING, told).await {
        Ok(Ok(())) => info!(manager = %node, "told a manager where this one is"),
        Ok(Err(error)) => {
            warn!(manager = %node, at, error = %chain(&error), "cannot tell a manager where this one is");
        }
        Err(_) => {
            warn!(manager = %node, at, "a manager that was told where this one is does not answer");
        }
    }
}
