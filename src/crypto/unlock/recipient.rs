//! The public half of an unlocker: whoever has it can seal to the unlocker, and opens nothing.
//!
//! ```text
//! private = HKDF-SHA-256(the unlocker's key, info = "secretd/recipient/1", 32 bytes)
//! public  = X25519(private, base point)
//! sealed  = 2 (1 byte) ‖ share = X25519(drawn for this once, base point) (32) ‖ envelope under the key below
//! key     = HKDF-SHA-256(X25519(drawn, public), info = "secretd/recipient/1/seal" ‖ share ‖ public, 32 bytes)
//! ```
//!
//! So the root key is replaced without asking any unlocker for what it keeps.

use crate::crypto::{
    OpenError,
    envelope::{self, Binding},
    key::{Key, Root, Unlock},
};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Tells these bytes from an envelope, whose format is another number.
pub(super) const FORMAT: u8 = 2;
const SHARE: usize = 32;
const PRIVATE: &[u8] = b"secretd/recipient/1";
const SEAL: &[u8] = b"secretd/recipient/1/seal";

/// The public half of an unlocker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient(pub [u8; 32]);

impl Recipient {
    /// The one of an unlocker's key.
    pub fn of(key: &Key<Unlock>) -> Self {
        Self(PublicKey::from(&private(key)).to_bytes())
    }

    /// Seals the root key.
    ///
    /// # Errors
    /// [`OpenError::Mismatch`]: this is no key of anybody, and what is sealed to it anybody could open.
    pub(super) fn seal(&self, binding: Binding, root: &Key<Root>) -> Result<Vec<u8>, OpenError> {
        let mut drawn = Zeroizing::new([0; 32]);
        getrandom::fill(drawn.as_mut_slice()).expect("the kernel gives randomness once booted");
        self.seal_with(&drawn, binding, |key, binding, out| {
            envelope::seal_into(key, binding, root.bytes(), out);
        })
    }

    /// The deterministic part of [`Recipient::seal`].
    pub(in crate::crypto) fn seal_with(
        &self,
        drawn: &[u8; 32],
        binding: Binding,
        seal: impl FnOnce(&[u8; 32], Binding, &mut Vec<u8>),
    ) -> Result<Vec<u8>, OpenError> {
        let drawn = StaticSecret::from(*drawn);
        let share = PublicKey::from(&drawn).to_bytes();
        let key = agreed(&drawn, &self.0, &share, self)?;
        let mut out = Vec::with_capacity(1 + SHARE + envelope::OVERHEAD + 32);
        out.push(FORMAT);
        out.extend_from_slice(&share);
        seal(&key, binding, &mut out);
        Ok(out)
    }
}

/// Opens what was sealed to the public half of `key`.
pub(super) fn open(
    key: &Key<Unlock>,
    binding: Binding,
    sealed: &[u8],
) -> Result<Key<Root>, OpenError> {
    let (&format, rest) = sealed.split_first().ok_or(OpenError::Short)?;
    if format != FORMAT {
        return Err(OpenError::Format(format));
    }
    let (share, body) = rest.split_first_chunk::<SHARE>().ok_or(OpenError::Short)?;
    let private = private(key);
    let recipient = Recipient(PublicKey::from(&private).to_bytes());
    let agreed = agreed(&private, share, share, &recipient)?;
    let mut root = Key::blank();
    envelope::open_to(&agreed, binding, body, root.bytes_mut())?;
    Ok(root)
}

fn private(key: &Key<Unlock>) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; 32]);
    let hkdf = Hkdf::<Sha256>::new(None, key.bytes());
    hkdf.expand(PRIVATE, bytes.as_mut_slice()).expect("HKDF gives up to 8160 bytes");
    StaticSecret::from(*bytes)
}

/// What both sides come to; with a point of low order it would be the same for everybody.
fn agreed(
    private: &StaticSecret,
    theirs: &[u8; 32],
    share: &[u8; 32],
    recipient: &Recipient,
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let secret = private.diffie_hellman(&PublicKey::from(*theirs));
    if !secret.was_contributory() {
        return Err(OpenError::Mismatch);
    }
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret.as_bytes())
        .expand_multi_info(&[SEAL, share, &recipient.0], key.as_mut_slice())
        .expect("HKDF gives up to 8160 bytes");
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binding() -> Binding {
        Binding::new("test").field(b"here")
    }

    #[test]
    fn what_is_sealed_to_the_public_half_opens_with_the_key_alone() {
        let (key, root) = (Key::random(), Key::random());
        let sealed = Recipient::of(&key).seal(binding(), &root).unwrap();
        assert_eq!(open(&key, binding(), &sealed).unwrap().bytes(), root.bytes());
        open(&Key::random(), binding(), &sealed).unwrap_err();
        open(&key, Binding::new("test").field(b"there"), &sealed).unwrap_err();
        assert_ne!(
            Recipient::of(&key).seal(binding(), &root).unwrap(),
            sealed,
            "never twice the same"
        );
    }

    #[test]
    fn nothing_is_sealed_to_a_point_that_makes_one_key_for_all() {
        let mut one = [0; 32];
        Recipient(one).seal(binding(), &Key::random()).unwrap_err();
        one[0] = 1;
        Recipient(one).seal(binding(), &Key::random()).unwrap_err();
    }

    proptest! {
        #[test]
        fn a_flipped_bit_anywhere_is_refused(at: prop::sample::Index, bit in 0..8_u8) {
            let (key, root) = (Key::random(), Key::random());
            let mut sealed = Recipient::of(&key).seal(binding(), &root).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            // The top bit of a share does not count in X25519; the key that comes of it does depend on it.
            prop_assert!(open(&key, binding(), &sealed).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>) {
            prop_assert!(open(&Key::random(), binding(), &bytes).is_err());
            bytes.insert(0, FORMAT);
            prop_assert!(open(&Key::random(), binding(), &bytes).is_err());
        }
    }
}
