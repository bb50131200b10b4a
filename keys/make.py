#!/usr/bin/env python3
"""Makes the throw-away keys of this folder and the golden vectors of tests/formats.

An implementation of the formats of its own (Python's `cryptography`, nothing of ours), so that the vectors say what
the formats are and not merely what the code does. Everything is derived from fixed words: a second run changes
nothing. A vector that is there is never changed; a new format gets new files.

usage: keys/make.py            (needs python3 and its package `cryptography`, 44 or newer)
"""

import datetime
import hashlib
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = pathlib.Path(__file__).resolve().parent
FORMATS = HERE.parent / "tests" / "formats"


def word(text):
    """32 bytes that look random and are anything but."""
    return hashlib.sha256(b"secretd throw-away " + text.encode()).digest()


def ident(text):
    """An id: 25 digits of base 36."""
    number = int.from_bytes(word(text), "big")
    digits = ""
    for _ in range(25):
        number, rest = divmod(number, 36)
        digits += "0123456789abcdefghijklmnopqrstuvwxyz"[rest]
    return digits


# ---- the envelope ------------------------------------------------------------------------------


def binding(label, *fields):
    hasher = hashlib.sha256()
    for field in [label.encode(), *fields]:
        hasher.update(len(field).to_bytes(8, "big") + field)
    return hasher.digest()


def seal(key, bound, plain, salt, form=1):
    info = b"secretd/1/aes-256-gcm" + bound
    okm = HKDF(algorithm=hashes.SHA256(), length=64, salt=salt, info=info).derive(key)
    return bytes([form]) + salt + okm[32:] + AESGCM(okm[:32]).encrypt(bytes(12), plain, bound)


def expand(secret, info):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)


def recipient(key):
    """The key pair of an unlocker's key."""
    private = X25519PrivateKey.from_private_bytes(expand(key, b"secretd/recipient/1"))
    return private, private.public_key().public_bytes_raw()


def seal_to(public, bound, plain, drawn, salt):
    """Sealed to a public half alone."""
    drawn = X25519PrivateKey.from_private_bytes(drawn)
    share = drawn.public_key().public_bytes_raw()
    agreed = drawn.exchange(X25519PublicKey.from_public_bytes(public))
    key = expand(agreed, b"secretd/recipient/1/seal" + share + public)
    return bytes([2]) + share + seal(key, bound, plain, salt)


def number(value, size):
    return value.to_bytes(size, "big")


CLUSTER = ident("cluster")
NODE = ident("node")
OBJECT = ident("object")
UNLOCKER = ident("unlocker")
ROOT = word("root key")
TERM = word("term key")
DATA = word("data key")
STORAGE = word("storage key")
UNLOCK = word("unlock key")

SUBJECTS = {"secret": 1, "config": 2, "authority-key": 3}


def context(subject, name, version):
    return [CLUSTER.encode(), bytes([SUBJECTS[subject]]), OBJECT.encode(), name.encode(), number(version, 8)]


# ---- vectors -----------------------------------------------------------------------------------


def vector(path, note, **fields):
    lines = [f"# {note}"]
    for name, value in fields.items():
        value = value.hex() if isinstance(value, bytes) else str(value)
        lines.append(f"{name.replace('_', '-')}: {value}".rstrip())
    put(FORMATS / path, ("\n".join(lines) + "\n").encode())


def put(path, data, mode=0o644):
    if path.exists():
        if path.read_bytes() != data:
            sys.exit(f"{path} is there and differs: vectors and keys are never changed, only added to")
        return
    path.write_bytes(data)
    path.chmod(mode)
    print(path.relative_to(HERE.parent))


def flip(data, at):
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


def spoilt(make, good, name, note, cut="damaged", **fields):
    """The same bytes, each spoilt in one way, and what must come of it."""
    for how, expect, sealed in [
        ("salt", "mismatch", flip(good, 1)),
        ("commitment", "mismatch", flip(good, 33)),
        ("body", "damaged", flip(good, 65)),
        ("tag", "damaged", flip(good, -1)),
        ("format", "format", bytes([2]) + good[1:]),
        ("cut", cut, good[:-1]),
        ("short", "short", good[:80]),
        ("empty", "short", b""),
    ]:
        make(f"{name}-{how}", f"{note}, spoilt: {how}", expect=expect, sealed=sealed, **fields)


def records():
    def make(name, note, **fields):
        vector(f"crypto/{name}.txt", note, kind="record", **fields)

    bound = binding("secretd/record/1", b"log 7")
    for name, plain in [("record-empty-plain", b""), ("record-text", b"a row of the state file"), ("record-4k", word("x") * 128)]:
        sealed = seal(STORAGE, bound, plain, word(name))
        make(name, "A record", expect="ok", key=STORAGE, aad=b"log 7", plain=plain, sealed=sealed)
    good = seal(STORAGE, bound, b"a row", word("record"))
    make("record-other-key", "A record under another key", expect="mismatch", key=ROOT, aad=b"log 7", plain=b"a row", sealed=good)
    make("record-other-place", "A record moved to another place", expect="mismatch", key=STORAGE, aad=b"log 8", plain=b"a row", sealed=good)
    spoilt(make, good, "record", "A record", key=STORAGE, aad=b"log 7", plain=b"a row")


def keys():
    def make(name, note, **fields):
        vector(f"crypto/{name}.txt", note, **fields)

    storage = dict(kind="storage-key", key=ROOT, cluster=CLUSTER, node=NODE, plain=STORAGE)
    bound = binding("secretd/storage-key/1", CLUSTER.encode(), NODE.encode())
    good = seal(ROOT, bound, STORAGE, word("storage salt"))
    make("storage-key", "A node's storage key under the root key", expect="ok", sealed=good, **storage)
    make("storage-key-other-node", "The storage key of another node", expect="mismatch", sealed=good, **{**storage, "node": ident("other")})
    long = seal(ROOT, bound, STORAGE + b"\0", word("storage salt"))
    make("storage-key-33", "A key of 33 bytes", expect="short", sealed=long, **storage)
    spoilt(make, good, "storage-key", "A storage key", cut="short", **storage)

    term = dict(kind="term", key=ROOT, cluster=CLUSTER, term=1, plain=TERM)
    good = seal(ROOT, binding("secretd/term/1", CLUSTER.encode(), number(1, 4)), TERM, word("term salt"))
    make("term", "A term of the keyring under the root key", expect="ok", sealed=good, **term)
    make("term-other-number", "A term under another number", expect="mismatch", sealed=good, **{**term, "term": 2})
    spoilt(make, good, "term", "A term", cut="short", **term)

    root = dict(kind="root-key", key=UNLOCK, cluster=CLUSTER, unlocker="file", id=UNLOCKER, plain=ROOT)
    bound = binding("secretd/root-key/1", CLUSTER.encode(), bytes([1]), UNLOCKER.encode())
    good = seal(UNLOCK, bound, ROOT, word("root salt"))
    make("root-key", "The root key under the key of a file unlocker", expect="ok", sealed=good, **root)
    make("root-key-other-id", "The root key of another unlocker", expect="mismatch", sealed=good, **{**root, "id": ident("other")})
    spoilt(make, good, "root-key", "A root key", cut="short", **root)

    drawn = word("drawn")
    turned = {**root, "kind": "resealed-root-key", "drawn": drawn, "recipient": recipient(UNLOCK)[1]}
    good = seal_to(turned["recipient"], bound, ROOT, drawn, word("root salt"))
    make("resealed-root-key", "The root key under the public half of an unlocker", expect="ok", sealed=good, **turned)
    make("resealed-root-key-other-id", "That of another unlocker", expect="mismatch", sealed=good, **{**turned, "id": ident("other")})
    make("resealed-root-key-other-key", "The key of another unlocker", expect="mismatch", sealed=good, **{**turned, "key": ROOT})
    for how, expect, sealed in [
        ("share", "mismatch", flip(good, 1)), ("format", "format", good[:33] + bytes([2]) + good[34:]), ("salt", "mismatch", flip(good, 34)),
        ("body", "damaged", flip(good, 98)), ("tag", "damaged", flip(good, -1)), ("short", "short", good[:20]),
        ("zero-share", "mismatch", good[:1] + bytes(32) + good[33:]),
    ]:
        make(f"resealed-root-key-{how}", f"A resealed root key, spoilt: {how}", expect=expect, sealed=sealed, **turned)


def payloads():
    def make(name, note, subject, object_name, version, expect, wrapped, body, term=1, plain=b""):
        vector(
            f"crypto/{name}.txt", note, kind="payload", expect=expect, key=TERM, cluster=CLUSTER, subject=subject,
            object=OBJECT, name=object_name, version=version, term=term, data_key=DATA, plain=plain,
            wrapped_key=wrapped, sealed=body,
        )

    def both(subject, name, version, plain, term=1):
        fields = context(subject, name, version)
        wrapped = seal(TERM, binding("secretd/data-key/1", *fields, number(term, 4)), DATA, word("wrap " + name))
        return wrapped, seal(DATA, binding("secretd/payload/1", *fields), plain, word("body " + name))

    plain = b"N3rdD!Nne720^6"
    for subject in SUBJECTS:
        wrapped, body = both(subject, "db-password", 1, plain)
        make(f"payload-{subject}", f"A payload ({subject})", subject, "db-password", 1, "ok", wrapped, body, plain=plain)
    big = word("big") * 32
    wrapped, body = both("config", "a" * 253, 2**64 - 1, big)
    make("payload-longest-name", "The longest name and the last version", "config", "a" * 253, 2**64 - 1, "ok", wrapped, body, plain=big)

    wrapped, body = both("secret", "db-password", 1, plain)
    moved = [("subject", ("config", "db-password", 1)), ("name", ("secret", "other", 1)), ("version", ("secret", "db-password", 2))]
    for what, place in moved:
        make(f"payload-other-{what}", f"A payload moved to another {what}", *place, "mismatch", wrapped, body)
    make("payload-other-term", "A data key of another term", "secret", "db-password", 1, "mismatch", both("secret", "db-password", 1, plain, term=2)[0], body)
    make("payload-unknown-term", "A term the keyring does not hold", "secret", "db-password", 1, "unknown-term", wrapped, body, term=2)
    make("payload-term-0", "There is no term 0", "secret", "db-password", 1, "unknown-term", wrapped, body, term=0)
    other = both("secret", "other", 1, plain)[1]
    make("payload-other-body", "The body of another object", "secret", "db-password", 1, "mismatch", wrapped, other)
    make("payload-body-flipped", "A flipped bit in the body", "secret", "db-password", 1, "damaged", wrapped, flip(body, 70))
    make("payload-key-flipped", "A flipped bit in the wrapped key", "secret", "db-password", 1, "damaged", flip(wrapped, 70), body)
    make("payload-key-format", "A wrapped key of an unknown format", "secret", "db-password", 1, "format", bytes([0]) + wrapped[1:], body)


def key_files():
    def text(ident, key, checksum):
        return f"secretd-key-file-1\nid {ident}\nkey {key}\nsum {checksum}\n"

    def make(name, note, expect, text):
        vector(f"crypto/{name}.txt", note, kind="key-file", expect=expect, id=UNLOCKER, plain=UNLOCK, sealed=text.encode())

    checksum = binding("secretd/key-file/1", UNLOCKER.encode(), UNLOCK)[:8].hex()
    good = text(UNLOCKER, UNLOCK.hex(), checksum)
    make("key-file", "A key file", "ok", good)
    make("key-file-comments", "Comments, empty lines and line ends of another system", "ok", "# mine\r\n\n" + good.replace("\n", "\r\n"))
    make("key-file-checksum", "A checksum that does not fit", "damaged", text(UNLOCKER, UNLOCK.hex(), "0" * 16))
    make("key-file-key", "A changed key", "damaged", text(UNLOCKER, flip(UNLOCK, 0).hex(), checksum))
    make("key-file-upper-case", "Hex digits in upper case", "damaged", text(UNLOCKER, UNLOCK.hex().upper(), checksum))
    make("key-file-cut", "Cut short", "damaged", good[:90])
    make("key-file-more", "A line too many", "damaged", good + "more\n")
    make("key-file-2", "A newer format", "format", good.replace("file-1", "file-2"))
    make("key-file-pem", "Some other key", "foreign", "-----BEGIN PRIVATE KEY-----\n")
    make("key-file-empty", "Nothing", "foreign", "")
    return good


# ---- unlockers ---------------------------------------------------------------------------------

SALT = word("passphrase salt")[:16]
WORDS = "correct horse battery staple"
COST = dict(memory=64, passes=2, lanes=2)
KMS = b"what a KMS made of the key"


def passphrase_key(words, salt, memory, passes, lanes):
    return Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(words.encode())


def unlockers():
    """The root key under each other kind of unlocker; what the kind needs to be asked is bound too."""

    def make(name, note, kind, tag, bound, given=None, expect="ok"):
        fields = dict(kind="root-key", key=UNLOCK, cluster=CLUSTER, unlocker=kind, id=UNLOCKER, plain=ROOT)
        bind = binding("secretd/root-key/1", CLUSTER.encode(), bytes([tag]), UNLOCKER.encode(), *bound)
        sealed = seal(UNLOCK, bind, ROOT, word("root salt " + kind))
        vector(f"crypto/{name}.txt", note, expect=expect, sealed=sealed, **fields, **(given or {}))

    make("root-key-autolock", "The root key under an unlock key", "autolock", 2, [])
    make("root-key-recovery", "The root key under a recovery key", "recovery", 3, [])
    make("root-key-other-kind", "An unlock key's root key, said to be a recovery key's", "recovery", 2, [], expect="mismatch")

    cost = dict(salt=SALT, **COST)
    bound = [SALT, *(number(value, 4) for value in COST.values())]
    make("root-key-passphrase", "The root key under a passphrase", "passphrase", 4, bound, cost)
    make("root-key-passphrase-weaker", "A passphrase whose cost was lowered", "passphrase", 4, bound, {**cost, "passes": 1}, "mismatch")
    make("root-key-shamir", "The root key under a key in shares", "shamir", 5, [bytes([5, 3])], dict(shares=5, threshold=3))
    make("root-key-shamir-fewer", "Shares of which fewer are to open", "shamir", 5, [bytes([5, 3])], dict(shares=5, threshold=2), "mismatch")
    command = dict(program="/opt/kms", wrapped_key=KMS)
    make("root-key-command", "The root key under the key of a program", "command", 6, [KMS], command)
    make("root-key-command-moved", "The program may lie elsewhere", "command", 6, [KMS], {**command, "program": "/usr/bin/kms"})
    make("root-key-command-other", "What another key was made into", "command", 6, [KMS], {**command, "wrapped_key": KMS + b"!"}, "mismatch")


    tpm = dict(device="/dev/tpmrm0", pcrs="7,11", parent=word("tpm parent"), public=word("tpm public") * 2, private=word("tpm private") * 5)
    bound = [number(1 << 7 | 1 << 11, 4), tpm["parent"], tpm["public"], tpm["private"]]
    make("root-key-tpm2", "The root key under the key of a TPM", "tpm2", 7, bound, tpm)
    make("root-key-tpm2-moved", "The device may have another name", "tpm2", 7, bound, {**tpm, "device": "/dev/tpmrm1"})
    make("root-key-tpm2-fewer", "Of its measurements one less", "tpm2", 7, bound, {**tpm, "pcrs": "7"}, "mismatch")
    make("root-key-tpm2-other", "Another sealed object", "tpm2", 7, bound, {**tpm, "private": word("other") * 5}, "mismatch")


def passphrases():
    def make(name, note, plain, expect="ok", words=WORDS, **cost):
        vector(f"crypto/{name}.txt", note, kind="passphrase", expect=expect, words=words.encode(), **cost, plain=plain, sealed=b"")

    for name, cost in [("passphrase", COST), ("passphrase-more", dict(memory=256, passes=3, lanes=4))]:
        make(name, "The key of a passphrase", passphrase_key(WORDS, SALT, **cost), salt=SALT, **cost)
    words = "naïve Füße 密码"
    make("passphrase-utf-8", "Words beyond ASCII", passphrase_key(words, SALT, **COST), words=words, salt=SALT, **COST)
    make("passphrase-greedy", "A cost that nobody may ask for", b"", "cost", salt=SALT, memory=2**31, passes=1, lanes=1)
    make("passphrase-nothing", "A cost that is none", b"", "cost", salt=SALT, memory=0, passes=0, lanes=0)


def multiplied(a, b):
    """In GF(256) over x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def share(key, number, coefficients):
    """The number, and for each byte of the key the value of its polynomial there."""
    out = [number]
    for at, byte in enumerate(key):
        value = 0
        for one in reversed([byte] + [all_of_one[at] for all_of_one in coefficients]):
            value = multiplied(value, number) ^ one
        out.append(value)
    return bytes(out)


def shares():
    slopes = [word("shamir x"), word("shamir x squared")]
    all_five = [share(UNLOCK, number, slopes) for number in range(1, 6)]

    def make(name, note, which, expect="ok", more=()):
        given = b"".join([all_five[number - 1] for number in which] + list(more))
        vector(f"crypto/{name}.txt", note, kind="shares", expect=expect, plain=UNLOCK, sealed=given)

    make("shares-1-2-3", "Three shares of five, of which three are needed", [1, 2, 3])
    make("shares-5-1-4", "Three others, in another order", [5, 1, 4])
    make("shares-all", "All five", [1, 2, 3, 4, 5])
    make("shares-255", "A share with the highest number", [2, 3], more=[share(UNLOCK, 255, slopes)])
    make("shares-two", "Two of three that are needed", [1, 2], "another")
    make("shares-changed", "One that was changed", [1, 2], "another", [flip(all_five[2], 7)])
    make("shares-zero", "A share of number 0, which would be the key", [1, 2], "malformed", [bytes([0]) + UNLOCK])
    return all_five


def codes():
    def text(prefix, digits):
        body = f"{prefix}{UNLOCKER}-{digits.hex()}"
        return f"{body}-{hashlib.sha256(body.lower().encode()).digest()[:4].hex()}"

    def make(name, note, code, expect="ok", what="key", plain=UNLOCK):
        vector(f"crypto/{name}.txt", note, kind="code", expect=expect, what=what, id=UNLOCKER, plain=plain, sealed=code.encode())

    good = text("SECRETD-KEY-1-", UNLOCK)
    make("code-key", "An unlock key or a recovery key, as it is printed", good)
    make("code-key-spaced", "As somebody typed it", f"  {good[:40].lower()}\n {good[40:].upper()}\n")
    make("code-key-slip", "A slip of the pen", good[:50] + ("0" if good[50] != "0" else "1") + good[51:], "sum")
    make("code-key-cut", "Cut short", good[:-9], "malformed")
    make("code-key-short", "A key of 31 bytes", text("SECRETD-KEY-1-", UNLOCK[:31]), "malformed")
    make("code-key-2", "A newer format", text("SECRETD-KEY-2-", UNLOCK), "format")
    make("code-other", "Something else of ours", "SECRETD-1-" + "0" * 64 + "-" + "0" * 40, "malformed")
    one = share(UNLOCK, 1, [word("shamir x"), word("shamir x squared")])
    make("code-share", "One share of a key", text("SECRETD-SHARE-1-", one), what="share", plain=one)
    zero = bytes([0]) + UNLOCK
    make("code-share-zero", "The share that would be the key", text("SECRETD-SHARE-1-", zero), "malformed", "share", zero)
    make("code-none", "Words", WORDS, what="passphrase", plain=WORDS.encode())


# ---- files in protobuf -------------------------------------------------------------------------


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields):
    """Fields as (number, value): numbers, text and bytes; nothing for what is empty, as proto3 has it."""
    out = b""
    for tag, value in fields:
        value = value.encode() if isinstance(value, str) else value
        if isinstance(value, int):
            out += varint(tag << 3) + varint(value) if value else b""
        else:
            out += varint(tag << 3 | 2) + varint(len(value)) + value if value else b""
    return out


def some(tag, value):
    """A message in a `oneof`, or an item of a list: there even if it is empty."""
    return varint(tag << 3 | 2) + varint(len(value)) + value


def unlocker_message(kind):
    tags = dict(file=1, autolock=2, recovery=3, passphrase=4, shamir=5, command=6, tpm2=7)
    tpm = [word("tpm parent"), word("tpm public") * 2, word("tpm private") * 5]
    cost = [SALT, *COST.values()]
    bound = dict(passphrase=[SALT, *(number(value, 4) for value in COST.values())], shamir=[bytes([5, 3])], command=[KMS], tpm2=[number(1 << 7, 4), *tpm])
    bind = binding("secretd/root-key/1", CLUSTER.encode(), bytes([tags[kind]]), ident(kind).encode(), *bound.get(kind, []))
    wrapped = seal(UNLOCK, bind, ROOT, word("root salt " + kind))
    method = dict(
        passphrase=message(*zip(range(1, 5), cost)), shamir=message((1, 5), (2, 3)), command=message((1, b"/opt/kms"), (2, KMS)),
        tpm2=message((1, "/dev/tpmrm0"), (2, 1 << 7), *zip(range(3, 6), tpm)),
    )
    return message((1, ident(kind)), (2, wrapped)) + some(tags[kind] + 2, method.get(kind, b"")) + message((10, recipient(UNLOCK)[1]))


KINDS = ["file", "autolock", "recovery", "passphrase", "shamir", "command"]


def headers():
    def make(name, note, expect, data, kinds=""):
        vector(
            f"node/{name}.txt", note, kind="key-header", expect=expect, cluster=CLUSTER, node=NODE, key=UNLOCK, root=ROOT,
            storage=STORAGE, unlockers=kinds, sealed=data,
        )

    def framed(body):
        return b"secretd keys\n" + hashlib.sha256(body).digest() + body

    def wrapped(kinds, key, salt):
        """Sealed beside these unlockers."""
        beside = [part for kind in kinds for part in (ident(kind).encode(), recipient(UNLOCK)[1])]
        return seal(ROOT, binding("secretd/storage-key/2", CLUSTER.encode(), NODE.encode(), *beside), key, word(salt))

    def body(kinds, form=2, more=b"", older=(), following=()):
        listed = b"".join(some(4, unlocker_message(kind)) for kind in kinds)
        keys = [(STORAGE, "storage salt"), *((word(name), name) for name in older)]
        stored = b"".join(some(6, wrapped(kinds, *key)) for key in keys)
        nexts = b"".join(some(7, unlocker_message(kind)) for kind in following)
        return message((1, form), (2, CLUSTER), (3, NODE)) + listed + more + stored + nexts

    for name, kinds in [("key-header", ["file"]), ("key-header-all", KINDS), ("key-header-tpm2", ["tpm2", "recovery"])]:
        make(name, "The key header of a node", "ok", framed(body(kinds)), " ".join(kinds))
    good = framed(body(["file"]))
    make("key-header-older", "With a storage key from before", "ok", framed(body(["file"], older=["older storage key"])), "file")
    make("key-header-next", "With the root key that is offered", "ok", framed(body(["file"], following=["file"])), "file")
    make("key-header-format", "A newer format", "format", framed(body(["file"], 3)))
    make("key-header-format-1", "An older format", "format", framed(body(["file"], 1)))
    unknown = some(4, message((1, ident("new")), (2, b"x")) + some(99, b""))
    make("key-header-unknown", "A kind of unlocker that this secretd does not know", "format", framed(body(["file"], more=unknown)))
    make("key-header-flipped", "A flipped bit", "damaged", flip(good, 60))
    make("key-header-sum", "A flipped bit in the sum", "damaged", flip(good, 20))
    make("key-header-cut", "Cut short", "damaged", good[:-1])
    make("key-header-short", "Cut in its sum", "damaged", good[:30])
    make("key-header-noise", "A right sum over something else", "damaged", framed(b"\xff" * 9))
    make("key-header-foreign", "Some other file", "foreign", b"-----BEGIN PRIVATE KEY-----\n")
    make("key-header-empty", "Nothing", "foreign", b"")


def backups():
    made = dict(id=ident("backup"), created_at_ms=1767225600000, index=42, version="0.1.0")
    key = word("backup key")

    def make(name, note, expect, data, parts=()):
        listed = {f"part-{at}": part for at, part in enumerate(parts)}
        vector(
            f"backup/{name}.txt", note, kind="backup", expect=expect, cluster=CLUSTER, root=ROOT, key=UNLOCK, backup_key=key,
            unlockers="recovery passphrase", parts=len(parts), **made, **listed, sealed=data,
        )

    wrapped = seal(ROOT, binding("secretd/storage-key/1", CLUSTER.encode(), made["id"].encode()), key, word("backup salt"))

    def opening(form=2):
        listed = b"".join(some(7, unlocker_message(kind)) for kind in ["recovery", "passphrase"])
        fields = (1, form), (2, made["id"]), (3, CLUSTER), (4, made["created_at_ms"]), (5, made["index"]), (6, made["version"])
        header = message(*fields) + listed + message((8, wrapped))
        digest = hashlib.sha256(header).digest()
        return b"secretd backup\n" + number(len(header), 4) + digest + header, digest

    start, digest = opening()

    def frame(at, part, place=None):
        bound = binding("secretd/record/1", b"backup" + digest + number(at if place is None else place, 8))
        sealed = seal(key, bound, part, word(f"frame {at}"))
        return number(len(sealed), 4) + sealed

    rows = some(2, b"")
    end = some(3, message((3, hashlib.sha256(b"").digest())))
    parts = [some(1, message((1, 1), (2, CLUSTER), (3, "42-1"))), rows, end]
    frames = [frame(at, part) for at, part in enumerate(parts)]
    whole = start + b"".join(frames)
    make("backup", "A backup of nothing: its header and each of its frames", "ok", whole, parts)
    make("backup-cut", "Without its last frame", "cut", start + frames[0] + frames[1], parts[:2])
    make("backup-torn", "Cut in a frame", "cut", whole[:-1], parts[:2])
    make("backup-swapped", "Two frames in each other's place", "open", start + frames[1] + frames[0] + frames[2])
    make("backup-left-out", "A frame left out", "open", start + frames[0] + frames[2], parts[:1])
    make("backup-flipped", "A flipped bit in the last frame", "open", flip(whole, -1), parts[:2])
    make("backup-more", "Something after its end", "damaged", whole + b"x", parts)
    make("backup-header", "A flipped bit in its header", "damaged", flip(whole, 60))
    make("backup-long", "A header that is too long to be one", "damaged", b"secretd backup\n" + b"\xff" * 40)
    make("backup-format", "A newer format", "format", opening(3)[0])
    make("backup-foreign", "Some other file", "foreign", b"secretd keys\n" + bytes(40))


# ---- certificates ------------------------------------------------------------------------------


def private(text):
    return ec.derive_private_key(int.from_bytes(word(text), "big") >> 1, ec.SECP256R1())


def certificate(name, subject, key, issuer, issuer_key, names, ca=False, usage=None):
    day = datetime.timedelta(days=1)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(word(name)[:16], "big") >> 2 | 1 << 126)
        .not_valid_before(start)
        .not_valid_after(start + (7300 * day if ca else 3 * day))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    signed = builder.sign(issuer_key, hashes.SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(serialization.Encoding.DER)


def certificates():
    ca_key, node_key = private("ca"), private("node key")
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"secretd cluster {CLUSTER}")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    ca = certificate("ca", ca_name, ca_key, ca_name, ca_key, [], ca=True)

    def issue(which, names, usage=both, ca=False):
        return certificate(which, name, node_key, ca_name, ca_key, names, ca, usage)

    uri = lambda role, node=NODE: x509.UniformResourceIdentifier(f"spiffe://{CLUSTER}/{role}/{node}")
    dns = lambda node=NODE: x509.DNSName(f"{node}.{CLUSTER}.internal")

    def make(which, note, expect, der, role="", **more):
        vector(
            f"pki/{which}.txt", note, kind="certificate", expect=expect, cluster=CLUSTER, node=NODE, role=role,
            not_before_ms=1767225600000, not_after_ms=1767484800000, **more, der=der,
        )

    good = {role: issue(role, [uri(role), dns()]) for role in ("manager", "worker")}
    for role, der in good.items():
        make(f"certificate-{role}", f"A {role}", "ok", der, role)
    bad = "names"
    make("certificate-no-names", "No names", bad, issue("a", []))
    make("certificate-no-uri", "No URI", bad, issue("b", [dns()]))
    make("certificate-no-dns", "No DNS name", bad, issue("c", [uri("worker")]))
    make("certificate-two-uris", "Two identities", bad, issue("d", [uri("worker"), uri("manager"), dns()]))
    make("certificate-more-dns", "Another DNS name besides", bad, issue("e", [uri("worker"), dns(), x509.DNSName("example.com")]))
    make("certificate-other-dns", "The DNS name of another node", bad, issue("f", [uri("worker"), dns(ident("other"))]))
    make("certificate-role", "A role there is not", bad, issue("g", [uri("root"), dns()]))
    make("certificate-path", "More path than there should be", bad, issue("h", [uri("worker", NODE + "/x"), dns()]))
    admitted = lambda which, text, role="manager": issue(which, [uri(role, f"{NODE}/{text}"), dns()])
    make("certificate-admitted", "A manager that was admitted", "ok", admitted("m", "7"), "manager", raft_id=7)
    make("certificate-admitted-0", "A Raft id that is none", bad, admitted("n", "0"))
    make("certificate-admitted-07", "A zero before the Raft id", bad, admitted("o", "07"))
    make("certificate-admitted-more", "More after the Raft id", bad, admitted("p", "7/7"))
    make("certificate-admitted-worker", "A worker with a Raft id", bad, admitted("q", "7", "worker"))
    make("certificate-short-id", "An id that is none", bad, issue("i", [uri("worker", "short"), dns("short")]))
    make("certificate-ca", "A CA", "usage", issue("j", [uri("worker"), dns()], ca=True))
    make("certificate-client-only", "For clients only", "usage", issue("k", [uri("worker"), dns()], usage=both[1:]))
    make("certificate-no-usage", "For no use", "usage", issue("l", [uri("worker"), dns()], usage=None))
    make("certificate-trailing", "A byte too many", "unreadable", good["worker"] + b"\0")
    make("certificate-cut", "Cut short", "unreadable", good["worker"][:-1])
    make("certificate-empty", "Nothing", "unreadable", b"")

    secret = word("join token")[:20]
    digest = hashlib.sha256(ca).hexdigest()

    def token(which, note, expect, text):
        vector(
            f"pki/{which}.txt", note, kind="token", expect=expect, ca=digest,
            hash=hashlib.sha256(b"secretd/join-token/1" + secret).digest(), text=text,
        )

    good_token = f"SECRETD-1-{digest}-{secret.hex()}"
    token("token", "A join token", "ok", good_token)
    token("token-swarm", "A token of Docker Swarm", "bad", "SWMTKN-1-" + "0" * 50 + "-" + "0" * 25)
    token("token-2", "A newer format", "bad", good_token.replace("-1-", "-2-"))
    token("token-cut", "Cut short", "bad", good_token[:-1])
    token("token-upper-case", "In upper case", "bad", good_token.upper())

    def pem(key):
        form = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def cert_pem(der):
        return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)

    put(HERE / "ca.key.pem", pem(ca_key), 0o600)
    put(HERE / "ca.pem", cert_pem(ca))
    put(HERE / "node.key.pem", pem(node_key), 0o600)
    put(HERE / "manager.pem", cert_pem(good["manager"]))
    put(HERE / "worker.pem", cert_pem(good["worker"]))


records()
keys()
payloads()
unlockers()
passphrases()
shares()
codes()
headers()
backups()
put(HERE / "node.key", key_files().encode(), 0o600)
certificates()
