//! Every bound that several floors share, with its reason. A bound of one queue stands beside that queue.

use std::time::Duration;

/// Secret payloads are shorter than this many bytes (500 KiB, exclusive, as in Swarm).
pub const SECRET_SIZE: usize = 512_000;
/// Config payloads are shorter than this many bytes (1000 KiB, exclusive, as in Swarm).
pub const CONFIG_SIZE: usize = 1_024_000;
/// Names of secrets and configs have at most this many bytes: what a DNS name may have; Swarm stops at 64.
pub const OBJECT_NAME_LEN: usize = 253;
/// Names of services have at most this many bytes: one DNS label, as in Swarm.
pub const SERVICE_NAME_LEN: usize = 63;
/// Labels of one object, keys and values together, in bytes: metadata lives in memory on every manager.
pub const LABELS_SIZE: usize = 64 * 1024;
/// A service spec has at most this many bytes on the wire, so that an entry of the log stays small.
pub const SPEC_SIZE: usize = 1024 * 1024;
/// References of one service: each is a mount in every task.
pub const REFERENCES_PER_SERVICE: usize = 1000;
/// Replicas of one service: a slip of the hand must not make a million tasks.
pub const REPLICAS: u64 = 100_000;
/// A target path in a container, in bytes: PATH_MAX less the room for a prefix.
pub const TARGET_LEN: usize = 3072;
/// One gRPC message, in bytes: the largest payload, its envelope, and the spec around it.
pub const MESSAGE_SIZE: usize = 4 * 1024 * 1024;
/// What any message may take in memory once it is decoded, in bytes: more than the largest of our structs with the strings
/// of a small message …
pub const WEIGHT_FLOOR: usize = 64 * 1024;
/// … and for each byte of its length: twice what lists of our smallest elements take.
pub const WEIGHT_PER_BYTE: usize = 8;
/// Commands packed into one log entry, at most.
pub const BATCH_COMMANDS: usize = 256;
/// Bytes of commands packed into one log entry, at most; one larger command goes alone.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// How long a proposal may wait for its commit before its caller is told that the outcome is unknown.
pub const PROPOSAL_DEADLINE: Duration = Duration::from_secs(10);
/// Answers remembered per client: as many requests as one client may have under way or retry.
pub const ANSWERS_PER_CLIENT: usize = 32;
/// Clients whose answers are remembered; beyond that the one longest silent is forgotten.
pub const CLIENTS_REMEMBERED: usize = 4096;
/// Tasks kept per slot for `service ps`, the living one included (Swarm's default history).
pub const TASK_HISTORY: usize = 5;
/// Removed objects that are remembered until every manager has dropped them; beyond that the oldest is forgotten. They
/// come in one answer. At half of it managers pay without a pause (`manager::debts`).
pub const DESTROYED: usize = 4096;
/// What a node says of itself, encoded, in bytes: it is not to be believed, and lies in the store of every manager.
pub const NODE_DESCRIPTION_SIZE: usize = 8 * 1024;
/// Statuses, and as many confirmations, that a node reports in one message.
pub const STATUSES_PER_REPORT: usize = 500;
/// Join tokens that are valid at the same time: they lie in one row of the store.
pub const JOIN_TOKENS: usize = 100;
/// Processes that showed a node's identity and are remembered: more machines than that take turns unnoticed at first, and
/// each of them is noticed when fewer do.
pub const SIGHTINGS: usize = 4;
/// Addresses from which a node's identity was shown that are remembered, for people.
pub const RIVAL_ADDRS: usize = 4;
/// Former managers that are named in the state: they lie in one row of the store. Those that are not named are refused too,
/// by their Raft ids.
pub const FORMER_MANAGERS: usize = 256;
/// Ways to the root key that managers share: they lie in each manager's key header, which is read whole.
pub const UNLOCKERS: usize = 16;
/// Terms of the keyring that are not empty yet: they lie in one row of the store.
pub const TERMS: usize = 16;
/// Default port of the cluster listener.
pub const DEFAULT_PORT: u16 = 2390;
