//! `secretctl node`.

pub(crate) mod args;

use super::{
    cli::{ListArgs, TaskListArgs},
    connect::{Context, explain},
    exit::{Code, Failure},
    format::documents,
    object::Failures,
    output,
    service::print_tasks,
    show::{NODES, NodeView, node_row},
};
use crate::{
    client::{Client, HolderSummary},
    kit::id::NodeId,
    model::{
        Labels,
        filter::Filters,
        node::{Availability, Node, Role},
        object::Kind,
    },
};
use args::{AvailabilityFlag, NodeCommand, NodeInspectArgs, NodeNames, NodeUpdateArgs, RoleFlag};
use std::collections::{BTreeMap, BTreeSet};

/// Carries out one `secretctl node …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: NodeCommand, context: &Context) -> Result<(), Failure> {
    match command {
        NodeCommand::Ls(args) => list(&args, context).await,
        NodeCommand::Inspect(args) => inspect(&args, context).await,
        NodeCommand::Ps { nodes, args } => tasks(&nodes, &args, context).await,
        NodeCommand::Update(args) => update(&args, context).await,
        NodeCommand::Promote(nodes) => set_roles(&nodes, Role::Manager, context).await,
        NodeCommand::Demote(nodes) => set_roles(&nodes, Role::Worker, context).await,
        NodeCommand::Rm { names, force } => remove(&names, force, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let filters: Filters = args.filter.iter().cloned().collect();
    let nodes = match client.list_nodes(&filters).await {
        Ok(nodes) => nodes,
        Err(error) => return Err(explain(&client, error).await.doing("cannot list nodes")),
    };
    let now = context.clock.now();
    let rows: Vec<_> = nodes.iter().map(|node| node_row(node, now)).collect();
    output::text(NODES.render(&rows, args.format.as_deref(), args.quiet)?)
}

async fn inspect(args: &NodeInspectArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (mut found, mut failures) = (Vec::new(), Failures::default());
    for name in &args.names {
        let view = async {
            let node = client.node(name).await?;
            let holds = client.held_on(node.node.id).await?;
            Ok(NodeView::new(&node, &holds, context.clock.now()))
        };
        match view.await {
            Ok(view) => found.push(view),
            Err(error) => failures.add(explain(&client, error).await)?,
        }
    }
    if args.pretty {
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        output::text(texts.join("\n"))?;
    } else {
        output::text(documents(&found, args.format.as_deref())?)?;
    }
    failures.result()
}

async fn tasks(nodes: &[String], args: &TaskListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    let mut filters: Filters = args.list.filter.iter().cloned().collect();
    let mut known = false;
    for reference in nodes {
        match client.node(reference).await {
            Ok(summary) => {
                filters.add("node", summary.node.id.to_string());
                known = true;
            }
            Err(error) => failures.add(explain(&client, error).await)?,
        }
    }
    if known {
        print_tasks(&client, &filters, args, context).await?;
    }
    failures.result()
}

/// How often a change is tried again when somebody else changed the node in between.
const TRIES: usize = 5;

async fn update(args: &NodeUpdateArgs, context: &Context) -> Result<(), Failure> {
    let NodeUpdateArgs { name, availability, role, hostname, label_add, label_rm } = args;
    let relabels = !label_add.is_empty() || !label_rm.is_empty();
    if availability.is_none() && role.is_none() && hostname.is_none() && !relabels {
        return Err(Failure::usage("nothing to change")
            .hint("give --availability, --role, --hostname, --label-add or --label-rm"));
    }
    let client = context.connect().await?;
    let doing = format!("cannot update node '{name}'");
    let change = |node: &Node| {
        let mut labels = node.labels.clone();
        for key in label_rm {
            labels.remove(key).ok_or_else(|| {
                Failure::refused(format!("key {key} doesn't exist in node's labels"))
            })?;
        }
        labels.extend(label_add.iter().cloned());
        let availability = match availability {
            Some(AvailabilityFlag::Active) => Availability::Active,
            Some(AvailabilityFlag::Pause) => Availability::Pause,
            Some(AvailabilityFlag::Drain) => Availability::Drain,
            None => node.availability,
        };
        let hostname = hostname.clone().filter(|name| *name != node.description.hostname);
        Ok((availability, labels, hostname))
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match update_once(&client, name, &change, *role).await {
            Ok(()) => return output::line(name),
            Err(failure) if failure.code == Code::Exists && tries < TRIES => {}
            Err(failure) => return Err(failure.doing(doing)),
        }
    }
}

/// Labels and availability first: who drains a manager and demotes it gets at least the harmless half.
async fn update_once(
    client: &Client,
    name: &str,
    change: &impl Fn(&Node) -> Result<(Availability, Labels, Option<String>), Failure>,
    role: Option<RoleFlag>,
) -> Result<(), Failure> {
    let mut node = match client.node_to_change(name).await {
        Ok(summary) => summary.node,
        Err(error) => return Err(explain(client, error).await),
    };
    let id = node.id.to_string();
    let (availability, labels, hostname) = change(&node)?;
    if (availability, &labels) != (node.availability, &node.labels) || hostname.is_some() {
        let index = Some(node.meta.index);
        node = match client.set_node(&id, index, availability, labels, hostname).await {
            Ok(summary) => summary.node,
            Err(error) => return Err(explain(client, error).await),
        };
    }
    let role = match role {
        Some(RoleFlag::Worker) => Role::Worker,
        Some(RoleFlag::Manager) => Role::Manager,
        None => return Ok(()),
    };
    if node.role != role
        && let Err(error) = client.set_node_role(&id, None, role).await
    {
        return Err(explain(client, error).await);
    }
    Ok(())
}

async fn set_roles(nodes: &NodeNames, role: Role, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    for name in &nodes.names {
        match set_role(&client, name, role).await {
            Ok(text) => output::line(text)?,
            Err(failure) => {
                let verb = match role {
                    Role::Manager => "promote",
                    Role::Worker => "demote",
                };
                failures.add(failure.doing(format_args!("cannot {verb} node '{name}'")))?;
            }
        }
    }
    failures.result()
}

/// Sets a role; the texts are docker's.
async fn set_role(client: &Client, name: &str, role: Role) -> Result<String, Failure> {
    let node = match client.node_to_change(name).await {
        Ok(summary) => summary.node,
        Err(error) => return Err(explain(client, error).await),
    };
    if node.role == role {
        return Ok(format!("Node {name} is already a {role}."));
    }
    match client.set_node_role(node.id.as_str(), None, role).await {
        Ok(_) => Ok(match role {
            Role::Manager => format!("Node {name} promoted to a manager in the cluster."),
            Role::Worker => format!("Manager {name} demoted in the cluster."),
        }),
        Err(error) => Err(explain(client, error).await),
    }
}

async fn remove(nodes: &NodeNames, force: bool, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    for name in &nodes.names {
        match client.remove_node(name, force).await {
            Ok(left) => {
                output::line(name)?;
                if let Some(warning) = lost(name, &left) {
                    output::warning(warning);
                }
            }
            Err(error) => {
                let failure = explain(&client, error).await;
                failures.add(failure.doing(format_args!("cannot remove node '{name}'")))?;
            }
        }
    }
    failures.result()
}

/// Names the secrets and configs that went with a node.
fn lost(node: &str, left: &[HolderSummary]) -> Option<String> {
    let of = |kind: Kind| {
        let named = left.iter().map(|holder| &holder.payload).filter(|one| one.kind == kind);
        let names: BTreeSet<String> = named.map(|one| one.name.to_string()).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    let (secrets, configs) = (of(Kind::Secret), of(Kind::Config));
    let (what, names) = match (secrets.is_empty(), configs.is_empty()) {
        (true, true) => return None,
        (false, true) => ("secrets", secrets),
        (true, false) => ("configs", configs),
        (false, false) => ("secrets and configs", format!("{secrets}; configs: {configs}")),
    };
    Some(format!(
        "node {node} has not confirmed that it has wiped these {what} and may still have them: {names}\n\
         hint: replace what must stay secret if the machine is lost or no longer trusted; `secretctl inspect` and \
         `secretctl config inspect` name the node until the object is removed"
    ))
}

/// The host names of all nodes, for lists of tasks.
///
/// # Errors
/// As every list.
pub(crate) async fn host_names(client: &Client) -> Result<BTreeMap<NodeId, String>, Failure> {
    match client.list_nodes(&Filters::default()).await {
        Ok(nodes) => Ok(nodes
            .into_iter()
            .map(|summary| (summary.node.id, summary.node.description.hostname))
            .collect()),
        Err(error) => Err(explain(client, error).await.doing("cannot list nodes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kit::{clock::Timestamp, id::ObjectId},
        model::{
            object::VersionNumber,
            task::{ObjectVersion, Payload},
        },
    };

    #[test]
    fn what_a_lost_node_may_have_taken_along_is_named_secrets_and_configs_alike() {
        let held = |kind, name: &str| HolderSummary {
            payload: Payload {
                kind,
                name: name.parse().unwrap(),
                version: ObjectVersion {
                    object: ObjectId::random(),
                    version: VersionNumber::FIRST,
                },
            },
            node: NodeId::random(),
            hostname: String::new(),
            node_state: None,
            in_use: false,
            since: Timestamp(0),
            services: Vec::new(),
        };
        let (key, page) = (held(Kind::Secret, "key"), held(Kind::Config, "page"));
        let first = |left: &[HolderSummary]| {
            lost("n1", left).map(|text| text.lines().next().unwrap_or_default().to_owned())
        };
        assert_eq!(first(&[]), None);
        let said = first(&[key.clone(), key.clone()]).unwrap();
        assert!(said.ends_with("these secrets and may still have them: key"), "{said}");
        let said = first(std::slice::from_ref(&page)).unwrap();
        assert!(said.ends_with("these configs and may still have them: page"), "{said}");
        let said = first(&[page, key]).unwrap();
        assert!(
            said.ends_with("these secrets and configs and may still have them: key; configs: page"),
            "{said}"
        );
    }
}
