//! Waits for what a container's health check says.

use super::{
    container_state,
    engine::{Engine, status},
};
use crate::{
    agent::runtime::{ContainerState, RuntimeError},
    kit::clock::{Clock, Timestamp},
};
use bollard::{
    Docker,
    models::{ContainerState as EngineState, HealthStatusEnum},
    query_parameters::{EventsOptions, InspectContainerOptions},
};
use futures::StreamExt;
use std::{collections::HashMap, time::Duration};

/// What the wait ended with.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is well, or has no check and simply runs.
    Well(ContainerState),
    /// The check gave it up.
    Unwell,
    /// It ended.
    Ended(ContainerState),
}

/// Which turn to wait for; an end is always one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    FirstVerdict,
    Unwell,
}

/// Waits until the container's health takes a turn.
///
/// Events only say that it is time to look again: what counts is what `inspect` shows, so none can be missed.
pub(super) async fn wait(
    engine: &Engine,
    docker: &Docker,
    container: &str,
    until: Until,
) -> Result<Turn, RuntimeError> {
    let clock = Clock::system();
    loop {
        let since = clock.now();
        let found = inspect(engine, docker, container).await?;
        let running = found.running == Some(true);
        let health = found.health.as_ref().and_then(|h| h.status);
        let state = container_state(container, &found);
        match (running, health, until) {
            (false, _, _) => return Ok(Turn::Ended(state)),
            (true, Some(HealthStatusEnum::UNHEALTHY), _) => return Ok(Turn::Unwell),
            (true, Some(HealthStatusEnum::STARTING), _) | (true, _, Until::Unwell) => {}
            (true, _, Until::FirstVerdict) => return Ok(Turn::Well(state)),
        }
        let news = &["health_status", "die", "destroy"];
        event(engine, docker, container, since, news).await?;
    }
}

/// Returns whether the container has a health check that is being made.
pub(super) fn is_checked(state: &EngineState) -> bool {
    state
        .health
        .as_ref()
        .and_then(|h| h.status)
        .is_some_and(|s| !matches!(s, HealthStatusEnum::NONE | HealthStatusEnum::EMPTY))
}

pub(super) async fn inspect(
    engine: &Engine,
    docker: &Docker,
    container: &str,
) -> Result<EngineState, RuntimeError> {
    match docker.inspect_container(container, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(found.state.unwrap_or_default()),
        Err(error) if status(&error) == Some(404) => Err(RuntimeError::Gone),
        Err(error) => Err(engine.explain(error)),
    }
}

/// Waits for the first of these events of the container since that moment.
pub(super) async fn event(
    engine: &Engine,
    docker: &Docker,
    container: &str,
    since: Timestamp,
    events: &[&str],
) -> Result<(), RuntimeError> {
    let only = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
    let options = EventsOptions {
        // The engine opens the stream only after we looked: it shall repeat what happened in between.
        since: Some(format!("{}.{:03}000000", since.0 / 1000, since.0 % 1000)),
        until: None,
        filters: Some(HashMap::from([
            ("type".to_owned(), only(&["container"])),
            ("container".to_owned(), only(&[container])),
            ("event".to_owned(), only(events)),
        ])),
    };
    match std::pin::pin!(docker.events(Some(options))).next().await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(engine.explain(error)),
        // The engine hung up, as it does when it ends; asking it again shows which.
        None => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        }
    }
}
