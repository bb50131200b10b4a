//! The house rules as a test: floors, the one door of plaintext, and what every file owes its reader.
//!
//! Each failure prints the rule, why it stands, and what to do.

#![expect(clippy::unwrap_used, reason = "a rule that cannot be read is a failed test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each floor and those it may import; neighbours on one height are strangers.
const FLOORS: &[(&str, u8)] = &[
    ("kit", 0),
    ("crypto", 1),
    ("model", 2),
    ("store", 3),
    ("compose", 3),
    ("wire", 3),
    ("pki", 3),
    ("raft", 4),
    ("client", 4),
    ("manager", 5),
    ("agent", 5),
    ("node", 6),
    ("ctl", 6),
];

/// The only files that may look at a payload, each with its reason.
const EXPOSERS: &[(&str, &str)] = &[
    ("src/crypto/", "seals and opens"),
    ("src/agent/place.rs", "writes the file a task reads, or hands it to the sandbox over a pipe"),
    ("src/wire/payload.rs", "moves it into the message that carries it"),
    ("src/pki/", "the private keys of the CA and of the node are payloads too"),
    ("src/ctl/object.rs", "shows operators the payload of a config"),
    ("src/manager/control/", "a config's payload is shown to operators"),
];

/// What decides who may open a payload, each with the files that may say it. The compiler takes no second
/// implementation; what it cannot say is that the one there is stays where the checks are.
const DOORS: &[(&str, &[&str])] = &[
    ("Proofs for Gate", &["src/store/linear.rs"]),
    ("Confirms for Quorum", &["src/raft/read.rs"]),
    // The lock itself.
    (".open_at(", &["src/crypto/keyring.rs"]),
    // The CA's key signs certificates, and is handed on when another CA takes over.
    (
        ".open_authority_key(",
        &["src/manager/ca/mod.rs", "src/manager/control/authority.rs", "src/node/renewal.rs"],
    ),
];

struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        })
        .collect()
}

/// The part of a file that is built into the product: nothing of a file of tests, all before the unit tests of another.
fn product(source: &Source) -> &str {
    let tests = ["tests.rs", "_test.rs", "testing.rs", "vectors.rs"];
    if tests.iter().any(|name| source.path.ends_with(name)) || source.path.contains("/tests/") {
        return "";
    }
    source.text.split("#[cfg(test)]").next().unwrap()
}

/// Lines of code with their numbers, comments left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap()))
        .filter(|(_, l)| !l.trim().is_empty())
}

fn report(rule: &str, why: &str, what: &str, broken: &[String]) {
    assert!(
        broken.is_empty(),
        "\nrule: {rule}\nwhy:  {why}\ndo:   {what}\n  {}\n",
        broken.join("\n  ")
    );
}

#[test]
fn floors_import_only_downward() {
    let heights: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources("src") {
        let Some(floor) = source.path.strip_prefix("src/").and_then(|p| p.split(['/', '.']).next())
        else {
            continue;
        };
        let Some(height) = heights.get(floor) else { continue };
        let text = product(&source);
        // `use crate::{a::x, b::y}` as well as `crate::a::x`.
        let flat: String = code(text).map(|(_, l)| l.trim().to_owned() + " ").collect();
        let mut named: Vec<String> = flat
            .match_indices("crate::")
            .filter(|(at, _)| !flat[at + 7..].starts_with('{'))
            .map(|(at, _)| {
                flat[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            })
            .collect();
        for (at, _) in flat.match_indices("crate::{") {
            let mut depth = 0;
            let mut word = String::new();
            let mut fresh = true;
            for c in flat[at + 7..].chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && c.is_alphanumeric() && fresh {
                    word.push(c);
                } else if depth == 1 && c == ',' {
                    named.push(std::mem::take(&mut word));
                    fresh = true;
                } else if depth <= 1 && !word.is_empty() && c != ' ' {
                    fresh = false;
                }
                if depth == 0 {
                    break;
                }
            }
            named.push(word);
        }
        for other in named {
            let Some(other_height) = heights.get(other.as_str()) else { continue };
            if other != floor && other_height >= height {
                broken.push(format!("{}: {floor} imports {other}", source.path));
            }
        }
    }
    report(
        "a floor imports only floors below it",
        "what a file may touch must be known from where it stands",
        "move the shared thing down, or hand it in from above",
        &broken,
    );
}

#[test]
fn every_floor_is_on_the_map() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let missing: Vec<_> = FLOORS
        .iter()
        .filter(|(floor, _)| !map.contains(&format!("pub mod {floor};")))
        .map(|(floor, _)| (*floor).to_owned())
        .collect();
    report(
        "src/lib.rs is the map",
        "newcomers start there",
        "declare the floor in src/lib.rs",
        &missing,
    );
}

#[test]
fn only_listed_files_expose_plaintext() {
    let mut broken = Vec::new();
    for source in sources("src") {
        if EXPOSERS.iter().any(|(path, _)| source.path.starts_with(path)) {
            continue;
        }
        for (n, line) in code(product(&source)) {
            if line.contains(".expose()") {
                broken.push(format!("{}:{n}", source.path));
            }
        }
    }
    report(
        "`.expose()` has few callers",
        "each is a place where a secret can leak",
        "let the payload move as `Plaintext`, or have the new caller reviewed into EXPOSERS",
        &broken,
    );
}

#[test]
fn the_exposers_list_names_only_files_that_are_there() {
    let gone: Vec<_> = EXPOSERS
        .iter()
        .filter(|(path, _)| !root().join(path).exists())
        .map(|(path, _)| (*path).to_owned())
        .collect();
    report("EXPOSERS is true", "a stale entry is an open door", "take it off the list", &gone);
}

#[test]
fn payloads_are_opened_behind_listed_doors_alone() {
    let mut broken = Vec::new();
    for source in sources("src") {
        for (n, line) in code(product(&source)) {
            for (door, files) in DOORS {
                if line.contains(door) && !files.contains(&source.path.as_str()) {
                    broken.push(format!("{}:{n}: {door}", source.path));
                }
            }
        }
    }
    for (door, files) in DOORS {
        for file in *files {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            let flat: String = code(&text).map(|(_, line)| line.trim()).collect();
            if !flat.contains(door) {
                broken.push(format!("{file}: no {door}"));
            }
        }
    }
    report(
        "what opens payloads is made where the checks are",
        "a proof that may be made elsewhere proves nothing",
        "ask the store for a proof, or have the new place reviewed into DOORS",
        &broken,
    );
}

#[test]
fn every_file_opens_with_its_purpose() {
    let mut broken = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        if !source.text.starts_with("//!") && !source.text.starts_with("// @generated") {
            broken.push(source.path);
        }
    }
    report(
        "a file opens with `//!` and what it is for",
        "after one screen a reader knows where he is",
        "write the sentence",
        &broken,
    );
}

#[test]
fn nothing_in_src_reads_the_throw_away_keys() {
    let broken: Vec<_> =
        sources("src").into_iter().filter(|s| s.text.contains("keys/")).map(|s| s.path).collect();
    report(
        "`src/` never names the folder keys/",
        "keys that are public must not find their way into a running cluster",
        "use them from tests and examples only",
        &broken,
    );
}

#[test]
fn conversions_take_structs_apart_in_full() {
    let mut broken = Vec::new();
    for source in sources("src/wire") {
        if source.path.ends_with("v1.rs") {
            continue;
        }
        for (n, line) in code(product(&source)) {
            if line.contains(", .. }") || line.contains("{ .. }") || line.contains(",..}") {
                broken.push(format!("{}:{n}", source.path));
            }
        }
    }
    report(
        "no `..` in the patterns of wire",
        "a new field must stop the build where it would be forgotten",
        "name every field",
        &broken,
    );
}

#[test]
fn no_test_is_ignored_or_expected_to_panic() {
    let mut broken = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (n, line) in code(&source.text) {
            if line.trim_start().starts_with("#[ignore")
                || line.trim_start().starts_with("#[should_panic")
            {
                broken.push(format!("{}:{n}", source.path));
            }
        }
    }
    report(
        "no `#[ignore]`, no `#[should_panic]`",
        "a test that does not run, or passes for any panic, proves nothing",
        "mend it, or delete it and say so",
        &broken,
    );
}

#[test]
fn every_limit_gives_its_reason() {
    let text = fs::read_to_string(root().join("src/kit/limits.rs")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let broken: Vec<_> = lines
        .iter()
        .enumerate()
        .filter(|(n, l)| l.starts_with("pub const") && !lines[n - 1].starts_with("///"))
        .map(|(_, l)| (*l).to_owned())
        .collect();
    report(
        "each limit has a doc",
        "a bound without a reason is changed by guess",
        "write why",
        &broken,
    );
}

#[test]
fn every_failpoint_is_marked_once_and_listed() {
    let mut marked: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources("src").into_iter().filter(|s| s.path != "src/kit/failpoint.rs") {
        for (_, line) in code(&source.text) {
            if let Some(rest) = line.trim().strip_prefix("failpoint(\"") {
                *marked.entry(rest.split('"').next().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    let listed: BTreeMap<_, _> =
        secretd::kit::failpoint::ALL.iter().map(|name| ((*name).to_owned(), 1)).collect();
    let odd = marked.iter().filter(|(name, times)| listed.get(*name) != Some(*times));
    let gone = listed.keys().filter(|name| !marked.contains_key(*name));
    let broken: Vec<_> = odd.map(|(name, _)| name).chain(gone).cloned().collect();
    report(
        "kit/failpoint.rs lists every place where a test may end the process, each marked once",
        "a place that is not listed is never tried, and one marked twice is tried at one of them",
        "list it, or give it a name of its own",
        &broken,
    );
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut broken = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains(" = ") && !line.starts_with('#') && !line.contains(" # ")
        {
            broken.push(line.to_owned());
        }
    }
    report(
        "a dependency is a colleague",
        "nobody dares to remove what nobody explains",
        "say why, beside it",
        &broken,
    );
}

#[test]
fn unsafe_code_lives_at_the_os_edge_alone() {
    let broken: Vec<_> = sources("src")
        .into_iter()
        .filter(|s| !s.path.starts_with("src/kit/os"))
        .filter(|s| code(&s.text).any(|(_, l)| l.contains("unsafe {") || l.contains("unsafe_code")))
        .map(|s| s.path)
        .collect();
    report("`unsafe` stands in kit/os alone", "one place to audit", "wrap the call there", &broken);
}

#[test]
fn the_tls_provider_is_ring_and_there_is_no_openssl() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let broken: Vec<_> = ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"]
        .iter()
        .filter(|name| lock.contains(&format!("name = \"{name}\"")))
        .map(|name| (*name).to_owned())
        .collect();
    report(
        "one TLS provider",
        "two providers are two sets of bugs",
        "turn the feature off that pulls it in",
        &broken,
    );
}

#[test]
fn ci_calls_the_test_command_of_the_readme_and_nothing_else() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let commands: Vec<_> =
        ci.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).collect();
    assert_eq!(commands, ["cd \"$(dirname \"$0\")/..\"", "exec scripts/test"]);
    assert!(fs::read_to_string(root().join("README.md")).unwrap().contains("scripts/test"));
}
