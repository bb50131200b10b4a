//! Real TLS over loopback: who gets in, who does not, and what a change of certificates does.

use super::*;
use crate::{
    crypto::plaintext::Plaintext,
    kit::{
        clock::{Clock, Timestamp},
        id::{ClusterId, NodeId},
        task::{self, Running, Stop},
        testing::Log,
    },
    model::node::Role,
};
use rustls::{HandshakeKind, client::Resumption, pki_types::ServerName};
use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request, Status, body::Body, client::Grpc, codegen::http, server::NamedService,
    service::Routes, transport::Channel,
};

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp(1_790_000_000_000);

/// Answers every call with the node it came from, as the message of a status.
#[derive(Clone)]
struct Who;

impl NamedService for Who {
    const NAME: &'static str = "secretd.v1.Dispatcher";
}

impl tower::Service<http::Request<Body>> for Who {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let request = Request::from_http(request);
        let status = match Conn::peer(&request) {
            Ok(peer) => Status::already_exists(peer.node.to_string()),
            Err(status) => status,
        };
        std::future::ready(Ok(status.into_http()))
    }
}

/// A cluster's CA and its clock.
struct World {
    ca: Authority,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        Self { ca: Authority::generate(ClusterId::random(), START), clock: Clock::manual(START) }
    }

    fn identity(&self, node: NodeId, role: Role) -> Identity {
        issue(&self.ca, node, role, self.clock.now())
    }

    fn stranger(&self) -> Tls {
        Tls::new(self.ca.cluster(), &[self.ca.certificate()], self.clock.clone()).unwrap()
    }

    fn tls(&self, node: NodeId, role: Role) -> Tls {
        let tls = self.stranger();
        tls.set_identity(&self.identity(node, role)).unwrap();
        tls
    }

    async fn manager(&self) -> Manager {
        let node = NodeId::random();
        Manager::start(node, self.tls(node, Role::Manager)).await
    }
}

fn issue(ca: &Authority, node: NodeId, role: Role, now: Timestamp) -> Identity {
    let key = PrivateKey::generate();
    let chain = ca.issue(&key.request(), node, role, now, 72 * HOUR).unwrap();
    Identity::new(key, chain).unwrap()
}

/// A listener that serves [`Who`].
struct Manager {
    node: NodeId,
    addr: SocketAddr,
    tls: Tls,
    stop: Stop,
    accept: Running<()>,
    serve: Running<()>,
}

impl Manager {
    async fn start(node: NodeId, tls: Tls) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let stop = Stop::new();
        let (incoming, accept) = listen(tcp, &tls, KnownAddrs::default(), stop.clone());
        let serve = task::start("serve", async move {
            serve(incoming, |_| Routes::new(Who)).await.unwrap();
        });
        Self { node, addr, tls, stop, accept, serve }
    }

    async fn connect(&self, tls: &Tls) -> Result<Channel, ConnectError> {
        connect(tls, &self.addr.to_string(), self.node).await
    }

    /// Who the manager takes us for; the connection may be refused at any step.
    async fn whoami(&self, tls: &Tls) -> Result<NodeId, String> {
        let channel = self.connect(tls).await.map_err(|err| chain(&err))?;
        whoami(channel).await.map_err(|status| match status.code() {
            Code::Unauthenticated => "no peer".to_owned(),
            _ => chain(&status),
        })
    }

    async fn stop(self) {
        self.stop.cancel();
        self.accept.wait().await;
        self.serve.wait().await;
    }
}

async fn whoami(channel: Channel) -> Result<NodeId, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|err| Status::unavailable(chain(&err)))?;
    let path = http::uri::PathAndQuery::from_static("/secretd.v1.Dispatcher/Heartbeat");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let status = grpc.unary(Request::new(()), path, codec).await.unwrap_err();
    if status.code() == Code::AlreadyExists {
        Ok(status.message().parse().unwrap())
    } else {
        Err(status)
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    crate::kit::chain::chain(error).to_string()
}

#[tokio::test]
async fn a_node_of_the_cluster_is_known_by_its_certificate() {
    let world = World::new();
    let manager = world.manager().await;
    for role in [Role::Worker, Role::Manager] {
        let node = NodeId::random();
        assert_eq!(manager.whoami(&world.tls(node, role)).await, Ok(node));
    }
    manager.stop().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_connects_and_is_nobody() {
    let world = World::new();
    let manager = world.manager().await;
    assert_eq!(manager.whoami(&world.stranger()).await, Err("no peer".into()));
    manager.stop().await;
}

#[tokio::test]
async fn a_client_under_a_foreign_ca_is_refused() {
    let (world, other) = (World::new(), World::new());
    let manager = world.manager().await;
    // It trusts our manager, and shows a certificate for our cluster, but of its own CA.
    let forger = Authority::generate(world.ca.cluster(), START);
    let (tls, log, node) = (world.stranger(), Log::listen(), NodeId::random());
    tls.set_identity(&issue(&forger, node, Role::Manager, START)).unwrap();
    let refused = manager.whoami(&tls).await.unwrap_err();
    assert!(refused.contains("does not trust the CA that signed this node's"), "{refused}");
    let why = "its certificate is not signed by a CA that this node trusts";
    log.has(&["WARN", "refused a connection by its certificate", "127.0.0.1", node.as_str(), why]);
    // And it is refused when it trusts only its own.
    let error = manager.whoami(&other.tls(NodeId::random(), Role::Worker)).await.unwrap_err();
    assert!(error.contains("not signed by a CA that this node trusts"), "{error}");
    manager.stop().await;
}

#[tokio::test]
async fn an_identity_of_another_cluster_cannot_be_shown() {
    let (world, other) = (World::new(), World::new());
    let error = world.stranger().set_identity(&other.identity(NodeId::random(), Role::Worker));
    assert!(matches!(error, Err(TlsError::Foreign(BadCertificate::Cluster(_)))));
}

#[tokio::test]
async fn a_client_of_another_cluster_is_refused_even_under_our_own_ca() {
    let world = World::new();
    let manager = world.manager().await;
    let (certificate, key) = Authority::generate(ClusterId::random(), START).into_parts();
    manager.tls.set_roots(&[world.ca.certificate(), &certificate]).unwrap();
    let name = format!("{}.{}.internal", manager.node, world.ca.cluster());
    for cluster in [world.ca.cluster(), ClusterId::random()] {
        let key = Plaintext::new(key.expose().to_vec());
        let ca = Authority::open(cluster, &certificate, key).unwrap();
        let shown = Tls::new(cluster, &[&certificate], world.clock.clone()).unwrap();
        shown.set_identity(&issue(&ca, NodeId::random(), Role::Worker, START)).unwrap();
        let mut config = Arc::unwrap_or_clone(world.stranger().client_config());
        config.client_auth_cert_resolver = Arc::new(shown);
        let tcp = TcpStream::connect(manager.addr).await.unwrap();
        let name = ServerName::try_from(name.clone()).unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let answer = connecting.await.unwrap().read_u8().await;
        assert_eq!(answer.is_ok(), cluster == world.ca.cluster(), "{answer:?}");
    }
    manager.stop().await;
}

#[tokio::test]
async fn an_expired_client_is_refused() {
    let world = World::new();
    let manager = world.manager().await;
    let (node, log) = (NodeId::random(), Log::listen());
    let tls = world.tls(node, Role::Worker);
    world.clock.advance(71 * HOUR);
    manager.tls.set_identity(&world.identity(manager.node, Role::Manager)).unwrap();
    manager.whoami(&tls).await.unwrap();
    world.clock.advance(2 * HOUR);
    let refused = manager.whoami(&tls).await.unwrap_err();
    assert!(
        refused.contains("says that this node's certificate has expired, or is not valid yet"),
        "{refused}"
    );
    log.has(&["WARN", "127.0.0.1", node.as_str(), "its certificate has expired"]);
    manager.stop().await;
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let world = World::new();
    let manager = world.manager().await;
    world.clock.advance(73 * HOUR);
    let error = manager.whoami(&world.tls(NodeId::random(), Role::Worker)).await.unwrap_err();
    assert!(error.contains("expired"), "{error}");
    manager.stop().await;
}

#[tokio::test]
async fn a_manager_that_is_not_the_one_called_is_refused() {
    let world = World::new();
    let manager = world.manager().await;
    let tls = world.tls(NodeId::random(), Role::Worker);
    let other = NodeId::random();
    let error = connect(&tls, &manager.addr.to_string(), other).await.unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with(&format!("cannot connect to node {other} at ")), "{text}");
    assert!(text.contains("another node than the one that was called"), "{text}");
    manager.stop().await;
}

#[tokio::test]
async fn a_worker_cannot_pose_as_a_manager() {
    let world = World::new();
    let node = NodeId::random();
    let worker = Manager::start(node, world.tls(node, Role::Worker)).await;
    let error = worker.whoami(&world.tls(NodeId::random(), Role::Worker)).await.unwrap_err();
    assert!(error.contains(&format!("node {node} is no manager")), "{error}");
    worker.stop().await;
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let world = World::new();
    let manager = world.manager().await;
    let mut stream = TcpStream::connect(manager.addr).await.unwrap();
    stream.write_all(&tls12_hello()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Alert, of two bytes: fatal, protocol_version.
    assert_eq!((answer[0], &answer[5..]), (0x15, [2, 70].as_slice()));
    manager.stop().await;
}

/// A ClientHello as a client that knows nothing newer would send it.
fn tls12_hello() -> Vec<u8> {
    let extensions = [
        &[0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x1d][..], // supported_groups: x25519
        &[0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03],     // signature_algorithms: ecdsa_secp256r1_sha256
        &[0x00, 0x0b, 0, 2, 1, 0],                 // ec_point_formats: uncompressed
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 2, 0xc0, 0x2b]); // ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    body.extend([1, 0]); // no compression
    body.extend([0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let mut hello = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    hello.extend(body);
    let mut record = vec![0x16, 3, 1, 0, u8::try_from(hello.len()).unwrap()];
    record.extend(hello);
    record
}

#[tokio::test]
async fn a_session_is_never_resumed_even_if_the_client_would_like_to() {
    let world = World::new();
    let manager = world.manager().await;
    let mut config =
        Arc::unwrap_or_clone(world.tls(NodeId::random(), Role::Worker).client_config());
    config.resumption = Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(config));
    let name = format!("{}.{}.internal", manager.node, world.ca.cluster());
    for _ in 0..3 {
        let tcp = TcpStream::connect(manager.addr).await.unwrap();
        let name = ServerName::try_from(name.clone()).unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        // The server's first words come after any ticket it might have sent.
        stream.read_u8().await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
    manager.stop().await;
}

#[tokio::test]
async fn a_new_identity_shows_on_the_same_listener_and_the_same_client() {
    let world = World::new();
    let manager = world.manager().await;
    let (first, second) = (NodeId::random(), NodeId::random());
    let tls = world.tls(first, Role::Worker);
    let old = manager.connect(&tls).await.unwrap();
    assert_eq!(whoami(old.clone()).await.unwrap(), first);
    tls.set_identity(&world.identity(second, Role::Worker)).unwrap();
    assert_eq!(manager.whoami(&tls).await, Ok(second));
    assert_eq!(whoami(old).await.unwrap(), first, "an open connection goes on as it was");
    // The server renews after its first certificate has run out for newcomers.
    world.clock.advance(100 * HOUR);
    tls.set_identity(&world.identity(first, Role::Worker)).unwrap();
    manager.whoami(&tls).await.unwrap_err();
    manager.tls.set_identity(&world.identity(manager.node, Role::Manager)).unwrap();
    assert_eq!(manager.whoami(&tls).await, Ok(first));
    manager.stop().await;
}

#[tokio::test]
async fn new_roots_take_effect_on_both_sides_at_once() {
    let world = World::new();
    let next = Authority::generate(world.ca.cluster(), START);
    let manager = world.manager().await;
    let node = NodeId::random();
    let tls = world.stranger();
    tls.set_identity(&issue(&next, node, Role::Worker, START)).unwrap();
    manager.whoami(&tls).await.unwrap_err();
    manager.tls.set_roots(&[world.ca.certificate(), next.certificate()]).unwrap();
    assert_eq!(manager.whoami(&tls).await, Ok(node));
    // The manager moves to the next CA: who has not heard of it yet does not trust it any more.
    manager.tls.set_identity(&issue(&next, manager.node, Role::Manager, START)).unwrap();
    manager.whoami(&tls).await.unwrap_err();
    tls.set_roots(&[next.certificate()]).unwrap();
    assert_eq!(manager.whoami(&tls).await, Ok(node));
    // The old CA is dropped.
    manager.tls.set_roots(&[next.certificate()]).unwrap();
    tls.set_identity(&world.identity(node, Role::Worker)).unwrap();
    manager.whoami(&tls).await.unwrap_err();
    manager.stop().await;
}

#[tokio::test]
async fn roots_that_are_none_change_nothing() {
    let world = World::new();
    let manager = world.manager().await;
    assert!(matches!(manager.tls.set_roots(&[]), Err(TlsError::NoRoots)));
    assert!(matches!(manager.tls.set_roots(&[b"nonsense"]), Err(TlsError::Root(_))));
    manager.whoami(&world.tls(NodeId::random(), Role::Worker)).await.unwrap();
    manager.stop().await;
}

#[tokio::test]
async fn first_contact_finds_the_pinned_ca_and_no_other() {
    let (world, other) = (World::new(), World::new());
    let manager = world.manager().await;
    let addr = manager.addr.to_string();
    let contact = first_contact(&addr, world.ca.digest(), &world.clock).await.unwrap();
    assert_eq!(contact.ca, world.ca.certificate());
    assert_eq!(whoami(contact.channel).await.unwrap_err().code(), Code::Unauthenticated);
    let error = first_contact(&addr, other.ca.digest(), &world.clock).await.unwrap_err();
    assert!(chain(&error).contains("not the one that the join token names"), "{error:?}");
    manager.stop().await;
}

#[tokio::test]
async fn first_contact_refuses_whoever_merely_shows_the_pinned_certificate() {
    let world = World::new();
    let forger = Authority::generate(world.ca.cluster(), START);
    let (node, key) = (NodeId::random(), PrivateKey::generate());
    let mut chain = forger.issue(&key.request(), node, Role::Manager, START, HOUR).unwrap();
    chain[1] = world.ca.certificate().to_vec();
    let tls = world.stranger();
    tls.set_identity(&Identity::new(key, chain).unwrap()).unwrap();
    let manager = Manager::start(node, tls).await;
    let addr = manager.addr.to_string();
    first_contact(&addr, world.ca.digest(), &world.clock).await.unwrap_err();
    manager.stop().await;
}

#[tokio::test]
async fn silent_clients_do_not_keep_others_out() {
    let world = World::new();
    let manager = world.manager().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(manager.addr).await.unwrap());
    }
    manager.whoami(&world.tls(NodeId::random(), Role::Worker)).await.unwrap();
    manager.stop().await;
}

#[tokio::test]
async fn who_knows_only_one_of_two_cas_gets_along_with_nodes_of_both() {
    let world = World::new();
    let next = Authority::generate(world.ca.cluster(), START);
    let crossed = world.ca.cross_sign(&next, START);
    let next = next.crossing(crossed);
    let manager = world.manager().await;
    let both: [&[u8]; 2] = [next.certificate(), world.ca.certificate()];
    let (node, old) = (NodeId::random(), NodeId::random());
    // The client has a certificate of the new CA, the manager has not heard of it yet.
    let tls = world.stranger();
    tls.set_identity(&issue(&next, node, Role::Worker, START)).unwrap();
    assert_eq!(manager.whoami(&tls).await, Ok(node));
    // The manager has moved, the client has slept since before.
    manager.tls.set_roots(&both).unwrap();
    manager.tls.set_identity(&issue(&next, manager.node, Role::Manager, START)).unwrap();
    let sleeper = world.tls(old, Role::Worker);
    assert_eq!(manager.whoami(&sleeper).await, Ok(old));
    // A machine that joins with a token of the new CA finds it.
    let addr = manager.addr.to_string();
    let contact = first_contact(&addr, next.digest(), &world.clock).await.unwrap();
    assert_eq!(contact.ca, next.certificate());
    let error = first_contact(&addr, world.ca.digest(), &world.clock).await.unwrap_err();
    assert_eq!(TlsRefusal::find(&error), Some(&TlsRefusal::AnotherCa));
    // The old CA goes.
    manager.tls.set_roots(&[next.certificate()]).unwrap();
    let refused = manager.whoami(&sleeper).await.unwrap_err();
    assert!(refused.contains("does not trust the CA that signed this node's"), "{refused}");
    // It vouches for the new one, not the other way round.
    let newcomer = Tls::new(next.cluster(), &[next.certificate()], world.clock.clone()).unwrap();
    assert_eq!(manager.whoami(&newcomer).await, Err("no peer".into()));
    manager.tls.set_identity(&world.identity(manager.node, Role::Manager)).unwrap();
    let refused = manager.whoami(&newcomer).await.unwrap_err();
    assert!(refused.contains("not signed by a CA that this node trusts"), "{refused}");
    manager.stop().await;
}

#[tokio::test]
async fn open_connections_end_with_the_trust_in_the_ca_behind_them() {
    let world = World::new();
    let next = Authority::generate(world.ca.cluster(), START);
    let crossed = world.ca.cross_sign(&next, START);
    let next = next.crossing(crossed);
    let manager = world.manager().await;
    let both: [&[u8]; 2] = [next.certificate(), world.ca.certificate()];
    let node = NodeId::random();
    let raw = async |tls: &Tls| {
        let name = ServerName::try_from(format!("{}.{}.internal", manager.node, tls.cluster()));
        let tcp = TcpStream::connect(manager.addr).await.unwrap();
        TlsConnector::from(tls.client_config()).connect(name.unwrap(), tcp).await.unwrap()
    };
    // By the server's own judgement: these streams do not end by themselves.
    let (moved, stays) = (world.stranger(), world.tls(NodeId::random(), Role::Worker));
    moved.set_identity(&issue(&next, node, Role::Worker, START)).unwrap();
    let (mut new, mut old) = (raw(&moved).await, raw(&stays).await);
    let mut hello = [0; 9];
    manager.tls.set_roots(&both).unwrap();
    manager.tls.set_roots(&[next.certificate()]).unwrap();
    let ended = tokio::io::copy(&mut old, &mut tokio::io::sink()).await;
    assert!(ended.is_err() || ended.is_ok_and(|bytes| bytes < 1000));
    new.read_exact(&mut hello).await.unwrap();
    drop((new, old));
    manager.tls.set_roots(&both).unwrap();

    // By the client's: with a certificate of another CA it connects anew.
    let tls = world.tls(node, Role::Worker);
    let opened = manager.connect(&tls).await.unwrap();
    assert_eq!(whoami(opened.clone()).await.unwrap(), node);
    let other = NodeId::random();
    tls.set_identity(&world.identity(other, Role::Worker)).unwrap();
    assert_eq!(whoami(opened.clone()).await.unwrap(), node, "of the same CA, it goes on");
    tls.set_identity(&issue(&next, other, Role::Worker, START)).unwrap();
    // The call that finds the connection ended may fail; the next opens another.
    let now = match whoami(opened.clone()).await {
        Ok(now) => Ok(now),
        Err(_) => whoami(opened).await,
    };
    assert_eq!(now.unwrap(), other);
    manager.stop().await;
}
