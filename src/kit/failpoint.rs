//! Named places where a test ends the process, as `kill -9` would at that very moment. A release build has none.
//!
//! `SECRETD_FAILPOINT=log.append.synced` ends the process when it comes to that place, `log.append.synced:3` when it does for
//! the third time. [`ALL`] names every place; each is marked once in the code, and tests see that one and the other
//! agree, that every place is reached, and that nothing acknowledged is lost there. A new place is a line here and a call
//! of [`failpoint`]: the first word says which story of `src/raft/failpoint_test.rs` or `tests/faults/kills.rs` reaches it.

/// Every place, by story.
pub const ALL: &[&str] = &[
    // Entries on their way to the disk, and segments that come and go.
    "log.append.begun",
    "log.append.written",
    "log.append.synced",
    "log.roll.headed",
    "log.roll.renamed",
    "log.roll.done",
    "log.purge.marked",
    "log.purge.unlinked",
    "log.purge.done",
    "log.spare.filled",
    "log.reopen.repaired",
    "log.reopen.done",
    "vote.asked",
    "vote.saved",
    // The durable state machine.
    "state.made",
    "state.renamed",
    "state.commit.begun",
    "state.commit.written",
    "state.commit.done",
    // A whole state for a manager that is too far behind.
    "snapshot.build",
    "snapshot.send.header",
    "snapshot.send.end",
    "snapshot.receive.begun",
    "snapshot.receive.rows",
    "snapshot.receive.end",
    "install.checked",
    "install.renamed",
    "install.done",
    // A node's small files, each replaced as a whole, and its key file.
    "replace.written",
    "replace.synced",
    "replace.renamed",
    "replace.done",
    "keyfile.written",
    "keyfile.renamed",
    "keyfile.done",
    "keys.settled",
    "keys.forgotten",
    // A node becomes part of a cluster.
    "init.cleared",
    "init.keys",
    "init.store",
    "init.proposed",
    "init.saved",
    "join.enrolled",
    "join.admitted",
    "join.keys",
    "join.store",
    "join.saved",
    // A manager whose store is damaged gets another, under another id.
    "refill.admitted",
    "refill.aside",
    "rekey.written",
    "refill.saved",
    "refill.store",
    "refill.voted",
    "refill.forgotten",
    // A whole cluster in one file, and back.
    "backup.create.begun",
    "backup.create.sent",
    "backup.verify.judged",
    "restore.judged",
    "restore.keys",
    "restore.logged",
    "restore.unpacked",
    "restore.store",
    "restore.noted",
    "restore.saved",
    // The keyring gets a new term, data keys move to it, and what is old goes.
    "rotate.added",
    "rewrap.authority",
    "rewrap.found",
    "rewrap.moved",
    "rewrap.dropped",
    // What was dropped or removed leaves this manager's disk.
    "debts.shortened",
    "debts.copied",
    "debts.rewritten",
    "debts.terms",
    "debts.removed",
    // The root key is replaced, and what the one before opened leaves this manager's disk.
    "root.begun",
    "root.drawn",
    "root.offered",
    "root.prepared",
    "root.noted",
    "root.rotated",
    "root.turned",
    "root.identity",
    "root.shortened",
    "root.rewritten",
    "root.forgotten",
    // A group of one from what is left.
    "recover.voted",
    "recover.appended",
    "recover.noted",
];

/// Ends the process here if it was asked for. Costs nothing otherwise, and nothing at all in a release build.
#[inline]
pub fn failpoint(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::reached(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// The name of the object of which this manager alone makes another row, if a test wants one that goes astray
/// (`SECRETD_SKEW`); none in a release build.
pub fn skewed() -> Option<&'static str> {
    #[cfg(debug_assertions)]
    return armed::skewed();
    #[cfg(not(debug_assertions))]
    None
}

#[cfg(debug_assertions)]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    const VARIABLE: &str = "SECRETD_FAILPOINT";

    struct Armed {
        name: String,
        left: AtomicU32,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = std::env::var(VARIABLE).ok()?;
            let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
            let known = super::ALL.contains(&name);
            let times = times.parse().ok().filter(|times| known && *times > 0);
            let left = AtomicU32::new(times.expect("a test names a place that there is"));
            Some(Armed { name: name.to_owned(), left })
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn skewed() -> Option<&'static str> {
        static SKEWED: OnceLock<Option<String>> = OnceLock::new();
        SKEWED.get_or_init(|| std::env::var("SECRETD_SKEW").ok()).as_deref()
    }

    pub(super) fn reached(name: &str) {
        let Some(armed) = armed() else { return };
        if armed.name == name && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let killed = kill_process(getpid(), Signal::KILL);
            unreachable!("it is over at {name}: {killed:?}");
        }
    }
}
