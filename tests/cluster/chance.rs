//! Faults at random: a seed stands for a schedule of nodes that are killed, stopped, frozen, cut off from all or from
//! one, promoted and demoted, several at a time, while clients work and a service is updated. Afterwards what the
//! clients saw must have an explanation, and one task runs as the service says.
//!
//! `SECRETD_FAULT_SEED` chooses the schedule and `SECRETD_FAULT_STEPS` its length; `scripts/soak` goes through many. What
//! the clients do at each moment is not repeated exactly, the schedule is.

use crate::{
    cluster::{Cluster, holders},
    load::{Load, sockets},
    split_mix::SplitMix,
    world::until,
};
use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

/// Managers 0 to 2 and this worker, which is promoted and demoted now and then.
const WORKER: usize = 3;
const NODES: usize = 4;

/// Steps of a run among the other tests: less than a minute.
const STEPS: u64 = 14;

/// From one step to the next: from less than a heartbeat to more than an election.
const PAUSE_MS: (u64, u64) = (50, 3500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Drained,
    Frozen,
    /// From all others.
    Cut,
    /// From the next one alone: each reaches the third, and neither knows what the other sees.
    Parted,
}

const FAULTS: [Fault; 5] =
    [Fault::Killed, Fault::Drained, Fault::Frozen, Fault::Cut, Fault::Parted];

struct Draw(SplitMix);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0.number() % end
    }
}

fn setting<T: FromStr<Err: Display>>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => default,
    }
}

fn inflict(cluster: &mut Cluster, n: usize, fault: Fault) {
    match fault {
        Fault::Killed => cluster.kill(n),
        Fault::Drained => cluster.stop(n),
        Fault::Frozen => cluster.freeze(n),
        Fault::Cut => cluster.cut(n),
        Fault::Parted => cluster.part(n, (n + 1) % WORKER),
    }
}

fn repair(cluster: &mut Cluster, n: usize, fault: Fault) {
    match fault {
        Fault::Killed | Fault::Drained => cluster.start(n),
        Fault::Frozen => cluster.thaw(n),
        Fault::Cut => cluster.heal(n),
        Fault::Parted => cluster.join_again(n, (n + 1) % WORKER),
    }
}

/// Asks some manager to change what the worker is; it may refuse, or be unable to.
fn turn(cluster: &Cluster, by: usize, order: &str) {
    cluster.nodes[by].ctl(["node", order, cluster.id(WORKER)]);
}

fn shake(cluster: &mut Cluster, draw: &mut Draw, steps: u64) {
    let mut faults = BTreeMap::new();
    for step in 0..steps {
        let n = usize::try_from(draw.below(NODES as u64)).unwrap();
        let kind = draw.below(12);
        let pause = PAUSE_MS.0 + draw.below(PAUSE_MS.1 - PAUSE_MS.0);
        if let Some(fault) = faults.remove(&n) {
            eprintln!("step {step}: {n} is no longer {fault:?}, then {pause} ms");
            repair(cluster, n, fault);
        } else if kind == 10 {
            let order = if step % 2 == 0 { "promote" } else { "demote" };
            eprintln!("step {step}: {order} {WORKER} by {n}, then {pause} ms");
            // A daemon that is down or asleep is not asked; one that is cut off is.
            if n != WORKER {
                turn(cluster, n, order);
            }
        } else if kind == 11 {
            eprintln!("step {step}: update the service by {n}, then {pause} ms");
            if n != WORKER {
                let round = format!("ROUND={step}");
                cluster.nodes[n].ctl(["service", "update", "--detach", "--env-add", &round, "web"]);
            }
        } else {
            let fault = FAULTS[usize::try_from(kind % 5).unwrap()];
            eprintln!("step {step}: {n} is {fault:?}, then {pause} ms");
            inflict(cluster, n, fault);
            faults.insert(n, fault);
        }
        #[expect(clippy::disallowed_methods, reason = "the schedule says when, not a state")]
        std::thread::sleep(Duration::from_millis(pause));
    }
    for (n, fault) in faults {
        eprintln!("at the end: {n} is no longer {fault:?}");
        repair(cluster, n, fault);
    }
}

#[test]
fn whatever_happens_at_random_what_clients_saw_has_an_explanation() {
    let seed = setting("SECRETD_FAULT_SEED", 1);
    let steps = setting("SECRETD_FAULT_STEPS", STEPS);
    eprintln!("SECRETD_FAULT_SEED={seed} SECRETD_FAULT_STEPS={steps}");
    let mut cluster = Cluster::wired(&[true, true, false]);
    cluster.hold(1);
    cluster.until_running_on(&[WORKER]);
    let load = Load::new();
    let managers = sockets(&cluster.nodes[..WORKER]);
    load.around(&managers, || {
        load.until_more(20);
        shake(&mut cluster, &mut Draw(SplitMix(seed)), steps);
        for n in 0..WORKER {
            cluster.until_serving(n);
        }
        load.until_more(20);
    });
    eprintln!("{}", load.summary());
    until("the worker to be one again", || {
        turn(&cluster, 0, "demote");
        let said = cluster.nodes[WORKER].ctl(["status", "--format", "{{.State}} {{.Role}}"]);
        (said.out.trim() == "active worker").then_some(())
    });
    cluster.until_voters(3);
    cluster.until_ready(NODES);
    load.check(&cluster);
    let all: Vec<_> = (0..WORKER).map(|n| cluster.nodes[n].ctl(["ls", "-q"]).ok()).collect();
    assert!(all.iter().all(|ids| *ids == all[0]), "the managers disagree");
    cluster.until_running_on(&[WORKER]);
    // What runs is what the service says now, whatever became of the updates.
    let format = "{{.Spec.TaskTemplate.ContainerSpec.Env}}";
    let said = cluster.ask(["service", "inspect", "--format", format, "web"]).out;
    // Without an update there is none.
    let wanted = said.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    until(&format!("one task with {}", said.trim()), || {
        let tasks = holders(&cluster.nodes[WORKER]);
        let environ = std::fs::read(format!("/proc/{}/environ", tasks.first()?)).ok()?;
        let fits = environ
            .split(|b| *b == 0)
            .any(|var| wanted.is_none_or(|wanted| var == wanted.as_bytes()));
        (tasks.len() == 1 && fits).then_some(())
    });
}
