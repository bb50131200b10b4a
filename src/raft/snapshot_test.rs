//! Snapshots from one manager's state file to another's, with other keys.

use super::{
    log::LogIdentity,
    machine::Machine,
    snapshot::{self, Incoming, Part, SnapshotData, SnapshotError},
    types::{Batch, Entry, Member, TypeConfig},
};
use crate::{
    crypto::{key::Key, seal::Sealed},
    kit::{
        clock::Timestamp,
        id::{ClusterId, NodeId, ObjectId},
    },
    model::{
        Labels,
        command::{Command, Stamped},
        object::{Kind, VersionNumber},
        task::ObjectVersion,
    },
};
use openraft::{
    EntryPayload, LeaderId, LogId, Membership, RaftSnapshotBuilder, Snapshot,
    storage::RaftStateMachine,
};
use std::{collections::BTreeSet, sync::Arc};
use tempfile::TempDir;

fn identity(cluster: u8) -> Arc<LogIdentity> {
    Arc::new(LogIdentity {
        cluster: ClusterId::from_random([cluster; 17]),
        node: NodeId::random(),
        key: Arc::new(Key::random()),
    })
}

fn entry(index: u64, payload: EntryPayload<TypeConfig>) -> Entry {
    Entry { log_id: LogId::new(LeaderId::new(3, 1), index), payload }
}

fn create(number: u8, bytes: usize) -> (ObjectVersion, EntryPayload<TypeConfig>) {
    let object = ObjectId::from_random([number; 17]);
    let command = Command::CreateObject {
        kind: Kind::Secret,
        id: object,
        name: format!("secret-{number}").parse().unwrap(),
        labels: Labels::from([("k".into(), "v".into())]),
        size: 1,
        sealed: Sealed { term: 1, wrapped_key: vec![number; 50], body: vec![number; bytes] },
    };
    let stamped = Stamped { request: None, at: Timestamp(7), command };
    let version = ObjectVersion { object, version: VersionNumber::FIRST };
    (version, EntryPayload::Normal(Batch::new(vec![stamped], bytes)))
}

const SIZES: [(u8, usize); 4] = [(1, 10), (2, 40_000), (3, 300_000), (4, 900_000)];

async fn snapshot_of_a_leader(dir: &TempDir) -> (Snapshot<TypeConfig>, Arc<LogIdentity>) {
    let identity = identity(1);
    let (mut machine, handle, _) =
        Machine::open(&dir.path().join("leader.redb"), identity.clone()).unwrap();
    let member = Member { node: identity.node, addr: "h:1".into() };
    let membership = Membership::new(
        vec![BTreeSet::from([1])],
        [(1, member)].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    );
    machine.apply([entry(1, EntryPayload::Membership(membership))]).await.unwrap();
    for (number, bytes) in SIZES {
        let index = u64::from(number) + 1;
        machine.apply([entry(index, create(number, bytes).1)]).await.unwrap();
    }
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    // Later changes are not part of it.
    machine.apply([entry(9, create(9, 10).1)]).await.unwrap();
    handle.close();
    (snapshot, identity)
}

fn parts(snapshot: &Snapshot<TypeConfig>, identity: &LogIdentity) -> Vec<Part> {
    let SnapshotData::Outgoing(view) = &*snapshot.snapshot else { panic!() };
    let mut parts = Vec::new();
    snapshot::send(view, identity, |part| {
        parts.push(part);
        Ok(())
    })
    .unwrap();
    parts
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_another_managers_state_and_stays() {
    let dir = TempDir::new().unwrap();
    let (snapshot, leader) = snapshot_of_a_leader(&dir).await;
    let path = dir.path().join("follower.redb");
    let follower = identity(1);
    let (mut machine, handle, _) = Machine::open(&path, follower.clone()).unwrap();
    machine.apply([entry(1, create(77, 100).1)]).await.unwrap();
    let mut changes = handle.changes();

    let mut data = machine.begin_receiving_snapshot().await.unwrap();
    let SnapshotData::Incoming(incoming) = &mut *data else { panic!() };
    let parts = parts(&snapshot, &leader);
    assert!(parts.len() > 3, "large rows go in messages of their own");
    for part in parts {
        incoming.part(part).unwrap();
    }
    machine.install_snapshot(&snapshot.meta, data).await.unwrap();

    assert!(changes.recv().await.unwrap().replaced);
    let check = |handle: &super::machine::MachineHandle| {
        let names: Vec<String> = handle.state().objects().map(|o| o.name.to_string()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        for (number, bytes) in SIZES {
            let body = handle.body(&create(number, 0).0).unwrap().body;
            assert_eq!(body, vec![number; bytes]);
        }
        handle.body(&create(77, 0).0).unwrap_err();
        handle.body(&create(9, 0).0).unwrap_err();
    };
    check(&handle);
    let applied = machine.applied_state().await.unwrap();
    assert_eq!(applied, (snapshot.meta.last_log_id, snapshot.meta.last_membership.clone()));
    machine.apply([entry(6, create(5, 10).1)]).await.unwrap();
    handle.close();

    let (machine, handle, installed) = Machine::open(&path, follower).unwrap();
    assert_eq!(installed, snapshot.meta.last_log_id);
    assert_eq!(machine.applied().unwrap().index, 6);
    handle.body(&create(5, 0).0).unwrap();
    handle.close();
    let left = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.filter_map(|n| n.into_string().ok()).all(|name| !name.contains("incoming")));
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_or_not_ours_is_refused() {
    let dir = TempDir::new().unwrap();
    let (snapshot, leader) = snapshot_of_a_leader(&dir).await;
    let path = dir.path().join("follower.redb");
    let take = |cluster: u8, change: &dyn Fn(&mut Vec<Part>)| {
        let mut parts = parts(&snapshot, &leader);
        change(&mut parts);
        let mut incoming = Incoming::begin(&path, identity(cluster)).unwrap();
        parts.into_iter().try_for_each(|part| incoming.part(part))?;
        incoming.finish(&snapshot.meta).map(drop)
    };
    take(1, &|_| {}).unwrap();
    let refused = |cluster, change: &dyn Fn(&mut Vec<Part>)| {
        let error = take(cluster, change).unwrap_err();
        assert!(matches!(error, SnapshotError::Unusable(_)), "{error}");
    };
    refused(2, &|_| {});
    refused(1, &|parts| drop(parts.pop()));
    refused(1, &|parts| drop(parts.remove(0)));
    refused(1, &|parts| drop(parts.remove(1)));
    refused(1, &|parts| parts.swap(1, 2));
    refused(1, &|parts| {
        for part in parts {
            if let Part::Rows(rows) = part
                && let Some(sealed) = rows.bodies.first_mut().and_then(|b| b.sealed.as_mut())
            {
                sealed.body[0] ^= 1;
            }
        }
    });
}
