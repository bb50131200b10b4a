//! Secrets and configs: create, ls, inspect, rm.

use super::{
    cli::{CreateArgs, InspectArgs, ListArgs, ObjectCommand, RemoveArgs},
    connect::{Context, explain},
    exit::{Code, Failure},
    format::documents,
    input, output, parse,
    show::{CONFIGS, DESTROYED, DestroyedView, ObjectView, SECRETS, destroyed_row, object_row},
};
use crate::{
    client::{Client, PendingRemoval},
    kit::name::ObjectName,
    model::{destroyed::Destroyed, filter::Filters, object::Kind},
};
use serde::Serialize;
use std::fmt;

/// Carries out one command on secrets or configs.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(
    kind: Kind,
    command: ObjectCommand,
    context: &Context,
) -> Result<(), Failure> {
    match command {
        ObjectCommand::Create(args) => create(kind, args, context).await,
        ObjectCommand::Ls(args) => list(kind, &args, context).await,
        ObjectCommand::Inspect(args) => inspect(kind, &args, context).await,
        ObjectCommand::Rm(args) => remove(kind, &args, context).await,
    }
}

async fn create(kind: Kind, args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let doing = format!("cannot create {kind} '{}'", args.name);
    // Looked at first, so that nobody types a value for a name that cannot be.
    let name: ObjectName =
        args.name.parse().map_err(|bad| Failure::refused(format!("{doing}: {bad}")))?;
    let payload = input::payload(kind, args.file.as_deref(), args.trim_newline)
        .map_err(|failure| failure.doing(&doing))?;
    let client = context.connect().await?;
    let labels = parse::labels(&args.label);
    match client.create_object(kind, name.as_str(), labels, payload).await {
        Ok(id) => output::line(id),
        Err(error) => {
            let failure = explain(&client, error).await.doing(&doing);
            Err(match failure.code {
                Code::Exists => failure.hint(format!(
                    "a stored value never changes; remove the {kind} first, or take another name"
                )),
                _ => failure,
            })
        }
    }
}

async fn list(kind: Kind, args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    if args.filter.iter().any(|(key, _)| key == "destroyed") {
        return list_destroyed(kind, args, &client, context).await;
    }
    let filters: Filters = args.filter.iter().cloned().collect();
    let objects = match client.list_objects(kind, &filters).await {
        Ok(objects) => objects,
        Err(error) => {
            return Err(explain(&client, error).await.doing(format_args!("cannot list {kind}s")));
        }
    };
    let listing = match kind {
        Kind::Secret => SECRETS,
        Kind::Config => CONFIGS,
    };
    let now = context.clock.now();
    let rows: Vec<_> = objects.iter().map(|object| object_row(object, now)).collect();
    output::text(listing.render(&rows, args.format.as_deref(), args.quiet)?)
}

/// What was removed and still waits for a manager to drop it.
async fn list_destroyed(
    kind: Kind,
    args: &ListArgs,
    client: &Client,
    context: &Context,
) -> Result<(), Failure> {
    if !matches!(&args.filter[..], [(_, value)] if value == "pending") {
        return Err(Failure::usage("the filter 'destroyed=pending' stands alone")
            .hint("it lists what was removed and is not gone from every manager's disk yet"));
    }
    let removals = match client.destroyed(kind).await {
        Ok(removals) => removals,
        Err(error) => {
            return Err(explain(client, error).await.doing(format_args!("cannot list {kind}s")));
        }
    };
    let now = context.clock.now();
    let rows: Vec<_> = removals.iter().map(|removal| destroyed_row(removal, now)).collect();
    output::text(DESTROYED.render(&rows, args.format.as_deref(), args.quiet)?)
}

/// Shows what is found also if something else is not, as docker does; the first failure gives the exit code.
async fn inspect(kind: Kind, args: &InspectArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (mut found, mut failures) = (Vec::new(), Failures::default());
    for name in &args.names {
        match view(&client, kind, name).await {
            Ok(view) => found.push(View::There(view)),
            // There is none, which scripts ask for; but of one that was removed there may be something to say.
            Err(failure) if failure.code == Code::NotFound => {
                match removed(&client, kind, name).await {
                    Some(view) => {
                        failures.add(failure.hint(view.progress()))?;
                        found.push(View::Removed(view));
                    }
                    None => failures.add(failure)?,
                }
            }
            Err(failure) => failures.add(failure)?,
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

async fn view(client: &Client, kind: Kind, name: &str) -> Result<ObjectView, Failure> {
    let view = async {
        match kind {
            Kind::Secret => {
                let secret = client.object(kind, name).await?;
                let holders = client.holders_of(secret.id).await?;
                Ok(ObjectView::new(&secret, None, &holders))
            }
            Kind::Config => {
                let (config, _, data) = client.config_data(name, None).await?;
                let holders = client.holders_of(config.id).await?;
                Ok(ObjectView::new(&config, Some(data.expose()), &holders))
            }
        }
    };
    match view.await {
        Ok(view) => Ok(view),
        Err(error) => Err(explain(client, error).await),
    }
}

/// What was removed under this name or id last, if it still waits for a manager to drop it.
async fn removed(client: &Client, kind: Kind, name: &str) -> Option<DestroyedView> {
    // Only an addition to the answer that there is none: if this fails, that stands.
    let mut removals = client.destroyed(kind).await.ok()?;
    removals.sort_by_key(|removal| removal.object.removed_at);
    let named = |removal: &&PendingRemoval| {
        let Destroyed { id, name: its, .. } = &removal.object;
        its.as_str().eq_ignore_ascii_case(name) || id.as_str() == name
    };
    removals.iter().rev().find(named).map(DestroyedView::new)
}

/// What `inspect` found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum View {
    There(ObjectView),
    Removed(DestroyedView),
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(view) => view.fmt(f),
            Self::Removed(view) => view.fmt(f),
        }
    }
}

async fn remove(kind: Kind, args: &RemoveArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    for name in &args.names {
        match client.remove_object(kind, name).await {
            Ok(_) => output::line(name)?,
            Err(error) => {
                let failure = explain(&client, error).await;
                failures.add(failure.doing(format_args!("cannot remove {kind} '{name}'")))?;
            }
        }
    }
    failures.result()
}

/// Failures of a command that goes on with the next name: each is said, the first gives the exit code.
#[derive(Debug, Default)]
pub(crate) struct Failures(Option<Code>);

impl Failures {
    /// Says the failure and goes on, unless it would be the same for every name.
    ///
    /// # Errors
    /// The failure, if the daemon is away or not ready.
    pub(crate) fn add(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure.code {
            Code::Unreachable | Code::NotReady | Code::Denied | Code::Interrupted | Code::Pipe => {
                Err(failure)
            }
            Code::Other | Code::Usage | Code::NotFound | Code::Exists | Code::Refused => {
                output::failure(&failure);
                self.0.get_or_insert(failure.code);
                Ok(())
            }
        }
    }

    /// # Errors
    /// The first failure's code; it was said already.
    pub(crate) fn result(self) -> Result<(), Failure> {
        match self.0 {
            None => Ok(()),
            Some(code) => Err(Failure::new(code, "")),
        }
    }
}
