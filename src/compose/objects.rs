//! Reads the secrets, configs and volumes a document defines at its top level.

use super::{
    deploy,
    error::{ComposeError, Result},
    project::StackName,
    tree::{Entry, Node},
    view::View,
};
use crate::{
    kit::name::ObjectName,
    model::{Labels, object::Kind, service::STACK_LABEL},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

/// Where the payload of a secret or config comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// An absolute path on the machine of the caller.
    File(PathBuf),
    /// A variable of the caller's environment.
    Environment(String),
    /// Written in the document; only configs.
    Content(String),
    /// Must be there already.
    External,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Environment(name) => write!(f, "Environment({name})"),
            Self::Content(_) => f.write_str("Content(..)"),
            Self::External => f.write_str("External"),
        }
    }
}

/// A secret or config the document defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPlan {
    pub kind: Kind,
    /// Its key in the document.
    pub key: String,
    /// Its name in the store: `<stack>_<key>`, or what `name:` says.
    pub name: ObjectName,
    pub source: Source,
    pub labels: Labels,
    /// `file:line:column: path`, for errors that come later.
    pub place: String,
}

/// The store's name of each object by its kind and key.
pub(crate) type ObjectNames = BTreeMap<(Kind, String), ObjectName>;

pub(crate) fn read_objects(
    kind: Kind,
    view: &View<'_>,
    stack: &StackName,
) -> Result<Vec<ObjectPlan>> {
    view.entries()?.map(|(key, entry, view)| read_object(kind, key, entry, &view, stack)).collect()
}

fn read_object(
    kind: Kind,
    key: &str,
    entry: &Entry,
    view: &View<'_>,
    stack: &StackName,
) -> Result<ObjectPlan> {
    let null = Node::null(&entry.key);
    if entry.node.is_null() {
        return Err(no_source(kind, &View::new(&null, view.path.clone())));
    }
    let mut fields = view.fields()?;
    for field in ["driver", "driver_opts", "template_driver"] {
        if let Some(view) = fields.take(field) {
            return Err(view.error("is not supported"));
        }
    }
    let external = fields.or_default("external", View::truth)?;
    let given = fields.take("name");
    let mut sources = Vec::new();
    if let Some(view) = fields.take("file") {
        sources.push(("file", Source::File(PathBuf::from(filled(&view)?)), view));
    }
    if let Some(view) = fields.take("environment") {
        sources.push(("environment", Source::Environment(filled(&view)?), view));
    }
    if let Some(view) = fields.take("content") {
        if kind == Kind::Secret {
            return Err(view
                .error("a secret must not stand in the document")
                .hint("use file: or environment:, or create it first and say external: true"));
        }
        sources.push(("content", Source::Content(view.owned()?), view));
    }
    let mut labels = fields.or_default("labels", deploy::labels)?;
    fields.finish()?;
    let source = match (external, sources.len()) {
        (true, 0) => Source::External,
        (true, _) => {
            let (field, _, view) = &sources[0];
            return Err(view.error(format!("external and {field} exclude each other")));
        }
        (false, 0) => return Err(no_source(kind, view)),
        (false, 1) => sources.swap_remove(0).1,
        (false, _) => {
            let (first, second) = (sources[0].0, sources[1].0);
            return Err(sources[1].2.error(format!("{first} and {second} exclude each other")));
        }
    };
    let name = match &given {
        Some(view) => filled(view)?,
        None if external => key.to_owned(),
        None => stack.scope(key),
    };
    let name = name.parse().map_err(|err| match &given {
        Some(view) => view.error(format!("{err}")),
        None => entry.key.error(&view.path, format!("{err}")),
    })?;
    if source != Source::External {
        labels.insert(STACK_LABEL.to_owned(), stack.to_string());
    }
    let place = ComposeError::at(&entry.key, &view.path, "").to_string();
    let place = place.trim_end_matches(": ").to_owned();
    Ok(ObjectPlan { kind, key: key.to_owned(), name, source, labels, place })
}

fn filled(view: &View<'_>) -> Result<String> {
    let text = view.owned()?;
    if text.is_empty() { Err(view.error("must not be empty")) } else { Ok(text) }
}

fn no_source(kind: Kind, view: &View<'_>) -> ComposeError {
    view.error(format!("does not say where the {kind} comes from")).hint(match kind {
        Kind::Secret => "give one of file:, environment:, external: true",
        Kind::Config => "give one of file:, environment:, content:, external: true",
    })
}

/// Reads the volumes: the engine's name for each key.
pub(crate) fn read_volumes(
    view: &View<'_>,
    stack: &StackName,
    unsupported: &mut BTreeSet<String>,
) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for (key, entry, view) in view.entries()? {
        let mut name = stack.scope(key);
        if !entry.node.is_null() {
            let mut fields = view.fields()?;
            let external = fields.or_default("external", View::truth)?;
            for field in ["driver", "driver_opts", "labels", "x-cluster-spec"] {
                if fields.ignore(field) {
                    unsupported.insert(format!("volumes.{field}"));
                }
            }
            match fields.opt("name", filled)? {
                Some(given) => name = given,
                None if external => key.clone_into(&mut name),
                None => {}
            }
            fields.finish()?;
        }
        out.insert(key.to_owned(), name);
    }
    Ok(out)
}
