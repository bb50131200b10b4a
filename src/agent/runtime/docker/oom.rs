//! Finds out whether a container that was killed had run out of memory.
//!
//! The engine learns from containerd in two messages, with no order between them, that a container ended and that the
//! kernel killed it for its memory. So for a moment after the end, what the engine shows may lack the reason.

use super::{container_state, engine::Engine, health};
use crate::{
    agent::runtime::{ContainerState, Exit, RuntimeError},
    kit::clock::Timestamp,
};
use bollard::{Docker, query_parameters::InspectContainerOptions};
use std::time::Duration;

/// What a process ends with that the kernel killed.
const KILLED: i32 = 137;
/// The second message comes within milliseconds of the first, or never, if something else killed the process.
const LATE: Duration = Duration::from_secs(2);

/// Completes the exit of a container that we did not stop.
///
/// Waits for the engine's word on memory only where it may still come: for a process that was killed, without a reason
/// known yet, in a container with a limit.
pub(super) async fn complete(
    engine: &Engine,
    docker: &Docker,
    container: &str,
    exit: Exit,
) -> Result<Exit, RuntimeError> {
    if exit.code != KILLED || !exit.note.is_empty() {
        return Ok(exit);
    }
    let found = docker.inspect_container(container, None::<InspectContainerOptions>).await;
    let limit = match found {
        Ok(found) => found.host_config.and_then(|host| host.memory),
        Err(error) => return Err(engine.explain(error)),
    };
    if limit.is_none_or(|bytes| bytes <= 0) {
        return Ok(exit);
    }
    // The engine repeats what it told before, and sets the flag before it tells: neither can be missed.
    let told = health::event(engine, docker, container, Timestamp(0), &["oom"]);
    match tokio::time::timeout(LATE, told).await {
        Ok(told) => told?,
        Err(_) => return Ok(exit),
    }
    let state = health::inspect(engine, docker, container).await?;
    Ok(match container_state(container, &state) {
        ContainerState::Ended(exit) => exit,
        ContainerState::Created | ContainerState::Running { .. } => exit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::task::{self, Stop};
    use std::{
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
    };

    /// An engine whose only container was killed and has the limit `memory`. That it ran out of memory shows once the
    /// events were asked for, if `oom`.
    async fn answer(stream: &mut UnixStream, memory: i64, oom: Option<Arc<AtomicBool>>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let (body, ends) = if head.contains("/version") {
            (r#"{"ApiVersion":"1.47"}"#.to_owned(), true)
        } else if head.contains("/info") {
            ("{}".to_owned(), true)
        } else if head.contains("/events") {
            assert!(head.contains("oom"), "{head}");
            let told = oom.as_ref().map(|oom| oom.store(true, Ordering::SeqCst));
            let event = r#"{"Type":"container","Action":"oom","time":1}"#;
            (told.map_or_else(String::new, |()| format!("{event}\n")), oom.is_some())
        } else {
            let oom = oom.is_some_and(|oom| oom.load(Ordering::SeqCst));
            let state = format!(r#"{{"Status":"exited","ExitCode":137,"OOMKilled":{oom}}}"#);
            (format!(r#"{{"State":{state},"HostConfig":{{"Memory":{memory}}}}}"#), true)
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        if !ends {
            std::future::pending::<()>().await;
        }
    }

    async fn note(dir: &Path, memory: i64, oom: bool) -> String {
        let socket = dir.join(format!("{memory}-{oom}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let oom = oom.then(Arc::<AtomicBool>::default);
        let stop = Stop::new();
        let stopped = stop.clone();
        let serving = task::start("engine", async move {
            let mut answers = tokio::task::JoinSet::new();
            while let Some(accepted) = stopped.run_until_cancelled(listener.accept()).await {
                let (mut stream, _) = accepted.unwrap();
                let oom = oom.clone();
                answers.spawn(async move { answer(&mut stream, memory, oom).await });
            }
        });
        let engine = Engine::new(&format!("unix://{}", socket.display()));
        let docker = engine.client().await.unwrap();
        let killed = Exit { code: KILLED, note: String::new() };
        let exit = complete(&engine, &docker, "x", killed).await.unwrap();
        stop.cancel();
        serving.wait().await;
        assert_eq!(exit.code, KILLED);
        exit.note
    }

    #[tokio::test]
    async fn a_reason_that_comes_after_the_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(note(dir.path(), 8 << 20, true).await, "out of memory");
        assert_eq!(note(dir.path(), 8 << 20, false).await, "", "somebody else killed it");
        assert_eq!(note(dir.path(), 0, true).await, "", "without a limit nobody waits");
    }
}
