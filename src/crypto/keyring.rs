//! The cluster's terms: keys that wrap data keys, themselves wrapped by the root key.

use super::{
    OpenError,
    context::Context,
    envelope::{self, Binding},
    key::{Key, Payload, Root, Wrap},
    plaintext::Plaintext,
    proof::{Comparing, Opening, Proof as _},
    seal::{Sealed, WrappedKey},
};
use crate::kit::{clock::Timestamp, id::ClusterId};
use std::{collections::BTreeMap, fmt};
use subtle::ConstantTimeEq;

/// One term as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedTerm {
    /// 1, 2, 3, …
    pub term: u32,
    pub created_at: Timestamp,
    /// The term's key, sealed to the root key.
    pub wrapped: Vec<u8>,
}

/// The opened terms of one cluster; the last seals, all of them open.
pub struct Keyring {
    cluster: ClusterId,
    /// By number. Never empty; the oldest go when nothing lies under them any more.
    terms: BTreeMap<u32, Key<Wrap>>,
}

impl Keyring {
    /// Makes a keyring with its first term, and the form of it to store; when it was made is for the store to say.
    pub fn generate(root: &Key<Root>, cluster: ClusterId) -> (Self, Vec<WrappedTerm>) {
        let key = Key::random();
        let wrapped = vec![wrap(root, cluster, 1, &key)];
        (Self { cluster, terms: BTreeMap::from([(1, key)]) }, wrapped)
    }

    /// Makes the term that follows the stored ones, which begins to seal once it is stored.
    pub fn next_term(root: &Key<Root>, cluster: ClusterId, stored: &[WrappedTerm]) -> WrappedTerm {
        let last = stored.last().map_or(0, |last| last.term);
        wrap(root, cluster, last.saturating_add(1), &Key::random())
    }

    /// Opens the stored terms of `cluster`; the last is the active one.
    ///
    /// # Errors
    /// No terms or terms out of order, another root key, another cluster, damaged bytes.
    pub fn open(
        root: &Key<Root>,
        cluster: ClusterId,
        wrapped: &[WrappedTerm],
    ) -> Result<Self, OpenError> {
        let mut terms = BTreeMap::new();
        let mut last = 0;
        for WrappedTerm { term, created_at: _, wrapped } in wrapped {
            if *term <= last {
                return Err(OpenError::Terms);
            }
            last = *term;
            terms.insert(last, root.unwrap(term_binding(cluster, last), wrapped)?);
        }
        if terms.is_empty() {
            return Err(OpenError::Terms);
        }
        Ok(Self { cluster, terms })
    }

    /// The stored terms under another root key, and one more after them that nobody has had.
    ///
    /// # Errors
    /// [`OpenError::UnknownTerm`]: a stored one that this keyring does not hold.
    pub fn moved(
        &self,
        root: &Key<Root>,
        stored: &[WrappedTerm],
    ) -> Result<Vec<WrappedTerm>, OpenError> {
        let moved = stored.iter().map(|WrappedTerm { term, created_at, wrapped: _ }| {
            let key = self.terms.get(term).ok_or(OpenError::UnknownTerm(*term))?;
            let created_at = *created_at;
            Ok(WrappedTerm { created_at, ..wrap(root, self.cluster, *term, key) })
        });
        let mut moved = moved.collect::<Result<Vec<_>, OpenError>>()?;
        moved.push(Self::next_term(root, self.cluster, stored));
        Ok(moved)
    }

    /// A keyring of this one term.
    #[cfg(test)]
    pub(super) fn of(cluster: ClusterId, term: Key<Wrap>) -> Self {
        Self { cluster, terms: BTreeMap::from([(1, term)]) }
    }

    /// Returns the number of the term that seals.
    pub fn active(&self) -> u32 {
        *self.last().0
    }

    /// Whether it opens what was sealed under this term.
    pub fn holds(&self, term: u32) -> bool {
        self.terms.contains_key(&term)
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Seals a payload under a new data key and the active term; the plaintext is wiped.
    pub fn seal(&self, context: &Context, plain: Plaintext) -> Sealed {
        let data_key = Key::<Payload>::random();
        let body = envelope::seal(data_key.bytes(), context.payload_binding(), plain.expose());
        let WrappedKey { term, wrapped } = self.wrap(context, &data_key);
        Sealed { term, wrapped_key: wrapped, body }
    }

    /// Opens a payload that was sealed for exactly what the proof is about.
    ///
    /// # Errors
    /// An unknown term, another context, another key, damaged bytes.
    pub fn open_sealed(&self, proof: Opening, sealed: &Sealed) -> Result<Plaintext, OpenError> {
        self.open_at(&proof.into_context(), sealed)
    }

    /// Opens the private key of the cluster's CA, which is sealed for that alone: no other payload comes out here.
    ///
    /// # Errors
    /// An unknown term, another context, another key, damaged bytes.
    pub fn open_authority_key(&self, sealed: &Sealed) -> Result<Plaintext, OpenError> {
        self.open_at(&Context::authority_key(self.cluster), sealed)
    }

    /// Makes sure that a payload opens for this context, and returns how long it is. What is opened for it never
    /// leaves.
    ///
    /// # Errors
    /// An unknown term, another context, another key, damaged bytes.
    pub fn check(&self, context: &Context, sealed: &Sealed) -> Result<usize, OpenError> {
        self.open_at(context, sealed).map(|plain| plain.len())
    }

    /// The lock behind the doors; nobody outside this floor holds its key.
    pub(super) fn open_at(
        &self,
        context: &Context,
        sealed: &Sealed,
    ) -> Result<Plaintext, OpenError> {
        let Sealed { term, wrapped_key, body } = sealed;
        let data_key = self.unwrap(context, *term, wrapped_key)?;
        envelope::open(data_key.bytes(), context.payload_binding(), body).map(Plaintext::from)
    }

    /// Moves a data key that was wrapped for exactly this context under the active term; the payload stays as it is.
    ///
    /// # Errors
    /// An unknown term, another context, another key, damaged bytes.
    pub fn rewrap(&self, context: &Context, key: &WrappedKey) -> Result<WrappedKey, OpenError> {
        let WrappedKey { term, wrapped } = key;
        Ok(self.wrap(context, &self.unwrap(context, *term, wrapped)?))
    }

    fn wrap(&self, context: &Context, data_key: &Key<Payload>) -> WrappedKey {
        let (&term, key) = self.last();
        WrappedKey { term, wrapped: key.wrap(context.data_key_binding(term), data_key) }
    }

    fn unwrap(
        &self,
        context: &Context,
        term: u32,
        wrapped: &[u8],
    ) -> Result<Key<Payload>, OpenError> {
        let key = self.terms.get(&term).ok_or(OpenError::UnknownTerm(term))?;
        key.unwrap(context.data_key_binding(term), wrapped)
    }

    fn last(&self) -> (&u32, &Key<Wrap>) {
        self.terms.last_key_value().expect("never empty")
    }

    /// Tells whether a payload that was sealed for what the proof is about is `plain`, in a time that depends on its
    /// size only. What is opened for it never leaves.
    ///
    /// # Errors
    /// As [`Keyring::open_sealed`].
    pub fn is_same(
        &self,
        proof: Comparing,
        sealed: &Sealed,
        plain: &Plaintext,
    ) -> Result<bool, OpenError> {
        self.is_same_at(&proof.into_context(), sealed, plain)
    }

    fn is_same_at(
        &self,
        context: &Context,
        sealed: &Sealed,
        plain: &Plaintext,
    ) -> Result<bool, OpenError> {
        let opened = self.open_at(context, sealed)?;
        Ok(opened.expose().ct_eq(plain.expose()).into())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("cluster", &self.cluster)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

pub(super) fn term_binding(cluster: ClusterId, term: u32) -> Binding {
    Binding::new("secretd/term/1").field(cluster.as_str().as_bytes()).field(&term.to_be_bytes())
}

fn wrap(root: &Key<Root>, cluster: ClusterId, term: u32, key: &Key<Wrap>) -> WrappedTerm {
    let wrapped = root.wrap(term_binding(cluster, term), key);
    WrappedTerm { term, created_at: Timestamp(0), wrapped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::context::Subject, kit::id::ObjectId};
    use proptest::prelude::*;

    fn context() -> Context {
        Context {
            cluster: ClusterId::from_random([1; 17]),
            subject: Subject::Secret,
            object: ObjectId::from_random([2; 17]),
            name: "db-password".into(),
            version: 1,
        }
    }

    fn plain(text: &str) -> Plaintext {
        Plaintext::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_stored_keyring_opens_what_the_first_one_sealed() {
        let root = Key::random();
        let (keyring, stored) = Keyring::generate(&root, context().cluster);
        let sealed = keyring.seal(&context(), plain("hunter2"));
        drop(keyring);
        let again = Keyring::open(&root, context().cluster, &stored).unwrap();
        assert_eq!(again.open_at(&context(), &sealed).unwrap().expose(), b"hunter2");
    }

    #[test]
    fn equal_payloads_are_told_from_others() {
        let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
        let sealed = keyring.seal(&context(), plain("hunter2"));
        for (other, same) in [("hunter2", true), ("hunter3", false), ("hunter", false), ("", false)]
        {
            assert_eq!(keyring.is_same_at(&context(), &sealed, &plain(other)), Ok(same), "{other}");
        }
        let moved = Context { version: 2, ..context() };
        assert_eq!(
            keyring.is_same_at(&moved, &sealed, &plain("hunter2")),
            Err(OpenError::Mismatch)
        );
    }

    #[test]
    fn old_terms_open_and_the_last_one_seals() {
        let root = Key::random();
        let cluster = context().cluster;
        let (first, mut stored) = Keyring::generate(&root, cluster);
        let old = first.seal(&context(), plain("old"));
        stored.push(wrap(&root, cluster, 2, &Key::random()));
        let both = Keyring::open(&root, cluster, &stored).unwrap();
        assert_eq!(both.open_at(&context(), &old).unwrap().expose(), b"old");
        let new = both.seal(&context(), plain("new"));
        assert_eq!((old.term, new.term), (1, 2));
        assert_eq!(first.open_at(&context(), &new).unwrap_err(), OpenError::UnknownTerm(2));
    }

    #[test]
    fn a_payload_cannot_be_moved_to_another_context() {
        let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
        let sealed = keyring.seal(&context(), plain("hunter2"));
        for other in [
            Context { cluster: ClusterId::random(), ..context() },
            Context { subject: Subject::Config, ..context() },
            Context { object: ObjectId::random(), ..context() },
            Context { name: "other".into(), ..context() },
            Context { version: 2, ..context() },
        ] {
            let error = keyring.open_at(&other, &sealed).unwrap_err();
            assert_eq!(error, OpenError::Mismatch, "{other:?}");
        }
    }

    #[test]
    fn a_body_does_not_open_under_the_data_key_of_another() {
        let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
        let (a, b) = (keyring.seal(&context(), plain("a")), keyring.seal(&context(), plain("b")));
        let mixed = Sealed { body: b.body, ..a };
        assert_eq!(keyring.open_at(&context(), &mixed).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn a_data_key_does_not_open_under_another_number_of_term() {
        let root = Key::random();
        let cluster = context().cluster;
        let key = Key::random();
        let stored = [wrap(&root, cluster, 1, &key), wrap(&root, cluster, 2, &key)];
        let keyring = Keyring::open(&root, cluster, &stored).unwrap();
        let sealed = keyring.seal(&context(), plain("x"));
        let moved = Sealed { term: 1, ..sealed };
        assert_eq!(keyring.open_at(&context(), &moved).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn terms_out_of_order_missing_or_foreign_are_refused() {
        let root = Key::random();
        let cluster = context().cluster;
        let (_, stored) = Keyring::generate(&root, cluster);
        let two = wrap(&root, cluster, 2, &Key::random());
        let refused = |cluster, terms: &[WrappedTerm]| {
            Keyring::open(&root, cluster, terms).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused(cluster, &[]), OpenError::Terms);
        assert_eq!(refused(cluster, &[two.clone(), stored[0].clone()]), OpenError::Terms);
        assert_eq!(refused(cluster, &[wrap(&root, cluster, 0, &Key::random())]), OpenError::Terms);
        assert_eq!(refused(cluster, &[stored[0].clone(), stored[0].clone()]), OpenError::Terms);
        let renamed = WrappedTerm { term: 1, ..two };
        assert_eq!(refused(cluster, &[renamed]), OpenError::Mismatch);
        assert_eq!(refused(ClusterId::random(), &stored), OpenError::Mismatch);
    }

    #[test]
    fn a_rewrapped_key_opens_the_same_payload_and_the_old_term_is_needed_no_longer() {
        let root = Key::random();
        let cluster = context().cluster;
        let (first, mut stored) = Keyring::generate(&root, cluster);
        let sealed = first.seal(&context(), plain("hunter2"));
        stored.push(Keyring::next_term(&root, cluster, &stored));
        let both = Keyring::open(&root, cluster, &stored).unwrap();
        let moved = both.rewrap(&context(), &sealed.key()).unwrap();
        assert_eq!((both.active(), moved.term), (2, 2));
        let sealed = Sealed::new(moved, sealed.body);
        let alone = Keyring::open(&root, cluster, &stored[1..]).unwrap();
        assert!(alone.holds(2) && !alone.holds(1));
        let opened = alone.open_at(&context(), &sealed).unwrap();
        assert_eq!(opened.expose(), b"hunter2");
        let old = first.seal(&context(), plain("x"));
        assert_eq!(alone.open_at(&context(), &old).unwrap_err(), OpenError::UnknownTerm(1));
        assert_eq!(alone.rewrap(&context(), &old.key()).unwrap_err(), OpenError::UnknownTerm(1));
        assert_eq!(Keyring::next_term(&root, cluster, &stored[1..]).term, 3);
    }

    #[test]
    fn under_another_root_key_all_terms_open_as_before_and_a_new_one_seals() {
        let (root, next) = (Key::random(), Key::random());
        let cluster = context().cluster;
        let (first, mut stored) = Keyring::generate(&root, cluster);
        let sealed = first.seal(&context(), plain("hunter2"));
        stored.push(Keyring::next_term(&root, cluster, &stored));
        let both = Keyring::open(&root, cluster, &stored).unwrap();
        let moved = both.moved(&next, &stored).unwrap();
        assert_eq!(moved.iter().map(|term| term.term).collect::<Vec<_>>(), [1, 2, 3]);
        let after = Keyring::open(&next, cluster, &moved).unwrap();
        assert_eq!(after.open_at(&context(), &sealed).unwrap().expose(), b"hunter2");
        assert_eq!(Keyring::open(&root, cluster, &moved).unwrap_err(), OpenError::Mismatch);
        for term in &moved {
            let alone = std::slice::from_ref(term);
            assert_eq!(Keyring::open(&root, cluster, alone).unwrap_err(), OpenError::Mismatch);
        }
        let new = after.seal(&context(), plain("x"));
        assert_eq!(both.open_at(&context(), &new).unwrap_err(), OpenError::UnknownTerm(3));
        assert_eq!(first.moved(&next, &stored).unwrap_err(), OpenError::UnknownTerm(2));
    }

    #[test]
    fn a_data_key_is_rewrapped_only_for_the_payload_it_belongs_to() {
        let root = Key::random();
        let cluster = context().cluster;
        let (first, mut stored) = Keyring::generate(&root, cluster);
        let sealed = first.seal(&context(), plain("x"));
        stored.push(Keyring::next_term(&root, cluster, &stored));
        let both = Keyring::open(&root, cluster, &stored).unwrap();
        let other = Context { version: 2, ..context() };
        assert_eq!(both.rewrap(&other, &sealed.key()).unwrap_err(), OpenError::Mismatch);
    }

    #[test]
    fn debug_shows_no_key() {
        let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
        let text = format!("{keyring:?}");
        assert!(text.ends_with("active: 1, .. }"), "{text}");
    }

    proptest! {
        #[test]
        fn any_sealed_bytes_are_refused_without_a_panic(
            term in 0..3_u32, wrapped_key: Vec<u8>, body: Vec<u8>,
        ) {
            let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
            let sealed = Sealed { term, wrapped_key, body };
            prop_assert!(keyring.open_at(&context(), &sealed).is_err());
        }

        #[test]
        fn a_flipped_bit_anywhere_is_refused(at: prop::sample::Index, bit in 0..8_u8) {
            let (keyring, _) = Keyring::generate(&Key::random(), context().cluster);
            let mut sealed = keyring.seal(&context(), plain("hunter2"));
            let at = at.index(sealed.wrapped_key.len() + sealed.body.len());
            let byte = match sealed.wrapped_key.len() {
                len if at < len => &mut sealed.wrapped_key[at],
                len => &mut sealed.body[at - len],
            };
            *byte ^= 1 << bit;
            prop_assert!(keyring.open_at(&context(), &sealed).is_err());
        }
    }
}
