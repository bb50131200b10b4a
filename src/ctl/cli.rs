//! The whole command line as clap sees it: every command, flag and help text. Names are fixed, scripts use them.

use super::{
    exit::EXIT_CODES,
    node::args::NodeCommand,
    parse,
    parse::ReferenceFlag,
    service::args::ServiceUpdateArgs,
    stack::args::StackCommand,
    unlocker::args::{ClusterUpdateArgs, UnlockArgs, UnlockKeyArgs, UnlockerCommand},
};
use crate::model::{constraint::Constraint, object::Kind, service::Mount};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Where the daemon listens unless it was told otherwise.
pub(crate) const DEFAULT_HOST: &str = "unix:///run/secretd/secretd.sock";

/// Keep secrets and configs, and put them as files into the containers that need them.
#[derive(Debug, Parser)]
#[command(
    name = "secretctl",
    version,
    propagate_version = false,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Run 'secretctl COMMAND --help' for more about a command.",
    after_long_help = EXIT_CODES
)]
pub(crate) struct Cli {
    /// The daemon's socket [env: SECRETD_HOST] [default: unix:///run/secretd/secretd.sock]
    // Not clap's `env`: a host from there would count as an argument, and hide the help of a bare `secretctl`.
    #[arg(short = 'H', long, global = true, value_name = "HOST")]
    pub(crate) host: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a secret from a file, standard input or a prompt
    #[command(after_long_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// List secrets
    #[command(visible_alias = "list", after_long_help = OBJECT_LS_HELP)]
    Ls(ListArgs),
    /// Show details of secrets; never their values
    Inspect(InspectArgs),
    /// Remove secrets
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Manage secrets (the same as the commands at the top level)
    #[command(subcommand, hide = true)]
    Secret(ObjectCommand),
    /// Manage configs
    #[command(subcommand)]
    Config(ObjectCommand),
    /// Manage services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Manage stacks
    #[command(subcommand)]
    Stack(StackCommand),
    /// Manage nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Found a cluster with this node as its first manager
    #[command(after_long_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Join this node to a cluster
    #[command(after_long_help = JOIN_EXAMPLES)]
    Join(JoinArgs),
    /// Take this node out of its cluster
    Leave(LeaveArgs),
    /// Make a token with which other machines join this cluster
    #[command(after_long_help = JOIN_TOKEN_HELP)]
    JoinToken(JoinTokenArgs),
    /// Show and replace the cluster's certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Show what this node is and how it is
    #[command(after_long_help = STATUS_HELP)]
    Status(FormatArgs),
    /// Change the cluster
    Update(ClusterUpdateArgs),
    /// Open the keys of a manager that started locked
    Unlock(UnlockArgs),
    /// Make a new unlock key in place of the one before
    UnlockKey(UnlockKeyArgs),
    /// Manage the ways to the cluster's keys
    #[command(subcommand)]
    Unlocker(UnlockerCommand),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETION_EXAMPLES)]
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Show everything once, on a throw-away node that leaves nothing behind
    Demo(DemoArgs),
}

const JOIN_EXAMPLES: &str = "\
Examples:
  secretctl join --token-file token.txt 10.0.0.1:2390
  secretctl join-token -q worker | ssh worker1 secretctl join --token-file - 10.0.0.1:2390

The token says whether the node becomes a worker or a manager. Get one on a manager: secretctl join-token worker";

const CREATE_EXAMPLES: &str = "\
Examples:
  secretctl create db-password password.txt
  openssl rand -base64 32 | secretctl create --trim-newline session-key -
  secretctl create -l env=prod api-key          # asks for the value, without showing it

The value is never taken from the command line, where other users could see it.";

const OBJECT_LS_HELP: &str = "\
Filters: id=PREFIX, name=PREFIX, label=KEY or label=KEY=VALUE
Fields for --format: .ID .Name .CreatedAt .UpdatedAt .Labels .Label .Version .Versions .Driver

Examples:
  secretctl ls --filter label=env=prod
  secretctl ls --format 'table {{.Name}}\\t{{.Label \"env\"}}'";

const INIT_EXAMPLES: &str = "\
Examples:
  secretctl init
  secretctl init --advertise-addr 192.168.1.10";

const JOIN_TOKEN_HELP: &str = "\
Each call makes another token, since the cluster keeps only what it needs to know a token again.
Show it to nobody, and make a new one rather than keep it. Tokens made before are good until they
expire or are revoked.

Examples:
  secretctl join-token worker
  secretctl join-token -q --ttl 10m --uses 1 manager
  secretctl join-token --rotate worker          # tokens that got about are worth nothing any more";

const STATUS_HELP: &str = "\
Fields for --format:
  .State               inactive, pending, active, locked or error
  .Error               why, if it could not come up
  .NodeID .ClusterID   empty while inactive
  .Role                manager or worker
  .Leader              true where this manager leads
  .Managers            how many there are; .RemoteManagers lists them
  .Hostname .ListenAddr .AdvertiseAddr .DataDir .Version
  .Runtime .EngineVersion .RuntimeError
  .Unlockers .Protection
                       what opens the keys, and what that protects against
  .AppliedIndex .CertificateExpiresAt

Example:
  secretctl status --format '{{.State}} {{.Leader}}'";

const COMPLETION_EXAMPLES: &str = "\
Example:
  secretctl completion bash > /etc/bash_completion.d/secretctl";

/// The four things one does with secrets, or with configs.
#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Create one from a file or standard input
    Create(CreateArgs),
    /// List them
    #[command(visible_alias = "list", after_long_help = OBJECT_LS_HELP)]
    Ls(ListArgs),
    /// Show details
    Inspect(InspectArgs),
    /// Remove one or more
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name: letters, digits, '-', '_' and '.'
    pub(crate) name: String,
    /// Where the value is; '-' or nothing reads standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: Option<PathBuf>,
    /// Attach a label
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) label: Vec<(String, String)>,
    /// Drop one newline at the end of the value
    #[arg(long)]
    pub(crate) trim_newline: bool,
}

/// What every list takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Show only what matches (KEY=VALUE, several times)
    #[arg(short, long = "filter", value_name = "FILTER", value_parser = parse::filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// How to print: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What every list of tasks takes.
#[derive(Debug, Args)]
pub(crate) struct TaskListArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Do not shorten ids, images and errors
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Show the ids of nodes instead of their names
    #[arg(long)]
    pub(crate) no_resolve: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// How to print: 'json' or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Names, ids, or the beginnings of ids
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How to print: 'json' or a Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    pub(crate) format: Option<String>,
    /// Print for people
    #[arg(long)]
    pub(crate) pretty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Names, ids, or the beginnings of ids
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

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
pub(crate) struct InitArgs {
    /// Where the cluster's nodes are to reach this one [default: 0.0.0.0:2390]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen_addr: Option<String>,
    /// The address other nodes are told [default: found out]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) advertise_addr: Option<String>,
    /// Let managers start locked, with a key that is printed once, instead of with a key file
    #[arg(long)]
    pub(crate) autolock: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The join token; others on this machine can see it while the command runs, unlike with --token-file
    #[arg(
        long,
        value_name = "TOKEN",
        required_unless_present = "token_file",
        conflicts_with = "token_file"
    )]
    pub(crate) token: Option<String>,
    /// A file with the join token, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Where the cluster's nodes are to reach this one, should it be a manager [default: 0.0.0.0:2390]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen_addr: Option<String>,
    /// The address other nodes are told [default: found out]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) advertise_addr: Option<String>,
    /// Whether it gets tasks: active, pause or drain
    #[arg(long, value_enum, default_value_t = JoinAvailability::Active)]
    pub(crate) availability: JoinAvailability,
    /// Managers of the cluster, tried in this order
    #[arg(value_name = "HOST:PORT", required = true)]
    pub(crate) managers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinAvailability {
    Active,
    Pause,
    Drain,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Print the CA's certificate, and how far its replacement is
    #[command(after_long_help = CA_SHOW_HELP)]
    Show,
    /// Replace the CA: every node gets a certificate of the new one, then the old one is trusted no longer
    #[command(after_long_help = CA_ROTATE_HELP)]
    Rotate {
        /// Do not wait until every node has moved
        #[arg(short, long)]
        detach: bool,
        /// Show no progress
        #[arg(short, long)]
        quiet: bool,
    },
}

const CA_SHOW_HELP: &str = "\
The certificate goes to standard output, in PEM. While the CA is being replaced, the nodes that have
not moved to the new one are named on standard error.";

const CA_ROTATE_HELP: &str = "\
Both CAs are trusted until every node has a certificate of the new one; tasks and sessions go on. A
node that is down keeps the rotation open until it comes back or is removed (secretctl node rm).
Join tokens name the CA, so all that were made before are worth nothing any more.

Examples:
  secretctl ca rotate
  secretctl ca rotate --detach && secretctl ca show";

#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// Also if this node is a manager; the last one takes the whole store with it
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinTokenRole {
    Worker,
    Manager,
}

#[derive(Debug, Args)]
pub(crate) struct JoinTokenArgs {
    /// What the machines that join with it shall be
    #[arg(value_enum, value_name = "worker|manager", hide_possible_values = true)]
    pub(crate) role: JoinTokenRole,
    /// Revoke all tokens for this role that were made before
    #[arg(long)]
    pub(crate) rotate: bool,
    /// Print only the token
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How long it is good; 0: for ever
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse::duration)]
    pub(crate) ttl: Duration,
    /// For how many machines it is good [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) uses: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoRuntime {
    Process,
    Docker,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// What starts the tasks: the embedded sandbox, or the Docker Engine
    #[arg(long, value_enum, default_value_t = DemoRuntime::Process)]
    pub(crate) runtime: DemoRuntime,
    /// The Docker Engine's address
    #[arg(long, value_name = "URL")]
    pub(crate) docker_host: Option<String>,
    /// The image the tasks run in with --runtime docker
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn create(line: &str) -> Result<Box<ServiceCreateArgs>, clap::Error> {
        let words = ["secretctl", "service", "create"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words)?.command {
            Command::Service(ServiceCommand::Create(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_command() {
        let args = create("--name x -e A=1 busybox sh -c --name -- -d").unwrap();
        assert_eq!(args.name, "x");
        assert!(!args.detach);
        assert_eq!(args.image_and_command, ["busybox", "sh", "-c", "--name", "--", "-d"]);
    }

    #[test]
    fn an_unknown_flag_before_the_image_is_a_mistake() {
        create("--name x --bogus busybox").unwrap_err();
        create("--name x").unwrap_err();
    }

    #[test]
    fn the_host_may_stand_anywhere() {
        for words in [["-H", "unix:///x", "ls"], ["ls", "--host", "unix:///x"]] {
            let cli = Cli::try_parse_from(["secretctl"].into_iter().chain(words)).unwrap();
            assert_eq!(cli.host.as_deref(), Some("unix:///x"));
        }
    }

    #[test]
    fn a_scale_names_a_service_and_a_number() {
        assert_eq!(scale("web=3"), Ok(("web".into(), 3)));
        for text in ["web", "web=", "web=x", "=3", "web=-1"] {
            scale(text).expect_err(text);
        }
    }
}
