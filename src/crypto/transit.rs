//! Seals the payloads of one stream, so that the buffers they pass through never hold what somebody could still open.
//!
//! ```text
//! key 0     = HKDF-SHA-256(X25519(share of one side, share of the other), info = binding of both shares, 32 bytes)
//! key n + 1 = HKDF-SHA-256(key n, info = "secretd/transit/1/next", 32 bytes)
//! ```
//!
//! Each payload is an envelope under the next key, and both sides forget a key as soon as it has sealed or opened one. Who sent a
//! share is not proved here: a stream is inside mutual TLS, which keeps its own buffers.

use super::{
    OpenError,
    envelope::{self, Binding},
    plaintext::Plaintext,
};
use hkdf::Hkdf;
use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    rand::SystemRandom,
};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const LABEL: &str = "secretd/transit/1";
const NEXT: &[u8] = b"secretd/transit/1/next";

/// The other side's share is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a share of a key: 32 bytes, X25519")]
pub struct BadShare;

/// One side's half of a stream's key, drawn for this stream alone.
pub struct Offer {
    private: EphemeralPrivateKey,
    share: Vec<u8>,
}

impl Offer {
    /// Draws a new one.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())
            .expect("the kernel gives randomness once booted");
        let share = private.compute_public_key().expect("an X25519 key has a public one");
        Self { private, share: share.as_ref().to_vec() }
    }

    /// What the other side has to know.
    pub fn share(&self) -> &[u8] {
        &self.share
    }

    /// The keys, from what the other side answered.
    ///
    /// # Errors
    /// [`BadShare`].
    pub fn agree(self, answer: &[u8]) -> Result<Transit, BadShare> {
        let binding = Binding::new(LABEL).field(&self.share).field(answer);
        self.keys(answer, binding)
    }

    /// Answers the other side's share: the keys, and the share that lets it have them too.
    ///
    /// # Errors
    /// [`BadShare`].
    pub fn answer(share: &[u8]) -> Result<(Transit, Vec<u8>), BadShare> {
        let own = Self::new();
        let (binding, answer) =
            (Binding::new(LABEL).field(share).field(&own.share), own.share.clone());
        Ok((own.keys(share, binding)?, answer))
    }

    fn keys(self, theirs: &[u8], binding: Binding) -> Result<Transit, BadShare> {
        let theirs = UnparsedPublicKey::new(&X25519, theirs);
        let key =
            agree_ephemeral(self.private, &theirs, |secret| expand(secret, &binding.finish()));
        Ok(Transit { key: key.map_err(|_| BadShare)? })
    }
}

/// The key of the next payload of a stream; a payload opens only once, and only in the order in which they were sealed.
pub struct Transit {
    /// Not among the locked keys: it opens nothing that was sent, and a manager has one for each of its nodes.
    key: Box<Zeroizing<[u8; 32]>>,
}

impl Transit {
    /// Seals the next payload.
    pub fn seal(&mut self, plain: &Plaintext) -> Vec<u8> {
        let sealed = envelope::seal(&self.key, Binding::new(LABEL), plain.expose());
        self.forget();
        sealed
    }

    /// Opens the next payload. After an error this side's keys are of no more use.
    ///
    /// # Errors
    /// It is not the next, or was damaged.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Plaintext, OpenError> {
        let plain = envelope::open(&self.key, Binding::new(LABEL), sealed);
        self.forget();
        Ok(plain?.into())
    }

    /// From here on nothing opens what this key sealed.
    fn forget(&mut self) {
        self.key = expand(self.key.as_slice(), NEXT);
    }
}

fn expand(secret: &[u8], info: &[u8]) -> Box<Zeroizing<[u8; 32]>> {
    let mut key = Box::new(Zeroizing::new([0; 32]));
    Hkdf::<Sha256>::new(None, secret)
        .expand(info, key.as_mut_slice())
        .expect("HKDF gives up to 8160 bytes");
    key
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer(..)")
    }
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transit(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Transit, Transit) {
        let offer = Offer::new();
        let (manager, answer) = Offer::answer(offer.share()).unwrap();
        (manager, offer.agree(&answer).unwrap())
    }

    fn plain() -> Plaintext {
        Plaintext::new(b"canary-7f3a".to_vec())
    }

    #[test]
    fn payloads_open_once_and_in_their_order() {
        let (mut from, mut to) = pair();
        let sealed = [from.seal(&plain()), from.seal(&plain())];
        assert!(!sealed[0].windows(6).any(|part| part == b"canary"));
        for one in &sealed {
            assert_eq!(to.open(one).unwrap().expose(), plain().expose());
        }
        assert_eq!(to.open(&sealed[1]).unwrap_err(), OpenError::Mismatch, "its key is forgotten");
        let (mut from, mut to) = pair();
        from.seal(&plain());
        assert_eq!(
            to.open(&from.seal(&plain())).unwrap_err(),
            OpenError::Mismatch,
            "one is missing"
        );
    }

    #[test]
    fn neither_side_can_open_what_it_has_sealed_or_opened() {
        let (mut from, mut to) = pair();
        let sealed = from.seal(&plain());
        from.open(&sealed).unwrap_err();
        to.open(&sealed).unwrap();
        to.open(&sealed).unwrap_err();
    }

    #[test]
    fn the_keys_of_a_stream_are_its_own() {
        let ((mut one, _), (_, mut other)) = (pair(), pair());
        assert_eq!(other.open(&one.seal(&plain())).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for share in [&[][..], &[9; 31], &[9; 33], &[0; 32]] {
            assert_eq!(Offer::answer(share).unwrap_err(), BadShare);
            assert_eq!(Offer::new().agree(share).unwrap_err(), BadShare);
        }
    }
}
