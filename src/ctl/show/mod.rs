//! How things look: rows for lists, and documents with Swarm's field names for `inspect`.

mod destroyed;
mod doc;
mod holder;
mod node;
mod object;
mod service;
mod task;

pub(crate) use destroyed::{DESTROYED, DestroyedView, destroyed_row};
pub(crate) use node::{NODES, NodeView, node_row};
pub(crate) use object::{CONFIGS, ObjectView, SECRETS, object_row};
pub(crate) use service::{SERVICES, ServiceView, image_name, pretty_service, service_row};
pub(crate) use task::{TASKS, task_rows};

use crate::{
    kit::text::line,
    model::{Labels, Meta},
};
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Index {
    index: u64,
}

impl From<&Meta> for Index {
    fn from(meta: &Meta) -> Self {
        Self { index: meta.index }
    }
}

/// Upper-cases the first letter: states as docker prints them.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Lines of labels below a heading, for `--pretty`.
fn label_lines(text: &mut String, labels: &Labels, prefix: &str) {
    for (key, value) in labels {
        writeln!(text, "{prefix}{}={}", line(key), line(value)).expect("a String takes everything");
    }
}
