//! What opens a node's keys, what does not, and what is left on the disk.

use super::*;
use crate::crypto::{
    keyring::Keyring,
    plaintext::Plaintext,
    unlock::{
        code::{self, Given},
        passphrase::Cost,
        shares,
    },
};
use std::os::unix::fs::PermissionsExt as _;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        Self { root }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn key(&self) -> PathBuf {
        self.root.path().join("data.key")
    }

    fn create(&self) -> Result<Unlocked, KeyStoreError> {
        let who = (ClusterId::random(), NodeId::random());
        create(&self.dir(), &self.key(), who, Key::random(), &Ways::key_file())
    }

    fn open(&self) -> Result<Unlocked, KeyStoreError> {
        match open(&self.dir(), &self.key())? {
            Opened::Open(keys) => Ok(keys),
            Opened::Locked(_) => panic!("it must open by itself"),
        }
    }

    fn locked(&self) -> Locked {
        match open(&self.dir(), &self.key()).unwrap() {
            Opened::Locked(locked) => locked,
            Opened::Open(_) => panic!("it must be locked"),
        }
    }

    fn settle(&self, keys: &Unlocked, ways: &Ways) -> Result<bool, KeyStoreError> {
        settle(&self.dir(), &self.key(), keys, ways)
    }
}

/// Whether both stand for the same keys: what one seals, the other opens.
fn same(a: &Unlocked, b: &Unlocked) -> bool {
    let (_, terms) = Keyring::generate(&a.root, a.cluster);
    let sealed = a.storage.seal(b"", b"x");
    (a.cluster, a.node) == (b.cluster, b.node)
        && Keyring::open(&b.root, b.cluster, &terms).is_ok()
        && b.storage.open(b"", &sealed).is_ok()
}

/// An unlocker for these keys, and the code that opens it.
fn coded(keys: &Unlocked, method: Method) -> (Unlocker, Plaintext) {
    let (id, key) = (UnlockerId::random(), Key::random());
    (Unlocker::new(keys.cluster, id, method, &key, &keys.root), code::print_key(id, &key))
}

fn given(code: &Plaintext) -> Given {
    Given::read(Plaintext::new(code.expose().to_vec())).unwrap()
}

fn opened(progress: Progress) -> Unlocked {
    match progress {
        Progress::Open(keys) => keys,
        Progress::Shares { .. } => panic!("it must open"),
    }
}

#[test]
fn keys_open_again_with_their_key_file() {
    let place = Place::new();
    assert!(!exists(&place.dir()));
    let made = place.create().unwrap();
    assert!(exists(&place.dir()));
    assert!(same(&made, &place.open().unwrap()));
}

#[test]
fn keys_are_made_once() {
    let place = Place::new();
    let made = place.create().unwrap();
    assert!(matches!(place.create(), Err(KeyStoreError::Exists { .. })));
    assert!(same(&made, &place.open().unwrap()));
}

#[test]
fn a_key_file_that_is_there_already_is_used() {
    let place = Place::new();
    file::create(&place.key()).unwrap();
    let made = place.create().unwrap();
    assert!(same(&made, &place.open().unwrap()));
}

#[test]
fn without_the_key_file_nothing_opens_and_the_error_says_so() {
    let place = Place::new();
    place.create().unwrap();
    fs::remove_file(place.key()).unwrap();
    let error = place.open().unwrap_err();
    assert!(error.to_string().starts_with("there is no key file at "), "{error}");
    assert!(error.hint().contains("--key-file"));
}

#[test]
fn the_key_file_of_another_node_is_refused_by_name() {
    let (place, other) = (Place::new(), Place::new());
    place.create().unwrap();
    other.create().unwrap();
    let error = open(&place.dir(), &other.key()).unwrap_err();
    assert!(matches!(error, KeyStoreError::OtherKeyFile { .. }), "{error}");
}

#[test]
fn a_key_file_inside_the_data_directory_is_refused_and_nothing_is_made() {
    let place = Place::new();
    let inside = place.dir().join("key");
    let who = (ClusterId::random(), NodeId::random());
    let error = create(&place.dir(), &inside, who, Key::random(), &Ways::key_file());
    assert!(matches!(error, Err(KeyStoreError::KeyFile(KeyFileError::Inside { .. }))));
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
}

#[test]
fn a_damaged_key_file_makes_no_header() {
    let place = Place::new();
    fs::write(place.key(), "secretd-key-file-1\n").unwrap();
    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(place.create(), Err(KeyStoreError::KeyFile(KeyFileError::Damaged { .. }))));
    assert!(!exists(&place.dir()));
}

#[test]
fn a_missing_and_a_foreign_header_are_told_apart() {
    let place = Place::new();
    assert!(matches!(place.open(), Err(KeyStoreError::Missing { .. })));
    place.create().unwrap();
    let path = place.dir().join(NAME);
    fs::write(&path, "nonsense").unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign { .. })));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Read { .. })));
}

#[test]
fn a_header_edited_with_care_still_does_not_open() {
    let place = Place::new();
    place.create().unwrap();
    let path = place.dir().join(NAME);
    let mut header = Header::parse(&fs::read(&path).unwrap()).unwrap();
    header.node = NodeId::random();
    fs::write(&path, header.print()).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, KeyStoreError::Open { what: "storage key", .. }), "{error}");
}

#[test]
fn without_a_key_file_the_node_is_locked_until_its_code_comes() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let (autolock, code) = coded(&keys, Method::Autolock);
    let ways = Ways { key_file: false, shared: vec![autolock] };
    assert!(place.settle(&keys, &ways).unwrap());
    assert!(!place.key().exists(), "the key file is gone");
    assert!(!place.settle(&keys, &ways).unwrap(), "there is nothing left to do");

    let mut locked = place.locked();
    assert_eq!((locked.cluster(), locked.node()), (keys.cluster, keys.node));
    let (_, other) = coded(&keys, Method::Autolock);
    let error = locked.unlock(given(&other), None).unwrap_err();
    assert!(matches!(error, UnlockError::Unknown { .. }), "{error}");
    let error = locked.unlock(Given::Passphrase(Plaintext::new(b"please".to_vec())), None);
    assert!(matches!(error, Err(UnlockError::NoPassphrase)), "{error:?}");
    assert!(same(&keys, &opened(locked.unlock(given(&code), None).unwrap())));

    assert!(place.settle(&keys, &Ways::key_file()).unwrap());
    assert!(same(&keys, &place.open().unwrap()), "with a new key file it opens by itself");
}

#[test]
fn any_one_of_several_unlockers_opens() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let (recovery, paper) = coded(&keys, Method::Recovery);
    let (key, id) = (Key::random(), UnlockerId::random());
    let method = Method::Shamir { shares: 3, threshold: 2 };
    let shared = shares::split(&key, 3, 2);
    let shamir = Unlocker::new(keys.cluster, id, method, &key, &keys.root);
    let cost = Cost { memory_kib: 64, passes: 1, ..Cost::new() };
    let words = || Plaintext::new(b"correct horse battery".to_vec());
    let phrase = Unlocker::new(
        keys.cluster,
        UnlockerId::random(),
        Method::Passphrase(cost.clone()),
        &cost.key(&words()).unwrap(),
        &keys.root,
    );
    let ways = Ways { key_file: true, shared: vec![recovery, shamir, phrase] };
    place.settle(&keys, &ways).unwrap();
    assert!(same(&keys, &place.open().unwrap()));

    // The key file is lost: it says so, and each of the others opens alone.
    fs::remove_file(place.key()).unwrap();
    let mut locked = place.locked();
    assert!(locked.why()[0].starts_with("there is no key file at "), "{:?}", locked.why());
    assert!(same(&keys, &opened(locked.unlock(given(&paper), None).unwrap())));
    assert!(same(&keys, &opened(locked.unlock(Given::Passphrase(words()), None).unwrap())));
    let wrong = Given::Passphrase(Plaintext::new(b"correct horse batter".to_vec()));
    assert!(matches!(locked.unlock(wrong, None), Err(UnlockError::Wrong { .. })));
    let share = |at: usize| given(&code::print_share(id, &shared[at]));
    for _ in 0..2 {
        let first = locked.unlock(share(2), None).unwrap();
        assert!(matches!(first, Progress::Shares { given: 1, needed: 2 }), "twice is once");
    }
    assert!(same(&keys, &opened(locked.unlock(share(0), None).unwrap())));
}

#[test]
fn shares_that_do_not_belong_together_are_forgotten() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let (key, id) = (Key::random(), UnlockerId::random());
    let method = Method::Shamir { shares: 3, threshold: 2 };
    let (good, bad) = (shares::split(&key, 3, 2), shares::split(&Key::random(), 3, 2));
    let shamir = Unlocker::new(keys.cluster, id, method, &key, &keys.root);
    place.settle(&keys, &Ways { key_file: false, shared: vec![shamir] }).unwrap();
    let mut locked = place.locked();
    let mut give =
        |share: &shares::Share| locked.unlock(given(&code::print_share(id, share)), None);
    give(&bad[0]).unwrap();
    assert!(matches!(give(&good[1]), Err(UnlockError::WrongShares)));
    give(&good[1]).unwrap();
    assert!(same(&keys, &opened(give(&good[2]).unwrap())));
}

#[test]
fn of_several_passphrases_one_has_to_be_named() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let cost = Cost { memory_kib: 64, passes: 1, ..Cost::new() };
    let words = |text: &str| Plaintext::new(text.as_bytes().to_vec());
    let phrase = |text: &str| {
        Unlocker::new(
            keys.cluster,
            UnlockerId::random(),
            Method::Passphrase(cost.clone()),
            &cost.key(&words(text)).unwrap(),
            &keys.root,
        )
    };
    let (one, two) = (phrase("one"), phrase("two"));
    let id = two.id;
    place.settle(&keys, &Ways { key_file: false, shared: vec![one, two] }).unwrap();
    let mut locked = place.locked();
    let error = locked.unlock(Given::Passphrase(words("two")), None).unwrap_err();
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    let keys_again = opened(locked.unlock(Given::Passphrase(words("two")), Some(id)).unwrap());
    assert!(same(&keys, &keys_again));
}

#[test]
fn another_nodes_key_file_stays_where_it_is() {
    let place = Place::new();
    let keys = place.create().unwrap();
    fs::remove_file(place.key()).unwrap();
    file::create(&place.key()).unwrap();
    let (autolock, _) = coded(&keys, Method::Autolock);
    place.settle(&keys, &Ways { key_file: false, shared: vec![autolock] }).unwrap();
    assert!(place.key().exists());
}

/// What a thief has who took the header and got hold of what opened it then.
fn stolen(place: &Place, code: &Plaintext) -> (Vec<u8>, Unlocked) {
    let bytes = fs::read(place.dir().join(NAME)).unwrap();
    (bytes, opened(place.locked().unlock(given(code), None).unwrap()))
}

#[test]
fn after_the_root_key_was_replaced_an_old_header_and_a_removed_unlocker_open_nothing_new() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let ((gone, gone_code), (kept, kept_code)) =
        (coded(&keys, Method::Autolock), coded(&keys, Method::Recovery));
    place
        .settle(&keys, &Ways { key_file: false, shared: vec![gone.clone(), kept.clone()] })
        .unwrap();
    let (header, thief) = stolen(&place, &gone_code);
    let before = keys.storage.seal(b"row", b"before");
    assert_eq!(thief.storage.open(b"row", &before).unwrap(), b"before");

    let ways = Ways { key_file: false, shared: vec![kept] };
    place.settle(&keys, &ways).unwrap();
    let next = Arc::new(Key::<Root>::random());
    prepare(&place.dir(), &keys, &ways, &next).unwrap();
    // A restart in between has both, by the same code.
    let again = opened(place.locked().unlock(given(&kept_code), None).unwrap());
    assert!(same(&again, &keys) && again.next[0].id(keys.cluster) == next.id(keys.cluster));
    let read = Header::parse(&fs::read(place.dir().join(NAME)).unwrap()).unwrap();
    assert!(read.next.iter().all(|one| one.id != gone.id), "nothing new under what was removed");

    let shared = ways.shared.iter().map(|one| one.resealed(keys.cluster, &next).unwrap()).collect();
    let ways = Ways { key_file: false, shared };
    assert!(turn_to(&place.dir(), &again, &ways, &next).unwrap());
    assert!(!lies_under(&place.dir(), &keys.root) && lies_under(&place.dir(), &next));
    let turned = Unlocked { root: Arc::clone(&next), next: Vec::new(), ..again };
    assert!(!turn_to(&place.dir(), &turned, &ways, &next).unwrap(), "once is enough");
    let after = turned.storage.seal(b"row", b"after");
    thief.storage.open(b"row", &after).unwrap_err();
    assert_eq!(turned.storage.open(b"row", &before).unwrap(), b"before", "until it is gone");
    forget_older(&place.dir(), &turned).unwrap();
    turned.storage.open(b"row", &before).unwrap_err();

    // The new header opens with what is left, and neither with what was removed nor with the root key before.
    let mut locked = place.locked();
    assert!(matches!(locked.unlock(given(&gone_code), None), Err(UnlockError::Unknown { .. })));
    let now = opened(locked.unlock(given(&kept_code), None).unwrap());
    assert_eq!(now.storage.open(b"row", &after).unwrap(), b"after");
    assert!(now.next.is_empty() && !now.storage.has_older());
    // The old header beside the new rest of the disk.
    fs::write(place.dir().join(NAME), header).unwrap();
    for code in [&gone_code, &kept_code] {
        let old = opened(place.locked().unlock(given(code), None).unwrap());
        old.storage.open(b"row", &after).unwrap_err();
        assert!(old.root.id(keys.cluster) != next.id(keys.cluster) && old.next.is_empty());
    }
}

#[test]
fn a_key_file_that_is_elsewhere_opens_the_next_root_key_too() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let away = place.root.path().join("stick");
    fs::rename(place.key(), &away).unwrap();
    let next = Arc::new(Key::<Root>::random());
    prepare(&place.dir(), &keys, &Ways::key_file(), &next).unwrap();
    turn_to(&place.dir(), &keys, &Ways::key_file(), &next).unwrap();
    fs::rename(&away, place.key()).unwrap();
    let now = place.open().unwrap();
    assert_eq!(now.root.id(keys.cluster), next.id(keys.cluster));
    assert_eq!(now.storage.open(b"", &keys.storage.seal(b"", b"x")).unwrap(), b"x");
}

#[test]
fn whoever_puts_a_way_of_his_own_into_the_header_is_given_no_root_key() {
    let place = Place::new();
    let keys = place.create().unwrap();
    let path = place.dir().join(NAME);
    let mut header = Header::parse(&fs::read(&path).unwrap()).unwrap();
    header.unlockers[0].recipient = crate::crypto::unlock::recipient::Recipient::of(&Key::random());
    fs::write(&path, header.print()).unwrap();
    let next = Key::<Root>::random();
    let error = prepare(&place.dir(), &keys, &Ways::key_file(), &next).unwrap_err();
    assert!(matches!(error, KeyStoreError::Open { what: "storage key", .. }), "{error}");
    turn_to(&place.dir(), &keys, &Ways::key_file(), &next).unwrap_err();
    settle(&place.dir(), &place.key(), &keys, &Ways::key_file()).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), header.print());
}
