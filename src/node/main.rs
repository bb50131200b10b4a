//! The daemon as a program: flags in, exit code out.

use super::{
    daemon, logging, notify, recover,
    settings::{Command, Flags, Settings},
};
use crate::kit::{
    chain::chain,
    os::arena::{self, Guard},
    owner,
    task::Stop,
    text::lines,
};
use clap::Parser;
use std::{ffi::OsString, io::Write, process::ExitCode};

/// Runs the daemon with these arguments, the program's name first, until SIGTERM or SIGINT.
///
/// Exit codes: 0 after a drain, 1 if it could not start or had to stop, 2 for a wrong command line.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Before anything that could be worth a look is in memory.
    let hardened = crate::kit::os::harden();
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version are not errors; clap knows which stream each belongs on.
            return match error.print() {
                Ok(()) if !error.use_stderr() => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            };
        }
    };
    let mut flags = flags;
    let command = flags.command.take();
    if let Some(config) = &flags.config
        && let Err(error) = owner::check(&std::path::absolute(config).unwrap_or_default())
    {
        last_words(
            &format!("cannot trust the config file: {}", chain(&error)),
            Some(&error.hint()),
        );
        return ExitCode::from(2);
    }
    let settings = match Settings::resolve(flags) {
        Ok(settings) => settings,
        Err(error) => {
            last_words(&chain(&error).to_string(), error.hint());
            return ExitCode::from(2);
        }
    };
    logging::start(settings.log_format, &settings.log_level);
    crate::kit::os::tune_allocator();
    if let Err(error) = hardened {
        tracing::warn!(%error, "cannot keep this process's memory out of core dumps");
    }
    if let Guard::Refused(error) = arena::state().guard {
        let error = std::io::Error::from_raw_os_error(error);
        tracing::warn!(
            %error,
            hint = "let it lock 64 KiB: LimitMEMLOCK= in its unit, or `ulimit -l`",
            "keys are in memory that is not locked",
        );
    }
    if let Err(error) = crate::kit::os::raise_descriptors() {
        tracing::warn!(%error, "cannot raise how many descriptors this process may open");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            last_words(&format!("cannot start threads: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    if let Some(Command::Recover(flags)) = command {
        return match runtime.block_on(recover::run(settings, flags)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                last_words(&chain(&error).to_string(), error.hint().as_deref());
                ExitCode::FAILURE
            }
        };
    }
    let ended = runtime.block_on(async {
        let stop = Stop::new();
        let signals = crate::kit::task::start("signals", wait_for_signal(stop.clone()));
        let ended = daemon::run(settings, stop).await;
        drop(signals);
        ended
    });
    // A blocked file operation must not keep a drained daemon alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notify::notify(&format!("STATUS={error}"));
            last_words(&chain(&error).to_string(), error.hint().as_deref());
            ExitCode::FAILURE
        }
    }
}

/// Says why the daemon ends, for whoever started it by hand.
fn last_words(message: &str, hint: Option<&str>) {
    let mut text = format!("secretd: {}\n", lines(message));
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {}\n", lines(hint)));
    }
    if std::io::stderr().write_all(text.as_bytes()).is_err() {
        tracing::debug!("nobody listens on standard error");
    }
}

async fn wait_for_signal(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: draining"),
        _ = int.recv() => tracing::info!("SIGINT: draining"),
    }
    stop.cancel();
}
