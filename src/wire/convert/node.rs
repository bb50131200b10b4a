//! Nodes: what they say of themselves and how they are.

use super::{
    Code, Malformed,
    parts::{At, convert, digest, maybe, maybe_parse, parse, root_id},
};
use crate::{
    kit::clock::Timestamp,
    model::node::{
        Availability, CertificateStatus, ManagerStatus, Node, NodeDescription, NodeState,
        NodeStatus, Role, Standing,
    },
    model::sightings::{KeyHash, Rival, ShownKey, Sightings},
    wire::v1,
};

impl From<&NodeDescription> for v1::NodeDescription {
    fn from(value: &NodeDescription) -> Self {
        let NodeDescription {
            hostname,
            os,
            arch,
            nano_cpus,
            memory_bytes,
            runtime,
            engine_version,
            engine_labels,
            version,
            runtime_error,
        } = value;
        Self {
            hostname: hostname.clone(),
            os: os.clone(),
            arch: arch.clone(),
            nano_cpus: *nano_cpus,
            memory_bytes: *memory_bytes,
            runtime: runtime.clone(),
            engine_version: engine_version.clone(),
            engine_labels: engine_labels.clone(),
            version: version.clone(),
            runtime_error: runtime_error.clone(),
        }
    }
}

impl TryFrom<v1::NodeDescription> for NodeDescription {
    type Error = Malformed;
    fn try_from(wire: v1::NodeDescription) -> Result<Self, Malformed> {
        let v1::NodeDescription {
            hostname,
            os,
            arch,
            nano_cpus,
            memory_bytes,
            runtime,
            engine_version,
            engine_labels,
            version,
            runtime_error,
        } = wire;
        Ok(Self {
            hostname,
            os,
            arch,
            nano_cpus,
            memory_bytes,
            runtime,
            engine_version,
            engine_labels,
            version,
            runtime_error,
        })
    }
}

impl From<&NodeStatus> for v1::NodeStatus {
    fn from(value: &NodeStatus) -> Self {
        let NodeStatus { state, message, addr, at, dispatcher } = value;
        Self {
            state: state.code(),
            message: message.clone(),
            addr: addr.clone(),
            at_ms: at.0,
            dispatcher_id: dispatcher.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::NodeStatus> for NodeStatus {
    type Error = Malformed;
    fn try_from(wire: v1::NodeStatus) -> Result<Self, Malformed> {
        let v1::NodeStatus { state, message, addr, at_ms, dispatcher_id } = wire;
        Ok(Self {
            state: NodeState::from_code(state).at("state")?,
            message,
            addr,
            at: Timestamp(at_ms),
            dispatcher: maybe_parse(&dispatcher_id, "dispatcher_id")?,
        })
    }
}

impl From<&ManagerStatus> for v1::ManagerStatus {
    fn from(value: &ManagerStatus) -> Self {
        let ManagerStatus { raft_id, addr, oldest_term, root, prepared_root } = value;
        Self {
            raft_id: *raft_id,
            addr: addr.clone(),
            oldest_term: *oldest_term,
            root: *root,
            prepared_root: prepared_root.map(|id| id.0.to_vec()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ManagerStatus> for ManagerStatus {
    type Error = Malformed;
    fn try_from(wire: v1::ManagerStatus) -> Result<Self, Malformed> {
        let v1::ManagerStatus { raft_id, addr, oldest_term, root, prepared_root } = wire;
        let prepared =
            (!prepared_root.is_empty()).then(|| root_id(&prepared_root, "prepared_root"));
        Ok(Self { raft_id, addr, oldest_term, root, prepared_root: prepared.transpose()? })
    }
}

impl From<&CertificateStatus> for v1::CertificateStatus {
    fn from(value: &CertificateStatus) -> Self {
        let CertificateStatus { issuer, role, expires_at, shown, key, former, used, dated } = value;
        Self {
            issuer: issuer.to_vec(),
            role: role.code(),
            expires_at_ms: expires_at.0,
            shown: *shown,
            key: key.0.to_vec(),
            former: former.map(|key| key.0.to_vec()).unwrap_or_default(),
            used: used.map(|key| key.0.to_vec()).unwrap_or_default(),
            dated: *dated,
        }
    }
}

impl TryFrom<v1::CertificateStatus> for CertificateStatus {
    type Error = Malformed;
    fn try_from(wire: v1::CertificateStatus) -> Result<Self, Malformed> {
        let v1::CertificateStatus { issuer, role, expires_at_ms, shown, key, former, used, dated } =
            wire;
        Ok(Self {
            issuer: digest(&issuer, "issuer")?,
            role: Role::from_code(role).at("role")?,
            expires_at: Timestamp(expires_at_ms),
            shown,
            key: KeyHash(digest(&key, "key")?),
            former: maybe_key(&former, "former")?,
            used: maybe_key(&used, "used")?,
            dated,
        })
    }
}

fn maybe_key(bytes: &[u8], field: &str) -> Result<Option<KeyHash>, Malformed> {
    if bytes.is_empty() { Ok(None) } else { digest(bytes, field).map(|it| Some(KeyHash(it))) }
}

impl From<&ShownKey> for v1::command::ShownKey {
    fn from(value: &ShownKey) -> Self {
        let ShownKey { key, expires_at } = value;
        Self { key: key.0.to_vec(), expires_at_ms: expires_at.0 }
    }
}

impl TryFrom<v1::command::ShownKey> for ShownKey {
    type Error = Malformed;
    fn try_from(wire: v1::command::ShownKey) -> Result<Self, Malformed> {
        let v1::command::ShownKey { key, expires_at_ms } = wire;
        Ok(Self { key: KeyHash(digest(&key, "key")?), expires_at: Timestamp(expires_at_ms) })
    }
}

impl From<&Sightings> for v1::Sightings {
    fn from(value: &Sightings) -> Self {
        let Sightings { processes, rival } = value;
        Self { processes: processes.clone(), rival: rival.as_ref().map(Into::into) }
    }
}

impl TryFrom<v1::Sightings> for Sightings {
    type Error = Malformed;
    fn try_from(wire: v1::Sightings) -> Result<Self, Malformed> {
        let v1::Sightings { processes, rival } = wire;
        Ok(Self { processes, rival: maybe(rival, "rival")? })
    }
}

impl From<&Rival> for v1::Rival {
    fn from(value: &Rival) -> Self {
        let Rival { since, last, signs, addrs } = value;
        Self { since_ms: since.0, last_ms: last.0, signs: *signs, addrs: addrs.clone() }
    }
}

impl TryFrom<v1::Rival> for Rival {
    type Error = Malformed;
    fn try_from(wire: v1::Rival) -> Result<Self, Malformed> {
        let v1::Rival { since_ms, last_ms, signs, addrs } = wire;
        Ok(Self { since: Timestamp(since_ms), last: Timestamp(last_ms), signs, addrs })
    }
}

impl From<&Node> for v1::NodeInfo {
    fn from(value: &Node) -> Self {
        let Node {
            id,
            meta,
            role,
            availability,
            labels,
            description,
            renamed,
            status,
            standing,
            manager,
            certificate,
            runtime_failed_at,
            sightings,
        } = value;
        let left = match *standing {
            Standing::Member => None,
            Standing::Left { at, wiped } => Some(v1::NodeLeft { at_ms: at.0, wiped }),
        };
        Self {
            id: id.to_string(),
            meta: Some(meta.into()),
            role: role.code(),
            availability: availability.code(),
            labels: labels.clone(),
            description: Some(description.into()),
            status: Some(status.into()),
            manager: manager.as_ref().map(Into::into),
            certificate: certificate.as_ref().map(Into::into),
            renamed: renamed.clone(),
            left,
            runtime_failed_at_ms: runtime_failed_at.map(|at| at.0),
            sightings: Some(sightings.into()),
        }
    }
}

impl TryFrom<v1::NodeInfo> for Node {
    type Error = Malformed;
    fn try_from(wire: v1::NodeInfo) -> Result<Self, Malformed> {
        let v1::NodeInfo {
            id,
            meta,
            role,
            availability,
            labels,
            description,
            status,
            manager,
            certificate,
            renamed,
            left,
            runtime_failed_at_ms,
            sightings,
        } = wire;
        let standing = match left {
            None => Standing::Member,
            Some(v1::NodeLeft { at_ms, wiped }) => Standing::Left { at: Timestamp(at_ms), wiped },
        };
        Ok(Self {
            id: parse(&id, "id")?,
            meta: convert(meta, "meta")?,
            role: Role::from_code(role).at("role")?,
            availability: Availability::from_code(availability).at("availability")?,
            labels,
            description: convert(description, "description")?,
            renamed,
            status: convert(status, "status")?,
            standing,
            manager: maybe(manager, "manager")?,
            certificate: maybe(certificate, "certificate")?,
            runtime_failed_at: runtime_failed_at_ms.map(Timestamp),
            sightings: maybe(sightings, "sightings")?.unwrap_or_default(),
        })
    }
}
