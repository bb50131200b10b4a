//! `stack deploy`: everything is checked before anything is made; what is as it should be is left alone.

use super::{
    args::StackDeployArgs,
    files,
    objects::{self, Wanted},
    plan::{Step, steps},
};
use crate::{
    client::Client,
    compose::{Project, StackName},
    ctl::{
        connect::{Context, explain},
        exit::{Code, Failure},
        output,
        service::{claims, wait::converge_all},
    },
    kit::id::ServiceId,
    model::{
        filter::Filters,
        service::{STACK_LABEL, Service},
    },
};

/// Deploys the files under a name, in this order: read and check the files, read all payloads, check external objects,
/// check and make secrets and configs, make or update services, remove left-over services, wait.
///
/// # Errors
/// What is wrong with the files, what is missing in the cluster, what was refused, a task that does not come up.
pub(super) async fn deploy(args: StackDeployArgs, context: &Context) -> Result<(), Failure> {
    let StackDeployArgs { files, prune, detach, quiet, stack } = args;
    let stack: StackName = stack
        .parse()
        .map_err(|bad: crate::compose::BadStackName| Failure::usage(bad.to_string()))?;
    let (document, env) = files::read(&files)?.load()?;
    let project = document.project(&stack)?;
    project.warnings.iter().for_each(output::warning);
    let wanted = objects::read(&project, &env)?;

    let client = context.connect().await?;
    let services = apply(&client, &project, wanted, prune).await?;
    if detach {
        return Ok(());
    }
    converge_all(&client, &services, quiet).await
}

/// Brings the cluster to what the project says; gives the services back with their names.
pub(super) async fn apply(
    client: &Client,
    project: &Project,
    wanted: Vec<Wanted<'_>>,
    prune: bool,
) -> Result<Vec<(ServiceId, String)>, Failure> {
    let mut found = match objects::find(client, project).await {
        Ok(found) => found,
        Err(error) => return Err(explain(client, error).await),
    };
    objects::check_externals(project, &found)?;
    let there = services(client, &project.stack).await?;
    objects::ensure(client, wanted, &mut found).await?;

    let specs = project
        .to_specs(|kind, name| objects::lookup(&found, kind, name))
        .map_err(|missing| Failure::new(Code::NotFound, missing.to_string()))?;
    let (steps, orphans) = steps(there, specs);
    let mut running = Vec::new();
    for step in steps {
        running.push(carry_out(client, step).await?);
    }
    for service in &orphans {
        let name = &service.spec.name;
        if prune {
            output::line(format_args!("Removing service {name}"))?;
            client.remove_service(service.id.as_str()).await?;
        } else {
            output::note(format_args!(
                "note: service {name} is no longer in the files; --prune removes it"
            ));
        }
    }
    Ok(running)
}

/// The services of a stack, by name.
pub(super) async fn services(client: &Client, stack: &StackName) -> Result<Vec<Service>, Failure> {
    let listed = client.list_services(&of_stack(stack)).await;
    match listed {
        Ok(listed) => Ok(listed.into_iter().map(|entry| entry.service).collect()),
        Err(error) => Err(explain(client, error).await),
    }
}

/// The filter that everything of a stack passes.
pub(super) fn of_stack(stack: &StackName) -> Filters {
    Filters::default().with("label", format!("{STACK_LABEL}={stack}"))
}

async fn carry_out(client: &Client, step: Step) -> Result<(ServiceId, String), Failure> {
    match step {
        Step::Create(spec) => {
            let name = spec.name.to_string();
            output::line(format_args!("Creating service {name}"))?;
            claims::note_of(&spec.task).iter().for_each(output::note);
            let made = client.create_service(&*spec).await;
            let id = made.map_err(|error| {
                Failure::from(error).doing(format_args!("cannot create service {name}"))
            })?;
            Ok((id, name))
        }
        Step::Update { service, spec } => {
            let (name, id) = (spec.name.to_string(), service.id);
            output::line(format_args!("Updating service {name} (id: {id})"))?;
            claims::note_of(&spec.task).iter().for_each(output::note);
            let index = Some(service.meta.index);
            client.update_service(&id.to_string(), index, &*spec).await.map_err(|error| {
                Failure::from(error).doing(format_args!("cannot update service {name}"))
            })?;
            Ok((id, name))
        }
        Step::Keep(service) => {
            let (name, id) = (service.spec.name.to_string(), service.id);
            output::line(format_args!("Service {name} is up to date"))?;
            Ok((id, name))
        }
    }
}
