//! A forked child has no key of its parent. A program of its own, without the harness: only one with a single thread may fork.

#![expect(clippy::unwrap_used, reason = "a step that cannot be taken is a failed test")]

use rustix::process::{WaitOptions, waitpid};
use secretd::kit::os::{
    Forked,
    arena::{self, Guard, Slot},
    fork,
};
use std::{fs, os::unix::fs::FileExt as _, process::ExitCode};

/// What to look for, written so that looking for it does not put it into memory.
struct Wanted(Vec<u8>);

impl Wanted {
    fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| !byte).collect())
    }

    /// Whether it is anywhere in what this process can read of itself.
    fn is_in_memory(&self) -> bool {
        let memory = fs::File::open("/proc/self/mem").unwrap();
        let mut found = false;
        for (from, to) in regions("r") {
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // The kernel's own pages and secret memory cannot be read this way.
            if memory.read_exact_at(&mut bytes, from).is_ok() {
                let same = |part: &[u8]| part.iter().zip(&self.0).all(|(a, b)| *a == !*b);
                found |= bytes.windows(self.0.len()).any(same);
            }
            // A copy of what was found must not be found in its turn.
            bytes.fill(0);
            std::hint::black_box(&mut bytes);
        }
        found
    }
}

/// The mappings whose rights start so.
fn regions(rights: &str) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let parse = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        rest.starts_with(rights).then_some((number(from)?, number(to)?))
    };
    maps.lines().filter_map(parse).collect()
}

fn main() -> ExitCode {
    let mut key = Slot::new();
    getrandom::fill(key.bytes_mut()).unwrap();
    let wanted = Wanted::of(key.bytes());
    let mut other = vec![0; 32];
    getrandom::fill(&mut other).unwrap();
    let control = Wanted::of(&other);
    let place = key.bytes().as_ptr() as u64;
    let mapped = || regions("rw").iter().any(|(from, to)| (*from..*to).contains(&place));

    assert!(mapped());
    assert!(control.is_in_memory(), "what is on the heap is found");
    let secret = arena::state().guard == Guard::Secret;
    assert_eq!(wanted.is_in_memory(), !secret, "secret memory is not read through /proc");
    match fork().unwrap() {
        Forked::Child => {
            let clean = control.is_in_memory() && !mapped() && !wanted.is_in_memory();
            // Its destructors would reach for what is not there.
            std::process::exit(if clean { 0 } else { 1 })
        }
        Forked::Parent { child } => {
            let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0), "the child has no key of its parent");
        }
    }
    drop((key, other));
    ExitCode::SUCCESS
}
