//! Encrypts what a node writes to its own disk: log batches, rows of the state file, the vote.
//!
//! `aad` says what the record is and where it stands, in the caller's own unambiguous encoding; a record opens
//! only with the same bytes.

use super::{
    OpenError,
    envelope::{self, Binding},
    key::{Key, Storage},
};

/// How much longer a record is than its plaintext, in bytes.
pub const OVERHEAD: usize = envelope::OVERHEAD;

pub(super) fn binding(aad: &[u8]) -> Binding {
    Binding::new("secretd/record/1").field(aad)
}

/// Seals a record into a buffer of its own.
pub fn seal(key: &Key<Storage>, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    envelope::seal(key.bytes(), binding(aad), plain)
}

/// Appends a sealed record to `out`; allocates only if `out` must grow.
pub fn seal_into(key: &Key<Storage>, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
    envelope::seal_into(key.bytes(), binding(aad), plain, out);
}

/// Opens a record.
///
/// # Errors
/// Another key, another `aad`, damaged bytes, an unknown format.
pub fn open(key: &Key<Storage>, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    open_into(key, aad, sealed, &mut plain)?;
    Ok(plain)
}

/// Appends the plaintext of a record to `out`, which is left as it was if the record does not open.
///
/// # Errors
/// As [`open`].
pub fn open_into(
    key: &Key<Storage>,
    aad: &[u8],
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let at = out.len();
    out.resize(at + envelope::plain_len(sealed)?, 0);
    let opened = envelope::open_to(key.bytes(), binding(aad), sealed, &mut out[at..]);
    if opened.is_err() {
        out.truncate(at);
    }
    opened
}

/// Returns the last 16 bytes of a record, which no other record has: a link for chains of records.
pub fn tag(sealed: &[u8]) -> Option<&[u8; 16]> {
    sealed.last_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_append_to_one_buffer_and_open_one_by_one() {
        let key = Key::random();
        let mut batch = b"head".to_vec();
        seal_into(&key, b"1", b"first", &mut batch);
        let middle = batch.len();
        seal_into(&key, b"2", b"second", &mut batch);
        assert_eq!(middle, 4 + OVERHEAD + 5);
        assert_eq!(open(&key, b"1", &batch[4..middle]).unwrap(), b"first");
        assert_eq!(open(&key, b"2", &batch[middle..]).unwrap(), b"second");
        assert_eq!(open(&key, b"2", &batch[4..middle]), Err(OpenError::Mismatch));
    }

    #[test]
    fn a_refused_record_leaves_the_buffer_alone() {
        let (key, mut out) = (Key::random(), b"kept".to_vec());
        let sealed = seal(&key, b"", b"x");
        open_into(&Key::random(), b"", &sealed, &mut out).unwrap_err();
        assert_eq!(out, b"kept");
        open_into(&key, b"", &sealed, &mut out).unwrap();
        assert_eq!(out, b"keptx");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, aad: Vec<u8>) {
            prop_assert!(open(&Key::random(), &aad, &bytes).is_err());
        }

        #[test]
        fn opening_inverts_sealing(plain: Vec<u8>, aad: Vec<u8>) {
            let key = Key::random();
            prop_assert_eq!(open(&key, &aad, &seal(&key, &aad, &plain)).unwrap(), plain);
        }
    }
}
