//! A manager whose store is damaged: until it is refilled it takes no part in Raft, and works as a worker.
//!
//! It stays the node it was, with its certificate, its tasks and their files. What it must not do is vote again under a
//! Raft id whose votes it may have forgotten: so the other managers give it a new id, under which it begins with an empty
//! store, and take the old one out of the group. What was damaged is kept beside the store until the new one votes.

use super::{
    active::{Active, ActiveError, Surroundings, admit, bind, options, wipe_at},
    address, files, keystore,
    managing::Dial,
    member::Card,
    renewal,
    turning::Turned,
};
use crate::{
    client::enroll::Enrolled,
    kit::{clock::Clock, failpoint::failpoint, id::NodeId, task::Stop},
    raft::Raft,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tracing::{info, warn};

/// Begins the names of the folders that keep what was damaged; the rest says when, so that none replaces another.
const ASIDE: &str = "damaged-";
/// Looked at again this often, whether this manager votes.
const EVERY: Duration = Duration::from_secs(1);

impl Active {
    /// Fills this manager from the others. Until one of them has given it another Raft id, nothing changes.
    ///
    /// # Errors
    /// With the node as it was if it still is; none if it has to be taken up anew, which can be tried again.
    pub(super) async fn refill(self, around: &Surroundings) -> Result<Self, Turned> {
        let prepared = async {
            let others = self.others();
            if others.is_empty() {
                return Err(ActiveError::OnlyManager);
            }
            let (listen, advertise) =
                self.card.read(|m| (m.listen_addr.clone(), m.advertise_addr.clone()));
            let (listener, _) = bind(address::listen(&listen)?).await?;
            // An admission before, of which no answer came, has made this node's Raft id another than its certificate says.
            let alone = self.card.renewing().await;
            let renewed = renewal::ask(&self.card, &self.tls, &around.clock).await;
            let Enrolled { identity, roots, .. } =
                renewed.map_err(|error| ActiveError::Refill(Box::new(error)))?;
            self.card.take(&self.tls, identity, Some(roots))?;
            let admitted = admit(&self.tls, &others, &advertise).await;
            let admitted = admitted.map_err(|error| ActiveError::Refill(Box::new(error)))?;
            drop(alone);
            failpoint("refill.admitted");
            Ok((listener, admitted))
        };
        let (listener, admitted) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return Err(Turned { error, still: Some(Box::new(self)) }),
        };
        let again = async {
            let (card, tls, runtime) = self.part().await?;
            let (keys, mut member) = card.into_parts();
            let (raft_id, root, ways) = member.admit(admitted);
            set_aside(&around.data, &around.raft_dir(), &around.clock)?;
            failpoint("refill.aside");
            let key_file = &around.settings.key_file;
            let keys = keystore::rekey(&around.data, key_file, &keys, root, &ways)?;
            // Before there is a store: an empty one must never be opened under the id whose votes are forgotten.
            member.save(&around.data, &keys)?;
            failpoint("refill.saved");
            tls.set_identity(&member.identity)?;
            let dial = Arc::new(Dial::new(&tls, around));
            let raft =
                Raft::join(options(around, &keys, raft_id, member.fellows.clone()), dial).await?;
            failpoint("refill.store");
            info!(raft_id, "begins with an empty store, which the other managers fill");
            let card = Card::new(&around.data, keys, member);
            Self::start(around, card, tls, Some((raft, listener)), runtime).await
        };
        again.await.map_err(|error| Turned { error, still: None })
    }

    /// The managers this node knows of, but for itself.
    fn others(&self) -> Vec<(NodeId, String)> {
        let mut managers = self.managers();
        managers.retain(|(node, _)| *node != self.node());
        managers
    }
}

/// Moves the store away, if there is one; nothing of it is lost.
fn set_aside(data: &Path, store: &Path, clock: &Clock) -> Result<(), ActiveError> {
    let aside = data.join(format!("{ASIDE}{}", clock.now().0));
    let moved = files::set_aside(&[store.to_owned()], &aside);
    let moved = moved.map_err(|source| ActiveError::Aside { path: aside.clone(), source })?;
    if moved {
        info!(path = %aside.display(), "keeps the damaged store here until the new one is whole");
    }
    Ok(())
}

/// What is kept of damaged stores.
fn kept(data: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(data)?.collect::<Result<Vec<_>, _>>()?;
    let ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let time = name.and_then(|name| name.strip_prefix(ASIDE));
        time.is_some_and(|time| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit()))
    };
    Ok(entries.into_iter().map(|entry| entry.path()).filter(ours).collect())
}

/// Removes what is kept of damaged stores.
///
/// # Errors
/// [`ActiveError::Wipe`]
pub(super) fn forget(data: &Path) -> Result<(), ActiveError> {
    let kept = kept(data).map_err(|source| ActiveError::Wipe { path: data.to_owned(), source })?;
    kept.iter().try_for_each(|path| wipe_at(path))
}

/// Whether anything is kept, or nobody can tell.
pub(super) fn keeps_damaged(data: &Path) -> bool {
    kept(data).map_or(true, |kept| !kept.is_empty())
}

/// Removes what is kept of damaged stores once this manager votes: then it has everything they had, and more.
pub(super) async fn until_whole(raft: &Raft, data: &Path, stop: &Stop) {
    if !kept(data).is_ok_and(|kept| !kept.is_empty()) {
        return;
    }
    while !votes(raft) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    failpoint("refill.voted");
    let forgotten = forget(data);
    failpoint("refill.forgotten");
    match forgotten {
        Ok(()) => info!("this manager votes again; removed what was kept of its damaged store"),
        Err(error) => warn!(%error, "cannot remove what was kept of the damaged store"),
    }
}

/// Whether this manager has a vote in its group.
pub(super) fn votes(raft: &Raft) -> bool {
    let status = raft.status();
    status.voters.contains(&status.raft_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::Timestamp;

    #[test]
    fn a_damaged_store_is_kept_until_it_is_forgotten_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (data, store) = (dir.path(), dir.path().join("raft"));
        fs::write(data.join("damaged-by-mice"), "").unwrap();
        set_aside(data, &store, &Clock::manual(Timestamp(6))).unwrap();
        assert!(kept(data).unwrap().is_empty(), "there was none");
        for at in [7, 8] {
            fs::create_dir(&store).unwrap();
            fs::write(store.join("state.redb"), at.to_string()).unwrap();
            set_aside(data, &store, &Clock::manual(Timestamp(at))).unwrap();
            assert!(!store.exists());
        }
        assert_eq!(fs::read(data.join("damaged-7/raft/state.redb")).unwrap(), b"7");
        assert_eq!(fs::read(data.join("damaged-8/raft/state.redb")).unwrap(), b"8");
        forget(data).unwrap();
        assert_eq!(fs::read_dir(data).unwrap().count(), 1);
    }
}
