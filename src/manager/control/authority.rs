//! Join tokens and the CA, as operators see them.

use super::{ControlService, invalid, request_id};
use crate::{
    crypto::context::Context,
    kit::{chain::chain, clock::Timestamp, duration::Compact},
    manager::ca,
    model::{
        cluster::{AuthorityRotation, Cluster, Token},
        command::Command,
        node::Role,
        refusal::Refusal,
    },
    pki::{Authority, CaDigest, JoinToken},
    store::State,
    wire::{convert::Code, v1},
};
use std::time::Duration;
use tonic::Status;
use tracing::{info, warn};

/// Who takes a token to another machine by hand needs about that long.
const SHORTEST: Duration = Duration::from_secs(60);
/// Longer than machines last; whoever wants more wants a token that does not expire.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl ControlService {
    /// Makes a token and answers it in the clear, this once; the store and the log never see it.
    pub(super) async fn make_token(
        &self,
        request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Status> {
        let v1::CreateJoinTokenRequest { request, role, revoke, ttl, uses } = request;
        request_id(request)?;
        let role = Role::from_code(role).map_err(|fault| fault.within("role"))?;
        let ttl = ttl.map(Duration::try_from).transpose().map_err(|fault| fault.within("ttl"))?;
        if let Some(ttl) = ttl.filter(|ttl| !(SHORTEST..=LONGEST).contains(ttl)) {
            let text = format!("a join token cannot live for {}", Compact(ttl));
            return Err(Refusal::invalid(text).hint("from 1m to ten years, or 0 for ever").into());
        }
        if uses == Some(0) {
            return Err(invalid("a join token must be good for at least one use"));
        }
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let token = JoinToken::generate(CaDigest::of(&cluster.ca_certificate));
        let created_at = self.raft.clock().now();
        let row = Token {
            hash: token.hash().0,
            role,
            created_at,
            expires_at: ttl.map(|ttl| created_at.plus(ttl)),
            uses_left: uses,
        };
        // Without the request's id: a second answer would show a token that is not the one that was stored.
        self.propose(None, Command::AddToken { token: row, revoke }).await?;
        let mut managers = ca::managers(&self.state());
        managers.sort_by_key(|manager| manager.node_id != self.node.as_str());
        Ok(v1::CreateJoinTokenResponse {
            token: Some(v1::Payload::carry(&token.carry())),
            managers,
        })
    }

    pub(super) async fn new_authority(
        &self,
        request: v1::RotateAuthorityRequest,
    ) -> Result<v1::ClusterInfo, Status> {
        let v1::RotateAuthorityRequest { request } = request;
        let request = request_id(request)?;
        let state = self.newest().await?;
        let cluster = state.cluster().ok_or_else(|| Status::unavailable("no cluster yet"))?;
        let failed = |error: &(dyn std::error::Error + 'static)| {
            warn!(error = %chain(error), "cannot use the cluster's CA");
            Status::internal("the manager cannot use the cluster's CA")
        };
        let (id, now) = (self.cluster(), self.raft.clock().now());
        let context = Context::authority_key(id);
        let keyring = self.keys.keyring(&cluster.keyring).map_err(|error| failed(&error))?;
        let key = keyring.open_authority_key(&cluster.ca_key);
        let key = key.map_err(|error| failed(&error))?;
        let old = Authority::open(id, &cluster.ca_certificate, key);
        let old = old.map_err(|error| failed(&error))?;
        let new = Authority::generate(id, now);
        let rotation = AuthorityRotation {
            previous: cluster.ca_certificate.clone(),
            cross_signed: old.cross_sign(&new, now),
            started_at: now,
        };
        let (ca_certificate, key) = new.into_parts();
        let ca_key = keyring.seal(&context, key);
        // Whether another rotation is under way is judged when it is applied. Asked again with the same request's id, the
        // CA made first stays.
        let command = Command::RotateAuthority { ca_certificate, ca_key, rotation };
        self.propose(request, command).await?;
        info!("the cluster has a new CA: nodes move to it");
        self.cluster_info().await
    }
}

/// How far nodes have moved to the new CA.
pub(super) fn progress(
    state: &State,
    cluster: &Cluster,
    rotation: &AuthorityRotation,
) -> v1::AuthorityProgress {
    let waiting: Vec<String> = state
        .nodes()
        .filter(|node| !cluster.has_moved(node))
        .map(|node| node.id.to_string())
        .collect();
    let nodes = state.nodes().count() as u64;
    v1::AuthorityProgress {
        moved: nodes - waiting.len() as u64,
        nodes,
        waiting_node_ids: waiting,
        started_at_ms: rotation.started_at.0,
    }
}

/// The tokens that are good at `now`, without what they are known by.
pub(super) fn tokens(cluster: &Cluster, now: Timestamp) -> Vec<v1::Token> {
    let good = cluster.tokens.iter().filter(|token| token.is_valid(now));
    good.map(|token| v1::Token { hash: Vec::new(), ..token.into() }).collect()
}
