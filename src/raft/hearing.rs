//! Decides which managers are heard, and is the only way to openraft for what they say.
//!
//! A manager's certificate carries the Raft id that the cluster admitted it under. Such ids are never used twice and only
//! grow, so each id that is below the next one either has its place in the group or belongs to a manager that was. Where
//! something is not known, nobody is heard for it: what a store that is older than this manager's own admission says of
//! others counts nothing, only what was said at the admission. The one who comes as news is a manager that was admitted
//! later than anything this one knows of; it is heard by who has lost its leader, and only it can tell what was missed.

use super::{
    handle::{Core, Leader},
    types::{Entry, LogId, TypeConfig, Vote},
};
use crate::{
    kit::id::NodeId,
    model::{
        cluster::Departure,
        node::{RaftIdentity, Role},
    },
    pki::{Conn, Peer},
    store::State,
};
use openraft::{
    Snapshot,
    error::{Fatal, RaftError},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Request, Status};

/// A caller that is refused again and again is told of in the log this often.
const TELL: Duration = Duration::from_secs(5);
/// Refused callers that are kept apart for that; they all have certificates of ours, so there are few.
const TOLD: usize = 256;

/// Who calls, as its certificate says.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    node: NodeId,
    raft_id: Option<u64>,
    addr: SocketAddr,
}

/// What this manager knows of the others at a moment.
pub(super) struct Known<'a> {
    /// This manager's Raft id.
    pub(super) own: u64,
    /// The others when this manager was admitted; unset for one that began its cluster.
    pub(super) fellows: Option<&'a [RaftIdentity]>,
    /// What was applied.
    pub(super) state: &'a State,
    /// Voters and learners by the newest entry in the log that says so, applied or not.
    pub(super) members: BTreeMap<u64, NodeId>,
    /// Who spoke last as the leader.
    pub(super) leader: Option<RaftIdentity>,
    /// No leader was heard of for some time, or never.
    pub(super) lost: bool,
}

/// Why a manager is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Unheard {
    #[error("it is no manager of this cluster")]
    NoManager,
    #[error("its certificate carries no Raft id: it was not admitted")]
    NotAdmitted,
    #[error("it is a manager no more: it was {0}")]
    Former(Departure),
    #[error("it is a manager no more")]
    Gone,
    #[error("its Raft id is the one of another node")]
    Impostor,
    #[error("it is no member of the Raft group yet, as far as is known here")]
    Unknown,
    #[error("it speaks in the name of another manager")]
    OtherName,
}

/// A manager that is heard. Only the decision of this module makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard(RaftIdentity);

impl Heard {
    pub(super) fn identity(self) -> RaftIdentity {
        self.0
    }

    /// Lets it speak for the vote's candidate, or leader: only if that is itself.
    pub(super) fn claim(self, own: u64, vote: Vote) -> Result<Claim, Unheard> {
        let claimed = vote.leader_id.node_id;
        if claimed == self.0.raft_id && claimed != own {
            Ok(Claim { vote })
        } else {
            Err(Unheard::OtherName)
        }
    }
}

/// A vote whose candidate, or leader, is the manager that brought it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    vote: Vote,
}

impl Claim {
    pub(super) fn vote(self) -> Vote {
        self.vote
    }
}

/// Decides about a caller that must be a member of the group.
pub(super) fn member(
    known: &Known<'_>,
    node: NodeId,
    raft_id: Option<u64>,
) -> Result<Heard, Unheard> {
    let raft_id = raft_id.ok_or(Unheard::NotAdmitted)?;
    let caller = RaftIdentity { node, raft_id };
    let Known { own, fellows, state, members, leader: _, lost: _ } = known;
    let next = state.cluster().map(|cluster| cluster.next_raft_id);
    if let Some(fellows) = fellows.filter(|_| next.is_none_or(|next| next <= *own)) {
        return if fellows.contains(&caller) || raft_id == *own && members.get(own) == Some(&node) {
            Ok(Heard(caller))
        } else if fellows.iter().any(|fellow| fellow.raft_id == raft_id) || raft_id == *own {
            Err(Unheard::Impostor)
        } else if raft_id > *own {
            Err(Unheard::Unknown)
        } else {
            Err(Unheard::Gone)
        };
    }
    if let Some(former) = state.cluster().and_then(|cluster| cluster.former_manager(raft_id)) {
        return Err(Unheard::Former(former.departure));
    }
    match members.get(&raft_id) {
        Some(member) if *member == node => Ok(Heard(caller)),
        Some(_) => Err(Unheard::Impostor),
        // It was admitted, and has not been in the group: who has been says so in its row, and is not there any more.
        None if is_awaited(state, caller) => Err(Unheard::Unknown),
        None if next.is_some_and(|next| raft_id < next) => Err(Unheard::Gone),
        None => Err(Unheard::Unknown),
    }
}

/// Decides about a caller with a call of Raft's own. Who has lost its leader hears those of whom it may not have heard yet.
pub(super) fn speaker(
    known: &Known<'_>,
    node: NodeId,
    raft_id: Option<u64>,
) -> Result<Heard, Unheard> {
    match (member(known, node, raft_id), raft_id) {
        (Err(Unheard::Unknown), Some(raft_id)) => {
            let caller = RaftIdentity { node, raft_id };
            let heard = known.lost || known.leader == Some(caller);
            heard.then_some(Heard(caller)).ok_or(Unheard::Unknown)
        }
        (decided, _) => decided,
    }
}

fn is_awaited(state: &State, caller: RaftIdentity) -> bool {
    state.node_by_id(caller.node).is_some_and(|node| {
        let manager = node.manager.as_ref().filter(|manager| manager.raft_id == caller.raft_id);
        node.role == Role::Manager && manager.is_some_and(|manager| manager.oldest_term == 0)
    })
}

/// Refused callers, and when the log told of each.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<BTreeMap<Refusal, Instant>>);

/// Who called, as which member, and why it was not heard.
type Refusal = (NodeId, Option<u64>, Unheard);

impl Refused {
    fn may_tell(&self, caller: &Caller, why: Unheard) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, key) = (Instant::now(), (caller.node, caller.raft_id, why));
        if told.get(&key).is_some_and(|at| now.duration_since(*at) < TELL) {
            return false;
        }
        if told.len() >= TOLD {
            told.retain(|_, at| now.duration_since(*at) < TELL);
        }
        told.len() < TOLD && {
            told.insert(key, now);
            true
        }
    }
}

impl Caller {
    /// The manager of our cluster that calls.
    ///
    /// # Errors
    /// Nobody, or a node that is no manager of this cluster.
    pub(super) fn of<T>(core: &Core, request: &Request<T>) -> Result<Self, Status> {
        let peer = Conn::peer(request)?;
        let Peer {
            cluster,
            node,
            role,
            raft_id,
            not_before: _,
            not_after: _,
            serial: _,
            issuer: _,
            key: _,
        } = &**peer;
        let conn = request.extensions().get::<Conn>();
        let addr = conn.map(|conn| conn.addr);
        let addr = addr.ok_or_else(|| Status::internal("a call from nowhere"))?;
        let caller = Self { node: *node, raft_id: *raft_id, addr };
        if *cluster != core.cluster || *role != Role::Manager {
            if core.refused.may_tell(&caller, Unheard::NoManager) {
                tracing::warn!(%node, %cluster, %role, %addr, "a node that is no manager of this cluster called as one");
            }
            return Err(denied(format!("node {node} is no manager of this cluster")));
        }
        Ok(caller)
    }

    /// Refuses the caller, and lets the log say so.
    pub(super) fn refuse(&self, core: &Core, why: Unheard) -> Status {
        let Self { node, raft_id, addr } = self;
        if core.refused.may_tell(self, why) {
            let raft_id = raft_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
            tracing::warn!(%node, raft_id, %addr, %why, "refused a manager that is not heard here");
        }
        denied(format!("manager {node} is not heard: {why}"))
    }
}

fn denied(message: String) -> Status {
    let mut status = Status::permission_denied(message);
    super::forward::mark(&mut status, super::forward::Why::NotLeader);
    status
}

impl Core {
    /// What this manager knows of the others now.
    pub(super) fn with_known<T>(
        &self,
        (leader, lost): (Option<RaftIdentity>, bool),
        decide: impl FnOnce(&Known<'_>) -> T,
    ) -> T {
        let state = self.machine.state();
        let members = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            let nodes = metrics.membership_config.membership().nodes();
            nodes.map(|(id, member)| (*id, member.node)).collect()
        };
        decide(&Known {
            own: self.raft_id,
            fellows: self.fellows.as_deref(),
            state: &state,
            members,
            leader,
            lost,
        })
    }

    /// For what only members of the group may ask.
    pub(super) fn check_member<T>(&self, request: &Request<T>) -> Result<Heard, Status> {
        let caller = Caller::of(self, request)?;
        let heard =
            self.with_known((None, false), |known| member(known, caller.node, caller.raft_id));
        heard.map_err(|why| caller.refuse(self, why))
    }

    /// As [`speaker`]; whom this manager heard last as the leader, and whether it is lost, the caller knows.
    pub(super) fn check_speaker(
        &self,
        caller: &Caller,
        heard: (Option<RaftIdentity>, bool),
    ) -> Result<Heard, Status> {
        let heard = self.with_known(heard, |known| speaker(known, caller.node, caller.raft_id));
        heard.map_err(|why| caller.refuse(self, why))
    }
}

/// What others bring to openraft; each demands the proof that they may.
#[expect(clippy::disallowed_methods, reason = "here is the proof that others ask for")]
impl Core {
    pub(super) async fn append(
        &self,
        Claim { vote }: Claim,
        prev_log_id: Option<LogId>,
        entries: Vec<Entry>,
        leader_commit: Option<LogId>,
    ) -> Result<AppendEntriesResponse<u64>, RaftError<u64>> {
        let rpc = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
        self.raft.append_entries(rpc).await
    }

    pub(super) async fn vote(
        &self,
        Claim { vote }: Claim,
        last_log_id: Option<LogId>,
    ) -> Result<VoteResponse<u64>, RaftError<u64>> {
        self.raft.vote(VoteRequest { vote, last_log_id }).await
    }

    pub(super) async fn install(
        &self,
        Claim { vote }: Claim,
        snapshot: Snapshot<TypeConfig>,
    ) -> Result<SnapshotResponse<u64>, Fatal<u64>> {
        self.raft.install_full_snapshot(vote, snapshot).await
    }

    /// Whether this is who leads now, in this term.
    pub(super) fn is_led_by(&self, heard: Heard, term: u64) -> bool {
        match self.leader() {
            Leader::Other(now) => {
                let identity = RaftIdentity { node: now.member.node, raft_id: now.raft_id };
                identity == heard.identity() && now.term == term
            }
            Leader::This | Leader::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::clock::Timestamp,
        model::{
            cluster::{Cluster, FormerManager},
            node::{ManagerStatus, Node},
        },
        raft::testing,
        store::Entity,
    };
    use std::sync::Arc;

    fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 17])
    }

    fn who(node: u8, raft_id: u64) -> RaftIdentity {
        RaftIdentity { node: id(node), raft_id }
    }

    /// Node 1 has the Raft id 1, and so on up to 3. Node 4 had the id 4, was demoted and is a worker; node 5 was admitted
    /// as 5 and never came; node 6 was there as 6 and the group let it go, which is not noted yet. 7 was forgotten.
    fn state() -> State {
        let (cluster, node) = testing::founding(id(1));
        let row = |n: u8, role, manager: Option<(u64, u32)>| {
            let status = |(raft_id, oldest_term)| ManagerStatus {
                oldest_term,
                ..ManagerStatus::new(raft_id, format!("10.0.0.{raft_id}:2390"))
            };
            Entity::Node(Arc::new(Node {
                id: id(n),
                role,
                manager: manager.map(status),
                ..node.clone()
            }))
        };
        let mut cluster = Cluster { next_raft_id: 8, ..cluster };
        let (at, departure) = (Timestamp(1), Departure::Demoted);
        cluster.note_former(FormerManager { node: id(4), raft_id: 4, at, departure });
        State::from_entities([
            Entity::Cluster(Arc::new(cluster)),
            row(1, Role::Manager, Some((1, 1))),
            row(2, Role::Manager, Some((2, 1))),
            row(3, Role::Manager, Some((3, 0))),
            row(4, Role::Worker, None),
            row(5, Role::Manager, Some((5, 0))),
            row(6, Role::Manager, Some((6, 1))),
        ])
    }

    fn members(ids: &[u8]) -> BTreeMap<u64, NodeId> {
        ids.iter().map(|n| (u64::from(*n), id(*n))).collect()
    }

    fn known<'a>(state: &'a State, lost: bool) -> Known<'a> {
        let members = members(&[1, 2, 3]);
        Known { own: 1, fellows: None, state, members, leader: None, lost }
    }

    #[test]
    fn only_the_present_identities_of_the_groups_members_are_heard_and_news_only_by_who_is_lost() {
        use Unheard::{Former, Gone, Impostor, NotAdmitted, Unknown};
        let state = state();
        // Who calls, what becomes of it while a leader is heard, and what when none is.
        let always = |why| (Err(why), Err(why));
        let when_lost = (Err(Unknown), Ok(()));
        for (node, raft_id, (heard, lost)) in [
            (2, Some(2), (Ok(()), Ok(()))),
            (3, Some(3), (Ok(()), Ok(()))),
            // No certificate of an admission.
            (2, None, always(NotAdmitted)),
            // The id of another member, and one of its own that it never had.
            (2, Some(3), always(Impostor)),
            (9, Some(2), always(Impostor)),
            // It was demoted, whoever shows the certificate and however its row is now.
            (4, Some(4), always(Former(Departure::Demoted))),
            (2, Some(4), always(Former(Departure::Demoted))),
            // It was admitted; the news that it is in the group may have been missed.
            (5, Some(5), when_lost),
            // Another node with that id, and one that had been in the group.
            (9, Some(5), always(Gone)),
            (6, Some(6), always(Gone)),
            (7, Some(7), always(Gone)),
            (4, Some(0), always(Gone)),
            // Admitted later than anything that is known here.
            (4, Some(8), when_lost),
            (9, Some(900), when_lost),
        ] {
            let judge = |lost| speaker(&known(&state, lost), id(node), raft_id);
            let made = |decided: Result<Heard, Unheard>| {
                decided.map(|heard| {
                    assert_eq!(Some(heard.identity().raft_id), raft_id);
                    assert_eq!(heard.identity().node, id(node));
                })
            };
            assert_eq!(made(judge(false)), heard, "{node} as {raft_id:?} while there is a leader");
            assert_eq!(made(judge(true)), lost, "{node} as {raft_id:?} to who is lost");
            let member = member(&known(&state, true), id(node), raft_id);
            assert_eq!(made(member), heard, "{node} as {raft_id:?} for what members ask");
        }
    }

    #[test]
    fn who_led_while_this_manager_was_lost_goes_on_to_be_heard() {
        let state = state();
        let leader = Some(who(9, 8));
        let judge = |node, raft_id| {
            speaker(&Known { leader, ..known(&state, false) }, id(node), Some(raft_id)).is_ok()
        };
        assert!(judge(9, 8));
        assert!(!judge(9, 9) && !judge(8, 8));
        // Also a leader is none any more once it is out.
        let leader = Some(who(4, 4));
        let out = speaker(&Known { leader, ..known(&state, false) }, id(4), Some(4));
        assert_eq!(out, Err(Unheard::Former(Departure::Demoted)));
    }

    #[test]
    fn an_empty_or_older_store_counts_nothing_against_what_was_said_at_the_admission() {
        use Unheard::{Gone, Impostor, Unknown};
        let (empty, older) = (State::default(), state());
        let fellows = [who(1, 1), who(3, 3)];
        // The older store, and a log that goes only up to there, have node 2 as a manager.
        for (state, members) in [(&empty, members(&[])), (&older, members(&[1, 2, 3]))] {
            for (node, raft_id, (heard, lost)) in [
                (1, 1, (Ok(()), Ok(()))),
                (3, 3, (Ok(()), Ok(()))),
                (2, 2, (Err(Gone), Err(Gone))),
                (4, 4, (Err(Gone), Err(Gone))),
                (2, 3, (Err(Impostor), Err(Impostor))),
                (9, 20, (Err(Impostor), Err(Impostor))),
                (9, 21, (Err(Unknown), Ok(()))),
            ] {
                let known = |lost| Known {
                    own: 20,
                    fellows: Some(&fellows),
                    state,
                    members: members.clone(),
                    leader: None,
                    lost,
                };
                let judge = |lost| speaker(&known(lost), id(node), Some(raft_id)).map(drop);
                assert_eq!((judge(false), judge(true)), (heard, lost), "{node} as {raft_id}");
            }
        }
        // With its own admission applied, the store is what counts.
        let known = Known { own: 5, fellows: Some(&fellows), ..known(&older, false) };
        member(&known, id(2), Some(2)).unwrap();
    }

    #[test]
    fn everybody_speaks_for_itself_only() {
        let state = state();
        let heard = member(&known(&state, false), id(2), Some(2)).unwrap();
        for committed in [false, true] {
            let vote =
                |node_id| Vote { leader_id: openraft::LeaderId { term: 1007, node_id }, committed };
            heard.claim(1, vote(2)).unwrap();
            for other in [0, 1, 3, 8] {
                assert_eq!(heard.claim(1, vote(other)).err(), Some(Unheard::OtherName));
            }
        }
        // Not even this manager itself hears its own name from outside.
        let own = member(&known(&state, false), id(1), Some(1)).unwrap();
        let vote = Vote { leader_id: openraft::LeaderId { term: 7, node_id: 1 }, committed: true };
        assert_eq!(own.claim(1, vote).err(), Some(Unheard::OtherName));
    }

    #[test]
    fn one_that_is_refused_again_and_again_fills_no_log() {
        let refused = Refused::default();
        let caller =
            |n: u8, raft_id| Caller { node: id(n), raft_id, addr: ([127, 0, 0, 1], 1).into() };
        let tell = |n, raft_id, why| refused.may_tell(&caller(n, raft_id), why);
        assert!(tell(1, Some(1), Unheard::Gone));
        assert!(!tell(1, Some(1), Unheard::Gone));
        assert!(tell(1, Some(1), Unheard::OtherName), "another reason is news");
        assert!(tell(1, None, Unheard::Gone) && tell(2, Some(1), Unheard::Gone));
        let told = (0..10_000).filter(|n| tell(3, Some(*n), Unheard::Gone)).count();
        assert_eq!(told, TOLD - 4);
    }
}
