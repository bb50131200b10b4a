//! Kill −9 at any moment and restart: everything acknowledged is there.

use crate::world::World;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

#[test]
fn everything_acknowledged_survives_kill_9_at_any_moment() {
    let mut world = World::initialised();
    let acknowledged = Mutex::new(BTreeSet::new());
    let next = AtomicUsize::new(0);
    for round in 0..6 {
        let stop = AtomicBool::new(false);
        let pid = world.pid();
        let start = acknowledged.lock().unwrap().len();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let name = format!("s{}", next.fetch_add(1, Ordering::SeqCst));
                        if world.ctl_with(["create", &name, "-"], name.as_bytes()).code == 0 {
                            acknowledged.lock().unwrap().insert(name);
                        }
                    }
                });
            }
            // A different number of writes in each round, so that the kill falls elsewhere each time.
            crate::world::until("some writes", || {
                (acknowledged.lock().unwrap().len() >= start + 3 + round * 7).then_some(())
            });
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
            stop.store(true, Ordering::SeqCst);
        });
        world.kill();
        world.start();
        let names = world.ctl(["ls", "--format", "{{.Name}}"]).ok();
        let there: BTreeSet<_> = names.lines().map(str::to_owned).collect();
        let lost: Vec<_> = acknowledged.lock().unwrap().difference(&there).cloned().collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}
