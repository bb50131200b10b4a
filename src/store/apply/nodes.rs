//! The cluster's first command, and what is known of its nodes.

use super::{Edit, Entity, check_index};
use crate::{
    kit::id::NodeId,
    model::{
        Labels, Meta, check_labels,
        cluster::Cluster,
        command::{Answer, Outcome},
        node::{Availability, Node, NodeDescription, NodeStatus},
        refusal::{Refusal, RefusalKind},
    },
};
use std::sync::Arc;

pub(super) fn found(edit: &mut Edit<'_>, cluster: &Cluster, node: &Node) -> Outcome {
    if let Some(there) = edit.state.cluster() {
        let message = format!("cluster {} has been founded already", there.id);
        return Err(Refusal::new(RefusalKind::Precondition, message));
    }
    let meta = Meta::new(edit.at);
    let mut cluster = Cluster { meta, ..cluster.clone() };
    for term in &mut cluster.keyring {
        term.created_at = edit.at;
    }
    edit.put(Entity::Cluster(Arc::new(cluster)));
    edit.put(Entity::Node(Arc::new(Node { meta, ..node.clone() })));
    Ok(Answer::Done)
}

pub(super) fn report(
    edit: &mut Edit<'_>,
    id: NodeId,
    description: Option<&NodeDescription>,
    status: &NodeStatus,
    held_by: Option<NodeId>,
) -> Outcome {
    let node = find(edit, id)?;
    // Who left is not back because its last session did not know yet.
    if node.has_left() || held_by.is_some() && held_by != node.status.dispatcher {
        return Ok(Answer::Done);
    }
    let (mut description, renamed) = match description {
        Some(said) => described(&node, said),
        None => (node.description.clone(), node.renamed.clone()),
    };
    let works = description.runtime_error.is_empty();
    let before = &node.description;
    // An engine that does not answer does not say what it is; it is the one from before until another does.
    if !works && description.runtime == before.runtime && description.engine_version.is_empty() {
        description.engine_version.clone_from(&before.engine_version);
        description.engine_labels.clone_from(&before.engine_labels);
    }
    let runtime_failed_at = (!works).then(|| node.runtime_failed_at.unwrap_or(edit.at));
    if description != *before || renamed != node.renamed || *status != node.status {
        edit.put(Entity::Node(Arc::new(Node {
            meta: node.meta.changed(edit.at),
            description,
            renamed,
            runtime_failed_at,
            status: status.clone(),
            ..Node::clone(&node)
        })));
    }
    Ok(Answer::Done)
}

/// What a node says of itself, under the host name it joined with: services are placed by it. Another name is only noted.
fn described(node: &Node, said: &NodeDescription) -> (NodeDescription, Option<String>) {
    // A manager that founded or restored the cluster had no name to give if the kernel had none.
    let fixed = &node.description.hostname;
    if fixed.is_empty() || *fixed == said.hostname {
        return (said.clone(), None);
    }
    let hostname = fixed.clone();
    (NodeDescription { hostname, ..said.clone() }, Some(said.hostname.clone()))
}

pub(super) fn set(
    edit: &mut Edit<'_>,
    id: NodeId,
    index: Option<u64>,
    availability: Availability,
    labels: &Labels,
    hostname: Option<&str>,
) -> Outcome {
    let node = find(edit, id)?;
    check_index(index, node.meta.index)?;
    check_labels(labels).map_err(|error| Refusal::invalid(error.to_string()))?;
    let said = node.renamed.as_ref().unwrap_or(&node.description.hostname);
    let hostname = hostname.unwrap_or(&node.description.hostname);
    if availability != node.availability
        || *labels != node.labels
        || *hostname != node.description.hostname
    {
        edit.put(Entity::Node(Arc::new(Node {
            meta: node.meta.changed(edit.at),
            availability,
            labels: labels.clone(),
            description: NodeDescription {
                hostname: hostname.to_owned(),
                ..node.description.clone()
            },
            renamed: (said != hostname).then(|| said.clone()),
            ..Node::clone(&node)
        })));
    }
    Ok(Answer::Done)
}

pub(super) fn find(edit: &Edit<'_>, id: NodeId) -> Result<Arc<Node>, Refusal> {
    let found = edit.state.node_by_id(id).cloned();
    found.ok_or_else(|| Refusal::not_found(format!("node {id} not found")))
}
