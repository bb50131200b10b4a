//! What was removed and is not gone from every manager's disk yet, and whom it waits for.

use super::{ControlService, objects::kind};
use crate::{
    model::{destroyed::Destroyed, node::Node},
    store::State,
    wire::v1,
};
use std::sync::Arc;
use tonic::Status;

impl ControlService {
    pub(super) async fn destroyed(
        &self,
        request: v1::ListDestroyedRequest,
    ) -> Result<v1::ListDestroyedResponse, Status> {
        let v1::ListDestroyedRequest { kind: code } = request;
        let (kind, state) = (kind(code)?, self.newest().await?);
        let mut all: Vec<_> = state.destroyed().filter(|one| one.kind == kind).collect();
        all.sort_by(|a, b| (&a.name, a.removed_at).cmp(&(&b.name, b.removed_at)));
        let objects = all.into_iter().map(|one| entry(&state, one)).collect();
        Ok(v1::ListDestroyedResponse { objects })
    }
}

fn entry(state: &State, one: &Destroyed) -> v1::DestroyedEntry {
    let managers = state.nodes().filter(|node| node.manager.is_some());
    let named = |node: &Arc<Node>| v1::destroyed_entry::Manager {
        node_id: node.id.to_string(),
        hostname: node.description.hostname.clone(),
    };
    v1::DestroyedEntry {
        object: Some(one.into()),
        managers: u32::try_from(managers.count()).unwrap_or(u32::MAX),
        waiting: state.nodes().filter(|node| one.waits_for(node)).map(named).collect(),
    }
}
