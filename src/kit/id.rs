//! Ids of 25 characters in base 36, as operators know them from Swarm, one type for each kind of thing.

use std::{fmt, str::FromStr};

/// The length of every id, in characters.
pub const ID_LEN: usize = 25;

/// A string that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is {ID_LEN} characters of 0-9 and a-z")]
pub struct BadId;

/// Renders 17 random bytes (136 bits) as 25 digits of base 36, cutting the bits that do not fit.
fn encode(random: [u8; 17]) -> [u8; ID_LEN] {
    let mut digits = [b'0'; ID_LEN];
    let mut number = random;
    for digit in digits.iter_mut().rev() {
        // Long division of the big-endian number by 36; the remainder is the next digit.
        let mut rest: u32 = 0;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 36)
                .expect("a remainder below 36 keeps the quotient in a byte");
            rest = value % 36;
        }
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[rest as usize];
    }
    digits
}

fn check(text: &str) -> Result<[u8; ID_LEN], BadId> {
    let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| BadId)?;
    if bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) {
        Ok(bytes)
    } else {
        Err(BadId)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// Makes a new id from the kernel's randomness.
            pub fn random() -> Self {
                let mut bytes = [0; 17];
                getrandom::fill(&mut bytes).expect("the kernel gives randomness once booted");
                Self(encode(bytes))
            }

            /// Makes the id that these 17 random bytes stand for; the same bytes give the same id.
            pub fn from_random(bytes: [u8; 17]) -> Self {
                Self(encode(bytes))
            }

            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("ids are ASCII")
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

ids! {
    /// Names a cluster for ever.
    ClusterId;
    /// Names a node; never used again, a wiped node joins under a new one.
    NodeId;
    /// Names a secret or a config, whatever its name becomes.
    ObjectId;
    /// Names a service.
    ServiceId;
    /// Names a task.
    TaskId;
    /// Names one session of an agent with the dispatcher.
    SessionId;
    /// Names a caller whose commands may be sent twice.
    ClientId;
    /// Names an unlocker, and the key file that belongs to it.
    UnlockerId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_25_lower_case_characters_and_reads_back() {
        let id = NodeId::random();
        assert_eq!(id.to_string().len(), ID_LEN);
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
    }

    #[test]
    fn two_random_ids_differ() {
        assert_ne!(TaskId::random(), TaskId::random());
    }

    #[test]
    fn the_largest_bytes_still_fit() {
        assert_eq!(ObjectId::from_random([0xff; 17]).to_string().len(), ID_LEN);
        assert_eq!(ObjectId::from_random([0; 17]).to_string(), "0".repeat(ID_LEN));
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        assert_eq!("short".parse::<NodeId>(), Err(BadId));
        assert_eq!("A".repeat(ID_LEN).parse::<NodeId>(), Err(BadId));
        assert_eq!("é".repeat(13).parse::<NodeId>(), Err(BadId));
    }
}
