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
//!    task which references it, and gets a [`crate::store::Release`]. Only that value opens the seal.
//! 9. **Send.** The payload goes over mutual TLS to the node whose certificate the session has, and to no other.
//! 10. **Place.** The agent ([`crate::agent`]) puts the file where the task will see it, before any process of the task runs.
//! 11. **Take away.** When the last task that needs it has ended, the agent unlinks the file and wipes its memory, and the node is no
//!     longer entitled to it.
