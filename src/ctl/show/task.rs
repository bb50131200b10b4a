//! Tasks, as `service ps` and `stack ps` list them.

use super::{capital, image_name};
use crate::{
    ctl::{age::Human, format::Listing},
    kit::{clock::Timestamp, id::NodeId},
    model::{
        service::{Port, Protocol},
        task::Task,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const TASKS: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Node", "NODE"),
        ("DesiredState", "DESIRED STATE"),
        ("CurrentState", "CURRENT STATE"),
        ("Error", "ERROR"),
        ("Ports", "PORTS"),
    ],
    table: r"{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// Characters of an id in a table, and of an error, unless asked for all of it.
pub(super) const SHORT_ID: usize = 12;
const SHORT_ERROR: usize = 30;

/// Rows of tasks in their order; an older task of the same slot is set off with ` \_ ` unless a program reads it.
///
/// `hosts` are the names of nodes; ids stand for those that are not in it.
pub(crate) fn task_rows(
    tasks: &[Task],
    hosts: &BTreeMap<NodeId, String>,
    no_trunc: bool,
    indent: bool,
    now: Timestamp,
) -> Vec<Value> {
    let mut before = String::new();
    tasks
        .iter()
        .map(|task| {
            let name = task.short_name();
            let shown =
                if indent && name == before { format!(" \\_ {name}") } else { name.clone() };
            before = name;
            let id = task.id.to_string();
            let node = task.node.map_or_else(String::new, |node| {
                hosts.get(&node).cloned().unwrap_or_else(|| node.to_string())
            });
            let age = Human(now.since(task.status.at)).to_string().to_lowercase();
            json!({
                "ID": if no_trunc { id.as_str() } else { &id[..SHORT_ID] },
                "Name": shown,
                "Image": if no_trunc { &task.spec.container.image } else { image_name(&task.spec.container.image) },
                "Node": node,
                "DesiredState": capital(&task.desired.to_string()),
                "CurrentState": format!("{} {age} ago", capital(&task.status.state.to_string())),
                "Error": error(&task.status.error, no_trunc),
                "Ports": ports(&task.spec.ports),
            })
        })
        .collect()
}

fn error(text: &str, no_trunc: bool) -> String {
    let text = text.trim().replace(['\n', '\t'], " ");
    if text.is_empty() {
        return text;
    }
    if no_trunc || text.chars().count() <= SHORT_ERROR {
        return format!("\"{text}\"");
    }
    format!("\"{}…\"", text.chars().take(SHORT_ERROR - 1).collect::<String>())
}

/// As `service ls` and `service ps` show ports: `*:8080->80/tcp`.
pub(super) fn ports(ports: &[Port]) -> String {
    let one = |port: &Port| {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        match port.published {
            0 => format!("{}/{protocol}", port.target),
            published => format!("*:{published}->{}/{protocol}", port.target),
        }
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::{ServiceId, TaskId},
        model::{
            Labels, Meta,
            service::{ContainerSpec, TaskSpec},
            task::{TaskState, TaskStatus},
        },
    };
    use std::sync::Arc;

    pub(crate) fn task(id: u8, slot: u64, state: TaskState, error: &str) -> Task {
        let mut status = TaskStatus::new(state, Timestamp(1000), "");
        status.error = error.to_owned();
        Task {
            id: TaskId::from_random([id; 17]),
            meta: Meta::new(Timestamp(1000)),
            service: ServiceId::from_random([9; 17]),
            service_name: "web".parse().unwrap(),
            service_labels: Labels::new(),
            slot,
            node: Some(NodeId::from_random([1; 17])),
            spec: Arc::new(TaskSpec {
                container: ContainerSpec {
                    image: "nginx:1@sha256:00".into(),
                    ..Default::default()
                },
                ..Default::default()
            }),
            spec_index: 1,
            versions: Vec::new(),
            desired: if state > TaskState::Running {
                TaskState::Shutdown
            } else {
                TaskState::Running
            },
            status,
            started_at: None,
            wiped: false,
        }
    }

    #[test]
    fn tasks_are_listed_as_docker_lists_them() {
        let tasks = [
            task(1, 1, TaskState::Running, ""),
            task(2, 1, TaskState::Failed, "task: non-zero exit (1): something long"),
            task(3, 2, TaskState::Rejected, "No such image: x"),
        ];
        let hosts = BTreeMap::from([(NodeId::from_random([1; 17]), "node1".to_owned())]);
        let rows = task_rows(&tasks, &hosts, false, true, Timestamp(6000));
        let text = TASKS.render(&rows, None, false).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "ID             NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE            ERROR                              PORTS"
        );
        assert!(
            lines[1]
                .ends_with("web.1       nginx:1   node1     Running         Running 5 seconds ago"),
            "{text}"
        );
        assert!(lines[2].ends_with(" \\_ web.1   nginx:1   node1     Shutdown        Failed 5 seconds ago     \"task: non-zero exit (1): some…\""), "{text}");
        assert!(lines[3].ends_with("Rejected 5 seconds ago   \"No such image: x\""), "{text}");
    }

    #[test]
    fn nothing_is_shortened_when_asked_not_to() {
        let tasks = [task(1, 1, TaskState::Failed, "task: non-zero exit (1): something long")];
        let rows = task_rows(&tasks, &BTreeMap::new(), true, true, Timestamp(6000));
        assert_eq!(rows[0]["ID"].as_str().unwrap().len(), 25);
        assert_eq!(rows[0]["Image"], "nginx:1@sha256:00");
        assert_eq!(rows[0]["Error"], "\"task: non-zero exit (1): something long\"");
        assert_eq!(rows[0]["Node"], NodeId::from_random([1; 17]).to_string());
    }

    #[test]
    fn ports_look_like_dockers() {
        let port = |target, published, protocol| Port { target, published, protocol };
        assert_eq!(
            ports(&[port(80, 8080, Protocol::Tcp), port(53, 0, Protocol::Udp)]),
            "*:8080->80/tcp, 53/udp"
        );
    }
}
