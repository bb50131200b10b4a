//! Runs tasks as containers of a Docker Engine on this machine.
//!
//! Payloads never pass through the engine: it gets the paths of files that [`Place`] keeps on a tmpfs, and binds them
//! read-only at their targets. The engine keeps no state of ours but the labels, by which containers are known again.

mod engine;
mod health;
mod image;
mod labels;
mod logs;
mod oom;
mod spec;
mod tar;
mod users;

pub use engine::DEFAULT_HOST;

use super::{
    ContainerState, EngineInfo, Exit, File, Held, LogLine, LogOptions, Order, Runtime,
    RuntimeError, turns::Turns,
};
use crate::{
    agent::place::{Found, Place, Placed, TakenOver},
    crypto::plaintext::Plaintext,
    kit::{
        chain::chain,
        id::{NodeId, TaskId},
    },
    model::{Labels, reference::FileMode, reference::Target, service::STOP_GRACE, task::Task},
};
use bollard::{
    Docker,
    models::{ContainerState as EngineState, ContainerStateStatusEnum, ContainerSummary},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, ListContainersOptions, LogsOptions,
        RemoveContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
    },
};
use engine::{Engine, status};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use health::{Turn, Until};
use image::{Image, Known};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use users::Users;

/// Containers inspected at once when the agent looks for what it holds.
const INSPECTED_AT_ONCE: usize = 8;
/// What the engine may take beyond the grace to stop a container.
const BEYOND_GRACE: Duration = Duration::from_secs(60);

/// The docker runtime of one node.
#[derive(Debug)]
pub struct DockerRuntime {
    node: NodeId,
    engine: Arc<Engine>,
    place: Arc<Place>,
    turns: Turns,
    images: Known,
    /// The engine's ids of containers we made or found.
    containers: Mutex<BTreeMap<TaskId, String>>,
}

impl DockerRuntime {
    /// Uses the engine at `host` (`unix://…` or `tcp://…`, on this machine) and puts files into `place`. Connects when
    /// first needed; [`Runtime::info`] tells whether anybody answers.
    pub fn new(host: &str, node: NodeId, place: Place) -> Self {
        Self {
            node,
            engine: Arc::new(Engine::new(host)),
            place: Arc::new(place),
            turns: Turns::default(),
            images: Known::default(),
            containers: Mutex::new(BTreeMap::new()),
        }
    }

    /// The container of a task: remembered, or found by its label.
    async fn container(&self, docker: &Docker, task: TaskId) -> Result<String, RuntimeError> {
        let known = self.containers.lock().expect("no panic while held").get(&task).cloned();
        if let Some(id) = known {
            return Ok(id);
        }
        let found = self.list(docker, &format!("{}={task}", labels::TASK)).await?;
        let ours = |found: &ContainerSummary| {
            labels::recognise(found, self.node) == Some(labels::Ours::Task(task))
        };
        let id = found.into_iter().filter(ours).find_map(|c| c.id).ok_or(RuntimeError::Gone)?;
        self.remember(task, &id);
        Ok(id)
    }

    fn remember(&self, task: TaskId, container: &str) {
        let mut containers = self.containers.lock().expect("no panic while held");
        containers.insert(task, container.to_owned());
    }

    fn forget(&self, task: TaskId) {
        self.containers.lock().expect("no panic while held").remove(&task);
    }

    async fn list(
        &self,
        docker: &Docker,
        label: &str,
    ) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
            ..Default::default()
        };
        docker.list_containers(Some(options)).await.map_err(|e| self.engine.explain(e))
    }

    async fn delete(&self, docker: &Docker, container: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match docker.remove_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            // 409: somebody else is removing it at this moment.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(self.engine.explain(error)),
        }
    }

    /// Decides owners and modes, then writes the files. The paths come in the order of the references.
    async fn put_files(
        &self,
        docker: &Docker,
        order: &Order,
        image: &Image,
    ) -> Result<Vec<(PathBuf, Target)>, RuntimeError> {
        if order.files.is_empty() {
            return Ok(Vec::new());
        }
        let spec = &order.task.spec.container;
        let user = if spec.user.is_empty() { &image.user } else { &spec.user };
        let plain = users::plain_ids(user);
        let references: Vec<_> = order.files.iter().map(|f| f.reference.clone()).collect();
        let users = if spec::needs_users(&references, plain.is_some()) {
            self.images.users(&self.engine, docker, self.node, image).await?
        } else {
            Arc::new(Users::default())
        };
        let running_as = plain.or_else(|| users.running_as(user));
        let files: Vec<(spec::Access, Arc<Plaintext>)> = order
            .files
            .iter()
            .map(|File { reference, payload }| {
                let mut access = spec::access(reference, running_as, &users)
                    .map_err(|e| RuntimeError::Rejected(e.to_string()))?;
                access.ids = self.engine.on_host(access.ids);
                Ok((access, Arc::clone(payload)))
            })
            .collect::<Result<_, RuntimeError>>()?;
        let (place, task) = (Arc::clone(&self.place), order.task.id);
        let turn = self.turns.take(task).await;
        let paths = blocking(move || {
            let placed: Vec<Placed<'_>> = files
                .iter()
                .map(|(access, payload)| Placed {
                    uid: access.ids.uid,
                    gid: access.ids.gid,
                    mode: FileMode::new(access.mode).expect("made of checked modes"),
                    payload,
                })
                .collect();
            let paths = place.place(task, &placed);
            drop(placed);
            drop(files);
            drop(turn);
            paths
        })
        .await
        .map_err(|error| {
            RuntimeError::Rejected(format!("cannot put files in place: {}", chain(&error)))
        })?;
        // The engine's working directory is not ours.
        paths
            .into_iter()
            .zip(references)
            .map(|(path, reference)| Ok((std::path::absolute(path)?, reference.target)))
            .collect::<std::io::Result<_>>()
            .map_err(|error| RuntimeError::Rejected(format!("cannot put files in place: {error}")))
    }

    /// Ends a container its health check gave up.
    async fn unwell(&self, task: &str, docker: &Docker) -> Result<Exit, RuntimeError> {
        let grace = docker
            .inspect_container(task, None::<InspectContainerOptions>)
            .await
            .ok()
            .and_then(|found| found.config?.stop_timeout)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(STOP_GRACE, Duration::from_secs);
        let mut exit = self.end(docker, task, grace).await?;
        exit.note = "unhealthy container".to_owned();
        Ok(exit)
    }

    async fn end(
        &self,
        docker: &Docker,
        container: &str,
        grace: Duration,
    ) -> Result<Exit, RuntimeError> {
        let options =
            StopContainerOptions { t: Some(spec::whole_seconds(grace)), ..Default::default() };
        let patient = docker.clone().with_timeout(grace.saturating_add(BEYOND_GRACE));
        match patient.stop_container(container, Some(options)).await {
            Ok(()) => {}
            Err(error) if status(&error) == Some(404) => return Err(RuntimeError::Gone),
            Err(error) => return Err(self.engine.explain(error)),
        }
        self.ended(docker, container).await
    }

    /// Waits until the container does not run, and says how it ended.
    async fn ended(&self, docker: &Docker, container: &str) -> Result<Exit, RuntimeError> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let waited = std::pin::pin!(docker.wait_container(container, Some(options))).next().await;
        match waited {
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {}
            Some(Err(error)) if status(&error) == Some(404) => return Err(RuntimeError::Gone),
            Some(Err(error)) => return Err(self.engine.explain(error)),
            None => {
                return Err(RuntimeError::Unreachable("it hung up while we waited".to_owned()));
            }
        }
        let state = health::inspect(&self.engine, docker, container).await?;
        match container_state(container, &state) {
            ContainerState::Ended(exit) => Ok(exit),
            ContainerState::Created => Ok(Exit { code: 0, note: "never started".to_owned() }),
            ContainerState::Running { .. } => {
                Err(RuntimeError::Other("somebody started the container again".to_owned()))
            }
        }
    }
}

#[async_trait::async_trait]
impl Runtime for DockerRuntime {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let docker = self.engine.client().await?;
        let info = docker.info().await.map_err(|e| self.engine.explain(e))?;
        let labels: Labels = info
            .labels
            .unwrap_or_default()
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Ok(EngineInfo { version: info.server_version.unwrap_or_default(), labels })
    }

    async fn held(&self) -> Result<Vec<Held>, RuntimeError> {
        let docker = self.engine.client().await?;
        let label = format!("{}={}", labels::NODE, self.node);
        let mut ours = Vec::new();
        for found in self.list(&docker, &label).await? {
            let ours_as = labels::recognise(&found, self.node);
            let Some(id) = found.id else { continue };
            match ours_as {
                Some(labels::Ours::Probe) => self.delete(&docker, &id).await?,
                Some(labels::Ours::Task(task)) => ours.push((task, id)),
                None => tracing::warn!(
                    container = id,
                    names = ?found.names.unwrap_or_default(),
                    "a container has our labels but not a name of ours: left alone"
                ),
            }
        }
        let inspected: Vec<Option<Held>> = stream::iter(ours)
            .map(|(task, id)| {
                let docker = &docker;
                async move {
                    let state = match health::inspect(&self.engine, docker, &id).await {
                        Ok(state) => state,
                        Err(RuntimeError::Gone) => return Ok(None),
                        Err(error) => return Err(error),
                    };
                    self.remember(task, &id);
                    Ok(Some(Held { task, container: container_state(&id, &state) }))
                }
            })
            .buffer_unordered(INSPECTED_AT_ONCE)
            .try_collect()
            .await?;
        let mut held: Vec<Held> = inspected.into_iter().flatten().collect();
        held.sort_by_key(|h| h.task);
        let known: Vec<TaskId> = held.iter().map(|h| h.task).collect();
        let place = Arc::clone(&self.place);
        let over =
            blocking(move || place.take_over(|task| known.binary_search(&task).is_ok())).await;
        match over {
            Ok(TakenOver { wiped, changed }) => {
                for name in wiped {
                    tracing::info!(name, "wiped files that no container uses");
                }
                for (task, found) in changed {
                    match found {
                        Found::Sound => {}
                        Found::Mended(what) => {
                            tracing::warn!(%task, what, "put a task's files back as they were");
                        }
                        Found::Spoiled(what) => {
                            tracing::error!(%task, what, "a task's files on the host are not as they were placed");
                        }
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot wipe files that no container uses");
            }
        }
        Ok(held)
    }

    async fn create(&self, order: &Order) -> Result<(), RuntimeError> {
        let docker = self.engine.client().await?;
        let task: &Task = &order.task;
        match health::inspect(&self.engine, &docker, &task.name()).await {
            Ok(state) => match container_state("", &state) {
                ContainerState::Running { .. } | ContainerState::Ended(_) => return Ok(()),
                // Its files may be gone, with the machine's memory; made anew it is as if it had never been.
                ContainerState::Created => self.delete(&docker, &task.name()).await?,
            },
            Err(RuntimeError::Gone) => {}
            Err(error) => return Err(error),
        }
        let image = image::find_or_pull(&self.engine, &docker, &task.spec.container.image).await?;
        let files = self.put_files(&docker, order, &image).await?;
        let body = spec::container(task, self.node, &files);
        let options = CreateContainerOptions { name: Some(task.name()), ..Default::default() };
        match docker.create_container(Some(options), body).await {
            Ok(made) => {
                for warning in made.warnings.iter().filter(|w| !w.is_empty()) {
                    tracing::warn!(task = %task.id, warning, "the engine made the container, but");
                }
                self.remember(task.id, &made.id);
                Ok(())
            }
            Err(error) => {
                let error = self.engine.explain(error);
                self.wipe(task.id).await?;
                Err(error)
            }
        }
    }

    /// With a health check, comes back only after its first verdict.
    async fn start(&self, task: TaskId) -> Result<ContainerState, RuntimeError> {
        let docker = self.engine.client().await?;
        let container = self.container(&docker, task).await?;
        match docker.start_container(&container, None::<StartContainerOptions>).await {
            Ok(()) => {}
            Err(error) if status(&error) == Some(404) => {
                // The engine says 404 also for a program that is not in the image.
                let RuntimeError::Rejected(why) = self.engine.explain(error) else {
                    return Err(RuntimeError::Gone);
                };
                return Err(if why.starts_with("No such container") {
                    RuntimeError::Gone
                } else {
                    RuntimeError::Rejected(why)
                });
            }
            Err(error) => return Err(self.engine.explain(error)),
        }
        match health::wait(&self.engine, &docker, &container, Until::FirstVerdict).await? {
            Turn::Ended(ContainerState::Ended(exit)) => {
                let exit = oom::complete(&self.engine, &docker, &container, exit).await?;
                Ok(ContainerState::Ended(exit))
            }
            Turn::Well(state) | Turn::Ended(state) => Ok(state),
            Turn::Unwell => Ok(ContainerState::Ended(self.unwell(&container, &docker).await?)),
        }
    }

    /// A container whose health check gives it up later is stopped, and its exit says so.
    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        let docker = self.engine.client().await?;
        let container = self.container(&docker, task).await?;
        let state = health::inspect(&self.engine, &docker, &container).await?;
        if health::is_checked(&state)
            && let Turn::Unwell =
                health::wait(&self.engine, &docker, &container, Until::Unwell).await?
        {
            return self.unwell(&container, &docker).await;
        }
        let exit = self.ended(&docker, &container).await?;
        oom::complete(&self.engine, &docker, &container, exit).await
    }

    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Exit, RuntimeError> {
        let docker = self.engine.client().await?;
        let container = self.container(&docker, task).await?;
        self.end(&docker, &container, grace).await
    }

    async fn wipe(&self, task: TaskId) -> Result<(), RuntimeError> {
        let place = Arc::clone(&self.place);
        let turn = self.turns.take(task).await;
        let wipe = move || {
            let wiped = place.wipe(task);
            drop(turn);
            wiped
        };
        blocking(wipe).await.map_err(|error| {
            RuntimeError::Other(format!("cannot take a task's files away: {}", chain(&error)))
        })
    }

    async fn remove(&self, task: TaskId) -> Result<(), RuntimeError> {
        let docker = self.engine.client().await?;
        match self.container(&docker, task).await {
            Ok(container) => self.delete(&docker, &container).await?,
            Err(RuntimeError::Gone) => {}
            Err(error) => return Err(error),
        }
        self.forget(task);
        self.wipe(task).await
    }

    async fn logs(
        &self,
        task: TaskId,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        let docker = self.engine.client().await?;
        let container = self.container(&docker, task).await?;
        health::inspect(&self.engine, &docker, &container).await?;
        let LogOptions { follow, tail, since, stdout, stderr } = options;
        let asked = LogsOptions {
            follow,
            stdout,
            stderr,
            // In whole seconds, and only up to 2038; what is too old is left out below.
            since: since.and_then(|at| i32::try_from(at.0 / 1000).ok()).unwrap_or(0),
            until: 0,
            timestamps: true,
            tail: tail.map_or_else(|| "all".to_owned(), |n| n.to_string()),
        };
        let source = Box::pin(docker.logs(&container, Some(asked)));
        let engine = Arc::clone(&self.engine);
        let lines = stream::unfold(
            (Some(source), logs::Lines::default(), engine),
            |(mut source, mut lines, engine)| async move {
                loop {
                    if let Some(line) = lines.next() {
                        return Some((Ok(line), (source, lines, engine)));
                    }
                    match source.as_mut()?.next().await {
                        Some(Ok(output)) => lines.push(output),
                        Some(Err(error)) => {
                            let error = engine.explain(error);
                            return Some((Err(error), (None, lines, engine)));
                        }
                        None => {
                            lines.finish();
                            source = None;
                        }
                    }
                }
            },
        );
        let since = since.unwrap_or_default();
        Ok(lines
            .filter(move |line| {
                std::future::ready(line.as_ref().map_or(true, |line| line.at >= since))
            })
            .boxed())
    }
}

/// What the engine's state means to us.
fn container_state(container: &str, state: &EngineState) -> ContainerState {
    use ContainerStateStatusEnum as Status;
    match state.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => {
            ContainerState::Running {
                container_id: container.to_owned(),
                pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
            }
        }
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::REMOVING | Status::EXITED | Status::DEAD | Status::EMPTY) | None => {
            let note = if state.oom_killed == Some(true) {
                "out of memory".to_owned()
            } else {
                state.error.clone().unwrap_or_default()
            };
            let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
            ContainerState::Ended(Exit { code, note })
        }
    }
}

/// Runs work that may wait for a disk or a large copy where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
