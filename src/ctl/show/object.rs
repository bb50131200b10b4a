//! Secrets and configs.

use super::{Index, holder::HolderView, label_lines};
use crate::{
    client::HolderSummary,
    ctl::{age::ago, format::Listing},
    kit::clock::Timestamp,
    model::{
        Labels,
        object::{Kind, Object},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::{self, Write};

pub(crate) const SECRETS: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("CreatedAt", "CREATED"),
        ("UpdatedAt", "UPDATED"),
        ("Labels", "LABELS"),
        ("Version", "VERSION"),
        ("Versions", "VERSIONS"),
    ],
    table: r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    quiet: "{{.ID}}",
};

pub(crate) const CONFIGS: Listing = Listing {
    columns: SECRETS.columns,
    table: r"{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    quiet: "{{.ID}}",
};

/// A row of `ls`. There are no drivers; the column stays for hands and scripts that know docker's.
pub(crate) fn object_row(object: &Object, now: Timestamp) -> Value {
    let Object { kind: _, id, name, labels, meta, versions } = object;
    json!({
        "ID": id.to_string(),
        "Name": name.to_string(),
        "Driver": "",
        "CreatedAt": ago(meta.created_at, now),
        "UpdatedAt": ago(meta.updated_at, now),
        "Labels": labels,
        "Version": object.latest().number.to_string(),
        "Versions": versions.len(),
    })
}

/// What `inspect` shows. A secret never has data here, a config always.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ObjectView {
    #[serde(rename = "ID")]
    id: String,
    version: Index,
    created_at: String,
    updated_at: String,
    spec: Spec,
    versions: Vec<VersionView>,
    holders: Vec<HolderView>,
    #[serde(skip)]
    kind: Kind,
    #[serde(skip)]
    text: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    labels: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionView {
    number: u64,
    created_at: String,
    size: u64,
}

impl ObjectView {
    /// `data` is the payload of a config.
    pub(crate) fn new(object: &Object, data: Option<&[u8]>, holders: &[HolderSummary]) -> Self {
        let Object { kind, id, name, labels, meta, versions } = object;
        let data = data.filter(|_| *kind == Kind::Config);
        Self {
            id: id.to_string(),
            version: meta.into(),
            created_at: meta.created_at.to_string(),
            updated_at: meta.updated_at.to_string(),
            spec: Spec {
                name: name.to_string(),
                labels: labels.clone(),
                data: data.map(|data| BASE64_STANDARD.encode(data)),
            },
            versions: versions
                .iter()
                .map(|version| VersionView {
                    number: version.number.0,
                    created_at: version.created_at.to_string(),
                    size: version.size,
                })
                .collect(),
            holders: holders.iter().map(HolderView::from).collect(),
            kind: *kind,
            text: data.map(|data| String::from_utf8_lossy(data).into_owned()),
        }
    }
}

/// As `inspect --pretty` prints it.
impl fmt::Display for ObjectView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ID:              {}", self.id)?;
        writeln!(f, "Name:            {}", self.spec.name)?;
        writeln!(f, "Labels:")?;
        let mut labels = String::new();
        label_lines(&mut labels, &self.spec.labels, " - ");
        f.write_str(&labels)?;
        writeln!(f, "Created at:      {}", self.created_at)?;
        writeln!(f, "Updated at:      {}", self.updated_at)?;
        writeln!(f, "Versions:")?;
        for VersionView { number, created_at, size } in &self.versions {
            writeln!(f, " - v{number}: {size} bytes, created at {created_at}")?;
        }
        if !self.holders.is_empty() {
            writeln!(f, "Holders:")?;
        }
        for holder in &self.holders {
            writeln!(f, "{holder}")?;
        }
        if self.kind == Kind::Config {
            writeln!(f, "Data:")?;
            let text = self.text.as_deref().unwrap_or_default();
            f.write_str(text)?;
            if !text.ends_with('\n') {
                f.write_char('\n')?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ctl::format::pretty_json,
        kit::id::ObjectId,
        model::{
            Meta,
            object::{Version, VersionNumber},
        },
    };

    fn object(kind: Kind) -> Object {
        let at = Timestamp(1_000_000_000_123);
        Object {
            kind,
            id: ObjectId::from_random([0; 17]),
            name: "db-password".parse().unwrap(),
            labels: Labels::from([("env".into(), "prod".into())]),
            meta: Meta { index: 7, created_at: at, updated_at: at },
            versions: vec![Version { number: VersionNumber(1), created_at: at, size: 3, term: 1 }],
        }
    }

    #[test]
    fn a_secret_is_shown_with_swarms_fields_and_without_data() {
        let text = pretty_json(&[ObjectView::new(&object(Kind::Secret), Some(b"abc"), &[])]);
        assert_eq!(
            text,
            r#"[
    {
        "ID": "0000000000000000000000000",
        "Version": {
            "Index": 7
        },
        "CreatedAt": "2001-09-09T01:46:40.123Z",
        "UpdatedAt": "2001-09-09T01:46:40.123Z",
        "Spec": {
            "Name": "db-password",
            "Labels": {
                "env": "prod"
            }
        },
        "Versions": [
            {
                "Number": 1,
                "CreatedAt": "2001-09-09T01:46:40.123Z",
                "Size": 3
            }
        ],
        "Holders": []
    }
]"#
        );
        assert!(
            !ObjectView::new(&object(Kind::Secret), Some(b"abc"), &[]).to_string().contains("abc")
        );
    }

    #[test]
    fn a_config_is_shown_with_its_data() {
        let view = ObjectView::new(&object(Kind::Config), Some(b"abc"), &[]);
        assert_eq!(serde_json::to_value(&view).unwrap()["Spec"]["Data"], "YWJj");
        assert!(view.to_string().ends_with("Data:\nabc\n"));
    }

    #[test]
    fn labels_are_an_object_even_when_there_are_none() {
        let mut bare = object(Kind::Secret);
        bare.labels.clear();
        let view = serde_json::to_value(ObjectView::new(&bare, None, &[])).unwrap();
        assert_eq!(view["Spec"]["Labels"], json!({}));
    }

    #[test]
    fn a_list_looks_like_dockers() {
        let now = Timestamp(1_000_000_120_123);
        let row = object_row(&object(Kind::Secret), now);
        assert_eq!(
            SECRETS.render(&[row], None, false).unwrap(),
            "ID                          NAME          DRIVER    CREATED         UPDATED\n\
             0000000000000000000000000   db-password             2 minutes ago   2 minutes ago\n"
        );
    }
}
