//! The root key: another one is offered, every manager takes it, and only then it counts.
//!
//! None of these commands holds a root key, nor anything that the one before could open.

use super::{
    Edit,
    membership::{cluster, put_cluster, put_node},
    nodes::find,
};
use crate::{
    crypto::{key::RootId, keyring::WrappedTerm, unlock::Unlocker},
    kit::{id::NodeId, limits::TERMS},
    model::{
        cluster::{Cluster, Rekeying, Rewrapping, RootOffer, RootRotation, RootStatus},
        command::{Answer, Outcome},
        node::{ManagerStatus, Node},
        refusal::{Refusal, RefusalKind},
    },
};

pub(super) fn begin(edit: &mut Edit<'_>, rate: Option<u32>) -> Outcome {
    let cluster = cluster(edit)?;
    if cluster.root.rotation.is_some() {
        let text = "the root key is being replaced already";
        return Err(Refusal::new(RefusalKind::Conflict, text)
            .hint("see which managers it waits for with `secretctl key status`"));
    }
    // It brings a term of its own.
    if cluster.keyring.len() >= TERMS {
        let text = format!("the keyring has {TERMS} terms that are not empty yet");
        return Err(Refusal::new(RefusalKind::Precondition, text)
            .hint("see how far their rotation is with `secretctl key status`"));
    }
    let rotation = Some(RootRotation { started_at: edit.at, rate, offered: None });
    let root = RootStatus { rotation, ..cluster.root.clone() };
    put_cluster(edit, Cluster { root, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn offer(edit: &mut Edit<'_>, offer: RootOffer) -> Outcome {
    let cluster = cluster(edit)?;
    let Some(rotation) = &cluster.root.rotation else {
        return Err(Refusal::new(RefusalKind::Precondition, "the root key is not being replaced"));
    };
    let rotation = Some(RootRotation { offered: Some(offer), ..rotation.clone() });
    let root = RootStatus { rotation, ..cluster.root.clone() };
    put_cluster(edit, Cluster { root, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn note_prepared(edit: &mut Edit<'_>, id: NodeId, root: RootId) -> Outcome {
    let cluster = cluster(edit)?;
    if cluster.root.offered().is_none_or(|offer| offer.id != root) {
        return Err(Refusal::new(RefusalKind::Conflict, "another root key is offered by now"));
    }
    let node = find(edit, id)?;
    if let Some(manager) = &node.manager
        && manager.prepared_root != Some(root)
    {
        let manager = Some(ManagerStatus { prepared_root: Some(root), ..manager.clone() });
        put_node(edit, Node { manager, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

pub(super) fn rotate(
    edit: &mut Edit<'_>,
    id: RootId,
    keyring: &[WrappedTerm],
    unlockers: &[Unlocker],
) -> Outcome {
    let cluster = cluster(edit)?;
    let refuse = |text: &str| Err(Refusal::new(RefusalKind::Conflict, text));
    let Some(rotation) = cluster.root.rotation.as_ref() else {
        return refuse("the root key is not being replaced");
    };
    if rotation.offered.is_none_or(|offer| offer.id != id) {
        return refuse("another root key is offered by now");
    }
    // Judged here, not by whoever asks: one may have been admitted meanwhile, or begun anew with an empty store.
    if !edit.state.unprepared_managers(id).is_empty() {
        return refuse("a manager does not have the next root key yet");
    }
    let (last, before) = keyring.split_last().ok_or_else(|| Refusal::invalid("no terms"))?;
    let is_same = |(old, new): (&WrappedTerm, &WrappedTerm)| old.term == new.term;
    if before.len() != cluster.keyring.len()
        || !cluster.keyring.iter().zip(before).all(is_same)
        || last.term != cluster.active_term().saturating_add(1)
    {
        return refuse("the keyring has other terms by now");
    }
    let is_same = |(old, new): (&Unlocker, &Unlocker)| old.is_same_way(new);
    if unlockers.len() != cluster.unlockers.len()
        || !cluster.unlockers.iter().zip(unlockers).all(is_same)
    {
        return refuse("the cluster has other unlockers by now");
    }
    let times = cluster.keyring.iter().map(|term| term.created_at).chain([edit.at]);
    let keyring = keyring.iter().zip(times);
    let keyring = keyring.map(|(term, created_at)| WrappedTerm { created_at, ..term.clone() });
    let keyring = keyring.collect();
    // The CA's key is one of them.
    let total = edit.state.versions_before(last.term).count() as u64 + 1;
    let running = Some(Rewrapping { started_at: edit.at, total, rate: rotation.rate });
    let rekeying = Rekeying { due: false, running };
    let number = cluster.root.number.saturating_add(1);
    let root = RootStatus { number, id, since: edit.at, rotation: None };
    let unlockers = unlockers.to_vec();
    put_cluster(edit, Cluster { root, keyring, rekeying, unlockers, ..Cluster::clone(&cluster) });
    Ok(Answer::Done)
}

pub(super) fn note(edit: &mut Edit<'_>, id: NodeId, number: u32) -> Outcome {
    let cluster = cluster(edit)?;
    if number > cluster.root.number {
        return Err(Refusal::invalid(format!("there is no root key number {number}")));
    }
    let node = find(edit, id)?;
    if let Some(manager) = &node.manager
        && manager.root < number
    {
        let manager = Some(ManagerStatus { root: number, ..manager.clone() });
        put_node(edit, Node { manager, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

/// Refuses what was sealed to a root key, or asked for while it was another.
pub(super) fn check(cluster: &Cluster, root: RootId) -> Result<(), Refusal> {
    if cluster.root.id == root {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::Conflict, "the root key was replaced meanwhile")
        .hint("nothing was stored; try again"))
}
