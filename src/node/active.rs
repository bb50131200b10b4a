//! This node while it is part of a cluster: as what it was founded, joined or taken up again, and how its part changes.

use super::{
    address,
    daemon::hostname,
    files,
    keystore::{self, Locked, Opened, Unlocked, Ways},
    managing::{Dial, Managing},
    member::{self, Card, Member},
    moving,
    protection::KeyPlace,
    refill,
    renewal::{self, Renewal, Signer, issue},
    root_key,
    settings::Settings,
    unlocking,
    work::{self, Work},
};
use crate::{
    agent::{Handle, Manager, Seen},
    client::{
        Book,
        enroll::{self, Admitted, Enrolled},
    },
    crypto::{
        context::Context,
        key::{Key, Root},
        keyring::Keyring,
        plaintext::Plaintext,
        unlock::{Method, Unlocker, code},
    },
    kit::{
        backoff::Backoff,
        chain::chain,
        clock::{Clock, Timestamp},
        failpoint::failpoint,
        id::{ClusterId, NodeId, UnlockerId},
        task::{self, Running, Stop},
    },
    manager::control::ControlService,
    model::{
        Meta,
        cluster::{Cluster, ClusterSettings, RootStatus},
        command::Command,
        node::{
            Availability, CertificateStatus, ManagerStatus, Node, NodeDescription, NodeState,
            NodeStatus, RaftIdentity, Role, Standing,
        },
        sightings::Sightings,
    },
    pki::{Authority, CaDigest, Identity, JoinToken, Tls},
    raft::{self, Options, Raft},
    wire::v1::{self, LocalState, StatusResponse, control_server::ControlServer},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

pub(super) use super::{active_error::ActiveError, turning::Turned};

/// Begins the names of the folders that keep what was found before an init or a join; the rest says when.
const ASIDE: &str = "set-aside-";
/// How long a node that joins asks to be admitted while nobody leads: longer than an election.
const PATIENCE: Duration = Duration::from_secs(15);
/// Waits between attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How long a node that could not become part of its cluster tries to say so.
const GOODBYE: Duration = Duration::from_secs(5);

/// What this process has been given.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) settings: Settings,
    /// Our data directory; locked by us.
    pub(super) data: PathBuf,
    pub(super) clock: Clock,
    /// Cancelled by whoever finds that this process cannot go on, or when it ends.
    pub(super) fatal: Stop,
    /// Cancelled once a store has been found that others must fill, which takes as long as they want.
    pub(super) filling: Stop,
    /// Where the other managers are.
    pub(super) book: Book,
}

impl Surroundings {
    pub(super) fn raft_dir(&self) -> PathBuf {
        self.data.join("raft")
    }
}

/// What the cluster wants of this node that it is not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Promoted,
    Demoted,
    Gone,
    /// The store must take no part any more, for this reason.
    Damaged(String),
}

/// Where and how a node is to join.
#[derive(Debug)]
pub(super) struct Joining<'a> {
    pub(super) token: &'a JoinToken,
    /// Managers to ask, `host:port`.
    pub(super) managers: &'a [String],
    pub(super) listen: &'a str,
    pub(super) advertise: &'a str,
    pub(super) availability: Availability,
}

/// Addresses as they were given, perhaps not at all.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    listen: &'a str,
    advertise: &'a str,
}

/// What a data directory turned out to hold.
pub(super) enum Resumed {
    /// No membership.
    Nothing,
    Locked(Locked),
    Active(Box<Active>),
}

/// A worker, and perhaps a manager too.
pub(super) struct Active {
    pub(super) card: Arc<Card>,
    pub(super) tls: Tls,
    pub(super) runtime: Arc<dyn crate::agent::runtime::Runtime>,
    pub(super) managing: Option<Managing>,
    /// What is wrong with the store of a manager that therefore is none until it is refilled.
    pub(super) damage: Option<String>,
    pub(super) work: Work,
    pub(super) parts: Vec<Running<()>>,
    pub(super) stop: Stop,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("node", &self.card.keys.node).finish_non_exhaustive()
    }
}

impl Active {
    /// Founds a cluster; with `autolock`, also gives the code that unlocks it. The identity is written last: without one,
    /// nothing was founded.
    pub(super) async fn found(
        around: &Surroundings,
        listen: &str,
        advertise: &str,
        autolock: bool,
    ) -> Result<(Self, Option<Plaintext>), ActiveError> {
        let (listener, bound) = bind(address::listen(listen)?).await?;
        let advertise = address::told(advertise, bound, &[]).await?;
        let (cluster, node, now) = (ClusterId::random(), NodeId::random(), around.clock.now());
        // First, because it can fail for reasons of this machine, and nothing has been made yet.
        let runtime = work::runtime(&around.settings, node).await?;
        clear(around)?;
        failpoint("init.cleared");
        let root = Key::random();
        let (ways, code) = if autolock {
            let (id, key) = (UnlockerId::random(), Key::random());
            let unlocker = Unlocker::new(cluster, id, Method::Autolock, &key, &root);
            let ways = Ways { key_file: false, shared: vec![unlocker] };
            (ways, Some(code::print_key(id, &key)))
        } else {
            (Ways::key_file(), None)
        };
        let key_file = &around.settings.key_file;
        let keys = keystore::create(&around.data, key_file, (cluster, node), root, &ways)?;
        failpoint("init.keys");
        let (found, identity) = founding(&keys, &ways, advertise, now)?;
        let addr = advertise.to_string();
        let member = Member {
            roots: identity.chain().split_off(1),
            identity,
            raft_id: Some(1),
            listen_addr: bound.to_string(),
            advertise_addr: addr.clone(),
            managers: vec![Manager { node, addr: addr.clone() }],
            fellows: None,
        };
        let tls = tls(&keys, &member, &around.clock)?;
        let raft = Raft::found(
            options(around, &keys, 1, None),
            raft::Member { node, addr },
            Arc::new(Dial::new(&tls, around)),
        )
        .await?;
        failpoint("init.store");
        if let Err(error) = raft.propose(None, found).await {
            raft.shutdown().await;
            return Err(ActiveError::Found(error));
        }
        failpoint("init.proposed");
        if let Err(error) = member.save(&around.data, &keys) {
            raft.shutdown().await;
            return Err(error.into());
        }
        failpoint("init.saved");
        info!(%cluster, %node, "founded a cluster");
        let card = Card::new(&around.data, keys, member);
        let active = Self::start(around, card, tls, Some((raft, listener)), runtime).await?;
        Ok((active, code))
    }

    /// Joins a cluster that exists, as what the token says. What fails leaves a node that belongs to none.
    pub(super) async fn join(
        around: &Surroundings,
        joining: Joining<'_>,
    ) -> Result<Self, ActiveError> {
        let Joining { token, managers, listen, advertise, availability } = joining;
        address::advertise(advertise)?;
        // Bound before the token is used: a taken address is the likeliest mistake. Only a manager needs it, so for a
        // worker one that nobody asked for may be taken now; one that was asked for must work.
        let bound = match bind(address::listen(listen)?).await {
            Err(error) if !listen.is_empty() => return Err(error),
            bound => bound,
        };
        clear(around)?;
        let description = NodeDescription {
            hostname: hostname(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..NodeDescription::default()
        };
        let enrolled =
            enroll::join(managers, token, &description, availability, &around.clock).await?;
        failpoint("join.enrolled");
        let (node, cluster, role) = (enrolled.node, enrolled.cluster, enrolled.role);
        let asked = Asked { listen, advertise };
        let roots: Vec<&[u8]> = enrolled.roots.iter().map(Vec::as_slice).collect();
        let tls = Tls::new(cluster, &roots, around.clock.clone())?;
        tls.set_identity(&enrolled.identity)?;
        let managers = enrolled.managers.clone();
        let error = match Self::settle(around, enrolled, tls.clone(), bound, asked).await {
            Ok(joined) => {
                info!(%cluster, %node, %role, "joined a cluster");
                return Ok(joined);
            }
            Err(error) => error,
        };
        wipe(around)?;
        // Nobody is left who could be this node, so the others need not keep a place for it.
        let goodbye = tokio::time::timeout(GOODBYE, async {
            enroll::depart(&tls, &managers).await?;
            // It never had a task.
            enroll::confirm_wiped(&tls, &managers).await
        })
        .await;
        let gone = matches!(goodbye, Ok(Ok(())));
        warn!(%node, gone, error = %chain(&error), "could not become part of the cluster");
        Err(ActiveError::Unsettled { node, gone, source: Box::new(error) })
    }

    /// Makes this node what it was taken in as.
    async fn settle(
        around: &Surroundings,
        enrolled: Enrolled,
        tls: Tls,
        bound: Result<(TcpListener, SocketAddr), ActiveError>,
        asked: Asked<'_>,
    ) -> Result<Self, ActiveError> {
        let Enrolled { node, cluster, role, identity, roots, managers } = enrolled;
        let runtime = work::runtime(&around.settings, node).await?;
        let known = managers.iter().cloned().map(|(node, addr)| Manager { node, addr }).collect();
        let key_file = &around.settings.key_file;
        let mut member = Member {
            identity,
            roots,
            raft_id: None,
            // A worker listens nowhere. What was asked for counts once it is promoted.
            listen_addr: asked.listen.to_owned(),
            advertise_addr: asked.advertise.to_owned(),
            managers: known,
            fellows: None,
        };
        match role {
            Role::Worker => {
                let ways = Ways::key_file();
                let who = (cluster, node);
                let keys = keystore::create(&around.data, key_file, who, Key::random(), &ways)?;
                member.save(&around.data, &keys)?;
                let card = Card::new(&around.data, keys, member);
                Self::start(around, card, tls, None, runtime).await
            }
            Role::Manager => {
                let (listener, at) = bound?;
                let addrs: Vec<String> = managers.iter().map(|(_, addr)| addr.clone()).collect();
                member.listen_addr = at.to_string();
                member.advertise_addr =
                    address::told(asked.advertise, at, &addrs).await?.to_string();
                let admitted =
                    admit_soon(&tls, &managers, &member.advertise_addr, &around.clock).await?;
                failpoint("join.admitted");
                let (raft_id, root, ways) = member.admit(admitted);
                tls.set_identity(&member.identity)?;
                let who = (cluster, node);
                let keys = keystore::create(&around.data, key_file, who, root, &ways)?;
                failpoint("join.keys");
                let dial = Arc::new(Dial::new(&tls, around));
                let fellows = member.fellows.clone();
                let raft = Raft::join(options(around, &keys, raft_id, fellows), dial).await?;
                failpoint("join.store");
                if let Err(error) = member.save(&around.data, &keys) {
                    raft.shutdown().await;
                    return Err(error.into());
                }
                failpoint("join.saved");
                let card = Card::new(&around.data, keys, member);
                Self::start(around, card, tls, Some((raft, listener)), runtime).await
            }
        }
    }

    /// Takes up what this node was; nothing if it was never part of a cluster.
    pub(super) async fn resume(around: &Surroundings) -> Result<Resumed, ActiveError> {
        if !keystore::exists(&around.data) {
            return Ok(Resumed::Nothing);
        }
        let (data, key_file) = (around.data.clone(), around.settings.key_file.clone());
        let opened = tokio::task::spawn_blocking(move || keystore::open(&data, &key_file)).await;
        match opened.map_err(|error| ActiveError::Stopped(error.to_string()))?? {
            Opened::Open(keys) => Self::unlocked(around, keys).await,
            Opened::Locked(locked) => Ok(Resumed::Locked(locked)),
        }
    }

    /// Takes up what the node of these keys was.
    pub(super) async fn unlocked(
        around: &Surroundings,
        keys: Unlocked,
    ) -> Result<Resumed, ActiveError> {
        let Some(member) = Member::load(&around.data, &keys)? else {
            warn!(
                "an init or join was cut off before it was done; this node belongs to no cluster"
            );
            return Ok(Resumed::Nothing);
        };
        let again = keys.shared();
        let filled = match Self::take_up(around, keys, member).await {
            // A store that was begun when this manager was promoted or refilled, and cut off before it had anything.
            Err(ActiveError::NoCluster) => {
                let member = Member::load(&around.data, &again)?.ok_or(ActiveError::NoCluster)?;
                let damage = ActiveError::NoCluster.to_string();
                let runtime = work::runtime(&around.settings, again.node).await?;
                Self::without_store(around, again, member, runtime, damage).await
            }
            filled => filled,
        };
        filled.map(Box::new).map(Resumed::Active)
    }

    /// Starts a manager that has no store it could use: what remains is a worker.
    async fn without_store(
        around: &Surroundings,
        keys: Unlocked,
        member: Member,
        runtime: Arc<dyn crate::agent::runtime::Runtime>,
        damage: String,
    ) -> Result<Self, ActiveError> {
        error!(%damage, "this manager takes no part in the cluster's decisions until it is refilled");
        let tls = tls(&keys, &member, &around.clock)?;
        let card = Card::new(&around.data, keys, member);
        let mut worker = Self::start(around, card, tls, None, runtime).await?;
        if let Some(raft_id) = worker.card.read(|member| member.raft_id) {
            let (card, peers) = (Arc::clone(&worker.card), Dial::new(&worker.tls, around));
            let (why, stop) = (damage.clone(), worker.stop.clone());
            let telling = async move {
                let others = || {
                    let managers = card.read(|member| member.managers.clone());
                    let others = managers.into_iter().filter(|one| one.node != card.keys.node);
                    others.map(|Manager { node, addr }| raft::Member { node, addr }).collect()
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = raft::report_damage(&peers, raft_id, &why, others) => {}
                }
            };
            worker.parts.push(task::start("damage", telling));
        }
        Ok(Self { damage: Some(damage), ..worker })
    }

    /// Starts what the membership says: a manager if it has a Raft id.
    async fn take_up(
        around: &Surroundings,
        keys: Unlocked,
        mut member: Member,
    ) -> Result<Self, ActiveError> {
        let tls = tls(&keys, &member, &around.clock)?;
        if member.raft_id.is_none() && keys.storage.has_older() {
            // A worker has nothing else under its storage keys.
            member.save(&around.data, &keys)?;
            keystore::forget_older(&around.data, &keys)?;
        }
        let store = match member.raft_id {
            Some(raft_id) => {
                let listener = moving::listen(around, &keys, &mut member).await?;
                let dial = Arc::new(Dial::new(&tls, around));
                Some((raft_id, listener, dial))
            }
            None => {
                moving::note_for_later(around, &keys, &mut member)?;
                None
            }
        };
        let runtime = work::runtime(&around.settings, keys.node).await?;
        let store = match store {
            Some((raft_id, listener, dial)) => {
                let fellows = member.fellows.clone();
                match Raft::open(options(around, &keys, raft_id, fellows), dial).await {
                    Ok(raft) => Some((raft, listener)),
                    Err(error) if error.is_damage() => {
                        let damage = chain(&error).to_string();
                        return Self::without_store(around, keys, member, runtime, damage).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => None,
        };
        info!(cluster = %keys.cluster, node = %keys.node, "took up the cluster");
        let card = Card::new(&around.data, keys, member);
        Self::start(around, card, tls, store, runtime).await
    }

    pub(super) async fn start(
        around: &Surroundings,
        card: Card,
        tls: Tls,
        store: Option<(Raft, TcpListener)>,
        runtime: Arc<dyn crate::agent::runtime::Runtime>,
    ) -> Result<Self, ActiveError> {
        let managing = match store {
            Some((raft, listener)) => {
                Some(Managing::start(around, &card, &tls, raft, listener).await?)
            }
            None => None,
        };
        let card = Arc::new(card);
        let signer = match &managing {
            Some(managing) => {
                Signer::Own { raft: managing.raft.clone(), keys: Arc::clone(&managing.keys) }
            }
            None => Signer::Managers,
        };
        let stop = Stop::new();
        let managers = moving::with_seeds(&around.settings, card.read(|m| m.managers.clone()));
        let work = Work::start(Arc::clone(&runtime), card.keys.node, managers, &tls);
        let renewal = Renewal {
            card: Arc::clone(&card),
            tls: tls.clone(),
            clock: around.clock.clone(),
            signer,
            agent: work.handle(),
        };
        let following = follow(work.handle(), Arc::clone(&card), stop.clone());
        let trusting = match &managing {
            Some(managing) => {
                let (raft, card) = (managing.raft.clone(), Arc::clone(&card));
                let follow = renewal::follow_store(raft, card, tls.clone(), stop.clone());
                task::start("trust", follow)
            }
            None => {
                let (handle, card) = (work.handle(), Arc::clone(&card));
                task::start("trust", follow_authorities(handle, card, tls.clone(), stop.clone()))
            }
        };
        let mut parts = vec![
            task::start("renewal", renewal.run(stop.clone())),
            task::start("membership", following),
            trusting,
        ];
        if let Some(managing) = &managing {
            let header = root_key::Header {
                raft: managing.raft.clone(),
                chain: Arc::clone(&managing.keys),
                card: Arc::clone(&card),
                tls: tls.clone(),
                data: around.data.clone(),
                key_file: around.settings.key_file.clone(),
            };
            let header = Arc::new(header);
            parts.push(task::start(
                "key header",
                root_key::follow(Arc::clone(&header), stop.clone()),
            ));
            parts.push(task::start("old root keys", root_key::forget(header, stop.clone())));
        }
        Ok(Self { card, tls, runtime, managing, damage: None, work, parts, stop })
    }

    pub(super) fn node(&self) -> NodeId {
        self.card.keys.node
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.card.keys.cluster
    }

    /// This node's keys, for somebody who outlives the borrow.
    pub(super) fn keys(&self) -> Unlocked {
        let keys = self.card.keys.shared();
        self.managing
            .as_ref()
            .map_or(keys.shared(), |managing| root_key::with(keys, &managing.keys))
    }

    pub(super) fn role(&self) -> Role {
        let manager = self.managing.is_some() || self.damage.is_some();
        if manager { Role::Manager } else { Role::Worker }
    }

    /// What is wrong with the store, if it is damaged.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// This manager's store and the root key that it lies under; a worker has none.
    pub(super) fn store(&self) -> Option<(Raft, Arc<Key<Root>>)> {
        let managing = self.managing.as_ref()?;
        let id = managing.raft.state().cluster()?.root.id;
        Some((managing.raft.clone(), managing.keys.root(id)?))
    }

    /// The control API over this manager's store; a worker has none.
    pub(super) fn control(&self) -> Option<ControlServer<ControlService>> {
        self.managing.as_ref().map(Managing::control)
    }

    /// Waits until the cluster wants something else of this node.
    pub(super) fn wish(&self) -> impl Future<Output = Wish> + Send + use<> {
        let (role, mut handle) = (self.role(), self.work.handle());
        let damage = self.managing.as_ref().map(|managing| managing.raft.damage());
        let damaged = async move {
            let Some(mut damage) = damage else { return std::future::pending().await };
            match damage.wait_for(Option::is_some).await.map(|why| why.clone()) {
                Ok(Some(why)) => Wish::Damaged(why),
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        let wished = async move {
            let mut seen = handle.seen();
            loop {
                if let Some(wish) = wish(role, &seen) {
                    return wish;
                }
                match handle.changed().await {
                    Some(next) => seen = next,
                    None => std::future::pending().await,
                }
            }
        };
        async move {
            tokio::select! {
                biased;
                wish = damaged => wish,
                wish = wished => wish,
            }
        }
    }

    pub(super) fn managers(&self) -> Vec<(NodeId, String)> {
        self.card.read(|member| member.managers.iter().map(|m| (m.node, m.addr.clone())).collect())
    }

    /// Fills in what `status` says of a member.
    pub(super) async fn describe(&self, around: &Surroundings, status: &mut StatusResponse) {
        status.state = LocalState::Active.into();
        status.node_id = self.card.keys.node.to_string();
        status.cluster_id = self.card.keys.cluster.to_string();
        match &self.managing {
            Some(managing) => {
                status.role = v1::Role::Manager.into();
                managing.describe(status).await;
            }
            None => {
                let role = if self.damage.is_some() { v1::Role::Manager } else { v1::Role::Worker };
                status.role = role.into();
                status.managers = self
                    .managers()
                    .into_iter()
                    .map(|(node, addr)| v1::ManagerEntry {
                        node_id: node.to_string(),
                        addr,
                        ..v1::ManagerEntry::default()
                    })
                    .collect();
            }
        }
        if let Some(damage) = &self.damage {
            status.state = LocalState::Damaged.into();
            status.error.clone_from(damage);
        }
        let ways =
            self.managing.as_ref().and_then(|m| m.raft.state().cluster().map(|c| Ways::of(c)));
        let place = KeyPlace::of(&around.data, &around.settings.key_file);
        let mut ways = ways.unwrap_or_else(Ways::key_file);
        ways.shared.splice(0..0, keystore::tpms(&around.data));
        unlocking::describe(&ways, &place, status);
        status.certificate_expires_at_ms = self.tls.peer().map_or(0, |peer| peer.not_after.0);
        self.work.describe(status).await;
    }

    /// Goes on as what a manager with a damaged store is.
    ///
    /// # Errors
    /// What is left cannot be started.
    pub(super) async fn stand_aside(
        self,
        around: &Surroundings,
        damage: String,
    ) -> Result<Self, ActiveError> {
        let Self { card, tls: _, runtime, managing, damage: _, work, parts, stop } = self;
        work.stop().await;
        stop.cancel();
        for part in parts {
            part.wait().await;
        }
        if let Some(managing) = managing
            && let Err(error) = managing.shutdown().await
        {
            warn!(error = %chain(&error), "the damaged store did not stop cleanly");
        }
        let card = Arc::into_inner(card).expect("the tasks that shared it have ended");
        let (keys, member) = card.into_parts();
        Self::without_store(around, keys, member, runtime, damage).await
    }

    /// Stops in reverse: the agent first, so that its last reports still arrive. Running tasks go on.
    ///
    /// # Errors
    /// [`ActiveError::Stopped`] if the store had failed already.
    pub(super) async fn shutdown(self) -> Result<(), ActiveError> {
        self.part().await.map(drop)
    }

    /// Stops, and gives back what another part in the cluster needs.
    pub(super) async fn part(
        self,
    ) -> Result<(Card, Tls, Arc<dyn crate::agent::runtime::Runtime>), ActiveError> {
        let Self { card, tls, runtime, managing, damage: _, work, parts, stop } = self;
        work.stop().await;
        stop.cancel();
        for part in parts {
            part.wait().await;
        }
        if let Some(managing) = managing {
            managing.shutdown().await?;
        }
        let card = Arc::into_inner(card).expect("the tasks that shared it have ended");
        Ok((card, tls, runtime))
    }
}

/// What the cluster wants of a node of this role.
fn wish(role: Role, seen: &Seen) -> Option<Wish> {
    if seen.removed {
        return Some(Wish::Gone);
    }
    let node = seen.node.as_ref()?;
    match (role, node.role) {
        (Role::Worker, Role::Manager) => Some(Wish::Promoted),
        // Until then the Raft group may still need its vote.
        (Role::Manager, Role::Worker) if node.manager.is_none() => Some(Wish::Demoted),
        (Role::Worker | Role::Manager, Role::Worker) | (Role::Manager, Role::Manager) => None,
    }
}

/// Keeps what the agent hears of the managers.
async fn follow(mut handle: Handle, card: Arc<Card>, stop: Stop) {
    loop {
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = handle.changed() => seen,
        };
        let Some(Seen { managers, .. }) = seen else { return };
        if managers.is_empty() || card.read(|member| member.managers == managers) {
            continue;
        }
        if let Err(error) = card.change(|member| member.managers = managers) {
            warn!(error = %chain(&error), "cannot remember the managers");
        }
    }
}

/// Trusts the CAs that a worker's manager names.
async fn follow_authorities(mut handle: Handle, card: Arc<Card>, tls: Tls, stop: Stop) {
    loop {
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = handle.changed() => seen,
        };
        let Some(Seen { ca_certificates, .. }) = seen else { return };
        card.trust(&tls, &ca_certificates);
    }
}

/// Asks one manager after another for a Raft id and the root key with the ways to it.
pub(super) async fn admit(
    tls: &Tls,
    managers: &[(NodeId, String)],
    advertise: &str,
) -> Result<Admitted, ActiveError> {
    let mut failure = ActiveError::NoCluster;
    for (node, addr) in managers {
        match enroll::admit(tls, (*node, addr.as_str()), advertise).await {
            Ok(admitted) => return Ok(admitted),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// As [`admit`], for as long as the managers cannot do it now: the one that let this node in may have died since.
async fn admit_soon(
    tls: &Tls,
    managers: &[(NodeId, String)],
    advertise: &str,
    clock: &Clock,
) -> Result<Admitted, ActiveError> {
    let (started, mut backoff) = (clock.now(), Backoff::new(WAITS.0, WAITS.1));
    loop {
        match admit(tls, managers, advertise).await {
            Err(ActiveError::Enroll(error))
                if error.may_pass() && clock.now().since(started) < PATIENCE =>
            {
                backoff.wait().await;
            }
            tried => return tried,
        }
    }
}

/// This node's TLS, as its membership says.
pub(super) fn tls(keys: &Unlocked, member: &Member, clock: &Clock) -> Result<Tls, ActiveError> {
    let roots: Vec<&[u8]> = member.roots.iter().map(Vec::as_slice).collect();
    let tls = Tls::new(keys.cluster, &roots, clock.clone())?;
    tls.set_identity(&member.identity)?;
    Ok(tls)
}

/// Removes all that made this node a member; the identity first: without it, nothing else counts.
pub(super) fn wipe(around: &Surroundings) -> Result<(), ActiveError> {
    for path in [member::path(&around.data), around.raft_dir(), keystore::path(&around.data)] {
        wipe_at(&path)?;
    }
    refill::forget(&around.data)
}

pub(super) fn wipe_at(path: &std::path::Path) -> Result<(), ActiveError> {
    files::remove(path).map_err(|source| ActiveError::Wipe { path: path.to_owned(), source })
}

pub(super) async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ActiveError> {
    let failed = |source| ActiveError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Clears the way for an init. What is there without an identity is most likely what an unfinished init left; but if the
/// identity or the header was lost, it is the whole store, so it is kept.
pub(super) fn clear(around: &Surroundings) -> Result<(), ActiveError> {
    let aside = around.data.join(format!("{ASIDE}{}", around.clock.now().0));
    let left = [around.raft_dir(), keystore::path(&around.data)];
    let moved = files::set_aside(&left, &aside)
        .map_err(|source| ActiveError::Leftovers { path: aside.clone(), source })?;
    if moved {
        warn!(path = %aside.display(), "kept what was found in the data directory; remove it if nothing is missing");
    }
    Ok(())
}

/// The folders in which [`clear`] kept something. They stay until the operator removes them: nobody else can tell whether
/// anything is missing.
pub(super) fn kept(around: &Surroundings) -> Vec<String> {
    // A status is no place for a disk that fails; whoever writes next says so.
    let entries = std::fs::read_dir(&around.data).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut kept: Vec<String> = names
        .filter(|name| name.starts_with(ASIDE))
        .map(|name| around.data.join(name).display().to_string())
        .collect();
    kept.sort_unstable();
    kept
}

pub(super) fn options(
    around: &Surroundings,
    keys: &Unlocked,
    raft_id: u64,
    fellows: Option<Vec<RaftIdentity>>,
) -> Options {
    Options {
        dir: around.raft_dir(),
        cluster: keys.cluster,
        node: keys.node,
        raft_id,
        key: Arc::clone(&keys.storage),
        clock: around.clock.clone(),
        witness: Some(around.settings.run_dir.join("raft.witness")),
        fellows,
    }
}

/// The first command, the cluster with its keys and its first node, and that node's identity.
fn founding(
    keys: &Unlocked,
    ways: &Ways,
    advertise: SocketAddr,
    now: Timestamp,
) -> Result<(Command, Identity), ActiveError> {
    let (keyring, terms) = Keyring::generate(&keys.root, keys.cluster);
    let settings = ClusterSettings::default();
    let authority = Authority::generate(keys.cluster, now);
    let identity = issue(&authority, (keys.node, 1), now, settings.certificate_life)?;
    let issuer = CaDigest::of(authority.certificate()).0;
    let (ca_certificate, ca_key) = authority.into_parts();
    let meta = Meta { index: 0, created_at: now, updated_at: now };
    let cluster = Cluster {
        id: keys.cluster,
        meta,
        settings,
        ca_certificate,
        ca_key: keyring.seal(&Context::authority_key(keys.cluster), ca_key),
        keyring: terms,
        next_raft_id: 2,
        rotation: None,
        tokens: Vec::new(),
        unlockers: ways.shared.clone(),
        key_files: ways.key_file,
        backup: None,
        rekeying: Default::default(),
        former_managers: Vec::new(),
        root: RootStatus::first(keys.root.id(keys.cluster), now),
    };
    let node = Node {
        id: keys.node,
        meta,
        role: Role::Manager,
        availability: Availability::Active,
        labels: Default::default(),
        description: NodeDescription { hostname: hostname(), ..NodeDescription::default() },
        renamed: None,
        standing: Standing::Member,
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            addr: advertise.ip().to_string(),
            at: now,
            dispatcher: None,
        },
        manager: Some(ManagerStatus::new(1, advertise.to_string())),
        runtime_failed_at: None,
        certificate: Some(CertificateStatus::new(issuer, Role::Manager, &identity.peer().shown())),
        sightings: Sightings::default(),
    };
    Ok((Command::Found { cluster: Box::new(cluster), node: Box::new(node) }, identity))
}

#[cfg(test)]
mod away_test;
