//! A simulated cluster: actions drawn from a seed, the leader's decisions made from a view that may lag, and named
//! invariants after every step. No network, no disk, no real time: thousands of steps a second.
//!
//! A failure prints its seed. `SECRETD_MODEL_SEED=N` runs that one again, `SECRETD_MODEL_RUNS` and
//! `SECRETD_MODEL_STEPS` say how much; `scripts/soak` does so for long.

mod draw;
mod invariants;
mod ledger;
mod world;

use world::World;

/// A number from the environment, for reproducing and for soaking.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn any_history_of_a_cluster_keeps_the_invariants() {
    let steps = setting("SECRETD_MODEL_STEPS").unwrap_or(600);
    let seeds = match setting("SECRETD_MODEL_SEED") {
        Some(first) => first..first + setting("SECRETD_MODEL_RUNS").unwrap_or(1),
        None => 1..1 + setting("SECRETD_MODEL_RUNS").unwrap_or(12),
    };
    let mut seen = ledger::Seen::default();
    for seed in seeds.clone() {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        world.settle();
        seen.add(world.seen());
    }
    // A simulation in which nothing happens finds nothing.
    if seeds.end - seeds.start >= 12 && steps >= 600 {
        seen.assert_varied();
    }
}
