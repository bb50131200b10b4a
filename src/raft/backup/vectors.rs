//! Holds backups to bytes written down once, and made by another implementation.

use super::{BackupError, Header, Reader, backup_part, v1};
use crate::{
    crypto::key::{Key, Storage},
    kit::vectors::Vector,
    raft::snapshot::Part,
};
use prost::Message as _;

fn check(vector: &Vector, header: &Header) -> Key<Storage> {
    let Header { id, cluster, created_at, index, version, unlockers, wrapped_key } = header;
    assert_eq!(id.as_str(), vector.text("id"));
    assert_eq!(cluster.as_str(), vector.text("cluster"));
    assert_eq!(created_at.0.to_string(), vector.text("created-at-ms"));
    assert_eq!((*index, &**version), (vector.number("index"), vector.text("version")));
    let kinds: Vec<_> = unlockers.iter().map(|unlocker| unlocker.kind().as_str()).collect();
    assert_eq!(kinds.join(" "), vector.text("unlockers"));
    for unlocker in unlockers {
        let root = unlocker.unlock(*cluster, &Key::of_vector(&vector.bytes("key"))).unwrap();
        assert!(root.is(&vector.bytes("root")));
    }
    let root = Key::of_vector(&vector.bytes("root"));
    let key = Key::<Storage>::open(&root, *cluster, *id, wrapped_key).unwrap();
    assert!(key.is(&vector.bytes("backup-key")));
    key
}

/// The parts of a backup as protobuf, and how the reading ended.
fn read(vector: &Vector) -> (Vec<Vec<u8>>, Result<(), BackupError>) {
    let bytes = vector.bytes("sealed");
    let mut parts = Vec::new();
    let mut reader = match Reader::begin(&*bytes) {
        Ok(reader) => reader,
        Err(error) => return (parts, Err(error)),
    };
    let key = check(vector, reader.header());
    let printed = reader.header().print();
    assert_eq!(bytes[51..51 + printed.len()], printed, "written again it is other bytes");
    loop {
        let part = match reader.next(&key) {
            Ok(Some(Part::Header(header))) => backup_part::Part::Header(header),
            Ok(Some(Part::Rows(rows))) => backup_part::Part::Rows(rows),
            Ok(Some(Part::End(end))) => backup_part::Part::End(end),
            Ok(None) => return (parts, Ok(())),
            Err(error) => return (parts, Err(error)),
        };
        parts.push(v1::BackupPart { part: Some(part) }.encode_to_vec());
    }
}

#[test]
fn every_vector_comes_out_as_written_down() {
    let vectors = Vector::all("backup");
    assert!(vectors.len() >= 11, "vectors are never deleted");
    for vector in vectors {
        let at = vector.path.display();
        let (parts, end) = read(&vector);
        let outcome = match end {
            Ok(()) => "ok",
            Err(BackupError::Foreign) => "foreign",
            Err(BackupError::Format(_)) => "format",
            Err(BackupError::Damaged(_)) => "damaged",
            Err(BackupError::Cut) => "cut",
            Err(BackupError::Open { .. }) => "open",
            Err(other) => panic!("{at}: {other}"),
        };
        assert_eq!(outcome, vector.text("expect"), "{at}");
        let expected = (0..vector.number("parts")).map(|n| vector.bytes(&format!("part-{n}")));
        assert_eq!(parts, expected.collect::<Vec<_>>(), "{at}");
    }
}
