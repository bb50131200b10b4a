//! Disks that take seconds for a sync: nobody is elected for it, and nothing is lost.
//!
//! `SECRETD_SLOW_MS` says how many milliseconds, `SECRETD_SLOW_WRITES` for how many writes.

use crate::{
    cluster::Cluster,
    disk::{Disk, Step},
    kept::{Kept, setting},
    replay::{Fate, Replay},
    world::{World, until},
};
use std::{fs, thread};

/// How often a manager said that somebody else leads, or nobody.
fn elections(world: &World) -> usize {
    fs::read_to_string(world.path("log")).unwrap().matches("leadership changed").count()
}

#[test]
fn a_disk_that_takes_seconds_elects_nobody_and_loses_nothing() {
    let ms = u32::try_from(setting("SECRETD_SLOW_MS", 1500)).unwrap();
    let writes = setting("SECRETD_SLOW_WRITES", 2);
    let mut cluster = Cluster::new(&[true, true]);
    let mut disks = Vec::new();
    for n in 0..3 {
        cluster.stop(n);
        disks.push(Disk::under(&mut cluster.nodes[n]));
        cluster.start(n);
        cluster.until_serving(n);
    }
    let mut kept = Kept::default();
    let leader = cluster.leader();
    let before: Vec<usize> = cluster.nodes.iter().map(elections).collect();
    // One follower, then both followers, then the leader alone, then all of them.
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    for slow in [vec![others[0]], others.clone(), vec![leader], vec![0, 1, 2]] {
        for n in &slow {
            disks[*n].slow(ms);
        }
        for write in 0..writes {
            let name =
                format!("slow-{slow:?}-{write}").replace(|c: char| !c.is_alphanumeric(), "-");
            let said = kept.create(&cluster.nodes[leader], name.trim_matches('-'));
            // A write of several syncs may take longer than its caller waits, who is told so.
            let unsure = said.err.contains("the change may or may not have been made");
            assert!(said.code == 0 || (unsure && ms > 3000), "{}", said.err);
        }
        for n in &slow {
            disks[*n].heal();
        }
        assert_eq!(cluster.leader(), leader, "with slow disks at {slow:?}");
    }
    let after: Vec<usize> = cluster.nodes.iter().map(elections).collect();
    assert_eq!(after, before, "elections each manager heard of");
    for n in 0..3 {
        kept.check(&cluster.nodes[n], "all are fast again");
    }
    for n in 0..3 {
        cluster.kill(n);
    }
    for n in 0..3 {
        cluster.start(n);
    }
    cluster.until_serving(0);
    kept.check(&cluster.nodes[0], "after all were killed");
}

/// Whether something as large as a config of [`Kept`] was written and synced since.
fn has_written(disk: &Disk, since: usize) -> bool {
    let mut written = None;
    disk.steps().iter().filter(|(end, _)| *end > since).any(|(_, step)| match step {
        Step::Write { handle, bytes, .. } if (8_000..64_000).contains(&bytes.len()) => {
            written = Some(*handle);
            false
        }
        Step::Synced { handle } => written == Some(*handle),
        _ => false,
    })
}

/// The followers write while the leader's own disk still works. Until it is done nobody hears of the write; and if the
/// leader forgets it, it must not take what the others have for something else.
#[test]
fn a_leader_that_lost_what_only_the_others_wrote_comes_back_as_one_of_them() {
    let mut cluster = Cluster::new(&[true, true]);
    let (mut disks, mut bases) = (Vec::new(), Vec::new());
    for n in 0..3 {
        cluster.stop(n);
        disks.push(Disk::under(&mut cluster.nodes[n]));
        bases.push(Replay::of(&cluster.nodes[n].data_dir()));
        cluster.start(n);
        cluster.until_serving(n);
    }
    let mut kept = Kept::default();
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    kept.create(&cluster.nodes[leader], "before").ok();
    let since = disks.iter().map(Disk::now).collect::<Vec<_>>();
    disks[leader].slow(8000);
    let ahead = thread::scope(|scope| {
        let ahead = scope.spawn(|| {
            let mut kept = Kept::default();
            let said = kept.create(&cluster.nodes[leader], "ahead");
            (kept, said)
        });
        until("the others to have it", || {
            others.iter().all(|n| has_written(&disks[*n], since[*n])).then_some(())
        });
        for n in &others {
            let shown = cluster.nodes[*n].ctl(["config", "ls", "--format", "{{.Name}}"]).ok();
            assert_eq!(shown, "before\n", "manager {n} shows what is not committed");
        }
        assert!(!ahead.is_finished(), "acknowledged before it was on the leader's disk");
        cluster.signal(leader, rustix::process::Signal::KILL);
        let (ahead, said) = ahead.join().unwrap();
        assert_ne!(said.code, 0, "the leader died: {}", said.out);
        ahead
    });
    kept = kept.unsure_of(&ahead);
    cluster.kill(leader);
    disks[leader].heal();
    let (data, mut replay) = (cluster.nodes[leader].data_dir(), bases.swap_remove(leader));
    for (_, step) in disks[leader].steps() {
        replay.step(&step);
    }
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    replay.crash(&Fate::Dropped, &data);
    cluster.start(leader);
    for n in 0..3 {
        cluster.until_serving(n);
    }
    for (n, name) in ["after-one", "after-two", "after-three"].iter().enumerate() {
        kept.create(&cluster.nodes[n], name).ok();
    }
    for n in 0..3 {
        kept.check(&cluster.nodes[n], &format!("manager {n} after the leader's power failed"));
    }
}
