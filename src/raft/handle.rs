//! One manager's hand on the replicated store: starts everything below it, and stops it in order.

use super::{
    backup::{self, BackupError, Header},
    compare::{self, Book, Probation},
    damage::{self, Damage},
    forward::{self, Contact, Remote},
    hearing::Refused,
    keeper::{Leadership, keep, leadership_of},
    log::{Full, LogError, LogIdentity, LogSizes, LogStore, Seen, Witness},
    machine::{BodyError, Changes, Machine, MachineHandle},
    network::{Network, Peers},
    propose::{self, Done, ProposeError, Proposer},
    read::{self, Ask, ReadError, Reader},
    recover,
    service::PeerService,
    silence::{self, Calls},
    snapshot::{Incoming, SnapshotError},
    state_file::StateFileError,
    types::{Batch, LogId, Member, TypeConfig},
};
use crate::{
    crypto::{
        key::{Key, RootId, Storage},
        seal::{Sealed, WrappedKey},
        storage::StorageKeys,
    },
    kit::{
        clock::Clock,
        failpoint::failpoint,
        id::{ClusterId, NodeId},
        task::{self, Running, Stop},
    },
    model::{
        command::{Answer, Command, RequestId},
        node::RaftIdentity,
        task::ObjectVersion,
    },
    store::{Linear, State},
    wire::v1::raft_server::RaftServer,
};
use openraft::{Config, ServerState, SnapshotPolicy};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::{broadcast, watch};

/// Between two signs of life of the leader.
const HEARTBEAT: Duration = Duration::from_millis(300);
/// For so long after it heard its leader, the longer of these, a follower votes for nobody. It stands itself 0.1 to 1.3 s
/// later (`silence`), or, as openraft does it, between the two later, looking every 450 ms. A slow `fsync` must not elect
/// anybody, and 4 s without a leader are too long.
pub(super) const ELECTION: (Duration, Duration) =
    (Duration::from_millis(900), Duration::from_millis(1500));
/// Entries after which the state file is brought up to date and the log may shrink.
const SNAPSHOT_ENTRIES: u64 = 5000;
/// Entries kept behind the last snapshot, so that a follower that was away briefly needs none.
const KEPT_ENTRIES: u64 = 1000;
/// How long the only member may take to become leader.
const ALONE: Duration = Duration::from_secs(30);
const STATE_FILE: &str = "state.redb";

/// Where the store lies and whose it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the log and the state file; made if missing (0700).
    pub dir: PathBuf,
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Never used again in this cluster; the founder has 1.
    pub raft_id: u64,
    /// Encrypts everything below `dir`.
    pub key: Arc<StorageKeys>,
    pub clock: Clock,
    /// Where it is noted how far the log was written since this machine booted: on a tmpfs, apart from the data.
    pub witness: Option<PathBuf>,
    /// The other managers when this one was admitted; unset for one that began its cluster, or began it anew.
    pub fellows: Option<Vec<RaftIdentity>>,
}

/// How a store comes to be.
#[derive(Debug)]
pub(super) enum Begin {
    Found(Member),
    Join,
    Open,
    /// Open, and make this the only member.
    Recover(Member),
}

/// What tests make smaller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) log: LogSizes,
    /// With twice this many bytes the log is cut down to it.
    pub(super) kept: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { log: LogSizes::default(), kept: 32 << 20 }
    }
}

/// Why the store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    #[error("there is a Raft store already in {}", .0.display())]
    Exists(PathBuf),
    #[error("there is no Raft store in {}", .0.display())]
    Empty(PathBuf),
    /// It holds the votes: what is left may be of a store that was just begun, and must not be taken for one.
    #[error("the Raft log is missing: there is no {}", .0.display())]
    NoLog(PathBuf),
    /// The log ends before what the state file has already applied.
    #[error(
        "part of the Raft log is missing: the state file has applied entry {applied}, the log ends at {last}"
    )]
    LogBehind { applied: u64, last: u64 },
    /// It was found before, while the store was in use.
    #[error("{0}")]
    Condemned(String),
    /// The state file is older than what was purged from the log.
    #[error(
        "the state file is too old: it has applied entry {applied}, the log starts after {purged}"
    )]
    StateBehind { applied: u64, purged: u64 },
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("the Raft store does not start: {0}")]
    Raft(String),
}

impl StartError {
    /// Whether what this manager stored is damaged or gone, so that others have to give it anew. Such a store must not
    /// vote: it may have forgotten how it did.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => error.is_damage(),
            Self::StateFile(error) => error.is_damage(),
            Self::Empty(_)
            | Self::NoLog(_)
            | Self::LogBehind { .. }
            | Self::StateBehind { .. }
            | Self::Condemned(_) => true,
            Self::Exists(_) | Self::Backup(_) | Self::Raft(_) => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Log(error) => error.hint(),
            Self::StateFile(error) => error.hint(),
            Self::Exists(_) => {
                "this node belongs to a cluster already; start it without founding one"
            }
            Self::Empty(_) => {
                "start secretd and refill it from the other managers with `secretctl refill`, or restore a backup if it is the only one"
            }
            Self::NoLog(_)
            | Self::LogBehind { .. }
            | Self::StateBehind { .. }
            | Self::Condemned(_) => {
                "nothing was changed; start secretd and refill it from the other managers with `secretctl refill`, or restore a backup if it is the only one"
            }
            Self::Backup(error) => error.hint().unwrap_or("see the daemon's log for the cause"),
            // What openraft was told by the disk comes back as text.
            Self::Raft(why) if why.contains("(os error 28)") => {
                "free some space on this disk; nothing that was stored is lost"
            }
            Self::Raft(why) if why.contains("(os error ") => {
                "check the disk and the permissions of the data directory, then start secretd again"
            }
            Self::Raft(_) => "see the daemon's log for the cause",
        }
    }
}

/// For `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub raft_id: u64,
    pub term: u64,
    /// Index of the first entry that is still in the log.
    pub first_index: u64,
    /// Index of the last entry in the log, and of the last one applied; 0 if none.
    pub last_index: u64,
    pub applied_index: u64,
    /// Voters and learners by Raft id.
    pub members: BTreeMap<u64, Member>,
    pub voters: Vec<u64>,
    pub leader: Option<u64>,
}

/// The store of one manager. Cheap to clone.
#[derive(Clone)]
pub struct Raft {
    pub(super) core: Arc<Core>,
    proposer: Proposer,
    reader: Reader,
    /// For followers that ask this manager.
    asked: Reader,
    leadership: watch::Receiver<Leadership>,
    running: Arc<Mutex<Option<Tasks>>>,
}

/// What proposing and reading share.
pub(super) struct Core {
    pub(super) raft: openraft::Raft<TypeConfig>,
    pub(super) machine: MachineHandle,
    pub(super) log: LogStore,
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) cluster: ClusterId,
    pub(super) raft_id: u64,
    /// The others when this manager was admitted.
    pub(super) fellows: Option<Vec<RaftIdentity>>,
    /// Callers that were not heard.
    pub(super) refused: Refused,
    /// This manager, which leads, goes: it takes no more proposals.
    pub(super) leaving: AtomicBool,
    /// When the leader called.
    pub(super) calls: Calls,
    pub(super) damage: Damage,
    pub(super) probation: Probation,
    pub(super) book: Book,
    /// What is being received to be kept; changes with every piece.
    pub(super) supply: watch::Sender<usize>,
}

/// Who leads, as this manager would call it.
#[derive(Debug, Clone)]
pub(super) enum Leader {
    This,
    Other(Remote),
    Nobody,
}

/// Stopped in this order.
struct Tasks {
    stop: Stop,
    packer: Running<()>,
    confirmer: Running<()>,
    answerer: Running<()>,
    keeper: Running<()>,
    watcher: Running<()>,
    comparer: Running<()>,
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft").finish_non_exhaustive()
    }
}

impl Raft {
    /// Founds a cluster of one: `member` becomes its only voter. Returns when it leads.
    ///
    /// # Errors
    /// [`StartError::Exists`] if there is a store in `options.dir`, and whatever keeps it from starting.
    pub async fn found(
        options: Options,
        member: Member,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, StartError> {
        Self::start(options, Sizes::default(), Begin::Found(member), peers).await
    }

    /// Opens the store that lies in `options.dir`. The only voter returns when it leads, with everything applied.
    ///
    /// # Errors
    /// [`StartError`]: damaged or missing files, another node's files, a full disk.
    pub async fn open(options: Options, peers: Arc<dyn Peers>) -> Result<Self, StartError> {
        Self::start(options, Sizes::default(), Begin::Open, peers).await
    }

    /// Opens the store that lies in `options.dir` and makes `member`, this manager, the only one of the cluster. Returns
    /// when it leads. What only others had acknowledged is lost, so this is for when they are.
    ///
    /// # Errors
    /// As [`Raft::open`].
    pub async fn recover(
        options: Options,
        member: Member,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, StartError> {
        Self::start(options, Sizes::default(), Begin::Recover(member), peers).await
    }

    /// Hands everything the store holds to `send`, piece by piece, as a backup file with this header (whose index is
    /// filled in), until `send` says that it has enough.
    ///
    /// # Errors
    /// The state file cannot be read, the receiver went away, or this is not the root key any more.
    pub async fn backup(
        &self,
        header: Header,
        key: Key<Storage>,
        root: RootId,
        send: impl FnMut(Vec<u8>) -> bool + Send + 'static,
    ) -> Result<(), BackupError> {
        let failed = |why: String| BackupError::Make(why);
        let view = self.core.machine.view().await.map_err(|error| failed(error.to_string()))?;
        // Later than the view, and a root key never comes back: the view lies under the one that the header was made with.
        if self.state().cluster().is_none_or(|cluster| cluster.root.id != root) {
            return Err(failed("the root key was replaced meanwhile; try again".to_owned()));
        }
        let identity = self.core.machine.identity();
        let index = view.applied.map_or(0, |id| id.index);
        let write = move || {
            let header = Header { index, ..header };
            backup::write(&view, &identity, &header, &key, send)
        };
        tokio::task::spawn_blocking(write).await.map_err(|error| failed(error.to_string()))?
    }

    /// Makes the store of a backup anew in `options.dir`, with `member`, this manager, as the only one. Returns when it
    /// leads. The backup was verified before ([`backup::Reader::verify`]).
    ///
    /// # Errors
    /// There is a store in `options.dir`; the backup cannot be read; the disk fails.
    pub async fn restore<R: std::io::Read + Send + 'static>(
        options: Options,
        member: Member,
        reader: backup::Reader<R>,
        key: Arc<Key<Storage>>,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, StartError> {
        let place = options.clone();
        tokio::task::spawn_blocking(move || unpack(&place, reader, &key))
            .await
            .map_err(|error| StartError::Raft(error.to_string()))??;
        Self::recover(options, member, peers).await
    }

    /// Starts an empty store that waits to be added by the leader of its cluster ([`Raft::add_member`]).
    ///
    /// # Errors
    /// [`StartError::Exists`] if there is a store in `options.dir`, and whatever keeps it from starting.
    pub async fn join(options: Options, peers: Arc<dyn Peers>) -> Result<Self, StartError> {
        Self::start(options, Sizes::default(), Begin::Join, peers).await
    }

    /// Proposes a command, here or through the leader, and waits for what became of it and until this manager's state
    /// has it, at most `kit::limits::PROPOSAL_DEADLINE`.
    ///
    /// # Errors
    /// [`ProposeError`]; its variants say whether anything may have happened.
    pub async fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Answer, ProposeError> {
        let done = match self.core.leader() {
            Leader::Other(leader) => {
                forward::propose(&self.core, &self.proposer, leader, request, command).await
            }
            Leader::This | Leader::Nobody => self.proposer.propose(request, command).await,
        };
        let Done { outcome, index: _ } = done?;
        outcome.map_err(ProposeError::Refused)
    }

    /// The clock that stamps commands.
    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    /// The state as this manager has it; it may be older than what another manager has acknowledged.
    pub fn state(&self) -> Arc<State> {
        self.core.machine.state()
    }

    /// The newest state, confirmed by a majority after this call; only such a one may decide who gets what. A follower
    /// asks the leader for it.
    ///
    /// # Errors
    /// [`ReadError`]: no leader, no majority, stopped.
    pub async fn linear(&self) -> Result<Linear, ReadError> {
        self.reader.confirm().await.map(|confirmed| confirmed.linear)
    }

    /// What the leader knows of the other managers, by Raft id; it is not among them itself.
    ///
    /// # Errors
    /// [`ReadError`]: no leader, or it does not answer.
    pub async fn contacts(&self) -> Result<BTreeMap<u64, Contact>, ReadError> {
        match self.core.leader() {
            Leader::This => Ok(self.core.contacts()),
            Leader::Other(leader) => forward::contacts(&self.core, &leader).await,
            Leader::Nobody => Err(ReadError::NotLeader { leader: None }),
        }
    }

    /// The sealed payload of a version that the state knows.
    ///
    /// # Errors
    /// [`BodyError`]: no such version, or the state file cannot be read.
    pub async fn body(&self, version: ObjectVersion) -> Result<Sealed, BodyError> {
        let machine = self.core.machine.clone();
        tokio::task::spawn_blocking(move || machine.body(&version))
            .await
            .unwrap_or_else(|error| Err(BodyError::Read(error.to_string())))
    }

    /// The data keys of versions, as they are wrapped now; those that are gone are left out.
    ///
    /// # Errors
    /// [`BodyError::Read`]: the state file cannot be read.
    pub async fn data_keys(
        &self,
        versions: Vec<ObjectVersion>,
    ) -> Result<Vec<(ObjectVersion, WrappedKey)>, BodyError> {
        let machine = self.core.machine.clone();
        let read = move || {
            let mut keys = Vec::with_capacity(versions.len());
            for version in versions {
                match machine.key(&version) {
                    Ok(key) => keys.push((version, key)),
                    Err(BodyError::Unknown(_)) => {}
                    Err(error @ BodyError::Read(_)) => return Err(error),
                }
            }
            Ok(keys)
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| Err(BodyError::Read(error.to_string())))
    }

    /// Every change from now on, in order, one message for each entry applied. Who lags behind gets an error and looks
    /// at the state anew.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.core.machine.changes()
    }

    /// What is wrong with the stores of other managers, by Raft id, as far as this one knows.
    pub fn troubles(&self) -> BTreeMap<u64, String> {
        self.core.book.troubles()
    }

    /// What is wrong with this store, once it is known that it must take no part any more; [`Raft::open`] says so too.
    pub fn damage(&self) -> watch::Receiver<Option<String>> {
        self.core.damage.watch()
    }

    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    pub fn status(&self) -> Status {
        let metrics = self.core.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        Status {
            raft_id: metrics.id,
            term: metrics.current_term,
            first_index: metrics.purged.map_or(0, |id| id.index) + 1,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
            voters: membership.voter_ids().collect(),
            leader: metrics.current_leader,
        }
    }

    /// Changes whenever another manager sends something to be kept here, of which so many calls are under way.
    pub fn supply(&self) -> watch::Receiver<usize> {
        self.core.supply.subscribe()
    }

    /// The service that other managers call, behind `pki::listen`: only managers of this cluster get through to it.
    pub fn peer_service(&self) -> RaftServer<PeerService> {
        PeerService::server(self.core.clone(), self.proposer.clone(), self.asked.clone())
    }

    /// Lets only managers through that are members of the Raft group; for what they ask each other elsewhere.
    ///
    /// # Errors
    /// The call comes from somebody else.
    pub fn check_peer<T>(&self, request: &tonic::Request<T>) -> Result<(), tonic::Status> {
        self.core.check_member(request).map(drop)
    }

    /// Answers what is on its way, writes everything down and closes the files. Later calls do nothing.
    pub async fn shutdown(&self) {
        let tasks = self.running.lock().expect("no holder of this lock panics").take();
        let Some(tasks) = tasks else {
            return;
        };
        let Tasks { stop, packer, confirmer, answerer, keeper, watcher, comparer } = tasks;
        stop.cancel();
        comparer.wait().await;
        packer.wait().await;
        confirmer.wait().await;
        answerer.wait().await;
        keeper.wait().await;
        watcher.wait().await;
        self.core.close().await;
    }
}

impl Raft {
    pub(super) async fn start(
        options: Options,
        sizes: Sizes,
        begin: Begin,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, StartError> {
        let (raft_id, cluster, clock) = (options.raft_id, options.cluster, options.clock.clone());
        let fellows = options.fellows.clone();
        let config = Arc::new(config(&options.cluster.to_string()));
        let how = match begin {
            Begin::Found(_) | Begin::Join => (true, false),
            Begin::Open => (false, false),
            Begin::Recover(_) => (false, true),
        };
        let damage = Damage::new(&options.dir);
        let Files { identity, mut log, mut machine, handle } =
            tokio::task::spawn_blocking(move || open_files(&options, sizes.log, how))
                .await
                .map_err(|error| StartError::Raft(error.to_string()))??;
        if let Begin::Recover(member) = &begin
            && let Err(error) =
                recover::alone(&mut log, machine.applied(), raft_id, member.clone()).await
        {
            close(handle, log).await;
            return Err(error);
        }
        // The two go together.
        log.run_ahead(raft_id);
        machine.follow(log.progress().clone());
        let network = Network::new(peers, identity, log.progress().clone(), clock.clone());
        let raft =
            openraft::Raft::new(raft_id, config, network.clone(), log.clone(), machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(fatal) => {
                close(handle, log).await;
                return Err(StartError::Raft(fatal.to_string()));
            }
        };
        let is_opened = matches!(begin, Begin::Open);
        let seen = log.seen();
        let passed = !is_opened || seen == Seen::Whole;
        let (machine, leaving) = (handle, AtomicBool::new(false));
        let calls = Calls::new();
        let supply = watch::Sender::new(0);
        let refused = Refused::default();
        let core = Arc::new(Core {
            raft,
            machine,
            log,
            clock,
            network,
            cluster,
            raft_id,
            fellows,
            refused,
            leaving,
            calls,
            damage,
            probation: Probation::new(passed),
            book: Book::default(),
            supply,
        });
        if !passed {
            core.raft.runtime_config().elect(false);
        }
        if is_opened && seen == Seen::Older {
            if core.is_alone().await? {
                tracing::warn!(
                    "the data directory is older than what this manager had written; what it acknowledged since is lost"
                );
            } else {
                core.condemn("the data directory is older than what this manager has written since this machine booted");
                core.close().await;
                return Err(StartError::Condemned(core.damage.why().unwrap_or_default()));
            }
        }
        if let Err(error) = first_steps(&core, raft_id, begin).await {
            core.close().await;
            return Err(error);
        }
        Ok(Self::run(core, sizes.kept))
    }

    fn run(core: Arc<Core>, kept: usize) -> Self {
        let stop = Stop::new();
        let (proposer, packer) = propose::proposer(core.clone());
        let (reader, confirmer) = read::reader(core.clone(), Ask::Leader);
        let (asked, answerer) = read::reader(core.clone(), Ask::Majority);
        let (tell, leadership) = watch::channel(leadership_of(&core));
        let keeper = keep(core.clone(), kept, tell, stop.clone());
        let tasks = Tasks {
            packer: task::start("raft-propose", packer.run(stop.clone())),
            confirmer: task::start("raft-read", confirmer.run(stop.clone())),
            answerer: task::start("raft-asked", answerer.run(stop.clone())),
            keeper: task::start("raft-keep", keeper),
            watcher: task::start("raft-silence", silence::watch(core.clone(), stop.clone())),
            comparer: task::start("raft-compare", compare::run(core.clone(), stop.clone())),
            stop,
        };
        let running = Arc::new(Mutex::new(Some(tasks)));
        Self { core, proposer, reader, asked, leadership, running }
    }
}

impl Core {
    async fn close(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "Raft did not stop cleanly");
        }
        close(self.machine.clone(), self.log.clone()).await;
    }

    /// Whether this manager is the only voter.
    async fn is_alone(&self) -> Result<bool, StartError> {
        let raft_id = self.raft_id;
        let alone = self.raft.with_raft_state(move |state| {
            state.membership_state.effective().membership().voter_ids().eq([raft_id])
        });
        alone.await.map_err(|fatal| StartError::Raft(fatal.to_string()))
    }

    /// Who leads, as far as this manager knows.
    pub(super) fn leader(&self) -> Leader {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.state == ServerState::Leader {
            return Leader::This;
        }
        let members = metrics.membership_config.membership();
        let found = metrics.current_leader.filter(|id| *id != self.raft_id);
        match found.and_then(|id| members.get_node(&id).map(|member| (id, member.clone()))) {
            Some((raft_id, member)) => {
                Leader::Other(Remote { raft_id, member, term: metrics.current_term })
            }
            None => Leader::Nobody,
        }
    }

    /// What this manager, the leader, knows of the others.
    pub(super) fn contacts(&self) -> BTreeMap<u64, Contact> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let others = metrics.membership_config.membership().nodes().map(|(id, _)| *id);
        let contact = |id| {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(&id)?);
            Contact {
                silent: self.network.silent(id, metrics.current_term),
                matched: matched.map_or(0, |id| id.index),
                clock_ahead_ms: self.network.ahead(id),
            }
        };
        others.filter(|id| *id != self.raft_id).map(|id| (id, contact(id))).collect()
    }

    /// Whether the disks can take so many bytes more.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), Full> {
        self.log.check_room(bytes)?;
        self.machine.full().map_or(Ok(()), |why| Err(Full(why)))
    }

    /// What to tell a caller whose answer will never come.
    pub(super) fn why_stopped(&self) -> String {
        match &self.raft.metrics().borrow().running_state {
            Ok(()) => "it is shutting down".to_owned(),
            Err(fatal) => fatal.to_string(),
        }
    }
}

async fn close(machine: MachineHandle, log: LogStore) {
    let closed = tokio::task::spawn_blocking(move || {
        machine.close();
        log.close();
    });
    if let Err(error) = closed.await {
        tracing::error!(%error, "the store did not close cleanly");
    }
}

struct Files {
    identity: Arc<LogIdentity>,
    log: LogStore,
    machine: Machine,
    handle: MachineHandle,
}

/// Opens log and state file and checks that they belong together.
fn open_files(
    options: &Options,
    sizes: LogSizes,
    (fresh, recovering): (bool, bool),
) -> Result<Files, StartError> {
    let Options { dir, cluster, node, raft_id, key, clock: _, witness, fellows: _ } = options;
    let log_dir = dir.join("log");
    // The log's directory is made first, and durably.
    if !fresh && !log_dir.exists() {
        let state = dir.join(STATE_FILE).exists();
        return Err(if state {
            StartError::NoLog(log_dir)
        } else {
            StartError::Empty(dir.clone())
        });
    }
    if recovering {
        damage::pardon(dir)?;
    } else if let Some(why) = damage::found(dir)? {
        return Err(StartError::Condemned(why));
    }
    let identity = Arc::new(LogIdentity { cluster: *cluster, node: *node, key: key.clone() });
    let witness = witness.as_ref().and_then(|path| Witness::new(path, *node, *raft_id));
    let log = LogStore::open_seen(&log_dir, identity.clone(), sizes, witness)?;
    let opened = Machine::open(&dir.join(STATE_FILE), identity.clone());
    let (machine, handle, installed) = opened.inspect_err(|_| log.close())?;
    let (applied, last, purged) = (machine.applied(), log.last(), log.purged());
    let mismatch = if fresh && handle.state().cluster().is_some() {
        // A beginning that was cut off before its first command may be taken up again.
        Some(StartError::Exists(dir.clone()))
    } else if applied > last && applied != installed {
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        Some(StartError::LogBehind { applied: index(applied), last: index(last) })
    } else if purged > applied {
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        Some(StartError::StateBehind { applied: index(applied), purged: index(purged) })
    } else {
        None
    };
    if let Some(error) = mismatch {
        handle.close();
        log.close();
        return Err(error);
    }
    Ok(Files { identity, log, machine, handle })
}

/// Makes a state file of a backup, as one that a snapshot was installed into.
fn unpack<R: std::io::Read>(
    options: &Options,
    reader: backup::Reader<R>,
    key: &Key<Storage>,
) -> Result<(), StartError> {
    let Options { dir, cluster, node, raft_id: _, key: storage, clock: _, witness: _, fellows: _ } =
        options;
    let path = dir.join(STATE_FILE);
    if dir.join("log").exists() || path.exists() {
        return Err(StartError::Exists(dir.clone()));
    }
    // The log makes the directory, with the modes it needs.
    let identity = Arc::new(LogIdentity { cluster: *cluster, node: *node, key: storage.clone() });
    LogStore::open(&dir.join("log"), identity.clone(), LogSizes::default())?.close();
    failpoint("restore.logged");
    let mut incoming = Incoming::begin(&path, identity)?;
    let unusable = |error: SnapshotError| BackupError::Damaged(error.to_string());
    reader.each(key, |part| incoming.part(part).map_err(unusable))?;
    let (file, _) = incoming.whole().map_err(unusable)?;
    drop(file.rename(&path)?);
    failpoint("restore.unpacked");
    Ok(())
}

fn config(cluster: &str) -> Config {
    let ms = |d: Duration| u64::try_from(d.as_millis()).expect("short durations fit");
    Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: ms(HEARTBEAT),
        election_timeout_min: ms(ELECTION.0),
        election_timeout_max: ms(ELECTION.1),
        // A large state takes its time; the stream itself shows progress.
        install_snapshot_timeout: ms(Duration::from_secs(600)),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        replication_lag_threshold: SNAPSHOT_ENTRIES * 2,
        purge_batch_size: 64,
        ..Config::default()
    }
}

/// Founds the cluster if that is asked for and has not happened, and leads it if nobody else is there.
async fn first_steps(core: &Core, raft_id: u64, begin: Begin) -> Result<(), StartError> {
    let failed = |error: String| StartError::Raft(error);
    let begun = core.raft.is_initialized().await.map_err(|fatal| failed(fatal.to_string()))?;
    if let (Begin::Found(member), false) = (begin, begun) {
        let members = BTreeMap::from([(raft_id, member)]);
        core.raft.initialize(members).await.map_err(|error| failed(error.to_string()))?;
    }
    lead_alone(core).await
}

/// If this manager is the only voter, makes it lead at once and applies everything there is: nobody else could object.
async fn lead_alone(core: &Core) -> Result<(), StartError> {
    let failed = |error: String| StartError::Raft(error);
    let raft = &core.raft;
    if !core.is_alone().await? {
        return Ok(());
    }
    core.probation.pass();
    raft.runtime_config().elect(true);
    let led = raft.metrics().borrow().state == ServerState::Leader;
    if !led && core.log.vote().is_some_and(|vote| !vote.committed) {
        raft.trigger().elect().await.map_err(|fatal| failed(fatal.to_string()))?;
    }
    raft.wait(Some(ALONE))
        .state(ServerState::Leader, "the only voter leads")
        .await
        .map_err(|error| failed(error.to_string()))?;
    // An entry of this start: when it is applied, so is everything before it.
    raft.client_write(Batch::new(Vec::new(), 0))
        .await
        .map(|_| ())
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        network::Alone,
        testing::{create, sealed},
    };
    use tempfile::TempDir;

    const BYTES: usize = 20_000;

    fn options(dir: &TempDir) -> Options {
        Options {
            dir: dir.path().join("raft"),
            cluster: ClusterId::random(),
            node: NodeId::random(),
            raft_id: 1,
            key: Arc::new(Key::random().into()),
            clock: Clock::system(),
            witness: None,
            fellows: None,
        }
    }

    #[tokio::test]
    async fn the_log_is_cut_when_it_grows_and_everything_stays() {
        let dir = TempDir::new().unwrap();
        let sizes = Sizes {
            log: LogSizes { segment: 64 << 10, first_segment: 64 << 10, ..LogSizes::default() },
            kept: 200 << 10,
        };
        let options = options(&dir);
        let member = Member { node: options.node, addr: String::new() };
        let start =
            async |founder| Raft::start(options.clone(), sizes, founder, Arc::new(Alone)).await;
        let raft = start(Begin::Found(member)).await.unwrap();
        for number in 0..50 {
            raft.propose(None, create(number, BYTES).1).await.unwrap();
        }
        let mut metrics = raft.core.raft.metrics();
        metrics.wait_for(|m| m.purged.is_some_and(|id| id.index > 5)).await.unwrap();
        raft.shutdown().await;
        assert!(!options.dir.join("log/0000000000000001.log").exists());

        let raft = start(Begin::Open).await.unwrap();
        for number in 0..50 {
            let body = raft.body(create(number, BYTES).0).await.unwrap();
            assert_eq!(body, sealed(number, BYTES));
        }
        raft.shutdown().await;

        std::fs::rename(options.dir.join(STATE_FILE), dir.path().join("away")).unwrap();
        let error = start(Begin::Open).await.unwrap_err();
        assert!(matches!(error, StartError::StateBehind { .. }), "{error}");
    }
}
