//! What a node knows of its membership, `node.identity`: its identity, the CAs it trusts, where the managers are.
//!
//! One record, sealed to the storage key: protobuf `secretd.v1.NodeIdentity`. It is written last when a node is set
//! up; a data directory that has keys but no identity was cut off on the way there.

use super::{
    active::ActiveError,
    files,
    keystore::{Unlocked, Ways},
};
use crate::{
    agent::Manager,
    client::enroll::Admitted,
    crypto::{
        OpenError,
        key::{Key, Root},
    },
    kit::chain::chain,
    model::node::RaftIdentity,
    pki::{Identity, IdentityError, Tls},
    wire::{Malformed, v1},
};
use prost::Message as _;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tracing::{info, warn};

const NAME: &str = "node.identity";
/// Certificates and a few hundred addresses are far below this many bytes.
const SIZE: u64 = 1024 * 1024;

/// Why the identity was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error("cannot read the node's identity {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the node's identity {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot open the node's identity {}", path.display())]
    Open { path: PathBuf, source: OpenError },
    #[error("the node's identity {} is not usable", path.display())]
    Identity { path: PathBuf, source: IdentityError },
    #[error("the node's identity {} cannot be understood; was it written by a newer secretd?", path.display())]
    Malformed { path: PathBuf },
}

impl MemberError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Write { .. } => {
                "check the data directory: its disk, its free space, its owner"
            }
            Self::Open { .. } | Self::Identity { .. } | Self::Malformed { .. } => {
                "bring the file back from a copy of the data directory; if there is none, take the node out on another manager (`secretctl node demote`, `secretctl node rm --force`), move the data directory away and join it as a new one"
            }
        }
    }
}

/// A node's membership in its cluster.
#[derive(Debug)]
pub struct Member {
    pub identity: Identity,
    /// The CAs to trust, DER.
    /// The one that signs now comes first.
    pub roots: Vec<Vec<u8>>,
    /// Its id in Raft, if it is a manager.
    pub raft_id: Option<u64>,
    /// Where it listens as a manager, `IP:PORT`; for one that never was a manager, as it was asked for, perhaps empty.
    pub listen_addr: String,
    /// Where others reach it as a manager, the same way.
    pub advertise_addr: String,
    /// Where managers were last seen.
    pub managers: Vec<Manager>,
    /// The other managers when this one was admitted; unset for a worker, and for one that began its cluster.
    pub fellows: Option<Vec<RaftIdentity>>,
}

impl Member {
    /// Becomes the manager that was admitted; returns what the others gave it besides: its Raft id, and the root key with
    /// the ways to it.
    pub(super) fn admit(&mut self, admitted: Admitted) -> (u64, Key<Root>, Ways) {
        let Admitted { raft_id, identity, roots, fellows, root, unlockers: shared, key_files } =
            admitted;
        self.identity = identity;
        self.roots = roots;
        self.raft_id = Some(raft_id);
        self.fellows = Some(fellows);
        (raft_id, root, Ways { key_file: key_files, shared })
    }

    /// Reads the membership of the node whose keys these are; nothing if it has none yet.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is not this node's.
    pub fn load(dir: &Path, keys: &Unlocked) -> Result<Option<Self>, MemberError> {
        let path = dir.join(NAME);
        let sealed = match files::read(&path, SIZE) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(None),
            Err(source) => return Err(MemberError::Read { path, source }),
        };
        let bytes = match keys.storage.open(&aad(keys), &sealed) {
            Ok(bytes) => bytes,
            Err(source) => return Err(MemberError::Open { path, source }),
        };
        let Ok(message) = v1::NodeIdentity::decode(bytes.as_slice()) else {
            return Err(MemberError::Malformed { path });
        };
        let v1::NodeIdentity {
            certificates,
            sealed_key,
            ca_certificates,
            raft_id,
            listen_addr,
            advertise_addr,
            managers,
            fellows,
        } = message;
        let identity = match Identity::open(&keys.storage, certificates, &sealed_key) {
            Ok(identity) => identity,
            Err(source) => return Err(MemberError::Identity { path, source }),
        };
        if (identity.peer().cluster, identity.peer().node) != (keys.cluster, keys.node) {
            return Err(MemberError::Malformed { path });
        }
        let manager = |v1::ManagerAddr { node_id, addr }| {
            let node =
                node_id.parse().map_err(|_| MemberError::Malformed { path: path.clone() })?;
            Ok(Manager { node, addr })
        };
        let managers = managers.into_iter().map(manager).collect::<Result<_, MemberError>>()?;
        let fellows = fellows
            .map(|v1::Fellows { managers }| managers.into_iter().map(TryInto::try_into).collect())
            .transpose()
            .map_err(|_: Malformed| MemberError::Malformed { path: path.clone() })?;
        Ok(Some(Self {
            identity,
            roots: ca_certificates,
            raft_id: (raft_id != 0).then_some(raft_id),
            listen_addr,
            advertise_addr,
            managers,
            fellows,
        }))
    }

    /// Writes the membership; durable when this returns.
    ///
    /// # Errors
    /// The disk fails; then the file is as it was.
    pub fn save(&self, dir: &Path, keys: &Unlocked) -> Result<(), MemberError> {
        let Self { identity, roots, raft_id, listen_addr, advertise_addr, managers, fellows } =
            self;
        let message = v1::NodeIdentity {
            certificates: identity.chain(),
            sealed_key: identity.sealed_key(&keys.storage),
            ca_certificates: roots.clone(),
            raft_id: raft_id.unwrap_or(0),
            listen_addr: listen_addr.clone(),
            advertise_addr: advertise_addr.clone(),
            managers: managers.iter().map(address).collect(),
            fellows: fellows
                .as_ref()
                .map(|fellows| v1::Fellows { managers: fellows.iter().map(Into::into).collect() }),
        };
        let sealed = keys.storage.seal(&aad(keys), &message.encode_to_vec());
        let path = dir.join(NAME);
        files::replace(&path, &sealed).map_err(|source| MemberError::Write { path, source })
    }
}

fn address(manager: &Manager) -> v1::ManagerAddr {
    let Manager { node, addr } = manager;
    v1::ManagerAddr { node_id: node.to_string(), addr: addr.clone() }
}

/// A node's keys and its membership, in memory and on disk alike.
#[derive(Debug)]
pub(super) struct Card {
    dir: PathBuf,
    pub(super) keys: Unlocked,
    member: Mutex<Member>,
    renewing: Arc<AsyncMutex<()>>,
}

impl Card {
    pub(super) fn new(dir: &Path, keys: Unlocked, member: Member) -> Self {
        let (member, renewing) = (Mutex::new(member), Arc::default());
        Self { dir: dir.to_owned(), keys, member, renewing }
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Member) -> T) -> T {
        read(&self.member.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the membership; durable when this returns.
    ///
    /// # Errors
    /// The disk fails; then the change holds until this process ends.
    pub(super) fn change(&self, change: impl FnOnce(&mut Member)) -> Result<(), MemberError> {
        let mut member = self.member.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut member);
        member.save(&self.dir, &self.keys)
    }

    /// Waits until nobody else asks for a certificate of this node: of two that are asked for with the same one, only
    /// that which was given last counts.
    pub(super) async fn renewing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.renewing).lock_owned().await
    }

    /// Takes a new identity, and with it the CAs to trust: on disk first, then for all to see.
    ///
    /// # Errors
    /// The disk fails, or the identity is not one of this cluster; then the one before is shown further on.
    pub(super) fn take(
        &self,
        tls: &Tls,
        identity: Identity,
        roots: Option<Vec<Vec<u8>>>,
    ) -> Result<(), ActiveError> {
        let roots = roots.filter(|roots| !roots.is_empty());
        let mut member = self.member.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut member.identity, identity);
        let trusted = roots.map(|roots| std::mem::replace(&mut member.roots, roots));
        if let Err(error) = member.save(&self.dir, &self.keys) {
            member.identity = before;
            if let Some(trusted) = trusted {
                member.roots = trusted;
            }
            return Err(error.into());
        }
        let roots: Vec<&[u8]> = member.roots.iter().map(Vec::as_slice).collect();
        tls.set_roots(&roots)?;
        Ok(tls.set_identity(&member.identity)?)
    }

    /// Trusts these CAs from now on, if they are others than before. What fails is tried again when they change next.
    pub(super) fn trust(&self, tls: &Tls, roots: &[Vec<u8>]) {
        if roots.is_empty() || self.read(|member| member.roots == roots) {
            return;
        }
        if let Err(error) = self.change(|member| member.roots = roots.to_vec()) {
            warn!(error = %chain(&error), "cannot remember the CAs to trust");
        }
        let trusted: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        match tls.set_roots(&trusted) {
            Ok(()) => info!(count = roots.len(), "the CAs to trust have changed"),
            Err(error) => warn!(error = %chain(&error), "cannot trust the CAs of the cluster"),
        }
    }

    /// Gives the parts back, to be used for another role.
    pub(super) fn into_parts(self) -> (Unlocked, Member) {
        (self.keys, self.member.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the membership lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Ids have one length, so they need no separator.
fn aad(keys: &Unlocked) -> Vec<u8> {
    format!("node.identity{}{}", keys.cluster, keys.node).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::key::Key,
        kit::{
            clock::Timestamp,
            id::{ClusterId, NodeId},
        },
        model::node::Role,
        pki::{Authority, PrivateKey},
    };
    use std::{fs, time::Duration};

    fn keys() -> Unlocked {
        Unlocked {
            cluster: ClusterId::random(),
            node: NodeId::random(),
            root: Arc::new(Key::random()),
            next: Vec::new(),
            storage: Arc::new(Key::random().into()),
        }
    }

    fn member(keys: &Unlocked) -> Member {
        let now = Timestamp(1_790_000_000_000);
        let ca = Authority::generate(keys.cluster, now);
        let key = PrivateKey::generate();
        let life = Duration::from_secs(3600);
        let chain = ca.issue(&key.request(), keys.node, Role::Manager, now, life).unwrap();
        Member {
            identity: Identity::new(key, chain).unwrap(),
            roots: vec![ca.certificate().to_vec()],
            raft_id: Some(1),
            listen_addr: "0.0.0.0:2390".into(),
            advertise_addr: "10.0.0.1:2390".into(),
            managers: vec![Manager { node: NodeId::random(), addr: "10.0.0.1:2390".into() }],
            fellows: Some(vec![RaftIdentity { node: NodeId::random(), raft_id: 7 }]),
        }
    }

    #[test]
    fn a_membership_comes_back_as_it_was() {
        let (dir, keys) = (tempfile::tempdir().unwrap(), keys());
        assert!(Member::load(dir.path(), &keys).unwrap().is_none());
        let saved = member(&keys);
        saved.save(dir.path(), &keys).unwrap();
        let read = Member::load(dir.path(), &keys).unwrap().unwrap();
        assert_eq!(read.identity.peer(), saved.identity.peer());
        assert_eq!((read.roots, read.raft_id), (saved.roots, saved.raft_id));
        assert_eq!((read.listen_addr, read.managers), (saved.listen_addr, saved.managers));
        assert_eq!((read.advertise_addr, read.fellows), (saved.advertise_addr, saved.fellows));
    }

    #[test]
    fn names_and_addresses_do_not_lie_on_disk_in_the_clear() {
        let (dir, keys) = (tempfile::tempdir().unwrap(), keys());
        member(&keys).save(dir.path(), &keys).unwrap();
        let bytes = fs::read(dir.path().join(NAME)).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"10.0.0.1"));
    }

    #[test]
    fn a_damaged_file_and_another_nodes_are_refused() {
        let (dir, keys, other) = (tempfile::tempdir().unwrap(), keys(), keys());
        member(&keys).save(dir.path(), &keys).unwrap();
        assert!(matches!(Member::load(dir.path(), &other), Err(MemberError::Open { .. })));
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = Member::load(dir.path(), &keys).unwrap_err();
        assert!(matches!(error, MemberError::Open { source: OpenError::Damaged, .. }), "{error}");
    }
}
