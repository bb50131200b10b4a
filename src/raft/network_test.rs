//! Three managers on loopback sockets: they replicate, send snapshots, lose their leader and go on.

use super::{
    handle::{Begin, Options, Raft, Sizes},
    log::LogSizes,
    network::{PeerError, Peers},
    types::Member,
};
use crate::{
    crypto::{key::Key, seal::Sealed},
    kit::{
        clock::Clock,
        id::{ClusterId, NodeId, ObjectId},
        task::{self, Running},
    },
    model::{
        Labels,
        command::Command,
        object::{Kind, VersionNumber},
        task::ObjectVersion,
    },
};
use async_trait::async_trait;
use std::sync::Arc;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint, Server};

/// Dials without certificates.
#[derive(Debug)]
struct Plain;

#[async_trait]
impl Peers for Plain {
    async fn channel(&self, member: &Member) -> Result<Channel, PeerError> {
        let Member { node, addr } = member.clone();
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        endpoint.connect().await.map_err(|e| PeerError { node, addr, why: e.to_string() })
    }
}

struct Manager {
    raft: Raft,
    id: u64,
    member: Member,
    _serving: Running<()>,
    _dir: TempDir,
}

impl Manager {
    async fn start(id: u64, cluster: ClusterId) -> Self {
        let dir = TempDir::new().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let member = Member { node: NodeId::random(), addr };
        let options = Options {
            dir: dir.path().join("raft"),
            cluster,
            node: member.node,
            raft_id: id,
            key: Arc::new(Key::random()),
            clock: Clock::system(),
        };
        let sizes = Sizes {
            log: LogSizes { segment: 64 << 10, first_segment: 64 << 10, ..LogSizes::default() },
            kept: 100 << 10,
        };
        let begin = if id == 1 { Begin::Found(member.clone()) } else { Begin::Join };
        let raft = Raft::start(options, sizes, begin, Arc::new(Plain)).await.unwrap();
        let service = raft.peer_service();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let serving = task::start("peers", async move {
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { raft, id, member, _serving: serving, _dir: dir }
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
    let cluster = ClusterId::random();
    let first = Manager::start(1, cluster).await;
    let second = Manager::start(2, cluster).await;
    first.raft.add_member(2, second.member.clone()).await.unwrap();
    for number in 1..=60 {
        first.raft.propose(None, create(number).1).await.unwrap();
    }
    second.holds(60).await;
    // The log no longer begins at its beginning, so the third can only be sent a snapshot.
    let mut metrics = first.raft.core.raft.metrics();
    metrics.wait_for(|m| m.purged.is_some_and(|id| id.index > 10)).await.unwrap();
    let third = Manager::start(3, cluster).await;
    first.raft.add_member(3, third.member.clone()).await.unwrap();
    for number in [1, 30, 60] {
        third.holds(number).await;
    }
    assert_eq!(first.raft.status().voters, [1, 2, 3]);
    assert!(!third.raft.leadership().borrow().is_leading());
    third.raft.linear().await.unwrap_err();
    let linear = first.raft.linear().await.unwrap();
    assert!(linear.state().object_by_id(create(60).0.object).is_some());

    first.raft.shutdown().await;
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
