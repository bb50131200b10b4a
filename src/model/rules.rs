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
