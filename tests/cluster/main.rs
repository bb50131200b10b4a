//! Several daemons as one cluster: real processes, TLS and disks on loopback, driven through `secretctl` while they are
//! killed, stopped and started again.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]
#![expect(clippy::print_stderr, reason = "a failed test shows its daemon's log")]

mod addresses;
mod chance;
mod checker;
mod cluster;
mod cut;
mod deploy;
mod destroyed;
mod held;
mod keys;
mod load;
mod logs;
mod managers;
mod membership;
mod moving;
mod outlive;
mod recover;
mod refill;
mod removed;
mod root;
mod rotation;
mod sizes;
#[path = "../../src/kit/testing/split_mix.rs"]
mod split_mix;
mod stopped;
#[expect(dead_code, reason = "a TPM has more uses in tests/e2e")]
#[path = "../e2e/swtpm.rs"]
mod swtpm;
mod tpm;
mod traces;
mod wiped;
mod wires;
mod workers;
#[expect(dead_code, reason = "one machine has more uses in tests/e2e")]
#[path = "../e2e/world.rs"]
mod world;
