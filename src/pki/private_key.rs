//! A private key of the CA or of a node: ECDSA P-256, kept as PKCS#8 in wiped memory.

use crate::crypto::{OpenError, plaintext::Plaintext, storage::StorageKeys};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::{
    crypto::ring::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{fmt, sync::Arc};
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes that are no ECDSA P-256 key in PKCS#8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ECDSA P-256 private key")]
pub struct BadKey;

/// A private key; what signs with it is made when needed and does not stay.
pub struct PrivateKey(Plaintext);

impl PrivateKey {
    /// Draws a new key from the kernel.
    pub fn generate() -> Self {
        let mut pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .expect("the kernel gives randomness once booted");
        let pkcs8 = Plaintext::new(pair.serialized_der().to_vec());
        pair.zeroize();
        Self(pkcs8)
    }

    /// Takes a key that was sealed as a payload.
    ///
    /// # Errors
    /// [`BadKey`] if it is not PKCS#8 of an ECDSA P-256 key.
    pub fn from_pkcs8(pkcs8: Plaintext) -> Result<Self, BadKey> {
        let key = Self(pkcs8);
        key.try_signer()?;
        Ok(key)
    }

    /// Gives the key up as PKCS#8, to be sealed.
    pub fn into_pkcs8(self) -> Plaintext {
        self.0
    }

    /// Seals the key for this node's own disk; `aad` says whose it is.
    pub(super) fn sealed(&self, storage: &StorageKeys, aad: &[u8]) -> Vec<u8> {
        storage.seal(aad, self.0.expose())
    }

    /// Opens what [`PrivateKey::sealed`] sealed.
    pub(super) fn open(
        storage: &StorageKeys,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Result<Self, BadKey>, OpenError> {
        let pkcs8 = Zeroizing::new(storage.open(aad, sealed)?);
        Ok(Self::from_pkcs8(Plaintext::from(pkcs8)))
    }

    /// Makes what rcgen signs with.
    pub(super) fn signer(&self) -> Signer {
        self.try_signer().expect("checked when it was taken")
    }

    fn try_signer(&self) -> Result<Signer, BadKey> {
        let der = PrivatePkcs8KeyDer::from(self.0.expose());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map(Signer)
            .map_err(|_| BadKey)
    }

    /// Signs a statement.
    pub(super) fn sign(&self, statement: &[u8]) -> Vec<u8> {
        self.signer().sign(statement).expect("ring signs whatever it is given")
    }

    /// Makes what TLS signs with.
    pub(super) fn tls(&self) -> Arc<dyn rustls::sign::SigningKey> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.expose()));
        any_ecdsa_type(&der).expect("checked when it was taken")
    }

    /// Asks for a certificate: proves that we hold the key. Who we are is for the CA to say.
    ///
    /// Returns a PKCS#10 request, DER.
    pub fn request(&self) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.signer()).expect("an empty request encodes");
        request.der().to_vec()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A key pair whose encoded form is wiped when dropped. (ring does not wipe its own.)
pub(super) struct Signer(KeyPair);

impl Drop for Signer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Signer {
    fn sign(&self, msg: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(msg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_as_the_same_key_for_the_same_owner_only() {
        let (key, storage) =
            (PrivateKey::generate(), StorageKeys::from(crate::crypto::key::Key::random()));
        let sealed = key.sealed(&storage, b"me");
        let opened = PrivateKey::open(&storage, b"me", &sealed).unwrap().unwrap();
        assert_eq!(opened.signer().der_bytes(), key.signer().der_bytes());
        assert_eq!(
            PrivateKey::open(&storage, b"you", &sealed).map(|_| ()).unwrap_err(),
            OpenError::Mismatch
        );
    }

    #[test]
    fn other_bytes_are_no_key() {
        assert_eq!(PrivateKey::from_pkcs8(Plaintext::new(vec![1; 138])).unwrap_err(), BadKey);
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(
            PrivateKey::from_pkcs8(Plaintext::new(ed25519.serialize_der())).unwrap_err(),
            BadKey
        );
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", PrivateKey::generate()), "PrivateKey(..)");
    }
}
