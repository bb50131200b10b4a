//! A leader that goes sees to its succession: it asks others to stand for election, where they would take 1.6 to 2.8 s to
//! find out by its silence.
//!
//! Who stands is elected only as Raft lets it be, so asking does no harm, whoever is asked and however often.
//! One that hears a leader grants no vote for a while, and openraft can neither transfer the lead nor end that while; but
//! who stood itself is free to grant. Among candidates of one term openraft ranks them by their ids. So managers are asked
//! in that order until one has a majority: each is voted for by all who stood before it.

use super::{
    forward::Contact,
    handle::{Core, Leader, Raft},
    hearing::Heard,
    members::MemberError,
    types::Member,
};
use crate::wire::v1;
use openraft::{RaftMetrics, ServerState, error::Fatal};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

/// How long a candidate waits for the others' votes: a few fsyncs.
const VOTES: Duration = Duration::from_millis(250);
/// How long one that is asked may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How long the others may take to get what was proposed last.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Who was silent for longer is not asked.
const SILENCE: Duration = Duration::from_secs(1);

/// Whom to ask, in which order, at which moment of the leader's.
struct Succession {
    term: u64,
    heirs: Vec<(u64, Member)>,
}

impl Raft {
    /// Takes no more proposals and has another lead, if this manager leads and the others could do without it. For a
    /// manager that stops; takes 3 s at the very most.
    pub async fn hand_over(&self) {
        let core = &self.core;
        if !matches!(core.leader(), Leader::This) || self.status().voters.len() < 3 {
            return;
        }
        core.leaving.store(true, Ordering::Relaxed);
        let voters: BTreeSet<u64> = self.status().voters.into_iter().collect();
        let caught_up = |metrics: &RaftMetrics<u64, Member>| {
            let matched = |id| metrics.replication.as_ref()?.get(id)?.map(|id| id.index);
            let heard = |id| core.is_heard(id, metrics.current_term);
            let others = voters.iter().filter(|id| **id != core.raft_id && heard(**id));
            others.into_iter().all(|id| matched(id) >= metrics.last_log_index)
        };
        let wait = core.raft.wait(Some(CATCH_UP));
        if let Err(error) = wait.metrics(caught_up, "the others have everything").await {
            tracing::debug!(%error, "not everybody has everything");
        }
        let succession = self.succession(&voters);
        core.succeed(succession).await;
    }

    /// As [`Raft::set_voters`], for voters without this manager, which leads: then has one of them lead.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn resign(&self, voters: BTreeSet<u64>) -> Result<(), MemberError> {
        let succession = self.succession(&voters);
        self.set_voters(voters).await?;
        self.core.succeed(succession).await;
        Ok(())
    }

    fn succession(&self, voters: &BTreeSet<u64>) -> Succession {
        let (status, contacts): (_, BTreeMap<u64, Contact>) = (self.status(), self.core.contacts());
        let is_heard =
            |id: &u64| contacts.get(id).and_then(|c| c.silent).is_some_and(|s| s < SILENCE);
        let heirs = voters.iter().copied().filter(is_heard);
        let heirs = heirs.filter_map(|id| Some((id, status.members.get(&id)?.clone())));
        Succession { term: status.term, heirs: heirs.collect() }
    }
}

impl Core {
    fn is_heard(&self, id: u64, term: u64) -> bool {
        self.network.silent(id, term).is_some_and(|silent| silent < SILENCE)
    }

    async fn succeed(&self, succession: Succession) {
        let Succession { term, heirs } = succession;
        for (id, member) in heirs {
            let request = v1::StandRequest { target: id, term };
            let asked =
                self.network.call((id, &member), request, ANSWER, async |mut client, request| {
                    client.stand(request).await
                });
            match asked.await {
                Ok(v1::StandResponse { leads: true }) => {
                    tracing::info!(leader = %member.node, "handed over the lead");
                    return;
                }
                Ok(v1::StandResponse { leads: false }) => {}
                Err(error) => tracing::debug!(%error, heir = %member.node, "it does not stand"),
            }
        }
        tracing::info!("nobody took over the lead yet; the others will elect somebody");
    }

    /// Stands for election in place of `leader`, if that leads this term. Returns whether this manager was elected.
    pub(super) async fn stand(&self, leader: Heard, term: u64) -> Result<bool, Fatal<u64>> {
        if !self.is_led_by(leader, term) {
            return Ok(false);
        }
        let leader = leader.identity().node;
        tracing::info!(%leader, term, "standing for election: the leader goes");
        self.raft.trigger().elect().await?;
        let wait = self.raft.wait(Some(VOTES));
        let elected = |metrics: &RaftMetrics<u64, Member>| {
            metrics.state == ServerState::Leader && metrics.current_term > term
        };
        Ok(wait.metrics(elected, "elected").await.is_ok())
    }
}
