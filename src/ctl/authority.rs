//! `secretctl ca`: the cluster's certificate authority, and its replacement by a new one.

use super::{
    age::ago,
    cli::CaCommand,
    connect::{Context, explain},
    exit::{Code, Failure},
    output,
    progress::Progress,
};
use crate::{
    client::Client,
    kit::clock::Timestamp,
    model::filter::Filters,
    wire::v1::{AuthorityProgress, ClusterInfo},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::{collections::BTreeMap, time::Duration};

/// How often to ask how far it is; a node needs a second or two.
const ASK: Duration = Duration::from_millis(500);
/// More nodes than this are counted, not named.
const NAMED: usize = 20;

/// Carries out one `secretctl ca …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: CaCommand, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    match command {
        CaCommand::Show => {
            let cluster = cluster(&client).await?;
            if let Some(progress) = &cluster.rotation {
                let started = ago(Timestamp(progress.started_at_ms), context.clock.now());
                output::note(format_args!("A rotation of the CA is under way, begun {started}."));
                for line in lines(&client, progress).await? {
                    output::note(line);
                }
            }
            output::text(pem(&cluster.ca_certificate))
        }
        CaCommand::Rotate { detach, quiet } => {
            if let Err(error) = client.rotate_authority().await {
                return Err(explain(&client, error).await.doing("cannot replace the CA"));
            }
            if !quiet {
                output::note(
                    "Join tokens made before are worth nothing any more: they name the CA that goes.",
                );
            }
            if detach {
                return Ok(());
            }
            tokio::select! {
                done = wait(&client, quiet) => done,
                _ = tokio::signal::ctrl_c() => {
                    output::note(
                        "Operation continuing in background.\nUse `secretctl ca show` to check progress.",
                    );
                    Err(Failure::new(Code::Interrupted, ""))
                }
            }
        }
    }
}

/// Waits until no node needs the old CA any more.
async fn wait(client: &Client, quiet: bool) -> Result<(), Failure> {
    let mut progress = Progress::new(quiet);
    loop {
        let cluster = cluster(client).await?;
        let Some(rotation) = &cluster.rotation else {
            progress
                .show(vec!["all nodes have moved; the old CA is trusted no longer".to_owned()])?;
            return if quiet { Ok(()) } else { output::text(pem(&cluster.ca_certificate)) };
        };
        progress.show(lines(client, rotation).await?)?;
        tokio::time::sleep(ASK).await;
    }
}

async fn cluster(client: &Client) -> Result<ClusterInfo, Failure> {
    match client.cluster().await {
        Ok(cluster) => Ok(cluster),
        Err(error) => Err(explain(client, error).await),
    }
}

/// How far it is, and who is missing.
async fn lines(client: &Client, progress: &AuthorityProgress) -> Result<Vec<String>, Failure> {
    let AuthorityProgress { moved, nodes, waiting_node_ids, started_at_ms: _ } = progress;
    let known = client.list_nodes(&Filters::default()).await?;
    let known: BTreeMap<String, _> =
        known.into_iter().map(|summary| (summary.node.id.to_string(), summary.node)).collect();
    let mut lines = vec![format!("{moved} of {nodes} nodes have moved to the new CA")];
    for id in waiting_node_ids.iter().take(NAMED) {
        let about = known.get(id).map_or_else(String::new, |node| {
            format!(" ({}, {})", node.description.hostname, node.status.state)
        });
        lines.push(format!("waiting for node {id}{about}"));
    }
    if let Some(more) = waiting_node_ids.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.push(format!("and for {more} more"));
    }
    Ok(lines)
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_printed_in_lines_of_64() {
        let text = pem(&[0xff; 49]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!((lines[1].len(), lines[2]), (64, "/w=="));
    }
}
