//! From `secretctl create` to a file in a container, and out again.
//!
//! 1. **Read.** `secretctl` reads the payload from a file, a pipe or a prompt ([`crate::ctl`]); never from an argument. It travels over
//!    the local Unix socket in a message that cannot be printed.
//! 2. **Authorise.** The daemon asks the kernel who is calling ([`crate::node::operators`]): root, its own user, or group `secretd`.
//! 3. **Seal.** The manager draws a data key, seals the payload to it and the data key to the keyring's active term
//!    ([`crate::crypto::seal`]). The cluster, kind, id, name and version are bound into the ciphertext. From here on there is only
//!    ciphertext.
//! 4. **Propose.** The batching proposer packs the command with all others that wait into one entry of the log
//!    ([`crate::raft`]). The log encrypts the batch once more with the node's storage key, so that names and labels are unreadable on
//!    the disk too, and calls fsync once.
//! 5. **Apply.** The pure state machine ([`crate::store`]) checks names and uniqueness and changes the state; the caller gets an id.
//!    An answer means the entry is on disk.
//! 6. **Reference.** A service names the object, a target, an owner and a mode. The path is judged when the service is made.
//! 7. **Schedule.** The orchestrator makes a task, the scheduler gives it to a node ([`crate::manager`]).
//! 8. **Release.** The dispatcher sees that the node needs the payload, makes sure by a linearizable read that the node holds a live
//!    task which references it, and gets a [`crate::store::Release`]. Only that value opens the
//!    seal: the keyring takes nothing else ([`crate::crypto::proof`]), and a task on a node that has left counts for nothing.
//! 9. **Send.** The payload goes over mutual TLS to the node whose certificate the session has, and to no other. Inside it is sealed
//!    for this one stream ([`crate::crypto::transit`]), so that no buffer on its way keeps it.
//! 10. **Place.** The agent ([`crate::agent`]) puts the file where the task will see it, before any process of the task runs.
//! 11. **Take away.** As soon as the last task that needs it is to end, it is not sent again and the agent wipes its memory. When the
//!     task has ended, the agent unlinks the file, and the node is no longer entitled to it.
//! 12. **Confirm.** From the assignment on, the managers count the node among those that may have the version
//!     ([`crate::store::Holder`]); nothing is written for that. Once the file is unlinked and the memory wiped, the agent says so, and
//!     only when that is stored the node does not count any more. Until then `secretctl inspect` shows it as `removing`, or as `in
//!     use` as long as nobody has heard of the end, and `secretctl node inspect` shows what a node has, also when task, service and
//!     secret have been removed meanwhile.
//! 13. **Destroy.** `secretctl rm` takes it out of the state. Then each manager drops the part of its log that brought it, writes
//!     its state file anew, and says so; until all have, the destruction is pending ([`crate::manual::threat_model`] says what that is worth).
//!
//! # Why a confirmation cannot be wrong
//!
//! The word is about a task, not about a version. Versions come and go on a node, and a word about one might arrive after the same
//! version was given to the node again. A task's id is never used again, and a task that has ended is never made again, so "nothing
//! is left of task T" stays true however late it is heard and whoever leads by then; a task that was assigned meanwhile counts by
//! itself. The agent says it of T when no file of T is on the host (nobody works on them any more, either) and its memory has none of
//! T's versions but those that another task here still has, which is that task's to confirm. The store believes it only of a task
//! that has ended, from the task's own node, and the report of the end goes first.
//!
//! A task that is deleted before its node has confirmed leaves a [`crate::model::task::Remnant`]. An agent opens each stream of
//! assignments with everything, and hears there of all tasks and remnants that are unconfirmed; it looks for each, removes what it
//! finds, and answers, also when it is a new process that knows of nothing. So neither a crash of the agent between the wiping and
//! the report nor a change of leaders loses the matter, and snapshots and backups carry it along.
//!
//! A node that was removed confirms nothing any more. `secretctl node rm` names the secrets that went with it, and they are shown with
//! it until they are removed themselves: that ends the matter. A cluster that was restored knows what it knew when the backup was
//! made; what nodes were given later is wiped when they come back, but not shown before.
