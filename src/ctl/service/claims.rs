//! Points out where a node's own word decides whether it gets a service.

use crate::model::{
    constraint::Constraint,
    service::{Resources, TaskSpec},
};

/// What whoever places a service so should know; nothing if only operators decide.
pub(crate) fn note(constraints: &[Constraint], resources: &Resources) -> Option<String> {
    let Resources {
        limit_nano_cpus: _,
        limit_memory_bytes: _,
        limit_pids: _,
        reserve_nano_cpus,
        reserve_memory_bytes,
    } = resources;
    let said = constraints.iter().filter(|constraint| constraint.is_said_by_node());
    let mut said: Vec<String> = said.map(|constraint| constraint.key.clone()).collect();
    if *reserve_nano_cpus > 0 || *reserve_memory_bytes > 0 {
        said.push("reserved resources".to_owned());
    }
    said.dedup();
    if said.is_empty() {
        return None;
    }
    Some(format!(
        "note: a node's own word decides here ({}): one that lies gets the tasks and their secrets; node.id, \
         node.role and node.labels are for operators alone to set",
        said.join(", ")
    ))
}

/// As [`note`], of a whole spec; only where there is something to lose.
pub(crate) fn note_of(task: &TaskSpec) -> Option<String> {
    let holds = !task.references.is_empty();
    holds.then(|| note(&task.placement.constraints, &task.resources)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nodes_say_themselves_is_pointed_out() {
        let all = |texts: &[&str]| -> Vec<Constraint> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let none = Resources::default();
        let trusted = all(&["node.id==x", "node.labels.zone==a", "node.role!=manager"]);
        assert_eq!(note(&trusted, &none), None);
        let said = all(&["node.id==x", "Engine.Labels.disk==ssd", "node.platform.os==linux"]);
        let text = note(&said, &Resources { reserve_memory_bytes: 1, ..none }).unwrap();
        assert!(
            text.contains("(Engine.Labels.disk, node.platform.os, reserved resources)"),
            "{text}"
        );
        assert!(note(&all(&["node.hostname==db"]), &none).is_some());
    }
}
