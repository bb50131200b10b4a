//! The dispatcher as agents meet it: mutual TLS over loopback, on a real store.

use super::*;
use crate::{
    client::Client,
    crypto::{plaintext::Plaintext, transit::Transit},
    kit::{
        id::{ServiceId, TaskId},
        testing::Log,
    },
    manager::testing::{FOUNDER, Manager, status as task_status},
    model::{
        Labels,
        command::TaskChange,
        node::NodeState,
        object::Kind,
        task::{Task, TaskState, TaskStatus},
    },
    pki::Office,
    store::{Change as StoreChange, Entity},
    wire::v1::{
        assigned_payload::Content, assignment_change::Change, dispatcher_client::DispatcherClient,
        session_response::Event,
    },
};
use tonic::transport::Channel;

/// An agent with its session.
struct Agent {
    calls: DispatcherClient<Channel>,
    session: String,
    events: Streaming<v1::SessionResponse>,
}

impl Agent {
    async fn open(manager: &Manager) -> Self {
        Self::with(manager, manager.worker(manager.node)).await
    }

    async fn with(manager: &Manager, mut calls: DispatcherClient<Channel>) -> Self {
        let mut events = calls.session(described("box")).await.unwrap().into_inner();
        let Some(Event::State(state)) = events.message().await.unwrap().unwrap().event else {
            panic!("the first event is the state")
        };
        assert_eq!(state.node.unwrap().id, manager.node.to_string());
        Self { calls, session: state.session_id, events }
    }

    async fn assignments(&mut self) -> Assignments {
        let offer = Offer::new();
        let request = self.ask(&offer);
        let messages = self.calls.assignments(request).await.unwrap().into_inner();
        Assignments { messages, offer: Some(offer), transit: None }
    }

    fn ask(&self, offer: &Offer) -> v1::AssignmentsRequest {
        let session_id = self.session.clone();
        v1::AssignmentsRequest { session_id, key_share: offer.share().to_vec() }
    }

    async fn report(&mut self, task: TaskId, state: TaskState) -> Result<(), Status> {
        let update = v1::TaskStatusUpdate {
            task_id: task.to_string(),
            status: Some((&task_status(state)).into()),
        };
        let session_id = self.session.clone();
        let request = v1::UpdateTaskStatusRequest {
            session_id,
            updates: vec![update],
            wiped_task_ids: Vec::new(),
        };
        self.calls.update_task_status(request).await.map(drop)
    }

    async fn confirm_wiped(&mut self, task: TaskId) -> Result<(), Status> {
        let request = v1::UpdateTaskStatusRequest {
            session_id: self.session.clone(),
            updates: Vec::new(),
            wiped_task_ids: vec![task.to_string()],
        };
        self.calls.update_task_status(request).await.map(drop)
    }

    async fn beat(&mut self) -> Result<(), Status> {
        let request = v1::HeartbeatRequest { session_id: self.session.clone() };
        self.calls.heartbeat(request).await.map(drop)
    }

    async fn log_order(&mut self) -> v1::LogSubscription {
        loop {
            match self.events.message().await.unwrap().unwrap().event.unwrap() {
                Event::Logs(order) => return order,
                Event::State(_) => {}
            }
        }
    }

    fn publish(&self, order: &v1::LogSubscription, lines: &[&str]) -> Vec<v1::PublishLogsRequest> {
        let line = |text: &&str| v1::LogLine {
            at_ms: 1,
            output: v1::Output::Stdout.into(),
            line: text.as_bytes().to_vec(),
        };
        let each = |text: &&str| v1::PublishLogsRequest {
            session_id: self.session.clone(),
            subscription_id: order.id.clone(),
            lines: vec![line(text)],
            error: String::new(),
        };
        lines.iter().map(each).collect()
    }
}

/// One stream of assignments, and what opens its payloads.
#[derive(Debug)]
struct Assignments {
    messages: Streaming<v1::AssignmentsResponse>,
    offer: Option<Offer>,
    transit: Option<Transit>,
}

impl Assignments {
    async fn message(&mut self) -> Result<Option<v1::AssignmentsResponse>, Status> {
        let message = self.messages.message().await?;
        if let Some((offer, first)) = self.offer.take().zip(message.as_ref()) {
            self.transit = Some(offer.agree(&first.key_share).unwrap());
        }
        Ok(message)
    }

    fn open(&mut self, sealed: &[u8]) -> Vec<u8> {
        self.transit.as_mut().unwrap().open(sealed).unwrap().expose().to_vec()
    }
}

fn described(hostname: &str) -> v1::SessionRequest {
    let description = v1::NodeDescription { hostname: hostname.to_owned(), ..Default::default() };
    v1::SessionRequest { description: Some(description), process: 1 }
}

/// One whole step, put together from its messages.
#[derive(Debug, Default)]
struct Told {
    complete: bool,
    applies_to: u64,
    results_in: u64,
    tasks: Vec<Task>,
    payloads: Vec<(String, Result<Vec<u8>, String>)>,
    gone_tasks: Vec<String>,
    gone_payloads: Vec<String>,
    messages: usize,
}

async fn step(stream: &mut Assignments) -> Told {
    let mut told = Told::default();
    loop {
        let message = stream.message().await.unwrap().unwrap();
        told.messages += 1;
        told.complete = message.r#type() == v1::AssignmentType::Complete;
        (told.applies_to, told.results_in) = (message.applies_to, message.results_in);
        for change in message.changes {
            match change.change.unwrap() {
                Change::Task(task) => told.tasks.push(task.try_into().unwrap()),
                Change::Payload(payload) => {
                    let id = payload.version.unwrap().object_id;
                    let content = match payload.content.unwrap() {
                        Content::Sealed(sealed) => Ok(stream.open(&sealed)),
                        Content::Unavailable(why) => Err(why),
                    };
                    told.payloads.push((id, content));
                }
                Change::RemovedTaskId(id) => told.gone_tasks.push(id),
                Change::RemovedPayload(version) => told.gone_payloads.push(version.object_id),
            }
        }
        if !message.more {
            return told;
        }
    }
}

async fn secret(client: &Client, name: &str, bytes: Vec<u8>) -> String {
    let payload = Plaintext::new(bytes);
    client.create_object(Kind::Secret, name, Labels::new(), payload).await.unwrap().to_string()
}

async fn service(client: &Client, name: &str, secrets: &[&str]) -> ServiceId {
    let reference = |name: &&str| v1::Reference {
        kind: v1::Kind::Secret.into(),
        object_name: (*name).to_owned(),
        ..Default::default()
    };
    let spec = v1::ServiceSpec {
        name: name.to_owned(),
        task: Some(v1::TaskSpec {
            container: Some(v1::ContainerSpec { image: "busybox".into(), ..Default::default() }),
            references: secrets.iter().map(reference).collect(),
            ..Default::default()
        }),
        mode: Some(v1::Mode {
            mode: Some(v1::mode::Mode::Replicated(v1::mode::Replicated { replicas: 1 })),
        }),
        ..Default::default()
    };
    client.create_service(spec).await.unwrap()
}

#[tokio::test]
async fn a_node_gets_everything_once_then_each_change_with_its_payloads() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let a = secret(&client, "a", b"value of a".to_vec()).await;
    let b = secret(&client, "b", b"value of b".to_vec()).await;
    let web = service(&client, "web", &["a"]).await;
    let first = manager.assigned(web).await;
    let mut agent = Agent::open(&manager).await;
    let mut stream = agent.assignments().await;

    let told = step(&mut stream).await;
    assert!(told.complete);
    assert_eq!((told.applies_to, told.results_in), (0, 1));
    assert_eq!(told.tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [first]);
    assert_eq!(told.payloads, [(a.clone(), Ok(b"value of a".to_vec()))]);

    // What the agent reports comes not back; the next thing it hears is the next task, with what is new only.
    agent.report(first, TaskState::Running).await.unwrap();
    let both = service(&client, "both", &["a", "b"]).await;
    let second = manager.assigned(both).await;
    let told = step(&mut stream).await;
    assert!(!told.complete);
    assert_eq!((told.applies_to, told.results_in), (1, 2));
    assert_eq!(told.tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [second]);
    assert_eq!(told.payloads, [(b.clone(), Ok(b"value of b".to_vec()))]);

    // The payload that no living task needs goes, the shared one stays.
    agent.report(second, TaskState::Failed).await.unwrap();
    let told = step(&mut stream).await;
    assert_eq!((told.gone_payloads, told.tasks.len()), (vec![b], 0));

    // A service that goes takes its tasks along.
    client.remove_service("web").await.unwrap();
    let told = step(&mut stream).await;
    assert!(told.tasks[0].desired >= TaskState::Shutdown, "{told:?}");
    assert_eq!(told.gone_payloads, [a]);
    // A payload of a task that is still ending does not come again.
    let mut stream = agent.assignments().await;
    let told = step(&mut stream).await;
    assert!(told.complete && told.tasks.iter().any(|task| task.id == first), "{told:?}");
    assert_eq!(told.payloads, []);
    agent.report(first, TaskState::Shutdown).await.unwrap();
    manager.change(vec![TaskChange::Delete { id: first }]).await;
    assert_eq!(step(&mut stream).await.gone_tasks, [first.to_string()]);
    manager.stop().await;
}

#[tokio::test]
async fn more_than_a_message_holds_comes_in_several() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    for name in &names {
        secret(&client, name, vec![b'x'; 500_000]).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let big = service(&client, "big", &names).await;
    let task = manager.assigned(big).await;
    let mut agent = Agent::open(&manager).await;
    let told = step(&mut agent.assignments().await).await;
    assert!(told.messages >= 3, "{}", told.messages);
    assert_eq!(told.payloads.len(), 6);
    assert!(told.payloads.iter().all(|(_, p)| p.as_ref().unwrap().len() == 500_000));
    assert_eq!(told.tasks[0].id, task);
    manager.stop().await;
}

#[tokio::test]
async fn only_members_with_a_certificate_are_served() {
    let manager = Manager::start().await;
    let log = Log::listen();
    let nobody = manager.nobody().session(described("x")).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let id = NodeId::random();
    let mut stranger = manager.worker(id);
    let refused = stranger.session(described("x")).await.unwrap_err();
    assert!(crate::wire::status::is_removed(&refused, id), "{refused}");
    log.has(&["WARN", "refused a node that is not a member", id.as_str(), "127.0.0.1"]);
    let agent = Agent::open(&manager).await;
    let request = agent.ask(&Offer::new());
    assert_eq!(
        stranger.assignments(request).await.unwrap_err().code(),
        Code::PermissionDenied,
        "another's session is no use to it"
    );
    // Nor to another member.
    let other = manager.beside().await;
    let request = agent.ask(&Offer::new());
    let refused = manager.worker(other.node).assignments(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let words = ["WARN", "spoke of another node's session", "127.0.0.1"];
    log.has(&[&words[..], &[other.node.as_str(), manager.node.as_str()]].concat());
    other.stop();
    manager.stop().await;
}

#[tokio::test]
async fn a_second_session_ends_the_first() {
    let manager = Manager::start().await;
    let mut first = Agent::open(&manager).await;
    let mut stream = first.assignments().await;
    step(&mut stream).await;
    let mut second = Agent::open(&manager).await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(first.events.message().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(first.beat().await.unwrap_err().message(), "session invalid");
    second.beat().await.unwrap();
    manager.stop().await;
}

#[tokio::test]
async fn a_session_with_another_manager_ends_the_one_before() {
    let manager = Manager::start().await;
    let other = manager.beside().await;
    let mut first = Agent::open(&manager).await;
    let mut second = Agent::with(&manager, manager.elsewhere(&other)).await;
    let ended = loop {
        match first.events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends with a reason"),
            Err(ended) => break ended,
        }
    };
    assert_eq!(ended.code(), Code::Aborted);
    assert_eq!(first.beat().await.unwrap_err().message(), "session invalid");
    second.beat().await.unwrap();
    let state = manager.raft.state();
    assert_eq!(state.node_by_id(manager.node).unwrap().status.dispatcher, Some(other.node));
    // And back.
    let mut third = Agent::open(&manager).await;
    third.beat().await.unwrap();
    while second.beat().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    third.beat().await.unwrap();
    other.stop();
    manager.stop().await;
}

#[tokio::test]
async fn a_node_that_moved_is_down_only_with_the_manager_it_moved_to() {
    let manager = Manager::with_heartbeat(Duration::from_millis(400)).await;
    let other = manager.beside().await;
    let _silent = Agent::open(&manager).await;
    let mut moved = Agent::with(&manager, manager.elsewhere(&other)).await;
    let row = || manager.raft.state().node_by_id(manager.node).unwrap().clone();
    let mut changes = manager.raft.changes();
    for _ in 0..20 {
        moved.beat().await.unwrap();
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
    // What its first manager says late is no longer asked.
    let status = crate::model::node::NodeStatus { state: NodeState::Down, ..row().status.clone() };
    let held_by = Some(manager.node);
    let late = crate::model::command::Command::ReportNode {
        id: manager.node,
        description: None,
        status,
        held_by,
    };
    manager.raft.propose(None, late).await.unwrap();
    while let Ok(heard) = changes.try_recv() {
        for change in &heard.changes {
            match change {
                StoreChange::Put(Entity::Node(node)) if node.id == manager.node => {
                    assert_eq!(node.status.state, NodeState::Ready);
                }
                _ => {}
            }
        }
    }
    // Nobody there to say that the node is silent: the leader does, once the manager is none any more.
    let id = other.node;
    other.stop();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(row().status.state, NodeState::Ready);
    let raft_id = manager.raft.state().node_by_id(id).unwrap().manager.as_ref().unwrap().raft_id;
    let retire = crate::model::command::Command::RetireManager { id, raft_id };
    manager.raft.propose(None, retire).await.unwrap();
    manager.until_node_is(NodeState::Down).await;
    assert!(row().status.message.contains("manager"), "{}", row().status.message);
    assert_eq!(row().status.dispatcher, Some(id));
    manager.stop().await;
}

#[tokio::test]
async fn a_silent_node_is_down_until_it_comes_back() {
    let manager = Manager::with_heartbeat(Duration::from_millis(200)).await;
    let mut agent = Agent::open(&manager).await;
    manager.until_node_is(NodeState::Ready).await;
    manager.until_node_is(NodeState::Down).await;
    assert_eq!(agent.beat().await.unwrap_err().code(), Code::Aborted);
    let state = manager.raft.state();
    let node = state.node_by_id(manager.node).unwrap();
    assert_eq!(node.status.message, "heartbeat failure");
    assert_eq!(node.description.hostname, "box");
    let _again = Agent::open(&manager).await;
    manager.until_node_is(NodeState::Ready).await;
    manager.stop().await;
}

#[tokio::test]
async fn a_node_reports_its_own_tasks_only_and_no_state_of_the_managers() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let web = service(&client, "web", &[]).await;
    let (mine, free) = (manager.assigned(web).await, manager.task(web).await);
    let mut agent = Agent::open(&manager).await;
    let log = Log::listen();
    let refused = agent.report(free, TaskState::Running).await.unwrap_err();
    log.has(&["WARN", "another node's task", manager.node.as_str(), free.as_str()]);
    assert_eq!(refused.code(), Code::PermissionDenied);
    for state in [TaskState::Orphaned, TaskState::Assigned, TaskState::Remove] {
        let refused = agent.report(mine, state).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{state}");
    }
    agent.report(TaskId::random(), TaskState::Running).await.unwrap();
    agent.report(mine, TaskState::Running).await.unwrap();
    agent.report(mine, TaskState::Preparing).await.unwrap();
    let state = manager.raft.state();
    assert_eq!(state.task_by_id(mine).unwrap().status.state, TaskState::Running);
    manager.stop().await;
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_small_and_its_host_name_is_the_one_it_joined_with() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let mut calls = manager.worker(manager.node);
    drop(Agent::open(&manager).await);
    let log = Log::listen();
    let said = |description| v1::SessionRequest { description: Some(description), process: 1 };
    let base = || v1::NodeDescription { hostname: "box".to_owned(), ..Default::default() };
    let labels = Labels::from([("k".to_owned(), "v".repeat(8 * 1024))]);
    for bad in [
        v1::NodeDescription { engine_labels: labels, ..base() },
        v1::NodeDescription { nano_cpus: u64::MAX, ..base() },
        v1::NodeDescription { memory_bytes: u64::MAX, ..base() },
        v1::NodeDescription { hostname: "a\nb".to_owned(), ..base() },
        v1::NodeDescription { version: "\u{1b}[2J".to_owned(), ..base() },
    ] {
        let refused = calls.session(said(bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    log.has(&["WARN", "refused what a node says of itself", manager.node.as_str(), "127.0.0.1"]);

    // Another name counts for nothing, and is shown.
    let other = v1::NodeDescription { hostname: "db".to_owned(), nano_cpus: 7, ..base() };
    drop(calls.session(said(other)).await.unwrap());
    log.has(&["WARN", "another host name", manager.node.as_str(), "box", "db"]);
    let node = client.node("box").await.unwrap().node;
    assert_eq!((node.description.nano_cpus, node.renamed.as_deref()), (7, Some("db")));
    client.node("db").await.unwrap_err();
    // An operator may agree.
    let (availability, labels) = (node.availability, node.labels.clone());
    let bad = client.set_node("box", None, availability, labels.clone(), Some(" ".to_owned()));
    bad.await.unwrap_err();
    let renamed = client.set_node("box", None, availability, labels, Some("db".to_owned()));
    let node = renamed.await.unwrap().node;
    assert_eq!((node.description.hostname.as_str(), node.renamed), ("db", None));
    manager.stop().await;
}

#[tokio::test]
async fn times_to_come_are_taken_as_now_and_reports_of_too_many_tasks_are_refused() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let web = service(&client, "web", &[]).await;
    let mine = manager.assigned(web).await;
    let mut agent = Agent::open(&manager).await;
    let log = Log::listen();
    let report = |status: &TaskStatus, count: usize| v1::UpdateTaskStatusRequest {
        session_id: agent.session.clone(),
        updates: vec![
            v1::TaskStatusUpdate {
                task_id: mine.to_string(),
                status: Some(status.into())
            };
            count
        ],
        wiped_task_ids: Vec::new(),
    };
    let year = Duration::from_secs(365 * 24 * 3600);
    let ahead = manager.raft.clock().now().plus(year);
    let status = TaskStatus { at: ahead, ..task_status(TaskState::Running) };
    let (one, many) = (report(&status, 1), report(&status, 501));
    agent.calls.update_task_status(one).await.unwrap();
    let at = manager.raft.state().task_by_id(mine).unwrap().status.at;
    assert!(at < ahead, "{at}");
    log.has(&["WARN", "yet to come", manager.node.as_str(), mine.as_str()]);
    let refused = agent.calls.update_task_status(many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    log.has(&["WARN", "too many", manager.node.as_str(), "501"]);
    manager.stop().await;
}

#[tokio::test]
async fn a_change_of_the_node_is_told_to_its_agent() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let mut agent = Agent::open(&manager).await;
    let labels = Labels::from([("zone".to_owned(), "a".to_owned())]);
    let availability = crate::model::node::Availability::Drain;
    client.set_node("self", None, availability, labels, None).await.unwrap();
    let Some(Event::State(state)) = agent.events.message().await.unwrap().unwrap().event else {
        panic!("a state was expected")
    };
    let node = state.node.unwrap();
    assert_eq!(node.availability(), v1::Availability::Drain);
    assert_eq!(node.labels["zone"], "a");
    manager.stop().await;
}

#[tokio::test]
async fn lines_go_from_the_agent_to_who_asked_for_them() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let web = service(&client, "web", &[]).await;
    let task = manager.assigned(web).await;
    manager.reached(task, TaskState::Running).await;
    let mut agent = Agent::open(&manager).await;
    let options =
        v1::LogOptions { stdout: true, stderr: true, tail: Some(10), ..Default::default() };
    let mut logs = client.logs("web", options).await.unwrap();
    let order = agent.log_order().await;
    assert_eq!((&order.task_id, order.options), (&task.to_string(), Some(options)));
    let lines = agent.publish(&order, &["one", "two"]);
    agent.calls.publish_logs(stream::iter(lines)).await.unwrap();
    let mut read = Vec::new();
    while let Some(message) = logs.next().await.unwrap() {
        assert_eq!((message.service_name.as_str(), message.slot), ("web", 1));
        assert_eq!(message.warning, "");
        read.extend(message.lines.into_iter().map(|line| line.line));
    }
    assert_eq!(read, [b"one", b"two"]);
    // Answered already: nobody reads a second time.
    let lines = agent.publish(&order, &["three"]);
    let again = agent.calls.publish_logs(stream::iter(lines)).await.unwrap_err();
    assert_eq!(again.code(), Code::Aborted);
    manager.stop().await;
}

#[tokio::test]
async fn an_agent_hears_when_nobody_reads_any_more() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let web = service(&client, "web", &[]).await;
    let task = manager.assigned(web).await;
    manager.reached(task, TaskState::Running).await;
    let options = v1::LogOptions { follow: true, stdout: true, ..Default::default() };

    // Without an agent there is a warning instead of silence.
    let mut logs = client.logs("web", options).await.unwrap();
    let warning = logs.next().await.unwrap().unwrap().warning;
    let gone = format!("node {} is not connected; waiting for it to come back", manager.node);
    assert_eq!(warning, gone);
    drop(logs);

    let mut agent = Agent::open(&manager).await;
    let logs = client.logs("web", options).await.unwrap();
    let order = agent.log_order().await;
    drop(logs);
    let close = agent.log_order().await;
    assert_eq!((close.id, close.close), (order.id, true));
    manager.stop().await;
}

/// Publishes lines written at these moments, and leaves the call open.
fn publish_on(agent: &Agent, order: &v1::LogSubscription, at: &[i64]) -> tokio::task::JoinSet<()> {
    let mut messages = agent.publish(order, &["x"]);
    let line = messages[0].lines[0].clone();
    messages[0].lines =
        at.iter().map(|at_ms| v1::LogLine { at_ms: *at_ms, ..line.clone() }).collect();
    let mut calls = agent.calls.clone();
    let mut call = tokio::task::JoinSet::new();
    call.spawn(async move {
        // Ends with its session, or when nobody reads.
        calls.publish_logs(stream::iter(messages).chain(stream::pending())).await.ok();
    });
    call
}

#[tokio::test]
async fn output_comes_from_a_node_with_another_manager_and_goes_on_where_it_was_cut() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let web = service(&client, "web", &[]).await;
    let task = manager.assigned(web).await;
    manager.reached(task, TaskState::Running).await;
    let options =
        v1::LogOptions { follow: true, stdout: true, tail: Some(5), ..Default::default() };
    let other = manager.beside().await;
    let mut agent = Agent::with(&manager, manager.elsewhere(&other)).await;
    let mut logs = client.logs("web", options).await.unwrap();
    let mut read = async || {
        let message = logs.next().await.unwrap().unwrap();
        (message.lines.iter().map(|line| line.at_ms).collect::<Vec<_>>(), message.warning)
    };
    let order = agent.log_order().await;
    assert_eq!((&order.task_id, order.options), (&task.to_string(), Some(options)));
    let call = publish_on(&agent, &order, &[3, 4, 4]);
    assert_eq!(read().await, (vec![3, 4, 4], String::new()));

    // The node turns to the manager that was asked: the rest is read from there.
    let mut agent = Agent::open(&manager).await;
    let (none, warning) = read().await;
    assert!(none.is_empty() && warning.contains("broke; waiting for it"), "{warning}");
    let order = agent.log_order().await;
    let rest = v1::LogOptions { since_ms: Some(4), tail: None, ..options };
    assert_eq!(order.options, Some(rest));
    let again = publish_on(&agent, &order, &[4, 4, 4, 5]);
    assert_eq!(read().await, (vec![4, 5], String::new()));
    drop((call, again));

    // Nobody reads any more: the node hears it through the other manager too.
    drop(logs);
    let mut agent = Agent::with(&manager, manager.elsewhere(&other)).await;
    let logs = client.logs("web", options).await.unwrap();
    let order = agent.log_order().await;
    drop(logs);
    let close = agent.log_order().await;
    assert_eq!((close.id, close.close), (order.id, true));
    other.stop();
    manager.stop().await;
}

#[tokio::test]
async fn only_managers_of_the_group_may_have_output_relayed() {
    let manager = Manager::start().await;
    let other = manager.beside().await;
    let request = v1::RelayLogsRequest {
        node_id: manager.node.to_string(),
        task_id: TaskId::random().to_string(),
        options: None,
    };
    let mut worker = manager.peer(manager.node, Office::Worker);
    let denied = worker.relay_logs(request.clone()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // A manager by its certificate, but not in the Raft group.
    let mut stranger = manager.peer(other.node, Office::Candidate);
    let denied = stranger.relay_logs(request.clone()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let mut member = manager.peer(manager.node, FOUNDER);
    let mut relayed = member.relay_logs(request).await.unwrap().into_inner();
    let end = relayed.message().await.unwrap().unwrap().end.unwrap().why.unwrap();
    assert!(matches!(end, v1::log_end::Why::Lost(why) if why.contains("is not connected")));
    other.stop();
    manager.stop().await;
}

#[tokio::test]
async fn a_deleted_task_is_named_to_its_node_until_the_node_confirms_that_nothing_is_left() {
    let manager = Manager::start().await;
    let client = manager.operator().await;
    let id = secret(&client, "a", b"value of a".to_vec()).await.parse().unwrap();
    let web = service(&client, "web", &["a"]).await;
    let task = manager.assigned(web).await;
    let mut agent = Agent::open(&manager).await;
    assert_eq!(step(&mut agent.assignments().await).await.tasks.len(), 1);
    // Of a living task nobody believes it.
    agent.confirm_wiped(task).await.unwrap();
    let held = client.held_on(manager.node).await.unwrap();
    assert_eq!(
        (held.len(), held[0].in_use, held[0].services.clone()),
        (1, true, vec!["web".into()])
    );

    client.remove_service("web").await.unwrap();
    agent.report(task, TaskState::Shutdown).await.unwrap();
    manager.change(vec![TaskChange::Delete { id: task }]).await;
    client.remove_object(Kind::Secret, "a").await.unwrap();
    let held = client.holders_of(id).await.unwrap();
    assert_eq!((held.len(), held[0].in_use, held[0].node), (1, false, manager.node));
    assert_eq!(held, client.held_on(manager.node).await.unwrap());
    // An agent that was restarted knows nothing of it and is told what to look for.
    for _ in 0..2 {
        let mut agent = Agent::open(&manager).await;
        let told = step(&mut agent.assignments().await).await;
        assert_eq!((told.gone_tasks, told.tasks), (vec![task.to_string()], vec![]));
    }
    let mut agent = Agent::open(&manager).await;
    agent.confirm_wiped(task).await.unwrap();
    agent.confirm_wiped(task).await.unwrap();
    agent.confirm_wiped(TaskId::random()).await.unwrap();
    assert_eq!(client.held_on(manager.node).await.unwrap(), []);
    assert_eq!(step(&mut agent.assignments().await).await.gone_tasks, Vec::<String>::new());
    manager.stop().await;
}
