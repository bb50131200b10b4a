//! What the operator asks of this very node over its socket: how it is, and to found a cluster.

use super::daemon::Daemon;
use crate::wire::{
    status::status,
    v1::{
        InitRequest, InitResponse, JoinRequest, JoinResponse, LeaveRequest, LeaveResponse,
        StatusRequest, StatusResponse, UnlockRequest, UnlockResponse, node_server::Node,
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

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        Err(later("joining a cluster"))
    }

    async fn unlock(&self, _: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Err(status(Code::FailedPrecondition, "this node is not locked", None))
    }

    async fn leave(&self, _: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        Err(later("leaving a cluster"))
    }
}

fn later(what: &str) -> Status {
    status(Code::Unimplemented, format!("{what} is not part of this version"), None)
}
