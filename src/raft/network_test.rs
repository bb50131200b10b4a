//! Three managers behind mutual TLS: they replicate, send snapshots, ask their leader, lose it and go on.

use super::{
    forward::Contact,
    handle::{Begin, Options, Raft, Sizes},
    log::LogSizes,
    network::{PeerError, Peers},
    propose::ProposeError,
    read::ReadError,
    testing::founding,
    types::Member,
};
use crate::{
    crypto::{key::Key, seal::Sealed},
    kit::{
        clock::Clock,
        id::{ClusterId, NodeId, ObjectId},
        task::{self, Running, Stop},
        testing::Log,
    },
    model::{
        Labels,
        cluster::Cluster,
        command::Command,
        node::RaftIdentity,
        object::{Kind, VersionNumber},
        task::ObjectVersion,
    },
    pki::{self, Authority, Identity, Office, PrivateKey, Tls},
    wire::v1::{self, ReadIndexRequest, raft_client::RaftClient},
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Code, service::Routes, transport::Channel};

/// Dials as the manager does.
#[derive(Debug)]
struct Dial(Tls);

#[async_trait]
impl Peers for Dial {
    async fn channel(&self, member: &Member) -> Result<Channel, PeerError> {
        Ok(pki::channel(&self.0, &member.addr, member.node))
    }
}

struct Manager {
    raft: Raft,
    id: u64,
    member: Member,
    serving: Vec<Running<()>>,
    _dir: TempDir,
}

fn tls(ca: &Authority, node: NodeId, office: Office) -> Tls {
    let clock = Clock::system();
    let tls = Tls::new(ca.cluster(), &[ca.certificate()], clock.clone()).unwrap();
    let key = PrivateKey::generate();
    let life = Duration::from_secs(72 * 3600);
    let chain = ca.issue(&key.request(), node, office, clock.now(), life).unwrap();
    tls.set_identity(&Identity::new(key, chain).unwrap()).unwrap();
    tls
}

fn authority() -> Authority {
    Authority::generate(ClusterId::random(), Clock::system().now())
}

impl Manager {
    /// The first founds its cluster, and everybody else was admitted when these were there.
    async fn start(id: u64, ca: &Authority, others: &[&Self]) -> Self {
        let dir = TempDir::new().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let member = Member { node: NodeId::random(), addr };
        let tls = tls(ca, member.node, Office::Manager { raft_id: id });
        let options = Options {
            dir: dir.path().join("raft"),
            cluster: ca.cluster(),
            node: member.node,
            raft_id: id,
            key: Arc::new(Key::random().into()),
            clock: Clock::system(),
            witness: None,
            fellows: (id > 1).then(|| others.iter().map(|other| other.identity()).collect()),
        };
        let sizes = Sizes {
            log: LogSizes { segment: 64 << 10, first_segment: 64 << 10, ..LogSizes::default() },
            kept: 100 << 10,
        };
        let begin = if id == 1 { Begin::Found(member.clone()) } else { Begin::Join };
        let raft = Raft::start(options, sizes, begin, Arc::new(Dial(tls.clone()))).await.unwrap();
        let known = pki::KnownAddrs::default();
        let (incoming, accepting) = pki::listen(listener, &tls, known, Stop::new());
        let routes = Routes::new(raft.peer_service());
        let server = pki::serve(incoming, move |_| routes.clone());
        let serving = vec![accepting, task::start("peers", async move { server.await.unwrap() })];
        if id == 1 {
            let (cluster, node) = founding(member.node);
            // As if the others were admitted by then: nobody asks for it here.
            let cluster = Cluster { next_raft_id: 10, ..cluster };
            let found = Command::Found { cluster: Box::new(cluster), node: Box::new(node) };
            raft.propose(None, found).await.unwrap();
        }
        Self { raft, id, member, serving, _dir: dir }
    }

    fn identity(&self) -> RaftIdentity {
        RaftIdentity { node: self.member.node, raft_id: self.id }
    }

    /// Three of them that know each other; the first leads.
    async fn three(ca: &Authority) -> [Self; 3] {
        let first = Self::start(1, ca, &[]).await;
        let second = Self::start(2, ca, &[&first]).await;
        let third = Self::start(3, ca, &[&first, &second]).await;
        let all = [first, second, third];
        for other in &all[1..] {
            all[0].raft.add_member(other.id, other.member.clone()).await.unwrap();
        }
        for other in &all[1..] {
            let mut metrics = other.raft.core.raft.metrics();
            metrics
                .wait_for(|m| m.membership_config.membership().voter_ids().count() == 3)
                .await
                .unwrap();
        }
        all
    }

    /// Goes away without a word.
    async fn vanish(mut self) {
        self.serving.clear();
        self.raft.shutdown().await;
    }

    async fn holds(&self, number: u8) {
        let (version, _) = create(number);
        let mut metrics = self.raft.core.raft.metrics();
        while self.raft.state().object_by_id(version.object).is_none() {
            let running = metrics.changed().await;
            assert!(
                running.is_ok(),
                "manager {} stopped: {:?}",
                self.id,
                self.raft.core.raft.metrics().borrow().running_state
            );
        }
        let body = self.raft.body(version).await.unwrap().body;
        assert_eq!(body, vec![number; 10_000], "manager {}", self.id);
    }
}

fn create(number: u8) -> (ObjectVersion, Command) {
    let object = ObjectId::from_random([number; 17]);
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id: object,
        name: format!("secret-{number}").parse().unwrap(),
        labels: Labels::new(),
        size: 10,
        sealed: Sealed { term: 1, wrapped_key: vec![1], body: vec![number; 10_000] },
    };
    (ObjectVersion { object, version: VersionNumber::FIRST }, command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_replicate_catch_up_by_snapshot_and_survive_their_leader() {
    let ca = authority();
    let first = Manager::start(1, &ca, &[]).await;
    let second = Manager::start(2, &ca, &[&first]).await;
    first.raft.add_member(2, second.member.clone()).await.unwrap();
    for number in 1..=60 {
        first.raft.propose(None, create(number).1).await.unwrap();
    }
    second.holds(60).await;
    // The log no longer begins at its beginning, so the third can only be sent a snapshot.
    let mut metrics = first.raft.core.raft.metrics();
    metrics.wait_for(|m| m.purged.is_some_and(|id| id.index > 10)).await.unwrap();
    let third = Manager::start(3, &ca, &[&first, &second]).await;
    first.raft.add_member(3, third.member.clone()).await.unwrap();
    for number in [1, 30, 60] {
        third.holds(number).await;
    }
    assert_eq!(first.raft.status().voters, [1, 2, 3]);
    assert!(!third.raft.leadership().borrow().is_leading());
    for manager in [&first, &second, &third] {
        let linear = manager.raft.linear().await.unwrap();
        assert!(linear.state().object_by_id(create(60).0.object).is_some());
    }

    first.vanish().await;
    let (mut two, mut three) = (second.raft.leadership(), third.raft.leadership());
    let leader = tokio::select! {
        _ = two.wait_for(|l| l.is_leading()) => &second,
        _ = three.wait_for(|l| l.is_leading()) => &third,
    };
    leader.raft.propose(None, create(61).1).await.unwrap();
    second.holds(61).await;
    third.holds(61).await;
    assert_eq!(second.raft.state(), third.raft.state());
    leader.raft.remove_member(1).await.unwrap();
    assert_eq!(leader.raft.status().voters, [2, 3]);
    second.raft.shutdown().await;
    third.raft.shutdown().await;
}

/// Secrets of four kibibytes each, told apart by number and content.
fn four_kib(number: u16) -> (ObjectVersion, Command) {
    let [high, low] = number.to_be_bytes();
    let mut id = [0; 17];
    (id[0], id[1], id[16]) = (high, low, 1);
    let object = ObjectId::from_random(id);
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id: object,
        name: format!("secret-{number}").parse().unwrap(),
        labels: Labels::new(),
        size: 4096,
        sealed: Sealed { term: 1, wrapped_key: vec![high], body: [high, low].repeat(2048) },
    };
    (ObjectVersion { object, version: VersionNumber::FIRST }, command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_joins_thousands_of_secrets_is_sent_them_in_a_snapshot() {
    const SECRETS: u16 = 2000;
    let ca = authority();
    let first = Manager::start(1, &ca, &[]).await;
    let proposals = (0..SECRETS).map(|n| first.raft.propose(None, four_kib(n).1));
    for done in futures::future::join_all(proposals).await {
        done.unwrap();
    }
    // Purged of all of them, the log has nothing to tell a newcomer of.
    let last = first.raft.core.raft.metrics().borrow().last_applied.unwrap().index;
    let mut metrics = first.raft.core.raft.metrics();
    first.raft.core.raft.trigger().snapshot().await.unwrap();
    metrics.wait_for(|m| m.snapshot.is_some_and(|id| id.index >= last)).await.unwrap();
    first.raft.core.raft.trigger().purge_log(last).await.unwrap();
    metrics.wait_for(|m| m.purged.is_some_and(|id| id.index >= last)).await.unwrap();
    let second = Manager::start(2, &ca, &[&first]).await;
    assert!(second.raft.core.raft.metrics().borrow().snapshot.is_none());
    first.raft.add_member(2, second.member.clone()).await.unwrap();
    let received = second.raft.core.raft.metrics().borrow().snapshot;
    assert!(received.is_some_and(|id| id.index >= last), "{received:?} of {last}");
    assert_eq!(second.raft.state().objects().count(), usize::from(SECRETS));
    for number in 0..SECRETS {
        let (version, command) = four_kib(number);
        let Command::CreateObject { sealed, .. } = command else { unreachable!() };
        assert_eq!(second.raft.body(version).await.unwrap(), sealed, "secret {number}");
    }
    first.raft.shutdown().await;
    second.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_proposes_and_reads_through_the_leader_and_the_next() {
    let ca = authority();
    let [first, second, third] = Manager::three(&ca).await;
    for (number, manager) in [(1, &second), (2, &third), (3, &first)] {
        let (version, command) = create(number);
        manager.raft.propose(None, command.clone()).await.unwrap();
        assert!(manager.raft.state().object_by_id(version.object).is_some(), "its own write");
        for other in [&first, &second, &third] {
            let linear = other.raft.linear().await.unwrap();
            assert!(linear.state().object_by_id(version.object).is_some(), "what was acknowledged");
        }
        let again = manager.raft.propose(None, command).await.unwrap_err();
        assert!(matches!(again, ProposeError::Refused(_)), "{again:?}");
    }
    for read in futures::future::join_all((0..50).map(|_| third.raft.linear())).await {
        read.unwrap();
    }
    for manager in [&first, &second] {
        let contacts = manager.raft.contacts().await.unwrap();
        assert_eq!(contacts.keys().copied().collect::<Vec<_>>(), [2, 3]);
        for Contact { silent, matched, clock_ahead_ms } in contacts.into_values() {
            assert!(clock_ahead_ms.is_some_and(|ms| ms.abs() < 1000), "one machine has one clock");
            assert!(silent.unwrap() < Duration::from_secs(2) && matched > 0);
        }
    }

    let lost = Instant::now();
    first.vanish().await;
    let error = second.raft.propose(None, create(4).1).await.unwrap_err();
    assert!(matches!(error, ProposeError::NotLeader { .. } | ProposeError::Unknown), "{error:?}");
    let error = second.raft.linear().await.unwrap_err();
    let said = matches!(error, ReadError::Unreachable { .. } | ReadError::NotLeader { .. });
    assert!(said || error == ReadError::NoQuorum, "{error:?}");
    let (mut two, mut three) = (second.raft.leadership(), third.raft.leadership());
    let follower = tokio::select! {
        _ = two.wait_for(|l| l.is_leading()) => &third,
        _ = three.wait_for(|l| l.is_leading()) => &second,
    };
    assert!(lost.elapsed() < Duration::from_secs(6), "elected after {:?}", lost.elapsed());
    println!("elected after {:?}", lost.elapsed());
    let mut metrics = follower.raft.core.raft.metrics();
    metrics.wait_for(|m| m.current_leader.is_some_and(|id| id != 1)).await.unwrap();
    follower.raft.propose(None, create(5).1).await.unwrap();
    follower.raft.linear().await.unwrap();
    let silent = follower.raft.contacts().await.unwrap()[&1].silent;
    assert_eq!(silent, None, "the one before does not answer its successor");
    second.vanish().await;
    third.vanish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_or_resigns_leaves_behind_one_that_leads() {
    let ca = authority();
    let [first, second, third] = Manager::three(&ca).await;
    let fourth = Manager::start(4, &ca, &[&first, &second, &third]).await;
    first.raft.add_member(4, fourth.member.clone()).await.unwrap();
    first.raft.propose(None, create(1).1).await.unwrap();
    let others = [&second, &third, &fourth];
    let leader = |among: &[&Manager]| {
        let leads = |manager: &&&Manager| {
            manager.raft.core.raft.metrics().borrow().state == openraft::ServerState::Leader
        };
        among.iter().find(leads).map(|manager| manager.id)
    };
    // No wait for anybody: who stops before there is another leader leaves a gap of seconds.
    let since = Instant::now();
    first.raft.hand_over().await;
    println!("handed over after {:?}", since.elapsed());
    let next = leader(&others).expect("one of the others leads");
    first.vanish().await;
    let (mut staying, mut next_one) = (Vec::new(), None);
    for manager in [second, third, fourth] {
        if manager.id == next {
            next_one = Some(manager);
        } else {
            staying.push(manager);
        }
    }
    let next = next_one.unwrap();
    next.raft.propose(None, create(2).1).await.unwrap();
    next.raft.remove_member(1).await.unwrap();
    let since = Instant::now();
    next.raft.resign(staying.iter().map(|manager| manager.id).collect()).await.unwrap();
    println!("resigned after {:?}", since.elapsed());
    let last = leader(&staying.iter().collect::<Vec<_>>()).expect("one of the others leads");
    let last = staying.iter().find(|manager| manager.id == last).unwrap();
    last.raft.propose(None, create(3).1).await.unwrap();
    next.vanish().await;
    for manager in &staying {
        manager.holds(3).await;
    }
    for manager in staying {
        manager.vanish().await;
    }
}

#[tokio::test]
async fn only_members_get_through_the_gate() {
    let (ca, log) = (authority(), Log::listen());
    let manager = Manager::start(1, &ca, &[]).await;
    let ask = async |tls: &Tls| {
        let channel = pki::channel(tls, &manager.member.addr, manager.member.node);
        RaftClient::new(channel).read_index(ReadIndexRequest { target: 1 }).await
    };
    let worker = tls(&ca, manager.member.node, Office::Worker);
    assert_eq!(ask(&worker).await.unwrap_err().code(), Code::PermissionDenied);
    let node = manager.member.node;
    log.has(&["WARN", "refused a call", node.as_str(), "role=worker"]);
    for (id, office) in [
        (NodeId::random(), Office::Candidate),
        (NodeId::random(), Office::Manager { raft_id: 1 }),
        (NodeId::random(), Office::Manager { raft_id: 9 }),
        (NodeId::random(), Office::Manager { raft_id: 10 }),
        (node, Office::Candidate),
        (node, Office::Manager { raft_id: 2 }),
    ] {
        let refused = ask(&tls(&ca, id, office)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{id} {office:?}");
        // The same caller once more is not told of at once.
        if id != node {
            log.has(&["WARN", "not heard here", id.as_str(), "127.0.0.1"]);
        }
    }
    let nobody = Tls::new(ca.cluster(), &[ca.certificate()], Clock::system()).unwrap();
    assert_eq!(ask(&nobody).await.unwrap_err().code(), Code::Unauthenticated);
    let member = tls(&ca, node, Office::Manager { raft_id: 1 });
    assert!(ask(&member).await.unwrap().into_inner().index > 0);
    manager.vanish().await;
}

#[tokio::test]
async fn an_empty_store_hears_whom_it_was_told_of_and_no_manager_that_was() {
    let (ca, log) = (authority(), Log::listen());
    let first = Manager::start(1, &ca, &[]).await;
    let joiner = Manager::start(5, &ca, &[&first]).await;
    let stand = async |node: NodeId, raft_id: u64, candidate: u64, term: u64| {
        let tls = tls(&ca, node, Office::Manager { raft_id });
        let channel = pki::channel(&tls, &joiner.member.addr, joiner.member.node);
        let vote = Some(v1::Vote { term, candidate: Some(candidate), committed: false });
        let request = v1::VoteRequest { target: 5, vote, last: None };
        RaftClient::new(channel).request_vote(request).await
    };
    let former = NodeId::random();
    for (node, raft_id, candidate) in [
        // Admitted before it, and not among those it was told of.
        (former, 2, 2),
        (former, 4, 4),
        // Whoever takes the Raft id of one of those, or its own, or another's name.
        (former, 1, 1),
        (former, 5, 5),
        (first.member.node, 1, 2),
    ] {
        let refused = stand(node, raft_id, candidate, 1000).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{raft_id}: {refused}");
        log.has(&["WARN", "not heard here", node.as_str(), &format!("raft_id=\"{raft_id}\"")]);
    }
    let term = || joiner.raft.core.raft.metrics().borrow().current_term;
    assert_eq!(term(), 0, "nobody was heard");
    stand(first.member.node, 1, 1, 7).await.unwrap();
    // Admitted after it: news that only those can bring.
    stand(NodeId::random(), 6, 6, 8).await.unwrap();
    joiner.vanish().await;
    first.vanish().await;
}
