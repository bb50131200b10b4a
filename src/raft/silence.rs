//! Stands for election when the leader has fallen silent.
//!
//! openraft does so too, and it stays the second line. But it looks only every 450 ms, and one that lost an election to a
//! longer log waits 3 s more in the next one, however long ago that was. Whether a candidate is elected is for the voters
//! to say, so standing early can cost time but never safety: nobody grants a vote who heard the leader in the last 1.5 s.

use super::{
    handle::{Core, ELECTION},
    types::Vote,
};
use crate::kit::task::Stop;
use openraft::ServerState;
use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often we look.
const LOOK: Duration = Duration::from_millis(50);
/// How much longer than a voter's grace for its leader we wait, each time another while: whoever stands first should have
/// the others' votes before the next one stands.
const SPREAD_MS: Range<u32> = 100..1300;
/// How long a candidate that is not this manager may take to lead, after which this manager stands: its log was longer.
const CANDIDATE_MS: Range<u32> = 200..500;

/// Notes when a leader called.
#[derive(Debug)]
pub(super) struct Calls {
    under_way: AtomicUsize,
    last: Mutex<Instant>,
}

/// A call of a leader while it is answered.
pub(super) struct Call<'a>(&'a Calls);

impl Calls {
    pub(super) fn new() -> Self {
        Self { under_way: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }

    pub(super) fn begin(&self) -> Call<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    /// Since the last call; none as long as one is answered, for a slow disk here is no silence of the leader.
    fn silent(&self, now: Instant) -> Duration {
        if self.under_way.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        now.duration_since(*self.last.lock().expect("no holder of this lock panics"))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().expect("no holder of this lock panics") = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whose silence is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The leader's, whom this manager follows.
    Leader(Vote),
    /// That of somebody who stands for election.
    Candidate(Vote),
    /// Nobody's: this manager leads, stands itself, or is no voter.
    Nobody,
}

/// What is waited for, since when, and how long.
#[derive(Debug)]
struct Wait {
    awaited: Awaited,
    since: Instant,
    patience: Duration,
}

impl Wait {
    fn new(awaited: Awaited, since: Instant) -> Self {
        let patience = match awaited {
            Awaited::Leader(_) => ELECTION.1 + random(SPREAD_MS),
            Awaited::Candidate(_) => random(CANDIDATE_MS),
            Awaited::Nobody => Duration::MAX,
        };
        Self { awaited, since, patience }
    }

    /// Whether to stand now, given whom we await and for how long its calls have been missing. Afterwards this manager
    /// has voted for itself and awaits nobody, until somebody else is heard of.
    fn is_over(&mut self, awaited: Awaited, silent: Duration, now: Instant) -> bool {
        if self.awaited != awaited {
            *self = Self::new(awaited, now);
        }
        let waited = now.duration_since(self.since);
        match awaited {
            Awaited::Leader(_) => waited.min(silent) > self.patience,
            Awaited::Candidate(_) => waited > self.patience,
            Awaited::Nobody => false,
        }
    }
}

fn random(range: Range<u32>) -> Duration {
    let random = getrandom::u32().expect("the kernel gives randomness once booted");
    Duration::from_millis(u64::from(range.start + random % (range.end - range.start)))
}

fn awaited(core: &Core) -> Awaited {
    let metrics = core.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.membership();
    let votes = members.voter_ids().any(|id| id == core.raft_id);
    let idle = matches!(metrics.state, ServerState::Leader | ServerState::Shutdown);
    if idle || !votes || !core.may_stand() || metrics.vote.leader_id.node_id == core.raft_id {
        return Awaited::Nobody;
    }
    match metrics.vote.committed {
        true => Awaited::Leader(metrics.vote),
        false => Awaited::Candidate(metrics.vote),
    }
}

/// Works until told to stop.
pub(super) async fn watch(core: Arc<Core>, stop: Stop) {
    let mut wait = Wait::new(Awaited::Nobody, Instant::now());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
        let now = Instant::now();
        if wait.is_over(awaited(&core), core.calls.silent(now), now) {
            tracing::info!(silent = ?wait.awaited, "standing for election");
            if core.raft.trigger().elect().await.is_err() {
                return;
            }
            wait = Wait::new(Awaited::Nobody, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn vote(node: u64, committed: bool) -> Vote {
        Vote { leader_id: openraft::LeaderId { term: 7, node_id: node }, committed }
    }

    #[test]
    fn a_leader_is_given_up_only_after_the_voters_grace_for_it_is_over() {
        let (start, leader) = (Instant::now(), Awaited::Leader(vote(2, true)));
        for _ in 0..100 {
            let mut wait = Wait::new(Awaited::Nobody, start);
            assert!(!wait.is_over(leader, 9 * SECOND, start), "just heard of");
            assert!(!wait.is_over(leader, ELECTION.1, start + 9 * SECOND), "it called meanwhile");
            assert!(!wait.is_over(leader, 9 * SECOND, start + ELECTION.1));
            assert!(wait.is_over(leader, 3 * SECOND, start + 3 * SECOND));
        }
    }

    #[test]
    fn a_candidate_gets_its_time_and_each_other_one_anew() {
        let start = Instant::now();
        let (two, three) = (Awaited::Candidate(vote(2, false)), Awaited::Candidate(vote(3, false)));
        let mut wait = Wait::new(Awaited::Nobody, start);
        assert!(!wait.is_over(two, SECOND, start));
        assert!(!wait.is_over(three, SECOND, start + SECOND));
        assert!(!wait.is_over(three, SECOND, start + SECOND + SECOND / 10));
        assert!(wait.is_over(three, SECOND, start + 2 * SECOND));
        assert!(!wait.is_over(Awaited::Nobody, 9 * SECOND, start + 9 * SECOND));
    }

    #[test]
    fn a_call_that_is_answered_slowly_is_no_silence() {
        let calls = Calls::new();
        let later = || Instant::now() + 9 * SECOND;
        let call = calls.begin();
        assert_eq!(calls.silent(later()), Duration::ZERO);
        drop(call);
        assert!(calls.silent(later()) > 8 * SECOND);
    }
}
