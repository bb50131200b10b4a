//! What is promised, against whom, and what is not.
//!
//! # Promised
//! - Who copies a manager's data directory without the key file learns neither values nor names nor labels.
//! - Who reads the network learns nothing; who has a certificate of another authority gets nothing.
//! - A worker gets the payloads of its live tasks, decided on a linearizable read, and nothing else.
//! - A manager that was demoted, removed, replaced or left behind by a recovery is heard by no manager that has applied so,
//!   whether that one has a leader, has lost it, or has just started; nor by one that joins or is refilled afterwards. A present
//!   one is heard only for itself ([`super::identity`]).
//! - A user on the host who is neither root, nor the daemon's user, nor in group `secretd` gets nothing from the socket.
//! - The managers know which node may have which payload, from the assignment until the node has said that file and memory
//!   are gone; what a lost or removed node took along can be named, and replaced.
//! - No operator can read a secret back through the API; there is no such call.
//! - A task changes nothing but its own files: each has a tmpfs of its own, of the size of what it references, so that one
//!   with CAP_SYS_ADMIN, which may remount what its file lies on, hinders no other. What an agent finds after a restart is looked at before it
//!   is trusted, and put right without touching a running container ([`crate::agent::place`]).
//! - Labels of an image make no container ours: a container is known by its name together with its labels, and no image sets a name.
//! - A daemon starts only where nobody but root and its own user could put another thing in the place of its directories, its key
//!   file or a program that opens keys ([`crate::kit::owner`]); `secretctl` sends nothing before the kernel has said that root, its own
//!   user or the account `secretd` serves the socket.
//! - What a checkout holds costs `secretctl` bounded memory and time: what variables and templates make is weighed, and files that
//!   never end are not opened. A pipe is read where a shell made it (`<(command)`) or as standard input.
//! - Text of nodes, tasks and files that people read is text and nothing else, on a terminal, in tables, in errors and in the log
//!   ([`crate::kit::text`]). A task's own output is passed on as it is.
//! - Every line of a manager's log that an operator's change leaves names his user number, as the kernel gives it.
//! - A value is in no log line, error, argument list or environment that secretd makes, and in no container definition.
//! - A manager whose disk was put back to an older state undoes nothing that was acknowledged, as long as another manager that
//!   knows better can be asked within 30 s of its start, or its machine did not start anew; and one whose state differs from that of
//!   most managers takes no part any more. Both say so, in `status`, `node ls` and the log, and `secretctl refill` mends them.
//!
//! # What others can make a manager spend
//! Who calls is known before a byte of a message is read, and decides what may be called ([`crate::pki::judge`]): clients without a
//! certificate reach enrolment and renewal, workers their own calls, managers those of managers. Each class has a server of its
//! own with its own windows. What a caller's messages take is charged to it as soon as their length is known and until they are done
//! with: 128 KiB for a connection without a certificate, 8 MiB for a worker and as much for the output of its tasks, 64 MiB
//! for a manager. A message that does not come in time ends its call. And before it is decoded it is weighed
//! ([`crate::wire::shape`]): decoded, it takes no more than eight times its bytes and 64 KiB.
//!
//! Everybody is let in at the listener's port, and somebody gives way where a share is used up: the one that waited longest,
//! the silent first, of the same network (an IPv6 /64, an IPv4 address) or of the largest crowd. A client has 3 s to begin its
//! handshake, 10 s to finish it, and 30 s without a certificate. Handshakes from addresses that members are known to have
//! wait apart from those of others. A worker has 8 connections, a manager 128, and its own oldest gives way.
//!
//! Lines of the log about refused callers are at most 10 a minute for each and 100 for all; what was left out is counted.
//!
//! Not bounded: the work of TLS handshakes that are carried through. Whoever makes thousands a second takes a core; a
//! firewall that lets only the nodes reach the port is the answer to that. Those who share an address with an attacker share
//! its places in the queue.
//!
//! # Keys in memory
//! The root key, the terms of the keyring, data keys, storage keys and what unlockers yield are in 64 KiB of locked pages of their
//! own ([`crate::kit::os::arena`]): never swapped, in no core dump, not inherited by a fork, between guard pages, each key wiped
//! when it is dropped. Where Linux has `memfd_secret` (5.14; by default 6.5) no debugger reads them either, root's included,
//! and the machine does not hibernate meanwhile. A key file, a code and a helper's answer pass through ordinary memory on their
//! way there, which is wiped. Where the kernel does not let secretd lock memory it raises its limit if it may; if not, it says so
//! in its log and in `status` and goes on: a store that stands still is worse than a key on an encrypted swap device. Keys
//! beyond the 2048th at a time stand on the heap and `status` counts them.
//!
//! Both programs switch off core dumps and ptrace for themselves, and for the memory files in `/proc`, before they read their
//! arguments. Whoever attached before that (the same user, in that instant) stays attached.
//!
//! # What removing a secret or config does
//! With the answer to `secretctl rm` nobody gets it any more: its payloads and the data keys that open them are gone from the state.
//! What is left on the managers' disks goes next. Each manager writes its state file, begins a new log segment, and removes the
//! files of all segments before, the one with the payload among them. Then it copies what the state file has now to a new one and
//! removes the old, because rows that were removed stay legible in free pages until those are used again
//! ([`crate::manager::debts`]). There are no snapshot files
//! that could keep it: a snapshot is a view of the state file, sent when it is needed; one that is being sent keeps the old file
//! open, without a name, until it is sent. Until every manager has said that it is done the
//! destruction is *pending*: `secretctl inspect` shows when it was removed and which managers it waits for, `secretctl status`
//! counts. With all managers up that takes some seconds in a small store, on a quiet cluster too; one that is down is named and
//! keeps it open until it is back or is a manager no more. Then it is *complete*, and `inspect` knows nothing of it. A manager that was
//! refilled has dropped its damaged store before it says that it is done.
//!
//! That copy costs as much as the store is large, so each manager waits in proportion to its state file. It gathers removals for
//! 1 s and 1 s more for each 4 MiB; the next ones wait until, since the last time, 1 s has passed for each 128 KiB, at least
//! 10 s; and managers begin one after the other, 1 s apart for each 32 MiB:
//!
//! | state file | after the first removal | at the latest after the last time |
//! |---|---|---|
//! | 1 MiB | 1 s | 10 s |
//! | 10 MiB | 4 s | 80 s |
//! | 100 MiB | 26 s | 13 min |
//! | 1 GiB | 4 min | 2 h 17 min |
//!
//! Two things do not wait: half as many removals as the store remembers (2048 of 4096), and terms of the keyring that were dropped.
//! So `secretctl key rotate` is how to hurry, and after a manager was removed, which rotates the keyring, all is paid
//! as soon as the data keys have moved. A manager that starts does not know of its last time and only gathers. While the copy is made
//! reads and writes go on; writes gather in memory, and wait beyond 48 MiB. The disk needs room for both files, and a
//! manager that lacks it says so in its log, tries again, and is named as one that is waited for.
//!
//! Complete means: neither the log nor the state file of any manager has it, in use or free. It does not mean that no block of a disk has
//! it. Removed segments and old state files are blocks that the file system gives to others some day; an SSD writes elsewhere
//! whatever it is told to write over. secretd overwrites nothing, because it could not promise anything by it. What makes such
//! remains worthless is that they are sealed to the node's storage key: without an unlocker of that node they are noise. Whoever
//! has both the raw disk and an unlocker may find them; whoever has a copy of the files and an unlocker does not. Where that counts, use
//! full-disk encryption, and a file system that discards freed blocks. Or let the managers leave one
//! after the other, destroy each one's key file, and join it anew: it gets another storage key under another key file. (What else
//! opened its old header, a recovery key for one, still would if the header's old block is found.) The name and the id of what
//! was removed may stay in log and free pages after that: they tell which removals were noted.
//!
//! Backups that were made before still have it, sealed to what opens them: remove those too. So do copies of data directories,
//! disks of managers that were lost or removed before they were done, and whatever a task has made of it.
//!
//! # Not promised
//! - Whoever is in group `secretd` is root on every node: an operator starts what he likes where he likes, with any file of the host
//!   and any secret in it. That he cannot read a secret back keeps it from his screen and his mistakes, not from him.
//! - A task of the process runtime that a service gives CAP_SYS_ADMIN is root on its node: it sees the node's own file systems, and
//!   may remount them. In a container the same right reaches what the engine gives it, and the file systems of its own files.
//! - A backup can be restored elsewhere by whoever has it and what opens it, and then be read by a task there. It is worth as
//!   much as the cluster; what was removed since is in it, too.
//! - Root on a node can read what that node's tasks can read, and on a manager everything: it can read the daemon's memory
//!   (but for the locked pages, where they are secret), have it open what it stores, or replace it.
//! - Whoever has the data directory *and* its key file has everything. With autolock there is no key file, and a stolen
//!   machine that is switched off reveals nothing; one that runs has its keys in memory.
//! - A TPM gives its key to whoever runs as root or in the device's group on its machine, with any system that is started there; with
//!   PCRs, with the systems that measure the same. Whoever steals the whole machine and can start it has its keys. What crosses the
//!   bus is encrypted, and another TPM that somebody put between is noticed unless it was there when the key was sealed.
//! - An unlocker that was removed opens the headers written since no more. An older copy of `node.keys` it still opens, and with that
//!   the root key of that day: the blocks of a disk forget slowly. Until `secretctl key rotate --root` whoever had it opens a *newer* copy
//!   of the store too; after it neither the unlocker nor the old header opens anything that was written since
//!   ([`super::keys`]), once `key status` says so of each disk. What he had before he keeps, and so do old backups. The public halves
//!   of unlockers are X25519: a copy of a header that was resealed by a rotation is as strong as that, also against
//!   whoever keeps it for later machines.
//! - What a node says of itself is its own word: processors, memory, platform, the engine's labels with each session, its host name
//!   when it joins. Whoever places a service by them (`engine.labels.…`, `node.platform.…`, `node.hostname`, reserved resources)
//!   lets a worker that lies draw its tasks, and so its secrets; `service create`, `service update` and `stack deploy` point
//!   it out. Only operators set `node.id`, `node.role` and `node.labels`. `node.ip` is the address a manager sees. Managers take
//!   descriptions of at most 8 KiB that a machine could have, and times of reports up to a minute ahead of their own clock.
//! - A copy of a node's disk *is* that node until one of the two renews: it is given what the node is given, though not at the same
//!   time, and named within seconds if both are up ([`super::identity`]). A copy of a manager's disk is the cluster.
//! - A manager that was cut off or down when another one was demoted does not know of it until it hears from the others, and
//!   until then hears that one: start managers that were away while the others are up. Likewise one that lacks the admission
//!   *and* the demotion of another takes that for news. Both end with the certificate, 72 h after it was issued.
//! - A manager has the key of the CA, and so may make a certificate for any node with any Raft id. After a manager was *broken
//!   into*, taking it out is not enough: also run `secretctl ca rotate`.
//! - That a node confirms a removal is the word of its agent. An honest agent keeps to it; whoever owned the node may have
//!   made a copy, and what a task did with its secret nobody knows. After a break-in replace what the node ever had.
//! - A virtual machine that is put back with its memory goes on as if nothing had happened until another manager speaks to it; and if
//!   everybody who has an entry is away for longer than 30 s, one that was put back may help to elect somebody without it. Whoever
//!   has the entry does not obey then, and says so. Do not put managers back to snapshots: refill them.
//! - Buffers of the HTTP/2, protobuf and TLS libraries are wiped when they are freed, as all memory is; those of a
//!   connection that is open hold what came last until more comes. What a node is given passes them sealed, with keys that both
//!   ends forget as they use them ([`crate::crypto::transit`]); what an operator sends or is shown does not, but his connection
//!   ends with the command. The stack and registers are not wiped. All this may be swapped unless the unit file, as ours does,
//!   forbids it; `secretctl status` says when it may.
//! - Keys lie apart (below), but what is computed from them for a message does not: a derived key and its AES schedule are on
//!   the stack while the message is sealed or opened, and then wiped. Private keys of certificates are in ring's hands.
//! - A task may do with its secret what it likes: print it, write it to its disk. Its output is kept by its runtime.
//! - Environment variables and commands of a service are not secrets: operators can read them back.
