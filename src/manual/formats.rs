//! What lies on disk, byte by byte. Every format carries its number; a number that is not known is refused, never guessed at.
//!
//! # The envelope
//! All keys and payloads, all records of the log and all rows of the state file travel in one envelope:
//!
//! ```text
//! format 1 (1 byte) ‖ salt (32) ‖ commitment (32) ‖ ciphertext (as long as the plaintext) ‖ tag (16)
//!
//! binding          = SHA-256 over a label and fields, each behind its length in 8 bytes, big-endian
//! key ‖ commitment = HKDF-SHA-256(salt, key, info = "secretd/1/aes-256-gcm" ‖ binding, 64 bytes)
//! ciphertext ‖ tag = AES-256-GCM(key, nonce 0, AAD = binding)
//! ```
//!
//! The key of a message is used once, so the nonce is constant; the commitment is compared before anything is decrypted.
//! The binding says what the message is and where it belongs: a payload names cluster, kind, object id, name and version; a
//! data key names the term besides; a record of the log names cluster, node, segment, sequence and the chain before it.
//!
//! # The key file
//! ```text
//! secretd-key-file-1
//! id …     the unlocker it belongs to
//! key …    32 bytes, hex
//! sum …    the first 8 bytes of SHA-256 over the two
//! ```
//!
//! # Codes on paper
//! ```text
//! SECRETD-KEY-1-<unlocker id>-<64 hex digits>-<sum>       an unlock key or a recovery key
//! SECRETD-SHARE-1-<unlocker id>-<66 hex digits>-<sum>     one share: its number (1 byte), 32 bytes of Shamir over GF(256)
//! ```
//! The sum is the first 4 bytes of SHA-256 over all before it in lower case. A passphrase becomes a key by Argon2id; salt and
//! cost lie in the header and are bound into what it seals. The root key is sealed to an unlocker's key, or by a rotation to its
//! public half, an X25519 key ([`crate::crypto::unlock::recipient`]). What a `command` is asked: [`crate::crypto::unlock::command`].
//!
//! # What a TPM keeps
//! A `tpm2` unlocker stands in `node.keys` of its node alone: the sealed data object as the TPM gave it away (`TPM2B_PUBLIC` and
//! `TPM2B_PRIVATE` without their lengths), which PCRs of the bank of SHA-256 its policy names, and the SHA-256 of the public area of
//! the key above it. That is the storage key of the owner hierarchy after the TCG's template for P-256, made anew each time. All but
//! the device's name is bound into what the unlocker seals.
//!
//! # The data directory
//! | path | what |
//! |---|---|
//! | `lock` | who uses the directory; `flock`ed |
//! | `node.keys` | magic `secretd keys\n`, SHA-256 of the rest, `NodeKeys`: cluster and node id, the public half of each unlocker and the root key under it, the storage keys under the root key, bound to that list; while the root key is replaced, the next one under each unlocker. Format 2 |
//! | `node.identity` | one record, `NodeIdentity`: certificates, private key (sealed once more), trusted CAs, addresses; a manager's Raft id, and who the others were at its admission |
//! | `raft/*.log` | the log, in zero-filled segments |
//! | `damaged-TIME/` | a damaged store, kept while the manager is refilled |
//! | `raft/begun` | empty; the log has a first segment, so a log without any is damaged and not new |
//! | `raft/condemned` | why the store must take no part any more, found while it was in use |
//! | `raft/` state file | rows, bodies, their data keys and the applied index, in one `redb` file |
//!
//! In the run directory, `raft.witness` is one line, written over itself: boot id, node, Raft id, sequence of the next record, chain. It
//! says how far the log was written since the machine booted, and tells a copy of the data directory that was put back.
//!
//! # The log
//! A segment starts with a header of 512 bytes: magic `sdlog`, format, number, first sequence, size, the chain of the
//! segment before, cluster and node id, CRC-32. Then come commit frames, each at a multiple of 512 and written by one call and one
//! `fdatasync`:
//!
//! ```text
//! offset  0  magic "SFRM"        4  length of the body      8  sequence of the first record
//!        16  number of records  20  CRC-32 of the body     24  CRC-32 of bytes 0..24
//!        28  zeros              31  marker 0xA5
//!        32  body: each record as length (u32) and sealed bytes
//!         …  marker 0xA5, then zeros up to the next multiple of 512
//! ```
//!
//! Numbers are little-endian. The chain is SHA-256 over all frames before; it is part of what each record is sealed to, so
//! that none can be moved, repeated or left out. When something was removed a new segment begins early, so that those before
//! it can go as whole files. A last frame with zeros where bytes should be was never acknowledged and is
//! dropped; with any other damage the manager does not vote until it is refilled ([`super::recovering`]).
//!
//! # The state file
//! Row keys are a kind byte and a random id; values are protobuf in the envelope, bound to their key, cluster and node. Bodies
//! are cut into parts below 32 KiB, because the file rounds up to powers of two; the data key of each, with its term, is a row of its
//! own, which is all that a rotation of the keyring writes. With the applied index lies the digest of all rows, the sum of their SHA-256
//! modulo 2^256; a file whose rows do not add up to it is damaged, and a snapshot (format 2) is refused. The format is 3;
//! 2 had no digest, 1 had bodies and keys in one.
//! What removed rows leave is used again; when it is more than a third of the file, and 16 MiB, the file is written anew beside
//! itself in the next quiet second. That also happens when debts are paid ([`crate::manager::debts`]), because what a page had stays in it until
//! it is used again.
//!
//! # A backup
//! ```text
//! magic "secretd backup\n" ‖ length (u32) ‖ SHA-256 of the header ‖ header: protobuf BackupHeader
//! frames: length (u32) ‖ protobuf BackupPart in the envelope, bound to that SHA-256 and the frame's number
//! ```
//! The frames are the parts of a snapshot: its header, rows of about a mebibyte, and the end with counts and a digest. The
//! backup's key is sealed to the root key (label `secretd/storage-key/1`); the format is 2; unlockers in the header open the root key.
//!
//! # Messages
//! `proto/secretd/v1/` has them all: what is said between processes as well as what the rows, entries and snapshots hold.
