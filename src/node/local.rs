//! What the operator asks of this very node over its socket: how it is, and to found, join or leave a cluster.

use super::daemon::Daemon;
use crate::{
    pki::JoinToken,
    wire::{
        status::status,
        v1::{
            InitRequest, InitResponse, JoinRequest, JoinResponse, LeaveRequest, LeaveResponse,
            StatusRequest, StatusResponse, UnlockRequest, UnlockResponse, node_server::Node,
        },
    },
};
use std::sync::Arc;
use tonic::{Code, Request, Response, Status};

/// The service `Node` on the operators' socket.
#[derive(Debug, Clone)]
pub(super) struct Local(pub(super) Arc<Daemon>);

#[tonic::async_trait]
impl Node for Local {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.0.status().await))
    }

    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let InitRequest { listen_addr, advertise_addr } = request.into_inner();
        self.0.init(&listen_addr, &advertise_addr).await.map(Response::new)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let mut request = request.into_inner();
        let token = request.token.take().unwrap_or_default().into_plaintext();
        let token = JoinToken::read(&token).map_err(|bad| {
            status(
                Code::InvalidArgument,
                bad.to_string(),
                Some(
                    "print one with `secretctl join-token worker` (or manager) on a manager".into(),
                ),
            )
        })?;
        if request.managers.is_empty() {
            return Err(status(Code::InvalidArgument, "no manager to join was given", None));
        }
        self.0.join(request, &token).await.map(Response::new)
    }

    async fn unlock(&self, _: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Err(status(Code::FailedPrecondition, "this node is not locked", None))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let LeaveRequest { force } = request.into_inner();
        self.0.leave(force).await?;
        Ok(Response::new(LeaveResponse {}))
    }
}
