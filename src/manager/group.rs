//! Keeps the Raft group in step with the rows of the managers: one change at a time, on the leader.
//!
//! A manager becomes a learner first and votes once it has caught up; on its way out it stops voting first and still
//! hears that it did. The leader itself goes last, and the others elect another.

use crate::{
    kit::{id::NodeId, task::Stop},
    model::{
        command::Command,
        node::{Node, Role},
    },
    raft::{Contact, Group, Leadership, Member, MemberError, ProposeError, Raft},
    store::State,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::broadcast::error::RecvError;
use tracing::{info, warn};

/// Looked at again this often: whether managers answer is in no row.
const EVERY: Duration = Duration::from_secs(1);
/// Who was silent for longer does not count when a change is judged: ten signs of life are missing.
const SILENCE: Duration = Duration::from_secs(3);
/// How long one that goes is waited for.
const RETIREMENT: Duration = Duration::from_secs(10);
/// A learner may vote when it lacks at most so many entries.
const CLOSE: u64 = 100;

/// The next change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Let this manager hear everything.
    Add { raft_id: u64, member: Member },
    /// Let exactly these vote; also ends a change that was cut off.
    Vote { voters: BTreeSet<u64> },
    /// Send nothing more to this learner.
    Remove { raft_id: u64 },
    /// Reach this member elsewhere.
    Readdress { raft_id: u64, member: Member },
    /// Note that the node is out of the group.
    Retire { node: NodeId, raft_id: u64 },
}

/// Decides what to do next, if anything.
pub(super) fn next_step(
    state: &State,
    group: &Group,
    contacts: &BTreeMap<u64, Contact>,
) -> Option<Step> {
    let Group { raft_id: own, members, voters, joint, last_index } = group;
    state.cluster()?;
    if *joint {
        return Some(Step::Vote { voters: voters.clone() });
    }
    let wanted: BTreeMap<u64, &Node> = state
        .nodes()
        .filter(|node| node.role == Role::Manager)
        .filter_map(|node| Some((node.manager.as_ref()?.raft_id, &**node)))
        .collect();
    let reaches = |id: &u64| {
        let silent = contacts.get(id).and_then(|contact| contact.silent);
        id == own || silent.is_some_and(|silent| silent <= SILENCE)
    };
    // Those who would decide must be able to.
    let carries = |voters: &BTreeSet<u64>| {
        !voters.is_empty() && voters.iter().filter(|id| reaches(id)).count() > voters.len() / 2
    };
    let vote = |voters: BTreeSet<u64>| carries(&voters).then_some(Step::Vote { voters });
    let without = |id: &u64| vote(voters.iter().copied().filter(|voter| voter != id).collect());

    let retire = state.nodes().find_map(|node| {
        let raft_id = node.manager.as_ref()?.raft_id;
        let out = node.role == Role::Worker && !members.contains_key(&raft_id);
        out.then_some(Step::Retire { node: node.id, raft_id })
    });
    let remove = || {
        let gone = |id: &&u64| !voters.contains(*id) && !wanted.contains_key(*id);
        members.keys().find(gone).map(|id| Step::Remove { raft_id: *id })
    };
    let silence =
        || voters.iter().filter(|id| *id != own && !wanted.contains_key(*id)).find_map(without);
    let add = || {
        wanted.iter().find(|(id, _)| !members.contains_key(*id)).and_then(|(id, node)| {
            let addr = node.manager.as_ref()?.addr.clone();
            Some(Step::Add { raft_id: *id, member: Member { node: node.id, addr } })
        })
    };
    let promote = || {
        let close = |id: &u64| {
            let matched = contacts.get(id).map_or(0, |contact| contact.matched);
            matched > 0 && matched.saturating_add(CLOSE) >= *last_index
        };
        let ready = |id: &&u64| {
            members.contains_key(*id) && !voters.contains(*id) && reaches(id) && close(id)
        };
        wanted
            .keys()
            .filter(ready)
            .find_map(|id| vote(voters.iter().copied().chain([*id]).collect()))
    };
    let resign = || {
        let leaves = voters.contains(own) && !wanted.contains_key(own);
        leaves.then(|| without(own)).flatten()
    };
    let readdress = || {
        members.iter().find_map(|(raft_id, member)| {
            let addr = &wanted.get(raft_id)?.manager.as_ref()?.addr;
            let moved = Member { addr: addr.clone(), ..member.clone() };
            (moved != *member).then_some(Step::Readdress { raft_id: *raft_id, member: moved })
        })
    };
    retire
        .or_else(readdress)
        .or_else(remove)
        .or_else(silence)
        .or_else(add)
        .or_else(promote)
        .or_else(resign)
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// Changes the group whenever this manager leads, until it is told to stop or the store has stopped.
pub async fn run(raft: Raft, stop: Stop) {
    let mut leadership = raft.leadership();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            leads = leadership.wait_for(Leadership::is_leading) => if leads.is_err() { return },
        }
        let contacts = raft.contacts().await.unwrap_or_default();
        let step = next_step(&raft.state(), &raft.group(), &contacts);
        let done = if let Some(step) = step {
            info!(?step, "changing the group of managers");
            tokio::select! {
                () = stop.cancelled() => return,
                taken = take(&raft, step) => taken.map_err(|error| warn!(%error, "not changed, will look again")).is_ok(),
            }
        } else {
            false
        };
        if done {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Waits until no manager other than `except` is on its way out, at most 10 s: one goes at a time.
pub(super) async fn until_nobody_leaves(raft: &Raft, except: NodeId) {
    let mut changes = raft.changes();
    let gone = async {
        while raft.state().leaving_manager(except).is_some() {
            if matches!(changes.recv().await, Err(RecvError::Closed)) {
                return;
            }
        }
    };
    // After that the store says what is the matter.
    let _late = tokio::time::timeout(RETIREMENT, gone).await.is_err();
}

async fn take(raft: &Raft, step: Step) -> Result<(), StepError> {
    match step {
        Step::Add { raft_id, member } => raft.add_learner(raft_id, member).await?,
        Step::Vote { voters } if voters.contains(&raft.group().raft_id) => {
            raft.set_voters(voters).await?;
        }
        Step::Vote { voters } => raft.resign(voters).await?,
        Step::Readdress { raft_id, member } => raft.readdress(raft_id, member).await?,
        Step::Remove { raft_id } => raft.remove_member(raft_id).await?,
        Step::Retire { node, raft_id } => {
            raft.propose(None, Command::RetireManager { id: node, raft_id }).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manager::orchestrator::world, model::node::ManagerStatus, store::Entity};
    use std::sync::Arc;

    /// Managers and demoted ones by Raft id; every one of them has a row.
    fn rows(managers: &[u64], demoted: &[u64]) -> State {
        let blank = world::state(1);
        let node = Node::clone(blank.nodes().next().unwrap());
        let row = |id: u64, role| {
            let manager = Some(ManagerStatus::new(id, addr(id)));
            Entity::Node(Arc::new(Node { id: name(id), role, manager, ..node.clone() }))
        };
        let managers = managers.iter().map(|id| row(*id, Role::Manager));
        let demoted = demoted.iter().map(|id| row(*id, Role::Worker));
        let cluster = Entity::Cluster(blank.cluster().unwrap().clone());
        State::from_entities(managers.chain(demoted).chain([cluster]).collect::<Vec<_>>())
    }

    fn name(id: u64) -> NodeId {
        NodeId::from_random([u8::try_from(id).unwrap(); 17])
    }

    fn addr(id: u64) -> String {
        format!("10.0.0.{id}:2390")
    }

    /// Led by 1.
    fn group(voters: &[u64], learners: &[u64]) -> Group {
        let member = |id: &u64| (*id, Member { node: name(*id), addr: addr(*id) });
        Group {
            raft_id: 1,
            members: voters.iter().chain(learners).map(member).collect(),
            voters: voters.iter().copied().collect(),
            joint: false,
            last_index: 1000,
        }
    }

    fn heard(ids: &[u64], matched: u64) -> BTreeMap<u64, Contact> {
        let contact =
            Contact { silent: Some(Duration::from_millis(300)), matched, clock_ahead_ms: None };
        ids.iter().map(|id| (*id, contact)).collect()
    }

    fn votes(voters: &[u64]) -> Option<Step> {
        Some(Step::Vote { voters: voters.iter().copied().collect() })
    }

    #[test]
    fn a_manager_is_added_first_and_votes_once_it_has_caught_up() {
        let state = rows(&[1, 2], &[]);
        let add = Step::Add { raft_id: 2, member: Member { node: name(2), addr: addr(2) } };
        assert_eq!(next_step(&state, &group(&[1], &[]), &heard(&[], 0)), Some(add));
        let learning = group(&[1], &[2]);
        assert_eq!(next_step(&state, &learning, &heard(&[], 0)), None, "does not answer");
        assert_eq!(next_step(&state, &learning, &heard(&[2], 10)), None, "far behind");
        assert_eq!(next_step(&state, &learning, &heard(&[2], 990)), votes(&[1, 2]));
        assert_eq!(next_step(&state, &group(&[1, 2], &[]), &heard(&[2], 990)), None);
    }

    #[test]
    fn a_demoted_manager_stops_voting_then_leaves_then_is_retired() {
        let state = rows(&[1, 2], &[3]);
        let all = heard(&[2, 3], 1000);
        assert_eq!(next_step(&state, &group(&[1, 2, 3], &[]), &all), votes(&[1, 2]));
        let out = Some(Step::Remove { raft_id: 3 });
        assert_eq!(next_step(&state, &group(&[1, 2], &[3]), &all), out);
        let retired = Some(Step::Retire { node: name(3), raft_id: 3 });
        assert_eq!(next_step(&state, &group(&[1, 2], &[]), &all), retired);
    }

    #[test]
    fn a_member_is_reached_where_its_row_says() {
        let mut moved = group(&[1, 2], &[]);
        moved.members.get_mut(&2).unwrap().addr = "10.0.9.9:2390".into();
        let member = Member { node: name(2), addr: addr(2) };
        let step = next_step(&rows(&[1, 2], &[]), &moved, &heard(&[2], 1000));
        assert_eq!(step, Some(Step::Readdress { raft_id: 2, member }));
    }

    #[test]
    fn nobody_goes_if_those_who_stay_do_not_answer() {
        let state = rows(&[1, 2], &[3]);
        assert_eq!(next_step(&state, &group(&[1, 2, 3], &[]), &heard(&[3], 1000)), None);
        assert_eq!(next_step(&state, &group(&[1, 2, 3], &[]), &heard(&[2], 1000)), votes(&[1, 2]));
    }

    #[test]
    fn the_leader_goes_last_and_never_as_the_only_one() {
        let state = rows(&[2, 3], &[1]);
        let all = heard(&[2, 3], 1000);
        assert_eq!(next_step(&state, &group(&[1, 2], &[3]), &all), votes(&[1, 2, 3]));
        assert_eq!(next_step(&state, &group(&[1, 2, 3], &[]), &all), votes(&[2, 3]));
        assert_eq!(next_step(&rows(&[], &[1]), &group(&[1], &[]), &heard(&[], 0)), None);
    }

    #[test]
    fn a_change_that_was_cut_off_is_ended_and_nothing_is_done_before_the_cluster_is_founded() {
        let cut = Group { joint: true, ..group(&[1, 2, 3], &[]) };
        assert_eq!(next_step(&rows(&[1], &[]), &cut, &heard(&[], 0)), votes(&[1, 2, 3]));
        assert_eq!(next_step(&State::default(), &group(&[1], &[]), &heard(&[], 0)), None);
    }
}
