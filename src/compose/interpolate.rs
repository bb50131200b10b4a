//! Puts variables into texts: `$VAR`, `${VAR:-default}`, `${VAR:?why}`, `${VAR:+instead}`, `$$`.

use super::{
    environment::Environment,
    error::{ComposeError, Result},
    tree::{Node, Value, child, item},
};
use std::collections::BTreeSet;

/// Levels of `${A:-${B:-…}}`.
const NESTING: usize = 30;
/// Bytes that variables may bring into one file or one set of documents, as a document itself may weigh.
const FILLED: usize = 16 * 1024 * 1024;

/// What filling in variables has come to so far.
#[derive(Debug)]
pub(crate) struct Filling {
    /// Variables without value or default; they became empty.
    pub(crate) missing: BTreeSet<String>,
    /// What may still come, in bytes: variables made of variables double with each line.
    left: usize,
}

impl Default for Filling {
    fn default() -> Self {
        Self { missing: BTreeSet::new(), left: FILLED }
    }
}

impl Filling {
    pub(crate) fn weigh(&mut self, bytes: usize) -> std::result::Result<(), BadTemplate> {
        self.left = self.left.checked_sub(bytes).ok_or(BadTemplate::TooLarge)?;
        Ok(())
    }
}

/// Why a text cannot be interpolated. Shows names of variables, never the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTemplate {
    #[error("invalid interpolation: a $ that starts no variable")]
    Dollar,
    #[error("invalid interpolation: ${{ is not closed")]
    Unclosed,
    #[error("invalid interpolation: ${{ needs the name of a variable")]
    Name,
    #[error(
        "invalid interpolation: ${{{0} is followed by something other than }}, -, :-, ?, :?, + or :+"
    )]
    Operator(String),
    #[error("invalid interpolation: defaults nested deeper than {NESTING} levels")]
    TooDeep,
    #[error("variables fill in more than {FILLED} bytes")]
    TooLarge,
    #[error("required variable {name} is missing a value{}{message}", if message.is_empty() { "" } else { ": " })]
    Required { name: String, message: String },
}

impl BadTemplate {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Required { name, .. } => {
                Some(format!("set {name} in the environment or in the file .env"))
            }
            Self::TooLarge => {
                Some("look for a variable that is made of others, twice each".to_owned())
            }
            Self::Dollar | Self::Unclosed | Self::Name | Self::Operator(_) | Self::TooDeep => {
                Some("write $$ for a literal $".to_owned())
            }
        }
    }
}

/// Replaces the variables of a text, and adds to `filling` what that took.
pub(crate) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    filling: &mut Filling,
) -> std::result::Result<String, BadTemplate> {
    level(text, lookup, filling, 0)
}

fn level(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    filling: &mut Filling,
    depth: usize,
) -> std::result::Result<String, BadTemplate> {
    if depth > NESTING {
        return Err(BadTemplate::TooDeep);
    }
    filling.weigh(text.len())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing_brace(after).ok_or(BadTemplate::Unclosed)?;
            out.push_str(&braced(&after[..end], lookup, filling, depth)?);
            rest = &after[end + 1..];
        } else {
            let len = name_len(rest);
            if len == 0 {
                return Err(BadTemplate::Dollar);
            }
            out.push_str(&value_or_empty(&rest[..len], lookup, filling)?);
            rest = &rest[len..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(
    inner: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    filling: &mut Filling,
    depth: usize,
) -> std::result::Result<String, BadTemplate> {
    let len = name_len(inner);
    if len == 0 {
        return Err(BadTemplate::Name);
    }
    let (name, rest) = inner.split_at(len);
    if rest.is_empty() {
        return value_or_empty(name, lookup, filling);
    }
    // With a colon an empty variable counts as missing.
    let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let value = looked_up(name, lookup, filling)?.filter(|value| !(colon && value.is_empty()));
    let mut inside = |text| level(text, lookup, filling, depth + 1);
    if let Some(default) = rest.strip_prefix('-') {
        return value.map_or_else(|| inside(default), Ok);
    }
    if let Some(instead) = rest.strip_prefix('+') {
        return if value.is_some() { inside(instead) } else { Ok(String::new()) };
    }
    if let Some(message) = rest.strip_prefix('?') {
        return match value {
            Some(value) => Ok(value),
            None => Err(BadTemplate::Required { name: name.to_owned(), message: inside(message)? }),
        };
    }
    Err(BadTemplate::Operator(name.to_owned()))
}

fn value_or_empty(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    filling: &mut Filling,
) -> std::result::Result<String, BadTemplate> {
    Ok(looked_up(name, lookup, filling)?.unwrap_or_else(|| {
        filling.missing.insert(name.to_owned());
        String::new()
    }))
}

fn looked_up(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    filling: &mut Filling,
) -> std::result::Result<Option<String>, BadTemplate> {
    let value = lookup(name);
    filling.weigh(value.as_ref().map_or(0, String::len))?;
    Ok(value)
}

fn name_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => bytes
            .iter()
            .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
            .unwrap_or(bytes.len()),
        _ => 0,
    }
}

/// Where the brace that is already open closes; braces inside come in pairs.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Replaces the variables in every value of a document; keys stay as they are.
pub(crate) fn interpolate(
    node: &mut Node,
    path: &str,
    env: &Environment,
    filling: &mut Filling,
) -> Result<()> {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            if scalar.text.contains('$') {
                let lookup = |name: &str| env.get(name).map(str::to_owned);
                scalar.text = substitute(&scalar.text, &lookup, filling).map_err(|err| {
                    ComposeError { hint: err.hint(), ..node.pos.error(path, err.to_string()) }
                })?;
            }
        }
        Value::List(items) => {
            for (index, node) in items.iter_mut().enumerate() {
                interpolate(node, &item(path, index), env, filling)?;
            }
        }
        Value::Map(map) => {
            for (key, entry) in map {
                interpolate(&mut entry.node, &child(path, key), env, filling)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sub(text: &str) -> std::result::Result<String, BadTemplate> {
        let lookup = |name: &str| match name {
            "FULL" => Some("full".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(text, &lookup, &mut Filling::default())
    }

    #[test]
    fn each_form_gives_what_compose_gives() {
        for (text, expected) in [
            ("a $FULL b", "a full b"),
            ("${FULL}${FULL}", "fullfull"),
            ("$FULL-x", "full-x"),
            ("$$FULL $${X}", "$FULL ${X}"),
            ("${NONE:-d}${EMPTY:-d}${FULL:-d}", "ddfull"),
            ("${NONE-d}|${EMPTY-d}|${FULL-d}", "d||full"),
            ("${NONE:+x}|${EMPTY:+x}|${FULL:+x}", "||x"),
            ("${NONE+x}|${EMPTY+x}|${FULL+x}", "|x|x"),
            ("${FULL:?no}${EMPTY?no}", "full"),
            ("${NONE:-${EMPTY:-${FULL}}}", "full"),
            ("${NONE:-{\"a\": {}}}", "{\"a\": {}}"),
            ("${NONE:-http://x:80/?a=b}", "http://x:80/?a=b"),
            ("${NONE}.$NONE", "."),
            ("${NONE:-$$}", "$"),
        ] {
            assert_eq!(sub(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn malformed_forms_are_refused_without_showing_the_text() {
        for (text, expected) in [
            ("hunter2$", BadTemplate::Dollar),
            ("$1", BadTemplate::Dollar),
            ("$ x", BadTemplate::Dollar),
            ("${FULL", BadTemplate::Unclosed),
            ("${}", BadTemplate::Name),
            ("${1A}", BadTemplate::Name),
            ("${FULL!x}", BadTemplate::Operator("FULL".into())),
            ("${FULL:x}", BadTemplate::Operator("FULL".into())),
        ] {
            assert_eq!(sub(text), Err(expected), "{text}");
            assert!(!sub(text).unwrap_err().to_string().contains("hunter2"));
        }
        assert_eq!(
            sub(&format!("{}x{}", "${N:-".repeat(40), "}".repeat(40))),
            Err(BadTemplate::TooDeep)
        );
    }

    #[test]
    fn a_required_variable_says_its_message() {
        assert_eq!(
            sub("${EMPTY:?set it to $FULL}").unwrap_err().to_string(),
            "required variable EMPTY is missing a value: set it to full"
        );
        assert_eq!(
            sub("${NONE?}").unwrap_err().to_string(),
            "required variable NONE is missing a value"
        );
    }

    #[test]
    fn variables_without_value_are_named() {
        let mut filling = Filling::default();
        substitute("$A ${B} ${C:-x} ${D:+x}", &|_| None, &mut filling).unwrap();
        assert_eq!(filling.missing.into_iter().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn what_variables_fill_in_is_weighed_also_where_it_is_thrown_away() {
        let large = |_: &str| Some("x".repeat(1 << 20));
        let mut filling = Filling::default();
        substitute(&"$A".repeat(10), &large, &mut filling).unwrap();
        assert_eq!(substitute(&"$A".repeat(10), &large, &mut filling), Err(BadTemplate::TooLarge));
        assert_eq!(
            substitute(&"${A:+}".repeat(20), &large, &mut Filling::default()),
            Err(BadTemplate::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays_as_it_is(text in "[^$]{0,60}") {
            prop_assert_eq!(sub(&text), Ok(text));
        }

        #[test]
        fn doubled_dollars_become_single_ones(text in "[a-z${}:?+-]{0,40}") {
            prop_assert_eq!(sub(&text.replace('$', "$$")), Ok(text));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-Zé${}:?+\\- ]{0,60}") {
            drop(sub(&text));
        }
    }
}
