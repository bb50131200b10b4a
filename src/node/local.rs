//! What the operator asks of this very node over its socket: how it is, and to found, join or leave a cluster.

use super::daemon::Daemon;
use crate::{
    kit::task,
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
        let InitRequest { listen_addr, advertise_addr, autolock } = request.into_inner();
        let daemon = Arc::clone(&self.0);
        whole("init", async move { daemon.init(&listen_addr, &advertise_addr, autolock).await })
            .await
            .map(Response::new)
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
        let daemon = Arc::clone(&self.0);
        whole("join", async move { daemon.join(request, &token).await }).await.map(Response::new)
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let UnlockRequest { key, unlocker_id } = request.into_inner();
        let typed = key.unwrap_or_default().into_plaintext();
        let which = match unlocker_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| {
                status(Code::InvalidArgument, format!("{id} is not the id of an unlocker"), None)
            })?),
        };
        let daemon = Arc::clone(&self.0);
        whole("unlock", async move { daemon.unlock(typed, which).await }).await.map(Response::new)
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let LeaveRequest { force } = request.into_inner();
        let daemon = Arc::clone(&self.0);
        whole("leave", async move { daemon.leave(force).await }).await?;
        Ok(Response::new(LeaveResponse {}))
    }
}

/// Lets an order run to its end: a caller who hangs up must not leave it half done.
async fn whole<T: Send + 'static>(
    name: &'static str,
    order: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    task::to_the_end(name, order).await
}
