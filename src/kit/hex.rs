//! Bytes as lower-case hexadecimal digits, written and read in place: what goes through here may be a key.

use std::fmt::{self, Write as _};

/// Shows bytes that are not secret.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Appends two digits for each byte. Room for them is the caller's business: growing leaves copies behind.
pub fn push(text: &mut String, bytes: &[u8]) {
    write!(text, "{}", Hex(bytes)).expect("strings take everything");
}

/// Fills `out` from exactly twice as many digits; nothing if they are not that.
#[must_use]
pub fn read(text: &str, out: &mut [u8]) -> Option<()> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_back_from_their_digits() {
        let mut text = String::new();
        push(&mut text, &[0, 0x5f, 0xff]);
        assert_eq!(text, "005fff");
        let mut out = [0; 3];
        read(&text, &mut out).unwrap();
        assert_eq!(out, [0, 0x5f, 0xff]);
    }

    #[test]
    fn other_lengths_and_other_digits_are_refused() {
        for text in ["", "0", "005", "00ff0", "00fF", "0x00", "é0"] {
            assert_eq!(read(text, &mut [0; 2]), None, "{text}");
        }
    }
}
