//! The only floor that touches key bytes: payloads, keys, the envelope, the keyring, the unlockers.

pub mod context;
pub mod key;
pub mod keyring;
pub mod plaintext;
pub mod record;
pub mod seal;
