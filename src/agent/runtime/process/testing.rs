//! Orders for tests.

use crate::{
    agent::runtime::{File, Order},
    crypto::plaintext::Plaintext,
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

pub(super) struct Draft {
    container: ContainerSpec,
    files: Vec<File>,
}

pub(super) fn order(command: &[&str], change: impl FnOnce(&mut ContainerSpec)) -> Draft {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let mut container = ContainerSpec { command, ..ContainerSpec::default() };
    change(&mut container);
    Draft { container, files: vec![] }
}

impl Draft {
    pub(super) fn file(mut self, kind: Kind, target: &str, payload: &[u8]) -> Self {
        let reference = Reference {
            kind,
            object: ObjectId::random(),
            name: "thing".parse().unwrap(),
            version: VersionPick::Latest,
            target: Target::parse(kind, target).unwrap(),
            uid: None,
            gid: None,
            mode: None,
            on_change: OnChange::Keep,
        };
        let payload = Arc::new(Plaintext::new(payload.to_vec()));
        self.files.push(File { reference, payload });
        self
    }

    pub(super) fn build(self) -> Order {
        let spec = TaskSpec { container: self.container, ..TaskSpec::default() };
        let task = Task {
            id: TaskId::random(),
            meta: Meta::default(),
            service: ServiceId::random(),
            service_name: "web".parse().unwrap(),
            service_labels: Labels::new(),
            slot: 1,
            node: None,
            spec: Arc::new(spec),
            spec_index: 0,
            versions: vec![],
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Assigned,
                at: Timestamp(0),
                message: String::new(),
                error: String::new(),
                container_id: String::new(),
                pid: 0,
                exit_code: None,
            },
            started_at: None,
            wiped: false,
        };
        Order { task: Arc::new(task), files: self.files }
    }
}
