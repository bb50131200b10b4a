//! The operators' API: parse, look up, seal, propose, answer. Every manager serves it; what is read is confirmed by the
//! leader first, so that it does not matter which one was asked. Only watches show this manager's own state.
//!
//! It is served on the local socket alone, behind the gate that knows the operators; as a second lock, a call that did
//! not come over a Unix socket is refused here. No call returns a secret's payload.

mod authority;
mod destroyed;
mod holders;
mod keys;
mod lists;
mod logs;
mod managers;
mod nodes;
mod objects;
mod services;
mod tasks;
mod unlockers;
mod watch;

use super::{answers, dispatcher::LogBroker, payloads};
use crate::{
    crypto::{keychain::Keychain, keyring::Keyring},
    kit::{
        id::{ClusterId, NodeId},
        task::Stop,
    },
    model::{
        command::{Answer, Command, RequestId},
        refusal::{Refusal, RefusalKind},
    },
    raft::{Peers, ProposeError, Raft},
    store::{Linear, State},
    wire::v1,
};
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status, transport::server::UdsConnectInfo};

/// Serves `Control` from one manager's store.
#[derive(Debug, Clone)]
pub struct ControlService {
    raft: Raft,
    keys: Arc<Keychain>,
    /// This manager.
    node: NodeId,
    logs: LogBroker,
    /// Ways to the other managers.
    peers: Arc<dyn Peers>,
    /// Ends the streams.
    stop: Stop,
}

impl ControlService {
    pub fn new(
        raft: Raft,
        keys: Arc<Keychain>,
        node: NodeId,
        logs: LogBroker,
        peers: Arc<dyn Peers>,
        stop: Stop,
    ) -> Self {
        Self { raft, keys, node, logs, peers, stop }
    }

    fn state(&self) -> Arc<State> {
        self.raft.state()
    }

    /// The newest state of the cluster, whichever manager was asked: what people see and refer to.
    async fn newest(&self) -> Result<Arc<State>, Status> {
        Ok(Arc::clone(self.confirmed().await?.state()))
    }

    async fn confirmed(&self) -> Result<Linear, Status> {
        match self.raft.linear().await {
            Ok(linear) => Ok(linear),
            Err(error) => Err(self.unreadable(&error).await),
        }
    }

    fn cluster(&self) -> ClusterId {
        self.keys.cluster()
    }

    /// The keyring as this manager has it; its last term seals.
    fn keyring(&self) -> Result<Arc<Keyring>, Status> {
        let failed = |error| payloads::FetchError::Keyring(error).into();
        payloads::keyring(&self.raft, &self.keys).map_err(failed)
    }

    async fn propose(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Answer, Status> {
        match self.raft.propose(request, command).await {
            Err(ProposeError::NotLeader { leader: None }) => Err(self.leaderless().await),
            answer => answer.map_err(answers::proposed),
        }
    }
}

/// Takes the message of a call that came over a Unix socket.
fn local<T>(request: Request<T>) -> Result<T, Status> {
    if request.extensions().get::<UdsConnectInfo>().is_none() {
        return Err(Refusal::new(
            RefusalKind::Denied,
            "the control API is served on the daemon's own socket only",
        )
        .into());
    }
    Ok(request.into_inner())
}

/// The id under which a change may be asked for twice.
fn request_id(request: Option<v1::RequestId>) -> Result<Option<RequestId>, Status> {
    let request = request.map(RequestId::try_from).transpose();
    Ok(request.map_err(|fault| fault.within("request"))?)
}

/// A bad value of the request as the refusal an operator reads.
fn invalid(fault: impl std::fmt::Display) -> Status {
    Refusal::invalid(fault.to_string()).into()
}

/// The store answered something that does not belong to the question.
fn mismatch(answer: &Answer) -> Status {
    Status::internal(format!("the store answered {answer:?} to another question"))
}

#[tonic::async_trait]
impl v1::control_server::Control for ControlService {
    type WatchServiceStream = BoxStream<'static, Result<v1::WatchServiceResponse, Status>>;
    type ServiceLogsStream = BoxStream<'static, Result<v1::ServiceLogsResponse, Status>>;

    async fn create_object(
        &self,
        request: Request<v1::CreateObjectRequest>,
    ) -> Result<Response<v1::CreateObjectResponse>, Status> {
        self.make_object(local(request)?).await.map(Response::new)
    }

    async fn list_objects(
        &self,
        request: Request<v1::ListObjectsRequest>,
    ) -> Result<Response<v1::ListObjectsResponse>, Status> {
        self.objects(local(request)?).await.map(Response::new)
    }

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::Object>, Status> {
        self.object(local(request)?).await.map(Response::new)
    }

    async fn set_object_labels(
        &self,
        request: Request<v1::SetObjectLabelsRequest>,
    ) -> Result<Response<v1::Object>, Status> {
        self.label_object(local(request)?).await.map(Response::new)
    }

    async fn remove_object(
        &self,
        request: Request<v1::RemoveObjectRequest>,
    ) -> Result<Response<v1::RemoveResponse>, Status> {
        self.drop_object(local(request)?).await.map(Response::new)
    }

    async fn list_destroyed(
        &self,
        request: Request<v1::ListDestroyedRequest>,
    ) -> Result<Response<v1::ListDestroyedResponse>, Status> {
        self.destroyed(local(request)?).await.map(Response::new)
    }

    async fn get_config_data(
        &self,
        request: Request<v1::GetConfigDataRequest>,
    ) -> Result<Response<v1::GetConfigDataResponse>, Status> {
        self.config_data(local(request)?).await.map(Response::new)
    }

    async fn create_service(
        &self,
        request: Request<v1::CreateServiceRequest>,
    ) -> Result<Response<v1::CreateServiceResponse>, Status> {
        self.make_service(local(request)?).await.map(Response::new)
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ListServicesResponse>, Status> {
        self.services(local(request)?).await.map(Response::new)
    }

    async fn get_service(
        &self,
        request: Request<v1::GetServiceRequest>,
    ) -> Result<Response<v1::Service>, Status> {
        let v1::GetServiceRequest { reference } = local(request)?;
        let state = self.newest().await?;
        Ok(Response::new(state.service(&reference)?.as_ref().into()))
    }

    async fn update_service(
        &self,
        request: Request<v1::UpdateServiceRequest>,
    ) -> Result<Response<v1::Service>, Status> {
        self.change_service(local(request)?).await.map(Response::new)
    }

    async fn roll_back_service(
        &self,
        request: Request<v1::RollBackServiceRequest>,
    ) -> Result<Response<v1::Service>, Status> {
        self.return_service(local(request)?).await.map(Response::new)
    }

    async fn remove_service(
        &self,
        request: Request<v1::RemoveServiceRequest>,
    ) -> Result<Response<v1::RemoveResponse>, Status> {
        self.drop_service(local(request)?).await.map(Response::new)
    }

    async fn watch_service(
        &self,
        request: Request<v1::WatchServiceRequest>,
    ) -> Result<Response<Self::WatchServiceStream>, Status> {
        self.watch(&local(request)?.reference).map(Response::new)
    }

    async fn service_logs(
        &self,
        request: Request<v1::ServiceLogsRequest>,
    ) -> Result<Response<Self::ServiceLogsStream>, Status> {
        self.read_logs(local(request)?).await.map(Response::new)
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.tasks(local(request)?).await.map(Response::new)
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::Task>, Status> {
        let v1::GetTaskRequest { reference } = local(request)?;
        let state = self.newest().await?;
        Ok(Response::new(state.task(&reference)?.as_ref().into()))
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        self.nodes(local(request)?).await.map(Response::new)
    }

    async fn list_holders(
        &self,
        request: Request<v1::ListHoldersRequest>,
    ) -> Result<Response<v1::ListHoldersResponse>, Status> {
        self.holders(local(request)?).await.map(Response::new)
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeEntry>, Status> {
        self.node(local(request)?).await.map(Response::new)
    }

    async fn set_node(
        &self,
        request: Request<v1::SetNodeRequest>,
    ) -> Result<Response<v1::NodeEntry>, Status> {
        self.change_node(local(request)?).await.map(Response::new)
    }

    async fn set_node_role(
        &self,
        request: Request<v1::SetNodeRoleRequest>,
    ) -> Result<Response<v1::NodeEntry>, Status> {
        self.change_role(local(request)?).await.map(Response::new)
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        self.drop_node(local(request)?).await.map(Response::new)
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        self.make_token(local(request)?).await.map(Response::new)
    }

    async fn rotate_authority(
        &self,
        request: Request<v1::RotateAuthorityRequest>,
    ) -> Result<Response<v1::ClusterInfo>, Status> {
        self.new_authority(local(request)?).await.map(Response::new)
    }

    async fn rotate_keys(
        &self,
        request: Request<v1::RotateKeysRequest>,
    ) -> Result<Response<v1::KeysResponse>, Status> {
        self.new_term(local(request)?).await.map(Response::new)
    }

    async fn get_keys(
        &self,
        request: Request<v1::GetKeysRequest>,
    ) -> Result<Response<v1::KeysResponse>, Status> {
        let v1::GetKeysRequest {} = local(request)?;
        self.key_status().await.map(Response::new)
    }

    async fn set_come_back(
        &self,
        request: Request<v1::SetComeBackRequest>,
    ) -> Result<Response<v1::SetComeBackResponse>, Status> {
        self.change_come_back(local(request)?).await.map(Response::new)
    }

    async fn set_key_max_age(
        &self,
        request: Request<v1::SetKeyMaxAgeRequest>,
    ) -> Result<Response<v1::SetKeyMaxAgeResponse>, Status> {
        self.change_key_max_age(local(request)?).await.map(Response::new)
    }

    async fn list_unlockers(
        &self,
        request: Request<v1::ListUnlockersRequest>,
    ) -> Result<Response<v1::ListUnlockersResponse>, Status> {
        let v1::ListUnlockersRequest {} = local(request)?;
        let unlockers = self.unlockers().await?;
        Ok(Response::new(v1::ListUnlockersResponse { unlockers }))
    }

    async fn add_unlocker(
        &self,
        request: Request<v1::AddUnlockerRequest>,
    ) -> Result<Response<v1::AddUnlockerResponse>, Status> {
        self.make_unlocker(local(request)?).await.map(Response::new)
    }

    async fn remove_unlocker(
        &self,
        request: Request<v1::RemoveUnlockerRequest>,
    ) -> Result<Response<v1::RemoveUnlockerResponse>, Status> {
        let unlocker = Some(self.drop_unlocker(local(request)?).await?);
        Ok(Response::new(v1::RemoveUnlockerResponse { unlocker }))
    }

    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::ClusterInfo>, Status> {
        let v1::GetClusterRequest {} = local(request)?;
        self.cluster_info().await.map(Response::new)
    }
}

#[cfg(test)]
mod tests;
