//! The flags of `secretctl service update`.

use crate::{
    ctl::{
        cli::{config_flag, secret_flag},
        parse,
        parse::ReferenceFlag,
    },
    model::constraint::Constraint,
};
use clap::Args;

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
