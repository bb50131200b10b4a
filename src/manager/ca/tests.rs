//! The CA as nodes meet it: TLS over loopback, on a real store, by the client that nodes use.

use super::*;
use crate::{
    client::enroll::{self, EnrollError, Enrolled},
    crypto::{context::Context, keyring::Keyring},
    kit::{
        clock::Timestamp,
        id::ClusterId,
        task::{Running, Stop, start},
    },
    model::{cluster::ClusterSettings, node::NodeDescription},
    pki::{Identity, PrivateKey, Tls},
    raft::{Alone, Member, Options},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp(1_790_000_000_000);
const ADDR: &str = "127.0.0.1:2390";

struct World {
    raft: Raft,
    founder: NodeId,
    ca: CaDigest,
    ca_certificate: Vec<u8>,
    authority: Authority,
    clock: Clock,
    addr: String,
    stop: Stop,
    tls: Tls,
    root: Arc<crate::crypto::key::Key<crate::crypto::key::Root>>,
    keyring: Arc<Keyring>,
    _running: Vec<Running<()>>,
    _dir: tempfile::TempDir,
}

fn row(id: NodeId) -> Node {
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
            at: START,
            dispatcher: None,
        },
        manager: Some(crate::model::node::ManagerStatus::new(1, ADDR.into())),
        certificate: None,
        runtime_failed_at: None,
        sightings: Default::default(),
    }
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (id, founder, clock) = (ClusterId::random(), NodeId::random(), Clock::manual(START));
        let root = Arc::new(crate::crypto::key::Key::random());
        let (keyring, terms) = Keyring::generate(&root, id);
        let stored = terms.clone();
        let (ca_certificate, key) = Authority::generate(id, START).into_parts();
        let copy = crate::crypto::plaintext::Plaintext::new(key.expose().to_vec());
        let authority = Authority::open(id, &ca_certificate, copy).unwrap();
        let options = Options {
            dir: dir.path().join("raft"),
            cluster: id,
            node: founder,
            raft_id: 1,
            key: Arc::new(crate::crypto::key::Key::random().into()),
            clock: clock.clone(),
            witness: None,
            fellows: None,
        };
        let member = Member { node: founder, addr: ADDR.into() };
        let raft = Raft::found(options, member, Arc::new(Alone)).await.unwrap();
        let cluster = Cluster {
            id,
            meta: Meta::default(),
            settings: ClusterSettings::default(),
            ca_certificate: ca_certificate.clone(),
            ca_key: keyring.seal(&Context::authority_key(id), key),
            keyring: terms,
            next_raft_id: 2,
            rotation: None,
            tokens: Vec::new(),
            unlockers: Vec::new(),
            key_files: true,
            backup: None,
            rekeying: Default::default(),
            former_managers: Vec::new(),
            root: crate::model::cluster::RootStatus::first(root.id(id), clock.now()),
        };
        let found = Command::Found { cluster: Box::new(cluster), node: Box::new(row(founder)) };
        raft.propose(None, found).await.unwrap();

        let tls = Tls::new(id, &[&ca_certificate], clock.clone()).unwrap();
        let (tcp, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Stop::new());
        let addr = tcp.local_addr().unwrap().to_string();
        let keyring = Arc::new(keyring);
        let keys = Keychain::open(Arc::clone(&root), None, id, &stored).unwrap();
        let keys = Arc::new(keys);
        let service = CaService::new(raft.clone(), keys, clock.clone(), Book::default());
        let known = pki::KnownAddrs::default();
        let (incoming, accepting) = pki::listen(tcp, &tls, known, stop.clone());
        let routes = tonic::service::Routes::new(service.server());
        let serving = pki::serve(incoming, move |_| routes.clone());
        let running = vec![accepting, start("serve", async move { serving.await.unwrap() })];
        let world = Self {
            raft,
            founder,
            ca: CaDigest::of(&ca_certificate),
            ca_certificate,
            authority,
            clock,
            addr,
            stop,
            tls,
            root,
            keyring,
            _running: running,
            _dir: dir,
        };
        world.refresh().await;
        world
    }

    /// Gives the server a certificate of now, and the store word of it.
    async fn refresh(&self) {
        let key = PrivateKey::generate();
        let (request, now) = (key.request(), self.clock.now());
        let chain = self.authority.issue(&request, self.founder, Role::Manager, now, 72 * HOUR);
        let identity = Identity::new(key, chain.unwrap()).unwrap();
        self.tls.set_identity(&identity).unwrap();
        let (issuer, shown) = (self.ca.0, identity.peer().shown());
        let certificate = CertificateStatus::new(issuer, Role::Manager, &shown);
        let note = Command::NoteCertificate { id: self.founder, certificate, shown: None };
        self.raft.propose(None, note).await.unwrap();
    }

    async fn token(&self, role: Role, revoke: bool, uses: Option<u64>) -> JoinToken {
        let (token, now) = (JoinToken::generate(self.ca), self.clock.now());
        let row = Token {
            hash: token.hash().0,
            role,
            created_at: now,
            expires_at: Some(now.plus(HOUR)),
            uses_left: uses,
        };
        self.raft.propose(None, Command::AddToken { token: row, revoke }).await.unwrap();
        token
    }

    async fn join(&self, token: &JoinToken) -> Result<Enrolled, EnrollError> {
        let description = NodeDescription { hostname: "box".into(), ..Default::default() };
        let active = Availability::Active;
        enroll::join(std::slice::from_ref(&self.addr), token, &description, active, &self.clock)
            .await
    }

    fn tls_of(&self, identity: &Identity) -> Tls {
        let cluster = identity.peer().cluster;
        let tls = Tls::new(cluster, &[&self.ca_certificate], self.clock.clone()).unwrap();
        tls.set_identity(identity).unwrap();
        tls
    }

    fn managers(&self) -> Vec<(NodeId, String)> {
        vec![(self.founder, self.addr.clone())]
    }

    async fn renew_expired(&self, node: &Enrolled) -> Result<Enrolled, EnrollError> {
        let (roots, managers) = (&node.roots, self.managers());
        enroll::renew_expired(&node.identity, roots, &managers, &self.clock).await
    }

    fn row(&self, id: NodeId) -> Option<Arc<Node>> {
        self.raft.state().node_by_id(id).cloned()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.raft.shutdown().await;
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, EnrollError>) -> Refusal {
    match result.unwrap_err() {
        EnrollError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_machine_with_a_good_token_becomes_a_node_of_the_tokens_role() {
    let world = World::start().await;
    for role in [Role::Worker, Role::Manager] {
        let token = world.token(role, false, None).await;
        let node = world.join(&token).await.unwrap();
        assert_eq!((node.role, node.identity.peer().role), (role, role));
        assert_eq!(node.identity.peer().node, node.node);
        assert_eq!(node.roots, std::slice::from_ref(&world.ca_certificate));
        assert_eq!(node.managers, [(world.founder, ADDR.to_owned())]);
        let row = world.row(node.node).unwrap();
        assert_eq!((row.role, row.description.hostname.as_str()), (role, "box"));
        assert_eq!((row.status.state, row.status.message.as_str()), (NodeState::Unknown, "joined"));
        let certificate = row.certificate.as_ref().unwrap();
        assert_eq!(certificate.expires_at, node.identity.peer().not_after);
        assert!(row.manager.is_none());
    }
    world.stop().await;
}

#[tokio::test]
async fn every_bad_token_is_refused_in_the_same_words_and_makes_no_node() {
    let world = World::start().await;
    let used_up = world.token(Role::Worker, false, Some(1)).await;
    world.join(&used_up).await.unwrap();
    let old = world.token(Role::Worker, false, None).await;
    world.clock.advance(2 * HOUR);
    let revoked = world.token(Role::Worker, false, None).await;
    let good = world.token(Role::Worker, true, None).await;
    let made_up = JoinToken::generate(world.ca);
    for bad in [used_up, old, revoked, made_up] {
        assert_eq!(refusal(world.join(&bad).await), no_token());
    }
    assert_eq!(world.raft.state().nodes().count(), 2);
    world.join(&good).await.unwrap();
    // One of another cluster does not even find the CA it pins.
    let foreign = JoinToken::generate(CaDigest([7; 32]));
    assert!(matches!(world.join(&foreign).await, Err(EnrollError::Connect(_))));
    world.stop().await;
}

#[tokio::test]
async fn a_token_for_one_is_good_for_one_however_many_come_at_once() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, Some(1)).await;
    let tries = (0..8).map(|_| world.join(&token));
    let joined = futures::future::join_all(tries).await;
    assert_eq!(joined.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(world.raft.state().nodes().count(), 2);
    world.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_good_token_is_not_counted() {
    let world = World::start().await;
    let good = world.token(Role::Worker, false, None).await;
    for _ in 0..25 {
        world.join(&good).await.unwrap();
    }
    let contact = pki::first_contact(&world.addr, world.ca, &world.clock).await.unwrap();
    let mut client = v1::ca_client::CaClient::new(contact.channel);
    let mut codes = Vec::new();
    for _ in 0..25 {
        let token = Some(v1::Payload::carry(&JoinToken::generate(world.ca).carry()));
        let request = v1::IssueRequest { token, ..Default::default() };
        codes.push(client.issue(request).await.unwrap_err().code());
    }
    assert_eq!(codes.iter().filter(|code| **code == Code::PermissionDenied).count(), 20);
    assert_eq!(codes.iter().filter(|code| **code == Code::ResourceExhausted).count(), 5);
    let too_long = v1::IssueRequest { csr: vec![0; MESSAGE], ..Default::default() };
    assert_eq!(client.issue(too_long).await.unwrap_err().code(), Code::OutOfRange);
    world.stop().await;
}

#[tokio::test]
async fn a_node_renews_with_the_role_of_its_row_in_time_and_after_its_certificate_has_expired() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    let node = world.join(&token).await.unwrap();
    let set = |role| Command::SetRole { id: node.node, index: None, role };
    world.raft.propose(None, set(Role::Manager)).await.unwrap();
    let tls = world.tls_of(&node.identity);
    let promoted = enroll::renew(&tls, &world.managers()).await.unwrap();
    assert_eq!((promoted.node, promoted.role), (node.node, Role::Manager));
    world.raft.propose(None, set(Role::Worker)).await.unwrap();
    world.clock.advance(100 * HOUR);
    world.refresh().await;
    let error = enroll::renew(&tls, &world.managers()).await.unwrap_err();
    assert!(!error.is_removal(), "{error:?}");
    let late = world.renew_expired(&promoted).await.unwrap();
    assert_eq!((late.node, late.role), (node.node, Role::Worker));
    let told = world.row(node.node).unwrap().certificate.clone().unwrap();
    assert_eq!(told.expires_at, late.identity.peer().not_after);
    world.stop().await;
}

#[tokio::test]
async fn a_removed_node_gets_nothing_any_more() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    let node = world.join(&token).await.unwrap();
    let tls = world.tls_of(&node.identity);
    let remove = Command::RemoveNode { id: node.node, force: true };
    world.raft.propose(None, remove).await.unwrap();
    let managers = world.managers();
    assert!(enroll::renew(&tls, &managers).await.unwrap_err().is_removal());
    assert!(enroll::depart(&tls, &managers).await.unwrap_err().is_removal());
    let manager = (world.founder, world.addr.as_str());
    assert!(enroll::admit(&tls, manager, "10.0.0.7:2390").await.unwrap_err().is_removal());
    world.clock.advance(100 * HOUR);
    world.refresh().await;
    assert!(world.renew_expired(&node).await.unwrap_err().is_removal());
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_that_was_replaced_twice_renews_nothing_and_its_node_is_named() {
    let world = World::start().await;
    let log = crate::kit::testing::Log::listen();
    let token = world.token(Role::Worker, false, None).await;
    let first = world.join(&token).await.unwrap();
    let managers = world.managers();
    // An answer that was lost takes nothing away.
    enroll::renew(&world.tls_of(&first.identity), &managers).await.unwrap();
    let second = enroll::renew(&world.tls_of(&first.identity), &managers).await.unwrap();
    let third = enroll::renew(&world.tls_of(&second.identity), &managers).await.unwrap();
    let old = world.tls_of(&first.identity);
    for refused in [
        refusal(enroll::renew(&old, &managers).await),
        refusal(world.renew_expired(&first).await),
        refusal(enroll::depart(&old, &managers).await.map(|()| 0)),
    ] {
        assert_eq!(refused.kind, RefusalKind::Denied);
        assert!(refused.message.contains("was replaced since"), "{refused}");
        assert!(refused.hint.unwrap().contains("join it anew"));
    }
    log.has(&["WARN", first.node.as_str(), "127.0.0.1", "has a copy of the node's identity"]);
    let row = world.row(first.node).unwrap();
    let rival = row.sightings.rival(world.clock.now()).unwrap();
    assert_eq!(rival.addrs, ["127.0.0.1"]);
    // The node itself goes on, also after its certificate has ended.
    world.clock.advance(100 * HOUR);
    world.refresh().await;
    world.renew_expired(&third).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_node_comes_back_within_the_stated_time_and_not_after_it() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    let node = world.join(&token).await.unwrap();
    let age = 24 * HOUR;
    world.raft.propose(None, Command::SetComeBack { age }).await.unwrap();
    world.clock.advance(95 * HOUR);
    world.refresh().await;
    let renewed = world.renew_expired(&node).await.unwrap();
    world.clock.advance(97 * HOUR);
    world.refresh().await;
    let refused = refusal(world.renew_expired(&renewed).await);
    assert!(refused.message.contains("longer ago than this cluster lets a node come back"));
    assert!(refused.hint.unwrap().contains("secretctl update --come-back"));
    let row = world.row(node.node).unwrap();
    assert!(row.sightings.rival.is_none(), "that is no copy");
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_good_yet_is_replaced_by_its_key() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    // The clock of whoever signed was a week ahead.
    world.clock.advance(168 * HOUR);
    world.refresh().await;
    let later = world.token(Role::Worker, false, None).await;
    let node = world.join(&later).await.unwrap();
    world.clock.go_back(168 * HOUR);
    world.refresh().await;
    drop(token);
    let managers = world.managers();
    let error = enroll::renew(&world.tls_of(&node.identity), &managers).await.unwrap_err();
    assert!(error.is_about_time(), "{error:?}");
    assert!(error.hint().unwrap().contains("date -u"));
    let replaced = world.renew_expired(&node).await.unwrap();
    assert!(replaced.identity.peer().is_valid(world.clock.now()));
    enroll::renew(&world.tls_of(&replaced.identity), &managers).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_without_its_key_renews_nothing() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    let (mine, other) = (world.join(&token).await.unwrap(), world.join(&token).await.unwrap());
    let csr = PrivateKey::generate().request();
    let request = v1::RenewRequest {
        old_certificate: mine.identity.chain().remove(0),
        old_key_signature: other.identity.renewal(&csr),
        csr,
    };
    let contact = pki::first_contact(&world.addr, world.ca, &world.clock).await.unwrap();
    let mut client = v1::ca_client::CaClient::new(contact.channel);
    assert_eq!(client.renew(request).await.unwrap_err().code(), Code::PermissionDenied);
    let admit =
        v1::AdmitRequest { addr: "10.0.0.7:2390".into(), csr: PrivateKey::generate().request() };
    let nobody = client.admit(admit).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
    world.stop().await;
}

#[tokio::test]
async fn only_a_manager_by_certificate_and_by_row_gets_the_root_key() {
    let world = World::start().await;
    let at = (world.founder, world.addr.as_str());
    let worker = world.token(Role::Worker, false, None).await;
    let worker = world.join(&worker).await.unwrap();
    let tls = world.tls_of(&worker.identity);
    assert_eq!(refusal(enroll::admit(&tls, at, "10.0.0.7:2390").await).kind, RefusalKind::Denied);
    // Promoted, but its certificate is still a worker's.
    let promote = Command::SetRole { id: worker.node, index: None, role: Role::Manager };
    world.raft.propose(None, promote).await.unwrap();
    assert_eq!(refusal(enroll::admit(&tls, at, "10.0.0.7:2390").await).kind, RefusalKind::Denied);

    let manager = world.token(Role::Manager, false, None).await;
    let manager = world.join(&manager).await.unwrap();
    let tls = world.tls_of(&manager.identity);
    for bad in ["", "0.0.0.0:2390", "10.0.0.7:0", "here"] {
        let refused = refusal(enroll::admit(&tls, at, bad).await);
        assert_eq!(refused.kind, RefusalKind::Invalid, "{bad}");
    }
    let enroll::Admitted { raft_id: first, root, key_files, identity, roots, fellows, .. } =
        enroll::admit(&tls, at, "10.0.0.7:2390").await.unwrap();
    // Its certificate proves the admission, and it knows the others.
    assert_eq!((identity.peer().node, identity.peer().raft_id), (manager.node, Some(first)));
    assert_eq!(roots, [world.authority.certificate()]);
    let founder = world.row(world.founder).unwrap().manager.as_ref().map(|it| it.raft_id);
    let founder = founder.map(|raft_id| RaftIdentity { node: world.founder, raft_id });
    assert_eq!(fellows, founder.into_iter().collect::<Vec<_>>());
    let admitted = world.tls_of(&identity);
    let renewed = enroll::renew(&admitted, &world.managers()).await.unwrap();
    assert_eq!(renewed.identity.peer().raft_id, Some(first), "the next one proves it too");
    let cluster = world.raft.state().cluster().unwrap().clone();
    Keyring::open(&root, cluster.id, &cluster.keyring).unwrap();
    Keyring::open(&world.root, cluster.id, &cluster.keyring).unwrap();
    let renewed = world.tls_of(&renewed.identity);
    let second = enroll::admit(&renewed, at, "10.0.0.7:2390").await.unwrap();
    assert!(second.raft_id > first);
    assert!(key_files);
    // What the admission before has left admits nobody again; the next certificate does, for a lost answer.
    let old = refusal(enroll::admit(&admitted, at, "10.0.0.7:2390").await);
    assert_eq!(old.kind, RefusalKind::Denied);
    let renewed = enroll::renew(&renewed, &world.managers()).await.unwrap();
    assert_eq!(renewed.identity.peer().raft_id, Some(second.raft_id));
    let third = enroll::admit(&world.tls_of(&renewed.identity), at, "10.0.0.7:2390").await;
    assert!(third.unwrap().raft_id > second.raft_id);
    // Demoted, with a manager's certificate that is still good.
    let demote = Command::SetRole { id: manager.node, index: None, role: Role::Worker };
    world.raft.propose(None, demote).await.unwrap();
    assert_eq!(refusal(enroll::admit(&tls, at, "10.0.0.7:2390").await).kind, RefusalKind::Denied);
    world.stop().await;
}

#[tokio::test]
async fn who_departs_is_a_worker_and_down_afterwards() {
    let world = World::start().await;
    let token = world.token(Role::Manager, false, None).await;
    let node = world.join(&token).await.unwrap();
    enroll::depart(&world.tls_of(&node.identity), &world.managers()).await.unwrap();
    let row = world.row(node.node).unwrap();
    assert_eq!((row.role, row.status.state), (Role::Worker, NodeState::Down));
    assert!(row.has_left());
    // It is a member no longer, whatever its certificate says and its last session reports.
    let tls = world.tls_of(&node.identity);
    assert!(enroll::renew(&tls, &world.managers()).await.unwrap_err().is_removal());
    let ready =
        NodeStatus { state: NodeState::Ready, message: String::new(), ..row.status.clone() };
    let (id, held_by) = (node.node, ready.dispatcher);
    let report = Command::ReportNode { id, description: None, status: ready, held_by };
    world.raft.propose(None, report).await.unwrap();
    assert!(world.row(id).unwrap().has_left());
    // Its last word ends the matter, and may be lost and said again.
    for _ in 0..2 {
        enroll::confirm_wiped(&tls, &world.managers()).await.unwrap();
        assert_eq!(world.row(id), None, "nothing waits for it any more");
    }
    // The last manager stays.
    let refused = refusal(enroll::depart(&world.tls, &world.managers()).await);
    assert_eq!(refused.kind, RefusalKind::Precondition);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_whose_answer_was_lost_is_the_same_node_by_another_manager() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, Some(1)).await;
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = way.local_addr().unwrap().to_string();
    // Passes everything on until the node is in the store, and is never there again.
    let loses = async {
        let (mut near, _) = way.accept().await.unwrap();
        drop(way);
        let mut far = TcpStream::connect(&world.addr).await.unwrap();
        let ((mut node, mut to_node), (mut manager, mut to_manager)) = (near.split(), far.split());
        let asking = tokio::io::copy(&mut node, &mut to_manager);
        let answering = async {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = manager.read(&mut bytes).await {
                if world.raft.state().nodes().count() == 2 {
                    world.clock.advance(Duration::from_secs(15));
                    return;
                }
                to_node.write_all(&bytes[..read]).await.unwrap();
            }
            panic!("the manager went away by itself");
        };
        tokio::select! {
            _ = asking => panic!("the node went away by itself"),
            () = answering => {}
        }
    };
    let both = [first, world.addr.clone()];
    let description = NodeDescription { hostname: "box".into(), ..Default::default() };
    let active = Availability::Active;
    let join = enroll::join(&both, &token, &description, active, &world.clock);
    let (joined, ()) = tokio::join!(join, loses);
    assert!(world.row(joined.unwrap().node).is_some());
    assert_eq!(world.raft.state().nodes().count(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_asks_again_with_the_same_key_and_token_is_the_same_node() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, Some(1)).await;
    let contact = pki::first_contact(&world.addr, world.ca, &world.clock).await.unwrap();
    let mut client = v1::ca_client::CaClient::new(contact.channel);
    let key = PrivateKey::generate();
    let request = || v1::IssueRequest {
        token: Some(v1::Payload::carry(&token.carry())),
        csr: key.request(),
        description: Some(v1::NodeDescription { hostname: "box".into(), ..Default::default() }),
        availability: Availability::Active.code(),
    };
    let first = client.issue(request()).await.unwrap().into_inner();
    let second = client.issue(request()).await.unwrap().into_inner();
    assert_eq!(first.node_id, second.node_id);
    assert_ne!(first.certificates[0], second.certificates[0]);
    assert_eq!(world.raft.state().nodes().count(), 2);
    // Another key is another machine, and the token was good for one.
    refusal(world.join(&token).await);

    // Once it has been here it has its certificate; and who was removed is never the same again.
    let id = first.node_id.parse().unwrap();
    let status = NodeStatus {
        state: NodeState::Ready,
        dispatcher: Some(world.founder),
        ..world.row(id).unwrap().status.clone()
    };
    let report = Command::ReportNode { id, description: None, status, held_by: None };
    world.raft.propose(None, report).await.unwrap();
    let refused = client.issue(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let remove = Command::RemoveNode { id, force: true };
    world.raft.propose(None, remove).await.unwrap();
    assert_eq!(client.issue(request()).await.unwrap_err().code(), Code::PermissionDenied);
    world.stop().await;
}

#[tokio::test]
async fn a_new_ca_takes_over_and_the_old_one_goes_once_every_node_has_shown_that_it_moved() {
    let world = World::start().await;
    let token = world.token(Role::Worker, false, None).await;
    let (awake, asleep) = (world.join(&token).await.unwrap(), world.join(&token).await.unwrap());
    let cluster = world.raft.state().cluster().unwrap().clone();
    let next = Authority::generate(cluster.id, START);
    let rotation = crate::model::cluster::AuthorityRotation {
        previous: cluster.ca_certificate.clone(),
        cross_signed: world.authority.cross_sign(&next, START),
        started_at: START,
    };
    let (ca_certificate, key) = next.into_parts();
    let ca_key = world.keyring.seal(&Context::authority_key(cluster.id), key);
    let rotate =
        Command::RotateAuthority { ca_certificate: ca_certificate.clone(), ca_key, rotation };
    world.raft.propose(None, rotate.clone()).await.unwrap();
    // One at a time; and tokens name the CA that goes.
    assert!(matches!(
        world.raft.propose(None, rotate).await,
        Err(ProposeError::Refused(Refusal { kind: RefusalKind::Precondition, .. }))
    ));
    assert_eq!(refusal(world.join(&token).await), no_token());
    world.tls.set_roots(&[&ca_certificate, &world.ca_certificate]).unwrap();

    // In time, and after its certificate has expired, a node of the old CA gets one of the new.
    let both = [ca_certificate.clone(), world.ca_certificate.clone()];
    let tls = world.tls_of(&awake.identity);
    let moved = enroll::renew(&tls, &world.managers()).await.unwrap();
    world.clock.advance(100 * HOUR);
    world.refresh().await;
    let woken = world.renew_expired(&asleep).await.unwrap();
    for enrolled in [&moved, &woken] {
        assert_eq!(enrolled.roots, both);
        assert_eq!(enrolled.identity.chain().len(), 3);
        pki::signed(cluster.id, &[&ca_certificate], &enrolled.identity.chain()[0]).unwrap();
    }

    // That it was sent one does not count: the answer may be lost. A later one does not make it forgotten.
    let note = |id, shown| {
        let issuer = CaDigest::of(&ca_certificate).0;
        let present = world.row(id).unwrap().certificate.clone().unwrap();
        let certificate = CertificateStatus { issuer, shown, ..present };
        let note = Command::NoteCertificate { id, certificate, shown: None };
        let raft = world.raft.clone();
        async move { raft.propose(None, note).await }
    };
    for id in [world.founder, moved.node] {
        note(id, true).await.unwrap();
        note(id, false).await.unwrap();
    }
    let early = world.raft.propose(None, Command::FinishRotation).await;
    let Err(ProposeError::Refused(refused)) = early else { panic!("{early:?}") };
    assert!(refused.message.contains(woken.node.as_str()), "{refused}");
    note(woken.node, true).await.unwrap();
    world.raft.propose(None, Command::FinishRotation).await.unwrap();
    let state = world.raft.state();
    assert_eq!(state.cluster().unwrap().roots(), std::slice::from_ref(&ca_certificate));
    // Not even the key of an old certificate helps now.
    let late = refusal(world.renew_expired(&asleep).await);
    assert_eq!(late.kind, RefusalKind::Denied);
    world.stop().await;
}
