//! Join tokens: `SECRETD-1-<digest of the CA>-<secret>`. Pins the CA for the first contact and proves the right to join.

use super::authority::CaDigest;
use crate::{crypto::plaintext::Plaintext, kit::hex};
use sha2::{Digest as _, Sha256};
use std::{fmt, fmt::Write as _, str::FromStr};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const PREFIX: &str = "SECRETD-1-";
/// 160 bits: beyond guessing, whatever the rate.
const SECRET: usize = 20;

/// A token has 115 characters; some space around it is forgiven.
const TEXT_LEN: usize = 256;

/// A text that is no join token; it is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: it looks like {PREFIX}<64 hex digits>-<40 hex digits>")]
pub struct BadToken;

/// A token as the operator hands it to a machine that shall join.
pub struct JoinToken {
    /// The CA the joining machine will find.
    pub ca: CaDigest,
    secret: Zeroizing<[u8; SECRET]>,
}

/// What the cluster keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl JoinToken {
    /// Makes a new token for the cluster of this CA.
    pub fn generate(ca: CaDigest) -> Self {
        let mut secret = Zeroizing::new([0; SECRET]);
        getrandom::fill(secret.as_mut_slice()).expect("the kernel gives randomness once booted");
        Self { ca, secret }
    }

    /// The token in the clear, for the operator's eyes.
    pub fn reveal(&self) -> Zeroizing<String> {
        // With room for all of it at once: growing would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(128));
        write!(text, "{PREFIX}{}-", self.ca).expect("strings take everything");
        hex::push(&mut text, self.secret.as_slice());
        text
    }

    /// The token as it goes over the wire.
    pub fn carry(&self) -> Plaintext {
        Plaintext::new(self.reveal().as_bytes().to_vec())
    }

    /// Reads what came over the wire.
    ///
    /// # Errors
    /// [`BadToken`]; what came is wiped.
    pub fn read(carried: &Plaintext) -> Result<Self, BadToken> {
        // Looked at before it is looked through: strangers send what they like.
        if carried.len() > TEXT_LEN {
            return Err(BadToken);
        }
        std::str::from_utf8(carried.expose()).map_err(|_| BadToken)?.parse()
    }

    /// The form to store.
    pub fn hash(&self) -> TokenHash {
        let hash = Sha256::new().chain_update("secretd/join-token/1").chain_update(*self.secret);
        TokenHash(hash.finalize().into())
    }
}

impl TokenHash {
    /// Whether this is the hash of `token`; takes the same time whatever the answer.
    pub fn matches(&self, token: &JoinToken) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }
}

impl FromStr for JoinToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (ca, secret) = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
            .ok_or(BadToken)?;
        let mut token = Self { ca: CaDigest([0; 32]), secret: Zeroizing::new([0; SECRET]) };
        hex::read(ca, &mut token.ca.0).ok_or(BadToken)?;
        hex::read(secret, token.secret.as_mut_slice()).ok_or(BadToken)?;
        Ok(token)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        JoinToken::generate(CaDigest([7; 32]))
    }

    #[test]
    fn a_token_reads_back_and_matches_its_own_hash_only() {
        let (token, other) = (token(), token());
        let read: JoinToken = token.reveal().parse().unwrap();
        assert_eq!(read.ca, token.ca);
        assert!(token.hash().matches(&read));
        assert!(!token.hash().matches(&other));
        assert!(token.hash().matches(&JoinToken::read(&token.carry()).unwrap()));
    }

    #[test]
    fn debug_and_errors_do_not_show_the_secret() {
        assert_eq!(format!("{:?}", token()), "JoinToken(..)");
        let cut = token().reveal()[..100].to_owned();
        let error = cut.parse::<JoinToken>().unwrap_err().to_string();
        assert!(!error.contains(&cut[75..]), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(SECRETD-1-)?[0-9a-f]{60,66}-?[0-9a-zA-Zé]{36,44}.*") {
            drop(text.parse::<JoinToken>());
        }
    }
}
