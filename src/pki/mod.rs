//! The cluster's CA, node identities, join tokens, renewal, and the TLS connections made of them.
//!
//! A node makes a [`PrivateKey`], the [`Authority`] signs its request into an [`Identity`], [`Tls`] serves and
//! connects with it and can be given another at any time, and the far end of a connection is a [`Peer`]:
//!
//! ```text
//! PrivateKey ── request ──▶ Authority ── chain ──▶ Identity ──▶ Tls ──▶ listen / connect ──▶ Peer
//! ```

mod private_key;

mod authority;

mod peer;

mod identity;

mod token;

mod former;

mod refusal;

mod tls;

mod verify;

mod stream;

mod door;

mod account;

mod gate;

mod listener;

mod connector;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use authority::{Authority, AuthorityError, CaDigest, IssueError, requested_key};
pub use connector::{ConnectError, Contact, channel, connect, first_contact};
pub use door::network;
pub use former::{former, signed};
#[cfg(any(test, fuzzing))]
pub use gate::fuzz;
pub use gate::{Class, Limits, judge};
pub use identity::{Identity, IdentityError};
pub use listener::{Conn, Incoming, Io, KnownAddrs, listen, serve};
pub use peer::{BadCertificate, KeyId, Office, Peer, Serial};
pub use private_key::{BadKey, PrivateKey};
pub use refusal::TlsRefusal;
pub use tls::{Tls, TlsError};
pub use token::{BadToken, JoinToken, TokenHash};
