//! Fields that a stack ignores, and fields that it refuses, with the reasons docker gives.

use std::collections::BTreeSet;

/// Named in one warning.
const UNSUPPORTED: [&str; 54] = [
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cgroup",
    "cgroup_parent",
    "cgroupns_mode",
    "credential_spec",
    "depends_on",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "external_links",
    "gpus",
    "ipc",
    "isolation",
    "label_file",
    "links",
    "logging",
    "mac_address",
    "models",
    "network_mode",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "platform",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "restart",
    "runtime",
    "scale",
    "security_opt",
    "shm_size",
    "stdin_open",
    "storage_opt",
    "sysctls",
    "ulimits",
    "use_api_socket",
    "userns_mode",
    "uts",
    // Fields of other tools that share the file.
    "cpu_count",
    "cpu_percent",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "mem_swappiness",
];

/// Named in a warning with a reason.
const DEPRECATED: [(&str, &str); 2] = [
    ("container_name", "Setting the container name is not supported."),
    (
        "expose",
        "Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
    ),
];

/// Refused: to leave them out would change what the service is.
const FORBIDDEN: [(&str, &str); 12] = [
    ("cpu_quota", "Set resource limits using deploy.resources"),
    ("cpu_period", "Set resource limits using deploy.resources"),
    ("cpu_shares", "Set resource limits using deploy.resources"),
    ("cpus", "Set resource limits using deploy.resources"),
    ("cpuset", "Set resource limits using deploy.resources"),
    ("extends", "Support for `extends` is not implemented; repeat the fields or use an anchor"),
    ("mem_limit", "Set resource limits using deploy.resources"),
    ("mem_reservation", "Set resource limits using deploy.resources"),
    ("memswap_limit", "Set resource limits using deploy.resources"),
    ("pids_limit", "Set resource limits using deploy.resources"),
    (
        "volume_driver",
        "Instead of setting the volume driver on the service, define a volume using the top-level `volumes` option",
    ),
    (
        "volumes_from",
        "To share a volume between services, define it using the top-level `volumes` option and reference it from each service that shares it using the service-level `volumes` option",
    ),
];

pub(crate) fn is_ignored(field: &str) -> bool {
    UNSUPPORTED.contains(&field)
}

/// Every field of a service that is ignored with a warning.
pub(crate) fn ignored() -> impl Iterator<Item = &'static str> {
    UNSUPPORTED.into_iter().chain(DEPRECATED.into_iter().map(|(field, _)| field))
}

/// Every field of a service that is refused, with the reason.
pub(crate) fn forbidden() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORBIDDEN.into_iter()
}

/// The warnings for the fields found, in docker's words.
pub(crate) fn warnings(found: &BTreeSet<String>) -> Vec<String> {
    let reason =
        |field: &str| DEPRECATED.iter().find(|(name, _)| *name == field).map(|(_, why)| *why);
    let (deprecated, unsupported): (Vec<&String>, _) =
        found.iter().partition(|field| reason(field).is_some());
    let mut out = Vec::new();
    if !unsupported.is_empty() {
        let names: Vec<&str> = unsupported.into_iter().map(String::as_str).collect();
        out.push(format!("Ignoring unsupported options: {}", names.join(", ")));
    }
    if !deprecated.is_empty() {
        let lines: Vec<String> = deprecated
            .into_iter()
            .map(|field| format!("{field}: {}", reason(field).unwrap_or_default()))
            .collect();
        out.push(format!("Ignoring deprecated options:\n\n{}", lines.join("\n\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warnings_read_as_dockers() {
        let found = ["build", "depends_on", "container_name"].map(str::to_owned).into();
        assert_eq!(
            warnings(&found),
            [
                "Ignoring unsupported options: build, depends_on",
                "Ignoring deprecated options:\n\ncontainer_name: Setting the container name is not supported."
            ]
        );
        assert!(warnings(&BTreeSet::new()).is_empty());
    }
}
