//! Reads YAML into the tree: anchors, merge keys and tags resolved, duplicate keys and bombs refused.

use super::{
    error::{ComposeError, Result},
    tree::{Entry, Map, Mark, Node, Pos, Scalar, Value, child, item},
};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, StrInput, Tag};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// One Compose file, in bytes: room for a few configs inlined at their largest.
const FILE_SIZE: usize = 8 * 1024 * 1024;
/// What a document may weigh with its aliases written out, in bytes: a bomb of aliases stops here.
const WEIGHT: usize = 16 * 1024 * 1024;
/// What one node adds to the weight beside its text.
const NODE_WEIGHT: usize = 64;
/// Levels of nesting, aliases written out: later passes recurse.
const DEPTH: usize = 100;

/// Reads all documents of a file; those after the first override it like further files.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Node>> {
    if bytes.len() > FILE_SIZE {
        return Err(ComposeError::in_file(
            file,
            0,
            format!("is larger than {FILE_SIZE} bytes, too large for a Compose file"),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|err| {
        let line = 1 + bytes[..err.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        ComposeError::in_file(file, line, "is not UTF-8 text")
    })?;
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        file: Arc::from(file),
        anchors: BTreeMap::new(),
        weight: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentEnd, _) => {}
            (Event::DocumentStart(..), _) => {
                reader.anchors.clear();
                let (event, pos) = reader.next()?;
                documents.push(reader.node(event, pos, "", 0)?);
            }
            _ => break,
        }
    }
    documents.retain(|node| !node.is_null());
    Ok(documents)
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    file: Arc<str>,
    /// A node under its anchor; nothing yet while it is being read.
    anchors: BTreeMap<usize, Option<(Node, Size)>>,
    weight: usize,
}

/// What a subtree weighs and how deep it goes.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    weight: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Pos)> {
        let pos = |line: usize, column: usize| Pos {
            file: Arc::clone(&self.file),
            line,
            column: column + 1,
        };
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, pos(span.start.line(), span.start.col()))),
            Some(Err(err)) => {
                let at = pos(err.marker().line(), err.marker().col());
                Err(at.error("", format!("not valid YAML: {}", err.info())))
            }
            None => Ok((Event::StreamEnd, pos(1, 0))),
        }
    }

    fn node(&mut self, event: Event<'t>, pos: Pos, path: &str, depth: usize) -> Result<Node> {
        if depth > DEPTH {
            return Err(pos.error(path, format!("nested deeper than {DEPTH} levels")));
        }
        self.weigh(NODE_WEIGHT, &pos, path)?;
        let (anchor, mark, value) = match event {
            Event::Alias(id) => return self.alias(id, &pos, path, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.weigh(text.len(), &pos, path)?;
                let (mark, scalar) = scalar(text, style, tag.as_deref(), &pos, path)?;
                (anchor, mark, scalar)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mark = collection_mark(tag.as_deref(), "seq", &pos, path)?;
                self.open(anchor);
                (anchor, mark, Value::List(self.list(path, depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                let mark = collection_mark(tag.as_deref(), "map", &pos, path)?;
                self.open(anchor);
                (anchor, mark, Value::Map(self.map(path, depth)?))
            }
            _ => return Ok(Node::null(&pos)),
        };
        let node = Node { pos, mark, value };
        if anchor > 0 {
            let size = measure(&node);
            // The copy under the anchor is one more in memory.
            self.weigh(size.weight, &node.pos, path)?;
            self.anchors.insert(anchor, Some((node.clone(), size)));
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, id: usize, pos: &Pos, path: &str, depth: usize) -> Result<Node> {
        let Some((node, size)) = self.anchors.get(&id).cloned().flatten() else {
            return Err(pos.error(path, "an alias inside the very node that it stands for"));
        };
        if depth + size.depth > DEPTH {
            return Err(pos.error(path, format!("nested deeper than {DEPTH} levels")));
        }
        self.weigh(size.weight, pos, path)?;
        Ok(node)
    }

    fn weigh(&mut self, weight: usize, pos: &Pos, path: &str) -> Result<()> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > WEIGHT {
            return Err(pos.error(path, "the document grows too large, aliases written out"));
        }
        Ok(())
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, pos) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(items);
            }
            let path = item(path, items.len());
            items.push(self.node(event, pos, &path, depth + 1)?);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Map> {
        let mut map = Map::new();
        let mut merged: Option<Node> = None;
        loop {
            let (event, pos) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, pos.clone(), path, depth + 1)?;
            let Some(name) = key.as_text().map(str::to_owned) else {
                return Err(pos.error(path, "a key must be a text"));
            };
            let below = child(path, &name);
            let (event, value_pos) = self.next()?;
            let node = self.node(event, value_pos, &below, depth + 1)?;
            let earlier = if merge {
                merged.replace(node).map(|node| node.pos)
            } else {
                map.insert(name, Entry { key: pos.clone(), node }).map(|entry| entry.key)
            };
            if let Some(earlier) = earlier {
                let why = format!("this key is already given in line {}", earlier.line);
                return Err(pos.error(&below, why));
            }
        }
        if let Some(node) = merged {
            merge_key(&mut map, node, path)?;
        }
        Ok(map)
    }
}

/// `<<`: fields of the given mappings that the mapping itself lacks; earlier ones win.
fn merge_key(map: &mut Map, node: Node, path: &str) -> Result<()> {
    let pos = node.pos.clone();
    let sources = match node.value {
        Value::List(items) => items,
        _ => vec![node],
    };
    for source in sources {
        let Value::Map(source) = source.value else {
            let why = "a merge key takes a mapping or a list of mappings";
            return Err(pos.error(&child(path, "<<"), why));
        };
        for (key, entry) in source {
            map.entry(key).or_insert(entry);
        }
    }
    Ok(())
}

fn measure(node: &Node) -> Size {
    let mut size = Size { weight: NODE_WEIGHT, depth: 0 };
    let mut add = |below: Size| {
        size.weight = size.weight.saturating_add(below.weight);
        size.depth = size.depth.max(below.depth + 1);
    };
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => size.weight += scalar.text.len(),
        Value::List(items) => items.iter().for_each(|item| add(measure(item))),
        Value::Map(map) => {
            for (key, entry) in map {
                let below = measure(&entry.node);
                add(Size { weight: below.weight + NODE_WEIGHT + key.len(), ..below });
            }
        }
    }
    size
}

fn scalar(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    pos: &Pos,
    path: &str,
) -> Result<(Mark, Value)> {
    let mut plain = style == ScalarStyle::Plain;
    let mut mark = Mark::Merge;
    if let Some(tag) = tag {
        match tag.core_suffix() {
            Some("str") => plain = false,
            Some("bool" | "int" | "float" | "null") => plain = true,
            _ => match own_mark(tag) {
                Some(own) => mark = own,
                None => return Err(unknown_tag(pos, path)),
            },
        }
    }
    let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
    let value =
        if null { Value::Null } else { Value::Scalar(Scalar { text: text.into_owned(), plain }) };
    Ok((mark, value))
}

fn collection_mark(tag: Option<&Tag>, core: &str, pos: &Pos, path: &str) -> Result<Mark> {
    match tag {
        None => Ok(Mark::Merge),
        Some(tag) if tag.core_suffix() == Some(core) => Ok(Mark::Merge),
        Some(tag) => own_mark(tag).ok_or_else(|| unknown_tag(pos, path)),
    }
}

fn own_mark(tag: &Tag) -> Option<Mark> {
    match tag.parts() {
        ("!", "reset") => Some(Mark::Reset),
        ("!", "override") => Some(Mark::Override),
        // A lone `!` says "as it stands".
        ("" | "!", "" | "!") => Some(Mark::Merge),
        _ => None,
    }
}

fn unknown_tag(pos: &Pos, path: &str) -> ComposeError {
    pos.error(path, "unknown tag").hint("Compose files know !reset and !override")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Result<Node> {
        parse("f.yaml", text.as_bytes()).map(|mut nodes| nodes.remove(0))
    }

    fn written(text: &str) -> String {
        serde_saphyr::to_string(&one(text).unwrap()).unwrap()
    }

    #[test]
    fn anchors_and_merge_keys_are_written_out_and_own_keys_win() {
        let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 9\n";
        assert!(written(text).ends_with("z:\n  a: 9\n  b: 2\n  c: 4\n"), "{}", written(text));
    }

    #[test]
    fn a_duplicate_key_is_refused_where_it_stands() {
        let err = one("services:\n  a: {}\n  b: {}\n  a: {}\n").unwrap_err();
        assert_eq!(err.to_string(), "f.yaml:4:3: services.a: this key is already given in line 2");
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [x, x]\n");
        for n in 1..40 {
            laughs += &format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n", m = n - 1);
        }
        assert!(one(&laughs).unwrap_err().why.contains("too large"));
        assert!(one("a: &a [*a]").unwrap_err().why.contains("alias inside"));
        one(&"[".repeat(100_000)).unwrap_err();
        one(&format!("{}\n", "- ".repeat(5000))).unwrap_err();
        let mut deep = String::new();
        for n in 0..60 {
            deep += &format!(
                "a{n}: &a{n} [[[[{}]]]]\n",
                if n == 0 { "x".into() } else { format!("*a{}", n - 1) }
            );
        }
        assert!(one(&deep).unwrap_err().why.contains("nested"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(100));
        assert!(one(&long).unwrap_err().why.contains("too large"));
    }

    #[test]
    fn errors_show_the_place_and_never_the_text() {
        let err = one("a:\n  b: \"hunter2\n").unwrap_err().to_string();
        assert!(err.starts_with("f.yaml:") && !err.contains("hunter2"), "{err}");
        assert_eq!(
            parse("f", b"a: 1\nb: \xff\n").unwrap_err().to_string(),
            "f:2: is not UTF-8 text"
        );
        assert!(one("a: !vault hunter2").unwrap_err().to_string().contains("unknown tag"));
        assert!(!format!("{:?}", one("a: hunter2").unwrap()).contains("hunter2"));
    }

    #[test]
    fn tags_of_compose_are_kept_and_plain_nothing_is_null() {
        let node = one("a: !reset []\nb: !override {c: 1}\nd:\ne: ~\nf: ''\n").unwrap();
        let map = node.as_map().unwrap();
        assert_eq!(map["a"].node.mark, Mark::Reset);
        assert_eq!(map["b"].node.mark, Mark::Override);
        assert!(map["d"].node.is_null() && map["e"].node.is_null() && !map["f"].node.is_null());
    }

    #[test]
    fn several_documents_come_one_by_one() {
        assert_eq!(parse("f", b"---\na: 1\n---\nb: 2\n").unwrap().len(), 2);
        assert_eq!(parse("f", b"").unwrap().len(), 0);
        assert_eq!(parse("f", b"# only a remark\n").unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9:{}\\[\\],&*!<\\-|>#'\"\n ]{0,80}") {
            drop(parse("f", text.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse("f", &bytes));
        }
    }
}
