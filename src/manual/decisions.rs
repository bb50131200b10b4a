//! Choices that are expensive to change, newest first: question, choice, price, and what would change our mind.
//!
//! **2026-11. `--runtime auto` means Docker for root, and never falls back to processes.** At a boot the engine may be later than secretd, and a
//! node that then chose processes would run what was made for images on its own file system, as root. So it waits and says that it is not
//! ready, also where no engine is installed yet. Processes are for who is not root, and for nodes whose operator says `--runtime process`.
//! What a node was last is kept in its data directory until somebody says otherwise. *Price:* to try things out as root takes that flag, and a
//! manager without an engine is shown as not ready; it manages all the same. A cluster of both kinds needs constraints, since the scheduler does
//! not tell images from programs yet. *Change of mind:* services that say which runtime they are made for.
//!
//! **2026-11. A manager that has moved tells the others itself, and they go by it before it is written down.** Where its vote is needed to
//! write anything, nobody could write down where it is. What was heard counts until the row says something new; the certificate at the other end
//! says who is there, so a wrong address costs time and gives nobody anything. *Price:* two books of addresses, the rows and what was
//! heard, and a manager that forgets at a restart what was only heard. *Change of mind:* names instead of addresses in the rows.
//!
//! **2026-11. A node without a runtime that works is not ready, though its session lives.** The node says so itself, the row has since when, and after
//! three heartbeats its tasks are replaced as those of a silent node are. Nobody can stop them there meanwhile: they count as holding their
//! secrets until the engine is back and they have been stopped and wiped. Swarm leaves them. *Price:* for a while a task may run
//! twice, and an engine that takes longer than three heartbeats to restart costs the node its tasks, also with `live-restore`.
//! *Change of mind:* an engine that says beforehand that it will be back.
//!
//! **2026-11. A manager that starts asks the others what they know of it.** A disk that was put back to an older state may vote twice
//! or help to forget what it had acknowledged, and cannot know it. A witness in the run directory tells within one boot. After a boot, a
//! manager neither votes nor acknowledges until it has heard a leader, or so many of the others that one of them was in
//! every majority it was in; then it prefers logs as long as theirs for 30 s. *Price:* a manager that boots while too many others are away
//! waits for up to 30 s, and a loss stays possible if whoever has the entry is away for longer: waiting for ever would have
//! two of three machines that return from a power failure stand still. It is not silent: whoever has the entry stands aside.
//! *Change of mind:* a counter that no snapshot takes back, on every machine.
//!
//! **2026-11. The state has a running digest, and managers compare it.** The sum of the rows' hashes costs two hashes for each row that
//! changes, whatever the size of the state. Who differs from most voters stands aside; between two nobody can say who is right,
//! so both go on and say so. *Price:* the sum can be forged by somebody who chooses thousands of rows, who must be a
//! manager; payloads and wrapped data keys are not in it, and open only where they belong. *Change of mind:* a digest that proves single rows.
//!
//! **2026-11. A follower whose log went back is nobody's fault but its own.** openraft's `loosen-follower-log-revert` is on, so that such a
//! follower neither stops a leader (a failed assertion in a debug build, a wrong index in a release build) nor is obeyed: our network
//! layer reports it as unreachable, and it is told to be refilled. *Price:* none found.
//! *Change of mind:* a release of the library that reports it.
//!
//! **2026-11. One server for each class of caller, behind one gate.** tonic decodes a message before the service sees who calls, and
//! one set of HTTP/2 windows serves all. So a connection goes to one of three servers once its certificate is known, and a layer
//! judges the path and charges the body. Cost: two semaphores and two boxes a call; a streaming call between managers
//! must be named in the table or its messages are charged until it ends. A codec with generated shapes weighs what is decoded
//! rather than limits on each list, because a new list needs nothing then. What would change it: tonic with limits by caller.
//!
//! **2026-11. Two keys of a node count, and the one that was shown is the one that stays.** One would lock a node out whose
//! answer was lost, and a list of what was revoked would have to be kept as long as certificates may come back. The row is in the replicated
//! state, so every manager refuses alike. *Price:* a session costs a look at the row it reads anyway, and whoever brings an old
//! disk back joins anew. *Change of mind:* keys that cannot be copied, in a TPM of each node.
//!
//! **2026-11. A second machine is told by a number that each process draws, and slowed, not cut off.** Nobody can say from afar which of the two is
//! the right one; to refuse both would let any thief of an old laptop stop a node. *Price:* a copy that is as new as the node
//! shares its life until somebody looks at `status`. *Change of mind:* as above.
//!
//! **2026-11. Each task's files lie on a tmpfs of their own.** A container that may mount can change the filesystem its file lies on, and
//! with one for all tasks it did so for all. *Price:* a mount for each task in the host's table, and about
//! a tenth of a millisecond when it is made. *Change of mind:* a kernel that lets a mount be kept from its users' reconfiguring.
//!
//! **2026-11. What others wrote is escaped for people and left alone for programs.** Tables, errors and the log always escape; other output of
//! `secretctl` does on a terminal only; a task's own lines never are, as docker's are not, since colours are what they are for. *Price:*
//! a task can still draw what it likes on the terminal of who reads its logs. *Change of mind:* people who read logs of tasks
//! they do not trust, which would want a flag.
//!
//! **2026-11. Paths are trusted by their owners, sockets by who listens.** As ssh does, and no way to switch it off: whoever can replace a key
//! file has the cluster. *Price:* a home directory that a group may write to does not do. *Change of mind:* none expected.
//!
//! **2026-11. The next root key goes from manager to manager, and counts when every one has it.** It could have gone through the store,
//! sealed to a key pair of each manager; but where such a private half lies on a disk, the old root key may open it. So the store
//! knows an id, and the key is in memory, inside mutual TLS, and under the public halves of unlockers. Every manager must be up,
//! because one without it could not open the state that it is sent. *Price:* a manager that is down holds a rotation up
//! until it is back or demoted, and sealing to unlockers that are not asked needs X25519 where AES alone was enough. *Change of
//! mind:* a hybrid with ML-KEM in a crate as well kept.
//!
//! **2026-11. A leader sends entries while its own disk still writes them.** The Raft library waits for the leader's log
//! before it does anything else, so the leader's log answers for its own entries at once, and nothing acts on one before it
//! is on that disk: not applying, not what followers are told. *Price:* a leader that starts again has to be elected again, and
//! a write waits for the leader's own disk even where two others were faster. *Change of mind:* a stable release of the
//! library that appends without waiting.
//!
//! **2026-11. A destruction is complete when the state file was written anew, too.** `redb` wipes nothing, so a file keeps what it gave
//! free until a page is used again, for months in a quiet store; and it cannot be told to write over it. So the whole file is copied.
//! An operator who removes one secret an hour from 1 GiB would not want 9 TB a year written for it, nor three managers busy at once: removals
//! gather, pauses are in proportion to the file, managers take turns, and a small store notices nothing. Log and state file go
//! together, as one without the other is worth nothing. Whoever cannot wait rotates the keyring, which pays everything. *Price:* a
//! destruction in a large store is pending for hours, up to 128 KiB/s are written for it, and for a moment the disk
//! needs room for the file twice. *Change of mind:* a store that wipes its free pages, or a rule that names a time.
//!
//! **2026-11. A rotation replaces wrapped keys, not payloads.** Data keys are rows of their own beside the bodies, and the next
//! step is read off the state. *Price:* a data key that somebody has learned stays good for its payload, until the secret is made anew.
//! *Change of mind:* a rule that asks for payloads to be encrypted again.
//!
//! **2026-11. An empty term is dropped at once, not when every disk is clean.** A log that is applied again opens nothing, so no
//! manager needs it. *Price:* none found; the disks are cleaned afterwards, and `key status` names those that are not.
//! *Change of mind:* an entry that has to be opened to be applied.
//!
//! **2026-11. TPMs are spoken to in their own protocol, and belong to the node.** The usual library would have to be on every machine
//! that builds or runs secretd, for nine commands; and what a TPM seals is of use on one machine, so the store knows nothing of it.
//! *Price:* our own marshalling and sessions, held to a TPM in software by tests; a cluster must keep an unlocker that the store
//! knows, which is wise anyhow: TPMs die with their boards. *Change of mind:* a pure Rust crate with sessions that others trust.
//!
//! **2026-11. Keys in `memfd_secret`, or locked, or neither.** Where the kernel has secret memory it is better than `mlock` in every
//! way but one: the machine does not hibernate. Where it lets us lock nothing, the daemon says so and runs. *Price:* a fixed pool of
//! 2048 keys, and an operator who does not read `status` may swap keys. *Change of mind:* somebody who asks for a start that fails.
//!
//! **2026-11. Each manager drops removed objects by itself, and the log says who has.** A manager that has cut its log proposes that
//! it did; when all have, the record goes. So completion is a fact of the state, the same whoever is asked and whoever leads.
//! *Price:* a segment is begun for each cut, at most every ten seconds for what was removed, and a manager that was away meanwhile is sent a
//! snapshot.
//! *Change of mind:* removals so frequent that snapshots follow each other.
//!
//! **2026-11. A damaged manager gets a new Raft id, not its old one back.** It may have forgotten a vote. Its node stays what it
//! is, so its tasks run on. *Price:* it takes a command and a whole snapshot, however small the damage. *Change of mind:* none;
//! fetching single entries anew could save the snapshot, not the id.
//!
//! **2026-11. Unlockers belong to the cluster, key files to the node.** What opens the root key lies in the store and each manager
//! copies it to its own key header, so a manager that was away learns of a new unlock key by itself. *Price:* a manager that is
//! down during a change still needs what opened it before. *Change of mind:* nothing in sight; unlockers bound
//! to one machine's hardware are the node's, as key files are.
//!
//! **2026-11. How do rows of the state reach the disk?** In memory the state is always the newest; changed rows wait in an
//! overlay and go to `redb` together, with the applied index, about once a second. *Price:* up to that much is replayed from the
//! log after a crash. *Change of mind:* if replay ever takes longer than people wait for a start.
//!
//! **2026-11. One log entry for many commands.** The Raft library flushes once per entry, so the proposer packs all waiting
//! commands into one. *Price:* commands that were proposed together fail together when an entry is lost. *Change of mind:* a stable
//! release of the library that groups commits itself.
//!
//! **2026-11. Secrets of the process runtime never touch the host.** The sandbox gets them over a pipe and keeps them on a
//! tmpfs in its own mount namespace. *Price:* a shim process for each task, which outlives the daemon. *Change of mind:* nothing in sight.
//!
//! **2026-11. Secrets and configs are one type with a kind.** They differ in size limit, target root and who may read them back.
//! *Price:* a function that needs a secret must look at the kind. *Change of mind:* a third difference in behaviour.
//!
//! **2026-11. The store is unlocked by a key file by default.** An unattended machine must come back by itself. *Price:* whoever
//! copies the key file and the data directory has everything; `status` says so. *Change of mind:* unlockers that need no file are
//! to stand beside it, not to replace it.
