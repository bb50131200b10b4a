//! Who is at the other end: an identity read, strictly, out of a certificate that our CA signed.

use crate::{
    kit::{
        clock::Timestamp,
        hex::Hex,
        id::{ClusterId, NodeId},
    },
    model::{
        node::Role,
        sightings::{KeyHash, ShownKey},
    },
};
use sha2::{Digest as _, Sha256};
use std::{fmt, time::Duration};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate, X509Version},
};

/// Certificates are valid from this long before they were issued, for nodes whose clock is behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// Why a certificate is not one of a node of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate does not name exactly one node by a spiffe:// URI and its DNS name")]
    Names,
    #[error("the certificate is not for TLS servers and clients")]
    Usage,
    #[error("the certificate belongs to cluster {0}")]
    Cluster(ClusterId),
    #[error("node {0} is no manager")]
    NoManager(NodeId),
    #[error("the certificate is signed by none of the cluster's CAs")]
    Issuer,
    #[error("whoever shows the certificate does not hold its key")]
    Possession,
}

/// A certificate's serial number, big-endian; the CA gives each certificate another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

/// A node of a cluster, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub role: Role,
    /// Under which the cluster admitted this manager to its Raft group; a worker has none, nor has a manager before its
    /// admission.
    pub raft_id: Option<u64>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub serial: Serial,
    /// The key of the CA that signed it; ours always say.
    pub issuer: Option<KeyId>,
    /// Of its own public key.
    pub key: KeyHash,
}

/// What a certificate says that its node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Office {
    Worker,
    /// It shall be a manager, and may ask for its admission.
    Candidate,
    /// A manager, admitted to the Raft group under this id, which is never 0. Only a certificate that says so opens
    /// anything of Raft's.
    Manager {
        raft_id: u64,
    },
}

/// One that was not admitted.
impl From<Role> for Office {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::Manager => Self::Candidate,
        }
    }
}

impl Office {
    pub fn role(self) -> Role {
        match self {
            Self::Worker => Role::Worker,
            Self::Candidate | Self::Manager { raft_id: _ } => Role::Manager,
        }
    }

    pub fn raft_id(self) -> Option<u64> {
        match self {
            Self::Worker | Self::Candidate => None,
            Self::Manager { raft_id } => Some(raft_id),
        }
    }

    /// Reads what follows the cluster in the identity, up to the node's id, and what may follow that.
    fn read(role: &str, raft_id: Option<&str>) -> Option<Self> {
        match (role, raft_id) {
            ("worker", None) => Some(Self::Worker),
            ("manager", None) => Some(Self::Candidate),
            ("manager", Some(text)) => {
                let raft_id = text.parse().ok().filter(|id| *id > 0)?;
                // One way to write each: no sign, no zeros before it.
                (u64::to_string(&raft_id) == text).then_some(Self::Manager { raft_id })
            }
            _ => None,
        }
    }
}

/// Names the key of a CA: the subject key identifier in its certificate.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyId(Vec<u8>);

impl KeyId {
    /// The key of the CA with this certificate, DER; nothing if it does not say.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(Self(id.0.to_vec())),
            _ => None,
        })
    }

    fn of_issuer(certificate: &X509Certificate<'_>) -> Option<Self> {
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| Self(id.0.to_vec()))
            }
            _ => None,
        })
    }
}

impl Peer {
    /// Reads the identity out of a node certificate, DER. Whether our CA signed it was checked by TLS.
    ///
    /// # Errors
    /// Anything but the one form that [`Authority`](super::Authority) writes.
    pub fn parse(der: &[u8]) -> Result<Self, BadCertificate> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| BadCertificate::Unreadable)?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 {
            return Err(BadCertificate::Unreadable);
        }
        check_usage(&certificate).ok_or(BadCertificate::Usage)?;
        let (cluster, office, node) = names(&certificate).ok_or(BadCertificate::Names)?;
        let validity = certificate.validity();
        let moment = |t: x509_parser::time::ASN1Time| Timestamp(t.timestamp().saturating_mul(1000));
        Ok(Self {
            cluster,
            node,
            role: office.role(),
            raft_id: office.raft_id(),
            not_before: moment(validity.not_before),
            not_after: moment(validity.not_after),
            serial: Serial(certificate.raw_serial().to_vec()),
            issuer: KeyId::of_issuer(&certificate),
            key: KeyHash(Sha256::digest(certificate.public_key().raw).into()),
        })
    }

    /// The key it shows, as the node's row is asked about it.
    pub fn shown(&self) -> ShownKey {
        ShownKey { key: self.key, expires_at: self.not_after }
    }

    /// Whether it is good now.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// When to renew: between 50 % and 80 % of the certificate's life; `random` is any number and picks where.
    pub fn renew_at(&self, random: u32) -> Timestamp {
        let issued = self.not_before.plus(BACKDATE).min(self.not_after);
        let share = 0.5 + 0.3 * f64::from(random) / f64::from(u32::MAX);
        issued.plus(self.not_after.since(issued).mul_f64(share))
    }
}

/// `spiffe://<cluster>/<role>/<node>`, the identity; an admitted manager's ends in `/<raft id>`.
pub(super) fn uri_name(cluster: ClusterId, office: Office, node: NodeId) -> String {
    let role = office.role();
    match office {
        Office::Worker | Office::Candidate => format!("spiffe://{cluster}/{role}/{node}"),
        Office::Manager { raft_id } => format!("spiffe://{cluster}/{role}/{node}/{raft_id}"),
    }
}

/// `<node>.<cluster>.internal`, what a client asks for whatever the address.
pub(super) fn dns_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{node}.{cluster}.internal")
}

fn check_usage(certificate: &X509Certificate<'_>) -> Option<()> {
    let usage = certificate.extended_key_usage().ok()??.value;
    (usage.server_auth && usage.client_auth && !usage.any && !certificate.is_ca()).then_some(())
}

fn names(certificate: &X509Certificate<'_>) -> Option<(ClusterId, Office, NodeId)> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let [GeneralName::URI(uri), GeneralName::DNSName(dns)] = names.as_slice() else { return None };
    let mut parts = uri.strip_prefix("spiffe://")?.split('/');
    let cluster: ClusterId = parts.next()?.parse().ok()?;
    let (role, node) = (parts.next()?, parts.next()?.parse().ok()?);
    let office = Office::read(role, parts.next())?;
    (parts.next().is_none() && *dns == dns_name(cluster, node)).then_some((cluster, office, node))
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};

    fn ids() -> (ClusterId, NodeId) {
        (ClusterId::from_random([1; 17]), NodeId::from_random([2; 17]))
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    /// A certificate with these names and otherwise as it should be, signed by itself.
    fn certificate(names: Vec<SanType>, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "x");
        params.subject_alt_names = names;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_one_right_form_is_read() {
        let (cluster, node) = ids();
        for (role, text) in [(Role::Manager, "manager"), (Role::Worker, "worker")] {
            let names = vec![
                uri(&format!("spiffe://{cluster}/{text}/{node}")),
                dns(&format!("{node}.{cluster}.internal")),
            ];
            let peer = Peer::parse(&certificate(names, |_| {})).unwrap();
            assert_eq!((peer.cluster, peer.node, peer.role), (cluster, node, role));
            assert_eq!(peer.raft_id, None);
        }
    }

    #[test]
    fn an_admitted_manager_says_under_which_raft_id_in_one_way_only() {
        let (cluster, node) = ids();
        let read = |role: &str, raft_id: &str| {
            let uri = uri(&format!("spiffe://{cluster}/{role}/{node}/{raft_id}"));
            Peer::parse(&certificate(vec![uri, dns(&dns_name(cluster, node))], |_| {}))
        };
        for raft_id in [1, 7, 10, u64::MAX] {
            let peer = read("manager", &raft_id.to_string()).unwrap();
            assert_eq!((peer.role, peer.raft_id), (Role::Manager, Some(raft_id)));
            let written = uri_name(cluster, Office::Manager { raft_id }, node);
            assert_eq!(written, format!("spiffe://{cluster}/manager/{node}/{raft_id}"));
        }
        let bad = ["", "0", "01", "+1", "-1", "1/", "1/2", " 1", "1 ", "x", "18446744073709551616"];
        for raft_id in bad {
            assert_eq!(read("manager", raft_id), Err(BadCertificate::Names), "{raft_id:?}");
        }
        assert_eq!(read("worker", "1"), Err(BadCertificate::Names));
    }

    #[test]
    fn other_names_are_refused() {
        let (cluster, node) = ids();
        let right = || dns(&dns_name(cluster, node));
        let good = uri_name(cluster, Office::Worker, node);
        for names in [
            vec![],
            vec![uri(&good)],
            vec![right()],
            vec![right(), uri(&good)],
            vec![uri(&good), right(), right()],
            vec![uri(&good), uri(&good), right()],
            vec![uri(&good), dns("other.internal")],
            vec![uri(&good), dns(&dns_name(cluster, NodeId::random()))],
            vec![uri(&format!("{good}/")), right()],
            vec![uri(&format!("{good}/more")), right()],
            vec![uri(&good.replace("spiffe", "SPIFFE")), right()],
            vec![uri(&good.replace("worker", "Worker")), right()],
            vec![uri(&good.replace("worker", "operator")), right()],
            vec![uri(&good.replace("spiffe://", "spiffe://x@")), right()],
        ] {
            let der = certificate(names.clone(), |_| {});
            assert_eq!(Peer::parse(&der), Err(BadCertificate::Names), "{names:?}");
        }
    }

    #[test]
    fn authorities_and_certificates_for_other_uses_are_refused() {
        let (cluster, node) = ids();
        let names =
            || vec![uri(&uri_name(cluster, Office::Worker, node)), dns(&dns_name(cluster, node))];
        let ca = certificate(names(), |p| {
            p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert_eq!(Peer::parse(&ca), Err(BadCertificate::Usage));
        for one in [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth] {
            let der = certificate(names(), |p| p.extended_key_usages = vec![one]);
            assert_eq!(Peer::parse(&der), Err(BadCertificate::Usage));
        }
    }

    #[test]
    fn trailing_bytes_and_cuts_are_refused() {
        let (cluster, node) = ids();
        let names =
            vec![uri(&uri_name(cluster, Office::Worker, node)), dns(&dns_name(cluster, node))];
        let mut der = certificate(names, |_| {});
        for len in 0..der.len() {
            Peer::parse(&der[..len]).unwrap_err();
        }
        der.push(0);
        assert_eq!(Peer::parse(&der), Err(BadCertificate::Unreadable));
    }

    #[test]
    fn renewal_falls_between_half_and_four_fifths_of_life() {
        let (cluster, node) = ids();
        let issued = Timestamp(1_000_000_000_000);
        let peer = Peer {
            cluster,
            node,
            role: Role::Worker,
            raft_id: None,
            not_before: Timestamp(issued.0 - 3_600_000),
            not_after: issued.plus(Duration::from_secs(100_000)),
            serial: Serial(vec![1]),
            issuer: None,
            key: KeyHash([0; 32]),
        };
        assert_eq!(peer.renew_at(0), issued.plus(Duration::from_secs(50_000)));
        assert_eq!(peer.renew_at(u32::MAX), issued.plus(Duration::from_secs(80_000)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert!(Peer::parse(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_does_not_make_it_panic(at: prop::sample::Index, to: u8) {
            let (cluster, node) = ids();
            let names = vec![uri(&uri_name(cluster, Office::Worker, node)), dns(&dns_name(cluster, node))];
            let mut der = certificate(names, |_| {});
            let at = at.index(der.len());
            der[at] = to;
            // Refused or not is for the signature to say; here it must only not panic.
            drop(Peer::parse(&der));
        }
    }
}
