//! What tests of this floor begin with: a manager's files, and entries that store something of a known content.

use super::{
    log::LogIdentity,
    types::{Batch, Entry, LogId, TypeConfig},
};
use crate::{
    crypto::{
        key::{Key, RootId},
        seal::Sealed,
    },
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ObjectId},
    },
    model::{
        Labels, Meta,
        cluster::{Cluster, ClusterSettings, RootStatus},
        command::{Command, Stamped},
        node::{
            Availability, ManagerStatus, Node, NodeDescription, NodeState, NodeStatus, Role,
            Standing,
        },
        object::{Kind, VersionNumber},
        task::ObjectVersion,
    },
};
use openraft::{EntryPayload, LeaderId};
use std::sync::Arc;

/// A new manager of the cluster that this number stands for.
pub(super) fn identity(cluster: u8) -> Arc<LogIdentity> {
    Arc::new(LogIdentity {
        cluster: ClusterId::from_random([cluster; 17]),
        node: NodeId::random(),
        key: Arc::new(Key::random().into()),
    })
}

/// A cluster that `node` founded, as its first command says.
pub(super) fn founding(node: NodeId) -> (Cluster, Node) {
    let cluster = Cluster {
        id: ClusterId::from_random([1; 17]),
        meta: Meta::default(),
        settings: ClusterSettings::default(),
        ca_certificate: Vec::new(),
        ca_key: sealed(1, 10),
        keyring: Vec::new(),
        next_raft_id: 2,
        rotation: None,
        tokens: Vec::new(),
        unlockers: Vec::new(),
        key_files: true,
        backup: None,
        rekeying: Default::default(),
        former_managers: Vec::new(),
        root: RootStatus::first(RootId([7; 32]), Timestamp(0)),
    };
    let node = Node {
        id: node,
        meta: Meta::default(),
        role: Role::Manager,
        availability: Availability::Active,
        labels: Labels::new(),
        description: NodeDescription::default(),
        status: NodeStatus {
            state: NodeState::Unknown,
            message: String::new(),
            addr: "127.0.0.1".into(),
            at: Timestamp(0),
            dispatcher: None,
        },
        runtime_failed_at: None,
        sightings: Default::default(),
        standing: Standing::Member,
        renamed: None,
        manager: Some(ManagerStatus::new(1, "127.0.0.1:1".into())),
        certificate: None,
    };
    (cluster, node)
}

/// The first version of `secret-NUMBER`, and the command that creates it with a body of so many bytes.
pub(super) fn create(number: u64, bytes: usize) -> (ObjectVersion, Command) {
    let mut random = [0; 17];
    random[9..].copy_from_slice(&number.to_be_bytes());
    let object = ObjectId::from_random(random);
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id: object,
        name: format!("secret-{number}").parse().unwrap(),
        labels: Labels::from([("k".into(), "v".into())]),
        size: 10,
        sealed: sealed(number, bytes),
    };
    (ObjectVersion { object, version: VersionNumber::FIRST }, command)
}

/// A body that says whose it is, all over.
pub(super) fn sealed(number: u64, bytes: usize) -> Sealed {
    let body = number.to_be_bytes().into_iter().cycle().take(bytes).collect();
    Sealed { term: 1, wrapped_key: vec![9; 60], body }
}

/// An entry of the first term.
pub(super) fn entry(index: u64, payload: EntryPayload<TypeConfig>) -> Entry {
    Entry { log_id: LogId::new(LeaderId::new(1, 1), index), payload }
}

/// What an entry with these commands carries.
pub(super) fn batch(commands: Vec<Command>) -> EntryPayload<TypeConfig> {
    let stamp = |command| Stamped { request: None, at: Timestamp(1), command };
    EntryPayload::Normal(Batch::new(commands.into_iter().map(stamp).collect(), 1))
}
