//! The command line of `key` and `update`.

use crate::ctl::{cli::FormatArgs, parse};
use clap::{ArgAction, Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Give the keyring a new term, and move everything that is stored to it
    #[command(after_long_help = ROTATE_HELP)]
    Rotate(RotateArgs),
    /// Show the keyring's terms, what lies under them, and how far a rotation is
    #[command(after_long_help = STATUS_HELP)]
    Status(FormatArgs),
}

const ROTATE_HELP: &str = "\
What is stored from now on is sealed under the new term at once. Of what is there already, the
leader moves the key of each payload and of the CA; payloads themselves are not written again, and
everything goes on meanwhile. A manager that dies, or another leader, changes nothing: the rest is
moved then. When nothing is left under an old term, that term is forgotten, and each manager removes
its log entries from before and writes its state file anew; with what was removed from the store, so
that waits no longer. `key status` names the managers that have not done so yet.

Terms are also renewed when they are too old (secretctl update --key-max-age) and when a manager
was removed or demoted.

With --root the root key is replaced first, and each manager's storage key with it. Whoever had a
way to the root key before, an unlocker that was removed, an old copy of node.keys, a manager that
has gone, opens nothing that is stored from then on, nor a copy that is made from then on of a disk
or a backup. Unlockers that are there go on working, and need not be asked. All managers must be up:
the old root key counts until each has the next one.

Examples:
  secretctl key rotate
  secretctl unlocker rm ID && secretctl key rotate --root
  secretctl key rotate --detach --rate 100 && secretctl key status";

const STATUS_HELP: &str = "\
Fields for --format: .ActiveTerm .Terms .Left .Total .Rate .StartedAt .Due .KeyMaxAge .Managers
.RootKey .LogFrom .Applied

Example:
  secretctl key status --format '{{.Left}} left'";

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Do not wait until everything has moved
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Move at most so many payloads each second [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Replace the root key too, so that removed unlockers and old key headers open nothing new
    #[arg(long)]
    pub(crate) root: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ClusterUpdateArgs {
    /// Whether managers start locked, with a key that is printed once, instead of with key files
    #[arg(long, value_name = "true|false", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) autolock: Option<bool>,
    /// After how long the keyring gets a new term by itself; 0: never
    #[arg(long, value_name = "DURATION", value_parser = parse::age)]
    pub(crate) key_max_age: Option<Duration>,
    /// For how long after its certificate has ended a node comes back by itself
    #[arg(long, value_name = "DURATION", value_parser = parse::age)]
    pub(crate) come_back: Option<Duration>,
}
