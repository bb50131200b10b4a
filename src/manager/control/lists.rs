//! Pages: as much of a list as fits comfortably into one message, and where the next page starts.

use crate::{model::filter::Filters, wire::v1};
use prost::Message;
use tonic::Status;

/// Entries of one page, at most.
const PAGE_ENTRIES: usize = 1000;
/// Bytes of one page, about; a single larger entry is sent alone. Well below `kit::limits::MESSAGE_SIZE`.
const PAGE_BYTES: usize = 1024 * 1024;

/// One page of a list.
pub(super) struct Cut<M> {
    pub(super) entries: Vec<M>,
    /// Empty: this was the last page.
    pub(super) next: String,
}

/// Cuts the page that was asked for out of the whole list.
///
/// A token says how many entries have been shown and which was the last. When the list has changed meanwhile, the page
/// goes on after that entry if it is still there, else at the same distance from the start.
pub(super) fn cut<T, M: Message>(
    all: &[T],
    page: Option<v1::Page>,
    id: impl Fn(&T) -> &str,
    message: impl Fn(&T) -> M,
) -> Result<Cut<M>, Status> {
    let v1::Page { token, size } = page.unwrap_or_default();
    let start = start(all, &token, &id)?;
    let size = match usize::try_from(size).unwrap_or(PAGE_ENTRIES) {
        0 => PAGE_ENTRIES,
        wanted => wanted.min(PAGE_ENTRIES),
    };
    let mut entries = Vec::new();
    let mut bytes = 0;
    for entry in all.iter().skip(start).take(size) {
        let entry = message(entry);
        bytes += entry.encoded_len();
        if bytes > PAGE_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    let end = start + entries.len();
    let next = match end.checked_sub(1).and_then(|last| all.get(last)) {
        Some(last) if end < all.len() => format!("{end}:{}", id(last)),
        _ => String::new(),
    };
    Ok(Cut { entries, next })
}

fn start<T>(all: &[T], token: &str, id: impl Fn(&T) -> &str) -> Result<usize, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    let bad = || Status::invalid_argument("page.token: must be one that a list gave");
    let (end, last) = token.split_once(':').ok_or_else(bad)?;
    let end: usize = end.parse().map_err(|_| bad())?;
    match all.iter().position(|entry| id(entry) == last) {
        Some(at) => Ok(at + 1),
        None => Ok(end.min(all.len())),
    }
}

/// Filters as the store reads them.
pub(super) fn filters(filters: Vec<v1::Filter>) -> Filters {
    filters.into_iter().map(|v1::Filter { key, value }| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: &str, size: u32) -> Option<v1::Page> {
        Some(v1::Page { token: token.to_owned(), size })
    }

    fn filter(name: &&str) -> v1::Filter {
        v1::Filter { key: (*name).to_owned(), value: String::new() }
    }

    fn read(all: &[&str], token: &str, size: u32) -> (Vec<String>, String) {
        let Cut { entries, next } = cut(all, page(token, size), |name| name, filter).unwrap();
        (entries.into_iter().map(|entry| entry.key).collect(), next)
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let all = ["a", "b", "c", "d", "e"];
        let (first, token) = read(&all, "", 2);
        let (second, token) = read(&all, &token, 2);
        let (third, end) = read(&all, &token, 2);
        assert_eq!([first, second, third].concat(), all);
        assert_eq!(end, "");
        assert_eq!(read(&[], "", 2), (vec![], String::new()));
    }

    #[test]
    fn a_list_that_changed_goes_on_where_it_was_left() {
        let (_, token) = read(&["a", "b", "c", "d"], "", 2);
        assert_eq!(read(&["b", "c", "d"], &token, 9).0, ["c", "d"]);
        assert_eq!(read(&["a", "c", "d"], &token, 9).0, ["d"]);
        assert_eq!(read(&[], &token, 9).0, Vec::<String>::new());
    }

    #[test]
    fn a_page_stays_below_its_size_and_one_large_entry_goes_alone() {
        let big = "x".repeat(700 * 1024);
        let huge = "y".repeat(3 * 1024 * 1024);
        let all = [big.as_str(), huge.as_str(), "z"];
        let (first, token) = read(&all, "", 0);
        assert_eq!(first.len(), 1);
        let (second, token) = read(&all, &token, 0);
        assert_eq!(second.len(), 1);
        assert_eq!(read(&all, &token, 0).0, ["z"]);
    }

    #[test]
    fn a_token_of_nobody_is_refused() {
        for bad in ["x", "x:y", ":", "-1:a"] {
            assert!(cut(&["a"], page(bad, 0), |name| name, filter).is_err(), "{bad}");
        }
    }
}
