//! Holds `node.keys` to bytes written down once, and made by another implementation.

use super::{Bad, Header, Locked, Progress};
use crate::{
    crypto::{
        key::Key,
        unlock::{Unlocker, code::Given},
    },
    kit::{id::UnlockerId, vectors::Vector},
};
use std::path::Path;

/// The unlockers a header names: each must open the node's keys with the one key that all of them were made with.
fn kinds(vector: &Vector, header: &Header) -> String {
    let open = |id: UnlockerId| {
        let mut locked = Locked::new(Path::new("nowhere"), header.clone(), Vec::new());
        let key = Key::of_vector(&vector.bytes("key"));
        let Progress::Open(keys) = locked.unlock(Given::Key { id, key }, None).unwrap() else {
            panic!("a key opens at once");
        };
        assert!(
            keys.root.is(&vector.bytes("root"))
                && keys.storage.newest().is(&vector.bytes("storage"))
        );
    };
    let kind = |unlocker: &Unlocker| {
        open(unlocker.id);
        unlocker.kind().as_str()
    };
    header.unlockers.iter().map(kind).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_vector_comes_out_as_written_down() {
    let vectors = Vector::all("node");
    assert!(vectors.len() >= 11, "vectors are never deleted");
    for vector in vectors {
        let at = vector.path.display().to_string();
        let bytes = vector.bytes("sealed");
        let outcome = match Header::parse(&bytes) {
            Ok(header) => {
                let (cluster, node) = (header.cluster.to_string(), header.node.to_string());
                assert_eq!((&*cluster, &*node), (vector.text("cluster"), vector.text("node")));
                assert_eq!(kinds(&vector, &header), vector.text("unlockers"), "{at}");
                assert_eq!(header.print(), bytes, "{at}: written again it is other bytes");
                "ok"
            }
            Err(Bad::Foreign) => "foreign",
            Err(Bad::Format(_)) => "format",
            Err(Bad::Damaged) => "damaged",
        };
        assert_eq!(outcome, vector.text("expect"), "{at}");
    }
}
