//! Raft's own values as protobuf messages, both ways: what the log, the state file and peers hold.

use super::{
    digest::Digest,
    types::{Batch, Entry, LogId, Member, Membership, StoredMembership, TypeConfig, Vote},
};
use crate::{
    crypto::seal::Sealed,
    model::{command::Stamped, task::ObjectVersion},
    store::{Entity, Key},
    wire::{Malformed, v1},
};
use openraft::{EntryPayload, LeaderId};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Parsed<T> = Result<T, Malformed>;

fn missing(field: &str) -> Malformed {
    Malformed::new("missing").within(field)
}

/// Bytes that are no message of the expected type.
pub(super) fn garbled(error: prost::DecodeError) -> Malformed {
    Malformed::new(error)
}

pub(super) fn log_id_to(id: &LogId) -> v1::LogId {
    let openraft::LogId { leader_id: LeaderId { term, node_id }, index } = *id;
    v1::LogId { term, leader: node_id, index }
}

pub(super) fn log_id_from(id: &v1::LogId) -> LogId {
    let v1::LogId { term, leader, index } = *id;
    LogId::new(LeaderId::new(term, leader), index)
}

pub(super) fn vote_to(vote: &Vote) -> v1::Vote {
    let openraft::Vote { leader_id: LeaderId { term, node_id }, committed } = *vote;
    v1::Vote { term, candidate: Some(node_id), committed }
}

pub(super) fn vote_from(vote: &v1::Vote) -> Vote {
    let v1::Vote { term, candidate, committed } = *vote;
    let leader_id = LeaderId::new(term, candidate.unwrap_or_default());
    Vote { leader_id, committed }
}

pub(super) fn member_to(member: &Member) -> v1::Member {
    let Member { node, addr } = member;
    v1::Member { node_id: node.to_string(), addr: addr.clone() }
}

pub(super) fn member_from(member: v1::Member) -> Parsed<Member> {
    let v1::Member { node_id, addr } = member;
    let node = node_id.parse().map_err(|e| Malformed::new(e).within("node_id"))?;
    Ok(Member { node, addr })
}

pub(super) fn membership_to(membership: &Membership) -> v1::Membership {
    let voters =
        |ids: &BTreeSet<u64>| v1::membership::Voters { raft_ids: ids.iter().copied().collect() };
    v1::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        members: membership.nodes().map(|(id, member)| (*id, member_to(member))).collect(),
    }
}

pub(super) fn membership_from(membership: v1::Membership) -> Parsed<Membership> {
    let v1::Membership { configs, members } = membership;
    let configs = configs
        .into_iter()
        .map(|v1::membership::Voters { raft_ids }| raft_ids.into_iter().collect())
        .collect::<Vec<BTreeSet<u64>>>();
    let mut nodes = BTreeMap::new();
    for (id, member) in members {
        nodes.insert(id, member_from(member).map_err(|e| e.within("members"))?);
    }
    Ok(Membership::new(configs, nodes))
}

pub(super) fn stored_membership_to(stored: &StoredMembership) -> v1::StoredMembership {
    v1::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to),
        membership: Some(membership_to(stored.membership())),
    }
}

pub(super) fn stored_membership_from(stored: v1::StoredMembership) -> Parsed<StoredMembership> {
    let v1::StoredMembership { log_id, membership } = stored;
    let membership = membership.ok_or_else(|| missing("membership"))?;
    let membership = membership_from(membership).map_err(|e| e.within("membership"))?;
    Ok(StoredMembership::new(log_id.as_ref().map(log_id_from), membership))
}

pub(super) fn entry_to(entry: &Entry) -> v1::LogEntry {
    use v1::log_entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(v1::log_entry::Blank {}),
        EntryPayload::Normal(batch) => Payload::Batch(v1::Batch {
            commands: batch.commands().iter().map(Into::into).collect(),
        }),
        EntryPayload::Membership(membership) => Payload::Membership(membership_to(membership)),
    };
    v1::LogEntry { log_id: Some(log_id_to(&entry.log_id)), payload: Some(payload) }
}

pub(super) fn entry_from(entry: v1::LogEntry) -> Parsed<Entry> {
    use v1::log_entry::Payload;
    let weight = entry.encoded_len();
    let v1::LogEntry { log_id, payload } = entry;
    let log_id = log_id_from(&log_id.ok_or_else(|| missing("log_id"))?);
    let payload = match payload.ok_or_else(|| missing("payload"))? {
        Payload::Blank(v1::log_entry::Blank {}) => EntryPayload::Blank,
        Payload::Batch(v1::Batch { commands }) => {
            let commands: Parsed<Vec<Stamped>> =
                commands.into_iter().map(TryInto::try_into).collect();
            EntryPayload::Normal(Batch::new(commands.map_err(|e| e.within("batch"))?, weight))
        }
        Payload::Membership(membership) => EntryPayload::Membership(
            membership_from(membership).map_err(|e| e.within("membership"))?,
        ),
    };
    Ok(openraft::Entry::<TypeConfig> { log_id, payload })
}

pub(super) fn applied_to(
    last: Option<&LogId>,
    membership: &StoredMembership,
    digest: Digest,
) -> v1::Applied {
    v1::Applied {
        last: last.map(log_id_to),
        membership: Some(stored_membership_to(membership)),
        digest: digest.to_bytes(),
    }
}

pub(super) fn applied_from(
    applied: v1::Applied,
) -> Parsed<(Option<LogId>, StoredMembership, Digest)> {
    let v1::Applied { last, membership, digest } = applied;
    let digest = Digest::from_bytes(&digest)
        .ok_or_else(|| Malformed::new("not 32 bytes").within("digest"))?;
    let membership = membership.ok_or_else(|| missing("membership"))?;
    let membership = stored_membership_from(membership).map_err(|e| e.within("membership"))?;
    Ok((last.as_ref().map(log_id_from), membership, digest))
}

pub(super) fn entity_to(entity: &Entity) -> v1::Entity {
    use v1::entity::Entity as Row;
    let row = match entity {
        Entity::Cluster(cluster) => Row::Cluster((&**cluster).into()),
        Entity::Node(node) => Row::Node((&**node).into()),
        Entity::Object(object) => Row::Object((&**object).into()),
        Entity::Service(service) => Row::Service((&**service).into()),
        Entity::Task(task) => Row::Task((&**task).into()),
        Entity::Answered(answered) => Row::Answered((&**answered).into()),
        Entity::Remnant(remnant) => Row::Remnant((&**remnant).into()),
        Entity::Destroyed(destroyed) => Row::Destroyed((&**destroyed).into()),
    };
    v1::Entity { entity: Some(row) }
}

pub(super) fn entity_from(entity: v1::Entity) -> Parsed<Entity> {
    use v1::entity::Entity as Row;
    let v1::Entity { entity } = entity;
    Ok(match entity.ok_or_else(|| missing("entity"))? {
        Row::Cluster(cluster) => Entity::Cluster(Arc::new(cluster.try_into()?)),
        Row::Node(node) => Entity::Node(Arc::new(node.try_into()?)),
        Row::Object(object) => Entity::Object(Arc::new(object.try_into()?)),
        Row::Service(service) => Entity::Service(Arc::new(service.try_into()?)),
        Row::Task(task) => Entity::Task(Arc::new(task.try_into()?)),
        Row::Answered(answered) => Entity::Answered(Arc::new(answered.try_into()?)),
        Row::Remnant(remnant) => Entity::Remnant(Arc::new(remnant.try_into()?)),
        Row::Destroyed(destroyed) => Entity::Destroyed(Arc::new(destroyed.try_into()?)),
    })
}

/// The key of a row in the state file: a byte for its kind, and its id. The order is that of the kinds' numbers.
pub(super) fn row_key(key: &Key) -> Vec<u8> {
    let (kind, id) = match key {
        Key::Cluster => (1, ""),
        Key::Node(id) => (2, id.as_str()),
        Key::Object(id) => (3, id.as_str()),
        Key::Service(id) => (4, id.as_str()),
        Key::Task(id) => (5, id.as_str()),
        Key::Answered(id) => (6, id.as_str()),
        Key::Remnant(id) => (7, id.as_str()),
        Key::Destroyed(id) => (10, id.as_str()),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

pub(super) fn body_to(version: &ObjectVersion, sealed: &Sealed) -> v1::Body {
    v1::Body { version: Some(version.into()), sealed: Some(sealed.into()) }
}

pub(super) fn body_from(body: v1::Body) -> Parsed<(ObjectVersion, Sealed)> {
    let v1::Body { version, sealed } = body;
    let version = version.ok_or_else(|| missing("version"))?.try_into()?;
    let sealed = sealed.ok_or_else(|| missing("sealed"))?.try_into()?;
    Ok((version, sealed))
}
