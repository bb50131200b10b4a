//! Workers that lie: about themselves, their tasks and their logs.

use crate::world::{World, until};
use secretd::{
    client::enroll,
    crypto::{plaintext::Plaintext, transit::Offer},
    kit::{
        clock::{Clock, Timestamp},
        id::NodeId,
        task::{self, Running},
    },
    model::{
        node::{Availability, NodeDescription},
        task::{TaskState, TaskStatus},
    },
    pki::{self, JoinToken, Tls},
    wire::v1::{
        self, assignment_change::Change, dispatcher_client::DispatcherClient,
        session_response::Event,
    },
};
use std::{fs, time::Duration};
use tonic::{Code, Status, Streaming, transport::Channel};

/// A member with a good certificate that says what it likes.
struct Liar {
    node: NodeId,
    calls: DispatcherClient<Channel>,
}

/// What a liar has to show for itself.
struct Session {
    id: String,
    _events: Streaming<v1::SessionResponse>,
    _beats: Running<()>,
}

fn described(hostname: &str) -> v1::NodeDescription {
    v1::NodeDescription { hostname: hostname.to_owned(), ..Default::default() }
}

impl Liar {
    async fn join(world: &World, hostname: &str) -> Self {
        let token = world.ctl(["join-token", "-q", "worker"]).ok().trim().as_bytes().to_vec();
        let token = JoinToken::read(&Plaintext::new(token)).unwrap();
        let addr = world.ctl(["status", "--format", "{{.AdvertiseAddr}}"]).ok().trim().to_owned();
        let description = NodeDescription { hostname: hostname.into(), ..Default::default() };
        let (active, clock) = (Availability::Active, Clock::system());
        let joined = enroll::join(&[addr], &token, &description, active, &clock).await.unwrap();
        let roots: Vec<&[u8]> = joined.roots.iter().map(Vec::as_slice).collect();
        let tls = Tls::new(joined.cluster, &roots, clock).unwrap();
        tls.set_identity(&joined.identity).unwrap();
        let (manager, addr) = joined.managers.first().unwrap();
        let channel = pki::connect(&tls, addr, *manager).await.unwrap();
        Self { node: joined.node, calls: DispatcherClient::new(channel) }
    }

    async fn session(&mut self, description: v1::NodeDescription) -> Result<Session, Status> {
        let request = v1::SessionRequest { description: Some(description), process: 7 };
        let mut events = self.calls.session(request).await?.into_inner();
        let Some(Event::State(state)) = events.message().await?.unwrap().event else {
            panic!("a session begins with its state")
        };
        let (mut calls, session_id) = (self.calls.clone(), state.session_id.clone());
        let beats = task::start("beats", async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tick.tick().await;
                let request = v1::HeartbeatRequest { session_id: session_id.clone() };
                if calls.heartbeat(request).await.is_err() {
                    return;
                }
            }
        });
        Ok(Session { id: state.session_id, _events: events, _beats: beats })
    }

    /// Follows what it is to do until it is given a task; returns that, and of how many payloads it heard.
    async fn until_given(&mut self, session: &Session) -> (String, usize) {
        let key_share = Offer::new().share().to_vec();
        let request = v1::AssignmentsRequest { session_id: session.id.clone(), key_share };
        let mut stream = self.calls.assignments(request).await.unwrap().into_inner();
        let mut payloads = 0;
        loop {
            for change in stream.message().await.unwrap().unwrap().changes {
                match change.change.unwrap() {
                    Change::Task(task) => return (task.id, payloads),
                    Change::Payload(_) => payloads += 1,
                    Change::RemovedTaskId(_) | Change::RemovedPayload(_) => {}
                }
            }
        }
    }

    async fn report(
        &mut self,
        session: &Session,
        task: &str,
        at: Timestamp,
        count: usize,
    ) -> Result<(), Status> {
        let status = TaskStatus::new(TaskState::Running, at, "");
        let update =
            v1::TaskStatusUpdate { task_id: task.to_owned(), status: Some((&status).into()) };
        let request = v1::UpdateTaskStatusRequest {
            session_id: session.id.clone(),
            updates: vec![update; count],
            wiped_task_ids: Vec::new(),
        };
        self.calls.update_task_status(request).await.map(drop)
    }
}

/// Waits for a line of the daemon's log that has all these words.
fn logged(world: &World, words: &[&str]) {
    until(&format!("a line with {words:?}"), || {
        let log = fs::read_to_string(world.path("log")).unwrap_or_default();
        log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

#[test]
fn a_worker_that_lies_about_itself_gets_nothing_by_it_and_is_named() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::initialised();
        world.ctl_with(["create", "key", "-"], b"canary").ok();
        let mut liar = Liar::join(&world, "plain").await;
        let id = liar.node.to_string();
        let service = |name: &str, constraint: &str, more: &[&str]| {
            let first = ["service", "create", "--detach", "--name", name];
            let place = ["--constraint", constraint];
            world.ctl(first.iter().chain(&place).chain(more).chain(&["busybox"]))
        };
        // An operator is told whose word decides.
        let said = service("vault", "node.hostname==vault", &["--secret", "key"]);
        assert!(said.err.contains("note:") && said.err.contains("node.hostname"), "{}", said.err);
        said.ok();

        // A name that is another's: noted, shown, and nothing comes of it. The task that is its own by its id shows
        // that the scheduler has seen it so.
        let lie = v1::NodeDescription {
            nano_cpus: 64_000_000_000,
            memory_bytes: 1 << 40,
            engine_labels: [("vault".to_owned(), "yes".to_owned())].into(),
            ..described("vault")
        };
        let session = liar.session(lie).await.unwrap();
        logged(&world, &["WARN", "another host name", &id, "plain", "vault", "127.0.0.1"]);
        let said = service("own", &format!("node.id=={id}"), &[]);
        assert_eq!(said.err, "");
        said.ok();
        let (task, payloads) = liar.until_given(&session).await;
        assert_eq!(payloads, 0, "a secret went to the liar");
        let waits = world.tasks("vault");
        assert!(waits.iter().all(|(_, state, _)| state.contains("Pending")), "{waits:?}");
        let shown = world.ctl(["node", "inspect", "--pretty", &id]).ok();
        assert!(
            shown.contains("plain") && shown.contains("Calls itself:           vault"),
            "{shown}"
        );

        // Nothing has happened that is yet to come.
        let year = Timestamp(Clock::system().now().0 + 365 * 24 * 3_600_000);
        liar.report(&session, &task, year, 1).await.unwrap();
        logged(&world, &["WARN", "yet to come", &id, &task]);
        let refused = liar.report(&session, &task, year, 501).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        logged(&world, &["WARN", "too many", &id]);

        // What no machine says.
        let long = [("k".to_owned(), "v".repeat(8 * 1024))].into();
        for bad in [
            v1::NodeDescription { engine_labels: long, ..described("plain") },
            v1::NodeDescription { nano_cpus: u64::MAX, ..described("plain") },
            described("\u{1b}[2J"),
        ] {
            let refused = liar.session(bad).await.err().unwrap();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        }
        logged(&world, &["WARN", "refused what a node says of itself", &id, "127.0.0.1"]);

        // An operator may give it the name: then it is the node to ask for.
        world.ctl(["node", "update", "--hostname", "vault", "plain"]).ok();
        let task = until("the task", || {
            let tasks = world.tasks("vault");
            tasks.iter().any(|(_, state, _)| !state.contains("Pending")).then_some(tasks)
        });
        assert_eq!(task.len(), 1);
    });
}
