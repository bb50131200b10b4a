//! This node as a manager: the store, the cluster listener, and what is served and done on top of them.

use super::{
    active::{ActiveError, Surroundings},
    member::Card,
    moving::{self, Mover},
    refill,
    switch::Switch,
};
use crate::{
    client::Book,
    crypto::{OpenError, keychain::Keychain},
    kit::{
        chain::chain,
        clock::Clock,
        task::{self, Running, Stop},
    },
    manager::{
        ca::CaService,
        chores::Chores,
        control::ControlService,
        debts,
        dispatcher::{DispatcherService, RelayService},
        rekey::Rekey,
        root_key::RootKey,
    },
    model::node::Node,
    pki::{self, Tls},
    raft::{self, Leadership, PeerError, Raft},
    wire::{
        status::status,
        v1::{
            ClonedNode, ManagerEntry, StatusResponse, ca_server::CaServer,
            control_server::ControlServer, dispatcher_server::DispatcherServer,
            peer_server::PeerServer,
        },
    },
};
use async_trait::async_trait;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::{Code, Status, service::Routes, transport::Channel};
use tracing::error;

/// How long a new manager waits for the others to send it the next of what the cluster stores: as long as it takes them to
/// elect a leader and that one to change the group, several times over.
const SUPPLY: Duration = Duration::from_secs(20);
/// How often it looks whether it has everything.
const LOOK: Duration = Duration::from_millis(50);
/// How often it looks where the members are.
const KNOW: Duration = Duration::from_secs(2);
/// How long `status` waits to hear how the others are.
const CONTACTS: Duration = Duration::from_secs(1);
/// A manager that the leader has not heard of for this long counts as lost; ten heartbeats.
const LOST: Duration = Duration::from_secs(3);

/// Reaches other managers over mutual TLS, wherever they are now.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    tls: Tls,
    book: Book,
}

impl Dial {
    pub(super) fn new(tls: &Tls, around: &Surroundings) -> Self {
        Self { tls: tls.clone(), book: around.book.clone() }
    }
}

#[async_trait]
impl raft::Peers for Dial {
    async fn channel(&self, member: &raft::Member) -> Result<Channel, PeerError> {
        let addr = self.book.find(member.node).unwrap_or_else(|| member.addr.clone());
        Ok(pki::channel(&self.tls, &addr, member.node))
    }
}

/// The parts of a manager.
pub(super) struct Managing {
    pub(super) raft: Raft,
    pub(super) keys: Arc<Keychain>,
    listen: SocketAddr,
    advertise: String,
    control: ControlServer<ControlService>,
    parts: Vec<Running<()>>,
    clock: Clock,
    stop: Stop,
}

impl Managing {
    /// Serves the cluster port and, once the store holds the cluster, does a manager's work. Stops the store on failure.
    pub(super) async fn start(
        around: &Surroundings,
        card: &Card,
        tls: &Tls,
        raft: Raft,
        listener: TcpListener,
    ) -> Result<Self, ActiveError> {
        let stop = Stop::new();
        let mut parts = Vec::new();
        match Self::parts(around, card, tls, &raft, listener, &stop, &mut parts).await {
            Ok((listen, keys, control)) => {
                let advertise = card.read(|member| member.advertise_addr.clone());
                let clock = around.clock.clone();
                Ok(Self { raft, keys, listen, advertise, control, parts, clock, stop })
            }
            Err(error) => {
                halt(&raft, parts, &stop).await;
                Err(error)
            }
        }
    }

    async fn parts(
        around: &Surroundings,
        card: &Card,
        tls: &Tls,
        raft: &Raft,
        listener: TcpListener,
        stop: &Stop,
        parts: &mut Vec<Running<()>>,
    ) -> Result<(SocketAddr, Arc<Keychain>, ControlServer<ControlService>), ActiveError> {
        let clock = around.clock.clone();
        let listen = listener
            .local_addr()
            .map_err(|source| ActiveError::Listen { addr: ([0; 4], 0).into(), source })?;
        // Other managers must get through before the store holds anything: it comes from them.
        let dispatching: Switch<DispatcherServer<DispatcherService>> = Switch::off(catching_up);
        let certifying: Switch<CaServer<CaService>> = Switch::off(catching_up);
        let relaying: Switch<PeerServer<RelayService>> = Switch::off(catching_up);
        let known = pki::KnownAddrs::default();
        let (incoming, accepting) = pki::listen(listener, tls, known.clone(), stop.clone());
        parts.push(accepting);
        parts.push(task::start("members' addresses", know(raft.clone(), known, stop.clone())));
        let strangers = Routes::new(certifying.clone());
        let workers = strangers.clone().add_service(dispatching.clone());
        let managers =
            workers.clone().add_service(raft.peer_service()).add_service(relaying.clone());
        let serving = pki::serve(incoming, move |class| match class {
            pki::Class::Stranger => strangers.clone(),
            pki::Class::Worker => workers.clone(),
            pki::Class::Manager => managers.clone(),
        });
        let ended = stop.clone();
        parts.push(task::start("cluster listener", async move {
            tokio::select! {
                served = serving => {
                    if let Err(error) = served {
                        error!(error = %chain(&error), "the cluster listener failed");
                    }
                }
                () = ended.cancelled() => {}
            }
        }));
        parts.push(task::start(
            "store watch",
            watch_store(raft.clone(), around.fatal.clone(), stop.clone()),
        ));
        let keys = Arc::new(unlocked(raft, around, card).await?);
        let dispatcher = DispatcherService::new(
            raft.clone(),
            card.keys.node,
            Arc::clone(&keys),
            clock.clone(),
            stop.clone(),
        );
        let control = ControlService::new(
            raft.clone(),
            Arc::clone(&keys),
            card.keys.node,
            dispatcher.logs(),
            Arc::new(Dial::new(tls, around)),
            stop.clone(),
        );
        let ca =
            CaService::new(raft.clone(), Arc::clone(&keys), clock.clone(), around.book.clone());
        dispatching.on(dispatcher.server());
        certifying.on(ca.server());
        relaying.on(dispatcher.relay());
        parts.push(task::start(
            "addresses",
            moving::follow_rows(raft.clone(), around.book.clone(), stop.clone()),
        ));
        let mover = Mover {
            raft: raft.clone(),
            tls: tls.clone(),
            node: card.keys.node,
            addr: card.read(|member| member.advertise_addr.clone()),
            seeds: around.settings.managers.clone(),
            book: around.book.clone(),
        };
        parts.push(task::start("own address", mover.run(stop.clone())));
        let rekey = Rekey::new(raft.clone(), Arc::clone(&keys), clock.clone());
        let root_key = RootKey::new(raft.clone(), card.keys.node, Arc::clone(&keys));
        parts.push(task::start("root key", root_key.run(stop.clone())));
        let chores = Chores::new(raft.clone(), clock);
        parts.push(task::start("dispatcher", dispatcher.run()));
        parts.push(task::start("chores", chores.run(stop.clone())));
        parts.push(task::start("rekey", rekey.run(stop.clone())));
        let (raft, node, data) = (raft.clone(), card.keys.node, around.data.clone());
        let ends = stop.clone();
        let paying = async move {
            // What is owed lies in a damaged store too.
            refill::until_whole(&raft, &data, &ends).await;
            debts::run(raft, node, ends).await;
        };
        parts.push(task::start("debts", paying));
        Ok((listen, keys, ControlServer::new(control)))
    }

    /// The control API over this manager's store.
    pub(super) fn control(&self) -> ControlServer<ControlService> {
        self.control.clone()
    }

    /// Whether Raft still counts this manager in.
    pub(super) fn is_member(&self) -> bool {
        let status = self.raft.status();
        status.members.contains_key(&status.raft_id)
    }

    /// Whether there is no other manager.
    pub(super) fn is_alone(&self) -> bool {
        self.raft.status().members.len() < 2
    }

    /// Fills in what `status` says of a manager.
    pub(super) async fn describe(&self, status: &mut StatusResponse) {
        let raft = self.raft.status();
        let contacts = tokio::time::timeout(CONTACTS, self.raft.contacts()).await;
        let contacts = contacts.ok().and_then(Result::ok);
        let reachable = |id: &u64| {
            let contacts = contacts.as_ref()?;
            let heard = |contact: &raft::Contact| contact.silent.is_some_and(|time| time < LOST);
            Some(raft.leader == Some(*id) || contacts.get(id).is_some_and(heard))
        };
        let troubles = self.raft.troubles();
        let ahead = |id: &u64| {
            let contacts = contacts.as_ref()?;
            if raft.leader == Some(*id) { Some(0) } else { contacts.get(id)?.clock_ahead_ms }
        };
        status.leader = self.raft.leadership().borrow().is_leading();
        status.managers = raft
            .members
            .iter()
            .map(|(id, member)| ManagerEntry {
                node_id: member.node.to_string(),
                raft_id: *id,
                addr: member.addr.clone(),
                leader: raft.leader == Some(*id),
                reachable: reachable(id),
                voter: raft.voters.contains(id),
                damage: troubles.get(id).cloned().unwrap_or_default(),
                clock_ahead_ms: ahead(id),
            })
            .collect();
        if contacts.is_some() {
            let here = raft.voters.iter().filter(|id| reachable(id) == Some(true)).count();
            let losses = here.saturating_sub(raft.voters.len() / 2 + 1);
            status.losses = Some(u32::try_from(losses).unwrap_or(u32::MAX));
        }
        if let Some(backup) = self.raft.state().cluster().and_then(|one| one.backup.as_ref()) {
            status.backup_created_at_ms = backup.created_at.0;
            status.backup_verified_at_ms = backup.verified_at.0;
        }
        let (state, now) = (self.raft.state(), self.clock.now());
        status.come_back = state.cluster().map(|cluster| (&cluster.settings.come_back).into());
        let cloned = |node: &Arc<Node>| {
            let rival = node.sightings.rival(now)?;
            Some(ClonedNode {
                node_id: node.id.to_string(),
                hostname: node.description.hostname.clone(),
                since_ms: rival.since.0,
                last_ms: rival.last.0,
                addrs: rival.addrs.clone(),
            })
        };
        status.cloned = state.nodes().filter_map(cloned).collect();
        let pending = state.destroyed().count();
        status.destructions_pending = u64::try_from(pending).unwrap_or(u64::MAX);
        status.listen_addr = self.listen.to_string();
        status.advertise_addr.clone_from(&self.advertise);
        status.applied_index = raft.applied_index;
    }

    /// Stops in reverse.
    ///
    /// # Errors
    /// [`ActiveError::Stopped`] if the store had failed already.
    pub(super) async fn shutdown(self) -> Result<(), ActiveError> {
        let Self { raft, parts, stop, .. } = self;
        // While everything is still served: the others need this manager's vote, and its last entries.
        raft.hand_over().await;
        halt(&raft, parts, &stop).await.map_or(Ok(()), |why| Err(ActiveError::Stopped(why)))
    }
}

/// Stops everything; says why the store had failed, if it had.
async fn halt(raft: &Raft, parts: Vec<Running<()>>, stop: &Stop) -> Option<String> {
    stop.cancel();
    for part in parts {
        part.wait().await;
    }
    let failed = match &*raft.leadership().borrow() {
        Leadership::Failed { why } => Some(why.clone()),
        Leadership::Leading { .. } | Leadership::Following { .. } => None,
    };
    raft.shutdown().await;
    failed
}

/// Waits until the store holds the cluster: at once where it was founded or opened.
async fn filled(
    raft: &Raft,
    around: &Surroundings,
) -> Result<Arc<crate::store::State>, ActiveError> {
    let mut supply = raft.supply();
    let mut last = tokio::time::Instant::now();
    loop {
        let state = raft.state();
        if state.cluster().is_some() {
            return Ok(state);
        }
        // What has come may take its time to be written down.
        if supply.has_changed().unwrap_or(false) || *supply.borrow() > 0 {
            supply.mark_unchanged();
            last = tokio::time::Instant::now();
        }
        if last.elapsed() >= SUPPLY {
            return Err(ActiveError::NoCluster);
        }
        around.filling.cancel();
        tokio::select! {
            () = around.fatal.cancelled() => return Err(ActiveError::Unfilled),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Keeps the addresses that members come from, for the listener.
async fn know(raft: Raft, known: pki::KnownAddrs, stop: Stop) {
    let mut seen: Option<Arc<crate::store::State>> = None;
    loop {
        let state = raft.state();
        if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &state)) {
            let of_managers = state.nodes().filter_map(|node| node.manager.as_ref());
            let of_managers = of_managers.filter_map(|it| it.addr.parse::<SocketAddr>().ok());
            let of_nodes = state.nodes().filter_map(|node| node.status.addr.parse().ok());
            known.set(of_managers.map(|addr| addr.ip()).chain(of_nodes));
            seen = Some(state);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(KNOW) => {}
        }
    }
}

/// Opens the keyring, once the state is as new as the root key that this manager was given.
async fn unlocked(
    raft: &Raft,
    around: &Surroundings,
    card: &Card,
) -> Result<Keychain, ActiveError> {
    let begun = tokio::time::Instant::now();
    loop {
        let state = filled(raft, around).await?;
        let cluster = state.cluster().ok_or(ActiveError::NoCluster)?;
        let (root, next) = (Arc::clone(&card.keys.root), card.keys.next.clone());
        match Keychain::open(root, next, card.keys.cluster, &cluster.keyring) {
            Ok(keys) => return Ok(keys),
            Err(OpenError::Mismatch) if begun.elapsed() < SUPPLY => {}
            Err(error) => return Err(ActiveError::Keyring(error)),
        }
        around.filling.cancel();
        tokio::select! {
            () = around.fatal.cancelled() => return Err(ActiveError::Unfilled),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn catching_up() -> Status {
    status(Code::Unavailable, "this manager is still joining the cluster", None)
}

/// Ends the process when the store has stopped: a manager that cannot write must not look alive.
async fn watch_store(raft: Raft, fatal: Stop, stop: Stop) {
    let mut leadership = raft.leadership();
    loop {
        if let Leadership::Failed { why } = &*leadership.borrow_and_update() {
            // One that is damaged stands aside, and this process goes on as a worker.
            if raft.damage().borrow().is_some() {
                return;
            }
            error!(%why, "the store stopped");
            fatal.cancel();
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}
