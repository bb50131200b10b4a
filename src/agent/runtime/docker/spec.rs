//! Turns a task into what the engine is asked to create, and a reference into the owner and mode of its file.

use super::{
    labels,
    users::{Ids, Users},
};
use crate::{
    kit::id::NodeId,
    model::{
        object::Kind,
        reference::{Owner, Reference, Target},
        service::{
            ContainerSpec, Healthcheck, Mount, MountKind, Port, Protocol, Resources, STACK_LABEL,
            STOP_GRACE,
        },
        task::Task,
    },
};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount as EngineMount, MountTmpfsOptions,
    MountType, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use std::{collections::HashMap, path::PathBuf, time::Duration};

/// Who owns a delivered file and who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) ids: Ids,
    pub(super) mode: u32,
}

/// A reference names a user or group the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {name}: the image has no {what} '{owner}'; use a number, or a name from the image's /etc/{file}"
)]
pub(super) struct UnknownOwner {
    kind: Kind,
    name: String,
    what: &'static str,
    owner: String,
    file: &'static str,
}

/// Decides a file's owner and mode. `user` is whom the container runs as, if that is known.
pub(super) fn access(
    reference: &Reference,
    user: Option<Ids>,
    users: &Users,
) -> Result<Access, UnknownOwner> {
    let unknown = |what, owner: &str, file| UnknownOwner {
        kind: reference.kind,
        name: reference.name.to_string(),
        what,
        owner: owner.to_owned(),
        file,
    };
    let uid = match &reference.uid {
        Some(Owner::Id(uid)) => Some(*uid),
        Some(Owner::Name(name)) => {
            Some(users.user(name).ok_or_else(|| unknown("user", name, "passwd"))?.uid)
        }
        None => user.map(|ids| ids.uid),
    };
    let gid = match &reference.gid {
        Some(Owner::Id(gid)) => Some(*gid),
        Some(Owner::Name(name)) => {
            Some(users.group(name).ok_or_else(|| unknown("group", name, "group"))?)
        }
        None => user.map(|ids| ids.gid),
    };
    let mode = match (reference.mode, reference.kind, uid) {
        (Some(mode), _, _) => mode.bits(),
        (None, Kind::Secret, Some(_)) => 0o400,
        (None, Kind::Secret, None) | (None, Kind::Config, _) => 0o444,
    };
    Ok(Access { ids: Ids { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0) }, mode })
}

/// Whether owners can only be found by looking into the image.
pub(super) fn needs_users(references: &[Reference], user_is_plain: bool) -> bool {
    let named = |owner: &Option<Owner>| matches!(owner, Some(Owner::Name(_)));
    references.iter().any(|r| {
        named(&r.uid) || named(&r.gid) || (!user_is_plain && (r.uid.is_none() || r.gid.is_none()))
    })
}

/// What the engine is asked to create. `files` are the host's files and where they appear.
pub(super) fn container(
    task: &Task,
    node: NodeId,
    files: &[(PathBuf, Target)],
) -> ContainerCreateBody {
    let ContainerSpec {
        image,
        command,
        args,
        env,
        labels: _,
        dir,
        user,
        groups,
        hostname,
        tty,
        read_only,
        init,
        stop_signal,
        stop_grace,
        mounts,
        healthcheck,
        hosts,
        cap_add,
        cap_drop,
    } = &task.spec.container;
    let Resources {
        limit_nano_cpus,
        limit_memory_bytes,
        limit_pids,
        reserve_nano_cpus: _, // the scheduler's business
        reserve_memory_bytes,
    } = task.spec.resources;
    let secret_mounts = files.iter().map(|(source, target)| EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_string()),
        read_only: Some(true),
        ..Default::default()
    });
    let host_config = HostConfig {
        mounts: Some(mounts.iter().map(mount).chain(secret_mounts).collect()),
        port_bindings: some_map(port_bindings(&task.spec.ports)),
        // The orchestrator decides what follows a task that ended.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        nano_cpus: some_number(limit_nano_cpus),
        memory: some_number(limit_memory_bytes),
        memory_reservation: some_number(reserve_memory_bytes),
        pids_limit: some_number(limit_pids),
        readonly_rootfs: Some(*read_only),
        init: *init,
        group_add: some_list(groups.clone()),
        extra_hosts: some_list(hosts.clone()),
        cap_add: some_list(cap_add.clone()),
        cap_drop: some_list(cap_drop.clone()),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(image.clone()),
        entrypoint: some_list(command.clone()),
        cmd: some_list(args.clone()),
        env: some_list(env.iter().map(|e| variable(e)).collect()),
        labels: Some(labels(task, node)),
        working_dir: some_text(dir),
        user: some_text(user),
        hostname: some_text(hostname),
        tty: Some(*tty),
        stop_signal: some_text(stop_signal),
        stop_timeout: Some(whole_seconds(stop_grace.unwrap_or(STOP_GRACE)).into()),
        healthcheck: healthcheck.as_ref().map(health),
        exposed_ports: some_list(task.spec.ports.iter().map(port_key).collect()),
        host_config: Some(host_config),
        ..Default::default()
    }
}

/// The engine counts in seconds: part of one counts as one.
pub(super) fn whole_seconds(grace: Duration) -> i32 {
    let seconds = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn labels(task: &Task, node: NodeId) -> HashMap<String, String> {
    let mut all: HashMap<_, _> =
        task.spec.container.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Some(stack) = task.service_labels.get(STACK_LABEL) {
        all.insert(STACK_LABEL.to_owned(), stack.clone());
    }
    // Last, so that no label of the user's takes a container away from us.
    for (key, value) in [
        (labels::NODE, node.to_string()),
        (labels::TASK, task.id.to_string()),
        (labels::TASK_NAME, task.short_name()),
        (labels::SERVICE, task.service.to_string()),
        (labels::SERVICE_NAME, task.service_name.to_string()),
    ] {
        all.insert(key.to_owned(), value);
    }
    all.remove(labels::PROBE);
    all
}

/// To the engine `KEY` alone would mean "take it away".
fn variable(env: &str) -> String {
    if env.contains('=') { env.to_owned() } else { format!("{env}=") }
}

fn mount(mount: &Mount) -> EngineMount {
    let Mount { kind, source, target, read_only } = mount;
    let (typ, tmpfs_options) = match kind {
        MountKind::Bind => (MountType::BIND, None),
        MountKind::Volume => (MountType::VOLUME, None),
        MountKind::Tmpfs { size, mode } => (
            MountType::TMPFS,
            Some(MountTmpfsOptions {
                size_bytes: some_number(*size),
                mode: Some(i64::from(*mode)),
                options: None,
            }),
        ),
    };
    EngineMount {
        typ: Some(typ),
        source: some_text(source),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        tmpfs_options,
        ..Default::default()
    }
}

fn port_key(port: &Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.target)
}

fn port_bindings(ports: &[Port]) -> PortMap {
    let mut bindings = PortMap::new();
    for port in ports {
        let host_port =
            if port.published == 0 { String::new() } else { port.published.to_string() };
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(PortBinding { host_ip: None, host_port: Some(host_port) });
    }
    bindings
}

fn health(check: &Healthcheck) -> HealthConfig {
    let Healthcheck { test, interval, timeout, start_period, retries } = check;
    let nanos = |d: &Duration| Some(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    HealthConfig {
        test: Some(test.clone()),
        interval: nanos(interval),
        timeout: nanos(timeout),
        start_period: nanos(start_period),
        retries: Some(i64::try_from(*retries).unwrap_or(i64::MAX)),
        start_interval: None,
    }
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|t| !t.is_empty())
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|l| !l.is_empty())
}

fn some_map(map: PortMap) -> Option<PortMap> {
    Some(map).filter(|m| !m.is_empty())
}

fn some_number(number: u64) -> Option<i64> {
    Some(i64::try_from(number).unwrap_or(i64::MAX)).filter(|n| *n != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::testing, model::reference::FileMode};

    fn reference(kind: Kind) -> Reference {
        testing::reference(kind, "token", "token")
    }

    const APP: Ids = Ids { uid: 1000, gid: 1001 };

    fn users() -> Users {
        Users::parse(b"www:x:33:34::/:\n", b"readers:x:2000:\n")
    }

    #[test]
    fn a_file_belongs_to_the_containers_user_unless_told_otherwise() {
        let secret = reference(Kind::Secret);
        assert_eq!(access(&secret, Some(APP), &users()), Ok(Access { ids: APP, mode: 0o400 }));
        let config = reference(Kind::Config);
        assert_eq!(access(&config, Some(APP), &users()), Ok(Access { ids: APP, mode: 0o444 }));
    }

    #[test]
    fn an_unknown_owner_must_not_lock_the_reader_out() {
        let root = Ids { uid: 0, gid: 0 };
        let secret = reference(Kind::Secret);
        assert_eq!(access(&secret, None, &users()), Ok(Access { ids: root, mode: 0o444 }));
    }

    #[test]
    fn names_are_those_of_the_image() {
        let mut secret = reference(Kind::Secret);
        secret.uid = Some(Owner::Name("www".into()));
        secret.gid = Some(Owner::Name("readers".into()));
        secret.mode = Some(FileMode::new(0o440).unwrap());
        let expected = Access { ids: Ids { uid: 33, gid: 2000 }, mode: 0o440 };
        assert_eq!(access(&secret, Some(APP), &users()), Ok(expected));
        secret.gid = Some(Owner::Name("ghosts".into()));
        assert_eq!(
            access(&secret, Some(APP), &users()).unwrap_err().to_string(),
            "secret token: the image has no group 'ghosts'; use a number, or a name from the image's /etc/group"
        );
    }

    #[test]
    fn the_image_is_looked_into_only_for_names() {
        let mut secret = reference(Kind::Secret);
        assert!(!needs_users(&[secret.clone()], true));
        assert!(needs_users(&[secret.clone()], false));
        secret.uid = Some(Owner::Id(5));
        secret.gid = Some(Owner::Id(5));
        assert!(!needs_users(&[secret.clone()], false));
        secret.gid = Some(Owner::Name("x".into()));
        assert!(needs_users(&[secret], true));
    }

    #[test]
    fn our_labels_win_and_a_bare_variable_is_empty() {
        let mut task = testing::task("web");
        let spec = std::sync::Arc::make_mut(&mut task.spec);
        spec.container.labels.insert(labels::TASK.into(), "forged".into());
        spec.container.labels.insert("mine".into(), "kept".into());
        spec.container.env = vec!["A=1".into(), "B".into()];
        task.service_labels.insert(STACK_LABEL.into(), "shop".into());
        let body = container(&task, NodeId::random(), &[]);
        let labels = body.labels.unwrap();
        assert_eq!(labels[labels::TASK], task.id.to_string());
        assert_eq!(labels["mine"], "kept");
        assert_eq!(labels[STACK_LABEL], "shop");
        assert_eq!(body.env.unwrap(), ["A=1", "B="]);
    }

    #[test]
    fn grace_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
