//! Tasks and what nodes see of them.

use super::{
    Code, Malformed,
    parts::{At, convert, list, parse, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        object::Kind,
        service::TaskSpec,
        task::{Payload, Remnant, Task, TaskState, TaskStatus},
    },
    wire::v1,
};
use std::sync::Arc;

impl From<&TaskStatus> for v1::TaskStatus {
    fn from(value: &TaskStatus) -> Self {
        let TaskStatus { state, at, message, error, container_id, pid, exit_code } = value;
        Self {
            state: state.code(),
            at_ms: at.0,
            message: message.clone(),
            error: error.clone(),
            container_id: container_id.clone(),
            pid: *pid,
            exit_code: *exit_code,
        }
    }
}

impl TryFrom<v1::TaskStatus> for TaskStatus {
    type Error = Malformed;
    fn try_from(wire: v1::TaskStatus) -> Result<Self, Malformed> {
        let v1::TaskStatus { state, at_ms, message, error, container_id, pid, exit_code } = wire;
        Ok(Self {
            state: TaskState::from_code(state).at("state")?,
            at: Timestamp(at_ms),
            message,
            error,
            container_id,
            pid,
            exit_code,
        })
    }
}

impl From<&Task> for v1::Task {
    fn from(value: &Task) -> Self {
        let Task {
            id,
            meta,
            service,
            service_name,
            service_labels,
            slot,
            node,
            spec,
            spec_index,
            versions,
            desired,
            status,
            started_at,
            wiped,
        } = value;
        Self {
            id: id.to_string(),
            meta: Some(meta.into()),
            service_id: service.to_string(),
            service_name: service_name.to_string(),
            service_labels: service_labels.clone(),
            slot: *slot,
            node_id: node.map(|id| id.to_string()).unwrap_or_default(),
            spec: Some(spec.as_ref().into()),
            spec_index: *spec_index,
            versions: wires(versions),
            desired: desired.code(),
            status: Some(status.into()),
            started_at_ms: started_at.map(|at| at.0),
            wiped: *wiped,
        }
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = Malformed;
    fn try_from(wire: v1::Task) -> Result<Self, Malformed> {
        let v1::Task {
            id,
            meta,
            service_id,
            service_name,
            service_labels,
            slot,
            node_id,
            spec,
            spec_index,
            versions,
            desired,
            status,
            started_at_ms,
            wiped,
        } = wire;
        Ok(Self {
            id: parse(&id, "id")?,
            meta: convert(meta, "meta")?,
            service: parse(&service_id, "service_id")?,
            service_name: parse(&service_name, "service_name")?,
            service_labels,
            slot,
            node: match node_id.as_str() {
                "" => None,
                id => Some(parse(id, "node_id")?),
            },
            spec: Arc::new(convert::<_, TaskSpec>(spec, "spec")?),
            spec_index,
            versions: list(versions, "versions")?,
            desired: TaskState::from_code(desired).at("desired")?,
            status: convert(status, "status")?,
            started_at: started_at_ms.map(Timestamp),
            wiped,
        })
    }
}

impl From<&Payload> for v1::RemnantPayload {
    fn from(value: &Payload) -> Self {
        let Payload { kind, name, version } = value;
        Self { kind: kind.code(), name: name.to_string(), version: Some(version.into()) }
    }
}

impl TryFrom<v1::RemnantPayload> for Payload {
    type Error = Malformed;
    fn try_from(wire: v1::RemnantPayload) -> Result<Self, Malformed> {
        let v1::RemnantPayload { kind, name, version } = wire;
        Ok(Self {
            kind: Kind::from_code(kind).at("kind")?,
            name: parse(&name, "name")?,
            version: convert(version, "version")?,
        })
    }
}

impl From<&Remnant> for v1::Remnant {
    fn from(value: &Remnant) -> Self {
        let Remnant { task, node, service_name, since, payloads } = value;
        Self {
            task_id: task.to_string(),
            node_id: node.to_string(),
            service_name: service_name.to_string(),
            since_ms: since.0,
            payloads: wires(payloads),
        }
    }
}

impl TryFrom<v1::Remnant> for Remnant {
    type Error = Malformed;
    fn try_from(wire: v1::Remnant) -> Result<Self, Malformed> {
        let v1::Remnant { task_id, node_id, service_name, since_ms, payloads } = wire;
        Ok(Self {
            task: parse(&task_id, "task_id")?,
            node: parse(&node_id, "node_id")?,
            service_name: parse(&service_name, "service_name")?,
            since: Timestamp(since_ms),
            payloads: list(payloads, "payloads")?,
        })
    }
}
