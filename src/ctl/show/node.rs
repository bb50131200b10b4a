//! Nodes.

use super::{Index, capital, holder::HeldView, label_lines};
use crate::{
    client::{HolderSummary, NodeSummary},
    ctl::format::Listing,
    kit::{clock::Timestamp, hex::Hex, text::line},
    model::{
        Labels,
        node::{
            CertificateStatus, ManagerStatus, Node, NodeDescription, NodeState, Role, Standing,
        },
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

pub(crate) const NODES: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Self", ""),
        ("Hostname", "HOSTNAME"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("ManagerStatus", "MANAGER STATUS"),
        ("EngineVersion", "ENGINE VERSION"),
        ("Role", "ROLE"),
        ("Runtime", "RUNTIME"),
        ("Version", "VERSION"),
        ("Addr", "ADDRESS"),
        ("Labels", "LABELS"),
        ("Cloned", "CLONED"),
    ],
    table: r"{{.ID}} {{if eq .Self true}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}{{if eq .Cloned true}} (cloned){{end}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
    quiet: "{{.ID}}",
};

/// A row of `node ls`.
pub(crate) fn node_row(summary: &NodeSummary, now: Timestamp) -> Value {
    let NodeSummary { node, leader: _, this, reachable: _, voter: _, damage: _ } = summary;
    json!({
        "ID": node.id.to_string(),
        "Self": this,
        "Hostname": node.description.hostname,
        "Status": capital(&state(node)),
        "Availability": capital(&node.availability.to_string()),
        "ManagerStatus": manager_status(summary),
        "EngineVersion": engine(&node.description),
        "Role": node.role.to_string(),
        "Runtime": node.description.runtime,
        "Version": node.description.version,
        "Addr": node.status.addr,
        "Labels": node.labels,
        "Cloned": node.sightings.rival(now).is_some(),
    })
}

/// How a node is, or that it has left. One that is here without a runtime that works is not ready.
fn state(node: &Node) -> String {
    match node.standing {
        Standing::Member if node.status.state == NodeState::Ready && !node.is_ready() => {
            "not ready".to_owned()
        }
        Standing::Member => node.status.state.to_string(),
        Standing::Left { .. } => "left".to_owned(),
    }
}

fn manager_status(summary: &NodeSummary) -> String {
    let NodeSummary { node, leader, this: _, reachable, voter, damage } = summary;
    match (&node.manager, leader) {
        (None, _) => String::new(),
        (Some(_), _) if !damage.is_empty() => "Damaged".to_owned(),
        (Some(_), true) => "Leader".to_owned(),
        (Some(_), false) if node.role == Role::Manager && !voter => match reachable {
            Some(true) | None => "Joining".to_owned(),
            // Admitted, and perhaps it never comes: it is no member that was lost.
            Some(false) => "Not joined".to_owned(),
        },
        (Some(_), false) => capital(reachability(*reachable)),
    }
}

/// Swarm's words.
fn reachability(reachable: Option<bool>) -> &'static str {
    match reachable {
        Some(true) => "reachable",
        Some(false) => "unreachable",
        None => "unknown",
    }
}

/// The engine's version, or that it does not answer; the process runtime has none and is named instead.
fn engine(description: &NodeDescription) -> &str {
    match (description.runtime.as_str(), description.engine_version.as_str()) {
        _ if !description.runtime_error.is_empty() => "no answer",
        ("docker", "") => "no answer",
        (runtime, "") => runtime,
        (_, version) => version,
    }
}

/// What `node inspect` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeView {
    #[serde(rename = "ID")]
    id: String,
    version: Index,
    created_at: String,
    updated_at: String,
    spec: Spec,
    description: Description,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager_status: Option<Manager>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloned: Option<Cloned>,
    holds: Vec<HeldView>,
}

/// More than one machine has its identity.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cloned {
    since: String,
    last_seen: String,
    addrs: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    labels: Labels,
    role: String,
    availability: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    hostname: String,
    /// Only if it is another name than the one it joined with.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_itself: Option<String>,
    platform: Platform,
    resources: Resources,
    engine: Engine,
    runtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    runtime_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_failed_at: Option<String>,
    version: String,
}

#[derive(Debug, Serialize)]
struct Platform {
    #[serde(rename = "Architecture")]
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Debug, Serialize)]
struct Resources {
    #[serde(rename = "NanoCPUs")]
    nano_cpus: u64,
    #[serde(rename = "MemoryBytes")]
    memory_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Engine {
    engine_version: String,
    labels: Labels,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<String>,
    addr: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Manager {
    leader: bool,
    voter: bool,
    reachability: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    damage: String,
    addr: String,
    raft_id: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Certificate {
    role: String,
    expires_at: String,
    /// SHA-256 of the CA's certificate.
    issuer: String,
}

impl From<&CertificateStatus> for Certificate {
    fn from(certificate: &CertificateStatus) -> Self {
        let CertificateStatus {
            issuer,
            role,
            expires_at,
            shown: _,
            key: _,
            former: _,
            used: _,
            dated: _,
        } = certificate;
        let issuer = Hex(issuer).to_string();
        Self { role: role.to_string(), expires_at: expires_at.to_string(), issuer }
    }
}

impl NodeView {
    /// `holds` is what the node may have.
    pub(crate) fn new(summary: &NodeSummary, holds: &[HolderSummary], now: Timestamp) -> Self {
        let NodeSummary { node, leader, this: _, reachable, voter, damage } = summary;
        let Node {
            id,
            meta,
            role,
            availability,
            labels,
            description,
            renamed,
            status,
            standing,
            manager,
            certificate,
            runtime_failed_at,
            sightings,
        } = node;
        let NodeDescription {
            hostname,
            os,
            arch,
            nano_cpus,
            memory_bytes,
            runtime,
            engine_version,
            engine_labels,
            version,
            runtime_error,
        } = description.clone();
        Self {
            id: id.to_string(),
            version: meta.into(),
            created_at: meta.created_at.to_string(),
            updated_at: meta.updated_at.to_string(),
            spec: Spec {
                labels: labels.clone(),
                role: role.to_string(),
                availability: availability.to_string(),
            },
            description: Description {
                hostname,
                calls_itself: renamed.clone(),
                platform: Platform { architecture: arch, os },
                resources: Resources { nano_cpus, memory_bytes },
                engine: Engine { engine_version, labels: engine_labels },
                runtime,
                runtime_error,
                runtime_failed_at: runtime_failed_at.map(|at| at.to_string()),
                version,
            },
            status: Status {
                state: state(node),
                message: status.message.clone(),
                left_at: match standing {
                    Standing::Member => None,
                    Standing::Left { at, wiped: _ } => Some(at.to_string()),
                },
                addr: status.addr.clone(),
            },
            manager_status: manager.as_ref().map(
                |ManagerStatus { raft_id, addr, oldest_term: _, root: _, prepared_root: _ }| {
                    Manager {
                        leader: *leader,
                        voter: *voter,
                        reachability: reachability(*reachable),
                        damage: damage.clone(),
                        addr: addr.clone(),
                        raft_id: *raft_id,
                    }
                },
            ),
            certificate: certificate.as_ref().map(Certificate::from),
            cloned: sightings.rival(now).map(|rival| Cloned {
                since: rival.since.to_string(),
                last_seen: rival.last.to_string(),
                addrs: rival.addrs.clone(),
            }),
            holds: holds.iter().map(HeldView::from).collect(),
        }
    }
}

/// As `node inspect --pretty` prints it.
impl fmt::Display for NodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            version: _,
            created_at,
            updated_at: _,
            spec,
            description,
            status,
            manager_status,
            certificate,
            cloned,
            holds,
        } = self;
        writeln!(f, "ID:                     {id}")?;
        if !spec.labels.is_empty() {
            let mut labels = String::new();
            label_lines(&mut labels, &spec.labels, " - ");
            write!(f, "Labels:\n{labels}")?;
        }
        writeln!(f, "Hostname:               {}", line(&description.hostname))?;
        if let Some(name) = &description.calls_itself {
            writeln!(f, "Calls itself:           {}", line(name))?;
        }
        writeln!(f, "Role:                   {}", capital(&spec.role))?;
        writeln!(f, "Joined at:              {created_at}")?;
        writeln!(f, "Status:")?;
        writeln!(f, " State:                 {}", capital(&status.state))?;
        if !status.message.is_empty() {
            writeln!(f, " Message:               {}", line(&status.message))?;
        }
        if let Some(at) = &status.left_at {
            writeln!(f, " Left at:               {at}")?;
        }
        writeln!(f, " Availability:          {}", capital(&spec.availability))?;
        writeln!(f, " Address:               {}", line(&status.addr))?;
        if let Some(Cloned { since, last_seen, addrs }) = cloned {
            writeln!(f, "Cloned:")?;
            writeln!(f, " Since:                 {since}")?;
            writeln!(f, " Last Seen:             {last_seen}")?;
            writeln!(f, " Addresses:             {}", line(&addrs.join(", ")))?;
        }
        if let Some(Manager { leader, voter, reachability, damage, addr, raft_id }) = manager_status
        {
            writeln!(f, "Manager Status:")?;
            writeln!(f, " Address:               {}", line(addr))?;
            writeln!(f, " Raft Status:           {}", capital(reachability))?;
            writeln!(f, " Raft ID:               {raft_id}")?;
            writeln!(f, " Voter:                 {}", if *voter { "Yes" } else { "No" })?;
            writeln!(f, " Leader:                {}", if *leader { "Yes" } else { "No" })?;
            if !damage.is_empty() {
                writeln!(f, " Damage:                {}", line(damage))?;
            }
        }
        if let Some(Certificate { role, expires_at, issuer: _ }) = certificate {
            writeln!(f, "Certificate:")?;
            writeln!(f, " Role:                  {}", capital(role))?;
            writeln!(f, " Expires at:            {expires_at}")?;
        }
        writeln!(f, "Platform:")?;
        writeln!(f, " Operating System:      {}", line(&description.platform.os))?;
        writeln!(f, " Architecture:          {}", line(&description.platform.architecture))?;
        writeln!(f, "Resources:")?;
        writeln!(f, " CPUs:                  {}", description.resources.nano_cpus / 1_000_000_000)?;
        writeln!(f, " Memory:                {} MiB", description.resources.memory_bytes >> 20)?;
        writeln!(f, "Runtime:                {}", line(&description.runtime))?;
        if let Some(since) = &description.runtime_failed_at {
            writeln!(f, " Failing since:         {since}")?;
            writeln!(f, " Error:                 {}", line(&description.runtime_error))?;
        }
        writeln!(f, "Engine Version:         {}", line(&description.engine.engine_version))?;
        writeln!(f, "Version:                {}", line(&description.version))?;
        if !holds.is_empty() {
            writeln!(f, "Holds:")?;
        }
        holds.iter().try_for_each(|held| writeln!(f, "{held}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::id::NodeId,
        model::{
            Meta,
            node::{Availability, NodeStatus},
            sightings::{KeyHash, ShownKey},
        },
    };

    fn summary() -> NodeSummary {
        let at = Timestamp(1000);
        NodeSummary {
            node: Node {
                id: NodeId::from_random([0; 17]),
                meta: Meta::new(at),
                role: Role::Manager,
                availability: Availability::Active,
                labels: Labels::new(),
                description: NodeDescription {
                    hostname: "node1".into(),
                    runtime: "docker".into(),
                    engine_version: "28.2.2".into(),
                    ..Default::default()
                },
                renamed: None,
                standing: Standing::Member,
                status: NodeStatus {
                    state: NodeState::Ready,
                    message: String::new(),
                    addr: "10.0.0.1".into(),
                    at,
                    dispatcher: None,
                },
                manager: Some(ManagerStatus::new(1, "10.0.0.1:2390".into())),
                certificate: None,
                runtime_failed_at: None,
                sightings: Default::default(),
            },
            leader: true,
            this: true,
            reachable: Some(true),
            voter: true,
            damage: String::new(),
        }
    }

    #[test]
    fn a_list_looks_like_dockers() {
        let mut other = summary();
        (other.leader, other.this, other.node.manager) = (false, false, None);
        let text = NODES
            .render(
                &[node_row(&summary(), Timestamp(0)), node_row(&other, Timestamp(0))],
                None,
                false,
            )
            .unwrap();
        assert_eq!(
            text,
            "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION\n\
             0000000000000000000000000 *   node1      Ready     Active         Leader           28.2.2\n\
             0000000000000000000000000     node1      Ready     Active                          28.2.2\n"
        );
    }

    #[test]
    fn managers_are_told_by_whether_the_leader_hears_of_them() {
        let mut other = summary();
        other.leader = false;
        for (reachable, text) in
            [(Some(true), "Reachable"), (Some(false), "Unreachable"), (None, "Unknown")]
        {
            other.reachable = reachable;
            assert_eq!(node_row(&other, Timestamp(0))["ManagerStatus"], text);
        }
        other.damage = "its disk is older".to_owned();
        assert_eq!(node_row(&other, Timestamp(0))["ManagerStatus"], "Damaged");
        other.damage.clear();
        other.voter = false;
        for (reachable, text) in
            [(Some(true), "Joining"), (Some(false), "Not joined"), (None, "Joining")]
        {
            other.reachable = reachable;
            assert_eq!(node_row(&other, Timestamp(0))["ManagerStatus"], text);
        }
        // On its way out it has no vote either.
        (other.reachable, other.node.role) = (Some(false), Role::Worker);
        assert_eq!(node_row(&other, Timestamp(0))["ManagerStatus"], "Unreachable");
        let given = ShownKey { key: KeyHash([0; 32]), expires_at: Timestamp(0) };
        other.node.certificate = Some(CertificateStatus::new([0xab; 32], Role::Manager, &given));
        let view = NodeView::new(&other, &[], Timestamp(0));
        assert!(view.to_string().contains(" Expires at:            1970-01-01T00:00:00"));
        let view = serde_json::to_value(view).unwrap();
        assert_eq!(view["Certificate"]["Issuer"].as_str().unwrap()[..4], *"abab");
    }

    #[test]
    fn a_node_whose_engine_does_not_answer_is_not_ready_and_says_why() {
        let mut summary = summary();
        summary.node.runtime_failed_at = Some(Timestamp(2000));
        summary.node.description.runtime_error = "nobody listens".into();
        let row = node_row(&summary, Timestamp(0));
        assert_eq!(
            (&row["Status"], &row["EngineVersion"]),
            (&json!("Not ready"), &json!("no answer"))
        );
        let view = NodeView::new(&summary, &[], Timestamp(0)).to_string();
        assert!(view.contains(" State:                 Not ready\n"), "{view}");
        assert!(view.contains(" Error:                 nobody listens\n"), "{view}");
    }

    #[test]
    fn a_node_is_shown_with_swarms_fields() {
        let view = serde_json::to_value(NodeView::new(&summary(), &[], Timestamp(0))).unwrap();
        assert_eq!(
            view["Spec"],
            json!({"Labels": {}, "Role": "manager", "Availability": "active"})
        );
        assert_eq!(view["ManagerStatus"]["Leader"], true);
        assert_eq!(view["Description"]["Engine"]["EngineVersion"], "28.2.2");
        assert!(
            NodeView::new(&summary(), &[], Timestamp(0))
                .to_string()
                .contains(" Leader:                Yes\n")
        );
    }
}
