//! Snapshots from one manager's state file to another's, with other keys.

use super::{
    log::LogIdentity,
    machine::Machine,
    snapshot::{self, Incoming, Part, SnapshotData, SnapshotError},
    testing::{batch, create, entry, identity, sealed},
    types::{Entry, Member, TypeConfig},
};
use openraft::{
    EntryPayload, Membership, RaftSnapshotBuilder, Snapshot, storage::RaftStateMachine,
};
use std::{collections::BTreeSet, sync::Arc};
use tempfile::TempDir;

/// What creates one object.
fn creating(index: u64, number: u64, bytes: usize) -> Entry {
    entry(index, batch(vec![create(number, bytes).1]))
}

const SIZES: [(u64, usize); 4] = [(1, 10), (2, 40_000), (3, 300_000), (4, 900_000)];

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
        machine.apply([creating(number + 1, number, bytes)]).await.unwrap();
    }
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    // Later changes are not part of it.
    machine.apply([creating(9, 9, 10)]).await.unwrap();
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
    machine.apply([creating(1, 77, 100)]).await.unwrap();
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
            let body = handle.body(&create(number, 0).0).unwrap();
            assert_eq!(body, sealed(number, bytes));
        }
        handle.body(&create(77, 0).0).unwrap_err();
        handle.body(&create(9, 0).0).unwrap_err();
    };
    check(&handle);
    let applied = machine.applied_state().await.unwrap();
    assert_eq!(applied, (snapshot.meta.last_log_id, snapshot.meta.last_membership.clone()));
    machine.apply([creating(6, 5, 10)]).await.unwrap();
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
