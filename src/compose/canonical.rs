//! Brings the short forms of a document into their long ones, so that merging and reading know one form only.

use super::{
    error::Result,
    ports,
    tree::{Entry, Map, Node, Pos, Value, child, item},
    units,
    view::View,
    volumes, words,
};

/// What the long forms depend on beside the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Absolute; relative paths start here.
    pub(crate) base: &'a str,
    /// Where `~` leads, if known.
    pub(crate) home: Option<&'a str>,
    /// Variables are left as they stand, and with them every short form that holds one.
    pub(crate) keep_variables: bool,
}

impl Surroundings<'_> {
    /// For forms that a variable cannot change.
    fn filling(self) -> Self {
        Self { keep_variables: false, ..self }
    }

    /// Makes a host path absolute and removes `.` and `..` from it.
    pub(crate) fn absolute(&self, path: &str) -> String {
        let full = match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ if path.starts_with('/') => path.to_owned(),
            _ => format!("{}/{path}", self.base),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in full.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        format!("/{}", parts.join("/"))
    }
}

/// Rewrites one file's document.
pub(crate) fn canonical(mut root: Node, around: Surroundings<'_>) -> Result<Node> {
    let Value::Map(top) = &mut root.value else {
        return Err(root
            .pos
            .error("", format!("a Compose file is a mapping, not {}", root.kind())));
    };
    each(top, "services", |name, service| {
        let path = child("services", name);
        if let Value::Map(map) = &mut service.value {
            canonical_service(map, &path, around)?;
        }
        Ok(())
    })?;
    for section in ["secrets", "configs", "volumes", "networks"] {
        each(top, section, |name, object| {
            let path = child(section, name);
            if let Value::Map(map) = &mut object.value {
                rewrite(map, &path, "labels", around.filling(), labels)?;
                old_external(map);
                if matches!(section, "secrets" | "configs") {
                    rewrite(map, &path, "file", around, |node, _| Ok(absolute_text(node, around)))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(root)
}

fn each(
    top: &mut Map,
    section: &str,
    mut f: impl FnMut(&str, &mut Node) -> Result<()>,
) -> Result<()> {
    if let Some(Entry { node: Node { value: Value::Map(map), .. }, .. }) = top.get_mut(section) {
        for (name, entry) in map {
            f(name, &mut entry.node)?;
        }
    }
    Ok(())
}

/// Rewrites one field if it is there, keeping its mark.
fn rewrite(
    map: &mut Map,
    path: &str,
    key: &str,
    around: Surroundings<'_>,
    f: impl FnOnce(Node, &str) -> Result<Node>,
) -> Result<()> {
    if let Some(entry) = map.get_mut(key)
        && !entry.node.is_null()
        && !(around.keep_variables && holds_variable(&entry.node))
    {
        let (pos, mark) = (entry.node.pos.clone(), entry.node.mark);
        let node = std::mem::replace(&mut entry.node, Node::null(&pos));
        entry.node = Node { mark, ..f(node, &child(path, key))? };
    }
    Ok(())
}

fn holds_variable(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar(scalar) => scalar.text.contains('$'),
        Value::List(items) => items.iter().any(holds_variable),
        Value::Map(map) => map.values().any(|entry| holds_variable(&entry.node)),
    }
}

fn canonical_service(map: &mut Map, path: &str, around: Surroundings<'_>) -> Result<()> {
    rewrite(map, path, "environment", around.filling(), key_values)?;
    rewrite(map, path, "labels", around.filling(), labels)?;
    for key in ["command", "entrypoint"] {
        rewrite(map, path, key, around, command)?;
    }
    for key in ["secrets", "configs"] {
        rewrite(map, path, key, around, |node, path| {
            items(node, path, |node, _| {
                Ok(vec![match &node.value {
                    Value::Scalar(_) => Node::map(&node.pos.clone(), [("source", node)]),
                    _ => long_reference(node),
                }])
            })
        })?;
    }
    rewrite(map, path, "env_file", around, |node, path| {
        items(one_or_many(node), path, |mut node, _| {
            Ok(vec![match &mut node.value {
                Value::Scalar(_) => {
                    let pos = node.pos.clone();
                    Node::map(&pos, [("path", absolute_text(node, around))])
                }
                Value::Map(map) => {
                    if let Some(entry) = map.get_mut("path") {
                        entry.node = absolute_text(entry.node.clone(), around);
                    }
                    node
                }
                _ => node,
            }])
        })
    })?;
    rewrite(map, path, "volumes", around, |node, path| {
        items(node, path, |node, path| Ok(vec![volumes::long(node, path, around)?]))
    })?;
    rewrite(map, path, "ports", around, |node, path| items(node, path, ports::long))?;
    for key in ["tmpfs", "dns", "dns_search"] {
        rewrite(map, path, key, around, |node, _| Ok(one_or_many(node)))?;
    }
    rewrite(map, path, "extra_hosts", around, extra_hosts)?;
    rewrite(map, path, "healthcheck", around, |mut node, path| {
        if let Value::Map(map) = &mut node.value {
            rewrite(map, path, "test", around, |node, _| {
                Ok(match node.as_text() {
                    Some(line) => Node::texts(&node.pos, ["CMD-SHELL".to_owned(), line.to_owned()]),
                    None => node,
                })
            })?;
        }
        Ok(node)
    })?;
    rewrite(map, path, "deploy", around, |mut node, path| {
        if let Value::Map(map) = &mut node.value {
            rewrite(map, path, "labels", around.filling(), labels)?;
        }
        Ok(node)
    })
}

/// Rewrites each item of a list; one may become several.
fn items(
    node: Node,
    path: &str,
    mut f: impl FnMut(Node, &str) -> Result<Vec<Node>>,
) -> Result<Node> {
    let Value::List(items) = node.value else {
        return Err(View::new(&node, path).list().expect_err("it is no list"));
    };
    let mut out = Vec::with_capacity(items.len());
    for (index, node) in items.into_iter().enumerate() {
        out.extend(f(node, &item(path, index))?);
    }
    Ok(Node { value: Value::List(out), pos: node.pos, mark: node.mark })
}

fn one_or_many(node: Node) -> Node {
    match node.value {
        Value::Scalar(_) => Node::new(&node.pos.clone(), Value::List(vec![node])),
        _ => node,
    }
}

fn absolute_text(node: Node, around: Surroundings<'_>) -> Node {
    match node.as_text() {
        Some(text) if !text.is_empty() => Node::text(&node.pos, around.absolute(text)),
        _ => node,
    }
}

/// `[A=1, B]` becomes `{A: 1, B: null}`; all values are texts.
pub(crate) fn key_values(node: Node, path: &str) -> Result<Node> {
    let pos = node.pos.clone();
    let mut map = Map::new();
    match node.value {
        Value::List(items) => {
            for (index, node) in items.into_iter().enumerate() {
                let text = View::new(&node, item(path, index)).text()?;
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Node::text(&node.pos, value)),
                    None => (text, Node::null(&node.pos)),
                };
                let key = checked_key(key, &node.pos, &item(path, index))?;
                map.insert(key, Entry { key: node.pos.clone(), node: value });
            }
        }
        Value::Map(given) => {
            for (key, mut entry) in given {
                let key = checked_key(&key, &entry.key, path)?;
                match &mut entry.node.value {
                    Value::Null => {}
                    Value::Scalar(scalar) => scalar.plain = false,
                    _ => drop(View::new(&entry.node, child(path, &key)).text()?),
                }
                map.insert(key, entry);
            }
        }
        _ => {
            let why = format!("must be a mapping or a list of KEY=VALUE, not {}", node.kind());
            return Err(pos.error(path, why));
        }
    }
    Ok(Node::new(&pos, Value::Map(map)))
}

fn checked_key(key: &str, pos: &Pos, path: &str) -> Result<String> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err(pos.error(path, "a key must not be empty or contain '=' or NUL"));
    }
    Ok(key.to_owned())
}

fn command(node: Node, path: &str) -> Result<Node> {
    match node.as_text() {
        Some(line) => {
            let words = words::split(line).map_err(|err| node.pos.error(path, err.to_string()))?;
            Ok(Node::texts(&node.pos, words))
        }
        None => Ok(node),
    }
}

/// As [`key_values`]; a label without value has the empty one.
fn labels(node: Node, path: &str) -> Result<Node> {
    let mut node = key_values(node, path)?;
    if let Value::Map(map) = &mut node.value {
        for entry in map.values_mut().filter(|entry| entry.node.is_null()) {
            entry.node = Node { mark: entry.node.mark, ..Node::text(&entry.node.pos, "") };
        }
    }
    Ok(node)
}

/// Writes the mode of a reference so that every reader takes it for octal.
fn long_reference(mut node: Node) -> Node {
    if let Value::Map(map) = &mut node.value
        && let Some(entry) = map.get_mut("mode")
        && let Some(text) = entry.node.as_text()
        && !units::looks_octal(text)
        && let Some(bits) = units::mode(text)
    {
        entry.node = Node::text(&entry.node.pos, format!("{bits:04o}"));
    }
    node
}

/// `{host: ip}` and `host=ip` become `host:ip`.
fn extra_hosts(node: Node, path: &str) -> Result<Node> {
    let pos = node.pos.clone();
    let mut lines = Vec::new();
    match &node.value {
        Value::Map(map) => {
            for (host, entry) in map {
                let view = View::new(&entry.node, child(path, host));
                let addresses = match &entry.node.value {
                    Value::List(_) => view.texts()?,
                    _ => vec![view.owned()?],
                };
                let line = |ip| Node::text(&entry.node.pos, format!("{host}:{ip}"));
                lines.extend(addresses.into_iter().map(line));
            }
        }
        Value::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let view = View::new(node, item(path, index));
                let text = view.text()?;
                // An IPv6 address has colons of its own: the first separator counts.
                let (host, ip) = text
                    .find(['=', ':'])
                    .map(|at| (&text[..at], &text[at + 1..]))
                    .filter(|(host, ip)| !host.is_empty() && !ip.is_empty())
                    .ok_or_else(|| view.error("must be HOST:IP or HOST=IP"))?;
                lines.push(Node::text(&node.pos, format!("{host}:{ip}")));
            }
        }
        _ => return Err(pos.error(path, "must be a mapping or a list of HOST:IP")),
    }
    Ok(Node::new(&pos, Value::List(lines)))
}

/// `external: {name: x}`, the old way, becomes `external: true, name: x`.
fn old_external(map: &mut Map) {
    let Some(entry) = map.get("external") else { return };
    let (key, pos) = (entry.key.clone(), entry.node.pos.clone());
    let Some(given) = entry.node.as_map() else { return };
    if let Some(name) = given.get("name").filter(|_| given.len() == 1).cloned() {
        map.insert("external".to_owned(), Entry { key, node: Node::plain(&pos, "true") });
        map.entry("name".to_owned()).or_insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml;

    const AROUND: Surroundings<'_> =
        Surroundings { base: "/srv/app", home: Some("/home/u"), keep_variables: false };

    fn long(text: &str) -> Result<String> {
        let node = yaml::parse("f.yaml", text.as_bytes())?.remove(0);
        Ok(serde_saphyr::to_string(&canonical(node, AROUND)?).unwrap())
    }

    fn service(fields: &str) -> String {
        let text = format!("services:\n  a:\n    {}\n", fields.replace('\n', "\n    "));
        let out = long(&text).unwrap();
        let lines = out.lines().skip(2).map(|line| line.strip_prefix("    ").unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lists_of_pairs_become_mappings_of_texts() {
        assert_eq!(
            service("environment: [A=1, B, C=x=y]"),
            "environment:\n  A: \"1\"\n  B: null\n  C: x=y"
        );
        assert_eq!(
            service("labels: {a: 1, b: true, c: }"),
            "labels:\n  a: \"1\"\n  b: \"true\"\n  c: \"\""
        );
        long("services: {a: {environment: [=x]}}").unwrap_err();
        long("services: {a: {environment: 1}}").unwrap_err();
        long("services: {a: {environment: {A: [1]}}}").unwrap_err();
    }

    #[test]
    fn references_and_modes_become_long() {
        assert_eq!(
            service(
                "secrets:\n- one\n- {source: two, mode: 256}\n- {source: three, mode: 0440}\n- {source: four, mode: 440}"
            ),
            "secrets:\n- source: one\n- mode: \"0400\"\n  source: two\n- mode: \"0440\"\n  source: three\n- mode: 440\n  source: four"
        );
    }

    #[test]
    fn paths_become_absolute() {
        assert_eq!(AROUND.absolute("./a/../b"), "/srv/app/b");
        assert_eq!(AROUND.absolute("~/x"), "/home/u/x");
        assert_eq!(AROUND.absolute("~x"), "/srv/app/~x");
        assert_eq!(AROUND.absolute("/../a//b/."), "/a/b");
        assert_eq!(service("env_file: a.env"), "env_file:\n- path: /srv/app/a.env");
        assert!(long("secrets: {s: {file: ./s.txt}}").unwrap().contains("/srv/app/s.txt"));
    }

    #[test]
    fn commands_and_hosts_become_lists() {
        assert_eq!(service("command: sh -c 'a b'"), "command:\n- sh\n- -c\n- a b");
        assert_eq!(
            service("extra_hosts: ['a:1.2.3.4', 'b=::1', c:fe80::1]"),
            "extra_hosts:\n- a:1.2.3.4\n- b:::1\n- c:fe80::1"
        );
        assert_eq!(
            service("healthcheck: {test: exit 0}"),
            "healthcheck:\n  test:\n  - CMD-SHELL\n  - exit 0"
        );
        long("services: {a: {command: \"sh '\"}}").unwrap_err();
    }

    #[test]
    fn the_old_form_of_external_is_understood() {
        assert_eq!(
            long("configs: {c: {external: {name: other}}}").unwrap(),
            "configs:\n  c:\n    external: true\n    name: other\n"
        );
    }
}
