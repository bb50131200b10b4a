//! Who is who: how nodes come to a cluster, prove themselves, change their CA, and go.
//!
//! # Certificates
//! Each cluster has its own CA (ECDSA P-256); its certificate and its key, sealed to the keyring, are part of the replicated
//! state, so that every manager can sign. A node's certificate names it twice, `spiffe://<cluster>/manager|worker/<node>` and
//! `<node>.<cluster>.internal`, and lives 72 hours. That of a manager that was admitted goes on with its Raft id,
//! `spiffe://<cluster>/manager/<node>/<raft id>`: the proof of its admission. One without opens nothing but admission, and what
//! workers may. TLS is 1.3 only, with the cluster's CAs as the only roots and without
//! resumption; whoever calls a manager names the node it wants, and anybody else is refused ([`crate::pki`]).
//!
//! A certificate says who calls, never what that node may do: each call looks at the node's row in the store, so that a
//! removal or a change of role counts from the moment it is stored. Every refusal is in the log of the manager that refused, with
//! the address, the node and the reason; refused certificates are told of at most 50 times a minute, because anybody can
//! show one.
//!
//! # Joining
//! A token is `SECRETD-1-<SHA-256 of the CA's certificate>-<160 random bits>`. The first part lets the machine that joins
//! recognise the cluster before it says anything; the second proves its right. The cluster keeps the SHA-256 of the second, the role, an
//! end and the uses left. The machine makes its key itself and sends a request; the answer is its certificate. Wrong
//! tokens get one answer whatever is wrong with them, and few wrong tries for each network, which keep no good token out
//! ([`crate::manager::ca`]).
//!
//! The node's id follows from its key and the token. A machine that asks again because the answer was lost is therefore the same
//! node and uses nothing up, until it has been here once.
//!
//! With `Move` a manager says where it is reached, for its own row only: who it is comes from the connection.
//!
//! A manager asks for more: for `Admit` both its certificate and its row must say that it is one. It gets a Raft id that was never used, a
//! certificate that carries it, and the cluster's root key, so a manager's token is worth as much as the cluster. It is told
//! who the other managers are, by node and Raft id.
//!
//! It votes once it has been sent everything. Until then `node ls` says *Joining* of it, and *Not joined* if the leader does not
//! hear of it: a machine that died on its way in was admitted and never comes, for its key died with it. Such a row is no
//! voter, so it counts for no quorum; its address is free for whoever is admitted there next, and it is then demoted. Else it goes
//! with `node demote` and `node rm --force`. A machine that lives and was let in, but is sent nothing for 20 seconds,
//! forgets what it was given, says goodbye where somebody hears it, and says which row may be left.
//!
//! # Whom managers hear
//! Raft's own calls, what followers ask the leader for, and the output of tasks that managers relay are for managers of the Raft group,
//! and each call is judged before anything is done with it ([`crate::raft`]). Raft ids are never used twice and only grow, so every id that was given
//! is either that of a present manager or names one that was. Former managers are in the state, with node, Raft id, time and reason,
//! and so in every snapshot and backup, for longer than any certificate lives. A caller with the Raft id R of its certificate is
//!
//! - *heard* if the group, as this manager's log has it, has R as this very node, and R names no former manager;
//! - *refused* if R names a former manager, belongs to another node, or is below the next id and nobody's;
//! - *news* if R was given later than anything known here, or its admission is known and not yet that it is in the group. Only who has heard
//!   of no leader for 3 s, or knows no group, hears news: it may have slept through the change that brought it;
//! - *refused* without any R.
//!
//! A manager whose store is older than its own admission, empty in most cases, goes by what it was told then, whatever that store or its
//! log says of others. Nobody is heard in another's name: the candidate of a vote, the leader of entries or of a snapshot, and who asks
//! another to stand must be the caller. A certificate from an admission before the present one admits nobody again. Each refusal is
//! in the log with node, Raft id, address and reason, every 5 s at most for each caller.
//!
//! # Renewal and coming back
//! A node asks for the next certificate, for a new key, at a random moment between half and four fifths of the life of the
//! one it has, which for a manager carries its present Raft id; a manager signs its own. Open connections go on until the certificate they were opened with ends.
//!
//! One whose certificate ran out while it was off signs its request with the key of the old certificate. It comes back by
//! itself, with the role that the row says, until `update --come-back` (90 days) after that certificate ended; later it must be
//! removed and join anew. One that was removed meanwhile is told so, and forgets the cluster as if it had been there. A manager
//! signs its own certificate and comes back whenever it starts.
//!
//! A certificate that is not valid *yet*, because a clock was ahead when it was made, is replaced in the same way. A node looks at
//! its clock every 15 seconds, so one that is set right counts at once. `status` shows how far each manager's clock is from the
//! leader's, from a second on. What cannot be mended is a node whose own clock is wrong by more than the others' certificates
//! bear: it says so, and names the clock.
//!
//! # Copies
//! The row keeps the SHA-256 of the public keys of the node's last two certificates: the one it was given last and the one with which it
//! asked for that, which is all it has if the answer was lost. However many answers are lost, the key that was *shown* stays. Only
//! these two renew, open sessions, are admitted or say goodbye; every other certificate that the CA ever signed for the node is
//! refused by the CA and the dispatcher of each manager, with one line a minute in the log that names the node and the address. A
//! node keeps a new certificate before it shows it, so when the former key comes back while the newer one has a session, that
//! is a copy too. When the state itself was brought back from an older copy (restore, recover), a certificate that ends later than the
//! one in the row counts, once, and takes its place.
//!
//! A copy that is as new as the node has the right key. It is noticed because each process draws a number when it starts and shows it
//! when it opens a session: a process that was displaced and comes back has not ended, so there are two. Three such signs
//! within an hour of each other, or one old key, and `status`, `node ls` and `node inspect` name the node and the addresses, until
//! there was no sign for an hour. A machine that restarts, moves or sits behind another address never comes back as the
//! process it was. While it is so, whoever has the session keeps it for 10 seconds at least, which doubles with each turn up to five
//! minutes. There is one session at a time, so both together are given what one node would be. Copies of the memory of a
//! running machine share the number: they are told apart at the next renewal, when the key of one of them goes.
//!
//! What to do: stop the copy. If you cannot tell which is which, or do not know where it came from, remove the node with
//! `node rm --force`, join the right machine anew, and rotate what the node had. A *manager's* copy has the root key and the CA's:
//! treat it as a manager that was stolen ([`super::threat_model`]).
//!
//! # Replacing the CA
//! `secretctl ca rotate` makes a new CA and a third certificate: the new CA's, signed by the old one. From then on
//!
//! 1. both CAs are trusted, and everything is signed by the new one. The third certificate goes with each that is issued, so
//!    a node that has not heard of the new CA, or sleeps, still believes those that have moved;
//! 2. each node hears of the new CA in its session (a manager from its own store), renews within two seconds and
//!    connects anew. It counts as moved when a session was opened *with* a certificate of the new CA: what was only sent may have been lost;
//! 3. when all rows have moved, whoever leads proposes the end, and applying it checks once more. The old CA is trusted no
//!    longer, and connections with anybody whose certificate it signed are cut.
//!
//! All of that is in the replicated state, so the next leader goes on where the last one stopped. A node that is down keeps
//! the rotation open, and `ca show` names it; it moves when it comes back, even with an expired certificate, or is
//! removed. A second rotation is refused until then.
//!
//! Join tokens name the CA, so those made before are dropped at the start; a machine that brings one is told to get another.
//!
//! *What it does not do.* Whoever has the old CA's key can pose as any node until the rotation ends, and so get a certificate of
//! the new one for a node that exists. After a theft also look for nodes you do not know, and remove and join anew those
//! you doubt. It changes no payload's key and no root key: see
//! [`super::keys`].
//!
//! # Host names
//! A node gives its host name when it joins, and that name is fixed. If the machine is renamed, or a node lies, its row keeps the
//! old name; `node inspect` shows what it *calls itself*, and the manager's log who tried. An operator who agrees says so with
//! `node update --hostname NEW NODE`. Names are 1 to 253 letters, digits, dots, hyphens and underscores.
//!
//! Several nodes may have one name. Whoever looks at a node by its name means the one that is up; if that leaves more than one,
//! and for whatever changes or removes a node if one of them is merely down, the name is refused and the ids are named.
//! A node that has left counts only for `node rm`.
//!
//! # Going
//! `leave` says goodbye: a manager is demoted first, then the row says that the node left
//! ([`crate::model::node::Standing`]). It is no member from then on, whatever its certificate or an old session says. The row goes
//! by itself once the node has said that it has wiped what its tasks had and, if it was a manager, is out of the Raft group; if
//! that word never comes, after 7 days or with `node rm`. `node rm --force` removes a node that may still be
//! up: its streams are cut, its calls refused, and when it hears why it ends its tasks and wipes what it had. Its id and its
//! Raft id never come back; the machine joins as a new node.
//!
//! A node that neither hears of its removal nor shows a certificate that is still trusted (it was off while the CA was
//! replaced and the node removed, or its disk was brought back from an old copy) is refused before anybody can tell
//! it why. Its tasks go on; `status` there says so, and `secretctl leave --force` makes it forget.
