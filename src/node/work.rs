//! This node as a worker: chooses what starts its tasks, runs the agent, tells how both are.

use super::settings::{RuntimeChoice, Settings};
use crate::{
    agent::{
        Agent, AgentConfig, Handle, Manager,
        place::{Place, PlaceError},
        runtime::{
            Runtime, RuntimeError,
            docker::DockerRuntime,
            process::{self, ProcessRuntime},
        },
    },
    kit::{
        clock::Clock,
        id::NodeId,
        task::{self, Running, Stop},
    },
    pki::Tls,
    wire::v1::StatusResponse,
};
use std::{io, net::SocketAddr, sync::Arc};
use tracing::info;

/// Why this node cannot run tasks.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot set up the process runtime")]
    Process(#[source] RuntimeError),
    #[error("cannot find this program's own file")]
    Program(#[source] io::Error),
}

impl WorkError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Place(_) => {
                "run secretd as root with a --run-dir it may mount in, or use --runtime process"
            }
            Self::Process(_) | Self::Program(_) => "check that secretd may write to its --run-dir",
        }
    }
}

/// The agent while it runs.
pub(super) struct Work {
    runtime: Arc<dyn Runtime>,
    handle: Handle,
    agent: Running<()>,
    stop: Stop,
}

impl Work {
    /// Starts the agent of `node`, whose manager listens on `addr` of this very machine.
    ///
    /// # Errors
    /// [`WorkError`]. An engine that does not answer is none: it may come back.
    pub(super) async fn start(
        settings: &Settings,
        node: NodeId,
        addr: SocketAddr,
        tls: &Tls,
    ) -> Result<Self, WorkError> {
        let runtime = runtime(settings, node).await?;
        info!(runtime = runtime.name(), "tasks run on");
        let config = AgentConfig {
            node,
            tls: tls.clone(),
            managers: vec![Manager { node, addr: addr.to_string() }],
            runtime: Arc::clone(&runtime),
            clock: Clock::system(),
        };
        let (agent, handle) = Agent::new(config);
        let stop = Stop::new();
        let agent = task::start("agent", agent.run(stop.clone()));
        Ok(Self { runtime, handle, agent, stop })
    }

    /// Fills in what `status` says of a worker.
    pub(super) async fn describe(&self, status: &mut StatusResponse) {
        self.runtime.name().clone_into(&mut status.runtime);
        match self.runtime.info().await {
            Ok(engine) => status.engine_version = engine.version,
            Err(error) => status.runtime_error = error.to_string(),
        }
        let seen = self.handle.seen();
        if !seen.connected && status.runtime_error.is_empty() {
            status.runtime_error = seen.trouble.unwrap_or_default();
        }
    }

    /// Ends the agent; tasks go on.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.agent.wait().await;
    }
}

async fn runtime(settings: &Settings, node: NodeId) -> Result<Arc<dyn Runtime>, WorkError> {
    let docker = || {
        let place = Place::open(&settings.run_dir)?;
        Ok(Arc::new(DockerRuntime::new(&settings.docker_host, node, place)) as Arc<dyn Runtime>)
    };
    match settings.runtime {
        RuntimeChoice::Docker => docker(),
        RuntimeChoice::Process => sandbox(settings),
        RuntimeChoice::Auto => {
            if rustix::process::geteuid().is_root() {
                let docker = docker()?;
                if docker.info().await.is_ok() {
                    return Ok(docker);
                }
            }
            sandbox(settings)
        }
    }
}

fn sandbox(settings: &Settings) -> Result<Arc<dyn Runtime>, WorkError> {
    let options = process::Options {
        run_dir: settings.run_dir.clone(),
        program: std::env::current_exe().map_err(WorkError::Program)?,
        hide: vec![settings.data_dir.clone(), settings.key_file.clone()],
    };
    Ok(Arc::new(ProcessRuntime::new(options).map_err(WorkError::Process)?))
}
