//! Attacks on real daemons, each named as the fact it should find true: who is refused, what it costs the manager, and
//! which line in the log says who tried.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]
#![expect(clippy::print_stderr, reason = "a failed test shows its daemon's log")]

mod clients;
mod clones;
#[expect(dead_code, reason = "a cluster has more uses in tests/cluster")]
#[path = "../cluster/cluster.rs"]
mod cluster;
mod containers;
#[path = "../e2e/door.rs"]
mod door;
mod evicted;
mod floods;
mod nodes;
mod snapshots;
mod strangers;
mod wire;
#[path = "../cluster/wires.rs"]
mod wires;
mod workers;
#[expect(dead_code, reason = "one machine has more uses in tests/e2e")]
#[path = "../e2e/world.rs"]
mod world;
