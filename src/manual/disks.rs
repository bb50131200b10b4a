//! # How we try what a disk can do
//!
//! An acknowledged write survives a power failure, and a damaged value is never shown. These tests look for the
//! moment where that is not so; `scripts/test` runs them short, `scripts/soak` long and from new seeds.
//!
//! - **Killed at a named place.** [`crate::kit::failpoint`] lists the places: of log, vote, state file, snapshot, a
//!   node's small files, init, join, backup, restore, recovery. A debug build ends itself at the one that
//!   `SECRETD_FAILPOINT` names; a release build has none. `src/raft/failpoint_test.rs` and `tests/faults/kills.rs`
//!   reach every one and start again from what is left. Who writes a new step to the disk adds a line to the list,
//!   marks the place, and gives it a story if its first word is new.
//! - **The power fails.** `tests/faults/disk.c` stands between a daemon and its C library and writes down every write,
//!   sync, rename and removal. From that `replay.rs` lays the disk out as it may be after any step: nothing that was not
//!   synced, names of files included; or any 512-byte sectors of it; or all of it with the last write torn at any byte.
//!   The key file lies outside and is copied as it is.
//! - **The disk refuses.** EIO and ENOSPC at each write, sync, rename and creation, once or from then on; and all of
//!   it with EROFS, as ext4 does by itself after an error. No caller hears of a success that was none, no descriptor whose
//!   sync failed is synced again, a manager that cannot write ends, and each refusal says what to do.
//! - **The disk is slow.** Syncs of one to five seconds at one, two or all of three managers: nobody is elected. And where
//!   the leader's disk is behind the others', what only they have is shown to nobody, and the power fails just then.
//! - **Bits turn round** in any file of a node, or in a backup.
//! - **Decoders** take anything: the module `fuzz` has one function for each format, run on mutations in the tests and
//!   with coverage from `fuzz/`.
//!
//! What this does not try: a disk that acknowledges a sync and forgets it; bytes that change while they are read.
