//! Nodes and the cluster.

use super::{
    ControlService, invalid,
    lists::{Cut, cut, filters},
    request_id,
};
use crate::{
    kit::id::NodeId,
    model::{
        check_labels,
        cluster::Cluster,
        command::Command,
        node::{Availability, Node, Role},
        refusal::Refusal,
    },
    raft::Leadership,
    wire::{convert::Code, v1},
};
use tonic::Status;

impl ControlService {
    pub(super) fn nodes(
        &self,
        request: v1::ListNodesRequest,
    ) -> Result<v1::ListNodesResponse, Status> {
        let v1::ListNodesRequest { filters: wanted, page } = request;
        let all = self.state().list_nodes(&filters(wanted))?;
        let leader = self.leader();
        let Cut { entries, next } =
            cut(&all, page, |n| n.id.as_str(), |n| self.node_entry(n, leader))?;
        Ok(v1::ListNodesResponse { nodes: entries, next })
    }

    pub(super) fn node(&self, reference: &str) -> Result<v1::NodeEntry, Status> {
        let state = self.state();
        let node = state.node(self.named(reference))?;
        Ok(self.node_entry(node, self.leader()))
    }

    pub(super) async fn change_node(
        &self,
        request: v1::SetNodeRequest,
    ) -> Result<v1::NodeEntry, Status> {
        let v1::SetNodeRequest { request, reference, index, availability, labels } = request;
        let request = request_id(request)?;
        let availability = Availability::from_code(availability);
        let availability = availability.map_err(|fault| fault.within("availability"))?;
        check_labels(&labels).map_err(invalid)?;
        let id = self.state().node(self.named(&reference))?.id;
        self.propose(request, Command::SetNode { id, index, availability, labels }).await?;
        let state = self.state();
        let gone = || Refusal::not_found(format!("node {reference} not found"));
        let node = state.node_by_id(id).ok_or_else(gone)?;
        Ok(self.node_entry(node, self.leader()))
    }

    pub(super) async fn change_role(
        &self,
        request: v1::SetNodeRoleRequest,
    ) -> Result<v1::NodeEntry, Status> {
        let v1::SetNodeRoleRequest { request, reference, index, role } = request;
        let request = request_id(request)?;
        let role = Role::from_code(role).map_err(|fault| fault.within("role"))?;
        let id = self.state().node(self.named(&reference))?.id;
        self.propose(request, Command::SetRole { id, index, role }).await?;
        self.node(id.as_str())
    }

    pub(super) async fn drop_node(
        &self,
        request: v1::RemoveNodeRequest,
    ) -> Result<v1::RemoveResponse, Status> {
        let v1::RemoveNodeRequest { request, reference, force } = request;
        let request = request_id(request)?;
        let id = self.state().node(self.named(&reference))?.id;
        self.propose(request, Command::RemoveNode { id, force }).await?;
        Ok(v1::RemoveResponse { id: id.to_string() })
    }

    pub(super) fn cluster_info(&self) -> Result<v1::ClusterInfo, Status> {
        let state = self.state();
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let Cluster {
            id,
            meta,
            settings,
            ca_certificate,
            ca_key: _,
            keyring: _,
            next_raft_id: _,
            rotation: _,
            tokens: _,
        } = cluster.as_ref();
        Ok(v1::ClusterInfo {
            id: id.to_string(),
            meta: Some(meta.into()),
            settings: Some(settings.into()),
            ca_certificate: ca_certificate.clone(),
            rotation: None,
            tokens: Vec::new(),
        })
    }

    /// `self` names the node that is asked.
    fn named<'a>(&'a self, reference: &'a str) -> &'a str {
        if reference == "self" { self.node.as_str() } else { reference }
    }

    fn leader(&self) -> Option<NodeId> {
        match &*self.raft.leadership().borrow() {
            Leadership::Leading { term: _ } => Some(self.node),
            Leadership::Following { leader } => leader.as_ref().map(|leader| leader.node),
            Leadership::Failed { why: _ } => None,
        }
    }

    fn node_entry(&self, node: &Node, leader: Option<NodeId>) -> v1::NodeEntry {
        v1::NodeEntry {
            node: Some(node.into()),
            leader: leader == Some(node.id),
            this: node.id == self.node,
            reachable: None,
        }
    }
}
