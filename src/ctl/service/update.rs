//! `secretctl service update` and `rollback`: flags change the spec as it stands, then we watch until its tasks run.

use super::{args::ServiceUpdateArgs, change, claims, create::reference, wait};
use crate::{
    client::ClientError,
    ctl::{
        connect::{Context, explain},
        exit::Failure,
        output, parse,
    },
    model::{
        object::Kind,
        refusal::RefusalKind,
        service::{Mode, Resources, Service, ServiceSpec},
    },
    wire::v1,
};

pub(super) async fn run(args: ServiceUpdateArgs, context: &Context) -> Result<(), Failure> {
    if args.rollback {
        if changes_anything(&args) {
            return Err(Failure::usage("other flags may not be combined with --rollback"));
        }
        return roll_back(&args.service, args.detach, args.quiet, context).await;
    }
    if !changes_anything(&args) {
        return Err(Failure::usage("nothing to change")
            .hint("see the flags with --help; --force replaces the tasks as they are"));
    }
    let name = &args.service;
    let env_add = parse::env_entries(&[""; 0], &args.env_add)?;
    let client = context.connect().await?;
    let (before, after) = change(&client, name, |service| changed(&args, &env_add, service))
        .await
        .map_err(|failure| failure.doing(format_args!("cannot update service '{name}'")))?;
    output::line(name)?;
    claims::note(&args.constraint_add, &Resources::default()).iter().for_each(output::note);
    if args.detach {
        return Ok(());
    }
    // Nothing new was asked for: how an earlier update ended is no news.
    match before.spec_index == after.spec_index {
        true => wait::return_to(&client, &after.id, args.quiet).await,
        false => wait::converge(&client, &after.id, args.quiet).await,
    }
}

/// Returns a service to its previous spec and waits for it.
///
/// # Errors
/// There is none, or its tasks do not run.
pub(super) async fn roll_back(
    name: &str,
    detach: bool,
    quiet: bool,
    context: &Context,
) -> Result<(), Failure> {
    let client = context.connect().await?;
    let service = match client.roll_back_service(name, None).await {
        Ok(service) => service,
        Err(error) => {
            let first = matches!(&error, ClientError::Refused(refusal) if refusal.kind == RefusalKind::Precondition);
            let failure = explain(&client, error).await;
            let failure = failure.doing(format_args!("cannot roll back service '{name}'"));
            return Err(match first {
                true => failure.hint("a service has a previous spec once it was updated"),
                false => failure,
            });
        }
    };
    output::line(name)?;
    match detach {
        true => Ok(()),
        false => wait::return_to(&client, &service.id, quiet).await,
    }
}

fn changes_anything(args: &ServiceUpdateArgs) -> bool {
    let ServiceUpdateArgs {
        service: _,
        image,
        replicas,
        env_add,
        env_rm,
        label_add,
        label_rm,
        constraint_add,
        constraint_rm,
        secret_add,
        secret_rm,
        config_add,
        config_rm,
        force,
        rollback: _,
        detach: _,
        quiet: _,
    } = args;
    let lists = [
        env_add.is_empty(),
        env_rm.is_empty(),
        label_add.is_empty(),
        label_rm.is_empty(),
        constraint_add.is_empty(),
        constraint_rm.is_empty(),
        secret_add.is_empty(),
        secret_rm.is_empty(),
        config_add.is_empty(),
        config_rm.is_empty(),
    ];
    image.is_some() || replicas.is_some() || *force || lists.contains(&false)
}

/// The service's spec with the changes. What is removed goes first, so that something may be replaced in one go.
fn changed(
    args: &ServiceUpdateArgs,
    env_add: &[String],
    service: &Service,
) -> Result<v1::ServiceSpec, Failure> {
    let mut spec: ServiceSpec = service.spec.clone();
    let container = &mut spec.task.container;
    if let Some(image) = &args.image {
        container.image.clone_from(image);
    }
    container.env.retain(|entry| !args.env_rm.iter().any(|rm| key(rm) == key(entry)));
    for entry in env_add {
        match container.env.iter_mut().find(|old| key(old) == key(entry)) {
            Some(old) => old.clone_from(entry),
            None => container.env.push(entry.clone()),
        }
    }
    spec.labels.retain(|label, _| !args.label_rm.contains(label));
    spec.labels.extend(args.label_add.iter().cloned());
    let constraints = &mut spec.task.placement.constraints;
    constraints.retain(|constraint| !args.constraint_rm.contains(constraint));
    for constraint in &args.constraint_add {
        if !constraints.contains(constraint) {
            constraints.push(constraint.clone());
        }
    }
    match (&mut spec.mode, args.replicas) {
        (Mode::Replicated { replicas }, Some(wanted)) => *replicas = wanted,
        (Mode::Global, Some(_)) => {
            return Err(Failure::refused("replicas can only be used with replicated mode"));
        }
        (Mode::Replicated { .. } | Mode::Global, None) => {}
    }
    spec.task.force_update += u64::from(args.force);
    for (kind, gone) in [(Kind::Secret, &args.secret_rm), (Kind::Config, &args.config_rm)] {
        for text in gone {
            let count = spec.task.references.len();
            spec.task.references.retain(|reference| {
                let named = reference.name.as_str().eq_ignore_ascii_case(text)
                    || reference.object.as_str() == text;
                reference.kind != kind || !named
            });
            // Not silently, as docker: whoever mistypes here would believe that the tasks have it no longer.
            if spec.task.references.len() == count {
                return Err(Failure::refused(format!("the service has no {kind} '{text}'")));
            }
        }
    }
    let mut spec = v1::ServiceSpec::from(&spec);
    let secrets = args.secret_add.iter().map(|flag| reference(Kind::Secret, flag.clone()));
    let configs = args.config_add.iter().map(|flag| reference(Kind::Config, flag.clone()));
    spec.task.get_or_insert_default().references.extend(secrets.chain(configs));
    Ok(spec)
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ctl::{
            cli::{Cli, Command},
            service::args::ServiceCommand,
        },
        kit::{
            clock::Timestamp,
            id::{ObjectId, ServiceId},
        },
        model::{
            Labels, Meta,
            reference::{OnChange, Reference, Target, VersionPick},
            service::{ContainerSpec, TaskSpec},
        },
    };
    use clap::Parser;

    fn service() -> Service {
        let reference = Reference {
            kind: Kind::Secret,
            object: ObjectId::from_random([1; 17]),
            name: "old".parse().unwrap(),
            version: VersionPick::Latest,
            target: Target::parse(Kind::Secret, "key").unwrap(),
            uid: None,
            gid: None,
            mode: None,
            on_change: OnChange::Keep,
        };
        Service {
            id: ServiceId::from_random([1; 17]),
            meta: Meta::new(Timestamp(0)),
            spec: ServiceSpec {
                name: "web".parse().unwrap(),
                labels: Labels::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
                task: TaskSpec {
                    container: ContainerSpec {
                        image: "one".into(),
                        env: vec!["X=1".into(), "Y=2".into()],
                        ..ContainerSpec::default()
                    },
                    references: vec![reference],
                    ..TaskSpec::default()
                },
                mode: Mode::Replicated { replicas: 1 },
                update: None,
                rollback: None,
            },
            spec_index: 1,
            previous: None,
            update: None,
        }
    }

    fn from_line(service: &Service, line: &str) -> Result<v1::ServiceSpec, Failure> {
        let words = ["secretctl", "service", "update", "web"].into_iter();
        match Cli::try_parse_from(words.chain(line.split(' '))).unwrap().command {
            Command::Service(ServiceCommand::Update(args)) => {
                assert!(changes_anything(&args));
                let env_add = parse::env_entries(&[""; 0], &args.env_add)?;
                changed(&args, &env_add, service)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_named_changes() {
        let line = "--image two --replicas 3 --env-add X=9 --env-add Z=3 --env-rm Y --label-rm a \
                    --label-add c=3 --constraint-add node.role==worker --force";
        let spec = from_line(&service(), line).unwrap();
        let task = spec.task.unwrap();
        let container = task.container.unwrap();
        assert_eq!((container.image.as_str(), task.force_update), ("two", 1));
        assert_eq!(container.env, ["X=9", "Z=3"]);
        assert_eq!(spec.labels.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(spec.mode.unwrap(), (&Mode::Replicated { replicas: 3 }).into());
        assert_eq!(task.placement.unwrap().constraints.len(), 1);
        assert_eq!(task.references, v1::TaskSpec::from(&service().spec.task).references);
    }

    #[test]
    fn a_secret_is_replaced_in_one_go() {
        let line = "--secret-rm OLD --secret-add source=new,target=key --config-add app.conf";
        let references = from_line(&service(), line).unwrap().task.unwrap().references;
        let names: Vec<_> = references.iter().map(|r| r.object_name.as_str()).collect();
        assert_eq!(names, ["new", "app.conf"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--secret-rm other", "--config-rm old"] {
            let failure = from_line(&service(), line).unwrap_err();
            assert!(failure.message().starts_with("the service has no "), "{failure}");
        }
        let mut global = service();
        global.spec.mode = Mode::Global;
        from_line(&global, "--replicas 2").unwrap_err();
    }
}
