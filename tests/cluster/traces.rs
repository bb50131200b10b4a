//! Where a process's memory shows some bytes.

use std::{
    fmt,
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt,
};

/// How many of the bytes before and behind a find are shown: whose they are is often plain to see.
const AROUND: usize = 128;

/// One place where the bytes were found.
#[derive(Debug)]
pub(crate) struct Trace {
    address: u64,
    /// The line of `/proc/<pid>/maps`.
    mapping: String,
    /// The thread whose stack the mapping is, and how far it reaches down at the moment.
    stack: Option<(String, u64)>,
    around: Vec<u8>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, mapping, stack, around } = self;
        write!(f, "at {address:x}, in {mapping}")?;
        if let Some((thread, top)) = stack {
            let what = if address < top { "a frame it has left" } else { "a frame it is in" };
            write!(f, ", the stack of thread {thread}, {what}")?;
        }
        write!(f, ": {}", around.escape_ascii())
    }
}

/// All places of a process's memory that show `wanted`; nothing where we may not look.
pub(crate) fn traces(pid: u32, wanted: &[u8]) -> Option<Vec<Trace>> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut found = Vec::new();
    for mapping in maps.lines() {
        let (range, rest) = mapping.split_once(' ')?;
        if !rest.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let range = hex(from)..hex(to);
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        // Some areas have no memory behind them.
        let Ok(()) = memory.read_exact_at(&mut bytes, range.start) else { continue };
        let first = |at: &usize| bytes[*at] == wanted[0] && bytes[*at..].starts_with(wanted);
        for at in (0..bytes.len()).filter(first) {
            let end = bytes.len().min(at + wanted.len() + AROUND);
            found.push(Trace {
                address: range.start + at as u64,
                mapping: mapping.to_owned(),
                stack: stack_in(pid, &range),
                around: bytes[at.saturating_sub(AROUND)..end].to_vec(),
            });
        }
    }
    Some(found)
}

/// The thread that stands in this part of the memory, and where.
fn stack_in(pid: u32, range: &Range<u64>) -> Option<(String, u64)> {
    fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(Result::ok).find_map(|thread| {
        let read = |name| fs::read_to_string(thread.path().join(name)).ok();
        // Ends with the stack pointer and the program counter; of one that runs just now there is neither.
        let call = read("syscall")?;
        let top = hex(call.split_whitespace().nth_back(1)?.strip_prefix("0x")?);
        range.contains(&top).then(|| (read("comm").unwrap_or_default().trim().to_owned(), top))
    })
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap()
}
