//! Who belongs to the Raft group: adding a manager once it has caught up, and removing one for good.

use super::{handle::Raft, types::Member};
use openraft::{
    ChangeMembers,
    error::{ChangeMembershipError, ClientWriteError, RaftError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A new manager must catch up, and a majority must agree to each step, within this time.
const DEADLINE: Duration = Duration::from_secs(300);

/// One step waits at most this long; whoever takes it looks again later.
const STEP: Duration = Duration::from_secs(10);

/// The Raft group as the leader has it, its last change included even if that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// This manager.
    pub raft_id: u64,
    /// Voters and learners.
    pub members: BTreeMap<u64, Member>,
    /// Who votes once the last change is done.
    pub voters: BTreeSet<u64>,
    /// A change was begun and not ended: two majorities decide.
    pub joint: bool,
    pub last_index: u64,
}

/// Why the group was not changed, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    #[error("this manager does not lead the cluster")]
    NotLeader { leader: Option<Member> },
    #[error("another change of the managers is under way")]
    InProgress,
    #[error("the last manager cannot be removed")]
    Last,
    #[error("there is no manager with the Raft id {0}")]
    Unknown(u64),
    /// It may still happen.
    #[error("the managers did not agree in time")]
    Timeout,
    #[error("the store of this manager has stopped: {0}")]
    Stopped(String),
}

impl Raft {
    /// Adds a manager: it is sent everything first and votes only then. Its id must never have been used.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn add_member(&self, raft_id: u64, member: Member) -> Result<(), MemberError> {
        let raft = &self.core.raft;
        let add = async {
            raft.add_learner(raft_id, member, true).await.map_err(explain)?;
            let voters = ChangeMembers::AddVoterIds(BTreeSet::from([raft_id]));
            raft.change_membership(voters, false).await.map_err(explain)
        };
        within(DEADLINE, add).await
    }

    pub fn group(&self) -> Group {
        let metrics = self.core.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let configs = membership.get_joint_config();
        Group {
            raft_id: metrics.id,
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
            voters: configs.last().cloned().unwrap_or_default(),
            joint: configs.len() > 1,
            last_index: metrics.last_log_index.unwrap_or(0),
        }
    }

    /// Begins to send everything to a manager, which does not vote yet.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn add_learner(&self, raft_id: u64, member: Member) -> Result<(), MemberError> {
        let raft = &self.core.raft;
        let add = async { raft.add_learner(raft_id, member, false).await.map_err(explain) };
        within(STEP, add).await
    }

    /// Notes where a member is reached, for who starts with nothing but the log.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn readdress(&self, raft_id: u64, member: Member) -> Result<(), MemberError> {
        let raft = &self.core.raft;
        let change = ChangeMembers::SetNodes(BTreeMap::from([(raft_id, member)]));
        within(STEP, async { raft.change_membership(change, true).await.map_err(explain) }).await
    }

    /// Makes these the voters; who voted before stays a learner.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), MemberError> {
        let raft = &self.core.raft;
        let change = ChangeMembers::ReplaceAllVoters(voters);
        within(STEP, async { raft.change_membership(change, true).await.map_err(explain) }).await
    }

    /// Removes a manager; its id is never used again.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn remove_member(&self, raft_id: u64) -> Result<(), MemberError> {
        let raft = &self.core.raft;
        let is_voter = self.status().voters.contains(&raft_id);
        let gone = BTreeSet::from([raft_id]);
        let change = if is_voter {
            ChangeMembers::RemoveVoters(gone)
        } else {
            ChangeMembers::RemoveNodes(gone)
        };
        within(STEP, async { raft.change_membership(change, false).await.map_err(explain) }).await
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, MemberError>>,
) -> Result<(), MemberError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(MemberError::Timeout),
    }
}

fn explain(error: RaftError<u64, ClientWriteError<u64, Member>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            MemberError::NotLeader { leader: forward.leader_node }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) => MemberError::InProgress,
            ChangeMembershipError::EmptyMembership(_) => MemberError::Last,
            ChangeMembershipError::LearnerNotFound(error) => MemberError::Unknown(error.node_id),
        },
        RaftError::Fatal(fatal) => MemberError::Stopped(fatal.to_string()),
    }
}
