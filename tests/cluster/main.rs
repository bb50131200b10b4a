//! Several daemons as one cluster: real processes, TLS and disks on loopback, driven through `secretctl` while they are
//! killed, stopped and started again.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]

mod checker;
