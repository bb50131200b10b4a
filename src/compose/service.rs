//! Reads one service of a document into the spec its tasks are made from.

use super::{
    deploy::{self, Deploy},
    error::{ComposeError, Result},
    objects::ObjectNames,
    ports,
    tree::Entry,
    units, unsupported,
    view::View,
    volumes,
};
use crate::{
    kit::{
        limits::REFERENCES_PER_SERVICE,
        name::{ObjectName, ServiceName},
    },
    model::{
        object::Kind,
        reference::{BadTarget, FileMode, Owner, Target},
        service::{ContainerSpec, Healthcheck, ServiceSpec, TaskSpec},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// A service's use of a secret or config, by name: the id is known only to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub kind: Kind,
    pub name: ObjectName,
    pub target: Target,
    pub uid: Option<Owner>,
    pub gid: Option<Owner>,
    pub mode: Option<FileMode>,
}

/// A service as the document has it; `spec.task.references` is empty and stands in `uses`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// Its key in the document.
    pub key: String,
    pub spec: ServiceSpec,
    pub uses: Vec<Use>,
}

/// What a service is read against.
pub(crate) struct Context<'a> {
    pub(crate) objects: &'a ObjectNames,
    /// The engine's names of the volumes the document defines.
    pub(crate) volumes: &'a BTreeMap<String, String>,
    pub(crate) networks: &'a BTreeSet<String>,
    /// Fields found that have no effect.
    pub(crate) unsupported: &'a mut BTreeSet<String>,
    pub(crate) warnings: &'a mut Vec<String>,
}

pub(crate) fn read(
    key: &str,
    entry: &Entry,
    view: &View<'_>,
    name: ServiceName,
    cx: &mut Context<'_>,
) -> Result<ServicePlan> {
    let mut fields = view.fields()?;
    for (field, why) in unsupported::forbidden() {
        if let Some(view) = fields.take(field) {
            return Err(view.error(format!("is not supported by a stack: {why}")));
        }
    }
    let built = fields.ignore("build");
    for field in unsupported::ignored() {
        if fields.ignore(field) {
            cx.unsupported.insert(field.to_owned());
        }
    }
    // Every task is on the engine's default network; other networks are named by the document's own warning.
    if let Some(view) = fields.take("networks") {
        check_networks(key, &view, cx)?;
    }
    let image = fields.take("image").ok_or_else(|| {
        let error = entry.key.error(&view.path, "no image specified");
        if built {
            error.hint("a stack does not build; give the name of a built image")
        } else {
            error
        }
    })?;
    let image_name = image.owned()?;
    if image_name.is_empty() {
        return Err(image.error("must not be empty"));
    }
    let deploy: Deploy = fields.or_default("deploy", |view| deploy::read(view, cx.unsupported))?;
    let mut mounts = fields.or_default("volumes", |view| {
        view.list()?
            .iter()
            .map(|view| volumes::read(view, cx.volumes, cx.unsupported))
            .collect::<Result<Vec<_>>>()
    })?;
    mounts.extend(fields.or_default("tmpfs", |view| {
        view.list()?
            .iter()
            .map(|view| volumes::read_tmpfs(view, cx.unsupported))
            .collect::<Result<Vec<_>>>()
    })?);
    let container = ContainerSpec {
        image: image_name,
        command: fields.or_default("entrypoint", View::texts)?,
        args: fields.or_default("command", View::texts)?,
        env: fields.or_default("environment", environment)?,
        labels: fields.or_default("labels", deploy::labels)?,
        dir: fields.or_default("working_dir", View::owned)?,
        user: fields.or_default("user", View::owned)?,
        groups: fields.or_default("group_add", View::texts)?,
        hostname: fields.or_default("hostname", View::owned)?,
        tty: fields.or_default("tty", View::truth)?,
        read_only: fields.or_default("read_only", View::truth)?,
        init: fields.opt("init", View::truth)?,
        stop_signal: fields.or_default("stop_signal", View::owned)?,
        stop_grace: fields.opt("stop_grace_period", View::duration)?,
        mounts,
        healthcheck: fields.opt("healthcheck", |view| healthcheck(view, cx.unsupported))?.flatten(),
        hosts: fields.or_default("extra_hosts", View::texts)?,
        cap_add: fields.or_default("cap_add", View::texts)?,
        cap_drop: fields.or_default("cap_drop", View::texts)?,
    };
    let published = fields.or_default("ports", |view| {
        view.list()?
            .iter()
            .map(|view| ports::read(view, cx.unsupported))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut uses = Vec::new();
    for (field, kind) in [("secrets", Kind::Secret), ("configs", Kind::Config)] {
        let Some(list) = fields.take(field) else { continue };
        for view in list.list()? {
            let one = reference(key, kind, &view, cx)?;
            if let Some(other) = uses.iter().find(|other: &&Use| other.target == one.target) {
                let why = format!(
                    "{} '{}' and {} '{}' have a conflicting target: '{}'",
                    other.kind, other.name, one.kind, one.name, one.target
                );
                return Err(view.error(why).hint("give one of them another target"));
            }
            uses.push(one);
        }
    }
    if uses.len() > REFERENCES_PER_SERVICE {
        return Err(
            fields.error(format!("uses more than {REFERENCES_PER_SERVICE} secrets and configs"))
        );
    }
    fields.finish()?;
    let Deploy { mode, labels, placement, resources, restart, update, rollback } = deploy;
    let task = TaskSpec {
        container,
        references: Vec::new(),
        resources,
        restart,
        placement,
        ports: published,
        force_update: 0,
    };
    let spec = ServiceSpec { name, labels, task, mode, update, rollback };
    Ok(ServicePlan { key: key.to_owned(), spec, uses })
}

/// Looks only whether the networks are defined: a name that is not is most likely a slip.
fn check_networks(service: &str, view: &View<'_>, cx: &Context<'_>) -> Result<()> {
    let mut names = Vec::new();
    if view.node.as_map().is_some() {
        names.extend(view.entries()?.map(|(name, entry, _)| (name, &entry.key)));
    } else {
        for item in view.list()? {
            names.push((item.text()?, &item.node.pos));
        }
    }
    match names.into_iter().find(|(name, _)| *name != "default" && !cx.networks.contains(*name)) {
        Some((name, pos)) => {
            let why = format!("service {service} refers to undefined network {name}");
            Err(pos.error(&view.path, why))
        }
        None => Ok(()),
    }
}

fn environment(view: &View<'_>) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for (key, entry) in view.node.as_map().into_iter().flatten() {
        if entry.node.is_null() {
            continue;
        }
        let value = View::new(&entry.node, format!("{}.{key}", view.path));
        out.push(format!("{key}={}", value.text()?));
    }
    Ok(out)
}

fn healthcheck(view: &View<'_>, unsupported: &mut BTreeSet<String>) -> Result<Option<Healthcheck>> {
    let mut fields = view.fields()?;
    let disable = fields.or_default("disable", View::truth)?;
    let given = fields.take("test");
    let mut test = given.as_ref().map_or_else(|| Ok(Vec::new()), View::texts)?;
    if let Some(given) = &given {
        match test.first().map(String::as_str) {
            Some("CMD" | "CMD-SHELL" | "NONE") | None => {}
            Some(_) => {
                return Err(given.error("a list must begin with CMD, CMD-SHELL or NONE"));
            }
        }
        if disable && test.first().is_some_and(|first| first != "NONE") {
            return Err(given.error("a test and disable exclude each other"));
        }
    }
    if disable {
        test = vec!["NONE".to_owned()];
    }
    let out = Healthcheck {
        test,
        interval: fields.or_default("interval", View::duration)?,
        timeout: fields.or_default("timeout", View::duration)?,
        start_period: fields.or_default("start_period", View::duration)?,
        retries: fields.or_default("retries", View::whole)?,
    };
    if fields.ignore("start_interval") {
        unsupported.insert("healthcheck.start_interval".to_owned());
    }
    fields.finish()?;
    Ok(Some(out))
}

fn reference(service: &str, kind: Kind, view: &View<'_>, cx: &mut Context<'_>) -> Result<Use> {
    let mut fields = view.fields()?;
    let source = fields.take("source").ok_or_else(|| view.error("a reference needs a source"))?;
    let key = source.text()?;
    let name = cx.objects.get(&(kind, key.to_owned())).cloned().ok_or_else(|| {
        source.error(format!("service {service} refers to undefined {kind} {key}")).hint(format!(
            "define it under {kind}s at the top level; external: true for one that exists"
        ))
    })?;
    let target = match fields.take("target") {
        Some(view) => Target::parse(kind, view.text()?).map_err(|err| bad_target(&view, &err))?,
        None => Target::parse(kind, key).map_err(|err| bad_target(&source, &err))?,
    };
    let owner =
        |view: &View<'_>| view.text()?.parse::<Owner>().map_err(|err| view.error(err.to_string()));
    let (uid, gid) = (fields.opt("uid", owner)?, fields.opt("gid", owner)?);
    let mode = fields.take("mode");
    let mode = mode.map(|view| file_mode(&view, cx.warnings)).transpose()?;
    fields.finish()?;
    Ok(Use { kind, name, target, uid, gid, mode })
}

fn file_mode(view: &View<'_>, warnings: &mut Vec<String>) -> Result<FileMode> {
    let text = view.text()?;
    let bits = units::mode(text)
        .ok_or_else(|| view.error("must be permission bits").hint("write them in octal: 0400"))?;
    if units::looks_octal(text) {
        warnings.push(format!(
            "{}: mode {text} is a decimal number, {bits:04o} in octal; write 0{text} if you mean octal",
            view.path
        ));
    }
    FileMode::new(bits).map_err(|err| view.error(err.to_string()).hint("write it in octal: 0400"))
}

/// The model's reasons without the path, which interpolation may have filled with anything.
fn bad_target(view: &View<'_>, err: &BadTarget) -> ComposeError {
    match err {
        BadTarget::Empty | BadTarget::TooLong | BadTarget::Nul => view.error(err.to_string()),
        BadTarget::Parent(_) => view.error("must not contain '..'"),
        BadTarget::Directory(_) => view.error("names a directory"),
        BadTarget::System(_, on) => {
            view.error(format!("lies on {on}, which belongs to the system"))
        }
    }
}
