//! The daemon from start to drain: takes its directory and its socket, comes back as what it was, waits for orders.

use super::{
    active::{Active, ActiveError, Surroundings},
    data_dir::{DataDir, DataDirError},
    local::Local,
    notify::notify,
    settings::Settings,
    socket::{Gate, Socket, SocketError},
    switch::Switch,
};
use crate::{
    kit::{clock::Clock, task::Stop},
    manager::control::ControlService,
    wire::{
        status::status,
        v1::{
            InitResponse, LocalState, Role, StatusResponse, control_server::ControlServer,
            node_server::NodeServer,
        },
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{net::UnixListener, sync::Mutex};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Status, transport::Server};
use tracing::{info, warn};

/// How long open calls may take to end when the daemon drains.
const DRAIN: Duration = Duration::from_secs(5);

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
    let control = Switch::off();
    control.set(active.as_ref().map(Active::control));
    let daemon = Arc::new(Daemon { around, _data: data, active: Mutex::new(active), control });
    notify("READY=1");
    info!(version = env!("CARGO_PKG_VERSION"), socket = %path.display(), "ready");
    let served = daemon.serve(listener, &stop).await;
    notify("STOPPING=1");
    drop(socket);
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
            return Err(status(
                Code::FailedPrecondition,
                "this node is already part of a cluster",
                Some("see it with `secretctl status`".to_owned()),
            ));
        }
        let founded =
            Active::found(&self.around, listen, advertise).await.map_err(|e| e.status())?;
        let response = InitResponse {
            node_id: founded.node().to_string(),
            cluster_id: founded.cluster().to_string(),
        };
        self.control.set(Some(founded.control()));
        *active = Some(founded);
        Ok(response)
    }

    pub(super) async fn status(&self) -> StatusResponse {
        let settings = &self.around.settings;
        let mut status = StatusResponse {
            state: LocalState::Inactive.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: hostname(),
            data_dir: settings.data_dir.display().to_string(),
            role: Role::Unspecified.into(),
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

/// This machine's name, as the kernel has it.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
