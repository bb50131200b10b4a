//! Every decoder as a function of bytes: for the fuzzer in `fuzz/`, and for the mutations that the tests run.
//!
//! A target takes any bytes and returns; a panic is a defect. Where a format carries a sum, the target makes it fit
//! besides, so that what is behind it is tried too. Not part of what is built for use.

#[cfg(test)]
mod tests;

pub use crate::raft::fuzz::{
    backup, backup_parts, log_frame, log_header, log_record, raft_message, state_row,
};

use crate::{
    compose::{self, Environment, File, FileError, Files, Project},
    crypto::{
        key::{Key, Root, Storage, Unlock},
        keyring::Keyring,
        plaintext::Plaintext,
        record,
        storage::StorageKeys,
        unlock::{self, Unlocker, code::Given},
    },
    kit::{
        duration::parse_duration,
        id::{ClusterId, NodeId},
        name::{ObjectName, ServiceName},
    },
    model::{
        cluster::Cluster,
        command::{Answered, Stamped},
        constraint::Constraint,
        node::Node,
        object::{Kind, Object},
        reference::{Owner, Target},
        service::{Service, ServiceSpec},
        task::Task,
    },
    node::keystore,
    pki::{self, Identity, JoinToken, Peer},
    wire::{
        convert::{Wire, decode, encode},
        shape::{Shaped, weigh},
        v1,
    },
};
use prost::Message as _;

/// A decoder under its name, which is also the name of its file in `fuzz/fuzz_targets`.
pub type Decoder = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Decoder] = &[
    ("log_frame", log_frame),
    ("log_header", log_header),
    ("log_record", log_record),
    ("state_row", state_row),
    ("raft_message", raft_message),
    ("backup", backup),
    ("backup_parts", backup_parts),
    ("key_header", key_header),
    ("key_file", key_file),
    ("identity", identity),
    ("sealed", sealed),
    ("code", code),
    ("join_token", join_token),
    ("certificate", certificate),
    ("model", model),
    ("words", words),
    ("compose", compose),
    ("gate", gate),
];

/// The key header of a node.
pub fn key_header(bytes: &[u8]) {
    keystore::fuzz(bytes);
}

/// The key file of a node.
pub fn key_file(bytes: &[u8]) {
    unlock::file::fuzz(bytes);
}

/// What a node knows of its membership, once it is open.
pub fn identity(bytes: &[u8]) {
    let Ok(message) = v1::NodeIdentity::decode(bytes) else { return };
    drop(Identity::open(
        &StorageKeys::from(Key::random()),
        message.certificates,
        &message.sealed_key,
    ));
}

/// Everything that is opened with a key: records, storage keys, unlockers, the terms of a keyring.
pub fn sealed(bytes: &[u8]) {
    let (root, storage) = (Key::<Root>::random(), Key::<Storage>::random());
    let (cluster, node) = (ClusterId::from_random([1; 17]), NodeId::from_random([2; 17]));
    assert!(record::open(&storage, b"place", bytes).is_err(), "nobody sealed this");
    assert!(Key::<Storage>::open(&root, cluster, node, bytes).is_err(), "nobody sealed this");
    if let Ok(message) = v1::Unlocker::decode(bytes)
        && let Ok(unlocker) = Unlocker::try_from(message)
    {
        assert!(unlocker.unlock(cluster, &Key::<Unlock>::random()).is_err(), "nobody sealed this");
    }
    if let Ok(cluster) = decode::<Cluster>(bytes) {
        drop(Keyring::open(&root, cluster.id, &cluster.keyring));
    }
}

/// What an operator types to unlock.
pub fn code(bytes: &[u8]) {
    drop(Given::read(Plaintext::new(bytes.to_vec())));
}

pub fn join_token(bytes: &[u8]) {
    drop(JoinToken::read(&Plaintext::new(bytes.to_vec())));
}

pub fn certificate(bytes: &[u8]) {
    drop(Peer::parse(bytes));
}

/// What anybody may send to the cluster listener: paths, frames, and messages before they are decoded.
pub fn gate(bytes: &[u8]) {
    fn weighed<M: prost::Message + Default + Shaped>(bytes: &[u8]) {
        if weigh(M::SHAPE, bytes).is_ok() {
            drop(M::decode(bytes));
        }
    }
    pki::fuzz(bytes);
    weighed::<v1::IssueRequest>(bytes);
    weighed::<v1::SessionRequest>(bytes);
    weighed::<v1::UpdateTaskStatusRequest>(bytes);
    weighed::<v1::PublishLogsRequest>(bytes);
    weighed::<v1::AppendEntriesRequest>(bytes);
    weighed::<v1::InstallSnapshotRequest>(bytes);
    weighed::<v1::ProposeRequest>(bytes);
}

/// Values of the model as they travel and as they are kept.
pub fn model(bytes: &[u8]) {
    fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(value) = decode::<T>(bytes) {
            assert_eq!(decode::<T>(&encode(&value)).expect("what we print can be read"), value);
        }
    }
    comes_back::<Stamped>(bytes);
    comes_back::<Answered>(bytes);
    comes_back::<Cluster>(bytes);
    comes_back::<Node>(bytes);
    comes_back::<Object>(bytes);
    comes_back::<Service>(bytes);
    comes_back::<ServiceSpec>(bytes);
    comes_back::<Task>(bytes);
}

/// The small texts of flags and files.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(text.parse::<Constraint>());
    drop(text.parse::<Owner>());
    drop(text.parse::<ObjectName>());
    drop(text.parse::<ServiceName>());
    let _whatever_it_is = parse_duration(text);
    drop(Target::parse(Kind::Secret, text));
    drop(Target::parse(Kind::Config, text));
    drop(text.parse::<JoinToken>());
}

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::NotFound)
    }
}

/// A Compose file, and the same bytes as a `.env` file.
pub fn compose(bytes: &[u8]) {
    let env = Environment::new([("TAG".to_owned(), "7".to_owned())]);
    drop(env.clone().with_dotenv(".env", bytes));
    let files = [File { path: "/c/compose.yaml".to_owned(), bytes: bytes.to_vec() }];
    drop(compose::load_unfilled(&files, "/c"));
    if let Ok(document) = compose::load(&files, "/c", &env, &NoFiles) {
        let name = "stack".parse().expect("a good name");
        drop(document.project(&name).map(|project: Project| project.to_specs(|_, _| None)));
    }
}
