//! A node's own identity: its certificate chain and the private key that belongs to it.

use super::{
    former::statement,
    peer::{BadCertificate, Peer},
    private_key::{BadKey, PrivateKey},
};
use crate::crypto::{OpenError, storage::StorageKeys};
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};
use std::sync::Arc;

/// Why a certificate and a key do not make an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the node's certificate is not usable")]
    Certificate(#[from] BadCertificate),
    #[error("the node's private key does not open")]
    Sealed(#[from] OpenError),
    #[error("the node's private key is not usable")]
    Key(#[from] BadKey),
    #[error("the node's private key does not belong to its certificate")]
    Mismatch,
}

/// Who this node is, with the means to prove it.
#[derive(Debug)]
pub struct Identity {
    key: PrivateKey,
    certified: Arc<CertifiedKey>,
    peer: Arc<Peer>,
}

impl Identity {
    /// Joins a key and the chain that the CA issued for it, DER, the node's own certificate first.
    ///
    /// # Errors
    /// The certificate is not one of a node, or belongs to another key.
    pub fn new(key: PrivateKey, chain: Vec<Vec<u8>>) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(BadCertificate::Unreadable)?;
        let peer = Arc::new(Peer::parse(leaf)?);
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let certified = CertifiedKey::new(chain, key.tls());
        certified.keys_match().map_err(|_| IdentityError::Mismatch)?;
        Ok(Self { key, certified: Arc::new(certified), peer })
    }

    /// The identity as others will see it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The certificates, DER, the node's own first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.certified.cert.iter().map(|der| der.to_vec()).collect()
    }

    /// Seals the private key for this node's disk, to be stored beside [`Identity::chain`].
    pub fn sealed_key(&self, storage: &StorageKeys) -> Vec<u8> {
        self.key.sealed(storage, &aad(&self.peer))
    }

    /// Takes an identity from this node's disk.
    ///
    /// # Errors
    /// As [`Identity::new`], and if the key was sealed with another storage key or for another node.
    pub fn open(
        storage: &StorageKeys,
        chain: Vec<Vec<u8>>,
        sealed_key: &[u8],
    ) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(BadCertificate::Unreadable)?;
        let key = PrivateKey::open(storage, &aad(&Peer::parse(leaf)?), sealed_key)??;
        Self::new(key, chain)
    }

    /// Signs a request for the next certificate, for when TLS no longer shows this one.
    pub fn renewal(&self, request: &[u8]) -> Vec<u8> {
        self.key.sign(&statement(request))
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// Ids have one length, so they need no separator.
fn aad(peer: &Peer) -> Vec<u8> {
    format!("identity{}{}", peer.cluster, peer.node).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{
            clock::Timestamp,
            id::{ClusterId, NodeId},
        },
        model::node::Role,
        pki::Authority,
    };
    use std::time::Duration;

    fn issue(key: &PrivateKey) -> Vec<Vec<u8>> {
        let now = Timestamp(1_790_000_000_000);
        Authority::generate(ClusterId::random(), now)
            .issue(&key.request(), NodeId::random(), Role::Worker, now, Duration::from_secs(3600))
            .unwrap()
    }

    #[test]
    fn an_identity_comes_back_from_disk() {
        let (key, storage) =
            (PrivateKey::generate(), StorageKeys::from(crate::crypto::key::Key::random()));
        let chain = issue(&key);
        let identity = Identity::new(key, chain).unwrap();
        let again =
            Identity::open(&storage, identity.chain(), &identity.sealed_key(&storage)).unwrap();
        assert_eq!(again.peer(), identity.peer());
        assert_eq!(again.chain(), identity.chain());
    }

    #[test]
    fn a_key_sealed_for_another_node_or_under_another_key_is_refused() {
        let (a, b, storage) = (
            PrivateKey::generate(),
            PrivateKey::generate(),
            StorageKeys::from(crate::crypto::key::Key::random()),
        );
        let (a_chain, b_chain) = (issue(&a), issue(&b));
        let sealed = Identity::new(a, a_chain.clone()).unwrap().sealed_key(&storage);
        for (storage, chain) in
            [(&storage, b_chain), (&StorageKeys::from(crate::crypto::key::Key::random()), a_chain)]
        {
            let error = Identity::open(storage, chain, &sealed).unwrap_err();
            assert!(matches!(error, IdentityError::Sealed(OpenError::Mismatch)), "{error}");
        }
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let chain = issue(&PrivateKey::generate());
        let error = Identity::new(PrivateKey::generate(), chain).unwrap_err();
        assert!(matches!(error, IdentityError::Mismatch), "{error}");
        let error = Identity::new(PrivateKey::generate(), vec![]).unwrap_err();
        assert!(matches!(error, IdentityError::Certificate(_)), "{error}");
    }
}
