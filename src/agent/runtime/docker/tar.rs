//! Reads the first entry of a tar stream: how the engine hands over one file of an image.
//!
//! Nothing is unpacked to disk, and the bytes come from an image nobody vouches for, so every length is checked.

/// One entry, as far as we care.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(Vec<u8>),
    /// A symbolic link, with its text.
    Link(String),
    /// A directory, a device, …
    Other,
}

/// Bytes that are not a tar archive, or one that ends too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's archive is damaged")]
pub(super) struct BadTar;

const BLOCK: usize = 512;

/// Returns the first real entry; extended headers before it are skipped.
pub(super) fn first_entry(tar: &[u8]) -> Result<Entry, BadTar> {
    let mut at = 0;
    let mut long_link = None;
    loop {
        let header = tar.get(at..at + BLOCK).ok_or(BadTar)?;
        if header.iter().all(|b| *b == 0) {
            return Err(BadTar);
        }
        let size = number(&header[124..136])?;
        let from = at + BLOCK;
        let to = from.checked_add(size).ok_or(BadTar)?;
        match header[156] {
            // PAX and GNU headers: names we do not need, except where a link leads.
            kind @ (b'x' | b'g' | b'L' | b'K') => {
                let body = tar.get(from..to).ok_or(BadTar)?;
                if kind == b'K' {
                    long_link = Some(text(body)?);
                } else if kind == b'x' {
                    long_link = pax_link(body).or(long_link);
                }
                at = to.checked_next_multiple_of(BLOCK).ok_or(BadTar)?;
            }
            b'0' | 0 => return Ok(Entry::File(tar.get(from..to).ok_or(BadTar)?.to_vec())),
            b'2' => {
                return Ok(Entry::Link(match long_link {
                    Some(link) => link,
                    None => text(&header[157..257])?,
                }));
            }
            _ => return Ok(Entry::Other),
        }
    }
}

/// Text up to the first NUL.
fn text(field: &[u8]) -> Result<String, BadTar> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).map_err(|_| BadTar)
}

/// An octal field, padded with spaces or NULs. The binary form is for files of 8 GiB and more: none of ours.
fn number(field: &[u8]) -> Result<usize, BadTar> {
    let text = std::str::from_utf8(field).map_err(|_| BadTar)?;
    let digits = text.trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() {
        return Ok(0);
    }
    usize::from_str_radix(digits, 8).map_err(|_| BadTar)
}

/// `linkpath` of a PAX header: records of the form `LENGTH KEY=VALUE\n`.
fn pax_link(mut body: &[u8]) -> Option<String> {
    while !body.is_empty() {
        let space = body.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&body[..space]).ok()?.parse().ok()?;
        let record = body.get(space + 1..length)?;
        if let Some(value) = record.strip_prefix(b"linkpath=") {
            return String::from_utf8(value.strip_suffix(b"\n")?.to_vec()).ok();
        }
        body = &body[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: u8, size: usize, link: &str) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..6].copy_from_slice(b"passwd");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header
    }

    fn padded(body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(BLOCK), 0);
        body
    }

    #[test]
    fn a_file_comes_out_as_it_went_in() {
        let tar = [header(b'0', 5, ""), padded(b"hello")].concat();
        assert_eq!(first_entry(&tar), Ok(Entry::File(b"hello".to_vec())));
    }

    #[test]
    fn a_link_tells_where_it_leads_also_when_the_text_is_long() {
        assert_eq!(first_entry(&header(b'2', 0, "../x")), Ok(Entry::Link("../x".into())));
        let pax = b"22 linkpath=/long/way\n";
        let tar = [header(b'x', pax.len(), ""), padded(pax), header(b'2', 0, "cut")].concat();
        assert_eq!(first_entry(&tar), Ok(Entry::Link("/long/way".into())));
        let tar = [header(b'K', 5, ""), padded(b"/gnu\0"), header(b'2', 0, "cut")].concat();
        assert_eq!(first_entry(&tar), Ok(Entry::Link("/gnu".into())));
    }

    #[test]
    fn an_archive_that_ends_too_soon_is_damaged() {
        assert_eq!(first_entry(&[]), Err(BadTar));
        assert_eq!(first_entry(&[0; 1024]), Err(BadTar));
        assert_eq!(first_entry(&header(b'0', 5, "")), Err(BadTar));
        assert_eq!(first_entry(&header(b'5', 0, "")), Ok(Entry::Other));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..1200), kind in any::<u8>()) {
            drop(first_entry(&body));
            let mut tar = header(kind, body.len() / 2, "");
            tar.extend(&body);
            drop(first_entry(&tar));
            drop(pax_link(&body));
        }
    }
}
