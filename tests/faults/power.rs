//! The power fails: whatever was not synced is gone, or half there, and the daemon starts from that.
//!
//! One daemon works on a disk that writes everything down; then the disk is laid out as it may have been after any of its
//! steps, and another daemon starts on it. `SECRETD_CRASH_SEED` chooses the steps, `SECRETD_CRASH_IMAGES` how many;
//! `scripts/soak` takes many.

use crate::{
    disk::{Disk, Step},
    kept::{Kept, init_if_new, setting, state},
    replay::{Draw, Fate, Replay, is_zero},
    world::World,
};
use std::{collections::BTreeSet, fs};

/// What was said, and how far the trace was then.
struct Story {
    disk: Disk,
    world: World,
    /// From here on the node belongs to a cluster.
    founded: usize,
    /// What was kept, from here on.
    kept: Vec<(usize, Kept)>,
}

/// A life of a node: founded, written to until a segment is full, given another unlocker, stopped, opened again, killed.
fn story() -> Story {
    let mut world = World::new();
    let disk = Disk::under(&mut world);
    world.start();
    world.init();
    let founded = disk.now();
    let mut kept = Kept::default();
    let mut all = Vec::new();
    let mut create = |world: &World, name: &str| {
        kept.create(world, name).ok();
        all.push((disk.now(), kept.clone()));
    };
    create(&world, "one");
    create(&world, "large");
    world.ctl(["unlocker", "add", "recovery"]).ok();
    create(&world, "two");
    create(&world, "larger");
    create(&world, "three");
    world.stop();
    world.start();
    create(&world, "four");
    world.kill();
    Story { disk, world, founded, kept: all }
}

#[test]
fn whenever_the_power_fails_everything_acknowledged_is_there() {
    let (seed, images) = (setting("SECRETD_CRASH_SEED", 1), setting("SECRETD_CRASH_IMAGES", 20));
    let Story { disk, world, founded, kept } = story();
    let steps = disk.steps();
    let everything = &kept.last().unwrap().1;
    let key = fs::read(world.path("data.key")).unwrap();
    // Filling the next segment with zeros is most of the steps, and none of the interest.
    let moments: Vec<usize> = (0..steps.len())
        .filter(|n| !matches!(&steps[*n].1, Step::Write { bytes, .. } if is_zero(bytes)))
        .collect();
    let mut draw = Draw::from(seed);
    let mut chosen = BTreeSet::new();
    while chosen.len() < usize::try_from(images).unwrap().min(moments.len()) {
        chosen.insert(moments[draw.below(moments.len())]);
    }
    let mut replay = Replay::default();
    for (n, (end, step)) in steps.iter().enumerate() {
        replay.step(step);
        if !chosen.contains(&n) {
            continue;
        }
        let fate = match draw.below(4) {
            0 => Fate::Dropped,
            1 => Fate::Torn(draw.clone()),
            _ => Fate::Some(draw.clone()),
        };
        let what = format!("SECRETD_CRASH_SEED={seed}: step {n} of {}, {fate:?}", steps.len());
        let mut after = World::new();
        fs::create_dir(after.data_dir()).unwrap();
        replay.crash(&fate, &after.data_dir());
        after.file("data.key", &key);
        fs::set_permissions(after.path("data.key"), owner_only()).unwrap();
        eprintln!("{what}");
        after.start();
        let was_founded = *end >= founded;
        if was_founded {
            assert_eq!(state(&after), "active", "{what}");
        } else {
            init_if_new(&after);
        }
        let acknowledged =
            kept.iter().rev().find(|(at, _)| at <= end).map(|(_, kept)| kept.clone());
        let mut now = acknowledged.unwrap_or_default().unsure_of(everything);
        now.check(&after, &what);
        now.create(&after, "after").ok();
        after.kill();
        if n % 4 == 0 {
            after.start();
            now.check(&after, &what);
            after.kill();
        }
    }
}

fn owner_only() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o600)
}
