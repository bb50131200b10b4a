//! What to do when something is damaged, lost, or lost for ever.
//!
//! Tasks and their files stay through all of this: what runs needs no manager.
//!
//! # A manager says that its store is damaged
//! A manager reads its whole log and every row of its state when it starts. What an unfinished write left at the very end was
//! never acknowledged, and goes. Anything else that does not fit, down to one bit, is damage: entries that were acknowledged or
//! votes that were given may be gone. Such a manager takes no part in Raft at all; its agent works on, with the other managers.
//! `secretctl status` there says `damaged` and what; for the others it is unreachable.
//!
//! `secretctl refill` on it, in this order:
//! 1. asks the others for another Raft id. That is a write, so it needs more than half of the managers without this one, and
//!    nothing has changed where they are too few. The others take the old id out of the group for good: a manager that forgot
//!    how it voted must not vote under the same id again;
//! 2. moves the damaged store to `damaged-TIME` in the data directory, writes the new id down, and only then makes an empty
//!    store: so there is never an empty store under an old id;
//! 3. is sent everything, and votes once it has it. Then `damaged-TIME` is removed.
//!
//! Cut off anywhere, it says `damaged` again or goes on by itself; `secretctl refill` may be repeated. One that goes on at a start
//! says `pending` until it has everything, and `damaged` if it is sent nothing for 20 seconds. While it is under way
//! the disk holds two stores. The node keeps its id, certificate, labels and tasks.
//!
//! A manager whose disk lost more than its store:
//! - *`node.keys` is damaged or gone.* Its storage key is lost, and nothing else in the data directory can be read. If there is
//!   a copy of that one file, put it back. If not, the node cannot prove who it is: take it out on another manager (`secretctl
//!   node demote`, then `node rm --force`), move the data directory away, and join it as a new one. What ran there is
//!   replaced elsewhere.
//! - *`node.identity` is damaged.* The same: it holds the key of the node's certificate.
//! - *The only manager of a cluster.* Nobody else has what it stored: bring the data directory back from a copy, or let the node
//!   go with `secretctl leave --force` and restore a backup.
//!
//! # Most managers are lost for ever
//! Until then: start them. With more than half of them up everything goes on. If that cannot be, stop the daemon on the manager
//! that was up last and run `secretd recover --from-this-node`: it becomes the only manager, with all it has stored. What only
//! the others had acknowledged is lost, and they must never start again with what they have. It must be whole: a damaged
//! manager cannot be recovered from.
//!
//! # All managers are lost
//! `secretctl backup restore FILE` on a node that belongs to no cluster makes it the only manager of the cluster in the backup,
//! under the same cluster id, CA and object ids. Other nodes know only managers that are gone: let them leave, and join again.
