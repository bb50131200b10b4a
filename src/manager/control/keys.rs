//! The terms of the keyring, as operators see and rotate them.

use super::{ControlService, request_id};
use crate::{
    kit::failpoint::failpoint,
    model::{
        command::{Command, RequestId},
        node::Node,
        refusal::Refusal,
    },
    wire::v1,
};
use std::{sync::Arc, time::Duration};
use tonic::Status;
use tracing::info;

impl ControlService {
    /// Makes the next term; the leader moves everything to it by itself.
    pub(super) async fn new_term(
        &self,
        request: v1::RotateKeysRequest,
    ) -> Result<v1::KeysResponse, Status> {
        let v1::RotateKeysRequest { request, rate, root } = request;
        let request: Option<RequestId> = request_id(request)?;
        if rate == Some(0) {
            return Err(Refusal::invalid("at a rate of 0 the rotation would never end")
                .hint("say how many payloads may be rewrapped each second, from 1 on")
                .into());
        }
        if root {
            self.propose(request, Command::BeginRoot { rate }).await?;
            failpoint("root.begun");
            info!("the root key is being replaced");
            return self.key_status().await;
        }
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let root = cluster.root.id;
        let term = self.keys.next_term(root, &cluster.keyring).map_err(|error| {
            Status::unavailable(format!("this manager cannot make a term: {error}"))
        })?;
        let number = term.term;
        // Asked again with the same request's id, the term made first stays.
        self.propose(request, Command::AddTerm { term, rate, root }).await?;
        failpoint("rotate.added");
        info!(term = number, "the keyring has a new term: data keys move to it");
        self.key_status().await
    }

    pub(super) async fn key_status(&self) -> Result<v1::KeysResponse, Status> {
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(no_cluster)?;
        let counts = state.versions_by_term();
        let terms = cluster.keyring.iter().map(|term| v1::keys_response::Term {
            term: term.term,
            created_at_ms: term.created_at.0,
            payloads: counts.get(&term.term).copied().unwrap_or(0),
            authority: cluster.ca_key.term == term.term,
        });
        let raft = self.raft.status();
        let offered = cluster.root.offered().map(|offer| offer.id);
        let manager = |node: &Arc<Node>| {
            node.manager.as_ref().map(|manager| v1::keys_response::Manager {
                node_id: node.id.to_string(),
                hostname: node.description.hostname.clone(),
                oldest_term: manager.oldest_term,
                root: manager.root,
                prepared: offered.is_some() && manager.prepared_root == offered,
            })
        };
        Ok(v1::KeysResponse {
            terms: terms.collect(),
            running: cluster.rekeying.running.as_ref().map(Into::into),
            due: cluster.rekeying.due,
            max_age: cluster.settings.key_max_age.as_ref().map(Into::into),
            managers: state.nodes().filter_map(manager).collect(),
            log_from: raft.first_index,
            applied: raft.applied_index,
            root: Some(v1::keys_response::Root {
                number: cluster.root.number,
                since_ms: cluster.root.since.0,
                rotating_since_ms: cluster.root.rotation.as_ref().map(|it| it.started_at.0),
            }),
        })
    }

    pub(super) async fn change_key_max_age(
        &self,
        request: v1::SetKeyMaxAgeRequest,
    ) -> Result<v1::SetKeyMaxAgeResponse, Status> {
        let v1::SetKeyMaxAgeRequest { request, age } = request;
        let request = request_id(request)?;
        let age = age.map(Duration::try_from).transpose().map_err(|fault| fault.within("age"))?;
        self.propose(request, Command::SetKeyMaxAge { age }).await?;
        Ok(v1::SetKeyMaxAgeResponse {})
    }
}

impl ControlService {
    pub(super) async fn change_come_back(
        &self,
        request: v1::SetComeBackRequest,
    ) -> Result<v1::SetComeBackResponse, Status> {
        let v1::SetComeBackRequest { request, age } = request;
        let request = request_id(request)?;
        let age = age.ok_or_else(|| Refusal::invalid("age: must be set"))?;
        let age = Duration::try_from(age).map_err(|fault| fault.within("age"))?;
        self.propose(request, Command::SetComeBack { age }).await?;
        Ok(v1::SetComeBackResponse {})
    }
}

fn no_cluster() -> Status {
    Status::unavailable("no cluster yet")
}
