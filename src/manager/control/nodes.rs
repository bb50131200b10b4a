//! Nodes and the cluster.

use super::{
    ControlService, authority, holders, invalid,
    lists::{Cut, cut, filters},
    managers::Heard,
    request_id,
};
use crate::{
    kit::id::NodeId,
    manager::group::until_nobody_leaves,
    model::{
        check_labels,
        cluster::Cluster,
        command::Command,
        description::check_hostname,
        node::{Availability, Node, Role},
        refusal::{Refusal, RefusalKind},
        task::Payload,
    },
    store::{Holder, State},
    wire::{convert::Code, v1},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

/// How long the leader may take to take a demoted manager out of the Raft group before a removal gives up.
const RETIREMENT: Duration = Duration::from_secs(10);

impl ControlService {
    pub(super) async fn nodes(
        &self,
        request: v1::ListNodesRequest,
    ) -> Result<v1::ListNodesResponse, Status> {
        let v1::ListNodesRequest { filters: wanted, page } = request;
        let all = self.newest().await?.list_nodes(&filters(wanted))?;
        let heard = self.heard().await;
        let Cut { entries, next } =
            cut(&all, page, |n| n.id.as_str(), |n| self.node_entry(n, &heard))?;
        Ok(v1::ListNodesResponse { nodes: entries, next })
    }

    pub(super) async fn node(&self, request: v1::GetNodeRequest) -> Result<v1::NodeEntry, Status> {
        let v1::GetNodeRequest { reference, to_change } = request;
        let state = self.newest().await?;
        let reference = self.named(&reference);
        let node = match to_change {
            true => state.node_to_change(reference)?,
            false => state.node(reference)?,
        };
        Ok(self.node_entry(node, &self.heard().await))
    }

    pub(super) async fn change_node(
        &self,
        request: v1::SetNodeRequest,
    ) -> Result<v1::NodeEntry, Status> {
        let v1::SetNodeRequest { request, reference, index, availability, labels, hostname } =
            request;
        let request = request_id(request)?;
        let availability = Availability::from_code(availability);
        let availability = availability.map_err(|fault| fault.within("availability"))?;
        check_labels(&labels).map_err(invalid)?;
        if let Some(hostname) = &hostname {
            check_hostname(hostname).map_err(invalid)?;
        }
        let id = self.newest().await?.node_to_change(self.named(&reference))?.id;
        if let Some(hostname) = &hostname {
            tracing::info!(node = %id, hostname, "an operator names the node");
        }
        let command = Command::SetNode { id, index, availability, labels, hostname };
        self.propose(request, command).await?;
        self.node_now(id).await
    }

    pub(super) async fn change_role(
        &self,
        request: v1::SetNodeRoleRequest,
    ) -> Result<v1::NodeEntry, Status> {
        let v1::SetNodeRoleRequest { request, reference, index, role } = request;
        let request = request_id(request)?;
        let role = Role::from_code(role).map_err(|fault| fault.within("role"))?;
        let id = self.newest().await?.node_to_change(self.named(&reference))?.id;
        if role == Role::Worker {
            // Whoever demotes several in one go need not know that one goes at a time.
            until_nobody_leaves(&self.raft, id).await;
            // The store has the last word on the last manager, and on two at once; who answers only the leader knows.
            let state = self.newest().await?;
            let node = state.node(id.as_str())?;
            self.check_dispensable(&state, node).await?;
        }
        self.propose(request, Command::SetRole { id, index, role }).await?;
        tracing::info!(node = %id, %role, "role set");
        self.node_now(id).await
    }

    pub(super) async fn drop_node(
        &self,
        request: v1::RemoveNodeRequest,
    ) -> Result<v1::RemoveNodeResponse, Status> {
        let v1::RemoveNodeRequest { request, reference, force } = request;
        let request = request_id(request)?;
        let state = self.newest().await?;
        if let Some(outcome) = request.and_then(|request| state.recall(request)) {
            outcome?;
            // By its name it cannot be found any more.
            let id = reference.parse::<NodeId>().ok();
            let left = id.map(|id| left_on(&state, id)).unwrap_or_default();
            return Ok(v1::RemoveNodeResponse { id: reference, left });
        }
        let id = state.node_to_remove(self.named(&reference))?.id;
        self.until_retired(id).await?;
        self.propose(request, Command::RemoveNode { id, force }).await?;
        tracing::info!(node = %id, force, "node removed");
        let state = self.newest().await?;
        for Holder { payload: Payload { kind, name, version }, .. } in state.held_on(id) {
            tracing::warn!(
                node = %id, %kind, %name, object = %version.object, version = %version.version,
                "the node was removed before it confirmed that it has wiped this"
            );
        }
        Ok(v1::RemoveNodeResponse { id: id.to_string(), left: left_on(&state, id) })
    }

    /// Waits a moment for a manager that was demoted to be taken out of the Raft group, which happens by itself: whoever
    /// demotes and removes in one go need not know that these are two steps.
    async fn until_retired(&self, id: NodeId) -> Result<(), Status> {
        let leaving = |state: &State| {
            let leaving = |node: &Arc<Node>| node.role == Role::Worker && node.manager.is_some();
            state.node_by_id(id).is_some_and(leaving)
        };
        let mut changes = self.raft.changes();
        let gone = async {
            while leaving(&self.state()) {
                if matches!(changes.recv().await, Err(RecvError::Closed)) {
                    return;
                }
            }
        };
        if tokio::time::timeout(RETIREMENT, gone).await.is_err() && leaving(&self.state()) {
            let message = format!(
                "node {id} has been demoted, but the managers have not yet taken it out of their group"
            );
            let hint = "wait until `secretctl node ls` shows no manager status for it, then remove it again";
            return Err(Refusal::new(RefusalKind::Precondition, message).hint(hint).into());
        }
        Ok(())
    }

    pub(super) async fn cluster_info(&self) -> Result<v1::ClusterInfo, Status> {
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let Cluster {
            id,
            meta,
            settings,
            ca_certificate,
            ca_key: _,
            keyring: _,
            next_raft_id: _,
            rotation,
            tokens: _,
            unlockers: _,
            key_files: _,
            backup: _,
            rekeying: _,
            former_managers: _,
            root: _,
        } = cluster.as_ref();
        let tokens = authority::tokens(cluster, self.raft.clock().now());
        Ok(v1::ClusterInfo {
            id: id.to_string(),
            meta: Some(meta.into()),
            settings: Some(settings.into()),
            ca_certificate: ca_certificate.clone(),
            rotation: rotation.as_ref().map(|it| authority::progress(&state, cluster, it)),
            tokens,
        })
    }

    /// `self` names the node that is asked.
    fn named<'a>(&'a self, reference: &'a str) -> &'a str {
        if reference == "self" { self.node.as_str() } else { reference }
    }

    /// A node after it was changed.
    async fn node_now(&self, id: NodeId) -> Result<v1::NodeEntry, Status> {
        let heard = self.heard().await;
        let state = self.state();
        let gone = || Refusal::not_found(format!("node {id} not found"));
        Ok(self.node_entry(state.node_by_id(id).ok_or_else(gone)?, &heard))
    }

    /// What is wrong with the store of a manager, as far as this one knows.
    fn damage_of(&self, node: &Node) -> String {
        let raft_id = node.manager.as_ref().map(|manager| manager.raft_id);
        raft_id.and_then(|id| self.raft.troubles().remove(&id)).unwrap_or_default()
    }

    fn node_entry(&self, node: &Node, heard: &Heard) -> v1::NodeEntry {
        v1::NodeEntry {
            node: Some(node.into()),
            leader: heard.leader == Some(node.id),
            this: node.id == self.node,
            reachable: heard.reaches(node),
            voter: heard.votes(node),
            damage: self.damage_of(node),
        }
    }
}

/// What a removed node has not confirmed to have wiped.
fn left_on(state: &State, id: NodeId) -> Vec<v1::Holder> {
    state.held_on(id).iter().map(|holder| holders::entry(state, holder)).collect()
}
