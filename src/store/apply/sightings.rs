//! Which certificates of a node count, who showed them, and what that says of a second machine.

use super::{
    Edit,
    membership::put_node,
    nodes::{find, report},
};
use crate::{
    kit::id::NodeId,
    model::{
        command::{Answer, Outcome},
        node::{CertificateStatus, Node, NodeDescription, NodeStatus},
        sightings::{KeyRank, ShownKey, check_key, check_session},
    },
};
use std::sync::Arc;

/// The key that was shown stays beside the new one: whoever asked with it has it for certain, and perhaps nothing else.
pub(super) fn note_certificate(
    edit: &mut Edit<'_>,
    id: NodeId,
    certificate: &CertificateStatus,
    shown: Option<&ShownKey>,
) -> Outcome {
    let node = find(edit, id)?;
    if let Some(shown) = shown {
        check_key(&node, shown, None)?;
    }
    // Whoever has shown one certificate of this CA still has it if the next did not arrive.
    let before = node.certificate.as_ref();
    let seen = certificate.shown
        || before.is_some_and(|before| before.shown && before.issuer == certificate.issuer);
    let again = before.filter(|before| before.key == certificate.key);
    let former = match (shown, again) {
        (Some(shown), None) => Some(shown.key),
        // Asked for once more, or signed by a manager for itself.
        (_, Some(before)) => before.former,
        (None, None) => before.map(|before| before.key),
    };
    let kept = [Some(certificate.key), former];
    let used = before.and_then(|before| before.used).filter(|used| kept.contains(&Some(*used)));
    let dated = again.is_some_and(|before| before.dated);
    let certificate =
        Some(CertificateStatus { shown: seen, former, used, dated, ..certificate.clone() });
    if node.certificate != certificate {
        put_node(edit, Node { certificate, ..Node::clone(&node) });
    }
    Ok(Answer::Done)
}

pub(super) fn open_session(
    edit: &mut Edit<'_>,
    id: NodeId,
    (description, status): (&NodeDescription, &NodeStatus),
    shown: &ShownKey,
    process: u64,
) -> Outcome {
    let node = find(edit, id)?;
    // Who left is not back because it did not know yet.
    if node.has_left() {
        return Ok(Answer::Done);
    }
    check_session(&node, shown, process, edit.at)?;
    let certificate = node.certificate.as_ref().map(|certificate| {
        let certificate = CertificateStatus { used: Some(shown.key), ..certificate.clone() };
        match certificate.rank(shown) {
            // From now on it is known again.
            KeyRank::Newer => CertificateStatus {
                key: shown.key,
                expires_at: shown.expires_at,
                former: None,
                dated: false,
                ..certificate
            },
            KeyRank::Present => CertificateStatus { dated: false, ..certificate },
            KeyRank::Former | KeyRank::Stale => certificate,
        }
    });
    let sightings = node.sightings.seen(process, edit.at, (&node.status.addr, &status.addr));
    report(edit, id, Some(description), status, None)?;
    let node = find(edit, id)?;
    put_node(edit, Node { certificate, sightings, ..Node::clone(&node) });
    Ok(Answer::Done)
}

pub(super) fn note_copy(edit: &mut Edit<'_>, id: NodeId, addr: &str) -> Outcome {
    let node = find(edit, id)?;
    let sightings = node.sightings.copied(edit.at, (&node.status.addr, addr));
    put_node(edit, Node { sightings, ..Node::clone(&node) });
    Ok(Answer::Done)
}

/// After a state was brought back that may be older than what nodes have: the certificates they were given since count
/// too, those before the ones it knows do not.
pub(super) fn date(edit: &mut Edit<'_>, this: NodeId) {
    let others: Vec<Arc<Node>> =
        edit.state.nodes().filter(|node| node.id != this).cloned().collect();
    for other in others {
        let Some(certificate) = other.certificate.clone().filter(|it| !it.dated) else { continue };
        let certificate = Some(CertificateStatus { dated: true, ..certificate });
        // Done again, it changes nothing.
        put_node(edit, Node { certificate, ..Node::clone(&other) });
    }
}
