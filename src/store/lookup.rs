//! Finds one thing by what a person typed: its full id, else its name whatever the case, else the beginning of its id.

use super::State;
use crate::model::{
    node::{Node, NodeState, Standing},
    object::Kind,
    object::Object,
    refusal::Refusal,
    service::Service,
    task::Task,
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

    /// A node's name is its host name, which several may share. One that is there goes before those that are down, and
    /// those that have left count only if nobody else has the name.
    ///
    /// # Errors
    /// Not found, or ambiguous; the texts are Swarm's.
    pub fn node(&self, text: &str) -> Result<&Arc<Node>, Refusal> {
        self.find_node(text, |named| {
            let members: Vec<_> = named.iter().copied().filter(|node| !node.has_left()).collect();
            let up = |node: &&Arc<Node>| node.status.state != NodeState::Down;
            let there: Vec<_> = members.iter().copied().filter(up).collect();
            match (there.as_slice(), members.as_slice()) {
                ([_], _) => there,
                (_, []) => named,
                (_, _) => members,
            }
        })
    }

    /// Finds a node to change it. Whoever names one of two machines by a name they share may mean the one that is down,
    /// so that names neither. One that has left is not changed any more.
    ///
    /// # Errors
    /// As [`State::node`].
    pub fn node_to_change(&self, text: &str) -> Result<&Arc<Node>, Refusal> {
        self.find_node(text, |named| {
            let members: Vec<_> = named.iter().copied().filter(|node| !node.has_left()).collect();
            if members.is_empty() { named } else { members }
        })
    }

    /// Finds a node to remove it: whoever else has the name may be meant, also one that has left.
    ///
    /// # Errors
    /// As [`State::node`].
    pub fn node_to_remove(&self, text: &str) -> Result<&Arc<Node>, Refusal> {
        self.find_node(text, |named| named)
    }

    /// Finds a node by its full id, else among those that `pick` leaves of the nodes of that name, else by the beginning
    /// of its id.
    fn find_node<'a>(
        &'a self,
        text: &str,
        pick: impl FnOnce(Vec<&'a Arc<Node>>) -> Vec<&'a Arc<Node>>,
    ) -> Result<&'a Arc<Node>, Refusal> {
        if let Some(found) = text.parse().ok().and_then(|id| self.node_by_id(id)) {
            return Ok(found);
        }
        let named = |node: &&Arc<Node>| node.description.hostname.eq_ignore_ascii_case(text);
        let named: Vec<_> = self.nodes().filter(named).collect();
        let picked = if named.is_empty() { named } else { pick(named) };
        if picked.len() < 2 {
            let by_id = picked.is_empty().then(|| self.nodes_with_prefix(text));
            return single("node", text, picked.into_iter().chain(by_id.into_iter().flatten()));
        }
        let ids: Vec<String> = picked.iter().map(|node| said(node)).collect();
        let message = format!("node {text} is ambiguous ({} matches found)", ids.len());
        Err(Refusal::invalid(message).hint(format!("name it by its id: {}", ids.join(", "))))
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

/// A node beside its namesakes.
fn said(node: &Node) -> String {
    let Node { id, standing, .. } = node;
    match standing {
        Standing::Member => format!("{id} ({})", node.status.state),
        Standing::Left { .. } => format!("{id} (left)"),
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
