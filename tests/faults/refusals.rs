//! Disks that refuse: an error of the disk, a full disk; at each write, sync, rename and creation of a node's life. The
//! daemon says so, tells nobody that something was kept which was not, tries no sync again, and has everything when the
//! disk is well again.
//!
//! `SECRETD_CRASH_SEED` chooses the moments, `SECRETD_CRASH_MOMENTS` how many of each kind.

use crate::{
    disk::{
        CREATE, Disk, EIO, ENOSPC, MKDIR, RENAME, RESIZE, Refusal, SYNC, SYNCDIR, Step, UNLINK,
        WRITE,
    },
    kept::{HERE, Kept, init_if_new, setting},
    replay::Draw,
    world::{World, until},
};
use std::{collections::BTreeSet, fs};

/// Kinds of refusal: which operations, why, and whether for ever.
const KINDS: [(&str, u32, u32, bool); 8] = [
    ("a sync fails once", SYNC, EIO, false),
    ("the sync of a directory fails once", SYNCDIR, EIO, false),
    ("a write fails once", WRITE, EIO, false),
    ("writes fail from then on", WRITE, EIO, true),
    ("the disk is full", WRITE | CREATE | RESIZE | MKDIR, ENOSPC, true),
    ("a rename fails once", RENAME, EIO, false),
    ("there is no room for names", RENAME | CREATE | MKDIR, ENOSPC, true),
    ("nothing can be removed", UNLINK, EIO, true),
];

/// A life of a node as far as it gets: founded, written to, given another unlocker, written to, stopped, opened again.
fn live(world: &mut World, kept: &mut Kept) -> Vec<String> {
    let mut said = Vec::new();
    if !up(world) {
        return said;
    }
    let mut note = |answer: crate::world::Said| {
        if answer.code != 0 {
            said.push(answer.err);
        }
    };
    note(world.ctl(["init"].into_iter().chain(HERE)));
    for name in ["one", "two"] {
        note(kept.create(world, name));
    }
    note(world.ctl(["unlocker", "add", "recovery"]));
    for name in ["three", "four"] {
        note(kept.create(world, name));
    }
    if !world.has_ended() {
        world.stop();
        if up(world) {
            let five = kept.create(world, "five");
            said.extend((five.code != 0).then_some(five.err));
        }
    }
    said
}

/// Starts the daemon, which may refuse to start on such a disk, or to go on.
fn up(world: &mut World) -> bool {
    world.spawn();
    until("the daemon to answer or to end", || {
        let ended = world.has_ended();
        (ended || world.ctl(["status"]).code == 0).then_some(!ended)
    })
}

/// How many of these operations there are in a life on a disk that is well.
fn count(steps: &[(usize, Step)], operations: u32) -> usize {
    let operation = |step: &Step| match step {
        Step::Write { .. } => WRITE,
        Step::Create { .. } => CREATE,
        Step::Resize { .. } => RESIZE,
        Step::Sync { .. } => SYNC,
        Step::DirSync { .. } => SYNCDIR,
        Step::Rename { .. } => RENAME,
        Step::Unlink { .. } => UNLINK,
        Step::Mkdir { .. } => MKDIR,
        Step::Open { .. } | Step::Synced { .. } | Step::SyncFailed { .. } => 0,
        Step::DirSynced { .. } => 0,
    };
    steps.iter().filter(|(_, step)| operation(step) & operations != 0).count()
}

/// No file is written or synced again through a descriptor whose sync failed.
fn no_sync_is_tried_again(disk: &Disk, what: &str) {
    let mut failed = BTreeSet::new();
    for (_, step) in disk.steps() {
        match step {
            Step::SyncFailed { handle } if handle != 0 => drop(failed.insert(handle)),
            Step::Sync { handle, path } => {
                assert!(!failed.contains(&handle), "{what}: {path} is synced again");
            }
            _ => {}
        }
    }
}

/// Returns whether anything was refused at all.
fn judge(what: &str, refusal: Refusal) -> bool {
    let mut world = World::new();
    let disk = Disk::under(&mut world);
    disk.refuse(refusal);
    let mut kept = Kept::default();
    let said = live(&mut world, &mut kept);
    for error in &said {
        assert!(!error.contains("panicked"), "{what}: {error}");
        assert!(error.contains("error: ") && error.contains("hint: "), "{what}: {error}");
    }
    if world.has_ended() {
        let ended = world.ended();
        assert!(ended.code().is_some_and(|code| code != 0), "{what}: {ended}");
    } else {
        world.kill();
    }
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(!log.contains("panicked"), "{what}: {log}");
    no_sync_is_tried_again(&disk, what);
    disk.heal();
    world.start();
    init_if_new(&world);
    kept.check(&world, what);
    kept.create(&world, "after").ok();
    world.kill();
    disk.refused() > 0
}

#[test]
fn whatever_the_disk_refuses_nothing_acknowledged_is_lost() {
    let seed = setting("SECRETD_CRASH_SEED", 1);
    let moments = usize::try_from(setting("SECRETD_CRASH_MOMENTS", 4)).unwrap();
    let mut draw = Draw::from(seed);
    let mut world = World::new();
    let disk = Disk::under(&mut world);
    assert_eq!(live(&mut world, &mut Kept::default()), <[String; 0]>::default());
    world.kill();
    let steps = disk.steps();
    let (mut tried, mut refused) = (0, 0);
    for (kind, operations, error, forever) in KINDS {
        let most = count(&steps, operations);
        let mut chosen = BTreeSet::new();
        while chosen.len() < moments.min(most) {
            chosen.insert(draw.below(most));
        }
        for pass in chosen {
            let what = format!("{kind} after {pass} (SECRETD_CRASH_SEED={seed})");
            eprintln!("{what}");
            let pass = u32::try_from(pass).unwrap();
            let reached = judge(&what, Refusal { operations, pass, error, forever });
            tried += 1;
            refused += usize::from(reached);
        }
    }
    // Two lives are not the same to the last write.
    assert!(refused * 4 > tried * 3, "only {refused} of {tried} refusals were reached");
}
