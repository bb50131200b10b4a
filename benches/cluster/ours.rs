//! The operators of secretd that the load consists of.

use super::load::Client;
use crate::common::Daemon;
use futures::future::BoxFuture;
use secretd::{
    kit::id::ClientId,
    wire::v1::{self, control_client::ControlClient},
};
use tonic::transport::Channel;

/// An operator of secretd.
pub(crate) struct Operator {
    control: ControlClient<Channel>,
    client: String,
    sequence: u64,
}

impl Operator {
    pub(crate) async fn of(daemon: &Daemon, count: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for _ in 0..count {
            let control = ControlClient::new(daemon.channel().await);
            all.push(Self { control, client: ClientId::random().to_string(), sequence: 0 });
        }
        all
    }

    fn request(&mut self) -> v1::RequestId {
        self.sequence += 1;
        v1::RequestId { client_id: self.client.clone(), sequence: self.sequence }
    }

    pub(crate) async fn remove(&mut self, name: String) {
        let (request, kind) = (Some(self.request()), v1::Kind::Secret.into());
        let remove = v1::RemoveObjectRequest { request, kind, reference: name };
        self.control.remove_object(remove).await.expect("secretd removes it");
    }
}

impl Client for Operator {
    fn write(&mut self, name: String, bytes: usize) -> BoxFuture<'_, ()> {
        let request = self.request();
        Box::pin(async move {
            let create = v1::CreateObjectRequest {
                request: Some(request),
                kind: v1::Kind::Secret.into(),
                name,
                labels: Default::default(),
                payload: Some(v1::Payload { data: vec![0x5a; bytes] }),
                accept_same: false,
            };
            self.control.create_object(create).await.expect("secretd stores it");
        })
    }
}

/// Whether the daemon shows a secret of this name, as its cluster has it now.
pub(crate) async fn has(daemon: &Daemon, name: String) -> bool {
    let Some(channel) = daemon.try_channel().await else { return false };
    let get = v1::GetObjectRequest { kind: v1::Kind::Secret.into(), reference: name };
    ControlClient::new(channel).get_object(get).await.is_ok()
}
