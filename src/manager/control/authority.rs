//! Join tokens and the CA, as operators see them.

use super::ControlService;
use crate::wire::v1;
use tonic::Status;

impl ControlService {
    pub(super) async fn make_token(
        &self,
        _request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Status> {
        Err(Status::unimplemented("join tokens cannot be made yet"))
    }

    pub(super) async fn new_authority(
        &self,
        _request: v1::RotateAuthorityRequest,
    ) -> Result<v1::ClusterInfo, Status> {
        Err(Status::unimplemented("the CA cannot be replaced yet"))
    }
}
