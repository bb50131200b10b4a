//! The cluster with its settings and sealed keys.

use super::{
    Malformed,
    parts::{convert, list, parse, wires},
};
use crate::{
    model::cluster::{Cluster, ClusterSettings},
    wire::v1,
};

impl From<&ClusterSettings> for v1::ClusterSettings {
    fn from(value: &ClusterSettings) -> Self {
        let ClusterSettings { heartbeat, certificate_life, task_history } = value;
        Self {
            heartbeat: Some(heartbeat.into()),
            certificate_life: Some(certificate_life.into()),
            task_history: *task_history,
        }
    }
}

impl TryFrom<v1::ClusterSettings> for ClusterSettings {
    type Error = Malformed;
    fn try_from(wire: v1::ClusterSettings) -> Result<Self, Malformed> {
        let v1::ClusterSettings { heartbeat, certificate_life, task_history } = wire;
        Ok(Self {
            heartbeat: convert(heartbeat, "heartbeat")?,
            certificate_life: convert(certificate_life, "certificate_life")?,
            task_history,
        })
    }
}

impl From<&Cluster> for v1::Cluster {
    fn from(value: &Cluster) -> Self {
        let Cluster { id, meta, settings, ca_certificate, ca_key, keyring, next_raft_id } = value;
        Self {
            id: id.to_string(),
            meta: Some(meta.into()),
            settings: Some(settings.into()),
            ca_certificate: ca_certificate.clone(),
            ca_key: Some(ca_key.into()),
            keyring: wires(keyring),
            next_raft_id: *next_raft_id,
        }
    }
}

impl TryFrom<v1::Cluster> for Cluster {
    type Error = Malformed;
    fn try_from(wire: v1::Cluster) -> Result<Self, Malformed> {
        let v1::Cluster { id, meta, settings, ca_certificate, ca_key, keyring, next_raft_id } =
            wire;
        Ok(Self {
            id: parse(&id, "id")?,
            meta: convert(meta, "meta")?,
            settings: convert(settings, "settings")?,
            ca_certificate,
            ca_key: convert(ca_key, "ca_key")?,
            keyring: list(keyring, "keyring")?,
            next_raft_id,
        })
    }
}
