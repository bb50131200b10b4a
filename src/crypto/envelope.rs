//! The envelope every key and payload travels in: a key for this message alone, bound to what it is for.
//!
//! ```text
//! format (1) ‖ salt (32) ‖ commitment (32) ‖ ciphertext (as long as the plaintext) ‖ tag (16)
//!
//! binding          = SHA-256(label and fields, each behind its length in 8 bytes, big-endian)
//! key ‖ commitment = HKDF-SHA-256(salt, key of the caller, info = "secretd/1/aes-256-gcm" ‖ binding, 64 bytes)
//! ciphertext ‖ tag = AES-256-GCM(key, nonce = 0, AAD = binding)
//! ```
//!
//! The salt is random, so no two messages share a key and the nonce need not be random. AES-GCM alone can be
//! opened under two keys; the commitment, compared before anything is decrypted, rules that out for key and context.

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{AeadInOut as _, inout::InOutBuf},
};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The one format there is. Others are refused, never guessed at.
const FORMAT: u8 = 1;
const SALT: usize = 32;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const HEADER: usize = 1 + SALT + COMMITMENT;
/// How much longer the sealed form is, in bytes.
pub(super) const OVERHEAD: usize = HEADER + TAG;
const INFO: &[u8] = b"secretd/1/aes-256-gcm";

/// Why sealed bytes were not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the sealed bytes are cut short")]
    Short,
    #[error("unknown envelope format {0}; was it written by a newer secretd?")]
    Format(u8),
    #[error(
        "the key or the place does not match: it was sealed with another key, or for another use"
    )]
    Mismatch,
    #[error("the sealed bytes were changed after they were sealed")]
    Damaged,
    #[error("sealed under keyring term {0}, which this keyring does not hold")]
    UnknownTerm(u32),
    #[error("the keyring has no terms, or their numbers do not ascend")]
    Terms,
}

/// What a message is bound to: a label and fields in a length-prefixed encoding, hashed as they come.
pub(super) struct Binding(Sha256);

impl Binding {
    /// Starts with what kind of thing is sealed; each kind has its own label.
    pub(super) fn new(label: &'static str) -> Self {
        Self(Sha256::new()).field(label.as_bytes())
    }

    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Appends the sealed form of `plain` to `out`.
pub(super) fn seal_into(key: &[u8; 32], binding: Binding, plain: &[u8], out: &mut Vec<u8>) {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).expect("the kernel gives randomness once booted");
    seal_with_salt(key, &salt, binding, plain, out);
}

/// Seals `plain` into a buffer of its own.
pub(super) fn seal(key: &[u8; 32], binding: Binding, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    seal_into(key, binding, plain, &mut out);
    out
}

/// How many bytes of plaintext `sealed` holds.
///
/// # Errors
/// [`OpenError::Short`] if not even an empty message would fit.
pub(super) fn plain_len(sealed: &[u8]) -> Result<usize, OpenError> {
    sealed.len().checked_sub(OVERHEAD).ok_or(OpenError::Short)
}

/// Opens `sealed` into `plain`, which must have its [`plain_len`]; on an error it is left as it was.
///
/// # Errors
/// [`OpenError`], except for the keyring's own.
pub(super) fn open_to(
    key: &[u8; 32],
    binding: Binding,
    sealed: &[u8],
    plain: &mut [u8],
) -> Result<(), OpenError> {
    let (&format, rest) = sealed.split_first().ok_or(OpenError::Short)?;
    if format != FORMAT {
        return Err(OpenError::Format(format));
    }
    let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(OpenError::Short)?;
    let (commitment, rest) = rest.split_first_chunk::<COMMITMENT>().ok_or(OpenError::Short)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::Short)?;
    let binding = binding.finish();
    let derived = Derived::new(key, salt, &binding);
    if !bool::from(derived.commitment().ct_eq(commitment)) {
        return Err(OpenError::Mismatch);
    }
    let buffer = InOutBuf::new(body, plain).map_err(|_| OpenError::Short)?;
    derived
        .cipher()
        .decrypt_inout_detached(&NONCE.into(), &binding, buffer, tag.into())
        .map_err(|_| OpenError::Damaged)
}

/// Opens `sealed` into a buffer of its own.
///
/// # Errors
/// As [`open_to`].
pub(super) fn open(
    key: &[u8; 32],
    binding: Binding,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut plain = Zeroizing::new(vec![0; plain_len(sealed)?]);
    open_to(key, binding, sealed, &mut plain)?;
    Ok(plain)
}

/// Constant, because the key is never used again.
const NONCE: [u8; 12] = [0; 12];

/// Key and commitment of one message, wiped when dropped.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &[u8; 32], salt: &[u8; SALT], binding: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        Hkdf::<Sha256>::new(Some(salt), key)
            .expand_multi_info(&[INFO, binding], bytes.as_mut_slice())
            .expect("HKDF gives up to 8160 bytes");
        Self(bytes)
    }

    fn cipher(&self) -> Aes256Gcm {
        let key: &[u8; 32] = self.0.first_chunk().expect("64 bytes hold 32");
        Aes256Gcm::new(key.into())
    }

    fn commitment(&self) -> &[u8; 32] {
        self.0.last_chunk().expect("64 bytes hold 32")
    }
}

/// The deterministic core of [`seal_into`]. The same salt must never be used twice with one key and binding.
pub(super) fn seal_with_salt(
    key: &[u8; 32],
    salt: &[u8; SALT],
    binding: Binding,
    plain: &[u8],
    out: &mut Vec<u8>,
) {
    let binding = binding.finish();
    let derived = Derived::new(key, salt, &binding);
    out.reserve(OVERHEAD + plain.len());
    out.push(FORMAT);
    out.extend_from_slice(salt);
    out.extend_from_slice(derived.commitment());
    // Encrypted on the way in: the plaintext itself never lies in `out`, which may be moved when it grows.
    let at = out.len();
    out.resize(at + plain.len(), 0);
    let buffer = InOutBuf::new(plain, &mut out[at..]).expect("just made as long as the plaintext");
    let tag = derived
        .cipher()
        .encrypt_inout_detached(&NONCE.into(), &binding, buffer)
        .expect("AES-GCM takes 64 GiB, far more than anything we hold in memory");
    out.extend_from_slice(&tag);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn binding() -> Binding {
        Binding::new("test").field(b"here")
    }

    #[test]
    fn two_seals_of_the_same_bytes_share_nothing_but_the_format() {
        let (a, b) = (seal(&KEY, binding(), b"same"), seal(&KEY, binding(), b"same"));
        assert_eq!(a.len(), 4 + OVERHEAD);
        assert_ne!(a[1..33], b[1..33]);
        assert_ne!(a[33..], b[33..]);
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let sealed = seal(&KEY, Binding::new("test").field(b"ab").field(b"c"), b"x");
        for other in [
            Binding::new("test").field(b"a").field(b"bc"),
            Binding::new("test").field(b"abc"),
            Binding::new("test").field(b"ab").field(b"c").field(b""),
            Binding::new("testab").field(b"c"),
        ] {
            assert_eq!(open(&KEY, other, &sealed).unwrap_err(), OpenError::Mismatch);
        }
    }

    #[test]
    fn another_key_is_noticed_before_anything_is_decrypted() {
        let sealed = seal(&KEY, binding(), b"x");
        assert_eq!(open(&[8; 32], binding(), &sealed).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn an_unknown_format_is_refused() {
        let mut sealed = seal(&KEY, binding(), b"x");
        sealed[0] = 2;
        assert_eq!(open(&KEY, binding(), &sealed).unwrap_err(), OpenError::Format(2));
    }

    #[test]
    fn every_cut_is_refused() {
        let sealed = seal(&KEY, binding(), b"0123456789");
        for len in 0..sealed.len() {
            open(&KEY, binding(), &sealed[..len]).unwrap_err();
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_and_leaves_the_buffer_alone() {
        let sealed = seal(&KEY, binding(), b"0123456789");
        let mut plain = [0xaa; 10];
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            open_to(&KEY, binding(), &flipped, &mut plain).unwrap_err();
            assert_eq!(plain, [0xaa; 10]);
        }
        open_to(&KEY, binding(), &sealed, &mut plain).unwrap();
        assert_eq!(&plain, b"0123456789");
    }

    proptest! {
        #[test]
        fn opening_inverts_sealing(key: [u8; 32], place: Vec<u8>, plain: Vec<u8>) {
            let sealed = seal(&key, Binding::new("test").field(&place), &plain);
            let opened = open(&key, Binding::new("test").field(&place), &sealed).unwrap();
            prop_assert_eq!(&*opened, &plain);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, format in 0..3_u8) {
            prop_assert!(open(&KEY, binding(), &bytes).is_err());
            if let Some(first) = bytes.first_mut() {
                *first = format;
            }
            prop_assert!(open(&KEY, binding(), &bytes).is_err());
        }

        #[test]
        fn another_place_is_refused(a: Vec<u8>, b: Vec<u8>) {
            prop_assume!(a != b);
            let sealed = seal(&KEY, Binding::new("test").field(&a), b"x");
            prop_assert_eq!(
                open(&KEY, Binding::new("test").field(&b), &sealed).unwrap_err(),
                OpenError::Mismatch
            );
        }
    }
}
