//! `secretctl service`.

pub(crate) mod args;
pub(crate) mod claims;
mod create;
mod logs;
mod update;
pub(crate) mod wait;

use super::{
    cli::{InspectArgs, ListArgs, RemoveArgs, TaskListArgs},
    connect::{Context, explain},
    exit::Failure,
    format::documents,
    node::host_names,
    object::Failures,
    output,
    show::{SERVICES, ServiceView, TASKS, pretty_service, service_row, task_rows},
};
use crate::{
    client::{Client, ClientError},
    model::{
        filter::Filters,
        refusal::RefusalKind,
        service::{Mode, Service},
        task::Task,
    },
    wire::v1,
};
use args::ServiceCommand;

/// Carries out one `secretctl service …`.
///
/// # Errors
/// What went wrong, for people, with its exit code.
pub(crate) async fn run(command: ServiceCommand, context: &Context) -> Result<(), Failure> {
    match command {
        ServiceCommand::Create(args) => create::run(*args, context).await,
        ServiceCommand::Ls(args) => list(&args, context).await,
        ServiceCommand::Ps { services, args } => tasks(&services, &args, context).await,
        ServiceCommand::Inspect(args) => inspect(&args, context).await,
        ServiceCommand::Scale { services, detach } => scale(&services, detach, context).await,
        ServiceCommand::Update(args) => update::run(*args, context).await,
        ServiceCommand::Rollback { service, detach, quiet } => {
            update::roll_back(&service, detach, quiet, context).await
        }
        ServiceCommand::Rm(args) => remove(&args, context).await,
        ServiceCommand::Logs(args) => logs::run(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let filters: Filters = args.filter.iter().cloned().collect();
    print_services(&client, &filters, args).await
}

/// Prints the services that pass the filters, as `service ls` and `stack services` do.
///
/// # Errors
/// A bad filter or template, or the daemon is away.
pub(crate) async fn print_services(
    client: &Client,
    filters: &Filters,
    args: &ListArgs,
) -> Result<(), Failure> {
    let services = match client.list_services(filters).await {
        Ok(services) => services,
        Err(error) => return Err(explain(client, error).await.doing("cannot list services")),
    };
    let rows: Vec<_> = services.iter().map(service_row).collect();
    output::text(SERVICES.render(&rows, args.format.as_deref(), args.quiet)?)
}

async fn tasks(services: &[String], args: &TaskListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    let mut filters: Filters = args.list.filter.iter().cloned().collect();
    let mut known = false;
    for reference in services {
        match client.service(reference).await {
            Ok(service) => {
                filters.add("service", service.id.to_string());
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

/// Prints the tasks that pass the filters, as `service ps` and `stack ps` do.
///
/// # Errors
/// A bad filter or template, or the daemon is away.
pub(crate) async fn print_tasks(
    client: &Client,
    filters: &Filters,
    args: &TaskListArgs,
    context: &Context,
) -> Result<(), Failure> {
    let tasks: Vec<Task> = match client.list_tasks(filters).await {
        Ok(tasks) => tasks,
        Err(error) => return Err(explain(client, error).await.doing("cannot list tasks")),
    };
    let hosts = if args.no_resolve {
        std::collections::BTreeMap::default()
    } else {
        host_names(client).await?
    };
    let format = args.list.format.as_deref();
    let indent = !matches!(format, Some("json"));
    let rows = task_rows(&tasks, &hosts, args.no_trunc, indent, context.clock.now());
    output::text(TASKS.render(&rows, format, args.list.quiet)?)
}

async fn inspect(args: &InspectArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let (mut found, mut failures) = (Vec::new(), Failures::default());
    for name in &args.names {
        match client.service(name).await {
            Ok(service) => found.push(service),
            Err(error) => failures.add(explain(&client, error).await)?,
        }
    }
    if args.pretty {
        let texts: Vec<String> = found.iter().map(pretty_service).collect();
        output::text(texts.join("\n"))?;
    } else {
        let views: Vec<_> = found.iter().map(ServiceView::from).collect();
        output::text(documents(&views, args.format.as_deref())?)?;
    }
    failures.result()
}

/// How often a change is tried again when somebody else changed the service in between.
const TRIES: usize = 5;

async fn scale(services: &[(String, u64)], detach: bool, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    let mut scaled = Vec::new();
    for (name, replicas) in services {
        match scale_one(&client, name, *replicas).await {
            Ok(service) => {
                output::line(format_args!("{name} scaled to {replicas}"))?;
                scaled.push(service);
            }
            Err(failure) => failures.add(failure.doing(format_args!("cannot scale '{name}'")))?,
        }
    }
    if !detach {
        for service in scaled {
            wait::converge(&client, &service.id, false).await?;
        }
    }
    failures.result()
}

async fn scale_one(client: &Client, name: &str, replicas: u64) -> Result<Service, Failure> {
    let scaled = |service: &Service| {
        let mut spec = service.spec.clone();
        match &mut spec.mode {
            Mode::Replicated { replicas: count } => *count = replicas,
            Mode::Global => {
                return Err(Failure::refused("scale can only be used with replicated services"));
            }
        }
        Ok(v1::ServiceSpec::from(&spec))
    };
    Ok(change(client, name, scaled).await?.1)
}

/// Changes a service as it stands, again if somebody else was faster; gives it as it was and as it is now.
async fn change(
    client: &Client,
    name: &str,
    changed: impl Fn(&Service) -> Result<v1::ServiceSpec, Failure>,
) -> Result<(Service, Service), Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let before = match client.service(name).await {
            Ok(service) => service,
            Err(error) => return Err(explain(client, error).await),
        };
        let spec = changed(&before)?;
        match client.update_service(before.id.as_str(), Some(before.meta.index), spec).await {
            Ok(after) => return Ok((before, after)),
            Err(ClientError::Refused(refusal))
                if refusal.kind == RefusalKind::Conflict && tries < TRIES => {}
            Err(error) => return Err(explain(client, error).await),
        }
    }
}

async fn remove(args: &RemoveArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut failures = Failures::default();
    for name in &args.names {
        match client.remove_service(name).await {
            Ok(_) => output::line(name)?,
            Err(error) => {
                let failure = explain(&client, error).await;
                failures.add(failure.doing(format_args!("cannot remove service '{name}'")))?;
            }
        }
    }
    failures.result()
}
