//! Mounts of a service: short forms into long ones, and the long one into the model's.

use super::{
    canonical::Surroundings,
    error::Result,
    tree::{Node, Value},
    units,
    view::View,
};
use crate::model::service::{Mount, MountKind};
use std::collections::{BTreeMap, BTreeSet};

/// `./data:/data:ro` becomes `{type: bind, source: /…/data, target: /data, read_only: true}`.
pub(crate) fn long(mut node: Node, path: &str, around: Surroundings<'_>) -> Result<Node> {
    if let Value::Map(map) = &mut node.value {
        let bind = map.get("type").and_then(|entry| entry.node.as_text()) == Some("bind");
        if let Some(entry) = map.get_mut("source")
            && bind
            && let Some(source) = entry.node.as_text()
            && !source.is_empty()
        {
            entry.node = Node::text(&entry.node.pos, around.absolute(source));
        }
        return Ok(node);
    }
    let view = View::new(&node, path);
    let bad = |why: &str| view.error(why).hint("a volume is [SOURCE:]TARGET[:ro]");
    let text = view.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(bad("too many colons")),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(bad("there is nothing between two colons"));
    }
    let bind = source.starts_with(['/', '.', '~']);
    let text = |text: &str| Node::text(&node.pos, text);
    let mut fields =
        vec![("type", text(if bind { "bind" } else { "volume" })), ("target", text(target))];
    if bind {
        fields.push(("source", Node::text(&node.pos, around.absolute(source))));
    } else if !source.is_empty() {
        fields.push(("source", text(source)));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => fields.push(("read_only", Node::plain(&node.pos, "true"))),
            "rw" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => {
                let nocopy = Node::map(&node.pos, [("nocopy", Node::plain(&node.pos, "true"))]);
                fields.push(("volume", nocopy));
            }
            "z" | "Z" => {
                fields.push(("bind", Node::map(&node.pos, [("selinux", text(option))])));
            }
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                fields.push(("bind", Node::map(&node.pos, [("propagation", text(option))])));
            }
            _ => return Err(bad("unknown option after the target")),
        }
    }
    Ok(Node::map(&node.pos, fields))
}

/// Reads a long form. `named` gives the engine's name of each volume the document defines.
pub(crate) fn read(
    view: &View<'_>,
    named: &BTreeMap<String, String>,
    unsupported: &mut BTreeSet<String>,
) -> Result<Mount> {
    let mut fields = view.fields()?;
    let kinds = [("bind", Shape::Bind), ("volume", Shape::Volume), ("tmpfs", Shape::Tmpfs)];
    let shape = fields
        .opt("type", |view| view.word(&kinds))?
        .ok_or_else(|| view.error("a mount needs a type: bind, volume or tmpfs"))?;
    let target = fields.take("target").ok_or_else(|| view.error("a mount needs a target"))?;
    if !target.text()?.starts_with('/') {
        return Err(target.error("must be an absolute path"));
    }
    let source = fields.take("source");
    let read_only = fields.or_default("read_only", View::truth)?;
    fields.ignore("consistency");
    let mut tmpfs = (0, 0o1777);
    for (key, options) in [
        ("bind", &["propagation", "selinux", "recursive"][..]),
        ("volume", &["nocopy", "subpath", "labels"][..]),
    ] {
        let Some(view) = fields.take(key) else { continue };
        let mut inner = view.fields()?;
        for option in options {
            if inner.ignore(option) {
                unsupported.insert(format!("volumes.{key}.{option}"));
            }
        }
        // The engine refuses or makes a missing path by its own rule.
        inner.ignore("create_host_path");
        inner.finish()?;
    }
    if let Some(view) = fields.take("tmpfs") {
        let mut inner = view.fields()?;
        tmpfs.0 = inner.or_default("size", View::bytes)?;
        tmpfs.1 = inner.opt("mode", tmpfs_mode)?.unwrap_or(tmpfs.1);
        inner.finish()?;
    }
    fields.finish()?;
    let (kind, source) = match (shape, source) {
        (Shape::Bind, Some(source)) => (MountKind::Bind, source.owned()?),
        (Shape::Bind, None) => return Err(view.error("a bind mount needs a source")),
        (Shape::Volume, None) => (MountKind::Volume, String::new()),
        (Shape::Volume, Some(source)) => {
            let name = source.text()?;
            let named = named.get(name).ok_or_else(|| {
                source
                    .error("names a volume that the document does not define")
                    .hint("add it to the volumes at the top level; a host path starts with / or ./")
            })?;
            (MountKind::Volume, named.clone())
        }
        (Shape::Tmpfs, None) => (MountKind::Tmpfs { size: tmpfs.0, mode: tmpfs.1 }, String::new()),
        (Shape::Tmpfs, Some(source)) => return Err(source.error("a tmpfs has no source")),
    };
    Ok(Mount { kind, source, target: target.owned()?, read_only })
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Bind,
    Volume,
    Tmpfs,
}

fn tmpfs_mode(view: &View<'_>) -> Result<u32> {
    units::mode(view.text()?)
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| view.error("must be permission bits, as 01777"))
}

/// Reads an item of `tmpfs:`, as `/run:size=64m,mode=1777`.
pub(crate) fn read_tmpfs(view: &View<'_>, unsupported: &mut BTreeSet<String>) -> Result<Mount> {
    let text = view.text()?;
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(view.error("must be an absolute path"));
    }
    let (mut size, mut mode, mut read_only) = (0, 0o1777, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let bad =
            || view.error("an option of the tmpfs is malformed").hint("as /run:size=64m,mode=1777");
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            None if option == "rw" => {}
            Some(("size", value)) => size = units::bytes(value).ok_or_else(bad)?,
            // mount(8) reads it as octal with or without the leading nought.
            Some(("mode", value)) => {
                mode =
                    units::mode(&format!("0{value}")).filter(|m| *m <= 0o7777).ok_or_else(bad)?;
            }
            other => {
                let name = other.map_or(option, |(name, _)| name);
                let known =
                    ["uid", "gid", "nr_inodes", "noexec", "exec", "nosuid", "suid", "nodev", "dev"];
                if !known.contains(&name) {
                    return Err(bad());
                }
                unsupported.insert(format!("tmpfs.{name}"));
            }
        }
    }
    let kind = MountKind::Tmpfs { size, mode };
    Ok(Mount { kind, source: String::new(), target: target.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tree::Pos;
    use proptest::prelude::*;

    fn mount(text: &str) -> Result<Mount> {
        let pos = Pos { file: "f".into(), line: 1, column: 1 };
        let around = Surroundings { base: "/srv", home: Some("/home/u"), keep_variables: false };
        let node = long(Node::text(&pos, text), "volumes[0]", around)?;
        let named = BTreeMap::from([("data".to_owned(), "st_data".to_owned())]);
        read(&View::new(&node, "volumes[0]"), &named, &mut BTreeSet::new())
    }

    fn shown(text: &str) -> String {
        let Mount { kind, source, target, read_only } = mount(text).unwrap();
        let kind = match kind {
            MountKind::Bind => "bind",
            MountKind::Volume => "volume",
            MountKind::Tmpfs { .. } => "tmpfs",
        };
        format!("{kind} {source} {target} {read_only}")
    }

    #[test]
    fn short_forms_read_as_docker_reads_them() {
        assert_eq!(shown("/data"), "volume  /data false");
        assert_eq!(shown("data:/data:ro"), "volume st_data /data true");
        assert_eq!(shown("./x:/data:rw,z"), "bind /srv/x /data false");
        assert_eq!(shown("~/x:/data"), "bind /home/u/x /data false");
        assert_eq!(shown("/:/host:ro,rslave"), "bind / /host true");
        for bad in ["", "data", "none:/data", "a:b", ":/x", "data:/x:zz", "a:/b:ro:c", "data::ro"] {
            mount(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_tmpfs_takes_size_and_mode() {
        let pos = Pos { file: "f".into(), line: 1, column: 1 };
        let node = Node::text(&pos, "/run:size=64m,mode=1770,noexec");
        let mut ignored = BTreeSet::new();
        let mount = read_tmpfs(&View::new(&node, "tmpfs[0]"), &mut ignored).unwrap();
        assert_eq!(mount.kind, MountKind::Tmpfs { size: 64 << 20, mode: 0o1770 });
        assert_eq!(ignored.into_iter().collect::<Vec<_>>(), ["tmpfs.noexec"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z:/.~, ]{0,20}") {
            drop(mount(&text));
        }
    }
}
