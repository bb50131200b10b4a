//! The cluster with its settings and sealed keys.

use super::{
    Code, Malformed,
    parts::{At, convert, digest, list, maybe, parse, root_id, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        cluster::{
            AuthorityRotation, BackupStatus, Cluster, ClusterSettings, Departure, FormerManager,
            Rekeying, Rewrapping, RootOffer, RootRotation, RootStatus, Token,
        },
        node::{RaftIdentity, Role},
    },
    wire::v1,
};

impl From<&ClusterSettings> for v1::ClusterSettings {
    fn from(value: &ClusterSettings) -> Self {
        let ClusterSettings { heartbeat, certificate_life, task_history, key_max_age, come_back } =
            value;
        Self {
            heartbeat: Some(heartbeat.into()),
            certificate_life: Some(certificate_life.into()),
            task_history: *task_history,
            key_max_age: key_max_age.as_ref().map(Into::into),
            come_back: Some(come_back.into()),
        }
    }
}

impl TryFrom<v1::ClusterSettings> for ClusterSettings {
    type Error = Malformed;
    fn try_from(wire: v1::ClusterSettings) -> Result<Self, Malformed> {
        let v1::ClusterSettings {
            heartbeat,
            certificate_life,
            task_history,
            key_max_age,
            come_back,
        } = wire;
        Ok(Self {
            heartbeat: convert(heartbeat, "heartbeat")?,
            certificate_life: convert(certificate_life, "certificate_life")?,
            task_history,
            key_max_age: maybe(key_max_age, "key_max_age")?,
            come_back: convert(come_back, "come_back")?,
        })
    }
}

impl From<&Cluster> for v1::Cluster {
    fn from(value: &Cluster) -> Self {
        let Cluster {
            id,
            meta,
            settings,
            ca_certificate,
            ca_key,
            keyring,
            next_raft_id,
            rotation,
            tokens,
            unlockers,
            key_files,
            backup,
            rekeying,
            former_managers,
            root,
        } = value;
        Self {
            id: id.to_string(),
            meta: Some(meta.into()),
            settings: Some(settings.into()),
            ca_certificate: ca_certificate.clone(),
            ca_key: Some(ca_key.into()),
            keyring: wires(keyring),
            next_raft_id: *next_raft_id,
            rotation: rotation.as_ref().map(Into::into),
            tokens: wires(tokens),
            unlockers: wires(unlockers),
            key_files: *key_files,
            backup: backup.as_ref().map(Into::into),
            rekeying: Some(rekeying.into()),
            former_managers: wires(former_managers),
            root: Some(root.into()),
        }
    }
}

impl TryFrom<v1::Cluster> for Cluster {
    type Error = Malformed;
    fn try_from(wire: v1::Cluster) -> Result<Self, Malformed> {
        let v1::Cluster {
            id,
            meta,
            settings,
            ca_certificate,
            ca_key,
            keyring,
            next_raft_id,
            rotation,
            tokens,
            unlockers,
            key_files,
            backup,
            rekeying,
            former_managers,
            root,
        } = wire;
        Ok(Self {
            id: parse(&id, "id")?,
            meta: convert(meta, "meta")?,
            settings: convert(settings, "settings")?,
            ca_certificate,
            ca_key: convert(ca_key, "ca_key")?,
            keyring: list(keyring, "keyring")?,
            next_raft_id,
            rotation: maybe(rotation, "rotation")?,
            tokens: list(tokens, "tokens")?,
            unlockers: list(unlockers, "unlockers")?,
            key_files,
            backup: maybe(backup, "backup")?,
            rekeying: maybe(rekeying, "rekeying")?.unwrap_or_default(),
            former_managers: list(former_managers, "former_managers")?,
            root: convert(root, "root")?,
        })
    }
}

impl From<&FormerManager> for v1::FormerManager {
    fn from(value: &FormerManager) -> Self {
        let FormerManager { node, raft_id, at, departure } = value;
        Self {
            node_id: node.to_string(),
            raft_id: *raft_id,
            at_ms: at.0,
            departure: departure.code(),
        }
    }
}

impl TryFrom<v1::FormerManager> for FormerManager {
    type Error = Malformed;
    fn try_from(wire: v1::FormerManager) -> Result<Self, Malformed> {
        let v1::FormerManager { node_id, raft_id, at_ms, departure } = wire;
        Ok(Self {
            node: parse(&node_id, "node_id")?,
            raft_id,
            at: Timestamp(at_ms),
            departure: Departure::from_code(departure).at("departure")?,
        })
    }
}

impl From<&RaftIdentity> for v1::RaftIdentity {
    fn from(value: &RaftIdentity) -> Self {
        let RaftIdentity { node, raft_id } = value;
        Self { node_id: node.to_string(), raft_id: *raft_id }
    }
}

impl TryFrom<v1::RaftIdentity> for RaftIdentity {
    type Error = Malformed;
    fn try_from(wire: v1::RaftIdentity) -> Result<Self, Malformed> {
        let v1::RaftIdentity { node_id, raft_id } = wire;
        Ok(Self { node: parse(&node_id, "node_id")?, raft_id })
    }
}

impl From<&Rekeying> for v1::Rekeying {
    fn from(value: &Rekeying) -> Self {
        let Rekeying { due, running } = value;
        Self { due: *due, running: running.as_ref().map(Into::into) }
    }
}

impl TryFrom<v1::Rekeying> for Rekeying {
    type Error = Malformed;
    fn try_from(wire: v1::Rekeying) -> Result<Self, Malformed> {
        let v1::Rekeying { due, running } = wire;
        Ok(Self { due, running: maybe(running, "running")? })
    }
}

impl From<&RootStatus> for v1::RootStatus {
    fn from(value: &RootStatus) -> Self {
        let RootStatus { number, id, since, rotation } = value;
        let rotation = rotation.as_ref().map(Into::into);
        Self { number: *number, id: id.0.to_vec(), since_ms: since.0, rotation }
    }
}

impl TryFrom<v1::RootStatus> for RootStatus {
    type Error = Malformed;
    fn try_from(wire: v1::RootStatus) -> Result<Self, Malformed> {
        let v1::RootStatus { number, id, since_ms, rotation } = wire;
        let (id, rotation) = (root_id(&id, "id")?, maybe(rotation, "rotation")?);
        Ok(Self { number, id, since: Timestamp(since_ms), rotation })
    }
}

impl From<&RootRotation> for v1::RootRotation {
    fn from(value: &RootRotation) -> Self {
        let RootRotation { started_at, rate, offered } = value;
        let offered = offered.as_ref().map(Into::into);
        Self { started_at_ms: started_at.0, rate: *rate, offered }
    }
}

impl TryFrom<v1::RootRotation> for RootRotation {
    type Error = Malformed;
    fn try_from(wire: v1::RootRotation) -> Result<Self, Malformed> {
        let v1::RootRotation { started_at_ms, rate, offered } = wire;
        let offered = maybe(offered, "offered")?;
        Ok(Self { started_at: Timestamp(started_at_ms), rate, offered })
    }
}

impl From<&RootOffer> for v1::RootOffer {
    fn from(value: &RootOffer) -> Self {
        let RootOffer { id, by } = value;
        Self { id: id.0.to_vec(), node_id: by.to_string() }
    }
}

impl TryFrom<v1::RootOffer> for RootOffer {
    type Error = Malformed;
    fn try_from(wire: v1::RootOffer) -> Result<Self, Malformed> {
        let v1::RootOffer { id, node_id } = wire;
        Ok(Self { id: root_id(&id, "id")?, by: parse(&node_id, "node_id")? })
    }
}

impl From<&Rewrapping> for v1::Rewrapping {
    fn from(value: &Rewrapping) -> Self {
        let Rewrapping { started_at, total, rate } = value;
        Self { started_at_ms: started_at.0, total: *total, rate: *rate }
    }
}

impl TryFrom<v1::Rewrapping> for Rewrapping {
    type Error = Malformed;
    fn try_from(wire: v1::Rewrapping) -> Result<Self, Malformed> {
        let v1::Rewrapping { started_at_ms, total, rate } = wire;
        Ok(Self { started_at: Timestamp(started_at_ms), total, rate })
    }
}

impl From<&BackupStatus> for v1::BackupStatus {
    fn from(value: &BackupStatus) -> Self {
        let BackupStatus { created_at, verified_at, index } = value;
        Self { created_at_ms: created_at.0, verified_at_ms: verified_at.0, index: *index }
    }
}

impl TryFrom<v1::BackupStatus> for BackupStatus {
    type Error = Malformed;
    fn try_from(wire: v1::BackupStatus) -> Result<Self, Malformed> {
        let v1::BackupStatus { created_at_ms, verified_at_ms, index } = wire;
        Ok(Self {
            created_at: Timestamp(created_at_ms),
            verified_at: Timestamp(verified_at_ms),
            index,
        })
    }
}

impl From<&AuthorityRotation> for v1::AuthorityRotation {
    fn from(value: &AuthorityRotation) -> Self {
        let AuthorityRotation { previous, cross_signed, started_at } = value;
        Self {
            previous: previous.clone(),
            cross_signed: cross_signed.clone(),
            started_at_ms: started_at.0,
        }
    }
}

impl TryFrom<v1::AuthorityRotation> for AuthorityRotation {
    type Error = Malformed;
    fn try_from(wire: v1::AuthorityRotation) -> Result<Self, Malformed> {
        let v1::AuthorityRotation { previous, cross_signed, started_at_ms } = wire;
        Ok(Self { previous, cross_signed, started_at: Timestamp(started_at_ms) })
    }
}

impl From<&Token> for v1::Token {
    fn from(value: &Token) -> Self {
        let Token { hash, role, created_at, expires_at, uses_left } = value;
        Self {
            hash: hash.to_vec(),
            role: role.code(),
            created_at_ms: created_at.0,
            expires_at_ms: expires_at.map(|at| at.0),
            uses_left: *uses_left,
        }
    }
}

impl TryFrom<v1::Token> for Token {
    type Error = Malformed;
    fn try_from(wire: v1::Token) -> Result<Self, Malformed> {
        let v1::Token { hash, role, created_at_ms, expires_at_ms, uses_left } = wire;
        Ok(Self {
            hash: digest(&hash, "hash")?,
            role: Role::from_code(role).at("role")?,
            created_at: Timestamp(created_at_ms),
            expires_at: expires_at_ms.map(Timestamp),
            uses_left,
        })
    }
}
