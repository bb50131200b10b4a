//! Waits until the tasks of a service run, showing how far they are, as docker does.

use crate::{
    client::{Client, ClientError, Seen},
    ctl::{
        connect::explain,
        exit::{Code, Failure},
        output,
        progress::Progress,
    },
    kit::id::ServiceId,
    model::{
        service::{Mode, RestartCondition, Service, UpdateState},
        task::{Task, TaskState},
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How long all tasks must have been running before we say that they do: most that cannot run end within a moment.
const STABLE: Duration = Duration::from_secs(2);
/// With more tasks than this only their number is shown.
const MOST_LINES: usize = 20;

/// Waits until the service is as it should be. Ends by itself only then, or when nothing more will come of it: the
/// service goes, its update stops, a task failed and none may follow. Ctrl-C leaves the service as it is.
///
/// # Errors
/// The service was removed, its update paused or rolled back, a task failed for good, Ctrl-C, the daemon is away.
pub(crate) async fn converge(client: &Client, id: &ServiceId, quiet: bool) -> Result<(), Failure> {
    wait(client, id, quiet, Aim::Forward).await
}

/// As [`converge`], for a service that is to return to its previous spec, or is not to change: that it was rolled back
/// is no failure.
///
/// # Errors
/// As [`converge`].
pub(crate) async fn return_to(client: &Client, id: &ServiceId, quiet: bool) -> Result<(), Failure> {
    wait(client, id, quiet, Aim::Back).await
}

/// Where a service is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// To the spec it was just given.
    Forward,
    /// To the spec before that.
    Back,
}

async fn wait(client: &Client, id: &ServiceId, quiet: bool, aim: Aim) -> Result<(), Failure> {
    let mut progress = Progress::new(quiet);
    tokio::select! {
        done = watch(client, id, &mut progress, aim) => done,
        _ = tokio::signal::ctrl_c() => {
            output::note(format_args!(
                "Operation continuing in background.\nUse `secretctl service ps {id}` to check progress."
            ));
            Err(Failure::new(Code::Interrupted, ""))
        }
    }
}

/// As [`converge`], for several services at once; each line says whose it is.
///
/// # Errors
/// As [`converge`], of the first that fails.
pub(crate) async fn converge_all(
    client: &Client,
    services: &[(ServiceId, String)],
    quiet: bool,
) -> Result<(), Failure> {
    let one = |(id, name): &(ServiceId, String)| {
        let (id, mut progress) = (*id, Progress::labelled(quiet, name));
        async move { watch(client, &id, &mut progress, Aim::Forward).await }
    };
    tokio::select! {
        done = futures::future::try_join_all(services.iter().map(one)) => done.map(drop),
        _ = tokio::signal::ctrl_c() => {
            output::note(
                "Operation continuing in background.\nUse `secretctl stack ps` to check progress.",
            );
            Err(Failure::new(Code::Interrupted, ""))
        }
    }
}

async fn watch(
    client: &Client,
    id: &ServiceId,
    progress: &mut Progress,
    aim: Aim,
) -> Result<(), Failure> {
    let mut broken = false;
    loop {
        let mut watch = match client.watch_service(id.as_str()).await {
            Ok(watch) => watch,
            Err(error) => return Err(explain(client, error).await),
        };
        let mut stable_at: Option<Instant> = None;
        let error = loop {
            let seen = tokio::select! {
                seen = watch.next() => seen,
                () = sleep_until(stable_at.unwrap_or_else(Instant::now)), if stable_at.is_some() => {
                    return progress.replace_last(format!("verify: Service {id} converged"));
                }
            };
            match seen {
                Ok(Some(seen)) => {
                    broken = false;
                    let Some(picture) = Picture::of(seen, aim) else { continue };
                    if let Some(failure) = picture.stopped {
                        progress.show(picture.lines)?;
                        return Err(failure);
                    }
                    let mut lines = picture.lines;
                    if picture.ended {
                        lines.push(format!("verify: Service {id} converged"));
                        return progress.show(lines);
                    }
                    if picture.done {
                        stable_at.get_or_insert_with(|| Instant::now() + STABLE);
                        lines.push(format!(
                            "verify: Waiting {} seconds to verify that tasks are stable...",
                            STABLE.as_secs()
                        ));
                    } else {
                        stable_at = None;
                    }
                    progress.show(lines)?;
                }
                Ok(None) => {
                    return Err(Failure::new(
                        Code::NotFound,
                        format!("service {id} was removed while its tasks were awaited"),
                    ));
                }
                Err(error) => break error,
            }
        };
        // A leader that stepped down, a daemon that restarts: begin again, but not for ever.
        match error {
            ClientError::Unreachable { .. } | ClientError::NotReady { .. } if !broken => {
                broken = true;
            }
            error => return Err(explain(client, error).await),
        }
    }
}

/// A service and its tasks at one moment, as people see them.
#[derive(Debug)]
struct Picture {
    lines: Vec<String>,
    done: bool,
    /// Every task has done its work, so there is nothing left to be watched.
    ended: bool,
    /// Nothing more will come of it by itself.
    stopped: Option<Failure>,
}

impl Picture {
    fn of(seen: &Seen, aim: Aim) -> Option<Self> {
        let service = seen.service.as_ref()?;
        let slots = slots(service, seen.tasks.values());
        let total = slots.len();
        let running = slots.values().filter(|slot| slot.running).count();
        let mut lines = vec![format!("overall progress: {running} out of {total} tasks")];
        if total <= MOST_LINES {
            for (at, slot) in slots.values().enumerate() {
                lines.push(format!("{}/{total}: {}", at + 1, slot.text));
            }
        }
        let lost = slots.values().find_map(|slot| slot.lost.as_ref());
        let stopped = stopped(service, aim).or_else(|| {
            let lost = lost?;
            let failure = Failure::new(Code::Other, format!("{lost}, and no task follows it"));
            Some(failure.hint(format!(
                "see all tasks with: secretctl service ps --no-trunc {}",
                service.spec.name
            )))
        });
        let ended = total > 0 && slots.values().all(|slot| slot.ended);
        Some(Self { lines, done: running == total, ended, stopped })
    }
}

fn stopped(service: &Service, aim: Aim) -> Option<Failure> {
    let update = service.update.as_ref()?;
    let what = match update.state {
        UpdateState::Paused => "service update paused",
        UpdateState::RollbackPaused => "service rollback paused",
        UpdateState::RollbackCompleted if aim == Aim::Back => return None,
        UpdateState::RollbackCompleted => "service rolled back",
        UpdateState::Updating | UpdateState::Completed | UpdateState::RollbackStarted => {
            return None;
        }
    };
    Some(
        Failure::new(Code::Other, format!("{what}: {}", update.message))
            .hint(format!("see why with: secretctl service ps {}", service.spec.name)),
    )
}

/// The place of one task: a number, or a node for a global service.
#[derive(Debug, Default)]
struct Slot {
    /// Its task runs, or has done its work.
    running: bool,
    ended: bool,
    text: String,
    /// How its task failed, if none will follow.
    lost: Option<String>,
}

fn slots<'a>(service: &Service, tasks: impl Iterator<Item = &'a Task>) -> BTreeMap<String, Slot> {
    let mut by_slot: BTreeMap<String, Vec<&Task>> = BTreeMap::new();
    let replicated = match service.spec.mode {
        Mode::Replicated { replicas } => Some(replicas),
        Mode::Global => None,
    };
    for task in tasks.filter(|task| task.desired != TaskState::Remove) {
        match replicated {
            Some(replicas) if task.slot > replicas => {}
            Some(_) => by_slot.entry(key(task.slot)).or_default().push(task),
            // A node that drained keeps its old task in the list; it does not count any more.
            None if task.desired <= TaskState::Running || is_done(service, task) => {
                let node = task.node.map_or_else(|| task.id.to_string(), |id| id.to_string());
                by_slot.entry(node).or_default().push(task);
            }
            None => {}
        }
    }
    for slot in 1..=replicated.unwrap_or(0) {
        by_slot.entry(key(slot)).or_default();
    }
    by_slot.into_iter().map(|(slot, tasks)| (slot, judge(service, tasks))).collect()
}

/// Slots in the order of their numbers.
fn key(slot: u64) -> String {
    format!("{slot:020}")
}

fn judge(service: &Service, mut tasks: Vec<&Task>) -> Slot {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.age_key()));
    let wanted = |task: &&&Task| {
        task.desired <= TaskState::Running
            && (task.spec_index == service.spec_index || *task.spec == service.spec.task)
    };
    let newest = tasks.first().copied();
    if let Some(done) = newest.filter(|task| is_done(service, task)) {
        let text = done.status.state.to_string();
        return Slot { running: true, ended: true, text, lost: None };
    }
    let error = |task: &Task| {
        let error = task.status.error.trim();
        (!error.is_empty()).then(|| error.replace(['\n', '\t'], " "))
    };
    if let Some(task) = newest.filter(|_| !another_may_follow(service, &tasks)) {
        let text = match (task.status.state, error(task)) {
            (state, Some(error)) => format!("{state}: {error}"),
            (state, None) => state.to_string(),
        };
        let lost = Some(format!("{} {text}", task.short_name()));
        return Slot { text, lost, ..Slot::default() };
    }
    let Some(task) = tasks.iter().find(wanted) else {
        return Slot { text: "new".to_owned(), ..Slot::default() };
    };
    let state = task.status.state;
    if state == TaskState::Running {
        return Slot { running: true, text: "running".to_owned(), ..Slot::default() };
    }
    // Its own error, or why the one before it is no more.
    let before = || tasks.iter().filter(|t| t.id != task.id).find_map(|t| error(t));
    let text = match (error(task), before()) {
        (Some(own), _) => format!("{state}: {own}"),
        (None, Some(before)) => format!("{state} (before: {before})"),
        (None, None) => state.to_string(),
    };
    Slot { text, ..Slot::default() }
}

/// Whether the slot's newest task lives, or the restart policy lets another one follow.
fn another_may_follow(service: &Service, tasks: &[&Task]) -> bool {
    let failed =
        |task: &&&Task| matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
    let of_this_spec = |task: &&&Task| task.spec_index == service.spec_index;
    if !tasks.first().is_some_and(|newest| failed(&newest) && of_this_spec(&newest)) {
        return true;
    }
    let restart = &service.spec.task.restart;
    if restart.condition == RestartCondition::None {
        return false;
    }
    // Within a window attempts are forgotten again, so one cannot tell.
    let attempts = tasks.iter().filter(of_this_spec).filter(failed).count() as u64;
    restart.max_attempts == 0 || !restart.window.is_zero() || attempts <= restart.max_attempts
}

/// Whether the task has ended well and nothing will follow it.
fn is_done(service: &Service, task: &Task) -> bool {
    task.status.state == TaskState::Complete
        && service.spec.task.restart.condition != RestartCondition::Any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{
            clock::Timestamp,
            id::{NodeId, TaskId},
        },
        model::{
            Labels, Meta,
            service::{RestartPolicy, ServiceSpec, TaskSpec, UpdateStatus},
            task::TaskStatus,
        },
    };
    use std::sync::Arc;

    fn service(mode: Mode, condition: RestartCondition) -> Service {
        let restart = RestartPolicy { condition, ..Default::default() };
        Service {
            id: ServiceId::from_random([0; 17]),
            meta: Meta::new(Timestamp(0)),
            spec: ServiceSpec {
                name: "web".parse().unwrap(),
                labels: Labels::new(),
                task: TaskSpec { restart, ..Default::default() },
                mode,
                update: None,
                rollback: None,
            },
            spec_index: 1,
            previous: None,
            update: None,
        }
    }

    fn task(service: &Service, id: u8, slot: u64, desired: TaskState, state: TaskState) -> Task {
        let mut status = TaskStatus::new(state, Timestamp(0), "");
        if matches!(state, TaskState::Failed | TaskState::Rejected) {
            status.error = "no such image".into();
        }
        Task {
            id: TaskId::from_random([id; 17]),
            meta: Meta::new(Timestamp(i64::from(id))),
            service: service.id,
            service_name: "web".parse().unwrap(),
            service_labels: Labels::new(),
            slot,
            node: Some(NodeId::from_random([u8::try_from(slot).unwrap(); 17])),
            spec: Arc::new(service.spec.task.clone()),
            spec_index: 1,
            versions: Vec::new(),
            desired,
            status,
            started_at: None,
            wiped: false,
        }
    }

    fn picture(service: &Service, tasks: Vec<Task>) -> Picture {
        let tasks = tasks.into_iter().map(|task| (task.id, task)).collect();
        Picture::of(&Seen { service: Some(service.clone()), tasks }, Aim::Forward).unwrap()
    }

    const TWO: Mode = Mode::Replicated { replicas: 2 };

    #[test]
    fn a_service_is_done_when_each_slot_runs() {
        use TaskState::{Preparing, Running};
        let service = service(TWO, RestartCondition::Any);
        let first = task(&service, 1, 1, Running, Running);
        let half = picture(&service, vec![first.clone(), task(&service, 2, 2, Running, Preparing)]);
        assert!(!half.done);
        assert_eq!(
            half.lines,
            ["overall progress: 1 out of 2 tasks", "1/2: running", "2/2: preparing"]
        );
        assert!(!picture(&service, vec![first.clone()]).done);
        assert!(picture(&service, vec![first, task(&service, 2, 2, Running, Running)]).done);
    }

    #[test]
    fn a_task_that_failed_shows_why_until_its_successor_runs() {
        use TaskState::{Failed, Ready, Running, Shutdown};
        let service = service(Mode::Replicated { replicas: 1 }, RestartCondition::Any);
        let failed = task(&service, 1, 1, Shutdown, Failed);
        let next = |state| task(&service, 2, 1, Running, state);
        let waiting = picture(&service, vec![failed.clone(), next(Ready)]);
        assert_eq!(waiting.lines[1], "1/1: ready (before: no such image)");
        assert_eq!(picture(&service, vec![failed, next(Running)]).lines[1], "1/1: running");
        let rejected = task(&service, 3, 1, Running, TaskState::Rejected);
        let rejected = picture(&service, vec![rejected]);
        assert_eq!(rejected.lines[1], "1/1: rejected: no such image");
    }

    #[test]
    fn a_task_of_an_older_spec_does_not_count() {
        let service = service(Mode::Replicated { replicas: 1 }, RestartCondition::Any);
        let mut old = task(&service, 1, 1, TaskState::Running, TaskState::Running);
        old.spec_index = 0;
        assert!(picture(&service, vec![old.clone()]).done, "the same spec under another index");
        old.spec = Arc::new(TaskSpec { force_update: 1, ..(*old.spec).clone() });
        assert!(!picture(&service, vec![old]).done);
    }

    #[test]
    fn tasks_that_are_to_end_count_when_they_have() {
        use TaskState::{Complete, Running, Shutdown};
        let once = service(Mode::Replicated { replicas: 1 }, RestartCondition::None);
        let picture_of_done = picture(&once, vec![task(&once, 1, 1, Shutdown, Complete)]);
        assert!(picture_of_done.done && picture_of_done.ended);
        assert!(picture(&once, vec![task(&once, 1, 1, Running, Complete)]).done);
        let always = service(Mode::Replicated { replicas: 1 }, RestartCondition::Any);
        assert!(!picture(&always, vec![task(&always, 1, 1, Shutdown, Complete)]).done);
    }

    #[test]
    fn a_task_that_failed_for_good_ends_the_wait() {
        use TaskState::{Failed, Running, Shutdown};
        let once = service(Mode::Replicated { replicas: 1 }, RestartCondition::None);
        let failure = picture(&once, vec![task(&once, 1, 1, Shutdown, Failed)]).stopped.unwrap();
        assert_eq!(failure.message(), "web.1 failed: no such image, and no task follows it");

        let mut twice = service(Mode::Replicated { replicas: 1 }, RestartCondition::Any);
        twice.spec.task.restart.max_attempts = 1;
        let first = task(&twice, 1, 1, Shutdown, Failed);
        assert_eq!(picture(&twice, vec![first.clone()]).stopped, None);
        let second = task(&twice, 2, 1, Shutdown, Failed);
        assert!(picture(&twice, vec![first.clone(), second]).stopped.is_some());
        let second = task(&twice, 2, 1, Running, Running);
        assert_eq!(picture(&twice, vec![first, second]).stopped, None);
    }

    #[test]
    fn a_service_that_shrinks_or_has_no_tasks_is_done() {
        use TaskState::{Remove, Running};
        let one = service(Mode::Replicated { replicas: 1 }, RestartCondition::Any);
        let extra = task(&one, 2, 2, Remove, Running);
        assert!(picture(&one, vec![task(&one, 1, 1, Running, Running), extra]).done);
        assert!(
            picture(&service(Mode::Replicated { replicas: 0 }, RestartCondition::Any), vec![]).done
        );
    }

    #[test]
    fn a_global_service_has_a_line_for_each_node() {
        use TaskState::{Preparing, Running, Shutdown};
        let service = service(Mode::Global, RestartCondition::Any);
        let on = |id, node: u64, desired, state| {
            let mut task = task(&service, id, node, desired, state);
            task.slot = 0;
            task
        };
        let tasks = vec![
            on(1, 1, Running, Running),
            on(2, 2, Running, Preparing),
            on(3, 3, Shutdown, Shutdown),
        ];
        let picture = picture(&service, tasks);
        assert_eq!(picture.lines[0], "overall progress: 1 out of 2 tasks");
    }

    #[test]
    fn an_update_that_paused_is_a_failure() {
        let mut service = service(TWO, RestartCondition::Any);
        service.update = Some(UpdateStatus {
            state: UpdateState::Paused,
            started_at: Timestamp(0),
            completed_at: None,
            message: "task x failed".into(),
        });
        let failure = picture(&service, vec![]).stopped.unwrap();
        assert_eq!(failure.message(), "service update paused: task x failed");
    }
}
