//! The cluster's CA, node identities, join tokens, renewal, and the TLS configurations made of them.
