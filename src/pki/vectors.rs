//! Holds certificates and join tokens to bytes written down once, and made by another implementation.

use super::{BadCertificate, BadToken, CaDigest, JoinToken, Peer, TokenHash};
use crate::kit::{clock::Timestamp, vectors::Vector};

fn certificate(vector: &Vector) -> Result<(), &'static str> {
    let peer = Peer::parse(&vector.bytes("der")).map_err(|error| match error {
        BadCertificate::Unreadable => "unreadable",
        BadCertificate::Names => "names",
        BadCertificate::Usage => "usage",
        BadCertificate::Cluster(_)
        | BadCertificate::NoManager(_)
        | BadCertificate::Issuer
        | BadCertificate::Possession => "not for parse to say",
    })?;
    let Peer { cluster, node, role, raft_id, not_before, not_after, serial, issuer: _, key: _ } =
        peer;
    let moment = |name| Timestamp(i64::try_from(vector.number(name)).unwrap());
    assert_eq!((cluster.as_str(), node.as_str()), (vector.text("cluster"), vector.text("node")));
    assert_eq!(role.to_string(), vector.text("role"));
    // Vectors from before there was one have no such field.
    assert_eq!(raft_id, vector.has("raft-id").then(|| vector.number("raft-id")));
    assert_eq!((not_before, not_after), (moment("not-before-ms"), moment("not-after-ms")));
    assert_eq!(serial.to_string().len(), 32);
    Ok(())
}

fn token(vector: &Vector) -> Result<(), &'static str> {
    let token: JoinToken = vector.text("text").parse().map_err(|BadToken| "bad")?;
    assert_eq!(token.ca, CaDigest(vector.bytes("ca").try_into().unwrap()));
    assert_eq!(token.hash(), TokenHash(vector.bytes("hash").try_into().unwrap()));
    assert_eq!(*token.reveal(), vector.text("text"));
    Ok(())
}

#[test]
fn every_vector_comes_out_as_written_down() {
    let vectors = Vector::all("pki");
    assert!(vectors.len() >= 27, "vectors are never deleted");
    for vector in vectors {
        let outcome = match vector.text("kind") {
            "certificate" => certificate(&vector),
            "token" => token(&vector),
            other => panic!("{} is of unknown kind {other}", vector.path.display()),
        };
        let expected = match vector.text("expect") {
            "ok" => Ok(()),
            error => Err(error),
        };
        assert_eq!(outcome, expected, "{}", vector.path.display());
    }
}
