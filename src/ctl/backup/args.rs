//! The command line of `backup`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write everything the cluster stores into one encrypted file, and verify it
    Create(CreateArgs),
    /// Open everything in a backup, as a restore would
    Verify(VerifyArgs),
    /// Found the cluster of a backup anew, with this node as its only manager
    Restore(RestoreArgs),
}

/// What else shall open a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipient {
    /// A passphrase, asked for or read from --passphrase-file
    Passphrase,
    /// A key made for this backup, printed once
    Recovery,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The file to write, or - for standard output
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// What opens the backup besides the cluster's unlockers other than key files
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) recipient: Vec<Recipient>,
    /// A file with the passphrase of --recipient passphrase, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The backup, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) opened: OpenedBy,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) opened: OpenedBy,
    /// Where the cluster's nodes are to reach this one [default: 0.0.0.0:2390]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen_addr: Option<String>,
    /// The address other nodes are told [default: found out]
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) advertise_addr: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OpenedBy {
    /// A file with a key, a passphrase or shares, a line each, or - for standard input [default: ask if need be]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Which passphrase it is, where there are several
    #[arg(long, value_name = "ID")]
    pub(crate) unlocker: Option<String>,
}
