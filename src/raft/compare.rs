//! Managers tell each other how far they are and what their state comes to, and remember it of each other: so one whose
//! disk forgot what it had promised is found out, and so is one whose state is another than that of the rest.
//!
//! *Forgotten promises.* A manager that is started from an older copy of its disk (a virtual machine put back to a
//! snapshot) could vote a second time in a term, or help to elect somebody who lacks an entry that it had acknowledged
//! itself. It cannot know by itself. So:
//!
//! - A witness beside the run directory, which a copy of the data directory does not bring back, says how far the log was
//!   written since the machine booted ([`super::log`]). With it, a log that ends before is found at once, and one that
//!   does not may be trusted at once.
//! - Without it, after a boot, a manager is *on probation*: it takes no entries, grants no vote and does not stand before
//!   it has heard the leader of its term or a later one, or so many of the others that one of them was part of every
//!   majority it may have been part of (two of two others, three of four). What they say of it must not be more than its
//!   disk says. And it takes over their memory: for a while it votes for nobody whose log is shorter than theirs.
//! - A leader that is told by a follower that it lacks a committed entry which it had acknowledged sends it no more.
//!
//! The time is bounded ([`PATIENCE`]): if too many of the others are away for longer, a manager on probation goes on with
//! what it knows. Otherwise two machines of three that come back after a power failure could never go on without the
//! third. What this leaves open: a manager whose machine was put back to a snapshot helps one that was away to a lead, while
//! whoever else has what was acknowledged meanwhile is away for longer than that. The entry is lost then, but not in
//! silence: whoever has it does not obey ([`super::damage`]).
//!
//! *Other states.* What is applied is digested ([`super::digest`]), and digests of the same entry are compared. One that
//! differs from what more than half of the voters have stands aside. If nobody has that many, as between two, nobody can
//! say who is right: both go on, since stopping both would be certain harm, and say so in the log and in `status`.

use super::{
    codec,
    digest::Digest,
    handle::Core,
    network::Peers,
    network::needed,
    types::{LogId, Member, Vote},
};
use crate::{
    kit::{id::NodeId, task::Stop},
    wire::{
        Malformed,
        v1::{self, raft_client::RaftClient},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tonic::Request;
use tracing::{info, warn};

/// How often managers compare, and how often one on probation asks.
const EVERY: Duration = Duration::from_secs(2);
const PROBATION: Duration = Duration::from_millis(250);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// Votes that were under way when this manager stopped have come or never will.
const LATE_VOTES: Duration = Duration::from_secs(1);
/// For so long after its start a manager waits for others, and gives way to longer logs: machines that lost their power
/// together are back together by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a damaged manager said of itself counts for so long; it repeats it more often.
const REPORT: Duration = Duration::from_secs(15);
/// How often a damaged manager says so.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(4);
/// Digests kept of each other manager.
const DIGESTS: usize = 64;
/// No message says more of these.
const TOLD: usize = 64;
/// Of what another says is wrong with it.
const REASON: usize = 1024;

/// How far a manager is, as it says itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) raft_id: u64,
    /// The last entry on its disk.
    last: Option<LogId>,
    /// The last one that is committed and on its disk; never goes back.
    kept: Option<LogId>,
    /// The last vote on its disk; never goes back.
    vote: Option<Vote>,
    leads: bool,
    digests: BTreeMap<u64, Digest>,
    /// What is wrong with it.
    damage: String,
}

/// What another manager knows of this one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    kept: Option<LogId>,
    vote: Option<Vote>,
}

/// What is remembered of another manager.
#[derive(Debug, Default)]
struct Page {
    known: Known,
    digests: BTreeMap<u64, Digest>,
    /// Found by this manager.
    trouble: Option<String>,
    /// Said by the other, and when.
    report: Option<(String, Instant)>,
}

/// What is remembered of the others, by Raft id.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<BTreeMap<u64, Page>>);

/// Whether this manager may act on what its disk says.
#[derive(Debug)]
pub(super) struct Probation {
    passed: AtomicBool,
    /// Votes for nobody with a shorter log, for a while.
    floor: Mutex<Option<LogId>>,
    since: Instant,
}

impl Probation {
    pub(super) fn new(passed: bool) -> Self {
        let (passed, floor) = (AtomicBool::new(passed), Mutex::default());
        Self { passed, floor, since: Instant::now() }
    }

    pub(super) fn pass(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }

    /// How long a log must be to be preferred, if that still counts.
    pub(super) fn floor(&self) -> Option<LogId> {
        let floor = *self.floor.lock().expect("no holder of this lock panics");
        floor.filter(|_| self.since.elapsed() < PATIENCE)
    }

    fn raise(&self, last: Option<LogId>) {
        let mut floor = self.floor.lock().expect("no holder of this lock panics");
        *floor = (*floor).max(last);
    }
}

/// Whose digest is right.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Agreed,
    /// Of this manager.
    Odd,
    Others(Vec<u64>),
    /// They differ, and nobody has more than half of the voters behind it.
    Open(Vec<u64>),
}

/// Judges digests of one entry.
fn judge(own: (u64, Digest), others: &BTreeMap<u64, Digest>, voters: &BTreeSet<u64>) -> Verdict {
    let (this, digest) = own;
    let behind = |wanted: Digest| {
        let of = others.iter().filter(|(id, found)| voters.contains(id) && **found == wanted);
        of.count() + usize::from(digest == wanted && voters.contains(&this))
    };
    let differing = |from: Digest| -> Vec<u64> {
        others.iter().filter(|(_, found)| **found != from).map(|(id, _)| *id).collect()
    };
    let apart = differing(digest);
    if apart.is_empty() {
        return Verdict::Agreed;
    }
    let all: BTreeSet<Digest> = others.values().copied().chain([digest]).collect();
    match all.into_iter().find(|one| behind(*one) > voters.len() / 2) {
        Some(right) if right == digest => Verdict::Others(apart),
        Some(_) => Verdict::Odd,
        None => Verdict::Open(apart),
    }
}

/// From so many of the others this manager must hear: one of them was part of every majority that it was part of.
fn enough(voters: usize) -> usize {
    voters - voters / 2
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, BTreeMap<u64, Page>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Takes in what another manager says of itself; returns what is wrong with it if that is news.
    ///
    /// It is judged by `before`: what was known of it before it was asked. What it says unasked may have been under way
    /// for longer than what is known now, so it is not judged.
    fn hear(&self, standing: &Standing, before: Option<&Known>) -> Option<String> {
        let Standing { raft_id, last, kept, vote, leads: _, digests, damage } = standing;
        let mut pages = self.pages();
        let page = pages.entry(*raft_id).or_default();
        if !damage.is_empty() {
            let news = page.report.is_none();
            page.report = Some((damage.clone(), Instant::now()));
            return news.then(|| damage.clone());
        }
        page.report = None;
        page.digests.extend(digests);
        while page.digests.len() > DIGESTS {
            page.digests.pop_first();
        }
        let trouble = before.and_then(|before| behind(*last, *vote, before));
        page.known.kept = page.known.kept.max(*kept);
        page.known.vote = later(page.known.vote, *vote);
        let news = trouble.filter(|_| page.trouble.is_none())?;
        page.trouble = Some(news.clone());
        Some(news)
    }

    fn known(&self, raft_id: u64) -> Known {
        self.pages().get(&raft_id).map(|page| page.known).unwrap_or_default()
    }

    /// Notes what is wrong with others; says with whom that is news.
    fn blame(&self, ids: &[u64], why: &str) -> Vec<u64> {
        let mut pages = self.pages();
        let mut news = Vec::new();
        for id in ids {
            let page = pages.entry(*id).or_default();
            if page.trouble.is_none() {
                page.trouble = Some(why.to_owned());
                news.push(*id);
            }
        }
        news
    }

    fn digests(&self, index: u64, members: &BTreeSet<u64>) -> BTreeMap<u64, Digest> {
        let pages = self.pages();
        let known = pages.iter().filter(|(id, _)| members.contains(id));
        known.filter_map(|(id, page)| Some((*id, *page.digests.get(&index)?))).collect()
    }

    /// Forgets who is a member no more.
    fn keep(&self, members: &BTreeSet<u64>) {
        self.pages().retain(|id, _| members.contains(id));
    }

    /// What is wrong with the others, as far as this manager knows.
    pub(super) fn troubles(&self) -> BTreeMap<u64, String> {
        let pages = self.pages();
        let wrong = |page: &Page| {
            let report = page.report.as_ref().filter(|(_, at)| at.elapsed() < REPORT);
            report.map(|(why, _)| why.clone()).or_else(|| page.trouble.clone())
        };
        pages.iter().filter_map(|(id, page)| Some((*id, wrong(page)?))).collect()
    }
}

fn later(one: Option<Vote>, other: Option<Vote>) -> Option<Vote> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if b.leader_id > a.leader_id { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Whether a disk that says `last` and `vote` has forgotten some of what is known of it; in words.
fn behind(last: Option<LogId>, vote: Option<Vote>, known: &Known) -> Option<String> {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    if known.kept > last {
        return Some(format!(
            "its disk is older than what it had acknowledged: entry {} was committed with it, its log ends at {}",
            index(known.kept),
            index(last)
        ));
    }
    let term = |vote: Option<Vote>| vote.map(|vote| vote.leader_id);
    (term(known.vote) > term(vote)).then(|| {
        format!(
            "its disk is older than how it had voted: in term {}, and the last vote it knows is of term {}",
            term(known.vote).map_or(0, |id| id.term),
            term(vote).map_or(0, |id| id.term)
        )
    })
}

impl Core {
    fn standing(&self) -> Standing {
        let last = self.log.progress().upto();
        let metrics = self.raft.metrics();
        let (applied, leads) = {
            let metrics = metrics.borrow();
            (metrics.last_applied, metrics.state == openraft::ServerState::Leader)
        };
        Standing {
            raft_id: self.raft_id,
            last,
            kept: last.min(self.log.committed().max(applied)),
            vote: self.log.vote(),
            leads,
            digests: self.machine.shared.trail().told(),
            damage: self.damage.why().unwrap_or_default(),
        }
    }

    /// What this manager knows of another: what it said, and what it acknowledged to this one as its leader.
    fn known(&self, raft_id: u64) -> Known {
        let Known { kept, vote } = self.book.known(raft_id);
        Known { kept: kept.max(self.network.kept(raft_id)), vote }
    }

    /// Voters, and all members, by Raft id.
    fn group(&self) -> (BTreeSet<u64>, BTreeMap<u64, Member>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let members = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        (membership.voter_ids().collect(), members)
    }

    /// Takes in what another manager says of itself; `before` as in [`Book::hear`].
    fn hear(&self, node: NodeId, standing: &Standing, before: Option<&Known>) {
        if let Some(why) = self.book.hear(standing, before) {
            warn!(%node, why, "a manager must be refilled: `secretctl refill` there");
        }
        self.compare_digests(standing);
    }

    fn compare_digests(&self, standing: &Standing) {
        let (voters, members) = self.group();
        let ids: BTreeSet<u64> = members.keys().copied().collect();
        for (index, theirs) in &standing.digests {
            let Some(ours) = self.machine.shared.trail().at(*index) else { continue };
            if ours == *theirs {
                continue;
            }
            let mut others = self.book.digests(*index, &ids);
            others.remove(&self.raft_id);
            let names = |ids: &[u64]| {
                let names = ids.iter().filter_map(|id| members.get(id));
                names.map(|member| member.node.to_string()).collect::<Vec<_>>().join(", ")
            };
            match judge((self.raft_id, ours), &others, &voters) {
                Verdict::Agreed => {}
                Verdict::Odd => {
                    let agreeing: Vec<u64> = others
                        .iter()
                        .filter(|(_, one)| *one == theirs)
                        .map(|(id, _)| *id)
                        .collect();
                    self.condemn(&format!(
                        "its state after entry {index} is not that of most managers ({})",
                        names(&agreeing)
                    ));
                    return;
                }
                Verdict::Others(odd) => {
                    let why = format!("its state after entry {index} is not that of most managers");
                    let news = self.book.blame(&odd, &why);
                    if !news.is_empty() {
                        warn!(
                            managers = names(&news),
                            index, "a manager went another way than most"
                        );
                    }
                }
                Verdict::Open(apart) => {
                    let why = format!(
                        "its state after entry {index} is not that of this manager, and no majority says which is right"
                    );
                    let news = self.book.blame(&apart, &why);
                    if !news.is_empty() {
                        tracing::error!(
                            managers = names(&news),
                            index,
                            "this manager and another have different states, and nobody can say which is right: make one of them anew"
                        );
                    }
                }
            }
        }
    }

    /// Judges this manager's own disk by what another knows of it.
    fn learn(&self, node: NodeId, known: &Known) {
        let last = self.log.progress().upto();
        let other = known.kept.and_then(|kept| Some((kept, self.log.id_at(kept.index)?)));
        let why = match behind(last, self.log.vote(), known) {
            Some(why) => why,
            None => match other {
                Some((kept, ours)) if kept != ours => format!(
                    "its log is not the one it had acknowledged: entry {} is of term {} and was of term {}",
                    kept.index, ours.leader_id.term, kept.leader_id.term
                ),
                _ => return,
            },
        };
        self.condemn(&format!("{why}; node {node} remembers it"));
    }

    /// Answers another manager.
    pub(super) fn compared(
        &self,
        node: NodeId,
        request: v1::CompareRequest,
    ) -> Result<v1::CompareResponse, Malformed> {
        let v1::CompareRequest { target: _, standing, known } = request;
        let standing = standing_from(needed(standing, "standing")?)?;
        self.hear(node, &standing, None);
        // Who does not vote has elected nobody with this manager, and may be on its way out.
        if standing.damage.is_empty() && self.group().0.contains(&standing.raft_id) {
            self.learn(node, &known_from(known.unwrap_or_default()));
        }
        let known = self.known(standing.raft_id);
        Ok(v1::CompareResponse {
            standing: Some(standing_to(&self.standing())),
            known: Some(known_to(&known)),
        })
    }

    /// Asks another manager; returns how far it is.
    async fn ask(&self, id: u64, member: &Member) -> Option<Standing> {
        let before = self.book.known(id);
        let request = v1::CompareRequest {
            target: id,
            standing: Some(standing_to(&self.standing())),
            known: Some(known_to(&self.known(id))),
        };
        let call = self.network.call((id, member), request, ANSWER, async |mut client, request| {
            client.compare(request).await
        });
        let v1::CompareResponse { standing, known } = match call.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, node = %member.node, "it does not compare");
                return None;
            }
        };
        let standing = standing_from(standing?).ok().filter(|standing| standing.raft_id == id)?;
        self.learn(member.node, &known_from(known.unwrap_or_default()));
        self.hear(member.node, &standing, Some(&before));
        Some(standing)
    }

    async fn ask_all(&self) -> Vec<Standing> {
        let (_, mut members) = self.group();
        let ids = members.keys().copied().collect();
        self.book.keep(&ids);
        members.remove(&self.raft_id);
        let asked = members.iter().map(|(id, member)| self.ask(*id, member));
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether this manager may stand for election.
    pub(super) fn may_stand(&self) -> bool {
        let long = self.probation.floor().is_none_or(|floor| self.log.last() >= Some(floor));
        self.probation.is_over() && long && self.damage.why().is_none()
    }

    async fn probation(&self) {
        let own = self.log.vote().map(|vote| vote.leader_id);
        while !self.probation.is_over() {
            let answers = self.ask_all().await;
            let (voters, _) = self.group();
            answers.iter().for_each(|one| self.probation.raise(one.last));
            let sound = answers.iter().filter(|one| one.damage.is_empty());
            let heard = sound.clone().filter(|one| voters.contains(&one.raft_id)).count();
            let leads = |one: &Standing| one.leads && one.vote.map(|vote| vote.leader_id) >= own;
            let led = sound.clone().any(leads);
            let waited = self.probation.since.elapsed();
            if waited >= LATE_VOTES && (led || heard >= enough(voters.len())) {
                info!(led, heard, "the others know no more of this manager than its disk says");
                break;
            }
            if waited >= PATIENCE {
                warn!(heard, "too few managers answer; this one goes on with what its disk says");
                break;
            }
            tokio::time::sleep(PROBATION).await;
        }
        self.probation.pass();
        while !self.may_stand() && self.damage.why().is_none() {
            tokio::time::sleep(PROBATION).await;
        }
        if self.damage.why().is_none() {
            self.raft.runtime_config().elect(true);
        }
    }
}

/// Compares until told to stop.
pub(super) async fn run(core: std::sync::Arc<Core>, stop: Stop) {
    let work = async {
        core.probation().await;
        loop {
            tokio::time::sleep(EVERY).await;
            core.ask_all().await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Tells managers of a damaged store that was that of this Raft id, as long as nobody stops it.
pub async fn report(
    peers: &dyn Peers,
    raft_id: u64,
    why: &str,
    managers: impl Fn() -> Vec<Member>,
) {
    loop {
        for member in managers() {
            let Ok(channel) = peers.channel(&member).await else { continue };
            let damage = why.chars().take(REASON).collect();
            let standing = v1::Standing { raft_id, damage, ..v1::Standing::default() };
            let message = v1::CompareRequest { target: 0, standing: Some(standing), known: None };
            let mut request = Request::new(message);
            request.set_timeout(ANSWER);
            if let Err(status) = RaftClient::new(channel).compare(request).await {
                tracing::debug!(%status, node = %member.node, "it does not hear that this store is damaged");
            }
        }
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

fn standing_to(standing: &Standing) -> v1::Standing {
    let Standing { raft_id, last, kept, vote, leads, digests, damage } = standing;
    let mark = |(index, digest): (&u64, &Digest)| v1::standing::Mark {
        index: *index,
        digest: digest.to_bytes(),
    };
    v1::Standing {
        raft_id: *raft_id,
        last: last.as_ref().map(codec::log_id_to),
        kept: kept.as_ref().map(codec::log_id_to),
        vote: vote.as_ref().map(codec::vote_to),
        leads: *leads,
        marks: digests.iter().map(mark).collect(),
        damage: damage.clone(),
    }
}

fn standing_from(standing: v1::Standing) -> Result<Standing, Malformed> {
    let v1::Standing { raft_id, last, kept, vote, leads, marks, damage } = standing;
    if marks.len() > TOLD || damage.len() > 4 * REASON {
        return Err(Malformed::new("too long").within("standing"));
    }
    let mark = |v1::standing::Mark { index, digest }| {
        let digest = Digest::from_bytes(&digest);
        Ok((index, digest.ok_or_else(|| Malformed::new("not 32 bytes").within("digest"))?))
    };
    Ok(Standing {
        raft_id,
        last: last.as_ref().map(codec::log_id_from),
        kept: kept.as_ref().map(codec::log_id_from),
        vote: vote.as_ref().map(codec::vote_from),
        leads,
        digests: marks.into_iter().map(mark).collect::<Result<_, Malformed>>()?,
        damage,
    })
}

fn known_to(known: &Known) -> v1::Known {
    let Known { kept, vote } = known;
    let (kept, vote) = (kept.as_ref().map(codec::log_id_to), vote.as_ref().map(codec::vote_to));
    v1::Known { kept, vote }
}

fn known_from(known: v1::Known) -> Known {
    let v1::Known { kept, vote } = known;
    let (kept, vote) = (kept.as_ref().map(codec::log_id_from), vote.as_ref().map(codec::vote_from));
    Known { kept, vote }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::LeaderId;

    fn at(term: u64, index: u64) -> Option<LogId> {
        Some(LogId::new(LeaderId::new(term, 1), index))
    }

    fn digest(n: u8) -> Digest {
        Digest::from_bytes(&[n; 32]).unwrap()
    }

    #[test]
    fn so_many_of_the_others_share_every_majority_that_one_was_part_of() {
        for voters in 2..=9_usize {
            let majority = voters / 2 + 1;
            let others = voters - 1;
            // The others of such a majority, and those that answer, are more than there are.
            assert!(majority - 1 + enough(voters) > others, "{voters}");
            assert!(majority - 1 + enough(voters) - 1 <= others, "one fewer would do for {voters}");
        }
    }

    #[test]
    fn the_majority_of_all_voters_decides_whose_state_is_right() {
        let voters = BTreeSet::from([1, 2, 3]);
        let verdict = |own, others: &[(u64, u8)], voters: &BTreeSet<u64>| {
            let others = others.iter().map(|(id, n)| (*id, digest(*n))).collect();
            judge((1, digest(own)), &others, voters)
        };
        assert_eq!(verdict(7, &[(2, 7)], &voters), Verdict::Agreed);
        assert_eq!(verdict(7, &[(2, 7), (3, 8)], &voters), Verdict::Others(vec![3]));
        assert_eq!(verdict(8, &[(2, 7), (3, 7)], &voters), Verdict::Odd);
        assert_eq!(verdict(7, &[(2, 8)], &voters), Verdict::Open(vec![2]), "the third is away");
        assert_eq!(verdict(7, &[(2, 8), (3, 9)], &voters), Verdict::Open(vec![2, 3]));
        assert_eq!(verdict(7, &[(2, 8)], &BTreeSet::from([1, 2])), Verdict::Open(vec![2]));
        // Who does not vote is judged all the same.
        assert_eq!(
            verdict(7, &[(2, 7), (4, 8)], &BTreeSet::from([1, 2, 3])),
            Verdict::Others(vec![4])
        );
    }

    #[test]
    fn a_disk_that_went_back_is_known_by_what_it_had_kept_and_how_it_had_voted() {
        let vote = |term| Some(Vote::new(term, 2));
        let book = Book::default();
        let say = |last, kept, vote| {
            let standing = Standing { raft_id: 2, last, kept, vote, ..Standing::default() };
            book.hear(&standing, Some(&book.known(2)))
        };
        assert_eq!(say(at(1, 9), at(1, 5), vote(1)), None);
        // What was not committed may be cut.
        assert_eq!(say(at(2, 6), at(2, 6), vote(2)), None);
        assert_eq!(say(at(2, 7), at(2, 6), vote(3)), None);
        // What it said earlier may come later.
        let late = Standing { raft_id: 2, last: at(1, 9), vote: vote(1), ..Standing::default() };
        assert_eq!(book.hear(&late, None), None);
        assert!(
            say(at(1, 9), at(1, 9), vote(3)).unwrap().contains("entry 6 was committed with it")
        );
        assert_eq!(say(at(1, 9), at(1, 9), vote(3)), None, "said once");
        assert_eq!(book.troubles().len(), 1);
        assert!(behind(at(2, 7), vote(2), &book.known(2)).unwrap().contains("how it had voted"));
        assert_eq!(behind(at(2, 7), vote(3), &book.known(2)), None);
        book.keep(&BTreeSet::new());
        assert!(book.troubles().is_empty());
    }
}
