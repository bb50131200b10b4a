//! The keyring: what a term is, how one replaces another while everything goes on, and what that is good for.
//!
//! # Terms
//! Each payload has a data key of its own, and the data key is wrapped by a *term*: a random key with a number, itself wrapped by
//! the root key in the cluster's row. The newest term seals, all that are kept open. Every wrapped key carries its format, its
//! term and a commitment, so it is never tried under several: a term that the keyring does not hold is refused by number.
//!
//! Nobody follows the terms. Who seals or opens asks for the keyring *of the state at hand*
//! ([`crate::crypto::keychain`]), so a manager knows a new term as soon as it has applied it, without a restart.
//!
//! # A rotation
//! `secretctl key rotate` stores the next term. A term is also made when the newest is older than `update --key-max-age` says (90
//! days unless told otherwise), when a manager is demoted or removed, and when a cluster was restored or recovered. Then
//!
//! 1. everything new is sealed under the new term;
//! 2. whoever leads takes what lies under older terms, some hundreds at a time and at most so many each second as
//!    `--rate` allows (1000), wraps their data keys anew and proposes that. Payloads are not written again: data keys are rows of
//!    their own in the state file. Applying it looks once more: a version that has gone, or was moved by another leader, stays
//!    as it is. The CA's key moves in the same way;
//! 3. when nothing is left, the terms before are dropped. That is judged when it is applied. What somebody sealed under a
//!    dropped term meanwhile is refused, and nothing was stored;
//! 4. each manager brings its state to the disk, begins a new log segment and removes the ones before, puts a copy in the place of its
//!    state file, whose free pages still had the old wrapped keys, and says so in its row ([`crate::manager::debts`]). Managers
//!    begin one after the other, half a minute apart with 1 GiB, and what was removed goes with it.
//!
//! What is to do follows from the state: whatever lies under a term before the newest. So the next leader goes on where the last
//! one stopped, whenever that was, and a rotation that is asked for during another one simply goes further.
//! `secretctl key status` shows terms, what lies under them, the pace, and the managers that may still have something from before on their disks.
//!
//! # Who needs an old term
//! Nobody, as soon as nothing lies under it. A manager that lags behind, or applies its log again after a crash, opens nothing
//! on its way: it stores what the entries say, the older terms with what lies under them, and arrives at the newest state. At each
//! entry the state holds the terms of all its payloads. A snapshot is such a state, and so is a backup, which therefore opens on its
//! own, with the terms of its day.
//!
//! # What it is good for
//! Who learned a term, from a manager's memory or from a copy of its disk and what opened that, can open what was wrapped by
//! it and can be found, and nothing that was stored since. The values themselves are the same as before: a secret that somebody may have
//! *read* has to be replaced where it is checked.
//!
//! *What it does not do.* The root key stays: who has it and gets hold of a newer copy of the cluster's row opens the newer
//! terms too. A removed unlocker, or a manager that was removed, knew it: that is what `--root` is for. Blocks of a disk that were
//! freed are not overwritten: what lay in files that were removed, segments of the log and old state files, may be found there for a
//! while, encrypted with the node's storage key.
//!
//! # Another root key
//! `secretctl key rotate --root` replaces the root key, the storage key of each manager, and the terms. Nothing of the new lies under
//! anything of the old, at no moment and in no file:
//!
//! 1. the leader draws a root key and offers it in the store by its id, a hash that says nothing of it ([`crate::manager::root_key`]);
//! 2. each manager fetches it from one that has it, over mutual TLS, with its certificate and a row that says manager, judged on a
//!    linearizable read. It keeps it in its key header, sealed to the *public half* of each unlocker that is left
//!    ([`crate::crypto::unlock::recipient`]), so none is asked; and only then says so. The list of unlockers in a header is
//!    bound to the root key, so nobody puts a public half of his own there;
//! 3. when every manager has said so, `RotateRoot` makes it count: all terms under it and a new one, and the unlockers that backups and
//!    new managers take from the store, resealed. That every manager has it is judged when it is applied. Until then the old one
//!    counts, and a manager that is down holds it up: `key status` names it; bring it back or demote it. Ways in cannot be added or
//!    removed meanwhile, because one that is removed then could have opened the next root key already;
//! 4. each manager brings its state to the disk and writes its header anew, under the new root key alone, with a new storage key besides
//!    the old one. From that moment the old root key opens nothing of the header, and everything is written under the new storage key.
//!    It writes its identity anew, begins a new log segment and removes those before, writes each row of its state file anew, drops
//!    the old storage key, and says so in its row ([`crate::manual::formats`]). `key status` shows who has not;
//! 5. data keys move to the new term as in any rotation, and the terms that the old root key ever wrapped are dropped.
//!
//! What is to do follows from the state and the header, so it goes on after any crash. A root key that was offered and lost with its
//! leader never counted; another is offered. Between 2 and 4 a header has both, and what opens one opens the other.
//!
//! Who has the old root key, by a removed unlocker and an old `node.keys`, has what lay under it, and of a newer copy of disk, log or
//! backup opens nothing: each of them needs the new root key or the new storage key, and those are sealed to unlockers that he has not.
//! That needs two more things where somebody had *a whole manager*, and not a header alone: its certificate (demote it, or let it
//! leave and join anew) and the CA's key (`ca rotate`, before the root key). A key file that was copied is a way in that is still
//! there: `unlocker rm file` takes it away, `unlocker add file` makes another when the rotation is done. Backups from before
//! open as ever with what opened them on their day, and a cluster that is restored from one has the root key of that day.
