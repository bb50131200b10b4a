//! Nodes and the cluster.

use super::{
    Client, ClientError, HolderSummary,
    holders::holder,
    objects::{Control, first_page, next_page, wire_filters},
};
use crate::{
    kit::id::NodeId,
    model::{
        Labels,
        filter::Filters,
        node::{Availability, Node, Role},
    },
    pki::JoinToken,
    wire::{Malformed, convert::Code, v1},
};
use std::time::Duration;

/// A node with what the manager that was asked knows besides.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary {
    pub node: Node,
    pub leader: bool,
    /// It is the node that answered.
    pub this: bool,
    /// Of a manager: whether the leader hears of it; unset if that is not known.
    pub reachable: Option<bool>,
    /// Of a manager: it has a vote, which one that was admitted gets once it has everything.
    pub voter: bool,
    /// Of a manager: what is wrong with its store; empty if nothing is.
    pub damage: String,
}

/// What a machine needs in order to join.
#[derive(Debug)]
pub struct Joining {
    pub token: JoinToken,
    /// Where the managers are; the one that was asked comes first.
    pub managers: Vec<(NodeId, String)>,
}

impl Client {
    /// All nodes that pass the filters.
    ///
    /// # Errors
    /// A filter is unknown or makes no sense.
    pub async fn list_nodes(&self, filters: &Filters) -> Result<Vec<NodeSummary>, ClientError> {
        let mut all = Vec::new();
        let mut page = first_page();
        loop {
            let request = v1::ListNodesRequest { filters: wire_filters(filters), page: Some(page) };
            let send = |mut c: Control, request| async move { c.list_nodes(request).await };
            let v1::ListNodesResponse { nodes, next } = self.call(request, send).await?;
            for entry in nodes {
                all.push(node(entry)?);
            }
            match next_page(next) {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
    }

    /// One node by id, host name, the beginning of its id, or `self`.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn node(&self, reference: &str) -> Result<NodeSummary, ClientError> {
        self.find_node(reference, false).await
    }

    /// As [`Client::node`], for one that is to be changed: of two with the same host name none is meant, even if one
    /// of them is down.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn node_to_change(&self, reference: &str) -> Result<NodeSummary, ClientError> {
        self.find_node(reference, true).await
    }

    async fn find_node(
        &self,
        reference: &str,
        to_change: bool,
    ) -> Result<NodeSummary, ClientError> {
        let request = v1::GetNodeRequest { reference: reference.to_owned(), to_change };
        let send = |mut c: Control, request| async move { c.get_node(request).await };
        Ok(node(self.call(request, send).await?)?)
    }

    /// Sets a node's availability and labels, and with `hostname` its name.
    ///
    /// # Errors
    /// There is no such node, or somebody changed it.
    pub async fn set_node(
        &self,
        reference: &str,
        index: Option<u64>,
        availability: Availability,
        labels: Labels,
        hostname: Option<String>,
    ) -> Result<NodeSummary, ClientError> {
        let request = v1::SetNodeRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
            index,
            availability: availability.code(),
            labels,
            hostname,
        };
        let send = |mut c: Control, request| async move { c.set_node(request).await };
        Ok(node(self.call(request, send).await?)?)
    }

    /// Promotes or demotes a node; it becomes what it shall be soon after.
    ///
    /// # Errors
    /// There is no such node, somebody changed it, or the managers that remain could not agree on anything.
    pub async fn set_node_role(
        &self,
        reference: &str,
        index: Option<u64>,
        role: Role,
    ) -> Result<NodeSummary, ClientError> {
        let request = v1::SetNodeRoleRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
            index,
            role: role.code(),
        };
        let send = |mut c: Control, request| async move { c.set_node_role(request).await };
        Ok(node(self.call(request, send).await?)?)
    }

    /// Removes a node for good; with `force` also one that is up. Returns what it has not confirmed to have wiped.
    ///
    /// # Errors
    /// There is no such node, it is a manager, or it is up.
    pub async fn remove_node(
        &self,
        reference: &str,
        force: bool,
    ) -> Result<Vec<HolderSummary>, ClientError> {
        let request = v1::RemoveNodeRequest {
            request: self.request_id(),
            reference: reference.to_owned(),
            force,
        };
        let send = |mut c: Control, request| async move { c.remove_node(request).await };
        let v1::RemoveNodeResponse { id: _, left } = self.call(request, send).await?;
        Ok(left.into_iter().map(holder).collect::<Result<_, _>>()?)
    }

    /// Makes a join token for `role`; with `revoke` those made before are worth nothing any more.
    ///
    /// # Errors
    /// The bounds make no sense, there are too many tokens, the node belongs to no cluster.
    pub async fn make_join_token(
        &self,
        role: Role,
        revoke: bool,
        ttl: Option<Duration>,
        uses: Option<u64>,
    ) -> Result<Joining, ClientError> {
        let request = v1::CreateJoinTokenRequest {
            request: self.request_id(),
            role: role.code(),
            revoke,
            ttl: ttl.as_ref().map(Into::into),
            uses,
        };
        let send = |mut c: Control, request| async move { c.create_join_token(request).await };
        let v1::CreateJoinTokenResponse { token, managers } = self.call(request, send).await?;
        let token = token.unwrap_or_default().into_plaintext();
        let token = JoinToken::read(&token).map_err(|bad| Malformed::new(bad).within("token"))?;
        let manager = |v1::ManagerAddr { node_id, addr }| {
            let id = node_id.parse().map_err(|bad| Malformed::new(bad).within("managers"));
            Ok((id?, addr))
        };
        let managers = managers.into_iter().map(manager).collect::<Result<_, Malformed>>()?;
        Ok(Joining { token, managers })
    }

    /// Replaces the cluster's CA. Nodes move to the new one by themselves; [`Client::cluster`] says how far they are.
    ///
    /// # Errors
    /// It is being replaced already, or the node belongs to no cluster.
    pub async fn rotate_authority(&self) -> Result<v1::ClusterInfo, ClientError> {
        let request = v1::RotateAuthorityRequest { request: self.request_id() };
        let send = |mut c: Control, request| async move { c.rotate_authority(request).await };
        self.call(request, send).await
    }

    /// The cluster, without its keys.
    ///
    /// # Errors
    /// The node belongs to none.
    pub async fn cluster(&self) -> Result<v1::ClusterInfo, ClientError> {
        let send = |mut c: Control, request| async move { c.get_cluster(request).await };
        self.call(v1::GetClusterRequest {}, send).await
    }
}

fn node(entry: v1::NodeEntry) -> Result<NodeSummary, Malformed> {
    let v1::NodeEntry { node, leader, this, reachable, voter, damage } = entry;
    let node = node.unwrap_or_default().try_into()?;
    Ok(NodeSummary { node, leader, this, reachable, voter, damage })
}
