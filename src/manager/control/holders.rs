//! Who may have which payloads.

use super::{
    ControlService, invalid,
    lists::{Cut, cut},
};
use crate::{
    kit::id::{NodeId, ObjectId},
    store::{Holder, State},
    wire::{
        convert::Code,
        v1::{self, list_holders_request::Of},
    },
};
use tonic::Status;

impl ControlService {
    pub(super) async fn holders(
        &self,
        request: v1::ListHoldersRequest,
    ) -> Result<v1::ListHoldersResponse, Status> {
        let v1::ListHoldersRequest { of, page } = request;
        let state = self.newest().await?;
        let all = match of.ok_or_else(|| invalid("say of what: an object or a node"))? {
            Of::ObjectId(id) => state.holders_of(id.parse::<ObjectId>().map_err(invalid)?),
            Of::NodeId(id) => state.held_on(id.parse::<NodeId>().map_err(invalid)?),
        };
        let keyed: Vec<_> = all.into_iter().map(|holder| (key(&holder), holder)).collect();
        let Cut { entries, next } = cut(&keyed, page, |(key, _)| key, |(_, h)| entry(&state, h))?;
        Ok(v1::ListHoldersResponse { holders: entries, next })
    }
}

/// What a holder is found again by on the next page.
fn key(holder: &Holder) -> String {
    let version = &holder.payload.version;
    format!("{}/{}/{}", holder.node, version.object, version.version)
}

pub(super) fn entry(state: &State, holder: &Holder) -> v1::Holder {
    let Holder { node, payload, in_use, since, services } = holder;
    let row = state.node_by_id(*node);
    v1::Holder {
        node_id: node.to_string(),
        kind: payload.kind.code(),
        name: payload.name.to_string(),
        version: Some((&payload.version).into()),
        in_use: *in_use,
        since_ms: since.0,
        services: services.iter().map(ToString::to_string).collect(),
        node_state: row.map(|row| row.status.state.code()),
        hostname: row.map(|row| row.description.hostname.clone()).unwrap_or_default(),
        node_state_since_ms: row.map(|row| row.status.at.0).unwrap_or_default(),
    }
}
