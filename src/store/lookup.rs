//! Finds one thing by what a person typed: its full id, else its name whatever the case, else the beginning of its id.

use super::State;
use crate::model::{
    node::Node, object::Kind, object::Object, refusal::Refusal, service::Service, task::Task,
};
use std::sync::Arc;

impl State {
    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn secret(&self, text: &str) -> Result<&Arc<Object>, Refusal> {
        self.object(Kind::Secret, text)
    }

    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn config(&self, text: &str) -> Result<&Arc<Object>, Refusal> {
        self.object(Kind::Config, text)
    }

    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn object(&self, kind: Kind, text: &str) -> Result<&Arc<Object>, Refusal> {
        let of_kind = |object: &&Arc<Object>| object.kind == kind;
        let by_id = text.parse().ok().and_then(|id| self.object_by_id(id)).filter(of_kind);
        if let Some(found) = by_id.or_else(|| self.object_by_name(kind, text)) {
            return Ok(found);
        }
        single(&kind.to_string(), text, self.objects_with_prefix(text).filter(of_kind))
    }

    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn service(&self, text: &str) -> Result<&Arc<Service>, Refusal> {
        let by_id = text.parse().ok().and_then(|id| self.service_by_id(id));
        if let Some(found) = by_id.or_else(|| self.service_by_name(text)) {
            return Ok(found);
        }
        single("service", text, self.services_with_prefix(text))
    }

    /// A node's name is its host name, which several may share.
    ///
    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn node(&self, text: &str) -> Result<&Arc<Node>, Refusal> {
        if let Some(found) = text.parse().ok().and_then(|id| self.node_by_id(id)) {
            return Ok(found);
        }
        let named = |node: &&Arc<Node>| node.description.hostname.eq_ignore_ascii_case(text);
        if self.nodes().any(|node| named(&node)) {
            return single("node", text, self.nodes().filter(named));
        }
        single("node", text, self.nodes_with_prefix(text))
    }

    /// A task's name is `<service>.<slot>.<task id>`.
    ///
    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn task(&self, text: &str) -> Result<&Arc<Task>, Refusal> {
        if let Some(found) = text.parse().ok().and_then(|id| self.task_by_id(id)) {
            return Ok(found);
        }
        let of_name = text.rsplit('.').next().and_then(|id| id.to_ascii_lowercase().parse().ok());
        if let Some(task) = of_name.and_then(|id| self.task_by_id(id))
            && task.name().eq_ignore_ascii_case(text)
        {
            return Ok(task);
        }
        single("task", text, self.tasks_with_prefix(text))
    }
}

fn single<'a, T>(
    what: &str,
    text: &str,
    mut found: impl Iterator<Item = &'a Arc<T>>,
) -> Result<&'a Arc<T>, Refusal> {
    let missing = || Refusal::not_found(format!("{what} {text} not found"));
    if text.is_empty() {
        return Err(missing());
    }
    let first = found.next().ok_or_else(missing)?;
    match found.count() {
        0 => Ok(first),
        more => Err(Refusal::invalid(format!(
            "{what} {text} is ambiguous ({} matches found)",
            more + 1
        ))),
    }
}
