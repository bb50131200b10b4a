//! This node as a worker: chooses what starts its tasks, runs the agent, tells how both are.

use super::settings::{RuntimeChoice, Settings};
use crate::{
    agent::{
        Agent, AgentConfig, Ended, Handle, Manager,
        place::{Place, PlaceError},
        runtime::{
            Runtime, RuntimeError,
            docker::{DEFAULT_HOST, DockerRuntime},
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
use std::{fs, io, path::Path, sync::Arc};
use tracing::{info, warn};

/// How long the tasks of a node that leaves may take to end: longer than a stop with its grace period.
const CLEARING: std::time::Duration = std::time::Duration::from_secs(60);
/// The file in the data directory that says which runtime this node was started with last; `auto` keeps to it.
const CHOICE: &str = "runtime";
/// What an installation of the engine leaves on a machine, also while it does not run.
const SIGNS: [&str; 9] = [
    "/var/run/docker.sock",
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/usr/local/bin/dockerd",
    "/usr/lib/systemd/system/docker.service",
    "/lib/systemd/system/docker.service",
    "/etc/systemd/system/docker.service",
    "/etc/init.d/docker",
    "/var/lib/docker",
];

/// Why this node cannot run tasks.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot set up the process runtime")]
    Process(#[source] RuntimeError),
    #[error("cannot find this program's own file")]
    Program(#[source] io::Error),
    #[error("cannot remember the chosen runtime in the data directory")]
    Remember(#[source] io::Error),
}

impl WorkError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Place(_) => {
                "run secretd as root with a --run-dir it may mount in, or use --runtime process"
            }
            Self::Process(_) | Self::Program(_) => "check that secretd may write to its --run-dir",
            Self::Remember(_) => "check the disk of the data directory",
        }
    }
}

/// The agent while it runs.
pub(super) struct Work {
    runtime: Arc<dyn Runtime>,
    handle: Handle,
    agent: Running<Ended>,
    stop: Stop,
}

impl Work {
    /// Starts the agent of `node`, which turns to these managers.
    pub(super) fn start(
        runtime: Arc<dyn Runtime>,
        node: NodeId,
        managers: Vec<Manager>,
        tls: &Tls,
    ) -> Self {
        let config = AgentConfig {
            node,
            tls: tls.clone(),
            managers,
            runtime: Arc::clone(&runtime),
            clock: Clock::system(),
        };
        let (agent, handle) = Agent::new(config);
        let stop = Stop::new();
        let agent = task::start("agent", agent.run(stop.clone()));
        Self { runtime, handle, agent, stop }
    }

    /// Fills in what `status` says of a worker.
    pub(super) async fn describe(&self, status: &mut StatusResponse) {
        self.runtime.name().clone_into(&mut status.runtime);
        match self.runtime.info().await {
            Ok(engine) => status.engine_version = engine.version,
            Err(error) => status.runtime_error = error.to_string(),
        }
        let seen = self.handle.seen();
        if !seen.connected {
            status.agent_error = seen.trouble.unwrap_or_default();
        }
    }

    /// Tells what the agent hears of this node and its managers.
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the agent and all its tasks. Returns whether nothing stays of them: the runtime may not answer for so long.
    pub(super) async fn clear(self) -> bool {
        self.handle.leave();
        tokio::select! {
            ended = self.agent.wait() => match ended {
                Ended::Removed => true,
                Ended::Stopped => false,
            },
            () = tokio::time::sleep(CLEARING) => {
                tracing::warn!("some tasks did not end in time; they go on without this node");
                self.stop.cancel();
                false
            }
        }
    }

    /// Ends the agent; tasks go on.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _: Ended = self.agent.wait().await;
    }
}

/// Sets up what starts the tasks of `node`.
///
/// # Errors
/// [`WorkError`]. An engine that does not answer is none: it may come back.
pub(super) async fn runtime(
    settings: &Settings,
    node: NodeId,
) -> Result<Arc<dyn Runtime>, WorkError> {
    let runtime = choose(settings, node).await?;
    info!(runtime = runtime.name(), "tasks run on");
    Ok(runtime)
}

async fn choose(settings: &Settings, node: NodeId) -> Result<Arc<dyn Runtime>, WorkError> {
    let memory = settings.data_dir.join(CHOICE);
    let remembered = fs::read_to_string(&memory).unwrap_or_default();
    let docker = || -> Result<Arc<dyn Runtime>, WorkError> {
        let place = Place::open(&settings.run_dir)?;
        Ok(Arc::new(DockerRuntime::new(&settings.docker_host, node, place)))
    };
    let root = rustix::process::geteuid().is_root();
    let chosen = decide(settings.runtime, &remembered, root, || signs_of_docker(settings));
    let runtime = match chosen {
        Chosen::Docker => docker()?,
        Chosen::Process => sandbox(settings)?,
    };
    if remembered != runtime.name() {
        if !remembered.is_empty() {
            warn!(
                before = remembered,
                now = runtime.name(),
                "this node runs tasks in another way than before; what it ran then is not looked after"
            );
        }
        fs::write(&memory, runtime.name()).map_err(WorkError::Remember)?;
    }
    Ok(runtime)
}

/// What starts the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Docker,
    Process,
}

/// Chooses once: an engine that is down at a later start still holds this node's tasks. Whether it answers just now does
/// not count either: it may be late at a boot, and then the node says that it is not ready.
fn decide(
    asked: RuntimeChoice,
    remembered: &str,
    root: bool,
    signs_of_docker: impl FnOnce() -> bool,
) -> Chosen {
    match (asked, remembered) {
        (RuntimeChoice::Docker, _) | (RuntimeChoice::Auto, "docker") => Chosen::Docker,
        (RuntimeChoice::Process, _) | (RuntimeChoice::Auto, "process") => Chosen::Process,
        // Only root may mount what containers are given.
        (RuntimeChoice::Auto, _) if root && signs_of_docker() => Chosen::Docker,
        (RuntimeChoice::Auto, _) => Chosen::Process,
    }
}

/// Whether this machine is meant to run containers, running or not.
fn signs_of_docker(settings: &Settings) -> bool {
    // Somebody has said where the engine is to be.
    let named = settings.docker_host != DEFAULT_HOST;
    named || SIGNS.iter().any(|path| Path::new(path).exists())
}

fn sandbox(settings: &Settings) -> Result<Arc<dyn Runtime>, WorkError> {
    let options = process::Options {
        run_dir: settings.run_dir.clone(),
        program: std::env::current_exe().map_err(WorkError::Program)?,
        hide: vec![settings.data_dir.clone(), settings.key_file.clone()],
    };
    Ok(Arc::new(ProcessRuntime::new(options).map_err(WorkError::Process)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_only_late_is_waited_for_and_a_choice_is_kept() {
        use RuntimeChoice::{Auto, Docker, Process};
        let there = || true;
        let absent = || false;
        assert_eq!(decide(Auto, "", true, there), Chosen::Docker, "whether or not it answers");
        assert_eq!(decide(Auto, "", true, absent), Chosen::Process);
        assert_eq!(decide(Auto, "", false, there), Chosen::Process, "containers need root");
        assert_eq!(decide(Auto, "docker", true, absent), Chosen::Docker, "it holds our tasks");
        assert_eq!(decide(Auto, "process", true, there), Chosen::Process);
        assert_eq!(decide(Docker, "process", true, absent), Chosen::Docker, "the operator says so");
        assert_eq!(decide(Process, "docker", true, there), Chosen::Process);
    }
}
