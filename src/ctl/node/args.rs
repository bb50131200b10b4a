//! The command line of `secretctl node`.

use crate::ctl::{
    cli::{ListArgs, TaskListArgs},
    parse,
};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes
    #[command(visible_alias = "list", after_long_help = NODE_LS_HELP)]
    Ls(ListArgs),
    /// Show details of nodes
    Inspect(NodeInspectArgs),
    /// List the tasks on nodes
    #[command(after_long_help = NODE_PS_HELP)]
    Ps {
        /// Names, ids, the beginnings of ids, or 'self'
        #[arg(value_name = "NODE", default_value = "self")]
        nodes: Vec<String>,
        #[command(flatten)]
        args: TaskListArgs,
    },
    /// Change what a node is used for, its role and its labels
    #[command(after_long_help = NODE_UPDATE_EXAMPLES)]
    Update(NodeUpdateArgs),
    /// Make workers managers
    Promote(NodeNames),
    /// Make managers workers
    Demote(NodeNames),
    /// Remove nodes from the cluster
    #[command(visible_alias = "remove", after_long_help = NODE_RM_HELP)]
    Rm {
        #[command(flatten)]
        names: NodeNames,
        /// Remove nodes that are up, too
        #[arg(short, long)]
        force: bool,
    },
}

const NODE_PS_HELP: &str = "\
Filters: id=PREFIX, name=TASK, desired-state=running|shutdown|accepted
Fields for --format: .ID .Name .Image .Node .DesiredState .CurrentState .Error .Ports";

const NODE_UPDATE_EXAMPLES: &str = "\
Examples:
  secretctl node update --availability drain node1     # its tasks go elsewhere
  secretctl node update --label-add disk=ssd node1
  secretctl service create --name db --constraint node.labels.disk==ssd my/db:3";

const NODE_RM_HELP: &str = "\
A manager must be demoted first. A node that can be reached leaves by itself with
'secretctl leave'; one that is removed loses its certificate's worth and its tasks' secrets at
once, and can come back only by joining again.";

#[derive(Debug, Args)]
pub(crate) struct NodeNames {
    /// Names, ids, the beginnings of ids, or 'self'
    #[arg(required = true, value_name = "NODE")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AvailabilityFlag {
    Active,
    Pause,
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleFlag {
    Worker,
    Manager,
}

#[derive(Debug, Args)]
pub(crate) struct NodeUpdateArgs {
    /// A name, an id, the beginning of an id, or 'self'
    #[arg(value_name = "NODE")]
    pub(crate) name: String,
    /// 'active'; 'pause': gets no new tasks; 'drain': gives its tasks away
    #[arg(long, value_enum, hide_possible_values = true)]
    pub(crate) availability: Option<AvailabilityFlag>,
    /// 'worker' or 'manager'
    #[arg(long, value_enum, hide_possible_values = true)]
    pub(crate) role: Option<RoleFlag>,
    /// Give it this host name, which nodes cannot change by themselves
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Add or replace a label
    #[arg(long = "label-add", value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) label_add: Vec<(String, String)>,
    /// Remove a label
    #[arg(long = "label-rm", value_name = "KEY")]
    pub(crate) label_rm: Vec<String>,
}

const NODE_LS_HELP: &str = "\
Filters: id=PREFIX, name=PREFIX, role=manager|worker, node.label=KEY or node.label=KEY=VALUE
Fields for --format: .ID .Self .Hostname .Status .Availability .ManagerStatus .EngineVersion
  .Runtime .Version .Role .Addr .Labels .Label .Cloned";

#[derive(Debug, Args)]
pub(crate) struct NodeInspectArgs {
    /// Names, ids, the beginnings of ids, or 'self'
    #[arg(value_name = "NODE", default_value = "self")]
    pub(crate) names: Vec<String>,
    /// How to print: 'json' or a Go template
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    pub(crate) format: Option<String>,
    /// Print for people
    #[arg(long)]
    pub(crate) pretty: bool,
}
