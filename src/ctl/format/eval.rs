//! Runs a template on a JSON value.

use super::{
    BadTemplate, Style,
    parse::{Call, Node, Operand, Pipe},
};
use serde_json::Value;
use std::{cell::Cell, cmp::Ordering, fmt::Write};

/// What one run of a template may handle, in bytes: arguments of functions, output, and so much for each step.
const WEIGHT: usize = 64 * 1024 * 1024;
/// What a step weighs, and a value beside its text.
const STEP: usize = 64;

pub(super) fn run(nodes: &[Node], value: &Value, style: Style) -> Result<String, BadTemplate> {
    let left = Cell::new(WEIGHT);
    let mut runner = Runner { style, root: value, variables: Vec::new(), out: String::new(), left };
    runner.nodes(nodes, value)?;
    Ok(runner.out)
}

/// A row's JSON with its maps written as `k=v,k=v`, as docker has it.
pub(super) fn row_json(row: &Value) -> String {
    let flat = match row {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(_) => (name.clone(), Value::from(show(value, Style::Row))),
                    other => (name.clone(), other.clone()),
                })
                .collect(),
        ),
        other => other.clone(),
    };
    flat.to_string()
}

struct Runner<'a> {
    style: Style,
    root: &'a Value,
    variables: Vec<(String, Value)>,
    out: String,
    /// What it may still handle.
    left: Cell<usize>,
}

fn bad(why: impl Into<String>) -> BadTemplate {
    BadTemplate(why.into())
}

impl Runner<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), BadTemplate> {
        let scope = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(scope);
        Ok(())
    }

    /// Counts what is about to be made or copied: texts joined to themselves double with each step.
    fn weigh(&self, bytes: usize) -> Result<(), BadTemplate> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or_else(|| {
            bad(format!("the template makes more than {WEIGHT} bytes of one value"))
        })?);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), BadTemplate> {
        self.weigh(STEP)?;
        match node {
            Node::Text(text) => {
                self.weigh(text.len())?;
                self.out.push_str(text);
            }
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.weigh(weight(&value))?;
                self.out.push_str(&show(&value, self.style));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::If { arms, otherwise } => {
                for (condition, body) in arms {
                    if truth(&self.pipe(condition, dot)?) {
                        return self.nodes(body, dot);
                    }
                }
                self.nodes(otherwise, dot)?;
            }
            Node::With { pipe, body, otherwise } => {
                let value = self.pipe(pipe, dot)?;
                if truth(&value) {
                    self.nodes(body, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
            }
            Node::Range { index, item, pipe, body, otherwise } => {
                let items: Vec<(Value, Value)> = match self.pipe(pipe, dot)? {
                    Value::Array(items) => {
                        items.into_iter().enumerate().map(|(i, v)| (Value::from(i), v)).collect()
                    }
                    Value::Object(map) => map.into_iter().map(|(k, v)| (k.into(), v)).collect(),
                    Value::Null => Vec::new(),
                    other => {
                        return Err(bad(format!("cannot range over {}", show(&other, self.style))));
                    }
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (key, value) in items {
                    let scope = self.variables.len();
                    if let Some(name) = index {
                        self.variables.push((name.clone(), key));
                    }
                    if let Some(name) = item {
                        self.variables.push((name.clone(), value.clone()));
                    }
                    self.nodes(body, &value)?;
                    self.variables.truncate(scope);
                }
            }
        }
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, BadTemplate> {
        let mut carried = None;
        for call in pipe {
            carried = Some(self.call(call, carried, dot)?);
        }
        carried.ok_or_else(|| bad("missing value for command"))
    }

    fn call(&self, call: &Call, carried: Option<Value>, dot: &Value) -> Result<Value, BadTemplate> {
        let (first, rest) = call.split_first().ok_or_else(|| bad("missing value for command"))?;
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            let value = self.operand(operand, dot)?;
            self.weigh(weight(&value))?;
            arguments.push(value);
        }
        if let Some(carried) = &carried {
            self.weigh(weight(carried))?;
        }
        arguments.extend(carried);
        match first {
            Operand::Function(name) => self.function(name, &arguments),
            // The one method that rows have: `.Label "key"`.
            Operand::Field(names)
                if self.style == Style::Row && names.len() == 1 && names[0] == "Label" =>
            {
                let Some(Value::String(key)) = arguments.first() else {
                    return Err(bad(".Label needs the key of a label"));
                };
                Ok(match dot.get("Labels") {
                    Some(Value::Object(labels)) => {
                        labels.get(key).cloned().unwrap_or_else(|| Value::from(""))
                    }
                    // In the header: the last part of the key, as docker titles such a column.
                    _ => {
                        let last = key.rsplit('.').next().unwrap_or(key);
                        Value::from(last.replace(['-', '_'], " "))
                    }
                })
            }
            other if arguments.is_empty() => self.operand(other, dot),
            _ => Err(bad("a value that is no function was given arguments")),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, BadTemplate> {
        match operand {
            Operand::Field(names) => self.fields(dot, names),
            Operand::Variable(name, names) if name.is_empty() => self.fields(self.root, names),
            Operand::Variable(name, names) => {
                let (_, value) = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .ok_or_else(|| bad(format!("undefined variable \"${name}\"")))?;
                self.fields(value, names)
            }
            Operand::Text(text) => Ok(Value::from(text.as_str())),
            Operand::Int(number) => Ok(Value::from(*number)),
            Operand::Bool(truth) => Ok(Value::from(*truth)),
            Operand::Nil => Ok(Value::Null),
            Operand::Function(name) => self.function(name, &[]),
            Operand::Group(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(&value, names)
            }
        }
    }

    fn fields(&self, from: &Value, names: &[String]) -> Result<Value, BadTemplate> {
        let mut value = from;
        for name in names {
            value = match value.get(name) {
                Some(found) => found,
                None if self.style == Style::Document && !value.is_string() => &Value::Null,
                None => return Err(bad(format!("there is no field .{name}"))),
            };
        }
        Ok(value.clone())
    }

    fn function(&self, name: &str, arguments: &[Value]) -> Result<Value, BadTemplate> {
        let text = |value: &Value| show(value, self.style);
        Ok(match (name, arguments) {
            ("json", [value]) if self.style == Style::Row => Value::from(match value {
                Value::Object(_) if std::ptr::eq(value, self.root) || value == self.root => {
                    row_json(value)
                }
                Value::Object(_) => Value::from(text(value)).to_string(),
                other => other.to_string(),
            }),
            ("json", [value]) => Value::from(value.to_string()),
            ("upper", [value]) => Value::from(text(value).to_uppercase()),
            ("lower", [value]) => Value::from(text(value).to_lowercase()),
            ("title", [value]) => Value::from(title(&text(value))),
            ("join", [Value::Array(items), separator]) => {
                let items: Vec<String> = items.iter().map(text).collect();
                let separator = text(separator);
                self.weigh(separator.len().saturating_mul(items.len()))?;
                Value::from(items.join(&separator))
            }
            ("join", [Value::Null, _]) => Value::from(""),
            ("split", [value, separator]) => {
                let (value, separator) = (text(value), text(separator));
                self.weigh((value.matches(&separator).count() + 1).saturating_mul(STEP))?;
                Value::from(value.split(&separator).collect::<Vec<_>>())
            }
            ("truncate", [value, length]) => {
                let length = length.as_u64().and_then(|n| usize::try_from(n).ok());
                let length = length.ok_or_else(|| bad("truncate needs a length"))?;
                Value::from(text(value).chars().take(length).collect::<String>())
            }
            ("pad", [value, before, after]) => {
                let spaces = |n: &Value| {
                    // Wide enough for any terminal, too small to fill memory.
                    n.as_u64()
                        .and_then(|n| usize::try_from(n.min(1000)).ok())
                        .map(|n| " ".repeat(n))
                        .ok_or_else(|| bad("pad needs two lengths"))
                };
                Value::from(format!("{}{}{}", spaces(before)?, text(value), spaces(after)?))
            }
            ("len", [value]) => match value {
                Value::Array(items) => Value::from(items.len()),
                Value::Object(map) => Value::from(map.len()),
                Value::String(text) => Value::from(text.len()),
                Value::Null => Value::from(0),
                _ => return Err(bad("len needs a list, a map or a text")),
            },
            ("index", [value, keys @ ..]) => self.index(value, keys)?,
            ("print", values) => Value::from(values.iter().map(text).collect::<String>()),
            ("println", values) => {
                let words: Vec<String> = values.iter().map(text).collect();
                Value::from(words.join(" ") + "\n")
            }
            ("printf", [Value::String(format), values @ ..]) => {
                Value::from(self.printf(format, values)?)
            }
            ("not", [value]) => Value::from(!truth(value)),
            ("and", [first, rest @ ..]) => {
                rest.iter().fold(first, |so_far, v| if truth(so_far) { v } else { so_far }).clone()
            }
            ("or", [first, rest @ ..]) => {
                rest.iter().fold(first, |so_far, v| if truth(so_far) { so_far } else { v }).clone()
            }
            ("eq", [first, rest @ ..]) if !rest.is_empty() => {
                Value::from(rest.iter().any(|value| value == first))
            }
            ("ne", [a, b]) => Value::from(a != b),
            ("lt", [a, b]) => Value::from(order(a, b)? == Ordering::Less),
            ("le", [a, b]) => Value::from(order(a, b)? != Ordering::Greater),
            ("gt", [a, b]) => Value::from(order(a, b)? == Ordering::Greater),
            ("ge", [a, b]) => Value::from(order(a, b)? != Ordering::Less),
            (
                "json" | "upper" | "lower" | "title" | "join" | "split" | "truncate" | "pad"
                | "len" | "index" | "printf" | "not" | "and" | "or" | "eq" | "ne" | "lt" | "le"
                | "gt" | "ge",
                _,
            ) => return Err(bad(format!("wrong arguments for {name}"))),
            _ => return Err(bad(format!("function {name:?} not defined"))),
        })
    }

    fn index(&self, value: &Value, keys: &[Value]) -> Result<Value, BadTemplate> {
        let mut value = value.clone();
        for key in keys {
            value = match (&value, key) {
                (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or_else(
                    // As a map of strings gives the empty string for a key it does not have.
                    || if self.style == Style::Row { Value::from("") } else { Value::Null },
                ),
                (Value::Array(items), Value::Number(at)) => at
                    .as_u64()
                    .and_then(|at| items.get(usize::try_from(at).ok()?).cloned())
                    .ok_or_else(|| bad(format!("index out of range: {at}")))?,
                (Value::Null, _) => Value::Null,
                // A header has texts where rows have maps.
                (Value::String(text), _) if self.style == Style::Row => Value::from(text.as_str()),
                _ => return Err(bad("index needs a map and a key, or a list and a number")),
            };
        }
        Ok(value)
    }

    fn printf(&self, format: &str, values: &[Value]) -> Result<String, BadTemplate> {
        let mut out = String::new();
        let mut values = values.iter();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut width = String::new();
            let verb = loop {
                match chars.next() {
                    Some(c) if c == '-' || c.is_ascii_digit() => width.push(c),
                    other => break other,
                }
            };
            if verb == Some('%') {
                out.push('%');
                continue;
            }
            let value = values.next().ok_or_else(|| bad("printf has too few arguments"))?;
            let value = match verb {
                Some('s' | 'v' | 'd' | 't') => show(value, self.style),
                Some('q') => format!("{:?}", show(value, self.style)),
                _ => return Err(bad("printf knows %s, %v, %d, %t, %q and %%")),
            };
            let left = width.starts_with('-');
            let width: usize = width.trim_start_matches('-').parse().unwrap_or(0);
            let width = width.min(1000);
            let written =
                if left { write!(out, "{value:<width$}") } else { write!(out, "{value:>width$}") };
            written.expect("a String takes everything");
        }
        Ok(out)
    }
}

/// About how many bytes a value takes, as it is and as text.
fn weight(value: &Value) -> usize {
    STEP + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
    }
}

/// What Go's templates take for true: anything that is not empty, zero, false or missing.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, BadTemplate> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
    .ok_or_else(|| bad("incompatible types for comparison"))
}

fn show(value: &Value, style: Style) -> String {
    let list = |items: Vec<String>, separator: &str| items.join(separator);
    match (value, style) {
        (Value::Null, _) => "<no value>".to_owned(),
        (Value::String(text), _) => text.clone(),
        (Value::Bool(_) | Value::Number(_), _) => value.to_string(),
        (Value::Array(items), Style::Row) => {
            list(items.iter().map(|v| show(v, style)).collect(), ",")
        }
        (Value::Object(map), Style::Row) => {
            list(map.iter().map(|(k, v)| format!("{k}={}", show(v, style))).collect(), ",")
        }
        (Value::Array(items), Style::Document) => {
            format!("[{}]", list(items.iter().map(|v| show(v, style)).collect(), " "))
        }
        (Value::Object(map), Style::Document) => {
            let pairs = map.iter().map(|(k, v)| format!("{k}:{}", show(v, style))).collect();
            format!("map[{}]", list(pairs, " "))
        }
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let upper = start;
            start = !c.is_alphanumeric();
            if upper { c.to_uppercase().collect::<String>() } else { c.to_string() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;
    use serde_json::json;

    fn eval(template: &str) -> String {
        let document = json!({
            "ID": "abc",
            "Version": {"Index": 12},
            "Spec": {"Name": "db", "Labels": {"a": "b", "c.d": "e"}, "Env": ["A=1", "B=2"]},
            "Versions": [{"Number": 1, "Size": 5}, {"Number": 2, "Size": 6}],
        });
        match Template::parse(template).and_then(|t| t.run(&document, Style::Document)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn templates_do_what_gos_do() {
        for (template, text) in [
            ("{{.ID}}", "abc"),
            ("{{ .Version.Index }}", "12"),
            ("{{.Spec.Labels}}", "map[a:b c.d:e]"),
            ("{{.Spec.Env}}", "[A=1 B=2]"),
            ("{{json .Spec.Labels}}", "{\"a\":\"b\",\"c.d\":\"e\"}"),
            ("{{.Spec.Env | json}}", "[\"A=1\",\"B=2\"]"),
            ("{{index .Spec.Labels \"c.d\"}}", "e"),
            ("{{index .Spec.Env 1}}", "B=2"),
            ("{{(index .Versions 1).Size}}", "6"),
            ("{{upper .Spec.Name}} {{.Spec.Name | title}}", "DB Db"),
            ("{{join .Spec.Env \";\"}}", "A=1;B=2"),
            ("{{range .Versions}}v{{.Number}} {{end}}", "v1 v2 "),
            ("{{range $k, $v := .Spec.Labels}}{{$k}}->{{$v}},{{end}}", "a->b,c.d->e,"),
            ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
            ("{{if eq .Spec.Name \"x\"}}x{{else if .Spec.Env}}env{{else}}no{{end}}", "env"),
            ("{{with .Spec}}{{.Name}}/{{$.ID}}{{end}}", "db/abc"),
            (
                "{{$n := .Spec.Name}}{{printf \"%-4s|%q|%d%%\" $n $n .Version.Index}}",
                "db  |\"db\"|12%",
            ),
            ("{{len .Versions}}{{if and .ID (gt .Version.Index 3)}}!{{end}}", "2!"),
            ("a {{- .ID -}} b", "aabcb"),
            ("{{/* nothing */}}{{.Missing}}", "<no value>"),
            ("{{.Missing.Deeper}}", "<no value>"),
            ("{{index .Spec.Labels \"zz\"}}", "<no value>"),
            ("{{println .ID 1}}", "abc 1\n"),
            ("{{truncate .ID 2}}{{pad .ID 1 1}}.", "ab abc ."),
        ] {
            assert_eq!(eval(template), text, "{template}");
        }
    }

    #[test]
    fn a_template_that_grows_without_bound_is_refused() {
        let doubling = "{{$a := .ID}}".to_owned() + &"{{$a := printf \"%s%s\" $a $a}}".repeat(40);
        let nested = "{{range $.Versions}}".repeat(40) + "x" + &"{{end}}".repeat(40);
        let joined = "{{$a := .ID}}".to_owned()
            + &"{{$a := print $a $a}}".repeat(20)
            + "{{join (split $a \"\") $a}}";
        for template in [doubling, nested, joined] {
            let text = eval(&template);
            assert!(text.ends_with("makes more than 67108864 bytes of one value"), "{text:.200}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, text) in [
            ("{{nope .}}", "function \"nope\" not defined"),
            ("{{.ID.X}}", "there is no field .X"),
            ("{{json}}", "wrong arguments for json"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{.ID .ID}}", "a value that is no function was given arguments"),
            ("{{index .Versions 7}}", "index out of range: 7"),
            ("{{printf \"%s\"}}", "printf has too few arguments"),
            ("{{lt .ID 3}}", "incompatible types for comparison"),
        ] {
            assert_eq!(eval(template), format!("template parsing error: {text}"), "{template}");
        }
    }
}
