//! What a document asks the cluster for, under the name of a stack: services, secrets, configs.

use super::{
    document::Document,
    error::{ComposeError, Result},
    objects::{self, ObjectNames, ObjectPlan, Source},
    service::{self, Context, ServicePlan, Use},
    unsupported,
    view::View,
};
use crate::{
    kit::{
        id::ObjectId,
        name::{BadName, ObjectName, ServiceName},
    },
    model::{
        object::Kind,
        reference::{OnChange, Reference, VersionPick},
        refusal::Refusal,
        service::{STACK_LABEL, ServiceSpec},
    },
};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// The label that remembers the image as the document wrote it, as docker sets it.
pub const IMAGE_LABEL: &str = "com.docker.stack.image";

/// The name of a stack: what a service may be called, for it begins the names of its services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StackName(ServiceName);

/// The text cannot begin the names of services.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid stack name: {0}")]
pub struct BadStackName(#[source] BadName);

impl StackName {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name in the cluster of what the document calls `key`.
    pub fn scope(&self, key: &str) -> String {
        format!("{}_{key}", self.0)
    }
}

/// # Errors
/// [`BadStackName`]: not the name of a service.
impl FromStr for StackName {
    type Err = BadStackName;
    fn from_str(text: &str) -> std::result::Result<Self, BadStackName> {
        text.parse().map(Self).map_err(BadStackName)
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything a stack is to consist of.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub stack: StackName,
    /// By name.
    pub services: Vec<ServicePlan>,
    /// Secrets before configs, each by key.
    pub objects: Vec<ObjectPlan>,
    /// What the document says without effect; for people.
    pub warnings: Vec<String>,
}

/// A service refers to an object that the lookup does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {service}: {kind} not found: {name}")]
pub struct MissingObject {
    /// The service's key in the document.
    pub service: String,
    pub kind: Kind,
    pub name: ObjectName,
}

impl Project {
    pub(crate) fn read(document: &Document, stack: &StackName) -> Result<Self> {
        let mut unsupported = BTreeSet::new();
        let mut warnings = document.warnings.clone();
        let mut fields = View::new(&document.root, "").fields()?;
        for field in ["version", "name"] {
            fields.ignore(field);
        }
        for (field, why) in
            [("include", "give the files with -c"), ("models", "it is not supported")]
        {
            if let Some(view) = fields.take(field) {
                return Err(view.error(format!("cannot be used in a stack: {why}")));
            }
        }
        let mut networks: BTreeSet<String> = fields.or_default("networks", |view| {
            Ok(view.entries()?.map(|(key, ..)| key.to_owned()).collect())
        })?;
        networks.remove("default");
        if !networks.is_empty() {
            let names: Vec<_> = networks.iter().map(String::as_str).collect();
            warnings.push(format!(
                "Ignoring networks: {}: tasks use the engine's default network",
                names.join(", ")
            ));
        }
        let mut objects = Vec::new();
        for (field, kind) in [("secrets", Kind::Secret), ("configs", Kind::Config)] {
            objects
                .extend(fields.or_default(field, |view| objects::read_objects(kind, view, stack))?);
        }
        let names: ObjectNames =
            objects.iter().map(|o| ((o.kind, o.key.clone()), o.name.clone())).collect();
        let volumes = fields
            .or_default("volumes", |view| objects::read_volumes(view, stack, &mut unsupported))?;
        let mut services = Vec::new();
        if let Some(section) = fields.take("services") {
            for (key, entry, view) in section.entries()? {
                let name: ServiceName = stack.scope(key).parse().map_err(|err| {
                    let why = format!("cannot be the name of a service in stack {stack}: {err}");
                    entry.key.error(&view.path, why)
                })?;
                if entry.node.is_null() {
                    return Err(entry.key.error(&view.path, "no image specified"));
                }
                let mut cx = Context {
                    objects: &names,
                    volumes: &volumes,
                    networks: &networks,
                    unsupported: &mut unsupported,
                    warnings: &mut warnings,
                };
                let mut plan = service::read(key, entry, &view, name, &mut cx)?;
                label(&mut plan.spec, stack);
                plan.check().map_err(|refusal| {
                    let error = entry.key.error(&view.path, refusal.message);
                    ComposeError { hint: refusal.hint, ..error }
                })?;
                services.push(plan);
            }
        }
        fields.finish()?;
        if services.is_empty() && objects.is_empty() {
            return Err(document.root.pos.error("services", "no service defined"));
        }
        warnings.splice(0..0, unsupported::warnings(&unsupported));
        Ok(Self { stack: stack.clone(), services, objects, warnings })
    }

    /// The external objects that services use, each with the first such service's key.
    pub fn externals(&self) -> impl Iterator<Item = (&ObjectPlan, &str)> {
        self.objects.iter().filter(|object| object.source == Source::External).filter_map(
            |object| {
                let uses = |service: &&ServicePlan| {
                    service.uses.iter().any(|u| u.kind == object.kind && u.name == object.name)
                };
                Some((object, self.services.iter().find(uses)?.key.as_str()))
            },
        )
    }

    /// The specs of all services, their references resolved by `lookup`: the id of an object, and its name as the
    /// store spells it.
    ///
    /// # Errors
    /// The first reference that `lookup` does not know.
    pub fn to_specs(
        &self,
        lookup: impl Fn(Kind, &ObjectName) -> Option<(ObjectId, ObjectName)>,
    ) -> std::result::Result<Vec<ServiceSpec>, MissingObject> {
        self.services.iter().map(|service| service.resolve(&lookup)).collect()
    }
}

impl ServicePlan {
    fn resolve(
        &self,
        lookup: impl Fn(Kind, &ObjectName) -> Option<(ObjectId, ObjectName)>,
    ) -> std::result::Result<ServiceSpec, MissingObject> {
        let Self { key, spec, uses } = self;
        let mut spec = spec.clone();
        for Use { kind, name, target, uid, gid, mode } in uses {
            let (object, name) = lookup(*kind, name).ok_or_else(|| MissingObject {
                service: key.clone(),
                kind: *kind,
                name: name.clone(),
            })?;
            spec.task.references.push(Reference {
                kind: *kind,
                object,
                name,
                version: VersionPick::Latest,
                target: target.clone(),
                uid: uid.clone(),
                gid: gid.clone(),
                mode: *mode,
                on_change: OnChange::Keep,
            });
        }
        Ok(spec)
    }

    /// Holds the service to the rules it will meet in the cluster, so that a deploy does not stop half-way.
    fn check(&self) -> std::result::Result<(), Refusal> {
        let any = ObjectId::from_random([0; 17]);
        let spec =
            self.resolve(|_, name| Some((any, name.clone()))).expect("every object is found");
        spec.validate()
    }
}

/// Both the service and its containers say which stack they belong to.
fn label(spec: &mut ServiceSpec, stack: &StackName) {
    spec.labels.insert(STACK_LABEL.to_owned(), stack.to_string());
    spec.labels.insert(IMAGE_LABEL.to_owned(), spec.task.container.image.clone());
    spec.task.container.labels.insert(STACK_LABEL.to_owned(), stack.to_string());
}
