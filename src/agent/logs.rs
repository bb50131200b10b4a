//! Hands a task's output to a reader at the manager, for as long as there is output or a reader.

use super::runtime::{LogLine, LogOptions, Output, Runtime, RuntimeError};
use crate::{
    kit::{clock::Timestamp, id::TaskId},
    wire::v1::{self, dispatcher_client::DispatcherClient},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::{sync::Arc, time::Duration};
use tonic::transport::Channel;

/// Lines in one message, at most, …
const LINES: usize = 256;
/// … and bytes of them, so that many readers' messages fit into what a manager holds for one node.
const BYTES: usize = 64 * 1024;
/// How often we look whether a task that is being followed has come to have output.
const LOOK: Duration = Duration::from_millis(500);

/// What a subscription asks for.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) session: String,
    pub(super) id: String,
    pub(super) task: TaskId,
    pub(super) options: LogOptions,
}

pub(super) fn options(wire: v1::LogOptions) -> LogOptions {
    let v1::LogOptions { follow, tail, since_ms, stdout, stderr } = wire;
    LogOptions { follow, tail, since: since_ms.map(Timestamp), stdout, stderr }
}

/// Publishes until the output ends; dropped when the reader has gone.
pub(super) async fn publish(
    runtime: Arc<dyn Runtime>,
    mut client: DispatcherClient<Channel>,
    subscription: Subscription,
) {
    let (task, id) = (subscription.task, subscription.id.clone());
    if let Err(status) = client.publish_logs(messages(runtime, subscription)).await {
        tracing::warn!(%task, subscription = id, why = status.message(), "the manager takes no more output");
    }
}

/// The messages of a subscription. The first has no lines: it tells whose the stream is, should nothing follow.
fn messages(
    runtime: Arc<dyn Runtime>,
    subscription: Subscription,
) -> impl futures::Stream<Item = v1::PublishLogsRequest> + Send + 'static {
    let Subscription { session, id, task, options } = subscription;
    let make = move |lines, error| v1::PublishLogsRequest {
        session_id: session.clone(),
        subscription_id: id.clone(),
        lines,
        error,
    };
    let hello = make(Vec::new(), String::new());
    let lines = stream::once(open(runtime, task, options)).flatten();
    let rest = lines
        .ready_chunks(LINES)
        .flat_map(|chunk| stream::iter(split(chunk)))
        .map(move |(lines, error)| make(lines, error));
    stream::once(std::future::ready(hello)).chain(rest)
}

async fn open(
    runtime: Arc<dyn Runtime>,
    task: TaskId,
    options: LogOptions,
) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
    loop {
        match runtime.logs(task, options.clone()).await {
            Ok(lines) => return lines,
            // Its container is still to come; without one there is no output, which is no fault.
            Err(RuntimeError::Gone) if options.follow => tokio::time::sleep(LOOK).await,
            Err(RuntimeError::Gone) => return stream::empty().boxed(),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        }
    }
}

/// Cuts what is ready into messages.
fn split(chunk: Vec<Result<LogLine, RuntimeError>>) -> Vec<(Vec<v1::LogLine>, String)> {
    let mut messages = Vec::new();
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for item in chunk {
        match item {
            Ok(LogLine { at, output, line }) => {
                if bytes + line.len() > BYTES && !lines.is_empty() {
                    messages.push((std::mem::take(&mut lines), String::new()));
                    bytes = 0;
                }
                bytes += line.len();
                let output = match output {
                    Output::Stdout => v1::Output::Stdout,
                    Output::Stderr => v1::Output::Stderr,
                };
                lines.push(v1::LogLine { at_ms: at.0, output: output.into(), line });
            }
            Err(error) => messages.push((std::mem::take(&mut lines), error.to_string())),
        }
    }
    if !lines.is_empty() {
        messages.push((lines, String::new()));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(len: usize) -> Result<LogLine, RuntimeError> {
        Ok(LogLine { at: Timestamp(5), output: Output::Stderr, line: vec![b'x'; len] })
    }

    #[test]
    fn messages_stay_small_and_errors_keep_their_place() {
        let messages =
            split(vec![line(BYTES / 2), line(BYTES / 2), line(1), Err(RuntimeError::Gone)]);
        let shape: Vec<_> = messages.iter().map(|(l, e)| (l.len(), e.is_empty())).collect();
        assert_eq!(shape, [(2, true), (1, false)]);
        assert_eq!(messages[0].0[0].output, i32::from(v1::Output::Stderr));
        assert_eq!(split(vec![line(BYTES * 2), line(1)]).len(), 2);
    }
}
