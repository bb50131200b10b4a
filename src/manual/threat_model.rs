//! What is promised, against whom, and what is not.
//!
//! # Promised
//! - Who copies a manager's data directory without the key file learns neither values nor names nor labels.
//! - Who reads the network learns nothing; who has a certificate of another authority gets nothing.
//! - A worker gets the payloads of its live tasks, decided on a linearizable read, and nothing else.
//! - A user on the host who is neither root, nor the daemon's user, nor in group `secretd` gets nothing from the socket.
//! - No operator can read a secret back through the API; there is no such call.
//! - A value is in no log line, error, argument list or environment that secretd makes, and in no container definition.
//!
//! # Not promised
//! - Root on a node can read what that node's tasks can read, and on a manager everything: it can read the daemon's memory.
//! - Whoever has the data directory *and* its key file has everything. With autolock there is no key file, and a stolen
//!   machine that is switched off reveals nothing; one that runs has its keys in memory.
//! - An unlocker that was removed opens the headers written since no more. An older copy of `node.keys` it still opens, and
//!   with that the root key: the blocks of a disk forget slowly. Rotate keys after a loss, and keep copies of headers away.
//! - Buffers of the HTTP/2, protobuf and TLS libraries are wiped when they are freed, as all memory is; those of a
//!   connection that is open hold what came last until more comes. The stack and registers are not wiped. Core dumps
//!   and ptrace are switched off for the daemon, and the unit file forbids swapping.
//! - A task may do with its secret what it likes: print it, write it to its disk. Its output is kept by its runtime.
//! - Environment variables and commands of a service are not secrets: operators can read them back.
