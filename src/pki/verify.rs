//! Judges the certificate at the other end: signed by our CA, in time, a node of our cluster, and the one we called.

use super::{
    authority::CaDigest,
    peer::{BadCertificate, KeyId, Peer},
    refusal::TlsRefusal,
    tls::{TlsError, provider},
};
use crate::{kit::id::ClusterId, model::node::Role};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{cell::RefCell, fmt, sync::Arc};

/// The CAs that are trusted at a time.
pub(super) struct Trust {
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
    keys: Vec<KeyId>,
}

impl Trust {
    pub(super) fn new(roots: &[&[u8]]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(*root)).map_err(TlsError::Root)?;
        }
        if store.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let store = Arc::new(store);
        let not_empty = "the builders refuse only an empty store";
        Ok(Self {
            clients: WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), provider())
                .build()
                .expect(not_empty),
            servers: WebPkiServerVerifier::builder_with_provider(store, provider())
                .build()
                .expect(not_empty),
            keys: roots.iter().filter_map(|root| KeyId::of(root)).collect(),
        })
    }

    pub(super) fn has(&self, key: &KeyId) -> bool {
        self.keys.contains(key)
    }
}

/// Verifies both ends with the trust of the moment.
pub(super) struct Verify {
    cluster: ClusterId,
    trust: Box<dyn Fn() -> Arc<Trust> + Send + Sync>,
    provider: Arc<CryptoProvider>,
}

impl Verify {
    pub(super) fn new(
        cluster: ClusterId,
        trust: impl Fn() -> Arc<Trust> + Send + Sync + 'static,
    ) -> Self {
        Self { cluster, trust: Box::new(trust), provider: provider() }
    }

    /// Reads the identity, which must be one of our cluster.
    fn peer(&self, certificate: &CertificateDer<'_>) -> Result<Peer, Error> {
        let peer = Peer::parse(certificate).map_err(refused)?;
        if peer.cluster != self.cluster {
            return Err(refused(BadCertificate::Cluster(peer.cluster)));
        }
        Ok(peer)
    }
}

tokio::task_local! {
    /// Who the client of the handshake that this task performs says it is. TLS itself tells nothing of one it refused.
    static CLAIMED: RefCell<Option<Peer>>;
}

/// Performs a handshake, and returns with it who the client says it is.
pub(super) async fn claimed<H: Future>(handshake: H) -> (H::Output, Option<Peer>) {
    let both = async {
        let done = handshake.await;
        (done, CLAIMED.with(RefCell::take))
    };
    CLAIMED.scope(RefCell::new(None), both).await
}

fn refused(why: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// All CAs of a cluster have one name, so one that we do not trust shows by a signature that does not fit.
fn not_ours(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            Error::InvalidCertificate(CertificateError::UnknownIssuer)
        }
        other => other,
    }
}

/// Our CA signs with nothing else.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ECDSA_NISTP256_SHA256]
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".into())
}

impl ClientCertVerifier for Verify {
    /// A machine that wants to join has no certificate yet; every call checks that there is one where it must be.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Empty: names borrowed here could not change while the listener lives.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Nobody learns who claimed to be whom unless it goes wrong.
        drop(CLAIMED.try_with(|claimed| claimed.replace(Peer::parse(end_entity).ok())));
        let trust = (self.trust)();
        let verified = trust.clients.verify_client_cert(end_entity, intermediates, now);
        let verified = verified.map_err(not_ours)?;
        self.peer(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = (self.trust)().servers.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let verified = verified.map_err(not_ours)?;
        let peer = self.peer(end_entity)?;
        if peer.role != Role::Manager {
            return Err(refused(BadCertificate::NoManager(peer.node)));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl fmt::Debug for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Verifies the first manager a joining machine meets: any manager under the CA that the token pins.
#[derive(Debug)]
pub(super) struct Pinned {
    ca: CaDigest,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(ca: CaDigest) -> Self {
        Self { ca, provider: provider() }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|der| CaDigest::of(der) == self.ca)
            .ok_or_else(|| refused(TlsRefusal::AnotherCa))?;
        let mut store = RootCertStore::empty();
        store.add(root.clone().into_owned())?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &store,
            &[],
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        let peer = Peer::parse(end_entity).map_err(refused)?;
        if peer.role != Role::Manager {
            return Err(refused(BadCertificate::NoManager(peer.node)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
