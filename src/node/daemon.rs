//! The daemon from start to drain: takes its directory and its socket, comes back as what it was, waits for orders.

use super::{
    active::{self, Active, ActiveError, Joining, Resumed, Surroundings, Turned, Wish},
    backup::{self, Making},
    data_dir::{DataDir, DataDirError, InsecurePlace, refuse_insecure},
    keystore::{self, Locked, Progress, TpmChangeError, UnlockError, Unlocked},
    local::Local,
    notify::notify,
    protection::KeyPlace,
    refill,
    settings::Settings,
    socket::{Gate, Socket, SocketError},
    switch::Switch,
    unlocking,
};
use crate::{
    client::Book,
    crypto::{
        key::{Key, Root},
        plaintext::Plaintext,
        unlock::{Unlocker, code::Given, tpm::Pcrs},
    },
    kit::{
        backoff::Backoff,
        chain::chain,
        clock::Clock,
        id::UnlockerId,
        task::{self, Stop},
    },
    manager::control::ControlService,
    model::{
        description::hostname_from,
        node::{self, Availability},
    },
    pki::JoinToken,
    raft::Raft,
    wire::{
        convert::Code as _,
        status::status,
        v1::{
            BackupOpening, BackupSummary, CreateBackupRequest, InitResponse, JoinRequest,
            JoinResponse, LocalState, Payload, RefillResponse, RestoreBackupResponse, Role,
            StatusResponse, TpmEntry, UnlockResponse, control_server::ControlServer,
            node_server::NodeServer,
        },
    },
};
use std::{
    fs::File,
    path::PathBuf,
    pin::pin,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    net::UnixListener,
    sync::{Mutex, watch},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Status, transport::Server};
use tracing::{error, info, warn};

/// How long open calls may take to end when the daemon drains.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a manager that was refilled is waited for until it votes.
const VOTE: Duration = Duration::from_secs(30);

/// How long to wait before a change of role is tried again.
const TURN_RETRY: Duration = Duration::from_secs(2);

/// How long to wait before what did not open the keys is tried again, at first and at most: a KMS that comes back is found
/// within a minute, and one that does not is not asked by every manager every second.
const REOPEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why the daemon could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum DaemonError {
    #[error(transparent)]
    Insecure(#[from] InsecurePlace),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Active(#[from] ActiveError),
    #[error("the socket failed")]
    Serve(#[source] tonic::transport::Error),
}

impl DaemonError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Insecure(insecure) => Some(insecure.hint()),
            Self::DataDir(error) => Some(error.hint().to_owned()),
            Self::Socket(SocketError::Taken(_)) => {
                Some("stop that daemon, or give this one its own --run-dir".to_owned())
            }
            Self::Socket(SocketError::Io { .. }) => {
                Some("check that secretd may write to its --run-dir".to_owned())
            }
            Self::Active(error) => error.hint(),
            Self::Serve(_) => None,
        }
    }
}

/// What this node is at the moment.
#[derive(Debug)]
enum Part {
    /// In no cluster.
    Inactive,
    /// In one, with keys that nobody has opened yet.
    Locked(Box<Locked>),
    Active(Box<Active>),
}

/// What one process is, whatever its part in a cluster.
#[derive(Debug)]
pub(super) struct Daemon {
    around: Surroundings,
    /// Ours for as long as this process lives.
    _data: DataDir,
    /// Held while a cluster is founded, so that two orders cannot cross.
    part: Mutex<Part>,
    control: Switch<ControlServer<ControlService>>,
    /// Changes whenever `part` does.
    turns: watch::Sender<()>,
    /// Why this node belongs to no cluster any more, or is not what it should be.
    trouble: std::sync::Mutex<String>,
}

/// Runs a node until `stop`, then drains it. Running tasks go on.
///
/// # Errors
/// [`DaemonError`]: nothing that was stored has been harmed.
pub(super) async fn run(settings: Settings, stop: Stop) -> Result<(), DaemonError> {
    refuse_insecure(&settings)?;
    let data = DataDir::open(&settings.data_dir)?;
    let path = settings.socket();
    let (socket, listener) = Socket::bind(&path)?;
    let around = Surroundings {
        data: data.path().to_owned(),
        settings,
        clock: Clock::system(),
        fatal: Stop::new(),
        filling: Stop::new(),
        book: Book::default(),
    };
    keystore::sweep(&around.settings.key_file);
    let daemon = Arc::new(Daemon {
        around,
        _data: data,
        part: Mutex::new(Part::Inactive),
        control: Switch::off(no_cluster),
        turns: watch::Sender::new(()),
        trouble: std::sync::Mutex::default(),
    });
    let part = daemon.part.lock().await;
    let resuming = async {
        let mut part = part;
        let resumed = match Active::resume(&daemon.around).await? {
            Resumed::Nothing => Part::Inactive,
            Resumed::Locked(locked) => Part::Locked(Box::new(locked)),
            Resumed::Active(active) => Part::Active(active),
        };
        daemon.put(&mut part, resumed);
        Ok(())
    };
    let mut resuming = pin!(resuming);
    // What takes as long as others want is not waited for.
    let begun: Option<Result<(), ActiveError>> = tokio::select! {
        begun = &mut resuming => Some(begun),
        () = daemon.around.filling.cancelled() => None,
    };
    let begun = begun.transpose()?.is_some();
    if !begun {
        daemon.control.away(filling);
        daemon.note(
            "the other managers, which are to send this one what the cluster stores".to_owned(),
        );
    }
    let ended = Stop::new();
    let supervising = task::start("supervisor", Arc::clone(&daemon).supervise(ended.clone()));
    let reopening = task::start("keys", Arc::clone(&daemon).reopen(ended.clone()));
    notify("READY=1");
    info!(version = env!("CARGO_PKG_VERSION"), socket = %path.display(), "ready");
    let serving = async {
        let served = daemon.serve(listener, &stop).await;
        notify("STOPPING=1");
        drop(socket);
        // Nobody waits for the others any more.
        daemon.around.fatal.cancel();
        served
    };
    let filling = async {
        if begun {
            return Ok(());
        }
        let filled = resuming.await;
        if filled.is_err() {
            daemon.around.fatal.cancel();
        }
        filled
    };
    let (served, filled) = tokio::join!(serving, filling);
    ended.cancel();
    supervising.wait().await;
    reopening.wait().await;
    let why = match std::mem::replace(&mut *daemon.part.lock().await, Part::Inactive) {
        Part::Active(active) => active.shutdown().await,
        Part::Inactive | Part::Locked(_) => Ok(()),
    };
    served?;
    // Cut off by the stop it is filled after the next start.
    filled.or_else(|error| if stop.is_cancelled() { Ok(()) } else { Err(error) })?;
    why?;
    info!("drained");
    Ok(())
}

impl Daemon {
    async fn serve(
        self: &Arc<Self>,
        listener: UnixListener,
        stop: &Stop,
    ) -> Result<(), DaemonError> {
        let server = Server::builder()
            .layer(Gate::new())
            .add_service(NodeServer::new(Local(Arc::clone(self))))
            .add_service(self.control.clone());
        let ended = Stop::new();
        let signal = {
            let (stop, fatal, ended) = (stop.clone(), self.around.fatal.clone(), ended.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = fatal.cancelled() => warn!("a part of this node had to stop"),
                }
                ended.cancel();
            }
        };
        let serving =
            server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), signal);
        let deadline = async {
            ended.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served.map_err(DaemonError::Serve),
            // Somebody follows a log or watches a service; the drain does not wait for that.
            () = deadline => Ok(()),
        }
    }

    pub(super) async fn init(
        &self,
        listen: &str,
        advertise: &str,
        autolock: bool,
    ) -> Result<InitResponse, Status> {
        let mut part = self.part.lock().await;
        part.refuse_member()?;
        let founded = Active::found(&self.around, listen, advertise, autolock).await;
        let (founded, code) = founded.map_err(|e| e.status())?;
        let response = InitResponse {
            node_id: founded.node().to_string(),
            cluster_id: founded.cluster().to_string(),
            unlock_key: code.as_ref().map(Payload::carry),
        };
        self.put(&mut part, Part::Active(Box::new(founded)));
        Ok(response)
    }

    /// Begins a backup of this manager's store.
    pub(super) async fn backup(&self, request: CreateBackupRequest) -> Result<Making, Status> {
        let CreateBackupRequest { passphrase, recovery_key } = request;
        let store = self.store().await?.ok_or_else(|| backup::Failure::NoStore.status())?;
        let words = passphrase.map(Payload::into_plaintext);
        backup::create(store, words, recovery_key).await.map_err(|failure| failure.status())
    }

    /// Opens everything in a backup.
    pub(super) async fn verify(
        &self,
        file: File,
        opening: BackupOpening,
    ) -> Result<BackupSummary, Status> {
        // A locked node can do that too: the backup has its own unlockers.
        let store = self.store().await.unwrap_or_default();
        backup::verify(store, file, opening).await.map_err(|failure| failure.status())
    }

    /// Founds the cluster of a backup anew.
    pub(super) async fn restore(
        &self,
        file: File,
        opening: BackupOpening,
    ) -> Result<RestoreBackupResponse, Status> {
        let mut part = self.part.lock().await;
        part.refuse_member()?;
        let restored = backup::restore(&self.around, file, opening).await;
        let (active, summary) = restored.map_err(|failure| failure.status())?;
        let node_id = active.node().to_string();
        info!(cluster = summary.cluster_id, "restored a backup");
        self.put(&mut part, Part::Active(active));
        Ok(RestoreBackupResponse { node_id, backup: Some(summary) })
    }

    /// Where a backup that comes in is kept.
    pub(super) fn scratch(&self) -> Result<File, Status> {
        backup::scratch(&self.around.data).map_err(|failure| failure.status())
    }

    async fn store(&self) -> Result<Option<(Raft, Arc<Key<Root>>)>, Status> {
        match &*self.part.lock().await {
            Part::Inactive => Err(no_cluster()),
            Part::Locked(_) => Err(is_locked()),
            Part::Active(member) => Ok(member.store()),
        }
    }

    /// Opens the keys with what an operator gave, and takes up what this node was.
    pub(super) async fn unlock(
        &self,
        typed: Plaintext,
        which: Option<UnlockerId>,
    ) -> Result<UnlockResponse, Status> {
        let given = Given::read(typed)
            .map_err(|bad| status(Code::InvalidArgument, bad.to_string(), None))?;
        let mut part = self.part.lock().await;
        let mut locked = match std::mem::replace(&mut *part, Part::Inactive) {
            Part::Locked(locked) => locked,
            other => {
                *part = other;
                return Err(status(Code::FailedPrecondition, "this node is not locked", None));
            }
        };
        // Argon2 takes its time.
        let tried = tokio::task::spawn_blocking(move || {
            let tried = locked.unlock(given, which);
            (locked, tried)
        });
        let Ok((locked, tried)) = tried.await else {
            self.around.fatal.cancel();
            return Err(Status::internal("the unlocking broke off; secretd has to start anew"));
        };
        let keys = match tried {
            Ok(Progress::Open(keys)) => keys,
            Ok(Progress::Shares { given, needed }) => {
                *part = Part::Locked(locked);
                return Ok(UnlockResponse {
                    shares_given: u32::from(given),
                    shares_needed: u32::from(needed),
                });
            }
            Err(error) => {
                warn!(error = %chain(&error), "an attempt to unlock this node failed");
                *part = Part::Locked(locked);
                return Err(not_unlocked(&error));
            }
        };
        match Active::unlocked(&self.around, keys).await {
            Ok(Resumed::Active(active)) => self.put(&mut part, Part::Active(active)),
            Ok(Resumed::Nothing | Resumed::Locked(_)) => self.put(&mut part, Part::Inactive),
            Err(error) => {
                *part = Part::Locked(locked);
                return Err(error.status());
            }
        }
        info!("unlocked");
        Ok(UnlockResponse::default())
    }

    /// Has a TPM seal a key that opens this manager.
    pub(super) async fn add_tpm(&self, device: String, pcrs: Pcrs) -> Result<TpmEntry, Status> {
        let change =
            move |data: PathBuf, keys: Unlocked| keystore::add_tpm(&data, &keys, &device, pcrs);
        self.change_tpms(change).await
    }

    pub(super) async fn remove_tpm(&self, which: String) -> Result<TpmEntry, Status> {
        self.change_tpms(move |data, keys| keystore::remove_tpm(&data, &keys, &which)).await
    }

    async fn change_tpms(
        &self,
        change: impl FnOnce(PathBuf, Unlocked) -> Result<Unlocker, TpmChangeError> + Send + 'static,
    ) -> Result<TpmEntry, Status> {
        // Held to the end: this node must not become another meanwhile.
        let part = self.part.lock().await;
        let keys = match &*part {
            Part::Inactive => return Err(no_cluster()),
            Part::Locked(_) => return Err(is_locked()),
            Part::Active(member) if member.role() == node::Role::Manager => member.keys(),
            Part::Active(_) => return Err(only_worker()),
        };
        let data = self.around.data.clone();
        let changed = tokio::task::spawn_blocking(move || change(data, keys)).await;
        let changed = changed.map_err(|_| Status::internal("the change broke off"))?;
        let unlocker = changed.map_err(|error| {
            let code = match &error {
                TpmChangeError::Unknown(_) => Code::NotFound,
                TpmChangeError::Several(_) => Code::InvalidArgument,
                TpmChangeError::Tpm(_)
                | TpmChangeError::Keys(_)
                | TpmChangeError::Full
                | TpmChangeError::Last
                | TpmChangeError::Rotating => Code::FailedPrecondition,
            };
            status(code, chain(&error).to_string(), Some(error.hint().to_owned()))
        })?;
        Ok(unlocking::tpm(&unlocker).unwrap_or_default())
    }

    pub(super) async fn join(
        &self,
        request: JoinRequest,
        token: &JoinToken,
    ) -> Result<JoinResponse, Status> {
        let JoinRequest { listen_addr, advertise_addr, managers, token: _, availability } = request;
        let availability = match availability {
            0 => Availability::Active,
            code => Availability::from_code(code).map_err(|fault| fault.within("availability"))?,
        };
        let mut part = self.part.lock().await;
        part.refuse_member()?;
        let joining = Joining {
            token,
            managers: &managers,
            listen: &listen_addr,
            advertise: &advertise_addr,
            availability,
        };
        let joined = Active::join(&self.around, joining).await.map_err(|e| e.status())?;
        let role = match joined.role() {
            node::Role::Manager => Role::Manager,
            node::Role::Worker => Role::Worker,
        };
        let response = JoinResponse {
            node_id: joined.node().to_string(),
            cluster_id: joined.cluster().to_string(),
            role: role.into(),
        };
        self.put(&mut part, Part::Active(Box::new(joined)));
        Ok(response)
    }

    /// Fills a manager whose store is damaged from the others; answers with its Raft id and whether it votes.
    pub(super) async fn refill(&self) -> Result<RefillResponse, Status> {
        let mut part = self.part.lock().await;
        let member = match std::mem::replace(&mut *part, Part::Inactive) {
            Part::Active(member) if member.damage().is_some() => member,
            other => {
                *part = other;
                return Err(not_damaged(&part));
            }
        };
        self.control.away(turning);
        let raft = match member.refill(&self.around).await {
            Ok(member) => {
                let raft = member.store().map(|(raft, _)| raft);
                self.put(&mut part, Part::Active(Box::new(member)));
                raft
            }
            Err(Turned { error, still }) => {
                warn!(error = %chain(&error), "this manager is not refilled");
                let again = match still {
                    Some(member) => Part::Active(member),
                    None => self.again().await,
                };
                self.put(&mut part, again);
                return Err(error.status());
            }
        };
        drop(part);
        let Some(raft) = raft else { return Ok(RefillResponse::default()) };
        let voting = async {
            while !refill::votes(&raft) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let voter = tokio::time::timeout(VOTE, voting).await.is_ok();
        let raft_id = raft.status().raft_id;
        info!(raft_id, voter, "refilled from the other managers");
        Ok(RefillResponse { raft_id, voter })
    }

    /// What the files say that this node is, after a change that was cut off.
    async fn again(&self) -> Part {
        match Active::resume(&self.around).await {
            Ok(Resumed::Active(member)) => Part::Active(member),
            Ok(Resumed::Locked(locked)) => Part::Locked(Box::new(locked)),
            Ok(Resumed::Nothing) => Part::Inactive,
            Err(error) => {
                error!(error = %chain(&error), "cannot take up what this node was");
                self.around.fatal.cancel();
                Part::Inactive
            }
        }
    }

    pub(super) async fn leave(&self, force: bool) -> Result<(), Status> {
        let mut part = self.part.lock().await;
        let manager = match &*part {
            Part::Inactive => return Err(no_cluster()),
            // Only managers can be locked; what it would say goodbye with is locked too.
            Part::Locked(_) => true,
            Part::Active(member) => member.role() == node::Role::Manager,
        };
        if manager && !force {
            return Err(status(
                Code::FailedPrecondition,
                "this node is a manager of the cluster: without it the others may be too few to go on, and the last one takes everything with it",
                Some("demote it first with `secretctl node demote`, or say --force".to_owned()),
            ));
        }
        let left = std::mem::replace(&mut *part, Part::Inactive);
        self.put(&mut part, Part::Inactive);
        match left {
            Part::Inactive => Ok(()),
            Part::Locked(_) => active::wipe(&self.around),
            Part::Active(member) => member.leave(&self.around).await,
        }
        .map_err(|error| error.status())
    }

    fn put(&self, place: &mut Part, part: Part) {
        match &part {
            Part::Inactive => self.control.away(no_cluster),
            Part::Locked(locked) => {
                let until = match (locked.can_ask(), locked.attempt().is_some()) {
                    (true, false) => "`secretctl unlock`",
                    (true, true) => "`secretctl unlock`, or until one of these works again",
                    (false, _) => "one of these works again",
                };
                warn!(why = ?locked.why(), "this node is locked until {until}");
                self.control.away(is_locked);
            }
            Part::Active(member) => {
                self.note(String::new());
                match member.control() {
                    Some(control) => self.control.on(control),
                    None if member.damage().is_some() => self.control.away(is_damaged),
                    None => self.control.away(only_worker),
                }
            }
        }
        *place = part;
        self.turns.send_replace(());
    }

    fn note(&self, trouble: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Turns this node into what the cluster wants it to be, whenever that changes.
    async fn supervise(self: Arc<Self>, stop: Stop) {
        let mut turns = self.turns.subscribe();
        loop {
            turns.borrow_and_update();
            let wish = match &*self.part.lock().await {
                Part::Active(member) => Some(member.wish()),
                Part::Inactive | Part::Locked(_) => None,
            };
            let wish = async {
                match wish {
                    Some(wish) => wish.await,
                    None => std::future::pending().await,
                }
            };
            let wish = tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.changed() => continue,
                wish = wish => wish,
            };
            let mut part = self.part.lock().await;
            let member = match std::mem::replace(&mut *part, Part::Inactive) {
                Part::Active(member) => member,
                other => {
                    *part = other;
                    continue;
                }
            };
            self.control.away(turning);
            let turned = match wish {
                Wish::Promoted => member.promote(&self.around).await,
                Wish::Demoted => member.demote(&self.around).await,
                Wish::Damaged(why) => {
                    let aside = member.stand_aside(&self.around, why).await;
                    aside.map_err(|error| Turned { error, still: None })
                }
                Wish::Gone => {
                    if let Err(error) = member.forget(&self.around).await {
                        error!(error = %chain(&error), "cannot forget the cluster");
                    }
                    self.put(&mut part, Part::Inactive);
                    self.note("this node was removed from its cluster".to_owned());
                    continue;
                }
            };
            match turned {
                Ok(member) => {
                    info!(role = %member.role(), "took up another part in the cluster");
                    self.put(&mut part, Part::Active(Box::new(member)));
                }
                Err(Turned { error, still }) => {
                    warn!(error = %chain(&error), "cannot take up another part in the cluster");
                    if still.is_none() {
                        // It is neither the one nor the other: a start makes it what its files say.
                        self.around.fatal.cancel();
                    }
                    self.put(&mut part, still.map_or(Part::Inactive, Part::Active));
                    self.note(chain(&error).to_string());
                    drop(part);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(TURN_RETRY) => {}
                    }
                }
            }
        }
    }

    /// Opens the keys of a locked node as soon as something can without being asked.
    async fn reopen(self: Arc<Self>, stop: Stop) {
        let mut turns = self.turns.subscribe();
        let mut backoff = Backoff::new(REOPEN.0, REOPEN.1);
        loop {
            turns.borrow_and_update();
            let attempt = match &*self.part.lock().await {
                Part::Locked(locked) => locked.attempt(),
                Part::Inactive | Part::Active(_) => None,
            };
            let wait = async {
                match &attempt {
                    Some(_) => backoff.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.changed() => {
                    backoff.reset();
                    continue;
                }
                () = wait => {}
            }
            let Some(attempt) = attempt else { continue };
            let key_file = self.around.settings.key_file.clone();
            // Without the lock: an operator may be quicker.
            let trying = tokio::task::spawn_blocking(move || attempt.make(&key_file));
            let tried = tokio::select! {
                () = stop.cancelled() => return,
                tried = trying => tried,
            };
            let Ok(tried) = tried else { continue };
            let mut part = self.part.lock().await;
            let Part::Locked(locked) = &mut *part else { continue };
            let tried = match tried {
                // The node it was may have left meanwhile, and joined as another.
                Ok(keys) if keys.node != locked.node() => continue,
                Ok(keys) => Active::unlocked(&self.around, keys)
                    .await
                    .map_err(|error| vec![chain(&error).to_string()]),
                Err(why) => Err(why),
            };
            match tried {
                Ok(Resumed::Active(active)) => {
                    info!("the keys opened by themselves");
                    self.put(&mut part, Part::Active(active));
                }
                Ok(Resumed::Nothing | Resumed::Locked(_)) => self.put(&mut part, Part::Inactive),
                Err(why) => {
                    if locked.note(why) {
                        warn!(why = ?locked.why(), "this node is still locked");
                    }
                }
            }
        }
    }

    pub(super) async fn status(&self) -> StatusResponse {
        let settings = &self.around.settings;
        let mut status = StatusResponse {
            state: LocalState::Inactive.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: hostname(),
            data_dir: settings.data_dir.display().to_string(),
            role: Role::Unspecified.into(),
            error: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            set_aside: active::kept(&self.around),
            ..StatusResponse::default()
        };
        // While a cluster is being founded, the lock is held.
        match self.part.try_lock() {
            Ok(part) => match &*part {
                Part::Inactive => {}
                Part::Locked(locked) => {
                    status.state = LocalState::Locked.into();
                    status.node_id = locked.node().to_string();
                    status.cluster_id = locked.cluster().to_string();
                    status.error = locked.why().join("; ");
                    let place = KeyPlace::of(&self.around.data, &settings.key_file);
                    unlocking::describe(&locked.ways(), &place, &mut status);
                    // There are none.
                    status.memory.clear();
                }
                Part::Active(member) => member.describe(&self.around, &mut status).await,
            },
            Err(_) => status.state = LocalState::Pending.into(),
        }
        status
    }
}

impl Part {
    /// Whoever is in a cluster cannot found or join another.
    fn refuse_member(&self) -> Result<(), Status> {
        match self {
            Self::Inactive => Ok(()),
            Self::Locked(_) => Err(is_locked()),
            Self::Active(_) => Err(already()),
        }
    }
}

fn not_unlocked(error: &UnlockError) -> Status {
    let code = match error {
        UnlockError::Keys(_) | UnlockError::Cost(_) => Code::FailedPrecondition,
        UnlockError::Unknown { .. }
        | UnlockError::Wrong { .. }
        | UnlockError::WrongShares
        | UnlockError::NoPassphrase
        | UnlockError::WhichPassphrase(_) => Code::InvalidArgument,
    };
    status(code, chain(error).to_string(), error.hint().map(str::to_owned))
}

/// The words Swarm users know.
fn is_locked() -> Status {
    status(
        Code::FailedPrecondition,
        "this node is locked: its keys must be opened before it can be used",
        Some(
            "open them with `secretctl unlock`; `secretctl status` lists what opens them"
                .to_owned(),
        ),
    )
}

fn already() -> Status {
    status(
        Code::FailedPrecondition,
        "this node is already part of a cluster",
        Some("see it with `secretctl status`; leave it with `secretctl leave`".to_owned()),
    )
}

fn no_cluster() -> Status {
    // Not `Unavailable`: no patience of the caller's brings a cluster about.
    status(
        Code::FailedPrecondition,
        "this node is not part of a cluster",
        Some("found one with `secretctl init`, or join one with `secretctl join`".to_owned()),
    )
}

fn is_damaged() -> Status {
    status(
        Code::FailedPrecondition,
        "this manager's store is damaged: it takes no part in the cluster's decisions",
        Some(
            "`secretctl status` says what is damaged; fill it from the other managers with `secretctl refill`"
                .to_owned(),
        ),
    )
}

fn not_damaged(part: &Part) -> Status {
    match part {
        Part::Inactive => no_cluster(),
        Part::Locked(_) => is_locked(),
        Part::Active(member) if member.role() == node::Role::Worker => only_worker(),
        Part::Active(_) => status(
            Code::FailedPrecondition,
            "this manager's store is not damaged",
            Some("to make it anew all the same, demote the node and promote it again".to_owned()),
        ),
    }
}

fn only_worker() -> Status {
    status(
        Code::FailedPrecondition,
        "this node is a worker: it does not hold the cluster's store",
        Some("use the socket of a manager; `secretctl status` shows where they are".to_owned()),
    )
}

fn filling() -> Status {
    status(
        Code::Unavailable,
        "this manager is being filled by the others",
        Some("wait until `secretctl status` says active, or ask another manager".to_owned()),
    )
}

fn turning() -> Status {
    status(Code::Unavailable, "this node takes up another part in its cluster just now", None)
}

/// This machine's name, as the kernel has it.
pub(super) fn hostname() -> String {
    hostname_from(&rustix::system::uname().nodename().to_string_lossy())
}
