//! Who may have which payloads.

use super::{
    Client, ClientError,
    objects::{Control, first_page, next_page},
};
use crate::{
    kit::{
        clock::Timestamp,
        id::{NodeId, ObjectId},
    },
    model::{
        node::NodeState,
        object::{Kind, VersionNumber},
        task::{ObjectVersion, Payload},
    },
    wire::{
        Malformed,
        convert::Code,
        v1::{self, list_holders_request::Of},
    },
};

/// A node that may have a version's payload: it was given it, and has not confirmed its removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderSummary {
    pub node: NodeId,
    /// Empty if the node has been removed.
    pub hostname: String,
    /// Its state and since when; unset if it has been removed from the cluster.
    pub node_state: Option<(NodeState, Timestamp)>,
    pub payload: Payload,
    /// A task there needs it. Else the last one has ended, and the removal is to be confirmed.
    pub in_use: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// Services whose tasks need it, or needed it last.
    pub services: Vec<String>,
}

impl Client {
    /// The nodes that may have a version of an object; also after the object was removed.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn holders_of(&self, object: ObjectId) -> Result<Vec<HolderSummary>, ClientError> {
        self.holders(Of::ObjectId(object.to_string())).await
    }

    /// What a node may have; also after the node was removed.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn held_on(&self, node: NodeId) -> Result<Vec<HolderSummary>, ClientError> {
        self.holders(Of::NodeId(node.to_string())).await
    }

    async fn holders(&self, of: Of) -> Result<Vec<HolderSummary>, ClientError> {
        let mut all = Vec::new();
        let mut page = first_page();
        loop {
            let request = v1::ListHoldersRequest { of: Some(of.clone()), page: Some(page) };
            let send = |mut c: Control, request| async move { c.list_holders(request).await };
            let v1::ListHoldersResponse { holders, next } = self.call(request, send).await?;
            for entry in holders {
                all.push(holder(entry)?);
            }
            match next_page(next) {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
    }
}

pub(super) fn holder(wire: v1::Holder) -> Result<HolderSummary, Malformed> {
    let v1::Holder {
        node_id,
        kind,
        name,
        version,
        in_use,
        since_ms,
        services,
        node_state,
        hostname,
        node_state_since_ms,
    } = wire;
    let v1::ObjectVersion { object_id, version } = version.unwrap_or_default();
    let object = object_id.parse().map_err(|bad| Malformed::new(bad).within("object_id"))?;
    let state = node_state.map(NodeState::from_code).transpose();
    Ok(HolderSummary {
        node: node_id.parse().map_err(|bad| Malformed::new(bad).within("node_id"))?,
        hostname,
        node_state: state
            .map_err(|bad| bad.within("node_state"))?
            .map(|state| (state, Timestamp(node_state_since_ms))),
        payload: Payload {
            kind: Kind::from_code(kind).map_err(|bad| bad.within("kind"))?,
            name: name.parse().map_err(|bad| Malformed::new(bad).within("name"))?,
            version: ObjectVersion { object, version: VersionNumber(version) },
        },
        in_use,
        since: Timestamp(since_ms),
        services,
    })
}
