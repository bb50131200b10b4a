//! Loads Compose files into one document: read, filled in, brought into the long form, merged.

use super::{
    canonical::{Surroundings, canonical},
    dotenv,
    environment::Environment,
    error::{ComposeError, Result},
    interpolate::{Filling, interpolate},
    merge::{merge, settle},
    project::{Project, StackName},
    tree::{Entry, Map, Node, Value, child},
    view::View,
    yaml,
};
use serde::ser::SerializeMap;

/// One Compose file: the path to show in errors, and what is in it.
#[derive(Clone)]
pub struct File {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Why a file that a document names could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    NotFound,
    /// With the reason, for people.
    Other(String),
}

/// Reads the files that a document names by absolute path: those of `env_file`.
pub trait Files {
    /// # Errors
    /// [`FileError`] tells a file that is not there from one that cannot be read.
    fn read(&self, path: &str) -> std::result::Result<Vec<u8>, FileError>;
}

/// A loaded document: all files merged, variables filled in, every short form made long.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) root: Node,
    pub(crate) warnings: Vec<String>,
    /// Variables still stand as they were written.
    kept: bool,
}

/// Loads the files, later ones over earlier ones. Relative paths start at `base`, an absolute
/// path: the directory of the first file.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(files: &[File], base: &str, env: &Environment, disk: &dyn Files) -> Result<Document> {
    let around = Surroundings { base, home: env.get("HOME"), keep_variables: false };
    let mut filling = Filling::default();
    let mut root = merged(files, around, |node| interpolate(node, "", env, &mut filling))?;
    fill_environments(&mut root, env, disk, &mut filling)?;
    let warnings = filling
        .missing
        .into_iter()
        .map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."))
        .collect();
    Ok(Document { root, warnings, kept: false })
}

/// As [`load`], but leaves variables as they stand; such a document can only be written.
///
/// # Errors
/// As [`load`].
pub fn load_unfilled(files: &[File], base: &str) -> Result<Document> {
    let around = Surroundings { base, home: None, keep_variables: true };
    let root = merged(files, around, |_| Ok(()))?;
    Ok(Document { root, warnings: Vec::new(), kept: true })
}

fn merged(
    files: &[File],
    around: Surroundings<'_>,
    mut fill: impl FnMut(&mut Node) -> Result<()>,
) -> Result<Node> {
    let mut root: Option<Node> = None;
    for file in files {
        let documents = yaml::parse(&file.path, &file.bytes)?;
        if documents.is_empty() {
            return Err(ComposeError::in_file(&file.path, 0, "empty compose file"));
        }
        for mut node in documents {
            fill(&mut node)?;
            let node = canonical(node, around)?;
            root = Some(match root {
                None => node,
                Some(base) => merge(base, node)?,
            });
        }
    }
    let mut root = root.ok_or_else(|| ComposeError::in_file("-c", 0, "no compose file given"))?;
    settle(&mut root);
    Ok(root)
}

impl Document {
    /// What the document asks for under the name of a stack.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn project(&self, stack: &StackName) -> Result<Project> {
        Project::read(self, stack)
    }

    /// The document in its long form, as YAML that loads to the same again.
    pub fn to_yaml(&self) -> String {
        let mut root = self.root.clone();
        if !self.kept {
            double_dollars(&mut root);
        }
        serde_saphyr::to_string(&TopLevel(&root))
            .expect("a tree of texts and numbers can be written")
    }
}

fn double_dollars(node: &mut Node) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => scalar.text = scalar.text.replace('$', "$$"),
        Value::List(items) => items.iter_mut().for_each(double_dollars),
        Value::Map(map) => map.values_mut().for_each(|entry| double_dollars(&mut entry.node)),
    }
}

/// The top level in the order people write it.
struct TopLevel<'a>(&'a Node);

impl serde::Serialize for TopLevel<'_> {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        const ORDER: [&str; 7] =
            ["version", "name", "services", "networks", "volumes", "secrets", "configs"];
        let Some(map) = self.0.as_map() else { return self.0.serialize(serializer) };
        let mut out = serializer.serialize_map(None)?;
        let known = ORDER.iter().filter_map(|key| map.get_key_value(*key));
        let others = map.iter().filter(|(key, _)| !ORDER.contains(&key.as_str()));
        for (key, entry) in known.chain(others) {
            out.serialize_entry(key, &entry.node)?;
        }
        out.end()
    }
}

/// Puts what `env_file` names below `environment`, and fills variables without value from `env`.
fn fill_environments(
    root: &mut Node,
    env: &Environment,
    disk: &dyn Files,
    filling: &mut Filling,
) -> Result<()> {
    let Value::Map(top) = &mut root.value else { return Ok(()) };
    let Some(Entry { node: Node { value: Value::Map(services), .. }, .. }) =
        top.get_mut("services")
    else {
        return Ok(());
    };
    for (name, service) in services {
        let path = child("services", name);
        let Value::Map(service) = &mut service.node.value else { continue };
        let files = service.remove("env_file");
        let mut vars = match files {
            Some(entry) if !entry.node.is_null() => {
                let view = View::new(&entry.node, child(&path, "env_file"));
                read_env_files(&view, env, disk, filling)?
            }
            _ => Map::new(),
        };
        if let Some(Entry { node: Node { value: Value::Map(own), .. }, .. }) =
            service.get_mut("environment")
        {
            for (key, mut entry) in std::mem::take(own) {
                if entry.node.is_null() {
                    match env.get(&key) {
                        Some(value) => {
                            let weighed = filling.weigh(value.len());
                            weighed.map_err(|bad| entry.node.pos.error(&path, bad.to_string()))?;
                            entry.node = Node::text(&entry.node.pos, value);
                        }
                        None => continue,
                    }
                }
                vars.insert(key, entry);
            }
            *own = vars;
        } else if let Some((_, first)) = vars.first_key_value() {
            let pos = first.key.clone();
            let node = Node::new(&pos, Value::Map(vars));
            service.insert("environment".to_owned(), Entry { key: pos, node });
        }
    }
    Ok(())
}

fn read_env_files(
    view: &View<'_>,
    env: &Environment,
    disk: &dyn Files,
    filling: &mut Filling,
) -> Result<Map> {
    let mut out = Map::new();
    for view in view.list()? {
        let mut fields = view.fields()?;
        let path = fields.take("path").ok_or_else(|| view.error("an env file needs a path"))?;
        let required = fields.opt("required", View::truth)?.unwrap_or(true);
        let raw = fields.or_default("format", |view| match view.text()? {
            "raw" => Ok(true),
            "dotenv" => Ok(false),
            _ => Err(view.error("must be one of: dotenv, raw")),
        })?;
        fields.finish()?;
        let name = path.text()?;
        let bytes = match disk.read(name) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound) if !required => continue,
            Err(FileError::NotFound) => {
                return Err(path.error(format!("env file {name} not found")));
            }
            Err(FileError::Other(why)) => {
                return Err(path.error(format!("cannot read env file {name}: {why}")));
            }
        };
        let known = |name: &str| env.get(name).map(str::to_owned);
        let vars = if raw {
            dotenv::parse_raw(name, &bytes, &known)?
        } else {
            dotenv::parse(name, &bytes, &known)?
        };
        for (key, value) in vars {
            // A document may name one large file very often.
            filling
                .weigh(key.len() + value.len())
                .map_err(|bad| path.error(format!("env file {name}: {bad}")))?;
            let node = Node::text(&path.node.pos, value);
            out.insert(key, Entry { key: path.node.pos.clone(), node });
        }
    }
    Ok(out)
}
