//! This node while it is part of a cluster: founded or taken up again, its parts started in order, stopped in reverse.

use super::{
    address::{self, BadAddress},
    daemon::hostname,
    files,
    keystore::{self, KeyStoreError, Unlocked},
    member::{Member, MemberError},
    settings::Settings,
    work::{self, Work, WorkError},
};
use crate::{
    agent::runtime::Runtime,
    crypto::{OpenError, keyring::Keyring},
    kit::{
        chain::chain,
        clock::{Clock, Timestamp},
        id::{ClusterId, NodeId},
        task::{self, Running, Stop},
    },
    manager::{chores::Chores, control::ControlService, dispatcher::DispatcherService},
    model::{
        Meta,
        cluster::{Cluster, ClusterSettings, authority_context},
        command::Command,
        node::{Availability, ManagerStatus, Node, NodeDescription, NodeState, NodeStatus, Role},
    },
    pki::{
        self, Authority, AuthorityError, Identity, IdentityError, IssueError, PrivateKey, Tls,
        TlsError,
    },
    raft::{self, Leadership, Options, ProposeError, Raft, StartError},
    wire::{
        status::status,
        v1::{self, LocalState, ManagerEntry, StatusResponse, control_server::ControlServer},
    },
};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tracing::{error, info, warn};

/// How long to wait after a failed renewal; certificates live for days.
const RENEWAL_RETRY: Duration = Duration::from_secs(60);
/// How often to look at the clock: it goes on while the machine sleeps, and timers do not.
const RENEWAL_LOOK: Duration = Duration::from_secs(600);
/// What protects the keys today, in words for `status`.
const PROTECTION: &str = "a copied data directory alone reveals nothing; data directory and key file together reveal everything";

/// What this process has been given.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) settings: Settings,
    /// Our data directory; locked by us.
    pub(super) data: PathBuf,
    pub(super) clock: Clock,
    /// Cancelled by whoever finds that this process cannot go on.
    pub(super) fatal: Stop,
}

impl Surroundings {
    fn raft_dir(&self) -> PathBuf {
        self.data.join("raft")
    }
}

/// Why this node cannot be part of its cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActiveError {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Store(#[from] StartError),
    #[error("cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("cannot move what an unfinished init left to {}", path.display())]
    Leftovers { path: PathBuf, source: io::Error },
    #[error("cannot record the founding of the cluster")]
    Found(#[source] ProposeError),
    #[error("the store holds no cluster")]
    NoCluster,
    #[error("cannot open the keyring")]
    Keyring(#[source] OpenError),
    #[error("cannot use the cluster's CA")]
    Authority(#[from] AuthorityError),
    #[error("cannot issue this node's certificate")]
    Issue(#[from] IssueError),
    #[error("cannot use this node's identity")]
    Identity(#[from] IdentityError),
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("the store stopped: {0}")]
    Stopped(String),
}

impl ActiveError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Keys(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Work(error) => error.hint(),
            Self::Found(error) => return error.hint(),
            Self::Listen { .. } => {
                "choose a free address with --listen-addr, or stop what uses this one"
            }
            Self::Leftovers { .. } => {
                "move the raft folder and node.keys out of the data directory by hand and try again"
            }
            Self::NoCluster | Self::Keyring(_) | Self::Authority(_) | Self::Identity(_) => {
                "restore data directory and key file from one backup"
            }
            Self::Stopped(_) => "see the log for the cause, then start secretd again",
            Self::Address(_) | Self::Issue(_) | Self::Tls(_) => return None,
        };
        Some(text.to_owned())
    }

    /// The error as an operator's call gets it.
    pub(super) fn status(&self) -> Status {
        let code = match self {
            Self::Address(_) => Code::InvalidArgument,
            Self::Keys(_) | Self::Listen { .. } | Self::Leftovers { .. } | Self::Work(_) => {
                Code::FailedPrecondition
            }
            _ => Code::Internal,
        };
        status(code, chain(self).to_string(), self.hint())
    }
}

/// A manager that is also a worker.
pub(super) struct Active {
    keys: Identifiers,
    listen: SocketAddr,
    advertise: SocketAddr,
    raft: Raft,
    tls: Tls,
    control: ControlServer<ControlService>,
    work: Work,
    parts: Vec<Running<()>>,
    stop: Stop,
}

#[derive(Debug, Clone, Copy)]
struct Identifiers {
    cluster: ClusterId,
    node: NodeId,
    unlockers: usize,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Active {
    /// Founds a cluster. The identity is written last: without one, nothing was founded.
    pub(super) async fn found(
        around: &Surroundings,
        listen: &str,
        advertise: &str,
    ) -> Result<Self, ActiveError> {
        let listener = bind(address::listen(listen)?).await?;
        let bound = listener
            .local_addr()
            .map_err(|source| ActiveError::Listen { addr: ([0; 4], 0).into(), source })?;
        let advertise = address::advertise(advertise, bound)?;
        let (cluster, node, now) = (ClusterId::random(), NodeId::random(), around.clock.now());
        // First, because it can fail for reasons of this machine, and nothing has been made yet.
        let runtime = work::runtime(&around.settings, node).await?;
        clear(around)?;
        let keys = keystore::create(&around.data, &around.settings.key_file, cluster, node)?;
        let (found, identity) = founding(&keys, advertise, now)?;
        let addr = advertise.to_string();
        let raft = Raft::found(
            options(around, &keys, 1),
            raft::Member { node, addr: addr.clone() },
            Arc::new(raft::Alone),
        )
        .await?;
        if let Err(error) = raft.propose(None, found).await {
            raft.shutdown().await;
            return Err(ActiveError::Found(error));
        }
        let member = Member {
            roots: identity.chain().split_off(1),
            identity,
            raft_id: Some(1),
            listen_addr: bound.to_string(),
            advertise_addr: addr.clone(),
            managers: vec![addr],
        };
        if let Err(error) = member.save(&around.data, &keys) {
            raft.shutdown().await;
            return Err(error.into());
        }
        info!(%cluster, %node, "founded a cluster");
        Self::start(around, keys, member, raft, listener, runtime).await
    }

    /// Takes up what this node was; nothing if it was never part of a cluster.
    pub(super) async fn resume(around: &Surroundings) -> Result<Option<Self>, ActiveError> {
        if !keystore::exists(&around.data) {
            return Ok(None);
        }
        let keys = keystore::open(&around.data, &around.settings.key_file)?;
        let Some(member) = Member::load(&around.data, &keys)? else {
            warn!("an init was cut off before it was done; this node belongs to no cluster");
            return Ok(None);
        };
        let listen = member
            .listen_addr
            .parse()
            .map_err(|_| BadAddress::Malformed(member.listen_addr.clone()))?;
        let listener = bind(listen).await?;
        let runtime = work::runtime(&around.settings, keys.node).await?;
        let raft_id = member.raft_id.unwrap_or(1);
        let raft = Raft::open(options(around, &keys, raft_id), Arc::new(raft::Alone)).await?;
        info!(cluster = %keys.cluster, node = %keys.node, "took up the cluster");
        Self::start(around, keys, member, raft, listener, runtime).await.map(Some)
    }

    async fn start(
        around: &Surroundings,
        keys: Unlocked,
        member: Member,
        raft: Raft,
        listener: TcpListener,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, ActiveError> {
        let clock = around.clock.clone();
        let state = raft.state();
        let cluster = state.cluster().ok_or(ActiveError::NoCluster)?;
        let keyring = Keyring::open(&keys.root, keys.cluster, &cluster.keyring);
        let keyring = Arc::new(keyring.map_err(ActiveError::Keyring)?);
        let Member { identity, roots, raft_id: _, listen_addr, advertise_addr, managers } = member;
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let tls = Tls::new(keys.cluster, &roots, clock.clone())?;
        tls.set_identity(&identity)?;
        let parse = |text: &str| text.parse().map_err(|_| BadAddress::Malformed(text.to_owned()));
        let (listen, advertise) = (parse(&listen_addr)?, parse(&advertise_addr)?);

        let stop = Stop::new();
        let dispatcher = DispatcherService::new(
            raft.clone(),
            keys.node,
            Arc::clone(&keyring),
            clock.clone(),
            stop.clone(),
        );
        let control = ControlService::new(
            raft.clone(),
            Arc::clone(&keyring),
            keys.node,
            dispatcher.logs(),
            stop.clone(),
        );
        let (incoming, accepting) = pki::listen(listener, &tls, stop.clone());
        let server = pki::server().add_service(dispatcher.server());
        let ended = stop.clone();
        let serving = task::start("cluster listener", async move {
            tokio::select! {
                served = server.serve_with_incoming(incoming) => {
                    if let Err(error) = served {
                        error!(error = %chain(&error), "the cluster listener failed");
                    }
                }
                () = ended.cancelled() => {}
            }
        });
        let renewal = Renewal {
            data: around.data.clone(),
            raft: raft.clone(),
            keyring: Arc::clone(&keyring),
            tls: tls.clone(),
            clock: clock.clone(),
            listen_addr,
            advertise_addr,
            managers,
            keys,
        };
        let keys = Identifiers {
            cluster: renewal.keys.cluster,
            node: renewal.keys.node,
            unlockers: renewal.keys.unlockers.len(),
        };
        let chores = Chores::new(raft.clone(), clock);
        let parts = vec![
            accepting,
            serving,
            task::start("dispatcher", dispatcher.run()),
            task::start("chores", chores.run(stop.clone())),
            task::start("renewal", renewal.run(stop.clone())),
            task::start(
                "store watch",
                watch_store(raft.clone(), around.fatal.clone(), stop.clone()),
            ),
        ];
        let work = Work::start(runtime, keys.node, listen, &tls);
        Ok(Self {
            keys,
            listen,
            advertise,
            raft,
            tls,
            control: ControlServer::new(control),
            work,
            parts,
            stop,
        })
    }

    pub(super) fn node(&self) -> NodeId {
        self.keys.node
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.keys.cluster
    }

    /// The control API over this manager's store.
    pub(super) fn control(&self) -> ControlServer<ControlService> {
        self.control.clone()
    }

    /// Fills in what `status` says of a member.
    pub(super) async fn describe(&self, status: &mut StatusResponse) {
        let raft = self.raft.status();
        status.state = LocalState::Active.into();
        status.node_id = self.keys.node.to_string();
        status.cluster_id = self.keys.cluster.to_string();
        status.role = v1::Role::Manager.into();
        status.leader = self.raft.leadership().borrow().is_leading();
        status.managers = raft
            .members
            .iter()
            .map(|(id, member)| ManagerEntry {
                node_id: member.node.to_string(),
                raft_id: *id,
                addr: member.addr.clone(),
                leader: raft.leader == Some(*id),
                reachable: None,
                voter: raft.voters.contains(id),
            })
            .collect();
        status.listen_addr = self.listen.to_string();
        status.advertise_addr = self.advertise.to_string();
        status.unlockers = vec!["file".to_owned(); self.keys.unlockers];
        status.protection = PROTECTION.to_owned();
        status.applied_index = raft.applied_index;
        status.certificate_expires_at_ms = self.tls.peer().map_or(0, |peer| peer.not_after.0);
        self.work.describe(status).await;
    }

    /// Stops in reverse: the agent first, so that its last reports still arrive. Running tasks go on.
    ///
    /// # Errors
    /// [`ActiveError::Stopped`] if the store had failed already.
    pub(super) async fn shutdown(self) -> Result<(), ActiveError> {
        let Self { raft, work, parts, stop, .. } = self;
        work.stop().await;
        stop.cancel();
        for part in parts {
            part.wait().await;
        }
        let failed = match &*raft.leadership().borrow() {
            Leadership::Failed { why } => Some(why.clone()),
            Leadership::Leading { .. } | Leadership::Following { .. } => None,
        };
        raft.shutdown().await;
        failed.map_or(Ok(()), |why| Err(ActiveError::Stopped(why)))
    }
}

async fn bind(addr: SocketAddr) -> Result<TcpListener, ActiveError> {
    TcpListener::bind(addr).await.map_err(|source| ActiveError::Listen { addr, source })
}

/// Clears the way for an init. What is there without an identity is most likely what an unfinished init left; but if the
/// identity or the header was lost, it is the whole store, so it is kept.
fn clear(around: &Surroundings) -> Result<(), ActiveError> {
    let aside = around.data.join(format!("set-aside-{}", around.clock.now().0));
    let left = [around.raft_dir(), keystore::path(&around.data)];
    let moved = files::set_aside(&left, &aside)
        .map_err(|source| ActiveError::Leftovers { path: aside.clone(), source })?;
    if moved {
        warn!(path = %aside.display(), "kept what was found in the data directory; remove it if nothing is missing");
    }
    Ok(())
}

fn options(around: &Surroundings, keys: &Unlocked, raft_id: u64) -> Options {
    Options {
        dir: around.raft_dir(),
        cluster: keys.cluster,
        node: keys.node,
        raft_id,
        key: Arc::clone(&keys.storage),
        clock: around.clock.clone(),
    }
}

/// The first command, the cluster with its keys and its first node, and that node's identity.
fn founding(
    keys: &Unlocked,
    advertise: SocketAddr,
    now: Timestamp,
) -> Result<(Command, Identity), ActiveError> {
    let (keyring, terms) = Keyring::generate(&keys.root, keys.cluster);
    let settings = ClusterSettings::default();
    let authority = Authority::generate(keys.cluster, now);
    let identity = issue(&authority, keys.node, now, settings.certificate_life)?;
    let (ca_certificate, ca_key) = authority.into_parts();
    let meta = Meta { index: 0, created_at: now, updated_at: now };
    let cluster = Cluster {
        id: keys.cluster,
        meta,
        settings,
        ca_certificate,
        ca_key: keyring.seal(&authority_context(keys.cluster), ca_key),
        keyring: terms,
        next_raft_id: 2,
        rotation: None,
        tokens: Vec::new(),
    };
    let node = Node {
        id: keys.node,
        meta,
        role: Role::Manager,
        availability: Availability::Active,
        labels: Default::default(),
        description: NodeDescription { hostname: hostname(), ..NodeDescription::default() },
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            addr: advertise.ip().to_string(),
            at: now,
            dispatcher: None,
        },
        manager: Some(ManagerStatus { raft_id: 1, addr: advertise.to_string() }),
        certificate: None,
    };
    Ok((Command::Found { cluster: Box::new(cluster), node: Box::new(node) }, identity))
}

/// Issues a manager's certificate for a fresh key.
fn issue(
    authority: &Authority,
    node: NodeId,
    now: Timestamp,
    life: Duration,
) -> Result<Identity, ActiveError> {
    let key = PrivateKey::generate();
    let chain = authority.issue(&key.request(), node, Role::Manager, now, life)?;
    Ok(Identity::new(key, chain)?)
}

/// Gives this node a fresh certificate in good time. A manager holds the CA's key, so it asks nobody.
struct Renewal {
    data: PathBuf,
    keys: Unlocked,
    raft: Raft,
    keyring: Arc<Keyring>,
    tls: Tls,
    clock: Clock,
    listen_addr: String,
    advertise_addr: String,
    managers: Vec<String>,
}

impl Renewal {
    /// Renews at a random moment between half and four fifths of the certificate's life; at once if that has passed.
    async fn run(self, stop: Stop) {
        loop {
            let random = getrandom::u32().expect("the kernel gives randomness once booted");
            let at = self.tls.peer().map_or(self.clock.now(), |peer| peer.renew_at(random));
            loop {
                let wait = at.since(self.clock.now());
                if wait.is_zero() {
                    break;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait.min(RENEWAL_LOOK)) => {}
                }
            }
            let Err(error) = self.renew() else {
                info!("renewed this node's certificate");
                continue;
            };
            warn!(error = %chain(&error), "cannot renew this node's certificate");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RENEWAL_RETRY) => {}
            }
        }
    }

    fn renew(&self) -> Result<(), ActiveError> {
        let state = self.raft.state();
        let cluster = state.cluster().ok_or(ActiveError::NoCluster)?;
        let key = self
            .keyring
            .open_sealed(&authority_context(self.keys.cluster), &cluster.ca_key)
            .map_err(ActiveError::Keyring)?;
        let authority = Authority::open(self.keys.cluster, &cluster.ca_certificate, key)?;
        let life = cluster.settings.certificate_life;
        let identity = issue(&authority, self.keys.node, self.clock.now(), life)?;
        self.tls.set_identity(&identity)?;
        let member = Member {
            identity,
            roots: vec![cluster.ca_certificate.clone()],
            raft_id: Some(self.raft.status().raft_id),
            listen_addr: self.listen_addr.clone(),
            advertise_addr: self.advertise_addr.clone(),
            managers: self.managers.clone(),
        };
        Ok(member.save(&self.data, &self.keys)?)
    }
}

/// Ends the process when the store has stopped: a manager that cannot write must not look alive.
async fn watch_store(raft: Raft, fatal: Stop, stop: Stop) {
    let mut leadership = raft.leadership();
    loop {
        if let Leadership::Failed { why } = &*leadership.borrow_and_update() {
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
