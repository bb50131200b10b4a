//! Join tokens and the CA, as operators see them.

use super::{ControlService, invalid, request_id};
use crate::{
    kit::{clock::Timestamp, duration::Compact},
    manager::ca,
    model::{
        cluster::{Cluster, Token},
        command::Command,
        node::Role,
        refusal::Refusal,
    },
    pki::{CaDigest, JoinToken},
    wire::{convert::Code, v1},
};
use std::time::Duration;
use tonic::Status;

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
        _request: v1::RotateAuthorityRequest,
    ) -> Result<v1::ClusterInfo, Status> {
        Err(Status::unimplemented("this version of secretd cannot replace the cluster's CA"))
    }
}

/// The tokens that are good at `now`, without what they are known by.
pub(super) fn tokens(cluster: &Cluster, now: Timestamp) -> Vec<v1::Token> {
    let good = cluster.tokens.iter().filter(|token| token.is_valid(now));
    good.map(|token| v1::Token { hash: Vec::new(), ..token.into() }).collect()
}
