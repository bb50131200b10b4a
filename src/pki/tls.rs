//! One node's TLS: what it shows and whom it trusts, exchangeable while listeners and channels live.
//!
//! TLS 1.3 only, ALPN h2, no session resumption: a resumed session would skip the check of a certificate that
//! may have lost our trust since.

use super::{
    authority::CaDigest,
    identity::Identity,
    peer::{BadCertificate, KeyId, Peer},
    verify::{Pinned, Trust, Verify},
};
use crate::kit::{clock::Clock, id::ClusterId};
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    ClientConfig, ServerConfig,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, ring},
    pki_types::UnixTime,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

const ALPN: &[u8] = b"h2";

/// Why a CA certificate or an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the CA's certificate cannot be used")]
    Root(#[source] rustls::Error),
    #[error("no CA certificate was given")]
    NoRoots,
    #[error(transparent)]
    Foreign(#[from] BadCertificate),
}

/// A handle to this node's TLS; clones share what is set.
#[derive(Clone)]
pub struct Tls(Arc<State>);

struct State {
    cluster: ClusterId,
    clock: Clock,
    shown: ArcSwapOption<Shown>,
    trust: ArcSwap<Trust>,
    /// Changes whenever one of the two above does.
    changes: watch::Sender<()>,
}

/// What we show of ourselves.
struct Shown {
    certified: Arc<CertifiedKey>,
    peer: Arc<Peer>,
}

impl Tls {
    /// Trusts these CAs of `cluster`, DER, and shows nothing yet.
    ///
    /// # Errors
    /// No CA, or bytes that are no CA's certificate.
    pub fn new(cluster: ClusterId, roots: &[&[u8]], clock: Clock) -> Result<Self, TlsError> {
        let trust = ArcSwap::from_pointee(Trust::new(roots)?);
        let (shown, changes) = (ArcSwapOption::empty(), watch::Sender::new(()));
        Ok(Self(Arc::new(State { cluster, clock, shown, trust, changes })))
    }

    /// Shows this identity on connections opened or accepted from now on.
    ///
    /// # Errors
    /// The identity is one of another cluster.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), TlsError> {
        let peer = Arc::clone(identity.peer());
        if peer.cluster != self.0.cluster {
            return Err(BadCertificate::Cluster(peer.cluster).into());
        }
        self.0.shown.store(Some(Arc::new(Shown { certified: identity.certified(), peer })));
        self.0.changes.send_replace(());
        Ok(())
    }

    /// Trusts exactly these CAs, DER. Open connections with nodes under a CA that was trusted and is not any more end.
    ///
    /// # Errors
    /// As [`Tls::new`]; then nothing changes.
    pub fn set_roots(&self, roots: &[&[u8]]) -> Result<(), TlsError> {
        self.0.trust.store(Arc::new(Trust::new(roots)?));
        self.0.changes.send_replace(());
        Ok(())
    }

    /// Whether the CA with this key is one that we trust.
    pub(super) fn trusts(&self, issuer: &KeyId) -> bool {
        self.0.trust.load().has(issuer)
    }

    /// Waits until what is shown and trusted is so.
    pub async fn until(&self, so: impl Fn(&Self) -> bool) {
        let mut changes = self.0.changes.subscribe();
        while !so(self) {
            // The sender is ours, so it is there.
            drop(changes.changed().await);
        }
    }

    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Who we show ourselves to be.
    pub fn peer(&self) -> Option<Arc<Peer>> {
        self.0.shown.load().as_ref().map(|shown| Arc::clone(&shown.peer))
    }

    /// The configuration of a listener. A client may come without a certificate, but not with a bad one.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_details(provider(), self.time())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3");
        let mut config = builder
            .with_client_cert_verifier(Arc::new(self.verify()))
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// The configuration of a client of our managers.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_details(provider(), self.time())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3");
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verify()))
            .with_client_cert_resolver(Arc::new(self.clone()));
        finish_client(config)
    }

    fn verify(&self) -> Verify {
        let state = Arc::clone(&self.0);
        Verify::new(self.0.cluster, move || state.trust.load_full())
    }

    fn time(&self) -> Arc<Time> {
        Arc::new(Time(self.0.clock.clone()))
    }
}

/// The configuration of a machine that knows nothing but the digest in its join token, and shows nothing.
pub(super) fn pinned_config(ca: CaDigest, clock: &Clock) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3");
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(ca)))
        .with_no_client_auth();
    finish_client(config)
}

fn finish_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    // Which node we call is nobody's business on the way; the server has but one certificate anyway.
    config.enable_sni = false;
    Arc::new(config)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.shown.load().as_ref().map(|shown| Arc::clone(&shown.certified))
    }
}

impl ResolvesClientCert for Tls {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.shown.load().as_ref().map(|shown| Arc::clone(&shown.certified))
    }

    fn has_certs(&self) -> bool {
        self.0.shown.load().is_some()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cluster", &self.0.cluster)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// Lets certificates be judged by our clock.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(ms)))
    }
}
