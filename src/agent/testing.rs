//! Tasks and references as tests need them.

use crate::{
    kit::{
        clock::Timestamp,
        id::{ObjectId, ServiceId, TaskId},
    },
    model::{
        Labels, Meta,
        object::Kind,
        reference::{OnChange, Reference, Target, VersionPick},
        service::{ContainerSpec, TaskSpec},
        task::{Task, TaskState, TaskStatus},
    },
};
use std::sync::Arc;

pub(crate) fn reference(kind: Kind, name: &str, target: &str) -> Reference {
    Reference {
        kind,
        object: ObjectId::random(),
        name: name.parse().unwrap(),
        version: VersionPick::Latest,
        target: Target::parse(kind, target).unwrap(),
        uid: None,
        gid: None,
        mode: None,
        on_change: OnChange::Keep,
    }
}

/// Task 1 of a service of that name, assigned and wanted running.
pub(crate) fn task(service: &str) -> Task {
    Task {
        id: TaskId::random(),
        meta: Meta::default(),
        service: ServiceId::random(),
        service_name: service.parse().unwrap(),
        service_labels: Labels::new(),
        slot: 1,
        node: None,
        spec: Arc::new(TaskSpec {
            container: ContainerSpec { image: "secretd-test:1".to_owned(), ..Default::default() },
            ..Default::default()
        }),
        spec_index: 1,
        versions: Vec::new(),
        desired: TaskState::Running,
        status: TaskStatus {
            state: TaskState::Assigned,
            at: Timestamp(0),
            message: "assigned".to_owned(),
            error: String::new(),
            container_id: String::new(),
            pid: 0,
            exit_code: None,
        },
        started_at: None,
    }
}
