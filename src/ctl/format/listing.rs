//! What `ls` and `ps` share: columns with their headers, `-q`, `--format table|json|TEMPLATE`.

use super::{BadTemplate, Style, Template, table};
use crate::{ctl::exit::Failure, kit::text};
use serde_json::{Map, Value};

/// A field of the rows and what stands above it in a table.
pub(crate) type Column = (&'static str, &'static str);

/// How one kind of thing is listed.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Every field that a template may name, with its header.
    pub(crate) columns: &'static [Column],
    /// The template of the standard table, cells separated by tabs.
    pub(crate) table: &'static str,
    /// What `-q` prints of each row.
    pub(crate) quiet: &'static str,
}

impl Listing {
    /// Prepares the rows for printing; rows are JSON objects with the listing's fields.
    ///
    /// # Errors
    /// A template that cannot be read or names a field there is not, with the usage code.
    pub(crate) fn render(
        &self,
        rows: &[Value],
        format: Option<&str>,
        quiet: bool,
    ) -> Result<String, Failure> {
        let format = format.unwrap_or("table").trim_matches(' ');
        let (template, with_header) = match format {
            "table" | "" if quiet => (self.quiet, false),
            "table" | "" => (self.table, true),
            "json" => return Ok(rows.iter().map(json_line).collect()),
            other => match other.strip_prefix("table ") {
                Some(template) => (template.trim_matches(' '), true),
                None => (other, false),
            },
        };
        self.run(rows, template, with_header).map_err(|bad| {
            let fields: Vec<&str> = self.columns.iter().map(|(field, _)| *field).collect();
            Failure::usage(bad.to_string()).hint(format!("the fields are .{}", fields.join(", .")))
        })
    }

    fn run(
        &self,
        rows: &[Value],
        template: &str,
        with_header: bool,
    ) -> Result<String, BadTemplate> {
        let template = Template::parse(template)?;
        let header = self.header();
        // Run also on the header when there are no rows, so that a mistake shows in an empty list.
        let heading = template.run(&header, Style::Row)?;
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if with_header {
            lines.push(heading);
        }
        for row in rows {
            // A table is for people, and its rows are lines; of a bare template a program gets what there is, as docker's does.
            let line = if with_header {
                template.run(&one_line(row), Style::Row)
            } else {
                template.run(row, Style::Row)
            };
            lines.push(line?);
        }
        if with_header {
            return Ok(table(&lines));
        }
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    fn header(&self) -> Value {
        let fields = self.columns.iter();
        Value::Object(fields.map(|&(f, h)| (f.to_owned(), Value::from(h))).collect::<Map<_, _>>())
    }
}

/// The row with every text in it as one line of text.
fn one_line(row: &Value) -> Value {
    match row {
        Value::String(text) => Value::from(text::line(text).as_ref()),
        Value::Array(items) => items.iter().map(one_line).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            Value::Object(fields.map(|(k, v)| (text::line(k).into_owned(), one_line(v))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.clone(),
    }
}

/// A row as docker's `json` format has it: maps as `k=v,k=v`.
fn json_line(row: &Value) -> String {
    format!("{}\n", super::eval::row_json(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LISTING: Listing = Listing {
        columns: &[("ID", "ID"), ("Name", "NAME"), ("Labels", "LABELS")],
        table: r"{{.ID}}\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    fn render(format: Option<&str>, quiet: bool) -> String {
        let rows = [
            json!({"ID": "1", "Name": "db", "Labels": {"a": "b", "c": ""}}),
            json!({"ID": "2", "Name": "web", "Labels": {}}),
        ];
        LISTING.render(&rows, format, quiet).unwrap()
    }

    #[test]
    fn a_list_is_a_table_unless_asked_otherwise() {
        assert_eq!(render(None, false), "ID        NAME\n1         db\n2         web\n");
        assert_eq!(render(Some("table"), true), "1\n2\n");
        assert_eq!(render(None, true), "1\n2\n");
    }

    #[test]
    fn a_template_may_be_a_table_with_headers_or_plain_lines() {
        assert_eq!(
            render(Some(r"table {{.Name}}\t{{.Labels}}"), false),
            "NAME      LABELS\ndb        a=b,c=\nweb\n"
        );
        assert_eq!(render(Some("{{.Name}}={{.ID}}"), false), "db=1\nweb=2\n");
        assert_eq!(render(Some("{{.Label \"a\"}}|{{index .Labels \"a\"}}"), false), "b|b\n|\n");
    }

    #[test]
    fn a_row_of_a_table_is_one_line_whatever_is_in_it() {
        let rows = [json!({"ID": "1", "Name": "a\n2\tb\u{1b}[2K", "Labels": {"x\n": "\u{202e}"}})];
        let render = |format| LISTING.render(&rows, format, false).unwrap();
        assert_eq!(render(None), "ID        NAME\n1         a\\n2\\tb\\u001b[2K\n");
        assert_eq!(render(Some("table {{.Labels}}")), "LABELS\nx\\n=\\u202e\n");
        assert_eq!(render(Some("{{.Name}}")), "a\n2\tb\u{1b}[2K\n");
    }

    #[test]
    fn json_is_one_line_for_each_row() {
        let first = "{\"ID\":\"1\",\"Labels\":\"a=b,c=\",\"Name\":\"db\"}\n";
        assert!(render(Some("json"), false).starts_with(first));
        assert!(render(Some("{{json .}}"), false).starts_with(first));
    }

    #[test]
    fn an_unknown_field_is_named_even_when_there_are_no_rows() {
        let failure = LISTING.render(&[], Some("{{.Nmae}}"), false).unwrap_err();
        assert_eq!(failure.message(), "template parsing error: there is no field .Nmae");
        assert_eq!(failure.hint_text(), Some("the fields are .ID, .Name, .Labels"));
    }
}
