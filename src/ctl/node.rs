//! `secretctl node`.

use super::{
    cli::{ListArgs, NodeCommand, NodeInspectArgs},
    connect::{Context, explain},
    exit::Failure,
    format::documents,
    object::Failures,
    output,
    show::{NODES, NodeView, node_row},
};
use crate::{client::Client, kit::id::NodeId, model::filter::Filters};
use std::collections::BTreeMap;

/// Carries out one `secretctl node …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: NodeCommand, context: &Context) -> Result<(), Failure> {
    match command {
        NodeCommand::Ls(args) => list(&args, context).await,
        NodeCommand::Inspect(args) => inspect(&args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let filters: Filters = args.filter.iter().cloned().collect();
    let nodes = match client.list_nodes(&filters).await {
        Ok(nodes) => nodes,
        Err(error) => return Err(explain(&client, error).await.doing("cannot list nodes")),
    };
    let rows: Vec<_> = nodes.iter().map(node_row).collect();
    output::text(NODES.render(&rows, args.format.as_deref(), args.quiet)?)
}

async fn inspect(args: &NodeInspectArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (mut found, mut failures) = (Vec::new(), Failures::default());
    for name in &args.names {
        match client.node(name).await {
            Ok(node) => found.push(NodeView::from(&node)),
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
