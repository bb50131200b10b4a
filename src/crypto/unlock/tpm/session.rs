//! Sessions with a TPM (TPM 2.0 Library, part 1, 11.4 and 19): each command is authenticated, and its secret parameter encrypted,
//! with keys that only the two ends know; whoever listens on the bus learns nothing.

use super::{TpmError, bytes::Out};
use aes_gcm::aes::{
    Aes128,
    cipher::{Array, BlockCipherEncrypt as _, KeyInit as _},
};
use hkdf::hmac::{Hmac, Mac as _};
use ring::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    rand::SystemRandom,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The session stays for the next command.
pub(super) const CONTINUE: u8 = 0x01;
/// The first parameter of the command is encrypted.
pub(super) const DECRYPT: u8 = 0x20;
/// The first parameter of the answer is encrypted.
pub(super) const ENCRYPT: u8 = 0x40;

/// Bytes of a coordinate on P-256, of a digest, and of our nonces.
pub(super) const SIZE: usize = 32;

type Secret = Zeroizing<[u8; SIZE]>;

/// The public point of a TPM's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: [u8; SIZE],
    pub(super) y: [u8; SIZE],
}

/// A secret that only this program and the TPM with the key `theirs` know: it, and the point that lets the TPM find it.
pub(super) fn agree(theirs: &Point) -> Result<(Secret, Point), TpmError> {
    let rng = SystemRandom::new();
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &rng).map_err(|_| TpmError::Answer)?;
    let public = ours.compute_public_key().map_err(|_| TpmError::Answer)?;
    let (x, y) = public.as_ref()[1..].split_at(SIZE);
    let array = |bytes: &[u8]| bytes.try_into().map_err(|_| TpmError::Answer);
    let point = Point { x: array(x)?, y: array(y)? };
    let uncompressed = [&[4][..], &theirs.x, &theirs.y].concat();
    let key = UnparsedPublicKey::new(&ECDH_P256, uncompressed);
    let secret = agree_ephemeral(ours, &key, |shared| {
        // KDFe: a single round gives all that is needed.
        let mut hash = Sha256::new();
        hash.update(1_u32.to_be_bytes());
        hash.update(shared);
        hash.update(b"SECRET\0");
        hash.update(point.x);
        hash.update(theirs.x);
        Zeroizing::new(hash.finalize().into())
    });
    Ok((secret.map_err(|_| TpmError::Answer)?, point))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut hmac = <Hmac<Sha256> as hkdf::hmac::KeyInit>::new_from_slice(key)
        .expect("a key of any length is taken");
    for part in parts {
        hmac.update(part);
    }
    Zeroizing::new(hmac.finalize().into_bytes().into())
}

/// KDFa for 256 bits, which a single round gives.
fn derive(key: &[u8], label: &[u8], newer: &[u8], older: &[u8]) -> Secret {
    let bits = 256_u32.to_be_bytes();
    hmac(key, &[&1_u32.to_be_bytes(), label, &[0], newer, older, &bits])
}

/// A session that has been started.
pub(super) struct Session {
    pub(super) handle: u32,
    key: Secret,
    /// The last nonce of each end.
    ours: [u8; SIZE],
    theirs: Vec<u8>,
}

impl Session {
    /// What both ends make of the secret and their first nonces.
    pub(super) fn begin(handle: u32, secret: &[u8], ours: [u8; SIZE], theirs: &[u8]) -> Self {
        let key = derive(secret, b"ATH", theirs, &ours);
        Self { handle, key, ours, theirs: theirs.to_vec() }
    }

    /// Encrypts or authenticates the next command: takes its code, the names of what it is about and its parameters, of which the
    /// first is encrypted if `attributes` say so; gives the authorisation to send with it.
    pub(super) fn authorise(
        &mut self,
        code: u32,
        names: &[&[u8]],
        parameters: &mut [u8],
        attributes: u8,
    ) -> Result<Out, TpmError> {
        self.ours = nonce();
        if attributes & DECRYPT != 0 {
            let first = first(parameters)?;
            self.cipher(first, Way::Encrypt, &self.ours, &self.theirs);
        }
        let digest = digest(&[&[&code.to_be_bytes()[..]], names, &[parameters]].concat());
        let mac = hmac(&*self.key, &[&digest, &self.ours, &self.theirs, &[attributes]]);
        Ok(Out::new().u32(self.handle).sized(&self.ours).u8(attributes).sized(&*mac))
    }

    /// Checks that the answer is the TPM's own, and decrypts its first parameter if `attributes` say so.
    pub(super) fn accept(
        &mut self,
        code: u32,
        parameters: &mut [u8],
        (nonce, attributes, mac): (&[u8], u8, &[u8]),
    ) -> Result<(), TpmError> {
        self.theirs = nonce.to_vec();
        let success = 0_u32.to_be_bytes();
        let digest = digest(&[&success, &code.to_be_bytes(), parameters]);
        let mut expected = <Hmac<Sha256> as hkdf::hmac::KeyInit>::new_from_slice(&*self.key)
            .expect("a key of any length is taken");
        for part in [&digest[..], &self.theirs, &self.ours, &[attributes]] {
            expected.update(part);
        }
        expected.verify_slice(mac).map_err(|_| TpmError::Forged)?;
        if attributes & ENCRYPT != 0 {
            let first = first(parameters)?;
            self.cipher(first, Way::Decrypt, &self.theirs, &self.ours);
        }
        Ok(())
    }

    /// AES-128 in CFB, with a key and a start that the nonces decide.
    fn cipher(&self, text: &mut [u8], way: Way, newer: &[u8], older: &[u8]) {
        let made = derive(&*self.key, b"CFB", newer, older);
        let (key, start) = made.split_at(16);
        let aes = Aes128::new_from_slice(key).expect("16 bytes are a key of AES-128");
        let mut register = Zeroizing::new([0; 16]);
        register.copy_from_slice(start);
        for chunk in text.chunks_mut(16) {
            let mut block = Array::from(*register);
            aes.encrypt_block(&mut block);
            for ((byte, mask), next) in chunk.iter_mut().zip(&block).zip(register.iter_mut()) {
                let before = *byte;
                *byte ^= mask;
                *next = match way {
                    Way::Encrypt => *byte,
                    Way::Decrypt => before,
                };
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Encrypt,
    Decrypt,
}

/// What the first parameter, a sized buffer, holds.
fn first(parameters: &mut [u8]) -> Result<&mut [u8], TpmError> {
    let (length, rest) = parameters.split_first_chunk_mut::<2>().ok_or(TpmError::Answer)?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*length))).ok_or(TpmError::Answer)
}

fn digest(parts: &[&[u8]]) -> [u8; SIZE] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A nonce of ours, never used again.
pub(super) fn nonce() -> [u8; SIZE] {
    let mut nonce = [0; SIZE];
    getrandom::fill(&mut nonce).expect("the kernel gives randomness once booted");
    nonce
}
