//! The rules a service spec obeys by itself; those that need the rest of the store are checked there.

use super::{
    Labels, check_labels,
    object::Kind,
    reference::Reference,
    refusal::Refusal,
    service::{
        ContainerSpec, FailureAction, Mode, MountKind, Resources, ServiceSpec, TaskSpec,
        UpdateConfig,
    },
};
use crate::kit::limits::{REFERENCES_PER_SERVICE, REPLICAS};
use std::collections::{BTreeMap, BTreeSet};

/// The least CPU that an engine can give, in nano-CPUs.
const LEAST_NANO_CPUS: u64 = 1_000_000;
/// The least memory that an engine accepts, in bytes.
const LEAST_MEMORY: u64 = 4 * 1024 * 1024;

impl ServiceSpec {
    /// Checks everything about a spec that can be known without looking around.
    ///
    /// # Errors
    /// An invalid refusal, with Swarm's text where Swarm has one.
    pub fn validate(&self) -> Result<(), Refusal> {
        labels_fit(&self.labels)?;
        match self.mode {
            Mode::Replicated { replicas } if replicas > REPLICAS => {
                return refuse(format!("a service has at most {REPLICAS} replicas"));
            }
            Mode::Global if self.task.placement.max_replicas_per_node > 0 => {
                return refuse("replicas-max-per-node can only be used with replicated mode");
            }
            Mode::Replicated { .. } | Mode::Global => {}
        }
        for (name, config) in [("update", &self.update), ("rollback", &self.rollback)] {
            if let Some(config) = config {
                check_update(name, config)?;
            }
        }
        if self.rollback.as_ref().is_some_and(|c| c.failure_action == FailureAction::Rollback) {
            return refuse("a rollback that fails can be paused or continued, not rolled back");
        }
        check_task(&self.task)
    }

    /// How an update goes, with the defaults where nothing was said.
    pub fn update_config(&self) -> UpdateConfig {
        self.update.clone().unwrap_or_default()
    }

    /// How a rollback goes, with the defaults where nothing was said.
    pub fn rollback_config(&self) -> UpdateConfig {
        self.rollback.clone().unwrap_or_default()
    }
}

fn refuse(message: impl Into<String>) -> Result<(), Refusal> {
    Err(Refusal::invalid(message))
}

fn labels_fit(labels: &Labels) -> Result<(), Refusal> {
    check_labels(labels).map_err(|error| Refusal::invalid(error.to_string()))
}

fn check_update(name: &str, config: &UpdateConfig) -> Result<(), Refusal> {
    if (0.0..=1.0).contains(&config.max_failure_ratio) {
        return Ok(());
    }
    refuse(format!("TaskSpec: {name}-maxfailureratio cannot be less than 0 or bigger than 1"))
}

fn check_task(task: &TaskSpec) -> Result<(), Refusal> {
    check_container(&task.container)?;
    check_resources(&task.resources)?;
    check_targets(task)?;
    let mut published = BTreeSet::new();
    for port in &task.ports {
        if port.target == 0 {
            return refuse("a published port needs the port of the container it leads to");
        }
        if port.published > 0 && !published.insert((port.published, port.protocol)) {
            return refuse("EndpointSpec: duplicate published ports provided");
        }
    }
    Ok(())
}

fn check_container(container: &ContainerSpec) -> Result<(), Refusal> {
    if container.image.is_empty() {
        return refuse("ContainerSpec: image reference must be provided");
    }
    if container.image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refuse(format!(
            "ContainerSpec: {:?} is not a valid repository/tag",
            container.image
        ));
    }
    labels_fit(&container.labels)?;
    let mut keys = BTreeSet::new();
    for line in &container.env {
        let key = line.split_once('=').map_or(line.as_str(), |(key, _)| key);
        if key.is_empty() {
            // The line may hold a value somebody cares for; it is not repeated.
            return refuse("an environment variable needs a name before its '='");
        }
        if !keys.insert(key) {
            return refuse(format!("environment variable {key} is set more than once"));
        }
    }
    let texts = [&container.dir, &container.user, &container.hostname, &container.stop_signal];
    let lists = [
        &container.command,
        &container.args,
        &container.env,
        &container.groups,
        &container.hosts,
        &container.cap_add,
        &container.cap_drop,
    ];
    if texts.into_iter().chain(lists.into_iter().flatten()).any(|text| text.contains('\0')) {
        return refuse("ContainerSpec: a NUL byte cannot be handed to a process");
    }
    if let Some(check) = &container.healthcheck
        && let Some(first) = check.test.first()
        && !["NONE", "CMD", "CMD-SHELL"].contains(&first.as_str())
    {
        return refuse("ContainerSpec: a healthcheck begins with NONE, CMD or CMD-SHELL");
    }
    Ok(())
}

fn check_resources(resources: &Resources) -> Result<(), Refusal> {
    for cpus in [resources.limit_nano_cpus, resources.reserve_nano_cpus] {
        if (1..LEAST_NANO_CPUS).contains(&cpus) {
            return refuse(format!("invalid cpu value {cpus}e-9: Must be at least 0.001"));
        }
    }
    for memory in [resources.limit_memory_bytes, resources.reserve_memory_bytes] {
        if (1..LEAST_MEMORY).contains(&memory) {
            return refuse(format!("invalid memory value {memory}: Must be at least 4MiB"));
        }
    }
    Ok(())
}

/// Mounts and files must not get into each other's way.
fn check_targets(task: &TaskSpec) -> Result<(), Refusal> {
    if task.references.len() > REFERENCES_PER_SERVICE {
        return refuse(format!(
            "a service has at most {REFERENCES_PER_SERVICE} references to secrets and configs"
        ));
    }
    let mut mounts = BTreeSet::new();
    for mount in &task.container.mounts {
        let (source, target) = (mount.source.as_str(), mount.target.as_str());
        if !target.starts_with('/') {
            return refuse(format!("invalid mount target, must be an absolute path: {target}"));
        }
        let Some(path) = normal(target) else {
            return refuse(format!("invalid mount target, must not contain '..': {target}"));
        };
        if path.is_empty() {
            return refuse("invalid mount target: destination can't be '/'");
        }
        match mount.kind {
            MountKind::Bind if !source.starts_with('/') => {
                return refuse(format!(
                    "invalid bind mount source, must be an absolute path: {source}"
                ));
            }
            MountKind::Tmpfs { .. } if !source.is_empty() => {
                return refuse(format!("invalid tmpfs mount {target}: it has no source"));
            }
            MountKind::Bind | MountKind::Volume | MountKind::Tmpfs { .. } => {}
        }
        if source.contains('\0') || target.contains('\0') {
            return refuse("invalid mount: a path cannot contain a NUL byte");
        }
        if !mounts.insert(path) {
            return refuse(format!("ContainerSpec: duplicate mount point: {target}"));
        }
    }
    let mut files: BTreeMap<&str, &Reference> = BTreeMap::new();
    for reference in &task.references {
        let target = reference.target.as_str();
        if let Some(other) = files.insert(target, reference) {
            return refuse(conflict(other, reference, target));
        }
        if mounts.contains(target) {
            return refuse(format!(
                "{} reference '{}' and a mount have a conflicting target: '{target}'",
                reference.kind, reference.name
            ));
        }
    }
    for (target, reference) in &files {
        // A file cannot be a directory: no other target, and no mount, may lie below it.
        let below = format!("{target}/");
        let file =
            files.range(below.as_str()..).next().filter(|(path, _)| path.starts_with(&below));
        if let Some((path, other)) = file {
            return refuse(conflict(reference, other, path));
        }
        let mount = mounts.range(below.clone()..).next().filter(|path| path.starts_with(&below));
        if let Some(mount) = mount {
            return refuse(format!(
                "{} reference '{}' and a mount have a conflicting target: '{mount}'",
                reference.kind, reference.name
            ));
        }
    }
    Ok(())
}

fn conflict(a: &Reference, b: &Reference, target: &str) -> String {
    match (a.kind, b.kind) {
        (Kind::Secret, Kind::Secret) | (Kind::Config, Kind::Config) => format!(
            "{} references '{}' and '{}' have a conflicting target: '{target}'",
            a.kind, a.name, b.name
        ),
        (Kind::Secret, Kind::Config) | (Kind::Config, Kind::Secret) => format!(
            "{} reference '{}' and {} reference '{}' have a conflicting target: '{target}'",
            a.kind, a.name, b.kind, b.name
        ),
    }
}

/// The path without `.` and doubled slashes; nothing if it climbs. `/` becomes the empty text.
fn normal(path: &str) -> Option<String> {
    let mut out = String::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            name => {
                out.push('/');
                out.push_str(name);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::ObjectId,
        model::{
            reference::{OnChange, Target, VersionPick},
            service::{Healthcheck, Mount, Placement, Port, Protocol},
        },
    };

    fn spec() -> ServiceSpec {
        ServiceSpec {
            name: "web".parse().unwrap(),
            labels: Labels::new(),
            task: TaskSpec {
                container: ContainerSpec { image: "busybox".into(), ..ContainerSpec::default() },
                ..TaskSpec::default()
            },
            mode: Mode::Replicated { replicas: 1 },
            update: None,
            rollback: None,
        }
    }

    fn refer(kind: Kind, name: &str, target: &str) -> Reference {
        Reference {
            kind,
            object: ObjectId::from_random([1; 17]),
            name: name.parse().unwrap(),
            version: VersionPick::Latest,
            target: Target::parse(kind, target).unwrap(),
            uid: None,
            gid: None,
            mode: None,
            on_change: OnChange::Keep,
        }
    }

    fn mount(kind: MountKind, source: &str, target: &str) -> Mount {
        Mount { kind, source: source.into(), target: target.into(), read_only: false }
    }

    /// What is said of a spec after this change.
    fn said(change: impl FnOnce(&mut ServiceSpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        spec.validate().map_or_else(|refusal| refusal.to_string(), |()| "fine".to_owned())
    }

    fn references(references: Vec<Reference>) -> String {
        said(|spec| spec.task.references = references)
    }

    fn mounts(mounts: Vec<Mount>) -> String {
        said(|spec| spec.task.container.mounts = mounts)
    }

    #[test]
    fn a_plain_spec_is_fine() {
        assert_eq!(said(|_| {}), "fine");
    }

    #[test]
    fn two_files_cannot_have_one_target() {
        assert_eq!(
            references(vec![refer(Kind::Secret, "a", "t"), refer(Kind::Secret, "b", "t")]),
            "secret references 'a' and 'b' have a conflicting target: '/run/secrets/t'"
        );
        assert_eq!(
            references(vec![
                refer(Kind::Secret, "a", "/etc/x"),
                refer(Kind::Config, "b", "etc//x")
            ]),
            "secret reference 'a' and config reference 'b' have a conflicting target: '/etc/x'"
        );
        assert_eq!(
            references(vec![refer(Kind::Config, "a", "/x"), refer(Kind::Config, "a", "/y")]),
            "fine",
            "one object may be delivered twice"
        );
    }

    #[test]
    fn a_file_is_no_directory() {
        assert_eq!(
            references(vec![
                refer(Kind::Config, "below", "/etc/x/y"),
                refer(Kind::Config, "z", "/etc/x.conf"),
                refer(Kind::Config, "above", "/etc/x"),
            ]),
            "config references 'above' and 'below' have a conflicting target: '/etc/x/y'"
        );
        let with_mount = |target: &str| {
            said(|spec| {
                spec.task.references = vec![refer(Kind::Config, "a", "/etc/x")];
                spec.task.container.mounts = vec![mount(MountKind::Volume, "v", target)];
            })
        };
        let conflict = "config reference 'a' and a mount have a conflicting target: ";
        assert_eq!(with_mount("/etc/./x"), format!("{conflict}'/etc/x'"));
        assert_eq!(with_mount("/etc/x/y"), format!("{conflict}'/etc/x/y'"));
        assert_eq!(with_mount("/etc"), "fine", "a file may lie on a mount");
    }

    #[test]
    fn mounts_have_absolute_targets_of_their_own() {
        let tmpfs = || MountKind::Tmpfs { size: 0, mode: 0o1777 };
        for (mount, text) in [
            (
                mount(MountKind::Volume, "v", "data"),
                "invalid mount target, must be an absolute path: data",
            ),
            (
                mount(MountKind::Volume, "v", "/a/../b"),
                "invalid mount target, must not contain '..': /a/../b",
            ),
            (mount(tmpfs(), "", "//"), "invalid mount target: destination can't be '/'"),
            (
                mount(MountKind::Bind, "src", "/a"),
                "invalid bind mount source, must be an absolute path: src",
            ),
            (mount(tmpfs(), "x", "/a"), "invalid tmpfs mount /a: it has no source"),
            (
                mount(MountKind::Bind, "/a\0", "/a"),
                "invalid mount: a path cannot contain a NUL byte",
            ),
        ] {
            assert_eq!(mounts(vec![mount]), text);
        }
        assert_eq!(
            mounts(vec![mount(tmpfs(), "", "/a"), mount(MountKind::Volume, "", "/a/")]),
            "ContainerSpec: duplicate mount point: /a/"
        );
    }

    #[test]
    fn a_container_needs_an_image_and_sound_texts() {
        let container = |change: fn(&mut ContainerSpec)| said(|s| change(&mut s.task.container));
        assert_eq!(
            container(|c| c.image.clear()),
            "ContainerSpec: image reference must be provided"
        );
        assert_eq!(
            container(|c| c.image = "a b".into()),
            "ContainerSpec: \"a b\" is not a valid repository/tag"
        );
        let nul = "ContainerSpec: a NUL byte cannot be handed to a process";
        assert_eq!(container(|c| c.args = vec!["a\0".into()]), nul);
        assert_eq!(container(|c| c.user = "a\0".into()), nul);
        assert_eq!(
            container(|c| c.env = vec!["A=1".into(), "A".into()]),
            "environment variable A is set more than once"
        );
        let nameless = container(|c| c.env = vec!["=hunter2".into()]);
        assert!(!nameless.contains("hunter2"), "{nameless}");
        assert_eq!(
            container(|c| {
                c.healthcheck = Some(Healthcheck {
                    test: vec!["curl".into()],
                    interval: std::time::Duration::ZERO,
                    timeout: std::time::Duration::ZERO,
                    start_period: std::time::Duration::ZERO,
                    retries: 0,
                });
            }),
            "ContainerSpec: a healthcheck begins with NONE, CMD or CMD-SHELL"
        );
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(
            said(|spec| spec.mode = Mode::Replicated { replicas: REPLICAS + 1 }),
            "a service has at most 100000 replicas"
        );
        assert_eq!(
            said(|spec| {
                spec.mode = Mode::Global;
                spec.task.placement =
                    Placement { max_replicas_per_node: 1, ..Placement::default() };
            }),
            "replicas-max-per-node can only be used with replicated mode"
        );
        assert_eq!(
            said(|spec| spec.task.resources.limit_memory_bytes = 4 * 1024 * 1024 - 1),
            "invalid memory value 4194303: Must be at least 4MiB"
        );
        assert_eq!(
            said(|spec| spec.task.resources.reserve_nano_cpus = 999_999),
            "invalid cpu value 999999e-9: Must be at least 0.001"
        );
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert_eq!(
                said(|spec| {
                    spec.update =
                        Some(UpdateConfig { max_failure_ratio: ratio, ..UpdateConfig::default() });
                }),
                "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1"
            );
        }
        let port = |published| Port { target: 80, published, protocol: Protocol::Tcp };
        assert_eq!(
            said(|spec| spec.task.ports = vec![port(8080), port(8080)]),
            "EndpointSpec: duplicate published ports provided"
        );
        assert_eq!(said(|spec| spec.task.ports = vec![port(0), port(0)]), "fine");
    }

    #[test]
    fn a_rollback_is_not_rolled_back() {
        let rollback = || {
            Some(UpdateConfig {
                failure_action: FailureAction::Rollback,
                ..UpdateConfig::default()
            })
        };
        assert_eq!(said(|spec| spec.update = rollback()), "fine");
        assert_eq!(
            said(|spec| spec.rollback = rollback()),
            "a rollback that fails can be paused or continued, not rolled back"
        );
    }
}
