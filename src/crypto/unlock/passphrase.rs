//! A key out of words that a person remembers, made dear to guess by Argon2id (RFC 9106).

use crate::crypto::{
    key::{Key, Unlock},
    plaintext::Plaintext,
};
use argon2::{Algorithm, Argon2, Params, Version};

/// Shorter ones are guessed; what this length is worth depends on the words.
pub const SHORTEST: usize = 12;

/// What a try costs, and the salt. Part of what is stored, so it can rise without locking anybody out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    pub salt: [u8; 16],
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// A stored cost that no secretd has written; obeying it might take all memory there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase's cost is beyond what this secretd takes")]
pub struct BadCost;

impl Cost {
    /// RFC 9106's second choice, for machines that have other things to do: 64 MiB, 3 passes, 4 lanes.
    pub fn new() -> Self {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).expect("the kernel gives randomness once booted");
        Self { salt, memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }

    /// For tests, where nobody guesses.
    #[cfg(test)]
    pub(in crate::crypto) fn light() -> Self {
        Self { salt: [7; 16], memory_kib: 64, passes: 1, lanes: 1 }
    }

    /// The key that these words stand for. Takes about a second, on one core.
    ///
    /// # Errors
    /// [`BadCost`]: more than 1 GiB, 64 passes or 16 lanes, or less than Argon2 has a meaning for.
    pub fn key(&self, words: &Plaintext) -> Result<Key<Unlock>, BadCost> {
        let Self { salt, memory_kib, passes, lanes } = self;
        if *memory_kib > 1024 * 1024 || *passes > 64 || *lanes > 16 {
            return Err(BadCost);
        }
        let params = Params::new(*memory_kib, *passes, *lanes, Some(32)).map_err(|_| BadCost)?;
        let mut key = Key::blank();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(words.expose(), salt, key.bytes_mut())
            .map_err(|_| BadCost)?;
        Ok(key)
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::hex::Hex;

    fn words(text: &str) -> Plaintext {
        Plaintext::new(text.as_bytes().to_vec())
    }

    #[test]
    fn the_same_words_and_salt_give_the_same_key_and_others_do_not() {
        let key = |cost: &Cost, text| *cost.key(&words(text)).unwrap().bytes();
        let cost = Cost::light();
        let first = key(&cost, "correct horse");
        assert_eq!(first, key(&cost, "correct horse"));
        assert_ne!(first, key(&cost, "correct horsf"));
        assert_ne!(first, key(&Cost { salt: [8; 16], ..Cost::light() }, "correct horse"));
        assert_ne!(first, key(&Cost { passes: 2, ..Cost::light() }, "correct horse"));
    }

    #[test]
    fn a_key_is_what_the_reference_implementation_gives() {
        // printf 'correct horse battery' | argon2 0123456789abcdef -id -k 64 -t 1 -p 1 -l 32 -r
        let cost = Cost { salt: *b"0123456789abcdef", ..Cost::light() };
        let key = cost.key(&words("correct horse battery")).unwrap();
        assert_eq!(
            Hex(key.bytes()).to_string(),
            "feeaf97cb10b51bd5e5e44fda0a1eaaba807199f4f87081b8f8ab221c08d6987"
        );
    }

    #[test]
    fn a_cost_that_would_take_the_machine_is_refused() {
        for cost in [
            Cost { memory_kib: u32::MAX, ..Cost::light() },
            Cost { passes: u32::MAX, ..Cost::light() },
            Cost { lanes: 0, ..Cost::light() },
            Cost { memory_kib: 0, ..Cost::light() },
        ] {
            assert_eq!(cost.key(&words("x")).unwrap_err(), BadCost);
        }
    }
}
