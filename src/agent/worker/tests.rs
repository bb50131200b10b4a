//! What the worker does with its tasks, on a runtime that only pretends.

use super::*;
use crate::{
    agent::{
        shelf::Content,
        testing::{self, FakeRuntime},
    },
    crypto::plaintext::Plaintext,
    kit::{clock::Timestamp, task::Running},
    model::object::{Kind, VersionNumber},
    wire::Malformed,
};
use std::time::Duration;

/// A worker, its runtime, and a manager that stores what it is told.
struct World {
    runtime: FakeRuntime,
    reports: Reports,
    updates: mpsc::Sender<Update>,
    stored: BTreeMap<TaskId, TaskStatus>,
    /// Tasks whose removal was confirmed.
    wiped: Vec<TaskId>,
    stop: Stop,
    worker: Running<()>,
}

impl World {
    fn start() -> Self {
        Self::with(FakeRuntime::new())
    }

    fn with(runtime: FakeRuntime) -> Self {
        let (updates, inbox) = mpsc::channel(INBOX);
        let (reports, stop) = (Reports::default(), Stop::new());
        let clock = Clock::manual(Timestamp(1000));
        let worker =
            Worker::new(NodeId::random(), Arc::new(runtime.clone()), clock, reports.clone(), inbox);
        let worker = task::start("worker", worker.run(stop.clone()));
        let (stored, wiped) = (BTreeMap::new(), Vec::new());
        Self { runtime, reports, updates, stored, wiped, stop, worker }
    }

    /// Stops the worker and starts another, as a new process would.
    async fn restart(self) -> Self {
        self.stop.cancel();
        self.worker.wait().await;
        Self::with(self.runtime)
    }

    async fn send(&self, update: Update) {
        self.updates.send(update).await.unwrap();
    }

    async fn assign(&self, tasks: &[&Task]) {
        let tasks = tasks.iter().map(|task| Arc::new(Task::clone(task))).collect();
        self.send(Update { complete: true, tasks, ..Update::default() }).await;
    }

    /// What the manager stores once that is so.
    async fn until(&mut self, task: TaskId, is_so: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
        let wait = async {
            loop {
                if let Some(status) = self.stored.get(&task).filter(|s| is_so(s)) {
                    return status.clone();
                }
                self.hear().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time")
    }

    /// Stores what there is to tell.
    async fn hear(&mut self) {
        let batch = self.reports.next().await;
        self.reports.stored(&batch);
        self.stored.extend(batch.statuses);
        self.wiped.extend(batch.wiped);
    }

    /// Waits until exactly these have been confirmed, each once.
    async fn until_wiped(&mut self, tasks: &[TaskId]) {
        let wait = async {
            while self.wiped.len() < tasks.len() {
                self.hear().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
        let set = |tasks: &[TaskId]| tasks.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!((self.wiped.len(), set(&self.wiped)), (tasks.len(), set(tasks)));
    }

    async fn state(&mut self, task: TaskId, state: TaskState) -> TaskStatus {
        self.until(task, |status| status.state == state).await
    }

    fn calls(&self, call: &str) -> usize {
        self.runtime.look(|fake| fake.calls.iter().filter(|c| **c == call).count())
    }
}

fn task() -> Task {
    testing::task("web")
}

fn desired(task: &Task, desired: TaskState) -> Task {
    Task { desired, ..task.clone() }
}

fn with_secret() -> (Task, ObjectVersion) {
    let mut task = task();
    let reference = testing::reference(Kind::Secret, "token", "token");
    let version = ObjectVersion { object: reference.object, version: VersionNumber::FIRST };
    Arc::make_mut(&mut task.spec).references.push(reference);
    task.versions.push(version);
    (task, version)
}

fn payload() -> Content {
    Content::Payload(Arc::new(Plaintext::new(b"12345".to_vec())))
}

#[tokio::test]
async fn a_task_is_made_with_its_files_and_runs() {
    let mut world = World::start();
    let (task, version) = with_secret();
    world
        .send(Update {
            complete: true,
            payloads: vec![(version, payload())],
            tasks: vec![Arc::new(task.clone())],
            ..Update::default()
        })
        .await;
    let status = world.state(task.id, TaskState::Running).await;
    assert_eq!((status.message.as_str(), status.pid), ("started", 42));
    assert_eq!(status.container_id, "c1");
    assert_eq!(status.at, Timestamp(1000));
    assert_eq!(world.runtime.look(|f| f.containers[&task.id].files.clone()), [5]);
}

#[tokio::test]
async fn a_task_without_its_secret_is_rejected_before_anything_is_made() {
    let mut world = World::start();
    let (task, version) = with_secret();
    let (other, _) = with_secret();
    world
        .send(Update {
            complete: true,
            payloads: vec![(version, Content::Unavailable("the keyring is locked".into()))],
            tasks: vec![Arc::new(task.clone()), Arc::new(other.clone())],
            ..Update::default()
        })
        .await;
    let status = world.state(task.id, TaskState::Rejected).await;
    assert!(status.error.starts_with("secret token for service web"), "{}", status.error);
    assert!(status.error.ends_with("the keyring is locked"), "{}", status.error);
    let status = world.state(other.id, TaskState::Rejected).await;
    assert!(status.error.ends_with("did not send it"), "{}", status.error);
    assert_eq!(world.calls("create"), 0);
}

#[tokio::test]
async fn a_ready_task_waits_until_it_is_wanted_running() {
    let mut world = World::start();
    let task = desired(&task(), TaskState::Ready);
    world.assign(&[&task]).await;
    world.state(task.id, TaskState::Ready).await;
    assert_eq!(world.calls("start"), 0);
    world.assign(&[&desired(&task, TaskState::Running)]).await;
    world.state(task.id, TaskState::Running).await;
}

#[tokio::test]
async fn an_end_is_told_with_its_status_and_the_container_stays_without_its_files() {
    let mut world = World::start();
    let (task, version) = with_secret();
    let update = |tasks: Vec<Arc<Task>>| Update {
        complete: true,
        payloads: vec![(version, payload())],
        tasks,
        ..Update::default()
    };
    world.send(update(vec![Arc::new(task.clone())])).await;
    world.state(task.id, TaskState::Running).await;
    world.runtime.exit(task.id, 7);
    let status = world.state(task.id, TaskState::Failed).await;
    assert_eq!(status.error, "task: non-zero exit (7)");
    assert_eq!(status.exit_code, Some(7));
    assert_eq!(status.container_id, "c1");
    assert_eq!(world.runtime.look(|f| f.containers[&task.id].files.len()), 0);
    world.send(update(vec![])).await;
    world.runtime.until(|f| f.containers.is_empty()).await;
}

#[tokio::test]
async fn a_task_that_is_not_wanted_any_more_is_stopped_and_later_removed() {
    let mut world = World::start();
    let (task, done) = (task(), testing::task("job"));
    world.assign(&[&task, &done]).await;
    world.state(task.id, TaskState::Running).await;
    world.state(done.id, TaskState::Running).await;
    world.runtime.exit(done.id, 0);
    assert_eq!(world.state(done.id, TaskState::Complete).await.error, "");
    world.assign(&[&desired(&task, TaskState::Remove), &done]).await;
    let status = world.state(task.id, TaskState::Shutdown).await;
    assert_eq!((status.exit_code, &*status.error), (Some(143), ""));
    assert_eq!(world.runtime.look(|f| f.containers.len()), 2, "kept for its output");
    world.send(Update { removed_tasks: vec![task.id, done.id], ..Update::default() }).await;
    world.runtime.until(|f| f.containers.is_empty()).await;
}

#[tokio::test]
async fn a_task_may_be_called_off_at_any_point_of_being_made() {
    let mut world = World::start();
    let mut slow = task();
    Arc::make_mut(&mut slow.spec).container.image = "slow".into();
    world.assign(&[&slow]).await;
    world.state(slow.id, TaskState::Preparing).await;
    world.assign(&[&desired(&slow, TaskState::Shutdown)]).await;
    world.state(slow.id, TaskState::Shutdown).await;
    assert_eq!(world.calls("start"), 0);

    let never = desired(&task(), TaskState::Shutdown);
    world.assign(&[&never]).await;
    world.state(never.id, TaskState::Shutdown).await;
    assert_eq!(world.calls("start"), 0);
}

#[tokio::test]
async fn what_cannot_be_made_is_rejected_and_what_does_not_start_has_failed() {
    let mut world = World::start();
    let (mut missing, mut broken) = (task(), task());
    Arc::make_mut(&mut missing.spec).container.image = "missing".into();
    Arc::make_mut(&mut broken.spec).container.image = "broken".into();
    world.assign(&[&missing, &broken]).await;
    let status = world.state(missing.id, TaskState::Rejected).await;
    assert_eq!(status.error, "No such image: missing");
    let status = world.state(broken.id, TaskState::Failed).await;
    assert_eq!(status.error, "exec format error");
}

#[tokio::test]
async fn a_container_somebody_took_away_has_failed() {
    let mut world = World::start();
    let task = task();
    world.assign(&[&task]).await;
    world.state(task.id, TaskState::Running).await;
    world.runtime.change(|f| f.containers.clear());
    let status = world.state(task.id, TaskState::Failed).await;
    assert!(status.error.contains("the container is gone"), "{}", status.error);
}

#[tokio::test]
async fn a_restarted_agent_takes_up_its_tasks_and_restarts_none() {
    let mut world = World::start();
    let (mut stays, mut ends) = (task(), testing::task("job"));
    world.assign(&[&stays, &ends]).await;
    stays.status = world.state(stays.id, TaskState::Running).await;
    ends.status = world.state(ends.id, TaskState::Running).await;

    let mut world = world.restart().await;
    assert_eq!(world.calls("stop") + world.calls("remove"), 0);
    world.runtime.exit(ends.id, 3);
    world.assign(&[&stays, &ends]).await;
    assert_eq!(world.state(ends.id, TaskState::Failed).await.exit_code, Some(3));
    world.runtime.until(|f| f.calls.iter().filter(|c| **c == "wait").count() >= 3).await;
    world.runtime.exit(stays.id, 0);
    world.state(stays.id, TaskState::Complete).await;
    assert_eq!(world.runtime.look(|f| f.containers[&stays.id].starts), 1);
    assert_eq!(world.calls("create"), 2);
}

#[tokio::test]
async fn a_task_that_was_running_and_is_not_here_is_not_started_again() {
    let mut world = World::start();
    let mut task = task();
    task.status.state = TaskState::Running;
    world.assign(&[&task]).await;
    let status = world.state(task.id, TaskState::Failed).await;
    assert_eq!(status.error, "the container is gone");
    assert_eq!(world.calls("create"), 0);
}

#[tokio::test]
async fn strangers_go_only_once_the_manager_has_spoken() {
    let world = World::start();
    let mut other = World::with(world.runtime.clone());
    let (stray, ours) = (task(), task());
    other.assign(&[&stray, &ours]).await;
    other.state(stray.id, TaskState::Running).await;
    other.state(ours.id, TaskState::Running).await;
    let mut world = other.restart().await;
    // The runtime was asked what it holds, and nothing is touched while no manager is there.
    world.runtime.until(|f| f.calls.last() == Some(&"held")).await;
    assert_eq!(world.runtime.look(|f| f.containers.len()), 2);
    let mut known = ours.clone();
    known.status.state = TaskState::Running;
    world.assign(&[&known]).await;
    world.runtime.until(|f| f.containers.len() == 1).await;
    assert_eq!(world.calls("stop"), 1, "a stranger gets its grace");
    world.runtime.exit(ours.id, 0);
    world.state(ours.id, TaskState::Complete).await;
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_named_and_waited_for() {
    let runtime = FakeRuntime::new();
    runtime.change(|f| f.down = true);
    let mut world = World::with(runtime);
    let (first, second) = (task(), task());
    world.assign(&[&first]).await;
    let status = world.until(first.id, |s| !s.error.is_empty()).await;
    assert_eq!(status.state, TaskState::Accepted);
    assert!(status.error.contains("it is down"), "{}", status.error);
    assert_eq!(world.calls("create"), 0, "it might be here already");
    world.runtime.change(|f| f.down = false);
    assert_eq!(world.state(first.id, TaskState::Running).await.error, "");
    // The same when it goes later, and what runs is none the worse.
    world.runtime.change(|f| f.down = true);
    world.assign(&[&first, &second]).await;
    let status = world.until(second.id, |s| !s.error.is_empty()).await;
    assert_eq!(status.state, TaskState::Preparing);
    world.runtime.change(|f| f.down = false);
    assert_eq!(world.state(second.id, TaskState::Running).await.error, "");
    assert_eq!(world.stored[&first.id].state, TaskState::Running);
}

#[tokio::test]
async fn a_payload_taken_away_is_still_there_for_the_task_of_the_same_update() {
    let mut world = World::start();
    let (task, version) = with_secret();
    world.assign(&[]).await;
    world
        .send(Update {
            payloads: vec![(version, payload())],
            tasks: vec![Arc::new(task.clone())],
            removed_payloads: vec![version],
            ..Update::default()
        })
        .await;
    world.state(task.id, TaskState::Running).await;
    let (mut later, _) = with_secret();
    later.versions = vec![version];
    world.send(Update { tasks: vec![Arc::new(later.clone())], ..Update::default() }).await;
    world.state(later.id, TaskState::Rejected).await;
}

#[tokio::test]
async fn an_unreadable_task_is_rejected_unless_it_runs_already() {
    let mut world = World::start();
    let (known, odd) = (task(), TaskId::random());
    world.assign(&[&known]).await;
    world.state(known.id, TaskState::Running).await;
    let why = || Malformed::new("what is this?");
    world
        .send(Update {
            complete: true,
            unreadable: vec![(known.id, why()), (odd, why())],
            ..Update::default()
        })
        .await;
    let status = world.state(odd, TaskState::Rejected).await;
    assert!(status.error.contains("what is this?"), "{}", status.error);
    assert_eq!(world.calls("stop"), 0);
}

#[tokio::test]
async fn a_manager_that_lost_sight_is_told_again() {
    let mut world = World::start();
    let task = task();
    world.assign(&[&task]).await;
    world.state(task.id, TaskState::Running).await;
    world.stored.clear();
    world.assign(&[&task]).await;
    world.state(task.id, TaskState::Running).await;
    assert_eq!(world.calls("create"), 1);
}

#[tokio::test]
async fn a_removal_is_confirmed_when_the_files_and_the_memory_are_gone() {
    let mut world = World::start();
    let (task, version) = with_secret();
    let tasks = vec![Arc::new(task.clone())];
    let payloads = vec![(version, payload())];
    world.send(Update { complete: true, payloads, tasks, ..Update::default() }).await;
    world.state(task.id, TaskState::Running).await;
    world.runtime.change(|f| f.unwipable = true);
    world.runtime.exit(task.id, 0);
    world.state(task.id, TaskState::Complete).await;
    world.send(Update { removed_payloads: vec![version], ..Update::default() }).await;
    world.assign(&[]).await;
    assert_eq!(world.wiped, [], "its files could not be taken away");
    world.runtime.change(|f| f.unwipable = false);
    world.until_wiped(&[task.id]).await;
    assert_eq!(world.runtime.look(|f| f.containers.len()), 0);
}

#[tokio::test]
async fn a_removal_is_not_confirmed_while_the_payload_is_in_memory() {
    let mut world = World::start();
    let ((task, version), (mut next, _)) = (with_secret(), with_secret());
    next.versions = vec![version];
    let tasks = vec![Arc::new(task.clone())];
    let payloads = vec![(version, payload())];
    world.send(Update { complete: true, payloads, tasks, ..Update::default() }).await;
    world.state(task.id, TaskState::Running).await;
    world.runtime.exit(task.id, 0);
    world.state(task.id, TaskState::Complete).await;
    // The worker takes the next task up after it has heard of the end, and the payload is still there for it.
    world.send(Update { tasks: vec![Arc::new(next.clone())], ..Update::default() }).await;
    world.state(next.id, TaskState::Running).await;
    world.until_wiped(&[task.id]).await;
    world.runtime.exit(next.id, 0);
    world.state(next.id, TaskState::Complete).await;
    world.runtime.until(|f| f.containers[&next.id].files.is_empty()).await;
    assert_eq!(world.wiped, [task.id], "the memory still has it");
    world.send(Update { removed_payloads: vec![version], ..Update::default() }).await;
    world.until_wiped(&[task.id, next.id]).await;
}

#[tokio::test]
async fn a_restarted_agent_confirms_what_the_one_before_did_not() {
    let mut world = World::start();
    let ((mut ended, first), (deleted, second)) = (with_secret(), with_secret());
    let tasks = vec![Arc::new(ended.clone()), Arc::new(deleted.clone())];
    let payloads = vec![(first, payload()), (second, payload())];
    world.send(Update { complete: true, payloads, tasks, ..Update::default() }).await;
    world.state(ended.id, TaskState::Running).await;
    world.state(deleted.id, TaskState::Running).await;
    world.runtime.exit(ended.id, 0);
    ended.status = world.state(ended.id, TaskState::Complete).await;

    // The manager has the end of one, has deleted the other, and names a third that never came here.
    let (mut world, never) = (world.restart().await, TaskId::random());
    world
        .send(Update {
            complete: true,
            tasks: vec![Arc::new(ended.clone())],
            removed_tasks: vec![deleted.id, never],
            ..Update::default()
        })
        .await;
    world.until_wiped(&[ended.id, deleted.id, never]).await;
    assert_eq!(
        world.runtime.look(|f| f.containers.keys().copied().collect::<Vec<_>>()),
        [ended.id]
    );
    assert_eq!(world.runtime.look(|f| f.containers[&ended.id].files.len()), 0);
    // What it knows is not told again, and what it does not know is.
    world.wiped.clear();
    let known = Task { wiped: true, ..ended.clone() };
    let other = Task { id: TaskId::random(), ..ended.clone() };
    world.assign(&[&known, &other]).await;
    world.until_wiped(&[other.id]).await;
    world.wiped.clear();
    world.assign(&[&ended, &other]).await;
    world.until_wiped(&[ended.id, other.id]).await;
}
