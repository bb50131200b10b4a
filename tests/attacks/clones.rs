//! Certificates that were replaced, and one identity on two machines.
