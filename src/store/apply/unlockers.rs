//! The ways to the root key: several may stand side by side, and one must always remain.

use super::{
    Edit,
    membership::{cluster, put_cluster},
    root,
};
use crate::{
    crypto::{key::RootId, unlock::Unlocker},
    kit::{id::UnlockerId, limits::UNLOCKERS},
    model::{
        cluster::Cluster,
        command::{Answer, Outcome},
        refusal::{Refusal, RefusalKind},
    },
};

pub(super) fn change(
    edit: &mut Edit<'_>,
    add: &[Unlocker],
    remove: &[UnlockerId],
    key_files: Option<bool>,
    root: RootId,
) -> Outcome {
    let cluster = cluster(edit)?;
    root::check(&cluster, root)?;
    if cluster.root.rotation.is_some() {
        // What is removed now may have opened the next root key already.
        let text = "the root key is being replaced";
        return Err(Refusal::new(RefusalKind::Precondition, text)
            .hint("wait until `secretctl key status` says that it is done"));
    }
    let mut unlockers = cluster.unlockers.clone();
    for id in remove {
        let Some(at) = unlockers.iter().position(|unlocker| unlocker.id == *id) else {
            return Err(Refusal::not_found(format!("unlocker {id} not found")));
        };
        unlockers.remove(at);
    }
    for unlocker in add {
        if unlockers.iter().any(|other| other.id == unlocker.id) {
            let text = format!("unlocker {} exists already", unlocker.id);
            return Err(Refusal::new(RefusalKind::Exists, text));
        }
        unlockers.push(unlocker.clone());
    }
    if unlockers.len() > UNLOCKERS {
        let text = format!("there are {UNLOCKERS} unlockers already");
        return Err(Refusal::new(RefusalKind::Precondition, text)
            .hint("remove one that is not needed with `secretctl unlocker rm`"));
    }
    let key_files = key_files.unwrap_or(cluster.key_files);
    if unlockers.is_empty() && !key_files {
        return Err(Refusal::new(
            RefusalKind::Precondition,
            "the last unlocker cannot be removed: nobody could open the store again",
        )
        .hint("add another one first with `secretctl unlocker add`"));
    }
    if unlockers != cluster.unlockers || key_files != cluster.key_files {
        put_cluster(edit, Cluster { unlockers, key_files, ..Cluster::clone(&cluster) });
    }
    Ok(Answer::Done)
}
