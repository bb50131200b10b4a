//! The commands of secretctl.
//!
//! `cli` is the command line, `exit` how a command ends, `output` the only place that prints, `input` the only place
//! where a payload comes in. `format` and `age` make text; `parse` reads flags; each noun has a module.

mod age;
mod authority;
mod backup;
mod cli;
mod connect;
mod demo;
mod exit;
mod format;
mod input;
mod join;
mod key;
mod node;
mod object;
mod output;
mod parse;
mod progress;
mod service;
mod show;
mod stack;
mod status;
mod token;
mod unlocker;

use crate::{client::Trust, model::object::Kind};
use clap::{CommandFactory, Parser};
use cli::{Cli, Command, DEFAULT_HOST, ObjectCommand};
use connect::Context;
use exit::{Code, Failure};
use std::process::ExitCode;

/// The first argument with which `demo` starts this very program again as the node it plays with.
pub const DAEMON: &str = "__daemon";

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    // Secrets come through here too. Not known to fail on Linux, and not worth failing for.
    crate::kit::os::harden().ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli).and_then(|()| output::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            failure.code.into()
        }
    }
}

/// Prints what clap has to say: help and version to stdout, mistakes to stderr.
fn usage(error: &clap::Error) -> ExitCode {
    error.print().ok();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => Code::Usage.into(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let from_env = || std::env::var("SECRETD_HOST").ok().filter(|host| !host.is_empty());
    let host = cli.host.or_else(from_env).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let trust = Trust { beside: server_uid()? };
    let context = Context { host, trust, clock: crate::kit::clock::Clock::system() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Other, format!("cannot start: {error}")))?;
    runtime.block_on(dispatch(cli.command, &context))
}

/// Who else may serve the socket, as `SECRETD_SERVER_UID` says.
fn server_uid() -> Result<Option<u32>, Failure> {
    match std::env::var("SECRETD_SERVER_UID") {
        Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|_| {
            Failure::usage(format!("SECRETD_SERVER_UID is {text:?}: must be the number of a user"))
        }),
        _ => Ok(None),
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    let secrets = |command| object::run(Kind::Secret, command, context);
    match command {
        Command::Create(args) => secrets(ObjectCommand::Create(args)).await,
        Command::Ls(args) => secrets(ObjectCommand::Ls(args)).await,
        Command::Inspect(args) => secrets(ObjectCommand::Inspect(args)).await,
        Command::Rm(args) => secrets(ObjectCommand::Rm(args)).await,
        Command::Secret(command) => secrets(command).await,
        Command::Config(command) => object::run(Kind::Config, command, context).await,
        Command::Service(command) => service::run(command, context).await,
        Command::Stack(command) => stack::run(command, context).await,
        Command::Node(command) => node::run(command, context).await,
        Command::Init(args) => status::init(args, context).await,
        Command::Join(args) => join::join(args, context).await,
        Command::Leave(args) => join::leave(args, context).await,
        Command::Refill => join::refill(context).await,
        Command::JoinToken(args) => token::run(args, context).await,
        Command::Ca(command) => authority::run(command, context).await,
        Command::Status(args) => status::status(args, context).await,
        Command::Backup(command) => backup::run(command, context).await,
        Command::Unlock(args) => unlocker::unlock(args, context).await,
        Command::UnlockKey(args) => unlocker::unlock_key(args, context).await,
        Command::Unlocker(command) => unlocker::run(command, context).await,
        Command::Key(command) => key::run(command, context).await,
        Command::Update(args) => key::update(args, context).await,
        Command::Completion { shell } => completion(shell),
        Command::Demo(args) => demo::run(args).await,
    }
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "secretctl", &mut script);
    output::bytes(false, &script)
}
