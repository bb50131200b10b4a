//! The cluster's CA: signs who the nodes are. Its key lives sealed in the store and, open, in leading managers.

use super::{
    peer::{BACKDATE, Office, dns_name, uri_name},
    private_key::{BadKey, PrivateKey, Signer},
};
use crate::{
    crypto::plaintext::Plaintext,
    kit::{
        clock::Timestamp,
        hex::Hex,
        id::{ClusterId, NodeId},
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKey, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use std::{fmt, time::Duration};

/// How long a CA is valid, as Swarm has it.
const LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// A request is a key and a signature; more than this many bytes are something else.
const REQUEST_SIZE: usize = 4096;

/// Why the stored CA cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("the CA's certificate cannot be read")]
    Certificate,
    #[error("the CA's private key cannot be read")]
    Key(#[from] BadKey),
    #[error("the CA's private key does not belong to its certificate")]
    Mismatch,
}

/// Why a certificate request was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    #[error("the certificate request cannot be read, or does not prove possession of its key")]
    BadRequest,
    #[error("the certificate request is for a key that is not ECDSA P-256")]
    BadKey,
    #[error("the certificate would end before it begins, or after the year 9999")]
    BadLife,
}

/// SHA-256 over the CA's certificate: what a join token pins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaDigest(pub [u8; 32]);

impl CaDigest {
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// The CA with its private key.
#[derive(Debug)]
pub struct Authority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    key: PrivateKey,
    /// Its certificate signed by the CA before, which goes with every certificate it issues.
    cross_signed: Option<Vec<u8>>,
}

impl Authority {
    /// Makes a CA for the cluster.
    pub fn generate(cluster: ClusterId, now: Timestamp) -> Self {
        let key = PrivateKey::generate();
        let certificate = params(cluster, now).self_signed(&key.signer());
        let certificate = certificate.expect("our own parameters encode").into();
        Self { cluster, certificate, key, cross_signed: None }
    }

    /// Signs the certificate of the CA that is to take this one's place, for those who trust only this one. Returns it, DER.
    pub fn cross_sign(&self, next: &Self, now: Timestamp) -> Vec<u8> {
        let certificate = params(next.cluster, now).signed_by(&next.key.signer(), &self.issuer());
        certificate.expect("our own parameters encode").der().to_vec()
    }

    /// Lets its own certificate as the CA before signed it, DER, go with every certificate it issues.
    #[must_use]
    pub fn crossing(self, cross_signed: Vec<u8>) -> Self {
        Self { cross_signed: Some(cross_signed), ..self }
    }

    fn issuer(&self) -> Issuer<'static, Signer> {
        Issuer::from_ca_cert_der(&self.certificate, self.key.signer())
            .expect("the certificate was read when it was taken")
    }

    /// Takes the CA out of the store: its certificate, DER, and its key as it was sealed.
    ///
    /// # Errors
    /// Either cannot be read, or they do not belong together.
    pub fn open(
        cluster: ClusterId,
        certificate: &[u8],
        key: Plaintext,
    ) -> Result<Self, AuthorityError> {
        let key = PrivateKey::from_pkcs8(key)?;
        let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| AuthorityError::Certificate)?;
        if !rest.is_empty() || !parsed.is_ca() {
            return Err(AuthorityError::Certificate);
        }
        if parsed.public_key().raw != key.signer().subject_public_key_info() {
            return Err(AuthorityError::Mismatch);
        }
        let certificate = certificate.to_vec().into();
        Ok(Self { cluster, certificate, key, cross_signed: None })
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The CA's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub fn digest(&self) -> CaDigest {
        CaDigest::of(&self.certificate)
    }

    /// Gives the CA up as its certificate, DER, and its key, to be sealed.
    pub fn into_parts(self) -> (Vec<u8>, Plaintext) {
        (self.certificate.to_vec(), self.key.into_pkcs8())
    }

    /// Signs a node's request, DER. Of the request only the key counts: id and office are what the caller says.
    ///
    /// Returns the chain, DER: the node's certificate, the CA's, and that once more as the CA before signed it, if it did.
    ///
    /// # Errors
    /// A request that cannot be read or proves nothing; another kind of key; a life out of the calendar.
    pub fn issue(
        &self,
        request: &[u8],
        node: NodeId,
        office: impl Into<Office>,
        now: Timestamp,
        life: Duration,
    ) -> Result<Vec<Vec<u8>>, IssueError> {
        let (key, office) = (read(request)?, office.into());
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, self.cluster.as_str());
        name.push(DnType::OrganizationalUnitName, office.role().to_string());
        name.push(DnType::CommonName, node.as_str());
        params.distinguished_name = name;
        let ascii = |text: String| text.try_into().expect("ids and roles are ASCII");
        params.subject_alt_names = vec![
            SanType::URI(ascii(uri_name(self.cluster, office, node))),
            SanType::DnsName(ascii(dns_name(self.cluster, node))),
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial());
        set_validity(&mut params, now, life).ok_or(IssueError::BadLife)?;
        let certificate = params.signed_by(&key, &self.issuer());
        let certificate = certificate.expect("our own parameters encode").der().to_vec();
        let chain = [certificate, self.certificate.to_vec()].into_iter();
        Ok(chain.chain(self.cross_signed.clone()).collect())
    }
}

/// Returns what tells the key of a certificate request, DER, from all others: SHA-256 over it.
///
/// # Errors
/// A request that cannot be read or proves nothing; another kind of key.
pub fn requested_key(request: &[u8]) -> Result<[u8; 32], IssueError> {
    Ok(Sha256::digest(read(request)?.der_bytes()).into())
}

fn read(request: &[u8]) -> Result<PublicKey, IssueError> {
    if request.len() > REQUEST_SIZE {
        return Err(IssueError::BadRequest);
    }
    let request =
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|_| IssueError::BadRequest)?;
    let key = request.public_key;
    // 65 bytes that start with 4: an uncompressed point of P-256, not of another curve.
    let point = key.der_bytes();
    if *key.algorithm() != PKCS_ECDSA_P256_SHA256 || point.len() != 65 || point[0] != 4 {
        return Err(IssueError::BadKey);
    }
    Ok(key)
}

/// What a CA's certificate says, whoever signs it.
fn params(cluster: ClusterId, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("secretd cluster {cluster}"));
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(random_serial());
    set_validity(&mut params, now, LIFE).expect("the clock shows a year far before 9979");
    params
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, life: Duration) -> Option<()> {
    // Certificates know whole seconds.
    let at = |t: Timestamp| Timestamp(t.0.div_euclid(1000) * 1000).calendar();
    let backdate = i64::try_from(BACKDATE.as_millis()).ok()?;
    params.not_before = at(Timestamp(now.0.saturating_sub(backdate)))?;
    params.not_after = at(now.plus(life))?;
    (params.not_before < params.not_after && !life.is_zero()).then_some(())
}

/// 128 random bits; the first is 0 and the second 1, so that the number is positive and its length steady.
fn random_serial() -> SerialNumber {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives randomness once booted");
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

impl fmt::Display for CaDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for CaDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::node::Role, pki::Peer};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_123);
    const LIFE: Duration = Duration::from_secs(72 * 3600);

    fn authority() -> Authority {
        Authority::generate(ClusterId::from_random([1; 17]), NOW)
    }

    #[test]
    fn id_and_role_are_the_callers_and_times_are_backdated() {
        let (ca, node) = (authority(), NodeId::random());
        let chain =
            ca.issue(&PrivateKey::generate().request(), node, Role::Manager, NOW, LIFE).unwrap();
        let peer = Peer::parse(&chain[0]).unwrap();
        assert_eq!((peer.cluster, peer.node, peer.role), (ca.cluster(), node, Role::Manager));
        assert_eq!(peer.not_before, Timestamp(1_790_000_000_000 - 3_600_000));
        assert_eq!(peer.not_after, Timestamp(1_790_000_000_000).plus(LIFE));
        assert_eq!(chain[1], ca.certificate());
        assert_eq!(peer.raft_id, None, "the role alone admits nobody");
        let admitted = Office::Manager { raft_id: 7 };
        let request = PrivateKey::generate().request();
        let chain = ca.issue(&request, node, admitted, NOW, LIFE).unwrap();
        let peer = Peer::parse(&chain[0]).unwrap();
        assert_eq!((peer.node, peer.role, peer.raft_id), (node, Role::Manager, Some(7)));
    }

    #[test]
    fn what_a_request_says_of_itself_does_not_count() {
        let (ca, node, key) = (authority(), NodeId::random(), PrivateKey::generate());
        let mut params = CertificateParams::new(vec!["evil.example".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let request = params.serialize_request(&key.signer()).unwrap();
        let chain = ca.issue(request.der(), node, Role::Worker, NOW, LIFE).unwrap();
        let peer = Peer::parse(&chain[0]).unwrap();
        assert_eq!((peer.node, peer.role), (node, Role::Worker));
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        assert!(!parsed.is_ca());
        assert!(!format!("{parsed:?}").contains("evil"));
    }

    #[test]
    fn serial_numbers_differ_even_for_the_same_key() {
        let (ca, node, request) = (authority(), NodeId::random(), PrivateKey::generate().request());
        let serial = || {
            let chain = ca.issue(&request, node, Role::Worker, NOW, LIFE).unwrap();
            Peer::parse(&chain[0]).unwrap().serial
        };
        assert_ne!(serial(), serial());
        assert_eq!(serial().to_string().len(), 32);
    }

    #[test]
    fn a_ca_out_of_the_store_signs_as_before() {
        let ca = authority();
        let (cluster, digest) = (ca.cluster(), ca.digest());
        let (certificate, key) = ca.into_parts();
        let again = Authority::open(cluster, &certificate, key).unwrap();
        assert_eq!(again.digest(), digest);
        let request = PrivateKey::generate().request();
        again.issue(&request, NodeId::random(), Role::Worker, NOW, LIFE).unwrap();
    }

    #[test]
    fn certificate_and_key_of_different_cas_are_refused() {
        let (a, b) = (authority(), authority());
        let cluster = a.cluster();
        let ((certificate, _), (_, key)) = (a.into_parts(), b.into_parts());
        let refused = Authority::open(cluster, &certificate, key).map(|_| ()).unwrap_err();
        assert_eq!(refused, AuthorityError::Mismatch);
        let (_, key) = authority().into_parts();
        let refused = Authority::open(cluster, b"nonsense", key).map(|_| ()).unwrap_err();
        assert_eq!(refused, AuthorityError::Certificate);
    }

    #[test]
    fn other_kinds_of_key_and_forged_requests_are_refused() {
        let ca = authority();
        let issue = |der: &[u8]| ca.issue(der, NodeId::random(), Role::Worker, NOW, LIFE);
        for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            let request = CertificateParams::default().serialize_request(&key).unwrap();
            assert_eq!(issue(request.der()), Err(IssueError::BadKey));
        }
        let mut forged = PrivateKey::generate().request();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(issue(&forged), Err(IssueError::BadRequest));
        assert_eq!(issue(&vec![0x30; REQUEST_SIZE + 1]), Err(IssueError::BadRequest));
    }

    #[test]
    fn a_life_of_nothing_is_refused() {
        let request = PrivateKey::generate().request();
        let issue = |life| authority().issue(&request, NodeId::random(), Role::Worker, NOW, life);
        assert_eq!(issue(Duration::ZERO), Err(IssueError::BadLife));
        assert_eq!(issue(Duration::MAX), Err(IssueError::BadLife));
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(bytes: Vec<u8>, at: prop::sample::Index, to: u8) {
            let ca = authority();
            let issue = |der: &[u8]| ca.issue(der, NodeId::random(), Role::Worker, NOW, LIFE);
            prop_assert!(issue(&bytes).is_err());
            let mut request = PrivateKey::generate().request();
            let at = at.index(request.len());
            request[at] = to;
            // Some bytes around the signature say nothing new; here it must only not panic.
            drop(issue(&request));
        }
    }
}
