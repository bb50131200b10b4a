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
//! terms too. A removed unlocker, or a manager that was removed, knew it. Blocks of a disk that were freed are not overwritten: what
//! lay in files that were removed, segments of the log and old state files, may be found there for a while, encrypted with the
//! node's storage key.
