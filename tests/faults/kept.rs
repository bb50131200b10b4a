//! What a daemon acknowledged, and whether it still has it: configs, because their payloads can be asked for.

use crate::world::{Said, World};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const HERE: [&str; 4] =
    ["--listen-addr", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];

/// Names and payloads that were acknowledged, and names of which nobody heard what became of them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kept {
    acknowledged: BTreeSet<String>,
    unsure: BTreeSet<String>,
}

/// A payload that only its name gives; of several pages, so that half of it can be lost.
fn payload(name: &str) -> String {
    let times = if name.starts_with("large") { 35_000 } else { 400 };
    format!("the payload of {name}. ").repeat(times)
}

impl Kept {
    /// Creates a config and notes what was said.
    pub(crate) fn create(&mut self, world: &World, name: &str) -> Said {
        let said = world.ctl_with(["config", "create", name, "-"], payload(name).as_bytes());
        let noted = if said.code == 0 { &mut self.acknowledged } else { &mut self.unsure };
        noted.insert(name.to_owned());
        said
    }

    /// The same, with what somebody else was told.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.acknowledged.extend(other.acknowledged);
        self.unsure.extend(other.unsure);
        self
    }

    /// The same, with names of which nobody knows what became of them.
    pub(crate) fn unsure_of(mut self, other: &Self) -> Self {
        self.unsure.extend(other.acknowledged.iter().chain(&other.unsure).cloned());
        self
    }

    pub(crate) fn fill(&mut self, world: &World, count: usize) {
        for n in 0..count {
            self.create(world, &format!("config-{n}")).ok();
        }
    }

    /// Everything acknowledged is there, and whatever is there is whole.
    pub(crate) fn check(&self, world: &World, what: &str) {
        let said = world.ctl(["config", "ls", "--format", "{{.Name}}"]);
        assert_eq!(said.code, 0, "{what}: {}", said.err);
        let there: BTreeSet<_> = said.out.lines().map(str::to_owned).collect();
        let lost: Vec<_> = self.acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "{what}: acknowledged and lost: {lost:?}");
        let known: BTreeSet<_> = self.acknowledged.union(&self.unsure).cloned().collect();
        let invented: Vec<_> = there.difference(&known).collect();
        assert!(invented.is_empty(), "{what}: nobody created {invented:?}");
        if there.is_empty() {
            return;
        }
        let shown: BTreeMap<_, _> = payloads(world, &there).into_iter().collect();
        for name in &there {
            assert_eq!(shown.get(name), Some(&payload(name)), "{what}: {name}");
        }
    }
}

fn payloads(world: &World, names: &BTreeSet<String>) -> Vec<(String, String)> {
    use base64::Engine as _;
    let args = ["config", "inspect"].into_iter().chain(names.iter().map(String::as_str));
    let shown: serde_json::Value = serde_json::from_str(&world.ctl(args).ok()).unwrap();
    let text = |data: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let configs = shown.as_array().unwrap().iter().map(|config| &config["Spec"]);
    configs
        .map(|spec| {
            (spec["Name"].as_str().unwrap().to_owned(), text(spec["Data"].as_str().unwrap()))
        })
        .collect()
}

/// `active`, `inactive` or `locked`.
pub(crate) fn state(world: &World) -> String {
    world.ctl(["status", "--format", "{{.State}}"]).ok().trim().to_owned()
}

/// Founds a cluster on this node if it is part of none.
pub(crate) fn init_if_new(world: &World) {
    if state(world) == "inactive" {
        world.init();
    }
}

/// The codes in what a command printed.
pub(crate) fn codes(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("SECRETD-")).map(str::to_owned).collect()
}

/// A number that `scripts/soak` sets, or what the tests take.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
