//! The daemon from start to drain: takes its directory and its socket, comes back as what it was, waits for orders.

use super::{
    active::{Active, ActiveError, Joining, Surroundings, Turned, Wish},
    data_dir::{DataDir, DataDirError},
    local::Local,
    notify::notify,
    settings::Settings,
    socket::{Gate, Socket, SocketError},
    switch::Switch,
};
use crate::{
    kit::{
        chain::chain,
        clock::Clock,
        task::{self, Stop},
    },
    manager::control::ControlService,
    model::node::{self, Availability},
    pki::JoinToken,
    wire::{
        convert::Code as _,
        status::status,
        v1::{
            InitResponse, JoinRequest, JoinResponse, LocalState, Role, StatusResponse,
            control_server::ControlServer, node_server::NodeServer,
        },
    },
};
use std::{
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

/// How long to wait before a change of role is tried again.
const TURN_RETRY: Duration = Duration::from_secs(2);

/// Why the daemon could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum DaemonError {
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

/// What one process is, whatever its part in a cluster.
#[derive(Debug)]
pub(super) struct Daemon {
    around: Surroundings,
    /// Ours for as long as this process lives.
    _data: DataDir,
    /// Held while a cluster is founded, so that two orders cannot cross.
    active: Mutex<Option<Active>>,
    control: Switch<ControlServer<ControlService>>,
    /// Changes whenever `active` does.
    turns: watch::Sender<()>,
    /// Why this node belongs to no cluster any more, or is not what it should be.
    trouble: std::sync::Mutex<String>,
}

/// Runs a node until `stop`, then drains it. Running tasks go on.
///
/// # Errors
/// [`DaemonError`]: nothing that was stored has been harmed.
pub(super) async fn run(settings: Settings, stop: Stop) -> Result<(), DaemonError> {
    let data = DataDir::open(&settings.data_dir)?;
    let path = settings.socket();
    let (socket, listener) = Socket::bind(&path)?;
    let around = Surroundings {
        data: data.path().to_owned(),
        settings,
        clock: Clock::system(),
        fatal: Stop::new(),
    };
    let active = Active::resume(&around).await?;
    let daemon = Arc::new(Daemon {
        around,
        _data: data,
        active: Mutex::new(None),
        control: Switch::off(no_cluster),
        turns: watch::Sender::new(()),
        trouble: std::sync::Mutex::default(),
    });
    daemon.put(&mut *daemon.active.lock().await, active);
    let ended = Stop::new();
    let supervising = task::start("supervisor", Arc::clone(&daemon).supervise(ended.clone()));
    notify("READY=1");
    info!(version = env!("CARGO_PKG_VERSION"), socket = %path.display(), "ready");
    let served = daemon.serve(listener, &stop).await;
    notify("STOPPING=1");
    drop(socket);
    ended.cancel();
    supervising.wait().await;
    let why = match daemon.active.lock().await.take() {
        Some(active) => active.shutdown().await,
        None => Ok(()),
    };
    served?;
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

    pub(super) async fn init(&self, listen: &str, advertise: &str) -> Result<InitResponse, Status> {
        let mut active = self.active.lock().await;
        if active.is_some() {
            return Err(already());
        }
        let founded =
            Active::found(&self.around, listen, advertise).await.map_err(|e| e.status())?;
        let response = InitResponse {
            node_id: founded.node().to_string(),
            cluster_id: founded.cluster().to_string(),
        };
        self.put(&mut active, Some(founded));
        Ok(response)
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
        let mut active = self.active.lock().await;
        if active.is_some() {
            return Err(already());
        }
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
        self.put(&mut active, Some(joined));
        Ok(response)
    }

    pub(super) async fn leave(&self, force: bool) -> Result<(), Status> {
        let mut active = self.active.lock().await;
        let Some(member) = active.as_ref() else { return Err(no_cluster()) };
        if member.role() == node::Role::Manager && !force {
            return Err(status(
                Code::FailedPrecondition,
                "this node is a manager of the cluster: without it the others may be too few to go on, and the last one takes everything with it",
                Some("demote it first with `secretctl node demote`, or say --force".to_owned()),
            ));
        }
        let Some(member) = active.take() else { return Err(no_cluster()) };
        self.put(&mut active, None);
        member.leave(&self.around).await.map_err(|error| error.status())
    }

    fn put(&self, place: &mut Option<Active>, active: Option<Active>) {
        match &active {
            None => self.control.away(no_cluster),
            Some(member) => {
                self.note(String::new());
                match member.control() {
                    Some(control) => self.control.on(control),
                    None => self.control.away(only_worker),
                }
            }
        }
        *place = active;
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
            let wish = self.active.lock().await.as_ref().map(Active::wish);
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
            let mut active = self.active.lock().await;
            let Some(member) = active.take() else { continue };
            self.control.away(turning);
            let turned = match wish {
                Wish::Promoted => member.promote(&self.around).await,
                Wish::Demoted => member.demote(&self.around).await,
                Wish::Gone => {
                    if let Err(error) = member.forget(&self.around).await {
                        error!(error = %chain(&error), "cannot forget the cluster");
                    }
                    self.put(&mut active, None);
                    self.note("this node was removed from its cluster".to_owned());
                    continue;
                }
            };
            match turned {
                Ok(member) => {
                    info!(role = %member.role(), "took up another part in the cluster");
                    self.put(&mut active, Some(member));
                }
                Err(Turned { error, still }) => {
                    warn!(error = %chain(&error), "cannot take up another part in the cluster");
                    if still.is_none() {
                        // It is neither the one nor the other: a start makes it what its files say.
                        self.around.fatal.cancel();
                    }
                    self.put(&mut active, still.map(|member| *member));
                    self.note(chain(&error).to_string());
                    drop(active);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(TURN_RETRY) => {}
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
            ..StatusResponse::default()
        };
        // While a cluster is being founded, the lock is held.
        match self.active.try_lock() {
            Ok(active) => {
                if let Some(active) = active.as_ref() {
                    active.describe(&mut status).await;
                }
            }
            Err(_) => status.state = LocalState::Pending.into(),
        }
        status
    }
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

fn only_worker() -> Status {
    status(
        Code::FailedPrecondition,
        "this node is a worker: it does not hold the cluster's store",
        Some("use the socket of a manager; `secretctl status` shows where they are".to_owned()),
    )
}

fn turning() -> Status {
    status(Code::Unavailable, "this node takes up another part in its cluster just now", None)
}

/// This machine's name, as the kernel has it.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
