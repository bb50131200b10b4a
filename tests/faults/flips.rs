//! Bits that turn round in any file of a node, or in a backup: the daemon refuses to start and says what to do, or has
//! everything; it never shows anything else, and never panics.
//!
//! `SECRETD_CRASH_SEED` chooses the bits, `SECRETD_CRASH_FLIPS` how many of each file.

use crate::{
    kept::{Kept, setting, state},
    replay::{Draw, is_zero},
    world::{Said, World, files_with, until},
};
use std::{fs, path::PathBuf};

/// Files that hold something, the key file among them.
fn files(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths = files_with(&world.data_dir(), b"");
    paths.push(world.path("data.key"));
    let read = |path: PathBuf| fs::read(&path).map(|bytes| (path, bytes)).ok();
    let holds = |(path, bytes): &(PathBuf, Vec<u8>)| {
        // The process id of the daemon that runs, and the segment that is being filled, say nothing.
        !path.ends_with("lock") && !is_zero(bytes)
    };
    paths.into_iter().filter_map(read).filter(holds).collect()
}

/// A bit of a byte that is not zero: what is still empty says nothing.
fn flip(bytes: &[u8], draw: &mut Draw) -> (usize, Vec<u8>) {
    let held: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = held[draw.below(held.len())];
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << draw.below(8);
    (at, flipped)
}

#[test]
fn a_flipped_bit_is_told_or_does_no_harm() {
    let seed = setting("SECRETD_CRASH_SEED", 1);
    let flips = setting("SECRETD_CRASH_FLIPS", 6);
    let mut world = World::initialised();
    let mut kept = Kept::default();
    kept.fill(&world, 6);
    world.ctl(["unlocker", "add", "recovery"]).ok();
    world.stop();
    let mut draw = Draw::from(seed);
    let whole = files(&world);
    assert!(whole.len() >= 5, "log, state, keys, identity and key file: {whole:?}");
    let mut refused = 0;
    for (path, bytes) in &whole {
        for _ in 0..flips {
            let (at, flipped) = flip(bytes, &mut draw);
            let what = format!("{} byte {at} (SECRETD_CRASH_SEED={seed})", path.display());
            fs::write(path, flipped).unwrap();
            let before = fs::read_to_string(world.path("log")).unwrap_or_default().len();
            world.spawn();
            let up = until("the daemon to answer or to end", || {
                let ended = world.has_ended();
                (ended || world.ctl(["status"]).code == 0).then_some(!ended)
            });
            let log = || fs::read_to_string(world.path("log")).unwrap()[before..].to_owned();
            if up && state(&world) == "active" {
                kept.check(&world, &what);
                world.kill();
            } else if up {
                // Locked, if the way that opened it is what was hurt; or damaged, and it shows nothing of it.
                let shown = world.ctl(["config", "ls"]);
                assert_ne!(shown.code, 0, "{what}: {}", shown.out);
                assert!(shown.err.contains("hint: "), "{what}: {}", shown.err);
                world.kill();
                refused += 1;
            } else {
                let said = log();
                assert!(said.contains("hint: "), "{what}: {said}");
                assert!(!said.contains("panicked"), "{what}: {said}");
                world.ended();
                refused += 1;
            }
            // Everything as it was: a daemon that came up has written.
            for (path, bytes) in &whole {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    assert!(refused > 10, "only {refused} flips were noticed");
    world.start();
    kept.check(&world, "at the end");
}

#[test]
fn a_flipped_bit_in_a_backup_is_found_before_anything_is_restored() {
    let seed = setting("SECRETD_CRASH_SEED", 1);
    let world = World::initialised();
    let mut kept = Kept::default();
    kept.fill(&world, 3);
    let file = world.path("backup");
    let name = file.to_str().unwrap();
    let said = world.ctl(["backup", "create", name, "--recipient", "recovery"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let good = fs::read(&file).unwrap();
    let mut draw = Draw::from(seed);
    for _ in 0..3 * setting("SECRETD_CRASH_FLIPS", 6) {
        let (at, flipped) = flip(&good, &mut draw);
        fs::write(&file, flipped).unwrap();
        let Said { code, err, .. } = world.ctl(["backup", "verify", name]);
        assert_ne!(code, 0, "byte {at}");
        assert!(err.contains("hint: "), "byte {at}: {err}");
    }
    fs::write(&file, &good).unwrap();
    world.ctl(["backup", "verify", name]).ok();
    kept.check(&world, "a bad backup harms nobody");
}
