//! The labels by which we know our containers again, and why they are not enough.
//!
//! A container has the labels of its image too, and an image is anybody's. A container's name is given by who makes it, and no
//! image can set it: ours end in the task's id, or begin as a probe's. Only both together make a container ours.

use crate::kit::id::{NodeId, TaskId};
use bollard::models::ContainerSummary;

/// The node whose agent made the container; an engine may serve several.
pub(super) const NODE: &str = "io.secretd.node";
/// The task's id.
pub(super) const TASK: &str = "io.secretd.task";
/// The task's short name, `<service>.<slot>`.
pub(super) const TASK_NAME: &str = "io.secretd.task.name";
pub(super) const SERVICE: &str = "io.secretd.service";
pub(super) const SERVICE_NAME: &str = "io.secretd.service.name";
/// On containers made only to look into an image.
pub(super) const PROBE: &str = "io.secretd.probe";

/// The names of probes begin so, and have no dot, as a task's name has two.
const PROBE_NAME: &str = "secretd-probe-";

/// What a container of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ours {
    Task(TaskId),
    Probe,
}

/// The name of a new probe.
pub(super) fn probe_name() -> String {
    format!("{PROBE_NAME}{}", TaskId::random())
}

/// Tells whether a container is one that this node's agent made.
pub(super) fn recognise(found: &ContainerSummary, node: NodeId) -> Option<Ours> {
    let labels = found.labels.as_ref()?;
    if *labels.get(NODE)? != node.to_string() {
        return None;
    }
    let names = || found.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let is_probe =
        |name: &str| name.strip_prefix(PROBE_NAME).is_some_and(|id| id.parse::<TaskId>().is_ok());
    if labels.contains_key(PROBE) && names().any(is_probe) {
        return Some(Ours::Probe);
    }
    let task: TaskId = labels.get(TASK)?.parse().ok()?;
    let is_named = |name: &str| name.rsplit_once('.').is_some_and(|(_, id)| id == task.as_str());
    names().any(is_named).then_some(Ours::Task(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, labels: &[(&str, String)]) -> ContainerSummary {
        ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn labels_that_an_image_may_carry_make_no_container_ours() {
        let (node, task) = (NodeId::random(), TaskId::random());
        let (on_node, of_task) = ((NODE, node.to_string()), (TASK, task.to_string()));
        let probe = (PROBE, String::new());
        let named = format!("web.1.{task}");
        let all = [on_node.clone(), of_task.clone(), probe.clone()];
        // A task of ours whose image says it is a probe.
        assert_eq!(recognise(&found(&named, &all), node), Some(Ours::Task(task)));
        // Containers that others started from such images.
        assert_eq!(recognise(&found("db", &all), node), None);
        assert_eq!(recognise(&found("secretd-probe-mine", &all), node), None);
        assert_eq!(recognise(&found(&format!("x{task}"), &all), node), None);
        // A probe of ours into an image that says it is a task.
        assert_eq!(recognise(&found(&probe_name(), &all), node), Some(Ours::Probe));
        assert_eq!(recognise(&found(&named, &[of_task, probe]), node), None);
        assert_eq!(recognise(&found(&named, &all), NodeId::random()), None);
        assert_eq!(recognise(&found(&named, &[on_node]), node), None);
    }
}
