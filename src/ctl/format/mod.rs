//! Turns what a command found into text: tables, JSON lines, Go-style templates, as docker's `--format` has them.

mod eval;
mod listing;
mod parse;
mod table;

pub(crate) use listing::Listing;
pub(crate) use table::table;

use super::exit::Failure;
use serde::Serialize;
use serde_json::Value;

/// A template that was read and can be run on values.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<parse::Node>);

/// How values without a text of their own are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Rows of a list: maps as `k=v,k=v`, and a field that is not there is a mistake.
    Row,
    /// Whole documents: maps and lists as Go prints them, missing fields as `<no value>`.
    Document,
}

/// Why a template could not be read or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub(crate) struct BadTemplate(pub(crate) String);

impl From<BadTemplate> for Failure {
    fn from(bad: BadTemplate) -> Self {
        Self::usage(bad.to_string()).hint(
            "templates are Go's: {{.Name}}, {{json .}}, {{index .Labels \"key\"}}, {{range .Versions}}{{.Number}} {{end}}",
        )
    }
}

impl Template {
    /// Reads a template; `\t` and `\n` outside of actions stand for tab and newline.
    ///
    /// # Errors
    /// [`BadTemplate`] says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, BadTemplate> {
        parse::parse(text).map(Self)
    }

    /// Runs the template on one value.
    ///
    /// # Errors
    /// [`BadTemplate`]: a field or function that does not exist, or arguments that do not fit.
    pub(crate) fn run(&self, value: &Value, style: Style) -> Result<String, BadTemplate> {
        eval::run(&self.0, value, style)
    }
}

/// Writes a document as docker's `inspect` does: indented by four, fields in their order.
pub(crate) fn pretty_json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut serializer).expect("our documents have string keys and no I/O");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Prepares what `inspect` prints: a JSON array of all documents, or one line for each by the template.
///
/// # Errors
/// A bad template, as [`Failure`] with the usage code.
pub(crate) fn documents<T: Serialize>(
    documents: &[T],
    format: Option<&str>,
) -> Result<String, Failure> {
    match format {
        None | Some("") => Ok(pretty_json(&documents) + "\n"),
        Some("json") => {
            let line = serde_json::to_string(documents).expect("as in pretty_json");
            Ok(line + "\n")
        }
        Some(template) => {
            let template = Template::parse(template)?;
            let mut text = String::new();
            for document in documents {
                let value = serde_json::to_value(document).expect("as in pretty_json");
                text.push_str(&template.run(&value, Style::Document)?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inspect_prints_an_array_indented_by_four() {
        let text = documents(&[json!({"ID": "x"})], None).unwrap();
        assert_eq!(text, "[\n    {\n        \"ID\": \"x\"\n    }\n]\n");
        assert_eq!(documents::<Value>(&[], None).unwrap(), "[]\n");
    }

    #[test]
    fn inspect_prints_a_line_for_each_document() {
        let found = [json!({"ID": "x", "Spec": {"Name": "a"}}), json!({"ID": "y", "Spec": {}})];
        let text = documents(&found, Some("{{.ID}} {{.Spec.Name}}")).unwrap();
        assert_eq!(text, "x a\ny <no value>\n");
        assert_eq!(
            documents(&found[..1], Some("json")).unwrap(),
            "[{\"ID\":\"x\",\"Spec\":{\"Name\":\"a\"}}]\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_template_panics(text in "([{}.$|()\"`:=, a-cé\\\\-]|\\{\\{|\\}\\}|range |if |end|index |json |printf |%[0-9sd]){0,24}") {
            if let Ok(template) = Template::parse(&text) {
                let document = json!({"a": {"b": [1, "x"]}, "c": null});
                template.run(&document, Style::Document).ok();
                template.run(&document, Style::Row).ok();
            }
        }
    }
}
