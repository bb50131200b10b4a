//! The client against a socket with nobody, with somebody not ready yet, and with somebody who refuses.

use super::*;
use crate::kit::{
    limits::ANSWERS_PER_CLIENT,
    task::{Running, start},
};
use crate::{
    crypto::plaintext::Plaintext,
    model::{
        Labels,
        object::Kind,
        refusal::{Refusal, RefusalKind},
    },
    wire::v1,
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, body::Body, server::NamedService, transport::Server};

/// Answers `CreateObject` with what it was told, and remembers the requests' ids.
#[derive(Clone, Default)]
struct Daemon {
    answers: Arc<Mutex<VecDeque<Result<v1::CreateObjectResponse, Status>>>>,
    heard: Arc<Mutex<Vec<v1::RequestId>>>,
}

impl Daemon {
    fn says(&self, answer: Result<v1::CreateObjectResponse, Status>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn serve(&self, path: &Path) -> Served {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder()
            .add_service(self.clone())
            .serve_with_incoming_shutdown(incoming, async move { drop(stopped.await) });
        Served { stop, running: start("daemon", async move { server.await.unwrap() }) }
    }
}

struct Served {
    stop: oneshot::Sender<()>,
    running: Running<()>,
}

impl Served {
    /// Ends the daemon and every connection to it.
    async fn stop(self) {
        drop(self.stop);
        self.running.wait().await;
    }
}

impl NamedService for Daemon {
    const NAME: &'static str = "secretd.v1.Control";
}

impl tower::Service<http::Request<Body>> for Daemon {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let me = self.clone();
        let handler = tower::service_fn(move |request: Request<v1::CreateObjectRequest>| {
            let mut message = request.into_inner();
            me.heard.lock().unwrap().push(message.request.take().unwrap());
            let answer = me.answers.lock().unwrap().pop_front().unwrap();
            async move { answer.map(Response::new) }
        });
        let codec = tonic_prost::ProstCodec::default();
        Box::pin(async move { Ok(tonic::server::Grpc::new(codec).unary(handler, request).await) })
    }
}

async fn create(client: &Client) -> Result<crate::kit::id::ObjectId, ClientError> {
    client.create_object(Kind::Secret, "x", Labels::new(), Plaintext::new(vec![1])).await
}

fn made() -> v1::CreateObjectResponse {
    v1::CreateObjectResponse { id: "0123456789abcdefghijklmno".into(), version: 1, existed: false }
}

#[tokio::test]
async fn nobody_at_the_socket_is_said_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/s.sock", dir.path().display());
    let error = Client::connect(&host).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { source, .. }
        if source.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().contains("/s.sock"));
    assert!(error.hint().unwrap().contains("is secretd running?"));
    assert!(matches!(Client::connect("tcp://1.2.3.4").await, Err(ClientError::Host(_))));
}

#[tokio::test]
async fn a_daemon_not_ready_yet_is_asked_again_under_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let daemon = Daemon::default();
    daemon.says(Err(Status::unavailable("no leader")));
    daemon.says(Err(Status::unavailable("no leader")));
    daemon.says(Ok(made()));
    daemon.says(Ok(made()));
    let _server = daemon.serve(&path);
    let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
    create(&client).await.unwrap();
    create(&client).await.unwrap();
    let heard = daemon.heard.lock().unwrap().clone();
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[1], heard[2]);
    assert_eq!(heard[3].client_id, heard[2].client_id);
    assert_eq!(heard[3].sequence, heard[2].sequence + 1);
}

#[tokio::test]
async fn no_id_stands_for_more_requests_than_managers_remember() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let _server = Daemon::default().serve(&path);
    let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
    let mut made = std::collections::BTreeMap::<_, Vec<_>>::new();
    for _ in 0..3 * ANSWERS_PER_CLIENT {
        let v1::RequestId { client_id, sequence } = client.request_id().unwrap();
        made.entry(client_id).or_default().push(sequence);
    }
    assert_eq!(made.len(), 3);
    let each: Vec<u64> = (1..=u64::try_from(ANSWERS_PER_CLIENT).unwrap()).collect();
    assert!(made.values().all(|sequences| *sequences == each));
}

#[tokio::test]
async fn a_refusal_is_final_and_keeps_its_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let daemon = Daemon::default();
    let no = Refusal::new(RefusalKind::Exists, "secret x already exists").hint("take another");
    daemon.says(Err(no.clone().into()));
    let _server = daemon.serve(&path);
    let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
    let error = create(&client).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(refusal) if *refusal == no), "{error:?}");
}

#[tokio::test]
async fn patience_ends_and_says_what_the_daemon_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let daemon = Daemon::default();
    daemon.says(Err(Status::unavailable("no leader")));
    let _server = daemon.serve(&path);
    let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
    let error = create(&client.with_patience(Duration::ZERO)).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::NotReady { message, .. } if message == "no leader"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_daemon_that_restarts_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let daemon = Daemon::default();
    daemon.says(Ok(made()));
    daemon.says(Ok(made()));
    let first = daemon.serve(&path);
    let client = Client::connect(&format!("unix://{}", path.display())).await.unwrap();
    create(&client).await.unwrap();
    first.stop().await;
    std::fs::remove_file(&path).unwrap();
    let (made, _second) = tokio::join!(create(&client), async { daemon.serve(&path) });
    made.unwrap();
}
