//! Everything on disk under faults: daemons that die at every named place, disks that lose, refuse, delay and damage.
//! After each, whatever was acknowledged is there, nothing damaged is shown, and the message says what to do.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]
#![expect(clippy::print_stderr, reason = "a failed test shows its daemon's log")]

#[expect(dead_code, reason = "a cluster has more uses in tests/cluster")]
#[path = "../cluster/cluster.rs"]
mod cluster;
mod disk;
mod flips;
mod kept;
mod kills;
mod power;
mod read_only;
mod refusals;
mod replay;
mod slow;
#[path = "../../src/kit/testing/split_mix.rs"]
mod split_mix;
#[path = "../cluster/wires.rs"]
mod wires;
#[expect(dead_code, reason = "one machine has more uses in tests/e2e")]
#[path = "../e2e/world.rs"]
mod world;
