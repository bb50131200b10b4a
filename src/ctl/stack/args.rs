//! The command line of `secretctl stack`.

use crate::ctl::cli::{ListArgs, TaskListArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum StackCommand {
    /// Deploy a stack from Compose files, or bring it up to date
    #[command(visible_alias = "up")]
    Deploy(StackDeployArgs),
    /// Print what Compose files say when they are merged
    Config(StackConfigArgs),
    /// List stacks
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// List the tasks of a stack
    Ps {
        stack: String,
        #[command(flatten)]
        args: TaskListArgs,
    },
    /// List the services of a stack
    Services {
        stack: String,
        #[command(flatten)]
        args: ListArgs,
    },
    /// Remove stacks
    #[command(visible_aliases = ["remove", "down"])]
    Rm {
        #[arg(required = true, value_name = "STACK")]
        stacks: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StackDeployArgs {
    /// A Compose file, or '-' for standard input; later ones are merged into the first
    #[arg(short = 'c', long = "compose-file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Remove services that are no longer in the files
    #[arg(long)]
    pub(crate) prune: bool,
    /// Do not wait until the tasks run
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// No progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The stack's name
    pub(crate) stack: String,
}

#[derive(Debug, Args)]
pub(crate) struct StackConfigArgs {
    /// A Compose file, or '-' for standard input; later ones are merged into the first
    #[arg(short = 'c', long = "compose-file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Leave variables as they are
    #[arg(long)]
    pub(crate) skip_interpolation: bool,
}
