//! Decides what to do: what the manager wants and what is here go in, steps come out. No I/O, no clock.

use super::runtime::{ContainerState, Exit};
use crate::{
    kit::id::TaskId,
    model::task::{Task, TaskState},
};
use std::{collections::BTreeMap, sync::Arc};

/// What the worker does next about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A task that nobody looks after yet; its container may be here already.
    Begin { task: Arc<Task>, container: Option<ContainerState> },
    /// Tell its controller what is wanted now.
    Tell(Arc<Task>),
    /// It is no longer ours: its controller ends it and removes everything.
    Dismiss(TaskId),
    /// A container whose task the manager has forgotten.
    Sweep(TaskId),
}

/// Compares what is wanted with what each controller was told last and with the containers nobody looks after.
pub(super) fn plan(
    want: &BTreeMap<TaskId, Arc<Task>>,
    told: &BTreeMap<TaskId, Arc<Task>>,
    unclaimed: &BTreeMap<TaskId, ContainerState>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (id, task) in want {
        match told.get(id) {
            None => steps.push(Step::Begin {
                task: Arc::clone(task),
                container: unclaimed.get(id).cloned(),
            }),
            Some(last) if last == task => {}
            Some(_) => steps.push(Step::Tell(Arc::clone(task))),
        }
    }
    steps.extend(told.keys().filter(|id| !want.contains_key(id)).map(|id| Step::Dismiss(*id)));
    let forgotten = |id: &&TaskId| !want.contains_key(id) && !told.contains_key(id);
    steps.extend(unclaimed.keys().filter(forgotten).map(|id| Step::Sweep(*id)));
    steps
}

/// Where a controller takes up a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing has run yet: from the beginning.
    Make,
    /// It runs, but was not yet counted as running.
    Start,
    /// It runs: an agent before us started it.
    Watch,
    /// It ended while no agent looked.
    Settle(Exit),
    /// It ran, and now there is no container.
    Vanished,
    /// It is to end, whatever is here.
    Halt,
    /// It has ended, and that is known.
    Rest,
}

/// Decides where to take up a task, given its container if there is one.
pub(super) fn begin(task: &Task, container: Option<&ContainerState>) -> Begin {
    if task.status.state.is_terminal() {
        return Begin::Rest;
    }
    if task.desired >= TaskState::Shutdown {
        return Begin::Halt;
    }
    match container {
        Some(ContainerState::Running { .. }) if task.status.state >= TaskState::Running => {
            Begin::Watch
        }
        Some(ContainerState::Running { .. }) => Begin::Start,
        Some(ContainerState::Ended(exit)) => Begin::Settle(exit.clone()),
        Some(ContainerState::Created) if task.status.state >= TaskState::Running => Begin::Vanished,
        Some(ContainerState::Created) => Begin::Make,
        // Once it may have started it must not start again: the orchestrator makes another.
        None if task.status.state >= TaskState::Starting => Begin::Vanished,
        None => Begin::Make,
    }
}

/// How a process's end counts.
pub(super) fn settle(exit: &Exit) -> (TaskState, String) {
    let Exit { code, note } = exit;
    match (*code, note.as_str()) {
        (0, "") => (TaskState::Complete, String::new()),
        (0, note) => (TaskState::Failed, format!("task: {note}")),
        (code, "") => (TaskState::Failed, format!("task: non-zero exit ({code})")),
        (code, note) => (TaskState::Failed, format!("task: non-zero exit ({code}): {note}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing;

    fn running() -> ContainerState {
        ContainerState::Running { container_id: "c".into(), pid: 7 }
    }

    fn exit(code: i32, note: &str) -> Exit {
        Exit { code, note: note.to_owned() }
    }

    fn map(tasks: &[&Arc<Task>]) -> BTreeMap<TaskId, Arc<Task>> {
        tasks.iter().map(|task| (task.id, Arc::clone(task))).collect()
    }

    #[test]
    fn a_new_task_begins_with_the_container_that_is_here() {
        let task = Arc::new(testing::task("web"));
        let unclaimed = BTreeMap::from([(task.id, running())]);
        assert_eq!(
            plan(&map(&[&task]), &map(&[]), &unclaimed),
            [Step::Begin { task, container: Some(running()) }]
        );
    }

    #[test]
    fn a_task_is_told_only_what_has_changed() {
        let task = Arc::new(testing::task("web"));
        let mut changed = Task::clone(&task);
        changed.desired = TaskState::Shutdown;
        let changed = Arc::new(changed);
        assert_eq!(plan(&map(&[&task]), &map(&[&task]), &BTreeMap::new()), []);
        assert_eq!(
            plan(&map(&[&changed]), &map(&[&task]), &BTreeMap::new()),
            [Step::Tell(changed)]
        );
    }

    #[test]
    fn what_is_not_wanted_goes_with_and_without_controller() {
        let (ours, stray) = (Arc::new(testing::task("web")), TaskId::random());
        let unclaimed = BTreeMap::from([(stray, running())]);
        assert_eq!(
            plan(&map(&[]), &map(&[&ours]), &unclaimed),
            [Step::Dismiss(ours.id), Step::Sweep(stray)]
        );
    }

    /// Every state, desired state and container: a process starts only where none can have run.
    #[test]
    fn nothing_that_may_have_run_is_started_again() {
        let containers = [
            None,
            Some(ContainerState::Created),
            Some(running()),
            Some(ContainerState::Ended(exit(1, ""))),
        ];
        for state in TaskState::ALL {
            for desired in TaskState::ALL {
                for container in &containers {
                    let mut task = testing::task("web");
                    task.status.state = state;
                    task.desired = desired;
                    let begin = begin(&task, container.as_ref());
                    let ran = state >= TaskState::Running
                        || matches!(
                            container,
                            Some(ContainerState::Running { .. } | ContainerState::Ended(_))
                        );
                    let context = format!("{state} {desired} {container:?}");
                    if ran {
                        assert_ne!(begin, Begin::Make, "{context}");
                    }
                    if state.is_terminal() {
                        assert_eq!(begin, Begin::Rest, "{context}");
                    } else if desired >= TaskState::Shutdown {
                        assert_eq!(begin, Begin::Halt, "{context}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_running_container_is_taken_up_where_it_stands() {
        let mut task = testing::task("web");
        assert_eq!(begin(&task, Some(&running())), Begin::Start);
        task.status.state = TaskState::Running;
        assert_eq!(begin(&task, Some(&running())), Begin::Watch);
        assert_eq!(begin(&task, None), Begin::Vanished);
        let ended = ContainerState::Ended(exit(3, ""));
        assert_eq!(begin(&task, Some(&ended)), Begin::Settle(exit(3, "")));
    }

    #[test]
    fn an_end_counts_by_its_status_and_says_why() {
        assert_eq!(settle(&exit(0, "")), (TaskState::Complete, String::new()));
        assert_eq!(settle(&exit(7, "")).1, "task: non-zero exit (7)");
        assert_eq!(
            settle(&exit(137, "out of memory")).1,
            "task: non-zero exit (137): out of memory"
        );
        assert_eq!(
            settle(&exit(0, "unhealthy container")),
            (TaskState::Failed, "task: unhealthy container".into())
        );
    }
}
