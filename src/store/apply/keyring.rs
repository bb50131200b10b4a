//! The terms of the keyring: a new one seals at once, data keys follow it, and the old ones go when nothing is left.

use super::{
    Change, Edit, Entity,
    membership::{cluster, put_cluster, put_node},
    nodes::find,
    root,
};
use crate::{
    crypto::{
        key::RootId,
        keyring::WrappedTerm,
        seal::{Sealed, WrappedKey},
    },
    kit::{duration::Compact, id::NodeId, limits::TERMS},
    model::{
        cluster::{Cluster, ClusterSettings, Rekeying, Rewrapping},
        command::{Answer, Outcome, Rewrapped, RewrappedAuthority},
        node::{ManagerStatus, Node},
        object::Object,
        refusal::{Refusal, RefusalKind},
    },
};
use std::{sync::Arc, time::Duration};

/// A term that is younger does no harm, and every rotation looks at everything.
const YOUNGEST: Duration = Duration::from_secs(3600);
/// A machine that restarts, or whose clock is off by less, shall come back by itself …
const SHORTEST_AWAY: Duration = Duration::from_secs(3600);
/// … and a disk from further back than half the CA's life is nobody's.
const LONGEST_AWAY: Duration = Duration::from_secs(3650 * 24 * 3600);

pub(super) fn add_term(
    edit: &mut Edit<'_>,
    term: &WrappedTerm,
    rate: Option<u32>,
    root: RootId,
) -> Outcome {
    let cluster = cluster(edit)?;
    root::check(&cluster, root)?;
    if term.term != cluster.active_term().saturating_add(1) {
        return Err(Refusal::new(RefusalKind::Conflict, "the keyring has a new term already")
            .hint("see how far its rotation is with `secretctl key status`"));
    }
    if cluster.keyring.len() >= TERMS {
        let text = format!("the keyring has {TERMS} terms that are not empty yet");
        return Err(Refusal::new(RefusalKind::Precondition, text)
            .hint("see how far their rotation is with `secretctl key status`"));
    }
    let mut keyring = cluster.keyring.clone();
    keyring.push(WrappedTerm { created_at: edit.at, ..term.clone() });
    // The CA's key is one of them.
    let total = edit.state.versions_before(term.term).count() as u64 + 1;
    let running = Some(Rewrapping { started_at: edit.at, total, rate });
    let rekeying = Rekeying { due: false, running };
    put_cluster(edit, Cluster { keyring, rekeying, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn rewrap(
    edit: &mut Edit<'_>,
    term: u32,
    keys: &[Rewrapped],
    authority: Option<&RewrappedAuthority>,
) -> Outcome {
    let cluster = cluster(edit)?;
    if !cluster.keyring.iter().any(|kept| kept.term == term) {
        return Err(Refusal::new(RefusalKind::Precondition, format!("there is no term {term}")));
    }
    for Rewrapped { version: at, from, wrapped } in keys {
        let Some(object) = edit.state.object_by_id(at.object).cloned() else { continue };
        let mut object = Object::clone(&object);
        let mut versions = object.versions.iter_mut();
        let still = versions.find(|one| one.number == at.version && one.term == *from);
        let Some(version) = still.filter(|version| version.term < term) else { continue };
        version.term = term;
        let key = WrappedKey { term, wrapped: wrapped.clone() };
        edit.changes.push(Change::PutKey { object: at.object, version: at.version, key });
        // For people the object is the same as before: its index and times stay.
        edit.put(Entity::Object(Arc::new(object)));
    }
    if let Some(RewrappedAuthority { was, wrapped }) = authority
        && cluster.ca_key.wrapped_key == *was
        && cluster.ca_key.term < term
    {
        let body = cluster.ca_key.body.clone();
        let ca_key = Sealed::new(WrappedKey { term, wrapped: wrapped.clone() }, body);
        put_cluster(edit, Cluster { ca_key, ..Cluster::clone(&cluster) });
    }
    Ok(Answer::Done)
}

pub(super) fn drop_terms(edit: &mut Edit<'_>, before: u32) -> Outcome {
    let cluster = cluster(edit)?;
    if before > cluster.active_term() {
        return Err(Refusal::new(RefusalKind::Precondition, format!("there is no term {before}")));
    }
    // Judged here, not by whoever asks: something may have been stored meanwhile.
    let left = edit.state.versions_before(before).count() as u64;
    let left = left + u64::from(cluster.ca_key.term < before);
    if left > 0 {
        let text = format!("{left} keys lie under terms before {before}");
        return Err(Refusal::new(RefusalKind::Precondition, text));
    }
    let keyring: Vec<_> =
        cluster.keyring.iter().filter(|term| term.term >= before).cloned().collect();
    if keyring.len() < cluster.keyring.len() {
        let running = cluster.rekeying.running.clone().filter(|_| keyring.len() > 1);
        let rekeying = Rekeying { running, ..cluster.rekeying };
        put_cluster(edit, Cluster { keyring, rekeying, ..Cluster::clone(&cluster) });
    }
    Ok(Answer::Done)
}

pub(super) fn note_terms(edit: &mut Edit<'_>, id: NodeId, oldest: u32) -> Outcome {
    let node = find(edit, id)?;
    if let Some(manager) = &node.manager
        && manager.oldest_term < oldest
    {
        let manager = Some(ManagerStatus { oldest_term: oldest, ..manager.clone() });
        put_node(edit, Node { manager, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

pub(super) fn set_max_age(edit: &mut Edit<'_>, age: Option<Duration>) -> Outcome {
    let cluster = cluster(edit)?;
    if let Some(age) = age.filter(|age| *age < YOUNGEST) {
        let text = format!("terms of the keyring cannot be replaced every {}", Compact(age));
        return Err(Refusal::invalid(text).hint("give at least 1h, or 0 for never"));
    }
    if cluster.settings.key_max_age != age {
        let settings = ClusterSettings { key_max_age: age, ..cluster.settings.clone() };
        put_cluster(edit, Cluster { settings, ..Cluster::clone(&cluster) });
    }
    Ok(Answer::Done)
}

pub(super) fn set_come_back(edit: &mut Edit<'_>, age: Duration) -> Outcome {
    let cluster = cluster(edit)?;
    if !(SHORTEST_AWAY..=LONGEST_AWAY).contains(&age) {
        let text = format!("nodes cannot be let back for {}", Compact(age));
        return Err(Refusal::invalid(text)
            .hint("give at least 1h, so that a node that restarts comes back, and at most 3650d"));
    }
    if cluster.settings.come_back != age {
        let settings = ClusterSettings { come_back: age, ..cluster.settings.clone() };
        put_cluster(edit, Cluster { settings, ..Cluster::clone(&cluster) });
    }
    Ok(Answer::Done)
}

/// Refuses what was sealed under a term that has gone since: nobody could open it any more.
pub(super) fn check_term(edit: &Edit<'_>, sealed: &Sealed) -> Result<(), Refusal> {
    match edit.state.cluster() {
        Some(cluster) if sealed.term < cluster.oldest_term() => {
            Err(Refusal::new(RefusalKind::Conflict, "the keyring's terms changed meanwhile")
                .hint("nothing was stored; try again"))
        }
        Some(_) | None => Ok(()),
    }
}
