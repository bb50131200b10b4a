//! What the operator asks of this very node over its socket: how it is, and to found, join or leave a cluster.

use super::{
    backup::{self, Making},
    daemon::Daemon,
};
use crate::{
    crypto::unlock::tpm::{self, Pcrs},
    kit::task,
    pki::JoinToken,
    wire::{
        status::status,
        v1::{
            AddTpmRequest, AddTpmResponse, BackupInput, BackupOpening, BackupSummary,
            CreateBackupRequest, CreateBackupResponse, InitRequest, InitResponse, JoinRequest,
            JoinResponse, LeaveRequest, LeaveResponse, Payload, RefillRequest, RefillResponse,
            RemoveTpmRequest, RemoveTpmResponse, RestoreBackupResponse, StatusRequest,
            StatusResponse, UnlockRequest, UnlockResponse, node_server::Node,
        },
    },
};
use futures::{StreamExt as _, stream::BoxStream};
use std::{fs::File, sync::Arc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// The service `Node` on the operators' socket.
#[derive(Debug, Clone)]
pub(super) struct Local(pub(super) Arc<Daemon>);

/// What may come in one message; pieces are far smaller.
const OPENING: &str = "the first message of a backup has no opening";

/// A path is shorter; it lies in the key header.
const DEVICE_LEN: usize = 4096;

impl Local {
    /// Keeps a backup that comes in, and gives what opens it.
    async fn receive(
        &self,
        mut input: Streaming<BackupInput>,
    ) -> Result<(File, BackupOpening), Status> {
        let mut file = self.0.scratch()?;
        let mut opening = None;
        while let Some(BackupInput { opening: first, data }) = input.message().await? {
            opening = opening.or(first);
            // A megabyte at a time into the page cache: not worth a thread.
            backup::keep(&mut file, &data).map_err(|failure| failure.status())?;
        }
        let opening = opening.ok_or_else(|| Status::invalid_argument(OPENING))?;
        Ok((file, opening))
    }
}

#[tonic::async_trait]
impl Node for Local {
    type CreateBackupStream = BoxStream<'static, Result<CreateBackupResponse, Status>>;

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let Making { pieces, recovery_key } = self.0.backup(request.into_inner()).await?;
        let mut key = recovery_key.as_ref().map(Payload::carry);
        let answers = ReceiverStream::new(pieces)
            .map(move |piece| Ok(CreateBackupResponse { data: piece?, recovery_key: key.take() }));
        Ok(Response::new(answers.boxed()))
    }

    async fn verify_backup(
        &self,
        request: Request<Streaming<BackupInput>>,
    ) -> Result<Response<BackupSummary>, Status> {
        let (file, opening) = self.receive(request.into_inner()).await?;
        self.0.verify(file, opening).await.map(Response::new)
    }

    async fn restore_backup(
        &self,
        request: Request<Streaming<BackupInput>>,
    ) -> Result<Response<RestoreBackupResponse>, Status> {
        let (file, opening) = self.receive(request.into_inner()).await?;
        let daemon = Arc::clone(&self.0);
        whole("restore", async move { daemon.restore(file, opening).await })
            .await
            .map(Response::new)
    }

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

    async fn refill(&self, _: Request<RefillRequest>) -> Result<Response<RefillResponse>, Status> {
        let daemon = Arc::clone(&self.0);
        whole("refill", async move { daemon.refill().await }).await.map(Response::new)
    }

    async fn add_tpm(
        &self,
        request: Request<AddTpmRequest>,
    ) -> Result<Response<AddTpmResponse>, Status> {
        let AddTpmRequest { device, pcrs } = request.into_inner();
        let device = if device.is_empty() { tpm::DEVICE.to_owned() } else { device };
        let path = device.strip_prefix("unix:").unwrap_or(&device);
        if !path.starts_with('/') || device.len() > DEVICE_LEN {
            let text = "the device of a TPM is an absolute path, or unix: and one";
            return Err(status(Code::InvalidArgument, text, None));
        }
        let pcrs = Pcrs::from_bits(pcrs)
            .ok_or_else(|| status(Code::InvalidArgument, "there are no such PCRs", None))?;
        let daemon = Arc::clone(&self.0);
        let added = whole("add TPM", async move { daemon.add_tpm(device, pcrs).await }).await?;
        Ok(Response::new(AddTpmResponse { tpm: Some(added) }))
    }

    async fn remove_tpm(
        &self,
        request: Request<RemoveTpmRequest>,
    ) -> Result<Response<RemoveTpmResponse>, Status> {
        let RemoveTpmRequest { unlocker } = request.into_inner();
        let daemon = Arc::clone(&self.0);
        let removed = whole("remove TPM", async move { daemon.remove_tpm(unlocker).await }).await?;
        Ok(Response::new(RemoveTpmResponse { tpm: Some(removed) }))
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
