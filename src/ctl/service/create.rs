//! `secretctl service create`: flags become a spec, then we watch until its tasks run.

use super::{
    args::{ModeFlag, RestartFlag, ServiceCreateArgs},
    claims, wait,
};
use crate::{
    ctl::{
        connect::{Context, explain},
        exit::Failure,
        output, parse,
        parse::ReferenceFlag,
    },
    model::{
        object::{Kind, VersionNumber},
        reference::{FileMode, OnChange, Owner, VersionPick},
        service::{
            ContainerSpec, Mode, Placement, Resources, RestartCondition, RestartPolicy, TaskSpec,
        },
    },
    wire::{convert::Code, v1},
};

pub(super) async fn run(args: ServiceCreateArgs, context: &Context) -> Result<(), Failure> {
    let (detach, quiet) = (args.detach, args.quiet);
    let doing = format!("cannot create service '{}'", args.name);
    let note = claims::note(&args.constraint, &Resources::default());
    let spec = spec(args)?;
    let client = context.connect().await?;
    let id = match client.create_service(spec).await {
        Ok(id) => id,
        Err(error) => return Err(explain(&client, error).await.doing(doing)),
    };
    output::line(id)?;
    note.iter().for_each(output::note);
    if detach {
        return Ok(());
    }
    wait::converge(&client, &id, quiet).await
}

/// The spec as a message: its references still name their objects as the user did.
fn spec(args: ServiceCreateArgs) -> Result<v1::ServiceSpec, Failure> {
    let ServiceCreateArgs {
        name,
        secrets,
        configs,
        replicas,
        mode,
        env,
        env_file,
        label,
        container_label,
        mount,
        constraint,
        user,
        workdir,
        entrypoint,
        hostname,
        read_only,
        init,
        stop_signal,
        stop_grace_period,
        restart_condition,
        restart_delay,
        restart_max_attempts,
        restart_window,
        limit_cpu,
        limit_memory,
        limit_pids,
        detach: _,
        quiet: _,
        image_and_command,
    } = args;
    let mut words = image_and_command.into_iter();
    let container = ContainerSpec {
        image: words.next().unwrap_or_default(),
        command: entrypoint
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        args: words.collect(),
        env: parse::env_entries(&env_file, &env)?,
        labels: parse::labels(&container_label),
        dir: workdir,
        user,
        hostname,
        read_only,
        init: init.then_some(true),
        stop_signal,
        stop_grace: stop_grace_period,
        mounts: mount,
        ..ContainerSpec::default()
    };
    let standard = RestartPolicy::default();
    let restart = RestartPolicy {
        condition: match restart_condition {
            Some(RestartFlag::None) => RestartCondition::None,
            Some(RestartFlag::OnFailure) => RestartCondition::OnFailure,
            Some(RestartFlag::Any) => RestartCondition::Any,
            None => standard.condition,
        },
        delay: restart_delay.unwrap_or(standard.delay),
        max_attempts: restart_max_attempts.unwrap_or(standard.max_attempts),
        window: restart_window.unwrap_or(standard.window),
    };
    let task = TaskSpec {
        container,
        references: Vec::new(),
        resources: Resources {
            limit_nano_cpus: limit_cpu.unwrap_or(0),
            limit_memory_bytes: limit_memory.unwrap_or(0),
            limit_pids: limit_pids.unwrap_or(0),
            ..Resources::default()
        },
        restart,
        placement: Placement { constraints: constraint, ..Placement::default() },
        ports: Vec::new(),
        force_update: 0,
    };
    let mode = match (mode, replicas) {
        (ModeFlag::Replicated, replicas) => Mode::Replicated { replicas: replicas.unwrap_or(1) },
        (ModeFlag::Global, None) => Mode::Global,
        (ModeFlag::Global, Some(_)) => {
            return Err(Failure::usage("replicas can only be used with replicated mode"));
        }
    };
    let mut task = v1::TaskSpec::from(&task);
    let secrets = secrets.into_iter().map(|flag| reference(Kind::Secret, flag));
    let configs = configs.into_iter().map(|flag| reference(Kind::Config, flag));
    task.references = secrets.chain(configs).collect();
    Ok(v1::ServiceSpec {
        name,
        labels: parse::labels(&label),
        task: Some(task),
        mode: Some((&mode).into()),
        update: None,
        rollback: None,
    })
}

/// A reference as the user gave it: the manager finds the object.
pub(super) fn reference(kind: Kind, flag: ReferenceFlag) -> v1::Reference {
    let ReferenceFlag { source, target, uid, gid, mode, version } = flag;
    let owner = |owner: Owner| v1::Owner::from(&owner);
    v1::Reference {
        kind: kind.code(),
        object_id: String::new(),
        object_name: source,
        version: match version {
            VersionPick::Latest => None,
            VersionPick::Exact(VersionNumber(number)) => Some(number),
        },
        target: target.unwrap_or_default(),
        uid: uid.map(owner),
        gid: gid.map(owner),
        mode: mode.map(FileMode::bits),
        on_change: OnChange::Keep.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::{
        cli::{Cli, Command},
        service::args::ServiceCommand,
    };
    use clap::Parser;

    fn from_line(line: &[&str]) -> Result<v1::ServiceSpec, Failure> {
        let words = ["secretctl", "service", "create", "--name", "web"].iter().chain(line);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Service(ServiceCommand::Create(args)) => spec(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_spec() {
        let line = [
            "--replicas=3",
            "-l",
            "a=b",
            "--env",
            "X=1",
            "--secret",
            "src=db,target=/x,uid=5,mode=0400",
            "--config",
            "site",
            "--constraint",
            "node.role==worker",
            "busybox",
            "sh",
            "-c",
            "true",
        ];
        let spec = from_line(&line).unwrap();
        let task = spec.task.unwrap();
        let container = task.container.unwrap();
        assert_eq!(spec.mode.unwrap(), (&Mode::Replicated { replicas: 3 }).into());
        assert_eq!(container.image, "busybox");
        assert_eq!(container.args, ["sh", "-c", "true"]);
        assert_eq!(container.command, Vec::<String>::new());
        assert_eq!(container.env, ["X=1"]);
        let [secret, config] = task.references.as_slice() else { panic!("{:?}", task.references) };
        assert_eq!((secret.object_name.as_str(), secret.target.as_str()), ("db", "/x"));
        assert_eq!(secret.mode, Some(0o400));
        assert_eq!((config.object_name.as_str(), config.target.as_str()), ("site", ""));
        assert_eq!(config.kind, Kind::Config.code());
    }

    #[test]
    fn a_global_service_has_no_number_of_replicas() {
        from_line(&["--mode", "global", "--replicas", "2", "x"]).unwrap_err();
        assert_eq!(
            from_line(&["--mode", "global", "x"]).unwrap().mode,
            Some((&Mode::Global).into())
        );
    }
}
