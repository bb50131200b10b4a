//! Keys that wait for somebody who can open them.

use super::{Header, KeyStoreError, Unlocked, Ways, with_root};
use crate::{
    crypto::{
        OpenError,
        key::{Key, Unlock},
        unlock::{
            Kind, Method, Unlocker,
            code::Given,
            passphrase::BadCost,
            shares::{self, Share},
        },
    },
    kit::id::{ClusterId, NodeId, UnlockerId},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The keys of a node that started and could not open them by itself.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    header: Header,
    /// Why what should have opened without being asked did not.
    why: Vec<String>,
    /// Shares that were given so far, by unlocker and number.
    shares: BTreeMap<UnlockerId, BTreeMap<u8, Share>>,
}

/// One more try of what opens without being asked; apart from [`Locked`], because it may take long.
#[derive(Debug)]
pub struct Attempt {
    dir: PathBuf,
    header: Header,
}

impl Attempt {
    /// Makes the try. Blocks as long as a command takes.
    ///
    /// # Errors
    /// Why each did not open, in words.
    pub fn make(self, key_file: &Path) -> Result<Unlocked, Vec<String>> {
        let Self { dir, header } = self;
        super::try_all(&dir, key_file, &header).map_err(|failed| super::reasons(&failed))
    }
}

/// How far an unlock got.
#[derive(Debug)]
pub enum Progress {
    Open(Unlocked),
    /// More shares are needed.
    Shares {
        given: u8,
        needed: u8,
    },
}

/// Why what was given did not open the keys.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    #[error("this {what} belongs to no unlocker of this node")]
    Unknown { what: &'static str },
    #[error("the {what} is wrong")]
    Wrong { what: &'static str },
    #[error("the shares do not belong together: all have to be given again")]
    WrongShares,
    #[error("this node has no passphrase, and this is not an unlock key")]
    NoPassphrase,
    #[error("there are several passphrases: {}", ids(.0))]
    WhichPassphrase(Vec<UnlockerId>),
    #[error("the unlocker cannot be used")]
    Cost(#[from] BadCost),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
}

impl UnlockError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { .. } => Some(
                "it may be one that was replaced, or another cluster's; `secretctl status` lists what opens this node",
            ),
            Self::Wrong { .. } | Self::WrongShares => None,
            Self::NoPassphrase => Some("`secretctl status` lists what opens this node"),
            Self::WhichPassphrase(_) => Some("say which with --unlocker ID"),
            Self::Cost(_) => Some("it was made by a newer secretd: run that version"),
            Self::Keys(error) => Some(error.hint()),
        }
    }
}

fn ids(ids: &[UnlockerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Locked {
    pub(super) fn new(dir: &Path, header: Header, why: Vec<String>) -> Self {
        Self { dir: dir.to_owned(), header, why, shares: BTreeMap::new() }
    }

    pub fn cluster(&self) -> ClusterId {
        self.header.cluster
    }

    pub fn node(&self) -> NodeId {
        self.header.node
    }

    /// Why what should have opened without being asked did not.
    pub fn why(&self) -> &[String] {
        &self.why
    }

    /// One more try of what opens without being asked; nothing if there is no such thing.
    pub fn attempt(&self) -> Option<Attempt> {
        let automatic = |unlocker: &Unlocker| unlocker.kind().is_automatic();
        let attempt = || Attempt { dir: self.dir.clone(), header: self.header.clone() };
        self.header.unlockers.iter().any(automatic).then(attempt)
    }

    /// Notes why a try failed; returns whether it is news.
    pub fn note(&mut self, why: Vec<String>) -> bool {
        let news = self.why != why;
        self.why = why;
        news
    }

    /// Whether somebody can be asked for what opens these keys.
    pub fn can_ask(&self) -> bool {
        self.header.unlockers.iter().any(|unlocker| !unlocker.kind().is_automatic())
    }

    /// What opens these keys.
    pub fn unlockers(&self) -> &[Unlocker] {
        &self.header.unlockers
    }

    /// The same, as they were wanted.
    pub fn ways(&self) -> Ways {
        let is_file = |unlocker: &&Unlocker| unlocker.kind() == Kind::File;
        let all = self.header.unlockers.iter();
        Ways {
            key_file: all.clone().any(|unlocker| is_file(&unlocker)),
            shared: all.filter(|unlocker| !is_file(unlocker)).cloned().collect(),
        }
    }

    /// Tries what an operator gave; `which` names the passphrase if there are several. Takes about a second of one core
    /// for a passphrase.
    ///
    /// # Errors
    /// [`UnlockError`]; the keys stay locked.
    pub fn unlock(
        &mut self,
        given: Given,
        which: Option<UnlockerId>,
    ) -> Result<Progress, UnlockError> {
        match given {
            Given::Key { id, key } => {
                let what = "unlock key";
                let unlocker = self.find(id).ok_or(UnlockError::Unknown { what })?;
                self.open(unlocker, &key, || UnlockError::Wrong { what })
            }
            Given::Passphrase(words) => {
                let unlocker = self.passphrase(which)?;
                let Method::Passphrase(cost) = &unlocker.method else {
                    return Err(UnlockError::NoPassphrase);
                };
                let key = cost.key(&words)?;
                self.open(unlocker, &key, || UnlockError::Wrong { what: "passphrase" })
            }
            Given::Share { id, share } => self.share(id, share),
        }
    }

    fn find(&self, id: UnlockerId) -> Option<&Unlocker> {
        self.header.unlockers.iter().find(|unlocker| unlocker.id == id)
    }

    fn passphrase(&self, which: Option<UnlockerId>) -> Result<&Unlocker, UnlockError> {
        let mut found = self.header.unlockers.iter().filter(|unlocker| {
            unlocker.kind() == Kind::Passphrase && which.is_none_or(|id| id == unlocker.id)
        });
        let first = found.next().ok_or(UnlockError::NoPassphrase)?;
        let mut all: Vec<UnlockerId> = found.map(|unlocker| unlocker.id).collect();
        if all.is_empty() {
            return Ok(first);
        }
        all.insert(0, first.id);
        Err(UnlockError::WhichPassphrase(all))
    }

    fn share(&mut self, id: UnlockerId, share: Share) -> Result<Progress, UnlockError> {
        let unlocker = self.find(id).ok_or(UnlockError::Unknown { what: "share" })?;
        let Method::Shamir { shares: _, threshold } = unlocker.method else {
            return Err(UnlockError::Unknown { what: "share" });
        };
        let given = self.shares.entry(id).or_default();
        given.insert(share.number(), share);
        let count = u8::try_from(given.len()).unwrap_or(u8::MAX);
        if count < threshold {
            return Ok(Progress::Shares { given: count, needed: threshold });
        }
        // Whatever comes of them: none of them is needed any more, and a wrong one among them must not stay.
        let given = self.shares.remove(&id).unwrap_or_default();
        let key =
            shares::combine(&given.values().collect::<Vec<_>>()).ok_or(UnlockError::WrongShares)?;
        let unlocker = self.find(id).ok_or(UnlockError::WrongShares)?;
        self.open(unlocker, &key, || UnlockError::WrongShares)
    }

    fn open(
        &self,
        unlocker: &Unlocker,
        key: &Key<Unlock>,
        wrong: impl FnOnce() -> UnlockError,
    ) -> Result<Progress, UnlockError> {
        let root = match unlocker.unlock(self.header.cluster, key) {
            Ok(root) => root,
            Err(OpenError::Mismatch) => return Err(wrong()),
            Err(source) => {
                let path = super::path(&self.dir);
                return Err(KeyStoreError::Open { what: "root key", path, source }.into());
            }
        };
        Ok(Progress::Open(with_root(&self.dir, &self.header, root, (unlocker.id, key))?))
    }
}
