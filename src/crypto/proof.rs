//! What the keyring asks for before it opens a payload: a value that one place of the code can make.
//!
//! Who may have a payload is decided floors above, from the state of the cluster. Still nobody may open one without that
//! decision. So the keyring asks for the types that [`Proofs`] names for [`Gate`]. A trait is implemented once for a
//! type, or the build stops: what the store says there is the only answer, and the fields of its proofs are private to
//! the checks that make them. A [`Context`] by itself, which anybody can write down, opens nothing.
//!
//! ```
//! use secretd::crypto::{OpenError, keyring::Keyring, plaintext::Plaintext, seal::Sealed};
//! use secretd::store::{Comparison, Release};
//!
//! fn open(keyring: &Keyring, release: Release, sealed: &Sealed) -> Result<Plaintext, OpenError> {
//!     release.open(keyring, sealed)
//! }
//! fn compare(
//!     keyring: &Keyring,
//!     comparison: Comparison,
//!     sealed: &Sealed,
//!     plain: &Plaintext,
//! ) -> Result<bool, OpenError> {
//!     keyring.is_same(comparison, sealed, plain)
//! }
//! ```
//!
//! With the context alone neither builds:
//!
//! ```compile_fail,E0308
//! use secretd::crypto::{OpenError, context::Context, keyring::Keyring, plaintext::Plaintext, seal::Sealed};
//!
//! fn open(keyring: &Keyring, context: Context, sealed: &Sealed) -> Result<Plaintext, OpenError> {
//!     keyring.open_sealed(context, sealed)
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use secretd::crypto::{OpenError, context::Context, keyring::Keyring, plaintext::Plaintext, seal::Sealed};
//!
//! fn compare(
//!     keyring: &Keyring,
//!     context: Context,
//!     sealed: &Sealed,
//!     plain: &Plaintext,
//! ) -> Result<bool, OpenError> {
//!     keyring.is_same(context, sealed, plain)
//! }
//! ```
//!
//! No proof is made by hand, none is used twice, and the one for comparing does not open:
//!
//! ```compile_fail,E0451
//! use secretd::{crypto::context::Context, store::Comparison};
//!
//! fn forge(context: Context) -> Comparison {
//!     Comparison { context }
//! }
//! ```
//!
//! ```compile_fail,E0382
//! use secretd::{crypto::{keyring::Keyring, seal::Sealed}, store::Release};
//!
//! fn twice(keyring: &Keyring, release: Release, a: &Sealed, b: &Sealed) {
//!     let _ = (release.open(keyring, a), release.open(keyring, b));
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use secretd::crypto::{OpenError, keyring::Keyring, plaintext::Plaintext, seal::Sealed};
//! use secretd::store::Comparison;
//!
//! fn open(
//!     keyring: &Keyring,
//!     comparison: Comparison,
//!     sealed: &Sealed,
//! ) -> Result<Plaintext, OpenError> {
//!     keyring.open_sealed(comparison, sealed)
//! }
//! ```

use super::context::Context;

/// A check that passed. It says what it was about, and is used up by asking.
pub trait Proof {
    fn into_context(self) -> Context;
}

/// Which values prove what.
pub trait Proofs {
    /// That a payload may be opened.
    type Opening: Proof;
    /// That a payload may be compared with one at hand.
    type Comparing: Proof;
}

/// The door of the keyring. [`Proofs`] is implemented for it in one place, beside the checks.
#[derive(Debug)]
pub enum Gate {}

/// What opens a payload.
pub type Opening = <Gate as Proofs>::Opening;

/// What compares a payload.
pub type Comparing = <Gate as Proofs>::Comparing;
