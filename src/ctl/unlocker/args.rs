//! The command line of `unlocker`, `unlock` and `unlock-key`.

use crate::crypto::unlock::tpm::{self, Pcrs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum UnlockerCommand {
    /// List the ways to the cluster's keys; any one of them opens a manager
    #[command(visible_alias = "list")]
    Ls(UnlockerLsArgs),
    /// Add a way to the cluster's keys
    #[command(subcommand)]
    Add(AddCommand),
    /// Remove ways to the cluster's keys; the last one stays
    #[command(visible_alias = "remove")]
    Rm(UnlockerRmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UnlockerLsArgs {
    /// Only show ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print as json, or by a template such as '{{.ID}} {{.Kind}}'
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AddCommand {
    /// A key file beside each manager, so that it starts by itself
    File,
    /// A key for the safe, printed once, that opens when nothing else does
    Recovery,
    /// A passphrase, from a prompt, a file or standard input
    Passphrase {
        /// A file with the passphrase, or - for standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// A key in several shares, each printed once, of which some open
    Shamir {
        /// How many shares there are
        #[arg(long, value_name = "N", default_value_t = 5)]
        shares: u32,
        /// How many of them are needed
        #[arg(long, value_name = "K", default_value_t = 3)]
        threshold: u32,
    },
    /// The TPM of this machine, so that this manager starts by itself here and nowhere else
    Tpm2 {
        /// A character device, or unix:PATH
        #[arg(long, value_name = "DEVICE", default_value = tpm::DEVICE)]
        device: String,
        /// PCRs that must measure at each start as they do now, such as 7,11
        #[arg(long, value_name = "N,…")]
        pcrs: Option<Pcrs>,
    },
    /// A program that has the key decrypted by a KMS or HSM
    Command {
        /// Its absolute path, the same on every manager
        #[arg(value_name = "PROGRAM")]
        program: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UnlockerRmArgs {
    /// Ids, starts of ids, or kinds of which there is only one
    #[arg(required = true, value_name = "UNLOCKER")]
    pub(crate) unlockers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    /// A file with the key, share or passphrase, or - for standard input [default: ask]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Which passphrase it is, where there are several
    #[arg(long, value_name = "ID")]
    pub(crate) unlocker: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UnlockKeyArgs {
    /// Make a new key; the one before opens nothing any more
    #[arg(long)]
    pub(crate) rotate: bool,
    /// Only print the key
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
