//! Nodes that were off for longer than their certificates live: real stores, TLS and agents in this process, under a
//! clock that is set.

use super::*;
use crate::{
    client::enroll::EnrollError,
    model::cluster::Token,
    node::settings::{LogFormat, RuntimeChoice},
    store::State,
};
use std::time::Duration;
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with its disk; a node on it while it is on.
struct Machine {
    around: Surroundings,
    node: Option<Active>,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new(clock: &Clock) -> Self {
        let dir = tempfile::Builder::new().prefix("sd").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("data")).unwrap();
        let settings = Settings {
            data_dir: path("data"),
            run_dir: path("run"),
            key_file: path("data.key"),
            runtime: RuntimeChoice::Process,
            docker_host: String::new(),
            listen_addr: None,
            advertise_addr: None,
            managers: Vec::new(),
            log_format: LogFormat::Text,
            log_level: "info".into(),
        };
        let around = Surroundings {
            settings,
            data: path("data"),
            clock: clock.clone(),
            fatal: Stop::new(),
            filling: Stop::new(),
            book: Book::default(),
        };
        Self { around, node: None, _dir: dir }
    }

    async fn founded(clock: &Clock) -> Self {
        let mut machine = Self::new(clock);
        let found = Active::found(&machine.around, "127.0.0.1:0", "127.0.0.1", false).await;
        machine.node = Some(found.unwrap().0);
        machine
    }

    async fn joined(first: &Self, role: Role) -> Self {
        let mut machine = Self::new(&first.around.clock);
        let state = first.state();
        let token = JoinToken::generate(CaDigest::of(&state.cluster().unwrap().ca_certificate));
        let row = Token {
            hash: token.hash().0,
            role,
            created_at: first.around.clock.now(),
            expires_at: None,
            uses_left: Some(1),
        };
        first.propose(Command::AddToken { token: row, revoke: false }).await;
        let joining = Joining {
            token: &token,
            managers: &[first.node().card.read(|member| member.advertise_addr.clone())],
            listen: "127.0.0.1:0",
            advertise: "127.0.0.1",
            availability: Availability::Active,
        };
        machine.node = Some(Active::join(&machine.around, joining).await.unwrap());
        machine
    }

    fn node(&self) -> &Active {
        self.node.as_ref().expect("it is on")
    }

    fn id(&self) -> NodeId {
        self.node().node()
    }

    fn raft(&self) -> &Raft {
        &self.node().managing.as_ref().expect("it is a manager").raft
    }

    fn state(&self) -> Arc<State> {
        self.raft().state()
    }

    async fn propose(&self, command: Command) {
        self.raft().propose(None, command).await.unwrap();
    }

    async fn off(&mut self) {
        self.node.take().expect("it is on").shutdown().await.unwrap();
    }

    async fn on(&mut self) {
        match Active::resume(&self.around).await.unwrap() {
            Resumed::Active(node) => self.node = Some(*node),
            _ => panic!("it belongs to a cluster, and its keys are open"),
        }
    }

    fn has_a_good_certificate(&self) -> bool {
        let now = self.around.clock.now();
        self.node().tls.peer().is_some_and(|peer| peer.not_after > now)
    }

    /// Whether this manager's store says that the node is here, with a certificate that is good.
    fn sees(&self, node: NodeId) -> bool {
        let now = self.around.clock.now();
        self.state().node_by_id(node).is_some_and(|row| {
            row.status.state == NodeState::Ready
                && row.status.at.plus(HOUR) > now
                && row.certificate.as_ref().is_some_and(|it| it.expires_at > now)
        })
    }
}

async fn until(what: &str, so: impl Fn() -> bool) {
    let look = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

#[tokio::test]
async fn nodes_whose_certificates_expired_while_they_were_off_come_back_by_themselves_unless_removed()
 {
    let clock = Clock::manual(Timestamp(1_790_000_000_000));
    let mut first = Machine::founded(&clock).await;
    let mut second = Machine::joined(&first, Role::Manager).await;
    let mut worker = Machine::joined(&first, Role::Worker).await;
    let mut removed = Machine::joined(&first, Role::Worker).await;
    let ids = [first.id(), second.id(), worker.id()];
    until("all to be here", || ids.iter().chain([&removed.id()]).all(|id| first.sees(*id))).await;
    until("both managers to vote", || first.raft().status().voters.len() == 2).await;

    removed.off().await;
    let gone = removed.around.settings.clone();
    assert!(member::path(&gone.data_dir).exists());
    let id = first.state().nodes().map(|row| row.id).find(|id| !ids.contains(id)).unwrap();
    first.propose(Command::RemoveNode { id, force: true }).await;
    for machine in [&mut worker, &mut second, &mut first] {
        machine.off().await;
    }
    clock.advance(100 * HOUR);

    // Neither manager can do anything without the other, and no certificate is good any more.
    first.on().await;
    second.on().await;
    worker.on().await;
    let all = [&first, &second, &worker];
    until("good certificates", || all.iter().all(|machine| machine.has_a_good_certificate())).await;
    until("all to be here again", || ids.iter().all(|id| second.sees(*id))).await;

    // Whoever holds the key of a node that was removed is told so, and forgets.
    removed.on().await;
    let wish = tokio::time::timeout(PATIENCE, removed.node().wish()).await.unwrap();
    assert_eq!(wish, Wish::Gone);
    removed.node.take().unwrap().forget(&removed.around).await.unwrap();
    assert!(!member::path(&gone.data_dir).exists());
    assert!(first.state().node_by_id(id).is_none());
    for machine in [&mut worker, &mut second, &mut first] {
        machine.off().await;
    }
}

#[tokio::test]
async fn a_workers_certificate_opens_nothing_of_the_managers() {
    use crate::{
        kit::testing::Log,
        wire::v1::{
            ContactsRequest, GetClusterRequest, InstallSnapshotRequest, ProposeRequest,
            ReadIndexRequest, VoteRequest, control_client::ControlClient, raft_client::RaftClient,
        },
    };
    let (clock, log) = (Clock::system(), Log::listen());
    let mut first = Machine::founded(&clock).await;
    let mut worker = Machine::joined(&first, Role::Worker).await;
    let addr = first.node().card.read(|member| member.advertise_addr.clone());
    let channel = crate::pki::channel(&worker.node().tls, &addr, first.id());
    let mut raft = RaftClient::new(channel.clone());
    let refused = [
        raft.append_entries(v1::AppendEntriesRequest::default()).await.unwrap_err(),
        raft.request_vote(VoteRequest::default()).await.unwrap_err(),
        raft.propose(ProposeRequest::default()).await.unwrap_err(),
        raft.read_index(ReadIndexRequest::default()).await.unwrap_err(),
        raft.contacts(ContactsRequest::default()).await.unwrap_err(),
        raft.install_snapshot(tokio_stream::iter([InstallSnapshotRequest::default()]))
            .await
            .unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let id = worker.id();
    log.has(&["WARN", "gate: refused a call", "Raft/Propose", id.as_str(), "role=worker"]);
    let admitted = enroll::admit(&worker.node().tls, (first.id(), &addr), "10.0.0.7:2390").await;
    assert!(matches!(admitted, Err(EnrollError::Refused(_))));
    log.has(&["WARN", "refused to admit a node that is no manager", id.as_str(), "127.0.0.1"]);
    // Operators are not served here at all.
    let refused = ControlClient::new(channel).get_cluster(GetClusterRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    worker.off().await;
    first.off().await;
}
