//! A manager for tests: a real store on disk, `Control` on a Unix socket, `Dispatcher` behind mutual TLS.

use super::{control::ControlService, dispatcher::DispatcherService};
use crate::{
    client::Client,
    crypto::{
        context::Context, key::Key, keychain::Keychain, keyring::Keyring, plaintext::Plaintext,
    },
    kit::{
        clock::{Clock, Timestamp},
        id::{ClusterId, NodeId, ServiceId, TaskId},
        task::{Running, Stop, start},
    },
    model::{
        Meta,
        cluster::{Cluster, ClusterSettings, Token},
        command::{Command, TaskChange},
        node::{
            Availability, CertificateStatus, ManagerStatus, Node, NodeDescription, NodeState,
            NodeStatus, Role, Standing,
        },
        sightings::{KeyHash, ShownKey},
        task::{Task, TaskState, TaskStatus},
    },
    pki::{self, Authority, Identity, Office, Peer, PrivateKey, Tls},
    raft::{Alone, Member, Options, PeerError, Peers, Raft},
    wire::v1::{
        control_server::ControlServer, dispatcher_client::DispatcherClient, peer_client::PeerClient,
    },
};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::Routes,
    transport::{Channel, Server},
};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct Manager {
    pub(crate) raft: Raft,
    pub(crate) node: NodeId,
    pub(crate) control: ControlService,
    ca: Authority,
    keys: Arc<Keychain>,
    clock: Clock,
    addr: SocketAddr,
    dir: tempfile::TempDir,
    stop: Stop,
    running: Vec<Running<()>>,
}

/// A second manager, with nothing but its dispatcher.
pub(crate) struct Beside {
    pub(crate) node: NodeId,
    addr: SocketAddr,
    stop: Stop,
    running: Vec<Running<()>>,
}

impl Beside {
    pub(crate) fn stop(self) {
        self.stop.cancel();
        drop(self.running);
    }
}

async fn serve(
    dispatcher: &DispatcherService,
    who: (NodeId, Office),
    ca: &Authority,
    clock: &Clock,
    stop: &Stop,
) -> (SocketAddr, Vec<Running<()>>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = tcp.local_addr().unwrap();
    let known = pki::KnownAddrs::default();
    let (incoming, accepting) = pki::listen(tcp, &tls_of(ca, who, clock), known, stop.clone());
    let routes = Routes::new(dispatcher.server()).add_service(dispatcher.relay());
    let workers = pki::serve(incoming, move |_| routes.clone());
    (addr, vec![accepting, start("workers", async move { workers.await.unwrap() })])
}

/// What the manager that founds the cluster is.
pub(crate) const FOUNDER: Office = Office::Manager { raft_id: 1 };

/// A manager's way to the others.
#[derive(Debug)]
struct Dial(Tls);

#[async_trait::async_trait]
impl Peers for Dial {
    async fn channel(&self, member: &Member) -> Result<Channel, PeerError> {
        Ok(pki::channel(&self.0, &member.addr, member.node))
    }
}

fn tls_of(ca: &Authority, (node, office): (NodeId, Office), clock: &Clock) -> Tls {
    let tls = Tls::new(ca.cluster(), &[ca.certificate()], clock.clone()).unwrap();
    tls.set_identity(&issue(ca, node, office, clock.now())).unwrap();
    tls
}

impl Manager {
    pub(crate) async fn start() -> Self {
        Self::with_heartbeat(Duration::from_secs(5)).await
    }

    pub(crate) async fn with_heartbeat(heartbeat: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cluster, node, clock) = (ClusterId::random(), NodeId::random(), Clock::system());
        let ca = Authority::generate(cluster, clock.now());
        let root = Arc::new(Key::random());
        let (keyring, terms) = Keyring::generate(&root, cluster);
        let keys = Keychain::open(Arc::clone(&root), None, cluster, &terms).unwrap();
        let keys = Arc::new(keys);
        let options = Options {
            dir: dir.path().join("raft"),
            cluster,
            node,
            raft_id: 1,
            key: Arc::new(Key::random().into()),
            clock: clock.clone(),
            witness: None,
            fellows: None,
        };
        let member = Member { node, addr: "127.0.0.1:2390".into() };
        let raft = Raft::found(options, member, Arc::new(Alone)).await.unwrap();
        let cluster = Cluster {
            id: cluster,
            meta: Meta::default(),
            settings: ClusterSettings { heartbeat, ..ClusterSettings::default() },
            ca_certificate: ca.certificate().to_vec(),
            ca_key: keyring.seal(&Context::authority_key(cluster), Plaintext::new(vec![1])),
            keyring: terms,
            next_raft_id: 2,
            rotation: None,
            tokens: Vec::new(),
            unlockers: Vec::new(),
            key_files: true,
            backup: None,
            rekeying: Default::default(),
            former_managers: Vec::new(),
            root: crate::model::cluster::RootStatus::first(root.id(keys.cluster()), clock.now()),
        };
        let found = Command::Found { cluster: Box::new(cluster), node: Box::new(founder(node)) };
        raft.propose(None, found).await.unwrap();

        let stop = Stop::new();
        let dispatcher = DispatcherService::new(
            raft.clone(),
            node,
            Arc::clone(&keys),
            clock.clone(),
            stop.clone(),
        );
        let control = ControlService::new(
            raft.clone(),
            Arc::clone(&keys),
            node,
            dispatcher.logs(),
            Arc::new(Dial(tls_of(&ca, (node, FOUNDER), &clock))),
            stop.clone(),
        );
        let socket = UnixListener::bind(dir.path().join("s.sock")).unwrap();
        let operators = Server::builder()
            .add_service(ControlServer::new(control.clone()))
            .serve_with_incoming(UnixListenerStream::new(socket));
        let (addr, mut running) = serve(&dispatcher, (node, FOUNDER), &ca, &clock, &stop).await;
        running.extend([
            start("operators", async move { operators.await.unwrap() }),
            start("dispatcher", dispatcher.run()),
        ]);
        Self { raft, node, control, ca, keys, clock, addr, dir, stop, running }
    }

    /// A second manager's dispatcher on the same store, with a row of its own.
    pub(crate) async fn beside(&self) -> Beside {
        let node = NodeId::random();
        let token = Token {
            hash: [7; 32],
            role: Role::Manager,
            created_at: Timestamp(1),
            expires_at: None,
            uses_left: None,
        };
        let (hash, row) = (token.hash, Node { manager: None, ..founder(node) });
        let stop = Stop::new();
        let keys = Arc::clone(&self.keys);
        let (raft, clock) = (self.raft.clone(), self.clock.clone());
        let dispatcher = DispatcherService::new(raft, node, keys, clock, stop.clone());
        let (addr, mut running) =
            serve(&dispatcher, (node, Office::Candidate), &self.ca, &self.clock, &stop).await;
        for command in [
            Command::AddToken { token, revoke: false },
            Command::JoinNode { token: hash, node: Box::new(row) },
            Command::AdmitManager { id: node, addr: addr.to_string() },
        ] {
            self.raft.propose(None, command).await.unwrap();
        }
        running.push(start("dispatcher", dispatcher.run()));
        Beside { node, addr, stop, running }
    }

    /// A connection of this manager's node to another manager.
    pub(crate) fn elsewhere(&self, other: &Beside) -> DispatcherClient<Channel> {
        let tls = self.stranger();
        tls.set_identity(&issue(&self.ca, self.node, Office::Worker, self.clock.now())).unwrap();
        DispatcherClient::new(pki::channel(&tls, &other.addr.to_string(), other.node))
    }

    pub(crate) fn keys(&self) -> Arc<Keychain> {
        Arc::clone(&self.keys)
    }

    /// Where it keeps everything.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// An operator's connection.
    pub(crate) async fn operator(&self) -> Client {
        let host = format!("unix://{}/s.sock", self.dir.path().display());
        Client::connect(&host).await.unwrap()
    }

    /// A connection with a certificate of `node`.
    pub(crate) fn worker(&self, node: NodeId) -> DispatcherClient<Channel> {
        let tls = self.stranger();
        tls.set_identity(&issue(&self.ca, node, Office::Worker, self.clock.now())).unwrap();
        self.connect(&tls)
    }

    /// A connection to what managers ask each other, with a certificate of `node` for this office.
    pub(crate) fn peer(&self, node: NodeId, office: Office) -> PeerClient<Channel> {
        let tls = self.stranger();
        tls.set_identity(&issue(&self.ca, node, office, self.clock.now())).unwrap();
        PeerClient::new(pki::channel(&tls, &self.addr.to_string(), self.node))
    }

    /// A connection without any certificate.
    pub(crate) fn nobody(&self) -> DispatcherClient<Channel> {
        self.connect(&self.stranger())
    }

    fn stranger(&self) -> Tls {
        Tls::new(self.ca.cluster(), &[self.ca.certificate()], self.clock.clone()).unwrap()
    }

    fn connect(&self, tls: &Tls) -> DispatcherClient<Channel> {
        DispatcherClient::new(pki::channel(tls, &self.addr.to_string(), self.node))
            .max_decoding_message_size(crate::kit::limits::MESSAGE_SIZE)
    }

    pub(crate) async fn change(&self, changes: Vec<TaskChange>) {
        self.raft.propose(None, Command::ChangeTasks { changes }).await.unwrap();
    }

    /// Makes a task of a service, not yet on a node.
    pub(crate) async fn task(&self, service: ServiceId) -> TaskId {
        let service = self.raft.state().service_by_id(service).unwrap().clone();
        let task = Task {
            id: TaskId::random(),
            meta: Meta::default(),
            service: service.id,
            service_name: service.spec.name.clone(),
            service_labels: service.spec.labels.clone(),
            slot: 1,
            node: None,
            spec: Arc::new(service.spec.task.clone()),
            spec_index: service.spec_index,
            versions: Vec::new(),
            desired: TaskState::Running,
            status: status(TaskState::New),
            started_at: None,
            wiped: false,
        };
        let id = task.id;
        self.change(vec![TaskChange::Create(Box::new(task))]).await;
        assert!(self.raft.state().task_by_id(id).is_some());
        id
    }

    /// Makes a task of a service and gives it to the node.
    pub(crate) async fn assigned(&self, service: ServiceId) -> TaskId {
        let id = self.task(service).await;
        self.change(vec![TaskChange::Assign { id, node: self.node }]).await;
        id
    }

    /// Reports a state in the node's name.
    pub(crate) async fn reached(&self, id: TaskId, state: TaskState) {
        let status = status(state);
        self.change(vec![TaskChange::Report { id, node: self.node, status }]).await;
    }

    /// Waits until the node's row says so.
    pub(crate) async fn until_node_is(&self, state: NodeState) {
        let mut changes = self.raft.changes();
        while self.raft.state().node_by_id(self.node).unwrap().status.state != state {
            changes.recv().await.unwrap();
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        drop(self.running);
        self.raft.shutdown().await;
    }
}

pub(crate) fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        state,
        at: Timestamp(1),
        message: String::new(),
        error: String::new(),
        container_id: String::new(),
        pid: 0,
        exit_code: None,
    }
}

fn founder(id: NodeId) -> Node {
    Node {
        id,
        meta: Meta::default(),
        role: Role::Manager,
        availability: Availability::Active,
        labels: Default::default(),
        description: NodeDescription::default(),
        renamed: None,
        standing: Standing::Member,
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            addr: String::new(),
            at: Timestamp(1),
            dispatcher: None,
        },
        manager: Some(ManagerStatus::new(1, "127.0.0.1:2390".into())),
        runtime_failed_at: None,
        certificate: Some(CertificateStatus::new(
            [0; 32],
            Role::Manager,
            &ShownKey { key: key().1, expires_at: Timestamp(1) },
        )),
        sightings: Default::default(),
    }
}

/// The one key of all nodes here, PKCS#8, and what their rows say of it.
fn key() -> &'static (Vec<u8>, KeyHash) {
    static KEY: OnceLock<(Vec<u8>, KeyHash)> = OnceLock::new();
    KEY.get_or_init(|| {
        let (key, ca) = (PrivateKey::generate(), ClusterId::random());
        let ca = Authority::generate(ca, Timestamp(0));
        let chain = ca.issue(&key.request(), NodeId::random(), Role::Worker, Timestamp(0), HOUR);
        let hash = Peer::parse(&chain.unwrap()[0]).unwrap().key;
        (key.into_pkcs8().expose().to_vec(), hash)
    })
}

fn issue(ca: &Authority, node: NodeId, office: Office, now: Timestamp) -> Identity {
    let key = PrivateKey::from_pkcs8(Plaintext::new(key().0.clone())).unwrap();
    let chain = ca.issue(&key.request(), node, office, now, 72 * HOUR).unwrap();
    Identity::new(key, chain).unwrap()
}
