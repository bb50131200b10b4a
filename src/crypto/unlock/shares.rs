//! A key in several shares, of which some suffice and fewer tell nothing (Shamir over GF(256), byte by byte).

use crate::crypto::key::{Key, Unlock};
use blahaj::Sharks;
use zeroize::Zeroizing;

/// The number of a share and 32 bytes.
pub(in crate::crypto) const LEN: usize = 33;
/// More keepers than any cluster has; share numbers are one byte, and 0 is the key itself.
pub const MOST: u8 = 255;
/// With one, every keeper alone would have the key.
pub const FEWEST: u8 = 2;

/// One share of a key; wiped when dropped.
pub struct Share(Zeroizing<[u8; LEN]>);

impl Share {
    /// Which share it is, from 1 on.
    pub fn number(&self) -> u8 {
        self.0[0]
    }

    pub(in crate::crypto) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    pub(in crate::crypto) fn from_bytes(bytes: &[u8; LEN]) -> Option<Self> {
        // The share of number 0 would be the key.
        (bytes[0] != 0).then(|| Self(Zeroizing::new(*bytes)))
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Share(..)")
    }
}

/// Splits a key into `shares`, any `threshold` of which give it back; the caller has seen to it that
/// [`FEWEST`] ≤ `threshold` ≤ `shares`.
pub fn split(key: &Key<Unlock>, shares: u8, threshold: u8) -> Vec<Share> {
    let dealt = Sharks(threshold).dealer(key.bytes()).take(usize::from(shares));
    let share = |dealt: blahaj::Share| {
        let bytes = Zeroizing::new(Vec::from(&dealt));
        let bytes: &[u8; LEN] =
            bytes.as_slice().try_into().expect("a byte of share for each of key");
        Share(Zeroizing::new(*bytes))
    };
    dealt.map(share).collect()
}

/// Puts shares of different numbers together. Wrong or too few shares give a wrong key, which opens nothing.
pub fn combine(shares: &[&Share]) -> Option<Key<Unlock>> {
    let dealt: Vec<blahaj::Share> = shares
        .iter()
        .map(|share| blahaj::Share::try_from(share.bytes().as_slice()).ok())
        .collect::<Option<_>>()?;
    let threshold = u8::try_from(dealt.len()).ok()?;
    let bytes = Zeroizing::new(Sharks(threshold).recover(&dealt).ok()?);
    let mut key = Key::blank();
    key.bytes_mut().copy_from_slice(bytes.get(..32)?);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_three_of_five_give_the_key_and_two_do_not() {
        let key = Key::random();
        let shares = split(&key, 5, 3);
        assert_eq!(shares.iter().map(Share::number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        for a in 0..5 {
            for b in a + 1..5 {
                let two = combine(&[&shares[a], &shares[b]]).unwrap();
                assert_ne!(two.bytes(), key.bytes());
                for c in b + 1..5 {
                    let three = combine(&[&shares[c], &shares[a], &shares[b]]).unwrap();
                    assert_eq!(three.bytes(), key.bytes());
                }
            }
        }
        assert_eq!(combine(&shares.iter().collect::<Vec<_>>()).unwrap().bytes(), key.bytes());
    }

    #[test]
    fn a_share_of_another_key_gives_another_key() {
        let (key, other) = (Key::random(), Key::random());
        let (shares, foreign) = (split(&key, 3, 2), split(&other, 3, 2));
        assert_ne!(combine(&[&shares[0], &foreign[1]]).unwrap().bytes(), key.bytes());
        assert!(combine(&[]).is_none());
    }

    #[test]
    fn the_most_shares_there_can_be_are_all_different() {
        let key = Key::random();
        let shares = split(&key, MOST, MOST);
        assert_eq!(combine(&shares.iter().collect::<Vec<_>>()).unwrap().bytes(), key.bytes());
        assert_eq!(shares.last().unwrap().number(), 255);
    }
}
