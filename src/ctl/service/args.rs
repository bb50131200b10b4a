//! The words and flags of `secretctl service`.

use crate::{
    ctl::{
        cli::{InspectArgs, ListArgs, RemoveArgs, TaskListArgs},
        parse,
        parse::ReferenceFlag,
    },
    model::{constraint::Constraint, object::Kind, service::Mount},
};
use clap::{Args, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Create a service
    #[command(
        after_long_help = SERVICE_CREATE_EXAMPLES,
        override_usage = "secretctl service create [OPTIONS] --name NAME IMAGE [COMMAND] [ARG]..."
    )]
    Create(Box<ServiceCreateArgs>),
    /// List services
    #[command(visible_alias = "list", after_long_help = SERVICE_LS_HELP)]
    Ls(ListArgs),
    /// List the tasks of services
    #[command(after_long_help = SERVICE_PS_HELP)]
    Ps {
        /// Names, ids, or the beginnings of ids
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
        #[command(flatten)]
        args: TaskListArgs,
    },
    /// Show details of services
    Inspect(InspectArgs),
    /// Change how many tasks replicated services have
    #[command(override_usage = "secretctl service scale [OPTIONS] SERVICE=REPLICAS...")]
    Scale {
        #[arg(required = true, value_name = "SERVICE=REPLICAS", value_parser = scale)]
        services: Vec<(String, u64)>,
        /// Do not wait until the tasks run
        #[arg(short, long)]
        detach: bool,
    },
    /// Change a service; its tasks are replaced one after the other
    #[command(after_long_help = SERVICE_UPDATE_EXAMPLES)]
    Update(Box<ServiceUpdateArgs>),
    /// Return a service to what it was before its last update
    #[command(after_long_help = SERVICE_ROLLBACK_HELP)]
    Rollback {
        /// A name, an id, or the beginning of an id
        service: String,
        /// Do not wait until the tasks run
        #[arg(short, long)]
        detach: bool,
        /// Show no progress
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove services
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Show what the tasks of a service, or one task, wrote
    Logs(LogsArgs),
}

const SERVICE_CREATE_EXAMPLES: &str = "\
Examples:
  secretctl service create --name web --replicas 2 --secret tls-key --config site.conf nginx:1.27
  secretctl service create --name db \\
      --secret source=db-password,target=/app/sa-password,uid=1000,mode=0400 \\
      --env ACCEPT_EULA=Y --constraint node.labels.disk==ssd my/db:3

References (--secret, --config):
  NAME, or source=NAME[,target=PATH][,uid=UID][,gid=GID][,mode=MODE][,version=N]
  A relative target lands in /run/secrets for secrets and in / for configs.
  The owner is the container's user unless uid and gid say otherwise (numbers, or names that the
  image knows). The mode is octal if it begins with 0; by default it is 0444 for configs, and for
  secrets 0400, or 0444 if the owner is not known.

Mounts (--mount):
  type=bind|volume|tmpfs[,source=PATH|VOLUME],target=PATH[,readonly][,tmpfs-size=SIZE]
  [,tmpfs-mode=MODE]";

const SERVICE_UPDATE_EXAMPLES: &str = "\
Examples:
  secretctl service update --image nginx:1.28 web
  secretctl service update --secret-rm tls-2025 --secret-add source=tls-2026,target=tls web
  secretctl service update --force web          # new tasks, although nothing changed

What is removed goes first, what is added comes after it; --secret-add and --config-add read as
--secret and --config of 'secretctl service create'.";

const SERVICE_ROLLBACK_HELP: &str = "\
The two specs change places: a second rollback undoes the first.";

const SERVICE_LS_HELP: &str = "\
Filters: id=PREFIX, name=PREFIX, label=KEY or label=KEY=VALUE, mode=replicated or mode=global
Fields for --format: .ID .Name .Mode .Replicas .Image .Ports .Labels .Label";

const SERVICE_PS_HELP: &str = "\
Filters: id=PREFIX, name=TASK, node=NODE, desired-state=running|shutdown|accepted
Fields for --format: .ID .Name .Image .Node .DesiredState .CurrentState .Error .Ports";

pub(crate) fn secret_flag(text: &str) -> Result<ReferenceFlag, String> {
    parse::reference(Kind::Secret, text)
}

pub(crate) fn config_flag(text: &str) -> Result<ReferenceFlag, String> {
    parse::reference(Kind::Config, text)
}

fn scale(text: &str) -> Result<(String, u64), String> {
    let bad = || format!("invalid scale specifier '{text}'. Use SERVICE=REPLICAS");
    let (service, replicas) = text.split_once('=').ok_or_else(bad)?;
    if service.is_empty() {
        return Err(bad());
    }
    Ok((service.to_owned(), replicas.parse().map_err(|_| bad())?))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeFlag {
    Replicated,
    Global,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RestartFlag {
    None,
    OnFailure,
    Any,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceCreateArgs {
    /// The service's name
    #[arg(long)]
    pub(crate) name: String,
    /// Put a secret into the tasks
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret_flag)]
    pub(crate) secrets: Vec<ReferenceFlag>,
    /// Put a config into the tasks
    #[arg(long = "config", value_name = "CONFIG", value_parser = config_flag)]
    pub(crate) configs: Vec<ReferenceFlag>,
    /// How many tasks [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// 'replicated', or 'global' for one task on each node
    #[arg(long, value_enum, default_value_t = ModeFlag::Replicated, hide_possible_values = true)]
    pub(crate) mode: ModeFlag,
    /// Set an environment variable; without a value it is taken from yours
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Attach a label to the service
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) label: Vec<(String, String)>,
    /// Attach a label to the containers
    #[arg(long = "container-label", value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) container_label: Vec<(String, String)>,
    /// Mount something else into the tasks
    #[arg(long = "mount", value_name = "MOUNT", value_parser = parse::mount)]
    pub(crate) mount: Vec<Mount>,
    /// Run only on nodes for which this holds, as 'node.labels.zone==a'
    #[arg(long = "constraint", value_name = "EXPR", value_parser = parse::constraint)]
    pub(crate) constraint: Vec<Constraint>,
    /// Run as this user, USER[:GROUP]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub(crate) workdir: String,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// The containers' host name
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) hostname: String,
    /// Mount the containers' root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Run an init inside the containers
    #[arg(long)]
    pub(crate) init: bool,
    /// Signal that asks a task to stop
    #[arg(long, value_name = "SIGNAL", default_value = "", hide_default_value = true)]
    pub(crate) stop_signal: String,
    /// How long a task may take to stop (10s unless set)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) stop_grace_period: Option<Duration>,
    /// When an ended task is followed by another: 'none', 'on-failure' or 'any' (the default)
    #[arg(long, value_enum, value_name = "CONDITION", hide_possible_values = true)]
    pub(crate) restart_condition: Option<RestartFlag>,
    /// How long to wait before a restart (5s unless set)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) restart_delay: Option<Duration>,
    /// How often to restart at most
    #[arg(long, value_name = "N")]
    pub(crate) restart_max_attempts: Option<u64>,
    /// The time over which restarts are counted
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub(crate) restart_window: Option<Duration>,
    /// Limit the CPUs of a task, as 0.5
    #[arg(long, value_name = "CPUS", value_parser = parse::cpus)]
    pub(crate) limit_cpu: Option<u64>,
    /// Limit the memory of a task, as 64m
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    pub(crate) limit_memory: Option<u64>,
    /// Limit the processes of a task
    #[arg(long, value_name = "N")]
    pub(crate) limit_pids: Option<u64>,
    /// Do not wait until the tasks run
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Print the id only, no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, then the command and its arguments
    // One argument on purpose: whatever follows the image belongs to the command, also what looks like a flag.
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG]")]
    pub(crate) image_and_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A service or a task
    #[arg(value_name = "SERVICE|TASK")]
    pub(crate) reference: String,
    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this many last lines of each task, or 'all'
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    pub(crate) tail: String,
    /// Only what came after this: a time (2026-01-02T13:23:37Z) or an age (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show the time of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Print the lines as they were, without the task's name
    #[arg(long)]
    pub(crate) raw: bool,
    /// Do not shorten task ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Leave the task ids out
    #[arg(long)]
    pub(crate) no_task_ids: bool,
    /// Show the ids of nodes instead of their names
    #[arg(long)]
    pub(crate) no_resolve: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceUpdateArgs {
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Run this image
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// How many tasks
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Set an environment variable; without a value it is taken from yours
    #[arg(long = "env-add", value_name = "KEY=VALUE")]
    pub(crate) env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long = "env-rm", value_name = "KEY")]
    pub(crate) env_rm: Vec<String>,
    /// Add or replace a label of the service
    #[arg(long = "label-add", value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) label_add: Vec<(String, String)>,
    /// Remove a label of the service
    #[arg(long = "label-rm", value_name = "KEY")]
    pub(crate) label_rm: Vec<String>,
    /// Run only on nodes for which this holds, too
    #[arg(long = "constraint-add", value_name = "EXPR", value_parser = parse::constraint)]
    pub(crate) constraint_add: Vec<Constraint>,
    /// Drop a constraint
    #[arg(long = "constraint-rm", value_name = "EXPR", value_parser = parse::constraint)]
    pub(crate) constraint_rm: Vec<Constraint>,
    /// Put a secret into the tasks
    #[arg(long = "secret-add", value_name = "SECRET", value_parser = secret_flag)]
    pub(crate) secret_add: Vec<ReferenceFlag>,
    /// Give the tasks this secret no longer
    #[arg(long = "secret-rm", value_name = "SECRET")]
    pub(crate) secret_rm: Vec<String>,
    /// Put a config into the tasks
    #[arg(long = "config-add", value_name = "CONFIG", value_parser = config_flag)]
    pub(crate) config_add: Vec<ReferenceFlag>,
    /// Give the tasks this config no longer
    #[arg(long = "config-rm", value_name = "CONFIG")]
    pub(crate) config_rm: Vec<String>,
    /// Replace the tasks even if nothing changed
    #[arg(long)]
    pub(crate) force: bool,
    /// Return to what the service was before its last update; goes alone
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Do not wait until the tasks run
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_names_a_service_and_a_number() {
        assert_eq!(scale("web=3"), Ok(("web".into(), 3)));
        for text in ["web", "web=", "web=x", "=3", "web=-1"] {
            scale(text).expect_err(text);
        }
    }
}
