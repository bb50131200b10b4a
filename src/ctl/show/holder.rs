//! Who may have which payloads: lines of `inspect` and `node inspect`.

use crate::{
    client::HolderSummary,
    model::task::{ObjectVersion, Payload},
};
use serde::Serialize;
use std::fmt;

/// A node that may have a version, as an object's `inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HolderView {
    #[serde(rename = "NodeID")]
    node_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hostname: String,
    node_state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_state_since: Option<String>,
    version: u64,
    state: &'static str,
    since: String,
    services: Vec<String>,
}

/// A version that a node may have, as `node inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HeldView {
    kind: String,
    name: String,
    #[serde(rename = "ID")]
    id: String,
    version: u64,
    state: &'static str,
    since: String,
    services: Vec<String>,
}

fn state(in_use: bool) -> &'static str {
    if in_use { "in use" } else { "removing" }
}

impl From<&HolderSummary> for HolderView {
    fn from(holder: &HolderSummary) -> Self {
        let HolderSummary { node, hostname, node_state, payload, in_use, since, services } = holder;
        Self {
            node_id: node.to_string(),
            hostname: hostname.clone(),
            node_state: node_state.map_or("removed".to_owned(), |(state, _)| state.to_string()),
            node_state_since: node_state.map(|(_, since)| since.to_string()),
            version: payload.version.version.0,
            state: state(*in_use),
            since: since.to_string(),
            services: services.clone(),
        }
    }
}

impl From<&HolderSummary> for HeldView {
    fn from(holder: &HolderSummary) -> Self {
        let HolderSummary { node: _, hostname: _, node_state: _, payload, in_use, since, services } =
            holder;
        let Payload { kind, name, version: ObjectVersion { object, version } } = payload;
        Self {
            kind: kind.to_string(),
            name: name.to_string(),
            id: object.to_string(),
            version: version.0,
            state: state(*in_use),
            since: since.to_string(),
            services: services.clone(),
        }
    }
}

/// ` - v1 on node2 (<id>): removing since …, of web; the node is down since …`
impl fmt::Display for HolderView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node_id,
            hostname,
            node_state,
            node_state_since,
            version,
            state,
            since,
            services,
        } = self;
        write!(f, " - v{version} on ")?;
        match hostname.as_str() {
            "" => write!(f, "{node_id}")?,
            name => write!(f, "{name} ({node_id})")?,
        }
        write!(f, ": {state} since {since}, {}", of(services))?;
        match (node_state.as_str(), node_state_since) {
            ("ready", _) => Ok(()),
            (gone, None) => write!(f, "; the node has been {gone}"),
            (away, Some(since)) => write!(f, "; the node is {away} since {since}"),
        }
    }
}

/// ` - secret db-password v1: in use since …, of web`
impl fmt::Display for HeldView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, id: _, version, state, since, services } = self;
        write!(f, " - {kind} {name} v{version}: {state} since {since}, {}", of(services))
    }
}

fn of(services: &[String]) -> String {
    format!("of {}", services.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{
            clock::Timestamp,
            id::{NodeId, ObjectId},
        },
        model::{
            node::NodeState,
            object::{Kind, VersionNumber},
        },
    };

    fn summary(node_state: Option<(NodeState, Timestamp)>) -> HolderSummary {
        HolderSummary {
            node: NodeId::from_random([0; 17]),
            hostname: node_state.map_or_else(String::new, |_| "node2".to_owned()),
            node_state,
            payload: Payload {
                kind: Kind::Secret,
                name: "db-password".parse().unwrap(),
                version: ObjectVersion {
                    object: ObjectId::from_random([0; 17]),
                    version: VersionNumber::FIRST,
                },
            },
            in_use: false,
            since: Timestamp(0),
            services: vec!["db".into(), "web".into()],
        }
    }

    #[test]
    fn a_holder_is_shown_with_what_keeps_it_from_confirming() {
        let line = |state| HolderView::from(&summary(state)).to_string();
        let start = "removing since 1970-01-01T00:00:00.000Z, of db, web";
        let id = "0000000000000000000000000";
        assert_eq!(
            line(Some((NodeState::Ready, Timestamp(1)))),
            format!(" - v1 on node2 ({id}): {start}")
        );
        assert_eq!(
            line(Some((NodeState::Down, Timestamp(0)))),
            format!(
                " - v1 on node2 ({id}): {start}; the node is down since 1970-01-01T00:00:00.000Z"
            )
        );
        assert_eq!(line(None), format!(" - v1 on {id}: {start}; the node has been removed"));
        assert_eq!(
            HeldView::from(&summary(None)).to_string(),
            format!(" - secret db-password v1: {start}")
        );
    }
}
