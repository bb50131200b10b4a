//! Hostile input to `secretctl`: what a checkout, a directory or a server may do to who runs it.
