//! The command line as clap sees it, with every flag and help text that is not beside its command. Names are fixed,
//! scripts use them.

use super::{
    backup::args::BackupCommand,
    exit::EXIT_CODES,
    key::args::{ClusterUpdateArgs, KeyCommand},
    node::args::NodeCommand,
    parse,
    service::args::ServiceCommand,
    stack::args::StackCommand,
    unlocker::args::{UnlockArgs, UnlockKeyArgs, UnlockerCommand},
};
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
    #[command(after_long_help = INSPECT_HELP)]
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
    /// Fill this manager, whose store is damaged, from the other managers
    #[command(after_long_help = REFILL_HELP)]
    Refill,
    /// Make a token with which other machines join this cluster
    #[command(after_long_help = JOIN_TOKEN_HELP)]
    JoinToken(JoinTokenArgs),
    /// Show and replace the cluster's certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Rotate the keys under which secrets and configs are stored
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show what this node is and how it is
    #[command(after_long_help = STATUS_HELP)]
    Status(FormatArgs),
    /// Back the cluster up, verify backups, restore them
    #[command(subcommand)]
    Backup(BackupCommand),
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

const REFILL_HELP: &str = "\
A manager that finds its store damaged does not vote: `secretctl status` says what is damaged. Its
tasks and their files stay, and more go on coming from the other managers.

This command gives it a new, empty store, which the others fill; they must be more than half of the
managers without this one. What was damaged is kept in the data directory until the manager votes
again. A refill that was cut off can be begun again.";

const CREATE_EXAMPLES: &str = "\
Examples:
  secretctl create db-password password.txt
  openssl rand -base64 32 | secretctl create --trim-newline session-key -
  secretctl create -l env=prod api-key          # asks for the value, without showing it

The value is never taken from the command line, where other users could see it.";

const OBJECT_LS_HELP: &str = "\
Filters: id=PREFIX, name=PREFIX, label=KEY or label=KEY=VALUE
destroyed=pending, by itself: those that were removed and are not gone from every manager's disk yet,
with the fields .ID .Name .CreatedAt .RemovedAt .Purged .WaitingFor
Fields for --format: .ID .Name .CreatedAt .UpdatedAt .Labels .Label .Version .Versions .Driver

Examples:
  secretctl ls --filter label=env=prod
  secretctl ls --format 'table {{.Name}}\\t{{.Label \"env\"}}'";

const INSPECT_HELP: &str = "\
One that was removed is not found, and the exit code says so; but its Destruction is shown while
that is pending: until every manager has removed the log entries that brought it and written its
state file anew. That takes seconds in a small store; in one of 1 GiB some minutes, and up to 2 h 17
min after the last time (`secretctl key rotate` does it at once). A manager that is down is named,
and keeps it open.";

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
  .State               inactive, pending, active, locked, damaged or error
  .Error               why, if it could not come up, or what is damaged
  .NodeID .ClusterID   empty while inactive
  .Role                manager or worker
  .Leader              true where this manager leads
  .Managers            how many there are; .RemoteManagers lists them
  .Hostname .ListenAddr .AdvertiseAddr .DataDir .Version
  .Runtime .EngineVersion .RuntimeError
  .AgentError          why the agent gets no work from a manager, if so
  .Unlockers .Protection
                       what opens the keys, and what that protects against
  .AppliedIndex .CertificateExpiresAt
  .DestructionsPending removed objects that some manager's disk still has

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
    use crate::ctl::service::args::ServiceCreateArgs;
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
}
