//! Who may join, who belongs to the cluster, as what, and under which CA.

use super::{
    Edit, Entity, Key, State, check_index, destroyed, keyring::check_term, nodes::find, remnants,
    sightings,
};
use crate::{
    crypto::seal::Sealed,
    kit::{id::NodeId, limits::JOIN_TOKENS},
    model::{
        Meta, check_labels,
        cluster::{
            AuthorityRotation, BackupStatus, Cluster, Departure, FormerManager, Rekeying, Token,
        },
        command::{Answer, Outcome},
        node::{ManagerStatus, Node, NodeState, NodeStatus, Role, Standing},
        refusal::{Refusal, RefusalKind},
    },
};
use std::sync::Arc;

pub(super) fn add_token(edit: &mut Edit<'_>, token: &Token, revoke: bool) -> Outcome {
    let cluster = cluster(edit)?;
    let kept = |old: &&Token| old.is_valid(edit.at) && !(revoke && old.role == token.role);
    let mut tokens: Vec<Token> = cluster.tokens.iter().filter(kept).cloned().collect();
    if tokens.len() >= JOIN_TOKENS {
        let message = format!("there are {JOIN_TOKENS} join tokens already");
        return Err(Refusal::new(RefusalKind::Precondition, message)
            .hint("revoke those for a role with `secretctl join-token --rotate ROLE`, or give new ones a --ttl"));
    }
    if tokens.iter().any(|old| old.hash == token.hash) {
        return Err(Refusal::new(RefusalKind::Exists, "there is such a join token already"));
    }
    tokens.push(token.clone());
    put_cluster(edit, Cluster { tokens, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn join(edit: &mut Edit<'_>, hash: &[u8; 32], node: &Node) -> Outcome {
    let cluster = cluster(edit)?;
    // It does not say whether the token was wrong, worn out or revoked: whoever asks may be guessing.
    let invalid = || {
        Refusal::new(RefusalKind::Denied, "a valid join token is necessary to join this cluster")
        .hint("make one with `secretctl join-token worker` (or manager) on a manager; tokens expire and may be revoked")
    };
    let valid = |token: &&Token| token.hash == *hash && token.is_valid(edit.at);
    let role = cluster.tokens.iter().find(valid).ok_or_else(invalid)?.role;
    if role != node.role {
        return Err(invalid());
    }
    if edit.state.node_by_id(node.id).is_some() {
        return Err(Refusal::new(RefusalKind::Exists, format!("node {} exists already", node.id)));
    }
    check_labels(&node.labels).map_err(|error| Refusal::invalid(error.to_string()))?;
    let mut tokens = cluster.tokens.clone();
    for token in tokens.iter_mut().filter(|token| token.hash == *hash) {
        token.uses_left = token.uses_left.map(|left| left.saturating_sub(1));
    }
    if tokens != cluster.tokens {
        put_cluster(edit, Cluster { tokens, ..Cluster::clone(&cluster) });
    }
    let meta = Meta::new(edit.at);
    let standing = Standing::Member;
    let node = Node { meta, manager: None, renamed: None, standing, ..node.clone() };
    edit.put(Entity::Node(Arc::new(node)));
    Ok(Answer::Done)
}

pub(super) fn set_role(edit: &mut Edit<'_>, id: NodeId, index: Option<u64>, role: Role) -> Outcome {
    let node = find(edit, id)?;
    check_index(index, node.meta.index)?;
    if node.role == Role::Manager && role == Role::Worker {
        check_demotion(edit.state, &node)?;
    }
    if node.role == Role::Worker && role == Role::Manager {
        if node.has_left() {
            let message = format!("node {id} has left the cluster");
            return Err(Refusal::new(RefusalKind::Precondition, message));
        }
        check_address(edit.state, &node)?;
    }
    if node.role != role {
        put_node(edit, Node { role, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

/// One that was demoted because another came to its address is on its way out of the group with that address.
fn check_address(state: &State, node: &Node) -> Result<(), Refusal> {
    let Some(manager) = &node.manager else { return Ok(()) };
    let mut others = others_at(state, node.id, &manager.addr);
    let Some(other) = others.find(|other| other.role == Role::Manager) else { return Ok(()) };
    let message = format!("manager {} has the address {} now", other.id, manager.addr);
    Err(Refusal::new(RefusalKind::Precondition, message)
        .hint("try again once `secretctl node ls` shows no manager status for it"))
}

/// The other managers of the group that have this address.
fn others_at<'a>(
    state: &'a State,
    id: NodeId,
    addr: &'a str,
) -> impl Iterator<Item = &'a Arc<Node>> {
    let is_there = move |other: &&Arc<Node>| {
        other.id != id && other.manager.as_ref().is_some_and(|manager| manager.addr == addr)
    };
    state.nodes().filter(is_there)
}

/// What holds wherever the demotion was asked for; whether the others answer only the leader can tell.
fn check_demotion(state: &State, node: &Node) -> Result<(), Refusal> {
    let refuse = |message: String, hint: &str| {
        Err(Refusal::new(RefusalKind::Precondition, message).hint(hint))
    };
    let others = || state.nodes().filter(|other| other.id != node.id);
    // One that was promoted but not admitted yet may never come.
    if others().all(|other| other.role != Role::Manager || other.manager.is_none()) {
        return refuse(
            "attempting to demote the last manager of the cluster".to_owned(),
            "promote another node first, or end the cluster with `secretctl leave --force`",
        );
    }
    // Each was judged by itself: together they could cost the quorum.
    match state.leaving_manager(node.id) {
        Some(leaving) if node.manager.is_some() => refuse(
            format!(
                "manager {} is on its way out of the group, and one goes at a time",
                leaving.id
            ),
            "try again once `secretctl node ls` shows no manager status for it",
        ),
        Some(_) | None => Ok(()),
    }
}

/// Leaves one manager, which answers for itself alone; done again, it changes nothing.
pub(super) fn reestablish(edit: &mut Edit<'_>, node: &Node) -> Outcome {
    let cluster = cluster(edit)?;
    let Some(manager) = node.manager.as_ref().filter(|_| node.role == Role::Manager) else {
        return Err(Refusal::invalid(format!("node {} is no manager", node.id)));
    };
    let others: Vec<Arc<Node>> = edit
        .state
        .nodes()
        .filter(|other| other.id != node.id)
        .filter(|other| other.role == Role::Manager || other.manager.is_some())
        .cloned()
        .collect();
    let next_raft_id = cluster.next_raft_id.max(manager.raft_id + 1);
    let rekeying = Rekeying { due: true, ..cluster.rekeying.clone() };
    let tokens = Vec::new();
    let root = cluster.root.without_offer();
    let mut cluster = Cluster { next_raft_id, tokens, rekeying, root, ..Cluster::clone(&cluster) };
    for other in others {
        note_former(edit, &mut cluster, &other, Departure::Abandoned);
        put_node(edit, Node { role: Role::Worker, manager: None, ..Node::clone(&other) });
    }
    let before = edit.state.node_by_id(node.id).cloned();
    if let Some(before) = before.as_ref().filter(|before| has_another_id(before, manager.raft_id)) {
        note_former(edit, &mut cluster, before, Departure::Replaced);
    }
    let meta = before.map_or(Meta::new(edit.at), |old| old.meta);
    put_node(edit, Node { meta, ..node.clone() });
    sightings::date(edit, node.id);
    put_cluster(edit, cluster);
    destroyed::settle(edit);
    Ok(Answer::Done)
}

/// Remembers the Raft id of a manager that is one no more, if it has one.
fn note_former(edit: &Edit<'_>, cluster: &mut Cluster, node: &Node, departure: Departure) {
    if let Some(ManagerStatus { raft_id, .. }) = node.manager {
        cluster.note_former(FormerManager { node: node.id, raft_id, at: edit.at, departure });
    }
}

fn has_another_id(node: &Node, raft_id: u64) -> bool {
    node.manager.as_ref().is_some_and(|manager| manager.raft_id != raft_id)
}

pub(super) fn note_backup(edit: &mut Edit<'_>, backup: &BackupStatus) -> Outcome {
    let cluster = cluster(edit)?;
    put_cluster(edit, Cluster { backup: Some(backup.clone()), ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn admit(edit: &mut Edit<'_>, id: NodeId, addr: &str) -> Outcome {
    let node = find(edit, id)?;
    if node.role != Role::Manager {
        let message = format!("node {id} shall be a worker, not a manager");
        return Err(Refusal::new(RefusalKind::Denied, message));
    }
    let others: Vec<Arc<Node>> = others_at(edit.state, id, addr).cloned().collect();
    if let Some(other) = others.iter().find(|other| other.has_been_here()) {
        let message = format!("manager {} has the address {addr} already", other.id);
        return Err(Refusal::new(RefusalKind::Precondition, message).hint(
            "give another address with --advertise-addr, or demote and remove that node first",
        ));
    }
    // Somebody else listens there now: whoever was admitted before and never came does not come any more.
    for other in others.iter().filter(|other| other.role == Role::Manager) {
        put_node(edit, Node { role: Role::Worker, ..Node::clone(other) });
    }
    let cluster = cluster(edit)?;
    // A fresh one each time: whoever asks again may have lost the store that voted under the last.
    let raft_id = cluster.next_raft_id;
    let mut cluster = Cluster { next_raft_id: raft_id + 1, ..Cluster::clone(&cluster) };
    note_former(edit, &mut cluster, &node, Departure::Replaced);
    put_cluster(edit, cluster);
    let manager = Some(ManagerStatus::new(raft_id, addr.to_owned()));
    put_node(edit, Node { manager, ..Node::clone(&node) });
    Ok(Answer::Manager { raft_id })
}

/// Notes where a manager is reached. Whoever is met at an address proves who it is, so two that change places may have the
/// same one for a moment.
pub(super) fn relocate(edit: &mut Edit<'_>, id: NodeId, addr: &str) -> Outcome {
    let node = find(edit, id)?;
    let Some(manager) = node.manager.clone().filter(|_| node.role == Role::Manager) else {
        return Err(Refusal::new(RefusalKind::Denied, format!("node {id} is no manager")));
    };
    if manager.addr != addr {
        let manager = Some(ManagerStatus { addr: addr.to_owned(), ..manager });
        put_node(edit, Node { manager, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

pub(super) fn retire(edit: &mut Edit<'_>, id: NodeId, raft_id: u64) -> Outcome {
    let node = find(edit, id)?;
    if node.manager.as_ref().is_some_and(|manager| manager.raft_id == raft_id) {
        let departure = match node.standing {
            // Its last word came before it was out of the group.
            Standing::Left { wiped: true, .. } => {
                forget(edit, id);
                Departure::Removed
            }
            Standing::Left { wiped: false, .. } | Standing::Member => {
                put_node(edit, Node { manager: None, ..Node::clone(&node) });
                Departure::Demoted
            }
        };
        // It had the root key: what is stored from now on is sealed under a term that it has never seen.
        let cluster = cluster(edit)?;
        let rekeying = Rekeying { due: true, ..cluster.rekeying.clone() };
        let root = cluster.root.without_offer();
        let mut cluster = Cluster { rekeying, root, ..Cluster::clone(&cluster) };
        note_former(edit, &mut cluster, &node, departure);
        put_cluster(edit, cluster);
        destroyed::settle(edit);
    }
    Ok(Answer::Done)
}

pub(super) fn remove(edit: &mut Edit<'_>, id: NodeId, force: bool) -> Outcome {
    let node = find(edit, id)?;
    let refuse = |message: String, hint: &str| {
        Err(Refusal::new(RefusalKind::Precondition, message).hint(hint))
    };
    if node.role == Role::Manager || node.manager.is_some() {
        return refuse(
            format!(
                "node {id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
            ),
            "demote it with `secretctl node demote`",
        );
    }
    if node.status.state == NodeState::Ready && !force {
        return refuse(
            format!("node {id} is not down and can't be removed"),
            "let it leave with `secretctl leave` there, or remove it with --force",
        );
    }
    forget(edit, id);
    Ok(Answer::Done)
}

/// A node leaves, or says what else there is to say. One whose row is gone has nothing to add.
pub(super) fn leave(edit: &mut Edit<'_>, id: NodeId, wiped: bool) -> Outcome {
    let Some(node) = edit.state.node_by_id(id).cloned() else { return Ok(Answer::Done) };
    let (at, said) = match node.standing {
        Standing::Left { at, wiped } => (at, wiped),
        Standing::Member if wiped => {
            let message = format!("node {id} has not left");
            return Err(Refusal::new(RefusalKind::Precondition, message));
        }
        Standing::Member if node.role == Role::Manager => {
            let message = format!("node {id} is a manager: it must be demoted before it leaves");
            return Err(Refusal::new(RefusalKind::Precondition, message));
        }
        Standing::Member => (edit.at, false),
    };
    let wiped = wiped || said;
    if wiped && node.manager.is_none() {
        forget(edit, id);
        return Ok(Answer::Done);
    }
    let standing = Standing::Left { at, wiped };
    if standing != node.standing {
        let status = NodeStatus {
            state: NodeState::Down,
            message: "the node has left".to_owned(),
            at,
            ..node.status.clone()
        };
        put_node(edit, Node { standing, status, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

/// Forgets a node for good, and what it may have had that does not matter any more.
fn forget(edit: &mut Edit<'_>, id: NodeId) {
    edit.delete(Key::Node(id));
    remnants::forget_node(edit, id);
    note_removal(edit, id);
}

/// Says of a former manager that its node is gone too.
fn note_removal(edit: &mut Edit<'_>, id: NodeId) {
    let Some(cluster) = edit.state.cluster().cloned() else { return };
    if cluster.former_managers.iter().all(|former| former.node != id) {
        return;
    }
    let mut cluster = Cluster::clone(&cluster);
    for former in cluster.former_managers.iter_mut().filter(|former| former.node == id) {
        former.departure = Departure::Removed;
    }
    put_cluster(edit, cluster);
}

pub(super) fn rotate(
    edit: &mut Edit<'_>,
    ca_certificate: &[u8],
    ca_key: &Sealed,
    rotation: &AuthorityRotation,
) -> Outcome {
    let cluster = cluster(edit)?;
    if cluster.rotation.is_some() {
        return Err(Refusal::new(RefusalKind::Precondition, "a rotation of the CA is under way")
            .hint("see how far it is with `secretctl ca show`; nodes that will not come back must be removed"));
    }
    if cluster.ca_certificate != rotation.previous {
        return Err(Refusal::new(RefusalKind::Conflict, "the CA has been replaced meanwhile"));
    }
    check_term(edit, ca_key)?;
    put_cluster(
        edit,
        Cluster {
            ca_certificate: ca_certificate.to_vec(),
            ca_key: ca_key.clone(),
            rotation: Some(AuthorityRotation { started_at: edit.at, ..rotation.clone() }),
            tokens: Vec::new(),
            ..Cluster::clone(&cluster)
        },
    );
    Ok(Answer::Done)
}

pub(super) fn finish_rotation(edit: &mut Edit<'_>) -> Outcome {
    let cluster = cluster(edit)?;
    if cluster.rotation.is_none() {
        return Ok(Answer::Done);
    }
    // Judged here, not by whoever asks: a node may have joined meanwhile.
    if let Some(node) = edit.state.nodes().find(|node| !cluster.has_moved(node)) {
        let message = format!("node {} has no certificate of the new CA yet", node.id);
        return Err(Refusal::new(RefusalKind::Precondition, message));
    }
    put_cluster(edit, Cluster { rotation: None, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn cluster(edit: &Edit<'_>) -> Result<Arc<Cluster>, Refusal> {
    let none = || Refusal::new(RefusalKind::Precondition, "no cluster has been founded");
    edit.state.cluster().cloned().ok_or_else(none)
}

pub(super) fn put_cluster(edit: &mut Edit<'_>, cluster: Cluster) {
    let meta = cluster.meta.changed(edit.at);
    edit.put(Entity::Cluster(Arc::new(Cluster { meta, ..cluster })));
}

pub(super) fn put_node(edit: &mut Edit<'_>, node: Node) {
    let meta = node.meta.changed(edit.at);
    edit.put(Entity::Node(Arc::new(Node { meta, ..node })));
}
