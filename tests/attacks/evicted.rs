//! Managers that were demoted or removed and want to go on deciding.

use crate::{
    cluster::Cluster,
    world::{World, until},
};
use secretd::{
    kit::clock::Clock,
    node::{
        keystore::{self, Opened},
        member::Member,
    },
    pki::{self, Tls},
    wire::v1::{
        self, AdmitRequest, AppendEntriesRequest, ContactsRequest, InstallSnapshotRequest,
        ProposeRequest, ReadIndexRequest, RelayLogsRequest, StandRequest, VoteRequest,
        ca_client::CaClient,
        install_snapshot_request::{Part, Start},
        log_entry::Payload,
        peer_client::PeerClient,
        raft_client::RaftClient,
    },
};
use std::{fs, time::Duration};
use tokio::runtime::Runtime;
use tonic::{Code, Status, transport::Channel};

/// Terms that a former manager claims to lead are above this.
const FORGED: u64 = 1000;
/// For longer than this without a leader a manager is lost.
const LOST: Duration = Duration::from_millis(3500);

/// What somebody has who copied a manager's disk: its key and its certificate.
struct Thief {
    runtime: Runtime,
    tls: Tls,
    raft_id: u64,
}

/// A manager as the thief knows it.
struct Target {
    id: String,
    addr: String,
    raft_id: u64,
}

impl Thief {
    fn copy(node: &World) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["node.keys", "node.identity"] {
            fs::copy(node.data_dir().join(name), copy.path().join(name)).unwrap();
        }
        let Opened::Open(keys) = keystore::open(copy.path(), &node.path("data.key")).unwrap()
        else {
            panic!("its key file opens it");
        };
        let member = Member::load(copy.path(), &keys).unwrap().unwrap();
        let roots: Vec<&[u8]> = member.roots.iter().map(Vec::as_slice).collect();
        let tls = Tls::new(keys.cluster, &roots, Clock::system()).unwrap();
        tls.set_identity(&member.identity).unwrap();
        let runtime = Runtime::new().unwrap();
        Self { runtime, tls, raft_id: member.raft_id.unwrap() }
    }

    fn channel(&self, to: &Target) -> Channel {
        // A channel needs a runtime around it when it is made.
        let _inside = self.runtime.enter();
        pki::channel(&self.tls, &to.addr, to.id.parse().unwrap())
    }

    fn raft(&self, to: &Target) -> RaftClient<Channel> {
        RaftClient::new(self.channel(to))
    }

    /// Asks for a vote for `candidate`.
    fn stand(&self, to: &Target, term: u64, candidate: u64) -> Result<v1::VoteResponse, Status> {
        let vote = vote(term, candidate, false);
        let last = Some(v1::LogId { term, leader: candidate, index: 1_000_000 });
        let request = VoteRequest { target: to.raft_id, vote, last };
        self.runtime.block_on(self.raft(to).request_vote(request)).map(tonic::Response::into_inner)
    }

    /// Brings an entry in the name of `leader`.
    fn append(&self, to: &Target, leader: u64) -> Result<(), Status> {
        let log_id = Some(v1::LogId { term: FORGED, leader, index: 1 });
        let entry = v1::LogEntry { log_id, payload: Some(Payload::Blank(Default::default())) };
        let request = AppendEntriesRequest {
            target: to.raft_id,
            vote: vote(FORGED, leader, true),
            prev: None,
            entries: vec![entry],
            commit: log_id,
        };
        self.runtime.block_on(self.raft(to).append_entries(request)).map(drop)
    }

    /// Brings the header of a snapshot in the name of `leader`.
    fn install(&self, to: &Target, leader: u64) -> Result<(), Status> {
        let (target, vote) = (to.raft_id, vote(FORGED, leader, true));
        let start = Start { target, vote, header: Some(Default::default()) };
        let request = InstallSnapshotRequest { part: Some(Part::Start(start)) };
        let stream = tokio_stream::iter([request]);
        self.runtime.block_on(self.raft(to).install_snapshot(stream)).map(drop)
    }

    /// Everything that only a manager may, and what came of it.
    fn everything(&self, to: &Target) -> Vec<(&'static str, Result<(), Status>)> {
        let (target, own) = (to.raft_id, self.raft_id);
        let mut raft = self.raft(to);
        let mut done = vec![
            ("append", self.append(to, own)),
            ("vote", self.stand(to, FORGED, own).map(drop)),
            ("install", self.install(to, own)),
        ];
        let csr = pki::PrivateKey::generate().request();
        self.runtime.block_on(async {
            let stand = StandRequest { target, term: FORGED };
            done.push(("stand", raft.stand(stand).await.map(drop)));
            let propose = ProposeRequest { target, request: None, command: None };
            done.push(("propose", raft.propose(propose).await.map(drop)));
            done.push(("read", raft.read_index(ReadIndexRequest { target }).await.map(drop)));
            done.push(("contacts", raft.contacts(ContactsRequest { target }).await.map(drop)));
            let mut peer = PeerClient::new(self.channel(to));
            let relay = RelayLogsRequest::default();
            done.push(("relay", peer.relay_logs(relay).await.map(drop)));
            let mut ca = CaClient::new(self.channel(to));
            let admit = AdmitRequest { addr: "10.0.0.7:2390".into(), csr };
            done.push(("admit", ca.admit(admit).await.map(drop)));
        });
        done
    }

    #[track_caller]
    fn is_refused_everything(&self, to: &Target, when: &str) {
        for (what, done) in self.everything(to) {
            let refused = done.expect_err(what);
            assert_eq!(refused.code(), Code::PermissionDenied, "{what} {when}: {refused}");
        }
    }

    /// The term that a manager is in, which hears this one.
    fn term_of(&self, to: &Target) -> u64 {
        self.stand(to, 0, self.raft_id).unwrap().vote.unwrap().term
    }
}

fn vote(term: u64, candidate: u64, committed: bool) -> Option<v1::Vote> {
    Some(v1::Vote { term, candidate: Some(candidate), committed })
}

fn target(cluster: &Cluster, n: usize) -> Target {
    let id = cluster.id(n).to_owned();
    let status = cluster.nodes[n].json(["status", "--format", "json"]);
    let managers = status["RemoteManagers"].as_array().unwrap();
    let this = managers.iter().find(|manager| manager["NodeID"] == id.as_str()).unwrap();
    let addr = this["Addr"].as_str().unwrap().to_owned();
    Target { id, addr, raft_id: this["RaftID"].as_u64().unwrap() }
}

/// A line of this manager's log that names who was refused, and why.
fn tells(cluster: &Cluster, n: usize, words: &[&str]) -> bool {
    let log = fs::read_to_string(cluster.nodes[n].path("log")).unwrap();
    log.lines().any(|line| line.contains("WARN") && words.iter().all(|word| line.contains(word)))
}

#[test]
fn a_former_manager_is_heard_by_nobody_whether_they_lead_have_lost_their_leader_or_just_started() {
    let mut cluster = Cluster::new(&[true, true]);
    let (second, third) = (Thief::copy(&cluster.nodes[1]), Thief::copy(&cluster.nodes[2]));
    let targets = [target(&cluster, 0), target(&cluster, 1)];
    let evicted = cluster.id(2).to_owned();

    // As a manager it gets through, but speaks for nobody else.
    until("the third to get through", || (third.term_of(&targets[0]) < FORGED).then_some(()));
    let others_name = [
        third.stand(&targets[0], FORGED, second.raft_id).map(drop),
        third.append(&targets[0], second.raft_id),
        third.install(&targets[0], second.raft_id),
        // Not even in the name of the one that is called.
        third.stand(&targets[0], FORGED, targets[0].raft_id).map(drop),
        third.append(&targets[0], targets[0].raft_id),
    ];
    for done in others_name {
        assert_eq!(done.unwrap_err().code(), Code::PermissionDenied);
    }
    assert!(tells(&cluster, 0, &[&evicted, "in the name of another manager", "127.0.0.1"]));

    cluster.ask(["node", "demote", &evicted]).ok();
    cluster.until_voters(2);
    cluster.until_node(2, "ManagerStatus", "");
    for to in &targets {
        third.is_refused_everything(to, "while there is a leader");
    }
    for n in 0..2 {
        assert!(tells(&cluster, n, &[&evicted, "not heard here", "it was demoted", "127.0.0.1"]));
    }

    // One of two is no majority: nobody can lead.
    let leader = cluster.leader();
    let other = 1 - leader;
    cluster.freeze(leader);
    #[expect(clippy::disallowed_methods, reason = "being lost is a matter of time")]
    std::thread::sleep(LOST);
    third.is_refused_everything(&targets[other], "without a leader");
    cluster.thaw(leader);
    cluster.until_serving(leader);

    cluster.ask(["node", "rm", "--force", &evicted]).ok();
    for n in [0, 1] {
        cluster.kill(n);
    }
    cluster.start(0);
    third.is_refused_everything(&targets[0], "of one that just started");
    #[expect(clippy::disallowed_methods, reason = "being lost is a matter of time")]
    std::thread::sleep(LOST);
    third.is_refused_everything(&targets[0], "of one that started alone");
    // Those of the group find each other again.
    assert!(second.term_of(&targets[0]) < FORGED, "no forged term was taken");
    cluster.start(1);
    cluster.until_serving(0);
    cluster.until_serving(1);
    cluster.nodes[0].ctl_with(["create", "after", "-"], b"x").ok();
    assert!(second.term_of(&targets[0]) < FORGED);
    third.is_refused_everything(&targets[1], "after its node was removed");
    let told = || (0..2).any(|n| tells(&cluster, n, &[&evicted, "it was removed"]));
    until("the log to say that it was removed", || told().then_some(()));
}
