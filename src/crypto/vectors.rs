//! Holds every sealed format to bytes written down once, and made by another implementation.

use super::{
    OpenError,
    context::{Context, Subject},
    envelope::{self, Binding},
    key::{Key, Storage},
    keyring::{Keyring, WrappedTerm, term_binding},
    plaintext::Plaintext,
    record,
    seal::Sealed,
    unlock::{
        self, Kind, Method, Unlocker,
        code::{self, BadCode, Given},
        command::Helper,
        file,
        passphrase::Cost,
        recipient::Recipient,
        shares::{self, Share},
        tpm::Tpm2,
    },
};
use crate::kit::{
    clock::Timestamp,
    id::{ClusterId, NodeId, UnlockerId},
    vectors::Vector,
};

fn key<Purpose>(vector: &Vector, name: &str) -> Key<Purpose> {
    let mut key = Key::blank();
    key.bytes_mut().copy_from_slice(&vector.bytes(name));
    key
}

fn cluster(vector: &Vector) -> ClusterId {
    vector.text("cluster").parse().unwrap()
}

fn name(error: OpenError) -> &'static str {
    match error {
        OpenError::Short => "short",
        OpenError::Format(_) => "format",
        OpenError::Mismatch => "mismatch",
        OpenError::Damaged => "damaged",
        OpenError::UnknownTerm(_) => "unknown-term",
        OpenError::Terms => "terms",
    }
}

fn small(vector: &Vector, name: &str) -> u32 {
    u32::try_from(vector.number(name)).unwrap()
}

fn cost(vector: &Vector) -> Cost {
    Cost {
        salt: vector.bytes("salt").try_into().unwrap(),
        memory_kib: small(vector, "memory"),
        passes: small(vector, "passes"),
        lanes: small(vector, "lanes"),
    }
}

fn method(vector: &Vector) -> Method {
    let byte = |name| u8::try_from(vector.number(name)).unwrap();
    match Kind::from_name(vector.text("unlocker")).unwrap() {
        Kind::File => Method::File,
        Kind::Autolock => Method::Autolock,
        Kind::Recovery => Method::Recovery,
        Kind::Passphrase => Method::Passphrase(cost(vector)),
        Kind::Shamir => Method::Shamir { shares: byte("shares"), threshold: byte("threshold") },
        Kind::Command => Method::Command(Helper {
            program: vector.text("program").into(),
            wrapped_key: vector.bytes("wrapped-key"),
        }),
        Kind::Tpm2 => Method::Tpm2(Tpm2 {
            device: vector.text("device").to_owned(),
            pcrs: vector.text("pcrs").parse().unwrap(),
            parent: vector.bytes("parent").try_into().unwrap(),
            public: vector.bytes("public"),
            private: vector.bytes("private"),
        }),
    }
}

/// Reads a code, and prints it again if it is one.
fn code(vector: &Vector, typed: Vec<u8>) -> Outcome {
    let is = |what, id: UnlockerId| {
        assert_eq!((what, id.as_str()), (vector.text("what"), vector.text("id")));
    };
    let printed = |again: Plaintext| {
        let clean = |text: &[u8]| -> Vec<u8> {
            let kept = text.iter().filter(|byte| !byte.is_ascii_whitespace());
            kept.map(u8::to_ascii_lowercase).collect()
        };
        assert_eq!(clean(again.expose()), clean(&typed), "{}", vector.path.display());
    };
    match Given::read(Plaintext::new(typed.clone())) {
        Ok(Given::Key { id, key }) => {
            is("key", id);
            printed(code::print_key(id, &key));
            Ok(key.bytes().to_vec())
        }
        Ok(Given::Share { id, share }) => {
            is("share", id);
            printed(code::print_share(id, &share));
            Ok(share.bytes().to_vec())
        }
        Ok(Given::Passphrase(words)) => {
            assert_eq!(vector.text("what"), "passphrase");
            Ok(words.expose().to_vec())
        }
        Err(BadCode::Malformed) => Err("malformed"),
        Err(BadCode::Sum) => Err("sum"),
        Err(BadCode::Format) => Err("format"),
    }
}

/// What became of a vector's `sealed` bytes: the plaintext, or the name of the error.
type Outcome = Result<Vec<u8>, &'static str>;

fn opened<Purpose>(key: Result<Key<Purpose>, OpenError>) -> Outcome {
    key.map(|key| key.bytes().to_vec()).map_err(name)
}

/// Seals the plaintext again with the salt that the vector's bytes carry.
fn again(key: &[u8; 32], binding: Binding, sealed: &[u8], plain: &[u8]) -> Vec<u8> {
    let salt = sealed[1..33].try_into().unwrap();
    let mut out = Vec::new();
    envelope::seal_with_salt(key, salt, binding, plain, &mut out);
    out
}

/// Opens a vector, and seals it again if that went well.
fn run(vector: &Vector) -> (Outcome, Option<Vec<u8>>) {
    let sealed = vector.bytes("sealed");
    let plain = vector.bytes("plain");
    let (outcome, outer, binding): (Outcome, Key<()>, Binding) = match vector.text("kind") {
        "record" => {
            let aad = vector.bytes("aad");
            let outcome = record::open(&key(vector, "key"), &aad, &sealed).map_err(name);
            (outcome, key(vector, "key"), record::binding(&aad))
        }
        "storage-key" => {
            let (cluster, node): (_, NodeId) =
                (cluster(vector), vector.text("node").parse().unwrap());
            let opened = opened(Key::<Storage>::open(&key(vector, "key"), cluster, node, &sealed));
            (opened, key(vector, "key"), super::key::storage_binding(cluster, node))
        }
        "term" => {
            let (cluster, term) = (cluster(vector), u32::try_from(vector.number("term")).unwrap());
            let binding = || term_binding(cluster, term);
            let root: Key<super::key::Root> = key(vector, "key");
            if term == 1 {
                let stored =
                    [WrappedTerm { term, created_at: Timestamp(0), wrapped: sealed.clone() }];
                let whole = Keyring::open(&root, cluster, &stored).map(|_| ()).map_err(name);
                assert_eq!(whole.is_ok(), vector.text("expect") == "ok");
            }
            let opened = opened(root.unwrap::<super::key::Wrap>(binding(), &sealed));
            (opened, key(vector, "key"), binding())
        }
        "root-key" => {
            let id: UnlockerId = vector.text("id").parse().unwrap();
            let method = method(vector);
            let recipient = Recipient::of(&key(vector, "key"));
            let wrapped_root = sealed.clone();
            let unlocker = Unlocker { id, method, recipient, wrapped_root };
            let outcome = opened(unlocker.unlock(cluster(vector), &key(vector, "key")));
            (outcome, key(vector, "key"), unlock::binding(cluster(vector), id, &unlocker.method))
        }
        "resealed-root-key" => {
            let id: UnlockerId = vector.text("id").parse().unwrap();
            let (method, key) = (method(vector), key(vector, "key"));
            let recipient = Recipient(vector.bytes("recipient").try_into().unwrap());
            let wrapped_root = sealed.clone();
            let unlocker = Unlocker { id, method, recipient, wrapped_root };
            let outcome = opened(unlocker.unlock(cluster(vector), &key));
            let resealed = outcome.is_ok().then(|| {
                assert_eq!(recipient, Recipient::of(&key), "{}", vector.path.display());
                let binding = unlock::binding(cluster(vector), id, &unlocker.method);
                let (drawn, salt) = (vector.bytes("drawn"), sealed[34..66].try_into().unwrap());
                let seal = |key: &[u8; 32], binding, out: &mut Vec<u8>| {
                    envelope::seal_with_salt(key, &salt, binding, &plain, out);
                };
                recipient.seal_with(&drawn.try_into().unwrap(), binding, seal).unwrap()
            });
            return (outcome, resealed);
        }
        "payload" => {
            let subject = match vector.text("subject") {
                "secret" => Subject::Secret,
                "config" => Subject::Config,
                "authority-key" => Subject::AuthorityKey,
                other => panic!("unknown subject {other}"),
            };
            let context = Context {
                cluster: cluster(vector),
                subject,
                object: vector.text("object").parse().unwrap(),
                name: vector.text("name").to_owned(),
                version: vector.number("version"),
            };
            let keyring = Keyring::of(context.cluster, key(vector, "key"));
            let term = u32::try_from(vector.number("term")).unwrap();
            let wrapped_key = vector.bytes("wrapped-key");
            let whole = Sealed { term, wrapped_key: wrapped_key.clone(), body: sealed.clone() };
            let outcome = keyring.open_at(&context, &whole);
            if outcome.is_ok() {
                let data_key = vector.bytes("data-key");
                let binding = context.data_key_binding(term);
                let term_key: Key<()> = key(vector, "key");
                let rewrapped = again(term_key.bytes(), binding, &wrapped_key, &data_key);
                assert_eq!(rewrapped, wrapped_key, "{}", vector.path.display());
            }
            let outcome = outcome.map(|plain| plain.expose().to_vec()).map_err(name);
            (outcome, key(vector, "data-key"), context.payload_binding())
        }
        "passphrase" => {
            let words = Plaintext::new(vector.bytes("words"));
            let key = cost(vector).key(&words);
            return (key.map(|key| key.bytes().to_vec()).map_err(|_| "cost"), None);
        }
        "shares" => {
            let (given, rest) = sealed.as_chunks::<{ shares::LEN }>();
            assert!(rest.is_empty(), "{}", vector.path.display());
            let shares: Option<Vec<Share>> = given.iter().map(Share::from_bytes).collect();
            let key = shares.and_then(|all| shares::combine(&all.iter().collect::<Vec<_>>()));
            let outcome = match key {
                Some(key) if key.bytes()[..] == plain => Ok(plain),
                Some(_) => Err("another"),
                None => Err("malformed"),
            };
            return (outcome, None);
        }
        "code" => return (code(vector, sealed), None),
        "key-file" => {
            let outcome = match file::parse(&sealed) {
                Ok(read) => {
                    assert_eq!(read.id.as_str(), vector.text("id"));
                    Ok(read.key.bytes().to_vec())
                }
                Err(file::Bad::Foreign) => Err("foreign"),
                Err(file::Bad::Format) => Err("format"),
                Err(file::Bad::Damaged) => Err("damaged"),
            };
            return (outcome, None);
        }
        other => panic!("{} is of unknown kind {other}", vector.path.display()),
    };
    let resealed = outcome.is_ok().then(|| again(outer.bytes(), binding, &sealed, &plain));
    (outcome, resealed)
}

#[test]
fn every_vector_comes_out_as_written_down() {
    let vectors = Vector::all("crypto");
    assert!(vectors.len() > 95, "vectors are never deleted");
    for vector in vectors {
        let at = vector.path.display();
        let (outcome, resealed) = run(&vector);
        match vector.text("expect") {
            "ok" => assert_eq!(outcome, Ok(vector.bytes("plain")), "{at}"),
            error => assert_eq!(outcome, Err(error), "{at}"),
        }
        if let Some(resealed) = resealed {
            assert_eq!(resealed, vector.bytes("sealed"), "{at}: sealing gives other bytes");
        }
    }
}
