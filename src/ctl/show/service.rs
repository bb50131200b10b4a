//! Services: rows, and documents with the fields of Swarm's service spec, left out where they are not set.

use super::{
    capital,
    doc::{Doc, list, nanos},
    label_lines,
    task::{SHORT_ID, ports},
};
use crate::{
    client::ServiceSummary,
    ctl::format::Listing,
    kit::duration::Compact,
    model::{
        constraint::Constraint,
        object::Kind,
        reference::{Reference, VersionPick},
        service::{
            ContainerSpec, FailureAction, Healthcheck, Mode, Mount, MountKind, Placement, Port,
            Protocol, Resources, RestartCondition, RestartPolicy, Service, ServiceSpec, TaskSpec,
            UpdateConfig, UpdateOrder, UpdateStatus,
        },
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

pub(crate) const SERVICES: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Mode", "MODE"),
        ("Replicas", "REPLICAS"),
        ("Image", "IMAGE"),
        ("Ports", "PORTS"),
        ("Labels", "LABELS"),
    ],
    table: r"{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// A row of `service ls` and `stack services`.
pub(crate) fn service_row(summary: &ServiceSummary) -> Value {
    let ServiceSummary { service, running, desired } = summary;
    let spec = &service.spec;
    json!({
        "ID": service.id.as_str()[..SHORT_ID],
        "Name": spec.name.to_string(),
        "Mode": mode(&spec.mode),
        "Replicas": format!("{running}/{desired}"),
        "Image": image_name(&spec.task.container.image),
        "Ports": ports(&spec.task.ports),
        "Labels": spec.labels,
    })
}

fn mode(mode: &Mode) -> &'static str {
    match mode {
        Mode::Replicated { replicas: _ } => "replicated",
        Mode::Global => "global",
    }
}

/// The image without its digest, if it has a tag as well.
pub(crate) fn image_name(image: &str) -> &str {
    match image.split_once('@') {
        Some((name, _)) if name.rsplit('/').next().is_some_and(|last| last.contains(':')) => name,
        _ => image,
    }
}

/// What `service inspect` shows.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ServiceView(Doc);

impl From<&Service> for ServiceView {
    fn from(service: &Service) -> Self {
        let Service { id, meta, spec, spec_index: _, previous, update } = service;
        let mut doc = Doc::map()
            .with("ID", id.to_string())
            .with("Version", Doc::map().with("Index", meta.index))
            .with("CreatedAt", meta.created_at.to_string())
            .with("UpdatedAt", meta.updated_at.to_string())
            .with("Spec", spec_doc(spec));
        if let Some(previous) = previous {
            doc = doc.with("PreviousSpec", spec_doc(previous));
        }
        doc = doc.with("Endpoint", Doc::map().with("Spec", endpoint(&spec.task.ports)));
        if let Some(UpdateStatus { state, started_at, completed_at, message }) = update {
            let mut status = Doc::map()
                .with("State", state.to_string())
                .with("StartedAt", started_at.to_string());
            if let Some(at) = completed_at {
                status = status.with("CompletedAt", at.to_string());
            }
            doc = doc.with("UpdateStatus", status.with("Message", message.as_str()));
        }
        Self(doc)
    }
}

fn labels_doc(labels: &crate::model::Labels) -> Doc {
    json!(labels).into()
}

fn spec_doc(spec: &ServiceSpec) -> Doc {
    let ServiceSpec { name, labels, task, mode, update, rollback } = spec;
    let mode = match mode {
        Mode::Replicated { replicas } => {
            Doc::map().with("Replicated", Doc::map().with("Replicas", *replicas))
        }
        Mode::Global => Doc::map().with("Global", Doc::map()),
    };
    let mut doc = Doc::map()
        .with("Name", name.to_string())
        .with("Labels", labels_doc(labels))
        .with("TaskTemplate", task_doc(task))
        .with("Mode", mode);
    if let Some(config) = update {
        doc = doc.with("UpdateConfig", update_doc(config));
    }
    if let Some(config) = rollback {
        doc = doc.with("RollbackConfig", update_doc(config));
    }
    doc.with("EndpointSpec", endpoint(&task.ports))
}

fn endpoint(ports: &[Port]) -> Doc {
    let port = |port: &Port| {
        let Port { target, published, protocol } = port;
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        Doc::map()
            .with("Protocol", protocol)
            .with("TargetPort", *target)
            .some("PublishedPort", *published)
            .with("PublishMode", "host")
    };
    Doc::map().with("Mode", "vip").some("Ports", list(ports, port))
}

fn task_doc(task: &TaskSpec) -> Doc {
    let TaskSpec { container, references, resources, restart, placement, ports: _, force_update } =
        task;
    Doc::map()
        .with("ContainerSpec", container_doc(container, references))
        .with("Resources", resources_doc(resources))
        .with("RestartPolicy", restart_doc(restart))
        .with("Placement", placement_doc(placement))
        .with("ForceUpdate", *force_update)
        .with("Runtime", "container")
}

fn container_doc(container: &ContainerSpec, references: &[Reference]) -> Doc {
    let ContainerSpec {
        image,
        command,
        args,
        env,
        labels,
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
    } = container;
    let of = |kind| {
        let chosen: Vec<&Reference> = references.iter().filter(|r| r.kind == kind).collect();
        list(&chosen, |reference| reference_doc(reference))
    };
    let mut doc = Doc::map()
        .with("Image", image.as_str())
        .some("Labels", labels_doc(labels))
        .some("Command", command.clone())
        .some("Args", args.clone())
        .some("Hostname", hostname.as_str())
        .some("Env", env.clone())
        .some("Dir", dir.as_str())
        .some("User", user.as_str())
        .some("Groups", groups.clone())
        .some("StopSignal", stop_signal.as_str())
        .some("TTY", *tty)
        .some("ReadOnly", *read_only)
        .some("Mounts", list(mounts, mount_doc));
    if let Some(grace) = stop_grace {
        doc = doc.with("StopGracePeriod", nanos(*grace));
    }
    if let Some(Healthcheck { test, interval, timeout, start_period, retries }) = healthcheck {
        let check = Doc::map()
            .some("Test", test.clone())
            .some("Interval", nanos(*interval))
            .some("Timeout", nanos(*timeout))
            .some("StartPeriod", nanos(*start_period))
            .some("Retries", *retries);
        doc = doc.with("Healthcheck", check);
    }
    doc = doc
        .some("Hosts", hosts.clone())
        .some("Secrets", of(Kind::Secret))
        .some("Configs", of(Kind::Config))
        .some("CapabilityAdd", cap_add.clone())
        .some("CapabilityDrop", cap_drop.clone());
    match init {
        Some(init) => doc.with("Init", *init),
        None => doc,
    }
}

fn reference_doc(reference: &Reference) -> Doc {
    let Reference { kind, object, name, version, target, uid, gid, mode, on_change: _ } = reference;
    let mut file = Doc::map().with("Name", target.as_str());
    if let Some(uid) = uid {
        file = file.with("UID", uid.to_string());
    }
    if let Some(gid) = gid {
        file = file.with("GID", gid.to_string());
    }
    // Decimal, as Swarm's API has it.
    if let Some(mode) = mode {
        file = file.with("Mode", mode.bits());
    }
    let (id_field, name_field) = match kind {
        Kind::Secret => ("SecretID", "SecretName"),
        Kind::Config => ("ConfigID", "ConfigName"),
    };
    Doc::map()
        .with("File", file)
        .with(id_field, object.to_string())
        .with(name_field, name.to_string())
        .with("Version", version_text(*version))
}

fn version_text(version: VersionPick) -> String {
    match version {
        VersionPick::Latest => "latest".to_owned(),
        VersionPick::Exact(number) => number.to_string(),
    }
}

fn mount_doc(mount: &Mount) -> Doc {
    let Mount { kind, source, target, read_only } = mount;
    let (name, options) = match kind {
        MountKind::Bind => ("bind", None),
        MountKind::Volume => ("volume", None),
        MountKind::Tmpfs { size, mode } => {
            ("tmpfs", Some(Doc::map().some("SizeBytes", *size).with("Mode", *mode)))
        }
    };
    let doc = Doc::map()
        .with("Type", name)
        .some("Source", source.as_str())
        .with("Target", target.as_str())
        .some("ReadOnly", *read_only);
    match options {
        Some(options) => doc.with("TmpfsOptions", options),
        None => doc,
    }
}

fn resources_doc(resources: &Resources) -> Doc {
    let Resources {
        limit_nano_cpus,
        limit_memory_bytes,
        limit_pids,
        reserve_nano_cpus,
        reserve_memory_bytes,
    } = *resources;
    let limits = Doc::map()
        .some("NanoCPUs", limit_nano_cpus)
        .some("MemoryBytes", limit_memory_bytes)
        .some("Pids", limit_pids);
    let reservations =
        Doc::map().some("NanoCPUs", reserve_nano_cpus).some("MemoryBytes", reserve_memory_bytes);
    Doc::map().with("Limits", limits).with("Reservations", reservations)
}

fn restart_doc(restart: &RestartPolicy) -> Doc {
    let RestartPolicy { condition, delay, max_attempts, window } = restart;
    Doc::map()
        .with("Condition", condition_text(*condition))
        .with("Delay", nanos(*delay))
        .with("MaxAttempts", *max_attempts)
        .some("Window", nanos(*window))
}

fn condition_text(condition: RestartCondition) -> &'static str {
    match condition {
        RestartCondition::None => "none",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Any => "any",
    }
}

fn placement_doc(placement: &Placement) -> Doc {
    let Placement { constraints, preferences, max_replicas_per_node } = placement;
    let spread = |descriptor: &String| {
        let spread = Doc::map().with("SpreadDescriptor", descriptor.as_str());
        Doc::map().with("Spread", spread)
    };
    let constraints: Vec<String> = constraints.iter().map(Constraint::to_string).collect();
    Doc::map()
        .some("Constraints", constraints)
        .some("Preferences", list(preferences, spread))
        .some("MaxReplicas", *max_replicas_per_node)
}

fn update_doc(config: &UpdateConfig) -> Doc {
    let UpdateConfig { parallelism, delay, failure_action, monitor, max_failure_ratio, order } =
        config;
    Doc::map()
        .with("Parallelism", *parallelism)
        .some("Delay", nanos(*delay))
        .with("FailureAction", action_text(*failure_action))
        .with("Monitor", nanos(*monitor))
        .with("MaxFailureRatio", json!(max_failure_ratio))
        .with("Order", order_text(*order))
}

fn action_text(action: FailureAction) -> &'static str {
    match action {
        FailureAction::Pause => "pause",
        FailureAction::Continue => "continue",
        FailureAction::Rollback => "rollback",
    }
}

fn order_text(order: UpdateOrder) -> &'static str {
    match order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    }
}

/// As `service inspect --pretty` prints it.
pub(crate) fn pretty_service(service: &Service) -> String {
    let mut out = String::new();
    pretty_into(&mut out, service).expect("a String takes everything");
    out
}

fn pretty_into(out: &mut String, service: &Service) -> std::fmt::Result {
    let Service { id, meta, spec, spec_index: _, previous: _, update } = service;
    let container = &spec.task.container;
    writeln!(out, "ID:             {id}")?;
    writeln!(out, "Name:           {}", spec.name)?;
    if !spec.labels.is_empty() {
        writeln!(out, "Labels:")?;
        label_lines(out, &spec.labels, " ");
    }
    writeln!(out, "Created at:     {}", meta.created_at)?;
    writeln!(out, "Updated at:     {}", meta.updated_at)?;
    writeln!(out, "Service Mode:   {}", capital(mode(&spec.mode)))?;
    if let Mode::Replicated { replicas } = spec.mode {
        writeln!(out, " Replicas:      {replicas}")?;
    }
    if let Some(UpdateStatus { state, started_at, completed_at, message }) = update {
        writeln!(out, "UpdateStatus:")?;
        writeln!(out, " State:         {state}")?;
        writeln!(out, " Started:       {started_at}")?;
        if let Some(at) = completed_at {
            writeln!(out, " Completed:     {at}")?;
        }
        writeln!(out, " Message:       {message}")?;
    }
    let Placement { constraints, preferences, max_replicas_per_node } = &spec.task.placement;
    if !constraints.is_empty() || !preferences.is_empty() || *max_replicas_per_node > 0 {
        writeln!(out, "Placement:")?;
        for constraint in constraints {
            writeln!(out, " Constraint:    {constraint}")?;
        }
        for preference in preferences {
            writeln!(out, " Spread over:   {preference}")?;
        }
        if *max_replicas_per_node > 0 {
            writeln!(out, " Max Replicas Per Node: {max_replicas_per_node}")?;
        }
    }
    for (name, config) in [("UpdateConfig", &spec.update), ("RollbackConfig", &spec.rollback)] {
        let Some(config) = config else { continue };
        writeln!(out, "{name}:")?;
        writeln!(out, " Parallelism:   {}", config.parallelism)?;
        writeln!(out, " Delay:         {}", Compact(config.delay))?;
        writeln!(out, " On failure:    {}", action_text(config.failure_action))?;
        writeln!(out, " Monitoring:    {}", Compact(config.monitor))?;
        writeln!(out, " Max failure:   {}", config.max_failure_ratio)?;
        writeln!(out, " Order:         {}", order_text(config.order))?;
    }
    let RestartPolicy { condition, delay, max_attempts, window } = &spec.task.restart;
    writeln!(out, "RestartPolicy:")?;
    writeln!(out, " Condition:     {}", condition_text(*condition))?;
    writeln!(out, " Delay:         {}", Compact(*delay))?;
    writeln!(out, " Max attempts:  {max_attempts}")?;
    if !window.is_zero() {
        writeln!(out, " Window:        {}", Compact(*window))?;
    }
    writeln!(out, "ContainerSpec:")?;
    writeln!(out, " Image:         {}", container.image)?;
    for (name, words) in
        [("Command", &container.command), ("Args", &container.args), ("Env", &container.env)]
    {
        if !words.is_empty() {
            writeln!(out, " {:<14} {}", format!("{name}:"), words.join(" "))?;
        }
    }
    for (name, text) in [("Dir", &container.dir), ("User", &container.user)] {
        if !text.is_empty() {
            writeln!(out, " {:<14} {text}", format!("{name}:"))?;
        }
    }
    if !container.mounts.is_empty() {
        writeln!(out, "Mounts:")?;
        for mount in &container.mounts {
            writeln!(out, " Target:        {}", mount.target)?;
            if !mount.source.is_empty() {
                writeln!(out, "  Source:       {}", mount.source)?;
            }
            writeln!(out, "  ReadOnly:     {}", mount.read_only)?;
        }
    }
    for (heading, kind) in [("Secrets", Kind::Secret), ("Configs", Kind::Config)] {
        let mut references = spec.task.references.iter().filter(|r| r.kind == kind).peekable();
        if references.peek().is_some() {
            writeln!(out, "{heading}:")?;
        }
        for reference in references {
            writeln!(out, " Target:        {}", reference.target)?;
            let version = version_text(reference.version);
            writeln!(out, "  Source:       {} ({version})", reference.name)?;
            let owner = |owner: &Option<crate::model::reference::Owner>| {
                owner.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
            };
            if reference.uid.is_some() || reference.gid.is_some() {
                writeln!(
                    out,
                    "  Owner:        {}:{}",
                    owner(&reference.uid),
                    owner(&reference.gid)
                )?;
            }
            if let Some(mode) = reference.mode {
                writeln!(out, "  Mode:         {mode}")?;
            }
        }
    }
    if !spec.task.ports.is_empty() {
        writeln!(out, "Ports:          {}", ports(&spec.task.ports))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ctl::format::pretty_json,
        kit::{
            clock::Timestamp,
            id::{ObjectId, ServiceId},
        },
        model::{
            Labels, Meta,
            reference::{FileMode, OnChange, Target},
        },
    };

    fn service() -> Service {
        Service {
            id: ServiceId::from_random([0; 17]),
            meta: Meta::new(Timestamp(1000)),
            spec: ServiceSpec {
                name: "web".parse().unwrap(),
                labels: Labels::new(),
                task: TaskSpec {
                    container: ContainerSpec {
                        image: "nginx:1".into(),
                        args: vec!["-g".into(), "daemon off;".into()],
                        ..Default::default()
                    },
                    references: vec![Reference {
                        kind: Kind::Secret,
                        object: ObjectId::from_random([0; 17]),
                        name: "key".parse().unwrap(),
                        version: VersionPick::Latest,
                        target: Target::parse(Kind::Secret, "key").unwrap(),
                        uid: None,
                        gid: None,
                        mode: Some(FileMode::new(0o400).unwrap()),
                        on_change: OnChange::Keep,
                    }],
                    ..Default::default()
                },
                mode: Mode::Replicated { replicas: 2 },
                update: None,
                rollback: None,
            },
            spec_index: 1,
            previous: None,
            update: None,
        }
    }

    #[test]
    fn a_service_is_shown_with_swarms_fields_in_swarms_order() {
        let text = pretty_json(&ServiceView::from(&service()));
        let flat: String = text.lines().map(str::trim).collect();
        assert_eq!(
            flat,
            concat!(
                r#"{"ID": "0000000000000000000000000","Version": {"Index": 1},"#,
                r#""CreatedAt": "1970-01-01T00:00:01.000Z","UpdatedAt": "1970-01-01T00:00:01.000Z","#,
                r#""Spec": {"Name": "web","Labels": {},"TaskTemplate": {"ContainerSpec": {"Image": "nginx:1","#,
                r#""Args": ["-g","daemon off;"],"Secrets": [{"File": {"Name": "/run/secrets/key","Mode": 256},"#,
                r#""SecretID": "0000000000000000000000000","SecretName": "key","Version": "latest"}]},"#,
                r#""Resources": {"Limits": {},"Reservations": {}},"#,
                r#""RestartPolicy": {"Condition": "any","Delay": 5000000000,"MaxAttempts": 0},"#,
                r#""Placement": {},"ForceUpdate": 0,"Runtime": "container"},"#,
                r#""Mode": {"Replicated": {"Replicas": 2}},"EndpointSpec": {"Mode": "vip"}},"#,
                r#""Endpoint": {"Spec": {"Mode": "vip"}}}"#
            )
        );
    }

    #[test]
    fn people_see_what_is_set_and_where_files_go() {
        let text = pretty_service(&service());
        for line in [
            "Service Mode:   Replicated\n Replicas:      2\n",
            " Args:          -g daemon off;\n",
            "Secrets:\n Target:        /run/secrets/key\n  Source:       key (latest)\n  Mode:         0400\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("Configs:"));
    }

    #[test]
    fn a_list_looks_like_dockers() {
        let summary = ServiceSummary { service: service(), running: 1, desired: 2 };
        assert_eq!(
            SERVICES.render(&[service_row(&summary)], None, false).unwrap(),
            "ID             NAME      MODE         REPLICAS   IMAGE     PORTS\n\
             000000000000   web       replicated   1/2        nginx:1\n"
        );
    }

    #[test]
    fn a_digest_is_left_out_where_there_is_a_tag() {
        assert_eq!(image_name("a/b:1@sha256:00"), "a/b:1");
        assert_eq!(image_name("host:5000/b@sha256:00"), "host:5000/b@sha256:00");
        assert_eq!(image_name("b"), "b");
    }
}
