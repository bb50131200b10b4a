//! The protobuf field that carries a payload: moved in from and out to [`Plaintext`], wiped when dropped, never printed.
//!
//! The bytes themselves also pass through buffers of HTTP/2 and the codec, which are wiped only when they are freed.

use super::v1::Payload;
use crate::crypto::plaintext::{Plaintext, wipe};
use std::{fmt, mem};

impl Payload {
    /// Fills the message for sending. A `Plaintext` gives nothing away, so this is the one copy; both ends wipe theirs.
    pub fn carry(plain: &Plaintext) -> Self {
        Self { data: plain.expose().to_vec() }
    }

    /// Takes the bytes that came, as they are, without copying.
    pub fn into_plaintext(mut self) -> Plaintext {
        Plaintext::new(mem::take(&mut self.data))
    }

    pub fn len(&self) -> usize {
        self.data.len()
    }

    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        wipe(&mut self.data);
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(..)")
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::v1;
    use prost::Message;

    const CANARY: &[u8] = b"canary-7f3a";

    #[test]
    fn bytes_move_from_the_wire_into_plaintext_without_a_copy() {
        let wire = v1::Payload { data: CANARY.to_vec() }.encode_to_vec();
        let payload = v1::Payload::decode(wire.as_slice()).unwrap();
        let at = payload.data.as_ptr();
        let plain = payload.into_plaintext();
        assert_eq!(plain.expose().as_ptr(), at);
        assert_eq!(plain.expose(), CANARY);
        assert_eq!(v1::Payload::carry(&plain).data, CANARY);
    }

    #[test]
    fn no_message_prints_its_payload() {
        let request = v1::CreateObjectRequest {
            payload: Some(v1::Payload { data: CANARY.to_vec() }),
            ..Default::default()
        };
        let answer = v1::UnlockRequest {
            key: Some(v1::Payload { data: CANARY.to_vec() }),
            ..Default::default()
        };
        for text in [format!("{request:?}"), format!("{answer:#?}")] {
            assert!(text.contains("Payload(..)"), "{text}");
            assert!(!text.contains("canary"), "{text}");
            assert!(!text.contains("99, 97, 110"), "{text}");
        }
    }
}
