//! The whole agent against a manager that only pretends: real gRPC over loopback.

use super::{
    run::{Agent, Ended, Handle, Manager},
    testing::{self, FakeRuntime},
};
use crate::{
    crypto::{
        plaintext::Plaintext,
        transit::{Offer, Transit},
    },
    kit::{
        clock::Clock,
        id::{NodeId, SessionId, TaskId},
        task::{self, Running, Stop},
    },
    model::{
        object::{Kind, VersionNumber},
        task::{ObjectVersion, Task, TaskState},
    },
    wire::v1::{
        self,
        dispatcher_server::{Dispatcher, DispatcherServer},
        session_response::Event,
    },
};
use futures::{StreamExt, stream::BoxStream};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Endpoint};

/// What the manager has seen and how it behaves.
#[derive(Debug, Default)]
struct Fake {
    sessions: Vec<String>,
    description: Option<v1::NodeDescription>,
    beats: usize,
    /// How often the whole assignment was asked for.
    streams: usize,
    statuses: BTreeMap<String, v1::TaskStatus>,
    updates: usize,
    /// Refuses that many status updates.
    refuse: usize,
    logs: Vec<v1::PublishLogsRequest>,
    logs_ended: usize,
    /// What it says of the managers.
    managers: Vec<v1::ManagerAddr>,
    /// Says of this node that it is no member.
    removed: Option<NodeId>,
    assignments: Option<mpsc::Sender<Result<v1::AssignmentsResponse, Status>>>,
    /// Of the last stream; the share for its first message.
    transit: Option<Transit>,
    key_share: Vec<u8>,
    events: Option<mpsc::Sender<Result<v1::SessionResponse, Status>>>,
}

#[derive(Debug, Clone)]
struct FakeManager(Arc<watch::Sender<Fake>>);

impl FakeManager {
    fn change<T>(&self, change: impl FnOnce(&mut Fake) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|fake| result = Some(change(fake)));
        result.unwrap()
    }

    async fn until(&self, mut is_so: impl FnMut(&Fake) -> bool) {
        let mut changes = self.0.subscribe();
        let wait = changes.wait_for(|fake| is_so(fake));
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time").unwrap();
    }

    async fn until_state(&self, task: TaskId, state: TaskState) {
        let wanted = v1::TaskStatus::from(&crate::model::task::TaskStatus::new(
            state,
            crate::kit::clock::Timestamp(0),
            "",
        ));
        self.until(|f| f.statuses.get(&task.to_string()).is_some_and(|s| s.state == wanted.state))
            .await;
    }

    async fn send(&self, mut step: v1::AssignmentsResponse) {
        self.until(|f| f.assignments.is_some()).await;
        step.key_share = self.change(|f| std::mem::take(&mut f.key_share));
        let stream = self.change(|f| f.assignments.clone()).unwrap();
        stream.send(Ok(step)).await.unwrap();
    }

    /// A payload as the next in the stream.
    async fn seal(&self, bytes: &[u8]) -> v1::assigned_payload::Content {
        self.until(|f| f.assignments.is_some()).await;
        let plain = Plaintext::new(bytes.to_vec());
        let sealed = self.change(|f| f.transit.as_mut().unwrap().seal(&plain));
        v1::assigned_payload::Content::Sealed(sealed)
    }

    async fn tell(&self, event: Event) {
        let stream = self.change(|f| f.events.clone()).unwrap();
        stream.send(Ok(v1::SessionResponse { event: Some(event) })).await.unwrap();
    }
}

#[tonic::async_trait]
impl Dispatcher for FakeManager {
    type SessionStream = BoxStream<'static, Result<v1::SessionResponse, Status>>;
    type AssignmentsStream = BoxStream<'static, Result<v1::AssignmentsResponse, Status>>;

    async fn session(
        &self,
        request: Request<v1::SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if let Some(node) = self.change(|f| f.removed) {
            return Err(crate::wire::status::removed(node));
        }
        let (sender, receiver) = mpsc::channel(8);
        let id = SessionId::random().to_string();
        let state = v1::SessionState {
            session_id: id.clone(),
            heartbeat: Some((&Duration::from_millis(20)).into()),
            managers: self.change(|f| f.managers.clone()),
            ..Default::default()
        };
        sender.send(Ok(v1::SessionResponse { event: Some(Event::State(state)) })).await.unwrap();
        self.change(|f| {
            f.sessions.push(id);
            f.description = request.into_inner().description;
            f.events = Some(sender);
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let id = request.into_inner().session_id;
        self.change(|f| {
            if f.sessions.last() != Some(&id) {
                return Err(Status::invalid_argument("session invalid"));
            }
            f.beats += 1;
            Ok(Response::new(v1::HeartbeatResponse { period: None }))
        })
    }

    async fn assignments(
        &self,
        request: Request<v1::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (sender, receiver) = mpsc::channel(8);
        let (transit, key_share) = Offer::answer(&request.into_inner().key_share).unwrap();
        self.change(|f| {
            (f.transit, f.key_share) = (Some(transit), key_share);
            f.streams += 1;
            f.assignments = Some(sender);
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn update_task_status(
        &self,
        request: Request<v1::UpdateTaskStatusRequest>,
    ) -> Result<Response<v1::UpdateTaskStatusResponse>, Status> {
        self.change(|f| {
            f.updates += 1;
            if f.refuse > 0 {
                f.refuse -= 1;
                return Err(Status::unavailable("no leader"));
            }
            for update in request.into_inner().updates {
                f.statuses.insert(update.task_id, update.status.unwrap());
            }
            Ok(Response::new(v1::UpdateTaskStatusResponse {}))
        })
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<v1::PublishLogsRequest>>,
    ) -> Result<Response<v1::PublishLogsResponse>, Status> {
        let mut messages = request.into_inner();
        // A reader that goes breaks the stream, which is an end as good as any.
        while let Ok(Some(message)) = messages.message().await {
            self.change(|f| f.logs.push(message));
        }
        self.change(|f| f.logs_ended += 1);
        Ok(Response::new(v1::PublishLogsResponse {}))
    }
}

struct World {
    node: NodeId,
    manager: FakeManager,
    addr: SocketAddr,
    serving: Option<Running<()>>,
    runtime: FakeRuntime,
    handle: Handle,
    stop: Stop,
    agent: Running<Ended>,
}

impl World {
    async fn start() -> Self {
        Self::with(FakeManager(Arc::new(watch::Sender::default()))).await
    }

    async fn with(manager: FakeManager) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let runtime = FakeRuntime::new();
        let node = NodeId::random();
        let managers = vec![Manager { node: NodeId::random(), addr: addr.to_string() }];
        let (agent, handle) = Agent::dialling(
            node,
            managers,
            Arc::new(runtime.clone()),
            Clock::system(),
            Box::new(|manager| {
                Endpoint::from_shared(format!("http://{}", manager.addr)).unwrap().connect_lazy()
            }),
        );
        let stop = Stop::new();
        let agent = task::start("agent", agent.run(stop.clone()));
        let serving = Some(serve(manager.clone(), tcp));
        Self { node, manager, addr, serving, runtime, handle, stop, agent }
    }

    /// The manager's process ends, and its connections with it.
    async fn cut(&mut self) {
        drop(self.serving.take());
        self.manager.change(|f| {
            f.events = None;
            f.assignments = None;
        });
        let mut handle = self.handle.clone();
        while handle.seen().connected {
            handle.changed().await.unwrap();
        }
    }

    async fn come_back(&mut self) {
        let tcp = TcpListener::bind(self.addr).await.unwrap();
        self.serving = Some(serve(self.manager.clone(), tcp));
    }
}

fn serve(manager: FakeManager, tcp: TcpListener) -> Running<()> {
    let server = tonic::transport::Server::builder()
        .add_service(DispatcherServer::new(manager))
        .serve_with_incoming(TcpListenerStream::new(tcp));
    task::start("manager", async move { server.await.unwrap() })
}

fn step(
    complete: bool,
    from: u64,
    changes: Vec<v1::assignment_change::Change>,
) -> v1::AssignmentsResponse {
    let kind =
        if complete { v1::AssignmentType::Complete } else { v1::AssignmentType::Incremental };
    v1::AssignmentsResponse {
        r#type: kind.into(),
        applies_to: from,
        results_in: from + 1,
        changes: changes
            .into_iter()
            .map(|change| v1::AssignmentChange { change: Some(change) })
            .collect(),
        more: false,
        key_share: Vec::new(),
    }
}

fn assigned(task: &Task) -> v1::assignment_change::Change {
    v1::assignment_change::Change::Task(task.into())
}

#[tokio::test]
async fn a_secret_and_its_task_come_over_the_stream_and_the_task_runs() {
    let world = World::start().await;
    let mut task = testing::task("web");
    let reference = testing::reference(Kind::Secret, "token", "token");
    let version = ObjectVersion { object: reference.object, version: VersionNumber::FIRST };
    Arc::make_mut(&mut task.spec).references.push(reference);
    task.versions.push(version);
    let payload = v1::assignment_change::Change::Payload(v1::AssignedPayload {
        version: Some((&version).into()),
        content: Some(world.manager.seal(b"sesame").await),
    });
    world.manager.send(step(true, 0, vec![payload, assigned(&task)])).await;
    world.manager.until_state(task.id, TaskState::Running).await;
    assert_eq!(world.runtime.look(|f| f.containers[&task.id].files.clone()), [6]);
    world.manager.until(|f| f.beats >= 2).await;
    // Accepted, preparing, ready, starting, running: what is stored is not told again.
    assert!(world.manager.change(|f| f.updates) <= 5);
    let description = world.manager.change(|f| f.description.take()).unwrap();
    assert_eq!(description.runtime, "fake");
    assert!(world.handle.seen().connected);

    task.desired = TaskState::Shutdown;
    world.manager.send(step(false, 1, vec![assigned(&task)])).await;
    world.manager.until_state(task.id, TaskState::Shutdown).await;
    let gone = v1::assignment_change::Change::RemovedTaskId(task.id.to_string());
    world.manager.send(step(false, 2, vec![gone])).await;
    world.runtime.until(|f| f.containers.is_empty()).await;
}

#[tokio::test]
async fn after_a_gap_the_whole_assignment_is_asked_for() {
    let world = World::start().await;
    let (first, lost) = (testing::task("one"), testing::task("two"));
    world.manager.send(step(true, 0, vec![assigned(&first)])).await;
    world.manager.until_state(first.id, TaskState::Running).await;
    world.manager.send(step(false, 7, vec![])).await;
    world.manager.until(|f| f.streams == 2).await;
    world.manager.send(step(true, 0, vec![assigned(&first), assigned(&lost)])).await;
    world.manager.until_state(lost.id, TaskState::Running).await;
    assert_eq!(world.manager.change(|f| f.sessions.len()), 1);
    assert_eq!(world.runtime.look(|f| f.containers[&first.id].starts), 1);
}

#[tokio::test]
async fn tasks_go_on_without_a_manager_and_what_happened_is_told_when_it_is_back() {
    let mut world = World::start().await;
    let (stays, ends) = (testing::task("one"), testing::task("two"));
    world.manager.send(step(true, 0, vec![assigned(&stays), assigned(&ends)])).await;
    world.manager.until_state(stays.id, TaskState::Running).await;
    world.manager.until_state(ends.id, TaskState::Running).await;
    world.cut().await;
    assert!(world.handle.seen().trouble.is_some());
    world.runtime.exit(ends.id, 9);
    world.runtime.until(|f| f.calls.contains(&"wipe")).await;
    assert_eq!(world.runtime.look(|f| f.calls.iter().filter(|c| **c == "stop").count()), 0);
    world.come_back().await;
    world.manager.until_state(ends.id, TaskState::Failed).await;
    assert_eq!(world.manager.change(|f| f.statuses[&ends.id.to_string()].exit_code), Some(9));
    assert!(world.manager.change(|f| f.sessions.len()) >= 2);
    assert_eq!(world.runtime.look(|f| f.containers[&stays.id].starts), 1);
}

#[tokio::test]
async fn a_status_that_was_not_stored_is_told_again() {
    let world = World::start().await;
    world.manager.change(|f| f.refuse = 2);
    let task = testing::task("web");
    world.manager.send(step(true, 0, vec![assigned(&task)])).await;
    world.manager.until(|f| f.refuse == 0).await;
    world.manager.until_state(task.id, TaskState::Running).await;
}

#[tokio::test]
async fn output_goes_to_its_reader_until_the_reader_goes() {
    let world = World::start().await;
    let task = testing::task("web");
    world.manager.until(|f| f.assignments.is_some()).await;
    // The reader may come before the task's container.
    let subscribe = |id: &str, follow, close| {
        Event::Logs(v1::LogSubscription {
            id: id.to_owned(),
            task_id: task.id.to_string(),
            options: Some(v1::LogOptions { follow, stdout: true, ..Default::default() }),
            close,
        })
    };
    world.manager.tell(subscribe("early", true, false)).await;
    world.manager.until(|f| f.logs.len() == 1).await;
    world.manager.send(step(true, 0, vec![assigned(&task)])).await;
    let lines = |f: &Fake, id: &str| -> Vec<Vec<u8>> {
        let of_id = f.logs.iter().filter(|m| m.subscription_id == id);
        of_id.flat_map(|m| m.lines.iter().map(|l| l.line.clone())).collect()
    };
    world.manager.until(|f| lines(f, "early") == [b"one", b"two"]).await;
    assert_eq!(world.manager.change(|f| f.logs_ended), 0, "it follows");
    world.manager.tell(subscribe("early", false, true)).await;
    world.manager.until(|f| f.logs_ended == 1).await;
    world.manager.tell(subscribe("late", false, false)).await;
    world.manager.until(|f| f.logs_ended == 2).await;
    world.manager.until(|f| lines(f, "late").len() == 2).await;
}

#[tokio::test]
async fn a_stopped_agent_leaves_its_tasks_running() {
    let world = World::start().await;
    let task = testing::task("web");
    world.manager.send(step(true, 0, vec![assigned(&task)])).await;
    world.manager.until_state(task.id, TaskState::Running).await;
    world.stop.cancel();
    assert_eq!(world.agent.wait().await, Ended::Stopped);
    let calls = world.runtime.look(|f| f.calls.clone());
    assert!(!calls.iter().any(|c| ["stop", "remove", "wipe"].contains(c)), "{calls:?}");
}

#[tokio::test]
async fn an_agent_turns_to_another_manager_when_its_own_goes_away() {
    let other = FakeManager(Arc::new(watch::Sender::default()));
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = tcp.local_addr().unwrap().to_string();
    let _serving = serve(other.clone(), tcp);
    let manager = FakeManager(Arc::new(watch::Sender::default()));
    let node_id = NodeId::random().to_string();
    // It has to learn of the other from this one.
    manager.change(|f| f.managers = vec![v1::ManagerAddr { node_id, addr }]);
    let mut world = World::with(manager).await;
    let task = testing::task("web");
    world.manager.send(step(true, 0, vec![assigned(&task)])).await;
    world.manager.until_state(task.id, TaskState::Running).await;
    assert_eq!(other.change(|f| f.sessions.len()), 0);
    world.cut().await;
    other.send(step(true, 0, vec![assigned(&task)])).await;
    // It knows less than we have told before, so it is told again.
    other.until_state(task.id, TaskState::Running).await;
    assert_eq!(world.runtime.look(|f| f.containers[&task.id].starts), 1);
}

#[tokio::test]
async fn a_removed_agent_takes_everything_away_and_says_so() {
    let mut world = World::start().await;
    let (ours, stray) = (testing::task("web"), testing::task("old"));
    world.manager.send(step(true, 0, vec![assigned(&ours), assigned(&stray)])).await;
    world.manager.until_state(ours.id, TaskState::Running).await;
    world.manager.until_state(stray.id, TaskState::Running).await;
    // A refusal that is about another node, or about something else, is none of ours.
    world.manager.change(|f| f.removed = Some(NodeId::random()));
    world.cut().await;
    world.come_back().await;
    let mut handle = world.handle.clone();
    for _ in 0..2 {
        handle.changed().await.unwrap();
    }
    assert_eq!(world.runtime.look(|f| f.containers.len()), 2);
    let node = world.node;
    world.manager.change(|f| f.removed = Some(node));
    assert_eq!(world.agent.wait().await, Ended::Removed);
    assert!(world.handle.seen().removed);
    world.runtime.look(|f| {
        assert!(f.containers.is_empty());
        assert!(f.calls.contains(&"stop"), "its processes get their grace");
    });
}

#[tokio::test]
async fn a_removed_agent_takes_away_what_an_agent_before_it_left() {
    let world = World::start().await;
    let task = testing::task("web");
    world.manager.send(step(true, 0, vec![assigned(&task)])).await;
    world.manager.until_state(task.id, TaskState::Running).await;
    world.stop.cancel();
    assert_eq!(world.agent.wait().await, Ended::Stopped);
    let node = world.node;
    world.manager.change(|f| f.removed = Some(node));
    let addr = world.addr.to_string();
    let (agent, handle) = Agent::dialling(
        node,
        vec![Manager { node: NodeId::random(), addr }],
        Arc::new(world.runtime.clone()),
        Clock::system(),
        Box::new(|manager| {
            Endpoint::from_shared(format!("http://{}", manager.addr)).unwrap().connect_lazy()
        }),
    );
    assert_eq!(agent.run(Stop::new()).await, Ended::Removed);
    assert!(handle.seen().removed);
    assert!(world.runtime.look(|f| f.containers.is_empty()));
}
