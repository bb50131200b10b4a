//! Workers that send too much: messages of nothing, messages without end, lines for readers that do not read.

use crate::{
    wire::{Target, Usage, call, empties, framed, logged, open_many, runtime},
    world::{SECRETCTL, World},
};
use futures::{StreamExt as _, future::join_all, stream};
use secretd::{
    crypto::transit::Offer,
    kit::clock::Clock,
    wire::v1::{
        self, assignment_change::Change, dispatcher_client::DispatcherClient,
        session_response::Event,
    },
};
use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::timeout;
use tonic::{Code, transport::Channel};

#[test]
fn a_workers_messages_cost_no_more_than_it_may_have_us_hold() {
    open_many();
    let world = World::initialised();
    let (target, runtime) = (Target::of(&world), runtime());
    runtime.block_on(async {
        let (node, tls) = target.join().await.unwrap();
        let before = Usage::of(&world);
        let entries = empties(4, 2_000_000);
        let calls =
            (0..4).map(|_| call(target.member(&tls), "Raft/AppendEntries", entries.clone(), false));
        assert_eq!(join_all(calls).await, [Code::PermissionDenied; 4]);
        let grown = Usage::since(&world, before, "a worker's Raft entries");
        assert!(grown < 32, "{grown} MiB");
        logged(&world, &["WARN", "refused a call", "Raft/AppendEntries", node.as_str()]);

        let updates = empties(2, 2_000_000);
        let calls = (0..4).map(|_| {
            call(target.member(&tls), "Dispatcher/UpdateTaskStatus", updates.clone(), false)
        });
        assert_eq!(join_all(calls).await, [Code::InvalidArgument; 4]);
        let grown = Usage::since(&world, before, "a worker's empty reports");
        assert!(grown < 64, "{grown} MiB");

        let unfinished = framed(&vec![0; 3 << 20]);
        let unfinished = unfinished[..unfinished.len() - 1].to_vec();
        let channel = target.member(&tls);
        let calls = (0..120).map(|_| {
            call(channel.clone(), "Dispatcher/UpdateTaskStatus", unfinished.clone(), true)
        });
        drop(timeout(Duration::from_secs(3), join_all(calls)).await);
        let grown = Usage::since(&world, before, "a worker's unfinished reports");
        assert!(grown < 96, "{grown} MiB");
    });
    world.ctl(["ls"]).ok();
}

#[test]
fn a_workers_lines_wait_in_bounded_memory_for_a_reader_that_does_not_read() {
    let world = World::initialised();
    let (target, runtime) = (Target::of(&world), runtime());
    runtime.block_on(async {
        let (node, tls) = target.join().await.unwrap();
        let mut client = DispatcherClient::new(target.member(&tls));
        let description = v1::NodeDescription {
            hostname: "liar".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            runtime: "process".into(),
            ..Default::default()
        };
        let request = v1::SessionRequest { description: Some(description), process: 9 };
        let mut events = client.session(request).await.unwrap().into_inner();
        let Some(Event::State(state)) = events.message().await.unwrap().unwrap().event else {
            panic!("a session begins with its state");
        };
        let session = state.session_id;
        let pinned = format!("node.id == {node}");
        let args = ["service", "create", "--detach", "--name", "web", "--constraint", &pinned];
        world.ctl(args.into_iter().chain(["busybox", "true"])).ok();
        let task = assigned(&mut client, &session).await;
        let status = v1::TaskStatus {
            state: v1::TaskState::Running.into(),
            at_ms: Clock::system().now().0,
            ..Default::default()
        };
        let update = v1::TaskStatusUpdate { task_id: task, status: Some(status) };
        let request = v1::UpdateTaskStatusRequest {
            session_id: session.clone(),
            updates: vec![update],
            wiped_task_ids: Vec::new(),
        };
        client.update_task_status(request).await.unwrap();
        // Nobody empties this pipe.
        let mut readers: Vec<_> = (0..4)
            .map(|_| {
                Command::new(SECRETCTL)
                    .env("SECRETD_HOST", world.socket())
                    .args(["service", "logs", "--follow", "web"])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let before = Usage::of(&world);
        let sent = AtomicUsize::new(0);
        let mut lies = Vec::new();
        while lies.len() < readers.len() {
            let event = events.message().await.unwrap().unwrap().event;
            let Some(Event::Logs(logs)) = event else { continue };
            lies.push(publish(client.clone(), &session, logs.id, &sent));
        }
        let done = timeout(Duration::from_secs(8), join_all(lies)).await;
        assert!(done.is_err(), "they are held up, not taken: {done:?}");
        for reader in &mut readers {
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
        let sent = sent.load(Ordering::Relaxed) >> 20;
        let grown = Usage::since(&world, before, &format!("{sent} MiB of empty lines"));
        assert!(grown < 160, "{grown} MiB");
        world.ctl(["service", "rm", "web"]).ok();
    });
    world.ctl(["ls"]).ok();
}

/// The first task that the node is told of.
async fn assigned(client: &mut DispatcherClient<Channel>, session: &str) -> String {
    let share = Offer::new().share().to_vec();
    let request = v1::AssignmentsRequest { session_id: session.to_owned(), key_share: share };
    let mut steps = client.assignments(request).await.unwrap().into_inner();
    loop {
        let changes = steps.message().await.unwrap().unwrap().changes;
        let tasks = changes.into_iter().filter_map(|change| match change.change {
            Some(Change::Task(task)) => Some(task.id),
            _ => None,
        });
        if let Some(task) = tasks.into_iter().next() {
            return task;
        }
    }
}

/// Sends empty lines for as long as they are taken.
async fn publish(
    mut client: DispatcherClient<Channel>,
    session: &str,
    subscription: String,
    sent: &AtomicUsize,
) {
    let line = v1::LogLine { at_ms: 1, output: v1::Output::Stdout.into(), line: Vec::new() };
    let message = v1::PublishLogsRequest {
        session_id: session.to_owned(),
        subscription_id: subscription,
        lines: vec![line; 80_000],
        error: String::new(),
    };
    let size = prost::Message::encoded_len(&message);
    let counter = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&counter);
    let messages = stream::repeat(message).take(2000).inspect(move |_| {
        counted.fetch_add(size, Ordering::Relaxed);
    });
    let call = client.publish_logs(messages);
    let mut call = std::pin::pin!(call);
    loop {
        let ended = timeout(Duration::from_millis(200), call.as_mut()).await;
        sent.fetch_add(counter.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        if ended.is_ok() {
            return;
        }
    }
}
