//! The managers among themselves: whom the leader hears of, and whether those that remain could go on.

use super::{ControlService, answers};
use crate::{
    kit::id::NodeId,
    model::{
        node::{Node, Role},
        refusal::{Refusal, RefusalKind},
    },
    raft::{Contact, Leadership, ReadError},
    store::State,
    wire::status::status,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic::{Code, Status};

/// A manager that was not heard of for longer is called unreachable: ten signs of life are missing then.
const SILENCE: Duration = Duration::from_secs(3);

/// What is known of the managers at one moment.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) leader: Option<NodeId>,
    /// Everyone the leader sends to, by Raft id; unset if that could not be found out.
    contacts: Option<BTreeMap<u64, Contact>>,
    /// Who decides, by Raft id.
    voters: BTreeSet<u64>,
}

impl Heard {
    /// Whether a manager has a vote: one that was admitted gets it once it has everything, and perhaps never comes.
    pub(super) fn votes(&self, node: &Node) -> bool {
        node.manager.as_ref().is_some_and(|manager| self.voters.contains(&manager.raft_id))
    }

    /// Whether the leader hears of a manager; nothing for a worker, or if nobody can tell.
    pub(super) fn reaches(&self, node: &Node) -> Option<bool> {
        let manager = node.manager.as_ref()?;
        if self.leader == Some(node.id) {
            return Some(true);
        }
        let contacts = self.contacts.as_ref()?;
        let silent = contacts.get(&manager.raft_id).and_then(|contact| contact.silent);
        Some(silent.is_some_and(|silent| silent <= SILENCE))
    }

    /// Refuses to take `node` out of the group if too few of the others answer to agree on anything without it.
    ///
    /// Those that were demoted and have not left yet count as well: until then their votes are missed. Those that have
    /// no vote yet do not: nothing waits for them.
    pub(super) fn check_quorum_without(&self, state: &State, node: &Node) -> Result<(), Refusal> {
        if !self.votes(node) {
            return Ok(());
        }
        let others = state.nodes().filter(|other| other.id != node.id && self.votes(other));
        let (mut members, mut reachable) = (0, 0);
        for other in others {
            members += 1;
            reachable += usize::from(self.reaches(other) == Some(true));
        }
        let needed = members / 2 + 1;
        if members == 0 {
            let joining = |other: &Arc<Node>| {
                other.id != node.id && other.role == Role::Manager && other.manager.is_some()
            };
            if !state.nodes().any(joining) {
                // The store says what that means.
                return Ok(());
            }
            let message = "attempting to demote the last manager of the cluster that votes";
            return Err(Refusal::new(RefusalKind::Precondition, message).hint(
                "wait until another votes: `secretctl node ls` shows it as Reachable then, no longer as Joining",
            ));
        }
        if reachable >= needed {
            return Ok(());
        }
        let message = "can't remove member from the raft: this would result in a loss of quorum";
        Err(Refusal::new(RefusalKind::Precondition, message).hint(format!(
            "of the {members} managers that would remain and vote, {needed} must be reachable and {reachable} are: bring more of them up, demote those that will not come back first, or promote others; see them with `secretctl node ls`"
        )))
    }
}

impl ControlService {
    /// Asks the leader whom it hears of.
    pub(super) async fn heard(&self) -> Heard {
        let contacts = match self.raft.contacts().await {
            Ok(contacts) => Some(contacts),
            Err(error) => {
                tracing::debug!(%error, "the leader's contacts are not known");
                None
            }
        };
        Heard { leader: self.leader(), contacts, voters: self.raft.group().voters }
    }

    fn leader(&self) -> Option<NodeId> {
        match &*self.raft.leadership().borrow() {
            Leadership::Leading { term: _ } => Some(self.node),
            Leadership::Following { leader } => leader.as_ref().map(|leader| leader.node),
            Leadership::Failed { why: _ } => None,
        }
    }

    /// Checks that the cluster can do without a manager, if it is one.
    pub(super) async fn check_dispensable(&self, state: &State, node: &Node) -> Result<(), Status> {
        if node.role != Role::Manager || node.manager.is_none() {
            return Ok(());
        }
        let heard = self.heard().await;
        Ok(heard.check_quorum_without(state, node)?)
    }

    /// Why the newest state could not be read, with what an operator can do about it.
    pub(super) async fn unreadable(&self, error: &ReadError) -> Status {
        match error {
            ReadError::NotLeader { leader: None } | ReadError::NoQuorum => self.leaderless().await,
            ReadError::NotLeader { leader: Some(_) }
            | ReadError::Unreachable { .. }
            | ReadError::Behind
            | ReadError::Busy
            | ReadError::Stopped(_) => answers::read(error),
        }
    }

    /// Says that nobody leads, and how many managers it takes.
    pub(super) async fn leaderless(&self) -> Status {
        let voters = self.raft.status().voters.len();
        let needed = voters / 2 + 1;
        let hint = match self.raft.contacts().await {
            _ if voters < 2 => "wait until a leader has been elected".to_owned(),
            Ok(contacts) => {
                let heard = |contact: &&Contact| contact.silent.is_some_and(|s| s <= SILENCE);
                let reachable = 1 + contacts.values().filter(heard).count();
                format!(
                    "{needed} of the {voters} managers must be up and reach each other; {reachable} can be reached"
                )
            }
            Err(_) => format!(
                "{needed} of the {voters} managers must be up and reach each other; see whether secretd runs there"
            ),
        };
        status(Code::Unavailable, "the cluster has no leader", Some(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::orchestrator::world;

    /// Managers 1 to `all`, all of whom vote, of which 1 leads and `up` are heard of.
    fn heard(all: u8, up: &[u8]) -> Heard {
        let contact = |n: u8| {
            let silent = up.contains(&n).then_some(Duration::from_millis(200));
            (u64::from(n), Contact { silent, matched: 1, clock_ahead_ms: None })
        };
        Heard {
            leader: Some(world::node_id(1)),
            contacts: Some((2..=all).map(contact).collect()),
            voters: (1..=all.into()).collect(),
        }
    }

    fn may_go(all: u8, up: &[u8], n: u8) -> bool {
        goes(&heard(all, up), all, n).is_ok()
    }

    fn goes(heard: &Heard, all: u8, n: u8) -> Result<(), Refusal> {
        let state = world::state(all);
        let node = state.node_by_id(world::node_id(n)).unwrap();
        heard.check_quorum_without(&state, node)
    }

    #[test]
    fn a_manager_may_go_while_most_of_the_others_answer() {
        assert!(may_go(3, &[2, 3], 3));
        assert!(may_go(3, &[2, 3], 1), "the leader too");
        assert!(may_go(3, &[2], 3), "the one that is away goes first");
        assert!(!may_go(3, &[2], 2), "the leader would be one of two");
        assert!(!may_go(3, &[2], 1));
        assert!(may_go(2, &[2], 1));
        assert!(may_go(2, &[], 2));
        assert!(!may_go(5, &[2, 3], 3));
        assert!(may_go(5, &[2, 3], 4));
    }

    #[test]
    fn who_was_admitted_and_never_came_holds_nobody_back_and_is_not_relied_upon() {
        // The last of them has no vote.
        let joining = |all: u8, up: &[u8]| {
            let voters = (1..all.into()).collect();
            Heard { voters, ..heard(all, up) }
        };
        goes(&joining(3, &[2]), 3, 1).unwrap();
        goes(&joining(3, &[2]), 3, 2).unwrap();
        // The one that never came.
        goes(&joining(3, &[2]), 3, 3).unwrap();
        assert!(goes(&joining(3, &[]), 3, 1).is_err(), "2 does not answer");
        for up in [&[][..], &[2]] {
            let refused = goes(&joining(2, up), 2, 1).unwrap_err();
            assert!(refused.to_string().contains("the last manager"), "{refused}");
        }
    }

    #[test]
    fn silence_is_unreachable_and_ignorance_is_neither() {
        let state = world::state(2);
        let (first, second) = (world::node_id(1), world::node_id(2));
        let (first, second) = (state.node_by_id(first).unwrap(), state.node_by_id(second).unwrap());
        let mut known = heard(2, &[]);
        assert_eq!((known.reaches(first), known.reaches(second)), (Some(true), Some(false)));
        let late =
            Contact { silent: Some(Duration::from_secs(4)), matched: 1, clock_ahead_ms: None };
        known.contacts = Some(BTreeMap::from([(2, late)]));
        assert_eq!(known.reaches(second), Some(false));
        known.contacts = None;
        assert_eq!(known.reaches(second), None);
        let worker = Node { manager: None, ..Node::clone(second) };
        assert_eq!(heard(2, &[2]).reaches(&worker), None);
    }
}
