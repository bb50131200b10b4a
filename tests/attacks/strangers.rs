//! Clients without a certificate: what they can reach, keep and exhaust.
