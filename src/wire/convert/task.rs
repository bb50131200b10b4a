//! Tasks and what nodes see of them.

use super::{
    Code, Malformed,
    parts::{At, convert, list, parse, wires},
};
use crate::{
    kit::clock::Timestamp,
    model::{
        service::TaskSpec,
        task::{Task, TaskState, TaskStatus},
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
        })
    }
}
