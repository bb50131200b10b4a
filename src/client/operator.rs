//! The operator's connection: one channel over the socket, calls that wait and repeat, an id for each change.

use super::{
    ClientError, Host,
    error::{broken, passing},
    trust::{Impostor, Trust},
};
use crate::{
    kit::{
        backoff::Backoff,
        id::ClientId,
        limits::{ANSWERS_PER_CLIENT, MESSAGE_SIZE},
    },
    wire::v1::{self, control_client::ControlClient, node_client::NodeClient},
};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::UnixStream, time::Instant};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

/// How long a call is repeated while the daemon is not ready; longer than an election.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a daemon that stopped listening in the middle may take to come back.
const RESTART: Duration = Duration::from_secs(5);
/// How long one attempt may take: a proposal's own deadline, and time to carry the largest payload.
const ATTEMPT: Duration = Duration::from_secs(20);
/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A connection to the daemon. Clones share it and its requests' ids.
#[derive(Debug, Clone)]
pub struct Client {
    host: Arc<Host>,
    channel: Channel,
    requests: Arc<Mutex<Requests>>,
    patience: Duration,
}

/// Where the ids of requests come from. Managers remember so many answers of each client; who makes more requests
/// than that goes on under another id, or one that is still under way would be forgotten before it is done.
#[derive(Debug)]
struct Requests {
    client: ClientId,
    made: usize,
}

impl Client {
    /// Connects to the daemon at `host`, `unix:///path`.
    ///
    /// # Errors
    /// No address, nobody there, not let in.
    pub async fn connect(host: &str) -> Result<Self, ClientError> {
        Self::connect_to(host, Trust::default()).await
    }

    /// Connects to the daemon at `host` if it is one of those that `trust` names.
    ///
    /// # Errors
    /// As [`Self::connect`]; somebody else serves the socket.
    pub async fn connect_to(host: &str, trust: Trust) -> Result<Self, ClientError> {
        let host: Host = host.parse()?;
        // Asked by hand first: the answer of the kernel is clearer than what a channel makes of it.
        let first = UnixStream::connect(&host.socket).await;
        let first = first.map_err(|error| ClientError::connect(&host, error))?;
        if let Err(Impostor { uid }) = trust.check(&first) {
            return Err(ClientError::Impostor { host, uid });
        }
        drop(first);
        let socket = host.socket.clone();
        let connector = tower::service_fn(move |_| {
            let (socket, trust) = (socket.clone(), trust);
            async move {
                let stream = UnixStream::connect(socket).await?;
                // Another may listen there by now.
                trust.check(&stream).map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The name is never looked up.
        let channel =
            Endpoint::from_static("http://secretd").connect_with_connector_lazy(connector);
        Ok(Self {
            host: Arc::new(host),
            channel,
            requests: Arc::new(Mutex::new(Requests { client: ClientId::random(), made: 0 })),
            patience: PATIENCE,
        })
    }

    /// Repeats calls no longer than this while the daemon is not ready.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The bare `Control` service, for calls this client has no method for.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_SIZE)
            .max_encoding_message_size(MESSAGE_SIZE)
    }

    /// The bare `Node` service.
    pub fn node_service(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// An id for the next request that changes something.
    pub(super) fn request_id(&self) -> Option<v1::RequestId> {
        let mut requests = self.requests.lock().expect("no holder of this lock panics");
        if requests.made == ANSWERS_PER_CLIENT {
            *requests = Requests { client: ClientId::random(), made: 0 };
        }
        requests.made += 1;
        let sequence = u64::try_from(requests.made).expect("at most ANSWERS_PER_CLIENT");
        Some(v1::RequestId { client_id: requests.client.to_string(), sequence })
    }

    /// Sends a request until it is answered, refused, or patience ends. Only for requests that may be repeated:
    /// those that read, and those that carry an id.
    pub(super) async fn call<M, R, F, A>(&self, message: M, send: F) -> Result<R, ClientError>
    where
        M: Clone,
        F: Fn(ControlClient<Channel>, Request<M>) -> A,
        A: Future<Output = Result<Response<R>, Status>>,
    {
        let started = Instant::now();
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let attempt = send(self.control(), Request::new(message.clone()));
            let status = match tokio::time::timeout(ATTEMPT, attempt).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("secretd did not answer in time"),
            };
            let patience = if broken(&status) { self.patience.min(RESTART) } else { self.patience };
            if !passing(&status) || started.elapsed() >= patience {
                return Err(ClientError::call(&self.host, &status));
            }
            tracing::debug!(code = ?status.code(), message = status.message(), "trying again");
            backoff.wait().await;
        }
    }

    /// Sends a request once.
    pub(super) async fn once<R>(
        &self,
        attempt: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<R, ClientError> {
        let response = attempt.await.map_err(|status| self.failed(&status))?;
        Ok(response.into_inner())
    }

    pub(super) fn failed(&self, status: &Status) -> ClientError {
        ClientError::call(&self.host, status)
    }
}
