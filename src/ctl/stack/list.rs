//! `stack ls`, `ps`, `services` and `rm`: what carries a stack's label, shown and removed.

use super::deploy::{of_stack, services};
use crate::{
    client::Client,
    compose::{BadStackName, StackName},
    ctl::{
        cli::{ListArgs, TaskListArgs},
        connect::{Context, explain},
        exit::{Code, Failure},
        format::Listing,
        output,
        service::{print_services, print_tasks},
    },
    model::{filter::Filters, object::Kind, service::STACK_LABEL},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STACKS: Listing = Listing {
    columns: &[("Name", "NAME"), ("Services", "SERVICES"), ("Namespace", "NAMESPACE")],
    table: r"{{.Name}}\t{{.Services}}",
    quiet: "{{.Name}}",
};

/// Lists the stacks: every value of the stack label among the services.
pub(super) async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut filters: Filters = Filters::default().with("label", STACK_LABEL);
    for (key, value) in &args.filter {
        match key.as_str() {
            "name" => filters.add("label", format!("{STACK_LABEL}={value}")),
            _ => {
                return Err(Failure::usage(format!("invalid filter '{key}'"))
                    .hint("stacks can be filtered by name=STACK"));
            }
        }
    }
    let services = match client.list_services(&filters).await {
        Ok(services) => services,
        Err(error) => return Err(explain(&client, error).await.doing("cannot list stacks")),
    };
    let names = services.iter().filter_map(|entry| entry.service.stack());
    output::text(STACKS.render(&rows(names), args.format.as_deref(), args.quiet)?)
}

/// One row for each name, with how often it came.
fn rows<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Value> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let row = |(name, count): (&str, u64)| json!({"Name": name, "Services": count.to_string(), "Namespace": ""});
    counts.into_iter().map(row).collect()
}

/// Lists the tasks of a stack.
pub(super) async fn tasks(
    stack: &str,
    args: &TaskListArgs,
    context: &Context,
) -> Result<(), Failure> {
    let (client, stack) = existing(stack, context).await?;
    let filters = with(of_stack(&stack), &args.list);
    print_tasks(&client, &filters, args, context).await
}

/// Lists the services of a stack.
pub(super) async fn of(stack: &str, args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let (client, stack) = existing(stack, context).await?;
    let filters = with(of_stack(&stack), args);
    print_services(&client, &filters, args).await
}

fn with(mut filters: Filters, args: &ListArgs) -> Filters {
    args.filter.iter().for_each(|(key, value)| filters.add(key, value));
    filters
}

/// Checks that a stack has services.
async fn existing(stack: &str, context: &Context) -> Result<(Client, StackName), Failure> {
    let stack = parse(stack)?;
    let client = context.connect().await?;
    if services(&client, &stack).await?.is_empty() {
        let failure = Failure::new(Code::NotFound, format!("nothing found in stack: {stack}"));
        return Err(failure.hint("secretctl stack ls shows the stacks"));
    }
    Ok((client, stack))
}

fn parse(stack: &str) -> Result<StackName, Failure> {
    stack.parse().map_err(|bad: BadStackName| Failure::usage(bad.to_string()))
}

/// Removes everything that carries the labels of the stacks: services first, for they use the rest.
///
/// # Errors
/// The first failed call; what is left can be removed by the same command again.
pub(super) async fn remove(stacks: &[String], context: &Context) -> Result<(), Failure> {
    let stacks = stacks.iter().map(|stack| parse(stack)).collect::<Result<Vec<_>, _>>()?;
    let client = context.connect().await?;
    for stack in &stacks {
        if remove_one(&client, stack).await? == 0 {
            output::note(format_args!("Nothing found in stack: {stack}"));
        }
    }
    Ok(())
}

/// Returns how many things there were.
pub(super) async fn remove_one(client: &Client, stack: &StackName) -> Result<usize, Failure> {
    let mut count = 0;
    for service in services(client, stack).await? {
        output::line(format_args!("Removing service {}", service.spec.name))?;
        client.remove_service(service.id.as_str()).await?;
        count += 1;
    }
    for kind in [Kind::Secret, Kind::Config] {
        for object in client.list_objects(kind, &of_stack(stack)).await? {
            output::line(format_args!("Removing {kind} {}", object.name))?;
            client.remove_object(kind, object.id.as_str()).await?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_counted_by_their_services() {
        let rows = rows(["b", "a", "b"].into_iter());
        assert_eq!(
            STACKS.render(&rows, None, false).unwrap(),
            "NAME      SERVICES\na         1\nb         2\n"
        );
    }
}
