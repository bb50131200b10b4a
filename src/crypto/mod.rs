//! The only floor that touches key bytes: payloads, keys, the envelope, the keyring, the unlockers.
//!
//! ```text
//! unlockers (any one opens) → root key → keyring terms → per-version data key → payload
//!                                      ↘ node storage key → log records, state rows, vote
//! ```
//!
//! Every arrow is the one envelope of `envelope`: a key derived for this message alone, a
//! commitment to key and context, AES-256-GCM. So is what a node is given ([`transit`]).

mod envelope;

pub mod plaintext;

pub mod key;

pub mod context;

pub mod seal;

pub mod proof;

pub mod keyring;

pub mod keychain;

pub mod record;

pub mod storage;

pub mod transit;

pub mod unlock;

#[cfg(test)]
mod vectors;

pub use envelope::OpenError;
