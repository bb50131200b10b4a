//! Lists with the filters operators know: values of name and id add up, every other key narrows.

use super::State;
use crate::model::{
    Labels,
    filter::Filters,
    node::{Node, Role},
    object::{Kind, Object},
    refusal::Refusal,
    service::{Mode, Service},
    task::{Task, TaskState},
};
use std::sync::Arc;

impl State {
    /// Objects of a kind by name. Keys: `name` (prefix), `names` (exact), `id` (prefix), `label`.
    ///
    /// # Errors
    /// `invalid filter 'x'` for any other key.
    pub fn list_objects(&self, kind: Kind, filters: &Filters) -> Result<Vec<Arc<Object>>, Refusal> {
        check_keys(filters, &["name", "names", "id", "label"])?;
        let mut found: Vec<_> = self
            .objects()
            .filter(|object| {
                object.kind == kind
                    && names_fit(filters, object.id.as_str(), object.name.as_str())
                    && labels_fit(filters.values("label"), &object.labels)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Services by name. Keys: `name` (prefix), `names` (exact), `id` (prefix), `label`, `mode`.
    ///
    /// # Errors
    /// `invalid filter 'x'` for any other key.
    pub fn list_services(&self, filters: &Filters) -> Result<Vec<Arc<Service>>, Refusal> {
        check_keys(filters, &["name", "names", "id", "label", "mode"])?;
        let mode_fits = |service: &Service| {
            let mode = match service.spec.mode {
                Mode::Replicated { .. } => "replicated",
                Mode::Global => "global",
            };
            any(filters.values("mode"), |wanted| wanted == mode)
        };
        let mut found: Vec<_> = self
            .services()
            .filter(|service| {
                names_fit(filters, service.id.as_str(), service.spec.name.as_str())
                    && labels_fit(filters.values("label"), &service.spec.labels)
                    && mode_fits(service)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        Ok(found)
    }

    /// Tasks by service, slot, and age with the newest first. Keys: `name` (prefix of `<service>.<slot>.<id>`),
    /// `id` (prefix), `service` and `node` (id, name, or prefix of the id), `desired-state`, `label` (of the service),
    /// `up-to-date` (`true` or `false`).
    ///
    /// # Errors
    /// `invalid filter 'x'` for any other key, and states that are none.
    pub fn list_tasks(&self, filters: &Filters) -> Result<Vec<Arc<Task>>, Refusal> {
        check_keys(
            filters,
            &["name", "names", "id", "service", "node", "desired-state", "label", "up-to-date"],
        )?;
        let mut desired = Vec::new();
        for text in filters.values("desired-state") {
            desired.push(TaskState::parse(text).ok_or_else(|| bad_value("desired-state", text))?);
        }
        let mut fresh = Vec::new();
        for text in filters.values("up-to-date") {
            fresh.push(text.parse::<bool>().map_err(|_| bad_value("up-to-date", text))?);
        }
        let mut found: Vec<_> = self
            .tasks()
            .filter(|task| {
                names_fit(filters, task.id.as_str(), &task.name())
                    && any(filters.values("service"), |wanted| {
                        task.service.as_str().starts_with(wanted)
                            || task.service_name.as_str().eq_ignore_ascii_case(wanted)
                    })
                    && any(filters.values("node"), |wanted| self.runs_on(task, wanted))
                    && any(&desired, |state| task.desired == *state)
                    && any(&fresh, |fresh| self.is_up_to_date(task) == *fresh)
                    && labels_fit(filters.values("label"), &task.service_labels)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| {
            // A global service has a task for each node, not a slot; the tasks of one slot may have been on several.
            let place = |task: &Task| if task.slot == 0 { task.node } else { None };
            let key = |task: &Task| (task.service_name.clone(), task.slot, place(task));
            key(a).cmp(&key(b)).then_with(|| b.age_key().cmp(&a.age_key()))
        });
        Ok(found)
    }

    /// Nodes by host name. Keys: `name` (prefix of the host name), `id` (prefix), `role`, `membership`,
    /// `label` (of the engine), `node.label`.
    ///
    /// # Errors
    /// `invalid filter 'x'` for any other key, and roles and memberships that are none.
    pub fn list_nodes(&self, filters: &Filters) -> Result<Vec<Arc<Node>>, Refusal> {
        check_keys(filters, &["name", "names", "id", "role", "membership", "label", "node.label"])?;
        let mut roles = Vec::new();
        for text in filters.values("role") {
            roles.push(match text.as_str() {
                "worker" => Role::Worker,
                "manager" => Role::Manager,
                _ => return Err(bad_value("role", text)),
            });
        }
        // Whoever is in the store has been accepted.
        let mut memberships = Vec::new();
        for text in filters.values("membership") {
            memberships.push(match text.as_str() {
                "accepted" => true,
                "pending" => false,
                _ => return Err(bad_value("membership", text)),
            });
        }
        let mut found: Vec<_> = self
            .nodes()
            .filter(|node| {
                names_fit(filters, node.id.as_str(), &node.description.hostname)
                    && any(&roles, |role| node.role == *role)
                    && any(&memberships, |accepted| *accepted)
                    && labels_fit(filters.values("label"), &node.description.engine_labels)
                    && labels_fit(filters.values("node.label"), &node.labels)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| (&a.description.hostname, a.id).cmp(&(&b.description.hostname, b.id)));
        Ok(found)
    }

    /// Whether a task runs what its service asks for now; of a service that is gone, none does.
    pub fn is_up_to_date(&self, task: &Task) -> bool {
        self.service_by_id(task.service).is_some_and(|service| {
            task.spec_index == service.spec_index || *task.spec == service.spec.task
        })
    }

    fn runs_on(&self, task: &Task, wanted: &str) -> bool {
        task.node.is_some_and(|id| {
            let hostname = self.node_by_id(id).map(|node| node.description.hostname.as_str());
            id.as_str().starts_with(wanted)
                || hostname.is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        })
    }
}

fn check_keys(filters: &Filters, known: &[&str]) -> Result<(), Refusal> {
    match filters.iter().find(|(key, _)| !known.contains(key)) {
        Some((key, _)) => Err(Refusal::invalid(format!("invalid filter '{key}'"))),
        None => Ok(()),
    }
}

fn bad_value(key: &str, value: &str) -> Refusal {
    Refusal::invalid(format!("invalid {key} filter: '{value}'"))
}

/// Whether one of the wanted values fits, or none was asked for.
fn any<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}

fn names_fit(filters: &Filters, id: &str, name: &str) -> bool {
    let (prefixes, exact, ids) =
        (filters.values("name"), filters.values("names"), filters.values("id"));
    (prefixes.is_empty() && exact.is_empty() && ids.is_empty())
        || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
        || exact.iter().any(|wanted| name == wanted)
        || ids.iter().any(|prefix| id.starts_with(prefix.as_str()))
}

/// `key` must be there, `key=value` must be equal; all of them.
fn labels_fit(wanted: &[String], labels: &Labels) -> bool {
    wanted.iter().all(|wanted| match wanted.split_once('=') {
        None | Some((_, "")) => {
            labels.contains_key(wanted.split_once('=').map_or(wanted.as_str(), |(key, _)| key))
        }
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
    })
}
