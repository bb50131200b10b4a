//! The main job with real parts: daemons, disks, TLS, sandboxed processes and containers, driven through `secretctl`.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]
#![expect(clippy::print_stderr, reason = "a failed test shows its daemon's log")]

mod backups;
mod bad_input;
mod crash;
mod delivery;
mod docker;
mod door;
mod memory;
mod stolen;
mod swtpm;
mod tour;
mod tpm;
mod unlocking;
#[expect(dead_code, reason = "one machine has more uses in tests/faults")]
mod world;
