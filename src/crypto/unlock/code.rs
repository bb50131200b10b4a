//! What operators keep on paper: keys and shares as text, with the unlocker they belong to and a sum against slips of the pen.
//!
//! ```text
//! SECRETD-KEY-1-<unlocker>-<64 hex digits>-<sum>
//! SECRETD-SHARE-1-<unlocker>-<66 hex digits>-<sum>      the first byte is the number of the share
//! ```
//! The sum is the first 4 bytes of SHA-256 over all before it. Space around and inside is forgiven, and the case of letters.

use super::shares::{self, Share};
use crate::{
    crypto::{
        key::{Key, Unlock},
        plaintext::Plaintext,
    },
    kit::{hex, id::UnlockerId},
};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use zeroize::Zeroizing;

const COMMON: &str = "secretd-";
const KEY: &str = "secretd-key-1-";
const SHARE: &str = "secretd-share-1-";
const SUM: usize = 4;
/// A share has 118 characters; the rest is room for space.
const TEXT_LEN: usize = 512;

/// A text that starts as a code does and is none; it is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    #[error("this is not an unlock key, a recovery key or a share of one")]
    Malformed,
    #[error("the code was not copied exactly: its check digits do not fit")]
    Sum,
    #[error("the code has a format this secretd does not know")]
    Format,
}

/// What an operator gave to unlock with.
pub enum Given {
    Key {
        id: UnlockerId,
        key: Key<Unlock>,
    },
    Share {
        id: UnlockerId,
        share: Share,
    },
    /// Not a code, so perhaps a passphrase.
    Passphrase(Plaintext),
}

impl Given {
    /// Reads what was typed; what does not start as a code does is a passphrase.
    ///
    /// # Errors
    /// [`BadCode`]; what came is wiped.
    pub fn read(typed: Plaintext) -> Result<Self, BadCode> {
        let text = std::str::from_utf8(typed.expose()).unwrap_or_default().trim_ascii();
        if !text.get(..COMMON.len()).is_some_and(|start| start.eq_ignore_ascii_case(COMMON)) {
            return Ok(Self::Passphrase(typed));
        }
        if text.len() > TEXT_LEN {
            return Err(BadCode::Malformed);
        }
        let mut clean = Zeroizing::new(String::with_capacity(text.len()));
        let kept = text.chars().filter(|c| !c.is_ascii_whitespace());
        clean.extend(kept.map(|c| c.to_ascii_lowercase()));
        let (body, sum) = clean.rsplit_once('-').ok_or(BadCode::Malformed)?;
        let known = |prefix: &str| body.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
        if let Some((id, digits)) = known(KEY) {
            let mut key = Key::blank();
            check(id, digits, body, sum, key.bytes_mut())?;
            return Ok(Self::Key { id: id.parse().map_err(|_| BadCode::Malformed)?, key });
        }
        if let Some((id, digits)) = known(SHARE) {
            let mut bytes = Zeroizing::new([0; shares::LEN]);
            check(id, digits, body, sum, bytes.as_mut_slice())?;
            let share = Share::from_bytes(&bytes).ok_or(BadCode::Malformed)?;
            return Ok(Self::Share { id: id.parse().map_err(|_| BadCode::Malformed)?, share });
        }
        let newer = |prefix: &str| {
            !body.starts_with(prefix) && body.starts_with(prefix.trim_end_matches("1-"))
        };
        Err(if newer(KEY) || newer(SHARE) { BadCode::Format } else { BadCode::Malformed })
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, .. } => write!(f, "Key({id})"),
            Self::Share { id, .. } => write!(f, "Share({id})"),
            Self::Passphrase(_) => f.write_str("Passphrase(..)"),
        }
    }
}

/// A key as the operator is to keep it.
pub fn print_key(id: UnlockerId, key: &Key<Unlock>) -> Plaintext {
    print(KEY, id, key.bytes())
}

/// A share as its keeper is to keep it.
pub fn print_share(id: UnlockerId, share: &Share) -> Plaintext {
    print(SHARE, id, share.bytes())
}

/// Whether what was typed is a share, of which several may be needed.
pub fn is_share(typed: &Plaintext) -> bool {
    let text = typed.expose().trim_ascii();
    text.get(..SHARE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SHARE.as_bytes()))
}

/// A printed code in the clear, for the operator's eyes.
pub fn reveal(code: &Plaintext) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(code.expose()).into_owned())
}

fn print(prefix: &str, id: UnlockerId, bytes: &[u8]) -> Plaintext {
    // With room for all of it at once: growing would leave copies behind.
    let mut text = String::with_capacity(2 * TEXT_LEN);
    text.push_str(&prefix.to_ascii_uppercase());
    write!(text, "{id}-").expect("strings take everything");
    hex::push(&mut text, bytes);
    let sum = sum(&text.to_ascii_lowercase());
    text.push('-');
    hex::push(&mut text, &sum);
    Plaintext::new(text.into_bytes())
}

fn sum(body: &str) -> [u8; SUM] {
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    *digest.first_chunk().expect("32 bytes are more than 4")
}

fn check(id: &str, digits: &str, body: &str, given: &str, out: &mut [u8]) -> Result<(), BadCode> {
    let mut expected = [0; SUM];
    hex::read(given, &mut expected).ok_or(BadCode::Malformed)?;
    if expected != sum(body) {
        return Err(BadCode::Sum);
    }
    id.parse::<UnlockerId>().map_err(|_| BadCode::Malformed)?;
    hex::read(digits, out).ok_or(BadCode::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(printed: &Plaintext) -> String {
        String::from_utf8(printed.expose().to_vec()).unwrap()
    }

    fn read(text: &str) -> Result<Given, BadCode> {
        Given::read(Plaintext::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_key_reads_back_however_it_was_copied() {
        let (id, key) = (UnlockerId::random(), Key::random());
        let text = text(&print_key(id, &key));
        let spaced = format!("  {} {}\n", &text[..60], &text[60..]);
        for copy in [text.clone(), text.to_lowercase(), text.to_uppercase(), spaced] {
            let Given::Key { id: read_id, key: read_key } = read(&copy).unwrap() else {
                panic!("{copy} is a key")
            };
            assert_eq!((read_id, read_key.bytes()), (id, key.bytes()));
        }
    }

    #[test]
    fn a_share_reads_back() {
        let id = UnlockerId::random();
        for share in shares::split(&Key::random(), 3, 2) {
            let Given::Share { id: read_id, share: again } =
                read(&text(&print_share(id, &share))).unwrap()
            else {
                panic!("it is a share")
            };
            assert_eq!((read_id, again.bytes()), (id, share.bytes()));
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_noticed() {
        let text = text(&print_key(UnlockerId::random(), &Key::random()));
        for at in "SECRETD-KEY-1-".len()..text.len() {
            let mut copy = text.clone().into_bytes();
            copy[at] = if copy[at] == b'7' { b'8' } else { b'7' };
            let error = read(std::str::from_utf8(&copy).unwrap()).unwrap_err();
            assert!(matches!(error, BadCode::Sum | BadCode::Malformed), "{at}: {error}");
        }
        assert_eq!(read("secretd-key-2-abc-def").unwrap_err(), BadCode::Format);
    }

    #[test]
    fn what_is_no_code_is_a_passphrase() {
        for words in ["correct horse battery staple", "", "secret", "é"] {
            let Given::Passphrase(typed) = read(words).unwrap() else {
                panic!("{words} is no code")
            };
            assert_eq!(typed.expose(), words.as_bytes());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let (id, key) = (UnlockerId::random(), Key::random());
        let given = read(&text(&print_key(id, &key))).unwrap();
        assert_eq!(format!("{given:?}"), format!("Key({id})"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?i)(SECRETD-)?(KEY|SHARE)?-?[12]?-?[0-9a-z]{0,30}-?[0-9a-zé]{0,70}-?.{0,10}") {
            drop(read(&text));
        }
    }
}
