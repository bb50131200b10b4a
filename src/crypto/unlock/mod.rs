//! Unlockers: ways to the root key. Several may stand side by side, and any one of them opens.
//!
//! | kind | what opens | where it is |
//! |---|---|---|
//! | `file` | a key file | beside the node, one for each manager |
//! | `autolock` | a code printed once | with the operator |
//! | `recovery` | a code printed once | in a safe |
//! | `passphrase` | words, through Argon2id | in somebody's head |
//! | `shamir` | some of several codes | with several people |
//! | `command` | a program that asks a KMS or HSM | there |
//! | `tpm2` | the TPM of one machine | in it |
//!
//! Each yields a `Key<Unlock>`, and the root key is sealed to it. Everything but `file`
//! and `tpm2` belongs to the whole cluster.

pub mod code;
pub mod command;
pub mod file;
pub mod passphrase;
pub mod recipient;
pub mod shares;
pub mod tpm;

use super::{
    OpenError,
    envelope::Binding,
    key::{Key, Root, Unlock},
};
use crate::kit::id::{ClusterId, UnlockerId};
use command::Helper;
use passphrase::Cost;
use recipient::Recipient;
use std::fmt;
use tpm::Tpm2;

/// The sort of an unlocker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// From a key file outside the data directory.
    File,
    /// From the code that `unlock` asks for after each start of a manager.
    Autolock,
    /// From a code that is kept for the day when nothing else opens.
    Recovery,
    Passphrase,
    /// From some of several shares.
    Shamir,
    /// From a program that has the key decrypted elsewhere.
    Command,
    /// From the TPM of one machine.
    Tpm2,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::File,
        Self::Autolock,
        Self::Recovery,
        Self::Passphrase,
        Self::Shamir,
        Self::Command,
        Self::Tpm2,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Autolock => "autolock",
            Self::Recovery => "recovery",
            Self::Passphrase => "passphrase",
            Self::Shamir => "shamir",
            Self::Command => "command",
            Self::Tpm2 => "tpm2",
        }
    }

    /// The kind of this name, if this secretd knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it opens without anybody being asked.
    pub fn is_automatic(self) -> bool {
        match self {
            Self::File | Self::Command | Self::Tpm2 => true,
            Self::Autolock | Self::Recovery | Self::Passphrase | Self::Shamir => false,
        }
    }

    /// Whether it belongs to one node, and not to all managers.
    pub fn is_local(self) -> bool {
        match self {
            Self::File | Self::Tpm2 => true,
            Self::Autolock | Self::Recovery | Self::Passphrase | Self::Shamir | Self::Command => {
                false
            }
        }
    }

    /// Part of what is sealed on disk; a number once given is never given again.
    fn tag(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Autolock => 2,
            Self::Recovery => 3,
            Self::Passphrase => 4,
            Self::Shamir => 5,
            Self::Command => 6,
            Self::Tpm2 => 7,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an unlocker comes by its key, with what it needs to be asked again; nothing here is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    File,
    Autolock,
    Recovery,
    Passphrase(Cost),
    Shamir {
        /// How many shares there are.
        shares: u8,
        /// How many of them open.
        threshold: u8,
    },
    Command(Helper),
    Tpm2(Tpm2),
}

impl Method {
    pub fn kind(&self) -> Kind {
        match self {
            Self::File => Kind::File,
            Self::Autolock => Kind::Autolock,
            Self::Recovery => Kind::Recovery,
            Self::Passphrase(_) => Kind::Passphrase,
            Self::Shamir { .. } => Kind::Shamir,
            Self::Command(_) => Kind::Command,
            Self::Tpm2(_) => Kind::Tpm2,
        }
    }
}

/// One way to the root key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocker {
    pub id: UnlockerId,
    pub method: Method,
    /// To which another root key can be sealed.
    pub recipient: Recipient,
    /// The root key: sealed to this unlocker's key by who had that, or to its public half by a rotation.
    pub wrapped_root: Vec<u8>,
}

impl Unlocker {
    /// Seals the root key of `cluster` to an unlocker's key.
    pub fn new(
        cluster: ClusterId,
        id: UnlockerId,
        method: Method,
        key: &Key<Unlock>,
        root: &Key<Root>,
    ) -> Self {
        let wrapped_root = key.wrap(binding(cluster, id, &method), root);
        Self { id, method, recipient: Recipient::of(key), wrapped_root }
    }

    /// The same unlocker with another root key of `cluster`, sealed to its public half: it need not be asked.
    ///
    /// # Errors
    /// [`OpenError::Mismatch`]: its public half is no key of anybody.
    pub fn resealed(&self, cluster: ClusterId, root: &Key<Root>) -> Result<Self, OpenError> {
        let Self { id, method, recipient, wrapped_root: _ } = self;
        let wrapped_root = recipient.seal(binding(cluster, *id, method), root)?;
        Ok(Self { id: *id, method: method.clone(), recipient: *recipient, wrapped_root })
    }

    /// Whether both are the same way in, whatever root key lies behind it.
    pub fn is_same_way(&self, other: &Self) -> bool {
        let Self { id, method, recipient, wrapped_root: _ } = self;
        (*id, method, *recipient) == (other.id, &other.method, other.recipient)
    }

    pub fn kind(&self) -> Kind {
        self.method.kind()
    }

    /// Opens the root key of `cluster`.
    ///
    /// # Errors
    /// Another unlocker's key, another cluster, damaged bytes.
    pub fn unlock(&self, cluster: ClusterId, key: &Key<Unlock>) -> Result<Key<Root>, OpenError> {
        let Self { id, method, recipient: _, wrapped_root } = self;
        let binding = binding(cluster, *id, method);
        match wrapped_root.first() {
            Some(&recipient::FORMAT) => recipient::open(key, binding, wrapped_root),
            Some(_) | None => key.unwrap(binding, wrapped_root),
        }
    }
}

/// What the root key is sealed to; the method's parameters too, so that nobody can weaken them unnoticed.
pub(super) fn binding(cluster: ClusterId, id: UnlockerId, method: &Method) -> Binding {
    let binding = Binding::new("secretd/root-key/1")
        .field(cluster.as_str().as_bytes())
        .field(&[method.kind().tag()])
        .field(id.as_str().as_bytes());
    match method {
        Method::File | Method::Autolock | Method::Recovery => binding,
        Method::Passphrase(Cost { salt, memory_kib, passes, lanes }) => binding
            .field(salt)
            .field(&memory_kib.to_be_bytes())
            .field(&passes.to_be_bytes())
            .field(&lanes.to_be_bytes()),
        Method::Shamir { shares, threshold } => binding.field(&[*shares, *threshold]),
        // The program may move; what it made is bound.
        Method::Command(Helper { program: _, wrapped_key }) => binding.field(wrapped_key),
        // So may the device.
        Method::Tpm2(Tpm2 { device: _, pcrs, parent, public, private }) => {
            let pcrs = pcrs.bits().to_be_bytes();
            binding.field(&pcrs).field(parent).field(public).field(private)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods() -> Vec<Method> {
        vec![
            Method::File,
            Method::Autolock,
            Method::Recovery,
            Method::Passphrase(Cost::light()),
            Method::Shamir { shares: 5, threshold: 3 },
            Method::Command(Helper { program: "/bin/kms".into(), wrapped_key: vec![1, 2, 3] }),
            Method::Tpm2(Tpm2 {
                device: tpm::DEVICE.into(),
                pcrs: "7,11".parse().unwrap(),
                parent: [4; 32],
                public: vec![5],
                private: vec![6],
            }),
        ]
    }

    #[test]
    fn any_of_several_unlockers_opens_the_same_root_key() {
        let (cluster, root) = (ClusterId::random(), Key::<Root>::random());
        for method in methods() {
            let key = Key::random();
            let unlocker = Unlocker::new(cluster, UnlockerId::random(), method, &key, &root);
            assert_eq!(unlocker.unlock(cluster, &key).unwrap().bytes(), root.bytes());
        }
    }

    #[test]
    fn an_unlocker_that_was_not_asked_opens_the_next_root_key_and_no_other_does() {
        let cluster = ClusterId::random();
        let (root, next) = (Key::<Root>::random(), Key::<Root>::random());
        for method in methods() {
            let key = Key::random();
            let before = Unlocker::new(cluster, UnlockerId::random(), method, &key, &root);
            let after = before.resealed(cluster, &next).unwrap();
            assert!(after.is_same_way(&before) && after != before);
            assert_eq!(after.unlock(cluster, &key).unwrap().bytes(), next.bytes());
            assert_eq!(before.unlock(cluster, &key).unwrap().bytes(), root.bytes());
            let stolen = Unlocker { wrapped_root: after.wrapped_root, ..before };
            stolen.unlock(cluster, &Key::random()).unwrap_err();
            stolen.unlock(ClusterId::random(), &key).unwrap_err();
            let renamed = Unlocker { id: UnlockerId::random(), ..stolen };
            renamed.unlock(cluster, &key).unwrap_err();
        }
    }

    #[test]
    fn another_key_cluster_or_unlocker_is_refused() {
        let (cluster, root, key) = (ClusterId::random(), Key::<Root>::random(), Key::random());
        let unlocker = Unlocker::new(cluster, UnlockerId::random(), Method::File, &key, &root);
        unlocker.unlock(cluster, &Key::random()).unwrap_err();
        unlocker.unlock(ClusterId::random(), &key).unwrap_err();
        let renamed = Unlocker { id: UnlockerId::random(), ..unlocker };
        assert_eq!(renamed.unlock(cluster, &key).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn an_unlocker_whose_method_was_edited_does_not_open() {
        let (cluster, root, key) = (ClusterId::random(), Key::<Root>::random(), Key::random());
        let all = methods();
        for (at, method) in all.iter().enumerate() {
            let id = UnlockerId::random();
            let unlocker = Unlocker::new(cluster, id, method.clone(), &key, &root);
            let mut others = all.clone();
            others.remove(at);
            others.push(Method::Shamir { shares: 5, threshold: 2 });
            others.push(Method::Passphrase(Cost { passes: 2, ..Cost::light() }));
            for method in others {
                let edited = Unlocker { method, ..unlocker.clone() };
                assert_eq!(edited.unlock(cluster, &key).unwrap_err(), OpenError::Mismatch);
            }
        }
    }

    #[test]
    fn kinds_have_names_and_tags_of_their_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
            let alike = |other: &&Kind| other.tag() == kind.tag();
            assert_eq!(Kind::ALL.iter().filter(alike).count(), 1);
        }
        assert_eq!(Kind::from_name("tin foil"), None);
    }
}
