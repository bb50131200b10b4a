//! Lays a later document over an earlier one as Compose does. Both are in the long form.

use super::{
    error::Result,
    tree::{Entry, Map, Mark, Node, Value},
};
use crate::model::{object::Kind, reference::Target};
use std::collections::BTreeMap;

/// Lays `over` on `base`: mappings deeply, lists by [`rule`], single values replaced.
pub(crate) fn merge(base: Node, over: Node) -> Result<Node> {
    nodes(base, over, &mut Vec::new())
}

/// Takes out what is marked `!reset` and every mark beside it: the last step, and all of it for one file.
pub(crate) fn settle(node: &mut Node) {
    node.mark = Mark::Merge;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.mark != Mark::Reset);
            map.values_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.mark != Mark::Reset);
            items.iter_mut().for_each(settle);
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn nodes(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node> {
    if over.mark != Mark::Merge || base.mark == Mark::Reset {
        return Ok(over);
    }
    let rule = rule(path);
    if rule == Rule::Replace {
        return Ok(over);
    }
    let was = base.kind();
    match (base.value, over.value) {
        // The mark that stays is the earlier one, in case a third file follows.
        (Value::Map(theirs), Value::Map(ours)) => Ok(Node {
            value: Value::Map(maps(theirs, ours, path)?),
            pos: over.pos,
            mark: base.mark,
        }),
        (Value::List(theirs), Value::List(ours)) => Ok(Node {
            value: Value::List(lists(theirs, ours, rule)),
            pos: over.pos,
            mark: base.mark,
        }),
        // An empty field over a filled one says nothing.
        (value @ (Value::Map(_) | Value::List(_)), Value::Null) => Ok(Node { value, ..base }),
        (Value::Map(_) | Value::List(_), value @ Value::Scalar(_))
        | (Value::Map(_), value @ Value::List(_))
        | (Value::List(_), value @ Value::Map(_)) => {
            let over = Node { value, ..over };
            let why = format!(
                "is {}, and cannot be merged with {} in {}:{}",
                over.kind(),
                was,
                base.pos.file,
                base.pos.line
            );
            Err(over.pos.error(&path.join("."), why).hint("!override replaces instead of merging"))
        }
        (Value::Null | Value::Scalar(_), value) => Ok(Node { value, ..over }),
    }
}

fn maps(mut base: Map, over: Map, path: &mut Vec<String>) -> Result<Map> {
    for (key, entry) in over {
        let merged = match base.remove(&key) {
            None => entry,
            Some(old) => {
                path.push(key.clone());
                let node = nodes(old.node, entry.node, path)?;
                path.pop();
                Entry { key: entry.key, node }
            }
        };
        base.insert(key, merged);
    }
    Ok(base)
}

fn lists(base: Vec<Node>, over: Vec<Node>, rule: Rule) -> Vec<Node> {
    let key_of: fn(&Node) -> Option<String> = match rule {
        Rule::Deep | Rule::Replace => return base.into_iter().chain(over).collect(),
        Rule::Texts => |node| node.as_text().map(str::to_owned),
        Rule::EnvFiles => |node| node.field("path").map(str::to_owned),
        Rule::References(Kind::Secret) => |node| target_key(Kind::Secret, node),
        Rule::References(Kind::Config) => |node| target_key(Kind::Config, node),
        Rule::Mounts => |node| node.field("target").map(|t| t.trim_end_matches('/').to_owned()),
        Rule::Ports => |node| {
            let field = |key| node.field(key).unwrap_or_default();
            let protocol = node.field("protocol").unwrap_or("tcp");
            Some(format!(
                "{} {} {} {protocol}",
                field("host_ip"),
                field("published"),
                field("target")
            ))
        },
    };
    // What both have keeps its earlier place. Two of one key within one file stay two, to be refused later.
    let mut places: BTreeMap<String, usize> =
        base.iter().enumerate().filter_map(|(at, node)| Some((key_of(node)?, at))).collect();
    let mut out = base;
    for node in over {
        match key_of(&node).and_then(|key| places.remove(&key)) {
            Some(at) => out[at] = node,
            None => out.push(node),
        }
    }
    out
}

fn target_key(kind: Kind, node: &Node) -> Option<String> {
    let text = node.field("target").or_else(|| node.field("source"))?;
    Some(Target::parse(kind, text).map_or_else(|_| text.to_owned(), |target| target.to_string()))
}

/// How two values of one path meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Mappings field by field, lists one after the other.
    Deep,
    /// The later one alone.
    Replace,
    /// As a set of texts.
    Texts,
    EnvFiles,
    References(Kind),
    Mounts,
    Ports,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let ["services", _, below @ ..] = &path[..] else { return Rule::Deep };
    match below {
        ["command" | "entrypoint"] | ["healthcheck", "test"] => Rule::Replace,
        ["secrets"] => Rule::References(Kind::Secret),
        ["configs"] => Rule::References(Kind::Config),
        ["volumes"] => Rule::Mounts,
        ["ports"] => Rule::Ports,
        ["env_file"] => Rule::EnvFiles,
        [
            "tmpfs" | "cap_add" | "cap_drop" | "group_add" | "extra_hosts" | "expose" | "dns"
            | "dns_search" | "profiles" | "links",
        ] => Rule::Texts,
        ["deploy", "placement", "constraints"] => Rule::Texts,
        // Fields a stack ignores may have forms that do not fit together.
        [field] if super::unsupported::is_ignored(field) => Rule::Replace,
        _ => Rule::Deep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{
        canonical::{Surroundings, canonical},
        yaml,
    };

    fn merged(files: &[&str]) -> Result<String> {
        let around = Surroundings { base: "/w", home: None, keep_variables: false };
        let mut all: Option<Node> = None;
        for (n, text) in files.iter().enumerate() {
            let text = format!("services:\n  a:\n    {}\n", text.replace('\n', "\n    "));
            let node = yaml::parse(&format!("{n}.yaml"), text.as_bytes())?.remove(0);
            let node = canonical(node, around)?;
            all = Some(match all {
                None => node,
                Some(base) => merge(base, node)?,
            });
        }
        let mut node = all.unwrap();
        settle(&mut node);
        let text = serde_saphyr::to_string(&node).unwrap();
        let lines: Vec<_> =
            text.lines().skip(2).map(|l| l.strip_prefix("    ").unwrap_or(l)).collect();
        Ok(lines.join("\n"))
    }

    #[track_caller]
    fn check(base: &str, over: &str, expected: &str) {
        assert_eq!(merged(&[base, over]).unwrap(), expected);
    }

    #[test]
    fn mappings_merge_deeply_and_single_values_are_replaced() {
        check(
            "image: a\ndeploy: {replicas: 2, resources: {limits: {cpus: '1'}}}",
            "deploy: {replicas: 3, resources: {limits: {memory: 1g}}}",
            "deploy:\n  replicas: 3\n  resources:\n    limits:\n      cpus: \"1\"\n      memory: 1g\nimage: a",
        );
    }

    #[test]
    fn variables_and_labels_merge_by_key_whatever_their_form() {
        check(
            "environment: [A=1, B=2]",
            "environment: {B: 3, C: 4}",
            "environment:\n  A: \"1\"\n  B: \"3\"\n  C: \"4\"",
        );
    }

    #[test]
    fn a_command_is_replaced() {
        check(
            "command: [a, b]\nentrypoint: x",
            "command: c d",
            "command:\n- c\n- d\nentrypoint:\n- x",
        );
    }

    #[test]
    fn references_and_mounts_merge_by_target() {
        check(
            "secrets: [one, {source: two, target: /x}]",
            "secrets: [{source: other, target: /run/secrets/one}, three]",
            "secrets:\n- source: other\n  target: /run/secrets/one\n- source: two\n  target: /x\n- source: three",
        );
        check(
            "volumes: ['a:/data', '/b:/b']",
            "volumes: ['c:/data/']",
            "volumes:\n- source: c\n  target: /data/\n  type: volume\n- source: /b\n  target: /b\n  type: bind",
        );
    }

    #[test]
    fn ports_and_other_lists_append_without_repeating() {
        check(
            "ports: ['80:80']\ncap_add: [A]\ndns: 1.1.1.1",
            "ports: ['80:80', '81:80']\ncap_add: [B, A]\ndns: [8.8.8.8]",
            "cap_add:\n- A\n- B\ndns:\n- \"1.1.1.1\"\n- \"8.8.8.8\"\nports:\n- protocol: tcp\n  published: 80\n  target: 80\n- protocol: tcp\n  published: 81\n  target: 80",
        );
    }

    #[test]
    fn reset_and_override_do_what_they_say() {
        check(
            "ports: ['80']\ncap_add: [A]",
            "ports: !reset []\ncap_add: !override [B]",
            "cap_add:\n- B",
        );
        check("image: a\nuser: b", "user: !reset null", "image: a");
        assert_eq!(merged(&["image: a\nuser: !reset b"]).unwrap(), "image: a");
        assert_eq!(
            merged(&["cap_add: [A]", "cap_add: !override [B]", "cap_add: [C]"]).unwrap(),
            "cap_add:\n- B\n- C"
        );
    }

    #[test]
    fn kinds_that_do_not_fit_are_named_with_both_places() {
        let err = merged(&["deploy: {replicas: 1}", "deploy: 3"]).unwrap_err().to_string();
        assert!(err.starts_with("1.yaml:3:13: services.a.deploy: is a single value, and cannot be merged with a mapping"), "{err}");
        assert!(err.contains("0.yaml:3"), "{err}");
        check("build: .", "build: {context: x}", "build:\n  context: x");
    }
}
