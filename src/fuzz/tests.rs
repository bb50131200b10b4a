//! Runs every target on mutations of what is really written, from one seed: `SECRETD_FUZZ_SEED` chooses it,
//! `SECRETD_FUZZ_INPUTS` how many inputs each target gets; `scripts/soak` takes many.

use super::{Decoder, TARGETS};
use crate::kit::testing::SplitMix;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Instant,
};

/// Longer inputs find nothing that these do not.
const LONGEST: usize = 8192;

struct Draw(SplitMix);

impl Draw {
    fn number(&mut self) -> u64 {
        self.0.number()
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.number() & 0xff).unwrap()
    }

    /// Protobuf of no message in particular: small field numbers, every wire type, messages within messages.
    fn message(&mut self, depth: usize, out: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            let field = u8::try_from(1 + self.below(15)).unwrap();
            let kind = [0, 2, 2, 2, 1, 5][self.below(6)];
            out.push(field << 3 | kind);
            match kind {
                0 => out.extend([0x80 | self.byte(), 0x01][self.below(2)..].iter()),
                1 => out.extend(self.number().to_le_bytes()),
                5 => out.extend(&self.number().to_le_bytes()[..4]),
                _ => {
                    let mut inner = Vec::new();
                    match self.below(3) {
                        0 if depth > 0 => self.message(depth - 1, &mut inner),
                        1 => inner.extend(b"0123456789abcdefghijklmno"),
                        _ => inner.extend((0..self.below(40)).map(|_| self.byte())),
                    }
                    inner.truncate(127);
                    out.push(u8::try_from(inner.len()).unwrap());
                    out.extend(inner);
                }
            }
        }
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = match self.below(8) {
            0 => Vec::new(),
            1 => {
                let mut made = Vec::new();
                self.message(4, &mut made);
                made
            }
            _ => seeds[self.below(seeds.len())].clone(),
        };
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(24)).min(bytes.len());
            match self.below(8) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => {
                    bytes[at] = [0, 1, 0x7f, 0x80, 0xff, self.byte()][self.below(6)];
                }
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..end.max(at))),
                5 => {
                    let copy = bytes[at..end.max(at)].to_vec();
                    bytes.splice(at..at, copy);
                }
                6 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let until = (from + self.below(200)).min(other.len());
                    bytes.splice(at..at, other[from..until].iter().copied());
                }
                _ => {
                    let new: Vec<u8> = (0..self.below(9)).map(|_| self.byte()).collect();
                    bytes.splice(at..at, new);
                }
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Everything in the golden files that is bytes, and their texts.
fn golden() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for folder in fs::read_dir(root().join("tests/formats")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for (_, value) in text.lines().filter_map(|line| line.split_once(':')) {
                let value = value.trim();
                let hex = value.len() % 2 == 0 && value.bytes().all(|b| b.is_ascii_hexdigit());
                if hex && !value.is_empty() {
                    let byte = |at| u8::from_str_radix(&value[at..at + 2], 16).unwrap();
                    seeds.push((0..value.len()).step_by(2).map(byte).collect());
                } else {
                    seeds.push(value.as_bytes().to_vec());
                }
            }
        }
    }
    seeds
}

fn below(dir: &Path, ends: &str, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, ends, found);
        } else if path.extension().is_some_and(|end| end == ends) {
            found.push(fs::read(&path).unwrap());
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    match target {
        "compose" => below(&root().join("examples"), "yaml", &mut seeds),
        "words" => {
            let words = ["node.role == worker", "1h30m", "10:0x1f", "/run/secrets/a", "a-b.c_d"];
            seeds.extend(words.map(|word| word.as_bytes().to_vec()));
        }
        "key_file" | "join_token" | "certificate" | "code" => seeds = golden(),
        _ => {
            seeds = golden();
            for seed in 0..24 {
                let samples = crate::wire::convert::samples(seed);
                seeds.extend(crate::raft::fuzz::seeds(&samples[0], &samples[1]));
                seeds.extend(samples);
            }
        }
    }
    assert!(!seeds.is_empty(), "{target} has nothing to begin with");
    seeds
}

fn run((name, target): &Decoder, seed: u64, inputs: u64) {
    let seeds = seeds(name);
    for input in &seeds {
        target(input);
    }
    let mut draw = Draw(SplitMix(seed));
    for n in 0..inputs {
        let input = draw.mutate(&seeds);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{name} panics on input {n} of SECRETD_FUZZ_SEED={seed}: {hex}");
        }
    }
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let (seed, inputs) = (setting("SECRETD_FUZZ_SEED", 1), setting("SECRETD_FUZZ_INPUTS", 2000));
    for target in TARGETS {
        let begun = Instant::now();
        run(target, seed, inputs);
        println!("{}: {inputs} inputs in {:?}", target.0, begun.elapsed());
    }
}

#[test]
fn every_target_has_its_file_for_the_fuzzer() {
    let mut files: Vec<_> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(files, names);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
        let file = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(fs::read_to_string(file).unwrap().contains(&format!("fuzz::{name}")), "{name}");
    }
}
