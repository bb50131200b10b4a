//! This node as a worker: chooses what starts its tasks, runs the agent, tells how both are.

use super::settings::{RuntimeChoice, Settings};
use crate::{
    agent::{
        Agent, AgentConfig, Ended, Handle, Manager,
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
use std::{fs, io, sync::Arc};
use tracing::{info, warn};

/// How long the tasks of a node that leaves may take to end: longer than a stop with its grace period.
const CLEARING: std::time::Duration = std::time::Duration::from_secs(60);
/// The file in the data directory that says which runtime this node was started with last; `auto` keeps to it.
const CHOICE: &str = "runtime";

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
    let chosen = decide(settings.runtime, &remembered, root);
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

/// `auto` keeps to what the node was. A task made for an image runs on the machine's own file system only where the operator
/// has said so, or where secretd may do no harm: an engine that does not answer may be late at a boot, or come to be
/// installed, and until then the node says that it is not ready.
fn decide(asked: RuntimeChoice, remembered: &str, root: bool) -> Chosen {
    match (asked, remembered) {
        (RuntimeChoice::Docker, _) | (RuntimeChoice::Auto, "docker") => Chosen::Docker,
        (RuntimeChoice::Process, _) | (RuntimeChoice::Auto, "process") => Chosen::Process,
        // Only root may mount what containers are given.
        (RuntimeChoice::Auto, _) if root => Chosen::Docker,
        (RuntimeChoice::Auto, _) => Chosen::Process,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_late_or_absent_is_waited_for_and_a_choice_is_kept() {
        use RuntimeChoice::{Auto, Docker, Process};
        assert_eq!(decide(Auto, "", true), Chosen::Docker, "whether or not it answers");
        assert_eq!(decide(Auto, "", false), Chosen::Process, "containers need root");
        assert_eq!(decide(Auto, "docker", false), Chosen::Docker, "it holds our tasks");
        assert_eq!(decide(Auto, "process", true), Chosen::Process, "an operator has said so");
        assert_eq!(decide(Docker, "process", true), Chosen::Docker);
        assert_eq!(decide(Process, "docker", true), Chosen::Process);
    }
}
