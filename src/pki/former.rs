//! Judges a node's certificate outside TLS: one that has expired and shall be renewed, or one that was just issued.

use super::peer::{BadCertificate, Peer};
use crate::kit::id::ClusterId;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::parse_x509_certificate;

/// Says what is signed, so that a signature made for something else is worth nothing here.
const RENEWAL: &[u8] = b"secretd/renew/1";
/// Our certificates have about 700 bytes.
const CERTIFICATE_SIZE: usize = 4096;

/// Reads a certificate, DER, that one of our CAs signed for a node of our cluster, whether in time or not.
///
/// # Errors
/// Another cluster's, signed by no CA of ours, or no certificate of a node.
pub fn signed(
    cluster: ClusterId,
    roots: &[&[u8]],
    certificate: &[u8],
) -> Result<Peer, BadCertificate> {
    if certificate.len() > CERTIFICATE_SIZE {
        return Err(BadCertificate::Unreadable);
    }
    let peer = Peer::parse(certificate)?;
    if peer.cluster != cluster {
        return Err(BadCertificate::Cluster(peer.cluster));
    }
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|_| BadCertificate::Unreadable)?;
    let by = |root: &&[u8]| {
        parse_x509_certificate(root)
            .is_ok_and(|(_, ca)| parsed.verify_signature(Some(ca.public_key())).is_ok())
    };
    if roots.iter().any(by) { Ok(peer) } else { Err(BadCertificate::Issuer) }
}

/// As [`signed`], for whoever holds the certificate's key: `signature` is its
/// [`renewal`](super::Identity::renewal) of `request`.
///
/// # Errors
/// As [`signed`], and a signature by another key or over something else.
pub fn former(
    cluster: ClusterId,
    roots: &[&[u8]],
    certificate: &[u8],
    request: &[u8],
    signature: &[u8],
) -> Result<Peer, BadCertificate> {
    let peer = signed(cluster, roots, certificate)?;
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|_| BadCertificate::Unreadable)?;
    let key = &parsed.public_key().subject_public_key.data;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
        .verify(&statement(request), signature)
        .map_err(|_| BadCertificate::Possession)?;
    Ok(peer)
}

/// What the old key signs.
pub(super) fn statement(request: &[u8]) -> Vec<u8> {
    [RENEWAL, request].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{clock::Timestamp, id::NodeId},
        model::node::Role,
        pki::{Authority, Identity, PrivateKey},
    };
    use std::time::Duration;

    const LONG_AGO: Timestamp = Timestamp(1_500_000_000_000);

    fn identity(ca: &Authority) -> Identity {
        let (key, hour) = (PrivateKey::generate(), Duration::from_secs(3600));
        let chain = ca.issue(&key.request(), NodeId::random(), Role::Worker, LONG_AGO, hour);
        Identity::new(key, chain.unwrap()).unwrap()
    }

    #[test]
    fn an_expired_certificate_counts_for_whoever_holds_its_key() {
        let ca = Authority::generate(ClusterId::random(), LONG_AGO);
        let (mine, other) = (identity(&ca), identity(&ca));
        let request = PrivateKey::generate().request();
        let judge = |signature: &[u8], request: &[u8]| {
            former(ca.cluster(), &[ca.certificate()], &mine.chain()[0], request, signature)
        };
        assert_eq!(judge(&mine.renewal(&request), &request).unwrap(), **mine.peer());
        let another = PrivateKey::generate().request();
        for (signature, request) in [
            (other.renewal(&request), &request),
            (mine.renewal(&another), &request),
            (Vec::new(), &request),
        ] {
            assert_eq!(judge(&signature, request), Err(BadCertificate::Possession));
        }
    }

    #[test]
    fn a_certificate_of_another_ca_or_cluster_does_not_count() {
        let ca = Authority::generate(ClusterId::random(), LONG_AGO);
        let forger = Authority::generate(ca.cluster(), LONG_AGO);
        let leaf = identity(&forger).chain().remove(0);
        let of = |cluster, root| signed(cluster, &[root], &leaf);
        assert_eq!(of(ca.cluster(), ca.certificate()), Err(BadCertificate::Issuer));
        of(ca.cluster(), forger.certificate()).unwrap();
        let elsewhere = of(ClusterId::random(), forger.certificate());
        assert_eq!(elsewhere, Err(BadCertificate::Cluster(ca.cluster())));
    }
}
