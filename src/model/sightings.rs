//! Whether whoever shows a node's identity is that node: by the key of the certificate, and by the process behind it.
//!
//! A node keeps a new certificate before it shows it, so it never goes back to an older key. Two kinds of copy follow:
//! one that was made before two renewals shows a key that counts no longer, and one that is as new as the node opens
//! sessions in turns with it, which no process that ended ever does.

use super::{
    node::{CertificateStatus, Node, NodeState, Role},
    refusal::{Refusal, RefusalKind},
};
use crate::kit::{
    clock::Timestamp,
    hex::Hex,
    limits::{RIVAL_ADDRS, SIGHTINGS},
};
use std::{fmt, time::Duration};

/// So many signs make a second machine: a session that was opened long ago and arrives late may look like one sign.
const SIGNS: u32 = 3;
/// A second machine that was not noticed for so long is gone.
const QUIET: Duration = Duration::from_secs(3600);
/// How long the session of a node with two machines lasts at least before another process may take it; each time it is
/// taken doubles that …
const PAUSE: Duration = Duration::from_secs(10);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// SHA-256 of a key's SubjectPublicKeyInfo: tells a certificate's key from all others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a caller's certificate says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownKey {
    pub key: KeyHash,
    pub expires_at: Timestamp,
}

/// What a key is to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRank {
    /// Of the certificate it was given last.
    Present,
    /// Of the one before: the answer with the present one may have been lost.
    Former,
    /// Given to it after the state was copied that the cluster was brought back from.
    Newer,
    /// Replaced more than once since, or never this node's.
    Stale,
}

/// Who showed a node's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sightings {
    /// Of its last sessions: what each process drew when it started, the present one first; each once.
    pub processes: Vec<u64>,
    /// Signs of a second machine.
    pub rival: Option<Rival>,
}

/// Signs that more than one machine has a node's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    pub since: Timestamp,
    pub last: Timestamp,
    pub signs: u32,
    /// Where they call from.
    pub addrs: Vec<String>,
}

impl CertificateStatus {
    /// Of a certificate that nobody has shown yet.
    pub fn new(issuer: [u8; 32], role: Role, given: &ShownKey) -> Self {
        let ShownKey { key, expires_at } = *given;
        Self { issuer, role, expires_at, shown: false, key, former: None, used: None, dated: false }
    }

    pub fn rank(&self, shown: &ShownKey) -> KeyRank {
        if shown.key == self.key {
            KeyRank::Present
        } else if Some(shown.key) == self.former {
            KeyRank::Former
        } else if self.dated && shown.expires_at > self.expires_at {
            KeyRank::Newer
        } else {
            KeyRank::Stale
        }
    }
}

impl Rival {
    /// Counts signs, and says from where; an old story that has ended is forgotten.
    fn signs(before: Option<&Self>, signs: u32, at: Timestamp, addrs: [&str; 2]) -> Self {
        let before = before.filter(|rival| at.since(rival.last) < QUIET);
        let mut rival =
            before.cloned().unwrap_or(Self { since: at, last: at, signs: 0, addrs: Vec::new() });
        rival.last = at;
        rival.signs = rival.signs.saturating_add(signs);
        for addr in addrs {
            let known = rival.addrs.iter().any(|known| known == addr);
            if !addr.is_empty() && !known && rival.addrs.len() < RIVAL_ADDRS {
                rival.addrs.push(addr.to_owned());
            }
        }
        rival
    }

    /// Whether there are two machines now.
    pub fn is_there(&self, now: Timestamp) -> bool {
        self.signs >= SIGNS && now.since(self.last) < QUIET
    }

    /// How long a session lasts at least.
    fn pause(&self) -> Duration {
        let doubled = self.signs.saturating_sub(SIGNS).min(8);
        (PAUSE * (1 << doubled)).min(LONGEST_PAUSE)
    }
}

impl Sightings {
    /// The second machine, if there is one now.
    pub fn rival(&self, now: Timestamp) -> Option<&Rival> {
        self.rival.as_ref().filter(|rival| rival.is_there(now))
    }

    /// After a session of `process` from `addr`, while the last one came from `before`.
    #[must_use]
    pub fn seen(&self, process: u64, at: Timestamp, (before, addr): (&str, &str)) -> Self {
        let mut processes = self.processes.clone();
        let place = processes.iter().position(|known| *known == process);
        // A process that another took the place of has ended, unless there are two machines.
        let rival = match place {
            Some(1..) => Some(Rival::signs(self.rival.as_ref(), 1, at, [before, addr])),
            Some(0) | None => self.rival.clone(),
        };
        if let Some(place) = place {
            processes.remove(place);
        }
        processes.insert(0, process);
        processes.truncate(SIGHTINGS);
        Self { processes, rival }
    }

    /// After an old key was shown from `addr`, while the node itself is at `before`: that is no matter of chance.
    #[must_use]
    pub fn copied(&self, at: Timestamp, (before, addr): (&str, &str)) -> Self {
        let so_far = self.rival.as_ref().filter(|rival| at.since(rival.last) < QUIET);
        let missing = SIGNS.saturating_sub(so_far.map_or(0, |rival| rival.signs));
        let rival = Rival::signs(self.rival.as_ref(), missing, at, [before, addr]);
        Self { processes: self.processes.clone(), rival: Some(rival) }
    }
}

/// Whether the machine with this key may be the node at all.
///
/// # Errors
/// The key was replaced; or another machine has shown the newer one and is there.
pub fn check_key(node: &Node, shown: &ShownKey, process: Option<u64>) -> Result<(), Refusal> {
    let certificate = node.certificate.as_ref();
    match certificate.map_or(KeyRank::Stale, |certificate| certificate.rank(shown)) {
        KeyRank::Present | KeyRank::Newer => Ok(()),
        KeyRank::Stale => Err(replaced(node)),
        KeyRank::Former => {
            let newer = certificate.is_some_and(|it| it.used == Some(it.key));
            let same = process.is_some() && process == node.sightings.processes.first().copied();
            if newer && !same && node.status.state == NodeState::Ready {
                return Err(replaced(node));
            }
            Ok(())
        }
    }
}

/// Whether this process may open a session now.
///
/// # Errors
/// As [`check_key`]; or two machines take the session from each other and it is the other's turn.
pub fn check_session(
    node: &Node,
    shown: &ShownKey,
    process: u64,
    now: Timestamp,
) -> Result<(), Refusal> {
    check_key(node, shown, Some(process))?;
    let taken = node.sightings.processes.first() != Some(&process);
    let pause = node.sightings.rival(now).filter(|rival| now.since(rival.last) < rival.pause());
    if pause.is_some() && taken && node.status.state == NodeState::Ready {
        let message = format!("another machine uses the identity of node {} too", node.id);
        return Err(Refusal::new(RefusalKind::Precondition, message).hint(
            "stop the machine that is the copy; if you do not know which, remove the node with `secretctl node rm --force` and join the right one anew",
        ));
    }
    Ok(())
}

/// Whether a certificate that has ended may still be renewed.
///
/// # Errors
/// It ended too long ago.
pub fn check_age(
    node: &Node,
    shown: &ShownKey,
    come_back: Duration,
    now: Timestamp,
) -> Result<(), Refusal> {
    if now.since(shown.expires_at) <= come_back {
        return Ok(());
    }
    let message = format!(
        "the certificate of node {} ended at {}, longer ago than this cluster lets a node come back",
        node.id, shown.expires_at
    );
    Err(Refusal::new(RefusalKind::Denied, message).hint(
        "let the node leave with `secretctl leave --force`, remove it on a manager with `secretctl node rm --force`, and join it anew; `secretctl update --come-back` sets the age",
    ))
}

fn replaced(node: &Node) -> Refusal {
    let message = format!("this certificate of node {} was replaced since", node.id);
    Refusal::new(RefusalKind::Denied, message).hint(
        "is this a copy of the node's disk, or was its disk brought back from an old copy? If it is the node, let it leave with `secretctl leave --force`, remove it on a manager with `secretctl node rm --force`, and join it anew",
    )
}
