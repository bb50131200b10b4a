//! The output of tasks between managers: one asks in an operator's place the one that a task's node is connected to.
//!
//! A call relays one task, no faster than it is read; dropping it tells the node to stop.

use super::logs::{LogBroker, LogEnd, LogEvent, LogReader};
use crate::{
    kit::{
        chain::chain,
        id::{BadId, NodeId, TaskId},
        limits::MESSAGE_SIZE,
        task::Stop,
    },
    raft::{Member, Peers, Raft},
    wire::v1::{self, log_end::Why, peer_client::PeerClient, peer_server::PeerServer},
};
use futures::stream::{self, BoxStream, StreamExt};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

/// Tasks asked for over one connection: fewer than the streams that a server takes at once (200).
const CALLS: usize = 100;

/// Answers other managers from the sessions of this one.
#[derive(Debug, Clone)]
pub struct RelayService {
    raft: Raft,
    logs: LogBroker,
    stop: Stop,
}

impl RelayService {
    pub(super) fn server(raft: Raft, logs: LogBroker, stop: Stop) -> PeerServer<Self> {
        PeerServer::new(Self { raft, logs, stop })
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE)
    }
}

#[tonic::async_trait]
impl v1::peer_server::Peer for RelayService {
    type RelayLogsStream = BoxStream<'static, Result<v1::RelayLogsResponse, Status>>;

    async fn relay_logs(
        &self,
        request: Request<v1::RelayLogsRequest>,
    ) -> Result<Response<Self::RelayLogsStream>, Status> {
        self.raft.check_peer(&request)?;
        let v1::RelayLogsRequest { node_id, task_id, options } = request.into_inner();
        let invalid = |error: BadId| Status::invalid_argument(error.to_string());
        let node: NodeId = node_id.parse().map_err(invalid)?;
        let task: TaskId = task_id.parse().map_err(invalid)?;
        let reader = self.logs.reader();
        if !self.logs.subscribe(&reader, node, task, &options.unwrap_or_default()) {
            // It left a moment ago, or is about to come.
            let end = LogEnd::Lost(format!("node {node} is not connected"));
            return Ok(Response::new(
                stream::iter([Ok(message(LogEvent::End { task, why: end }))]).boxed(),
            ));
        }
        let relayed = stream::unfold(Some(reader), |reader: Option<LogReader>| async move {
            let mut reader = reader?;
            let event = reader.next().await;
            let goes_on = matches!(event, LogEvent::Lines { .. });
            Some((Ok(message(event)), goes_on.then_some(reader)))
        });
        Ok(Response::new(relayed.take_until(self.stop.clone().cancelled_owned()).boxed()))
    }
}

fn message(event: LogEvent) -> v1::RelayLogsResponse {
    match event {
        LogEvent::Lines { task: _, lines } => v1::RelayLogsResponse { lines, end: None },
        LogEvent::End { task: _, why } => {
            let why = match why {
                LogEnd::Done => Why::Done(v1::log_end::Done {}),
                LogEnd::Failed(why) => Why::Failed(why),
                LogEnd::Lost(why) => Why::Lost(why),
            };
            v1::RelayLogsResponse { lines: Vec::new(), end: Some(v1::LogEnd { why: Some(why) }) }
        }
    }
}

/// Asks other managers for one operator. Its connections end with its last call.
#[derive(Debug, Clone)]
pub struct LogRelay {
    peers: Arc<dyn Peers>,
    /// With the calls made over each.
    channels: Arc<Mutex<BTreeMap<NodeId, (Channel, usize)>>>,
}

impl LogRelay {
    pub fn new(peers: Arc<dyn Peers>) -> Self {
        Self { peers, channels: Arc::default() }
    }

    /// The output of a task whose node is with `manager`, up to an end.
    pub fn ask(
        &self,
        manager: Member,
        node: NodeId,
        task: TaskId,
        options: v1::LogOptions,
    ) -> BoxStream<'static, LogEvent> {
        let (relay, id) = (self.clone(), manager.node);
        let lost = move |why: String| LogEvent::End {
            task,
            why: LogEnd::Lost(format!(
                "manager {id}, which has node {node}, does not answer: {why}"
            )),
        };
        let begin = async move {
            let request = v1::RelayLogsRequest {
                node_id: node.to_string(),
                task_id: task.to_string(),
                options: Some(options),
            };
            match relay.call(&manager, request).await {
                Ok(messages) => events(task, messages, lost),
                Err(why) => stream::iter([lost(why)]).boxed(),
            }
        };
        stream::once(begin).flatten().boxed()
    }

    async fn call(
        &self,
        manager: &Member,
        request: v1::RelayLogsRequest,
    ) -> Result<Streaming<v1::RelayLogsResponse>, String> {
        let channel = match self.known(manager.node) {
            Some(channel) => channel,
            None => {
                let channel = self.peers.channel(manager).await.map_err(|error| error.why)?;
                let mut channels = self.channels.lock().expect("no holder of this lock panics");
                channels.insert(manager.node, (channel.clone(), 1));
                channel
            }
        };
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE);
        match client.relay_logs(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                // Another time it may be at another address.
                self.channels.lock().expect("no holder of this lock panics").remove(&manager.node);
                Err(why(&status))
            }
        }
    }

    fn known(&self, manager: NodeId) -> Option<Channel> {
        let mut channels = self.channels.lock().expect("no holder of this lock panics");
        let (channel, calls) = channels.get_mut(&manager).filter(|(_, calls)| *calls < CALLS)?;
        *calls += 1;
        Some(channel.clone())
    }
}

fn events(
    task: TaskId,
    messages: Streaming<v1::RelayLogsResponse>,
    lost: impl Fn(String) -> LogEvent + Send + 'static,
) -> BoxStream<'static, LogEvent> {
    stream::unfold((Some(messages), lost), move |(messages, lost)| async move {
        let mut messages = messages?;
        let event = match messages.message().await {
            Ok(Some(v1::RelayLogsResponse { lines, end: None })) => {
                return Some((LogEvent::Lines { task, lines }, (Some(messages), lost)));
            }
            Ok(Some(v1::RelayLogsResponse { lines: _, end: Some(v1::LogEnd { why }) })) => {
                match why {
                    Some(Why::Done(v1::log_end::Done {})) => {
                        LogEvent::End { task, why: LogEnd::Done }
                    }
                    Some(Why::Failed(why)) => LogEvent::End { task, why: LogEnd::Failed(why) },
                    Some(Why::Lost(why)) => LogEvent::End { task, why: LogEnd::Lost(why) },
                    None => lost("it gave no reason".to_owned()),
                }
            }
            Ok(None) => lost("it stops".to_owned()),
            Err(status) => lost(why(&status)),
        };
        Some((event, (None, lost)))
    })
    .boxed()
}

fn why(status: &Status) -> String {
    match status.message() {
        "" => chain(status).to_string(),
        message => message.to_owned(),
    }
}
