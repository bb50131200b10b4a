//! Sets up the log: lines for people, or JSON for machines, on standard error. Never a value, only ids.

use super::settings::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging for the process. A second call does nothing.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::new(format!("warn,secretd={level}"));
    // A level with a target or a list stands for itself.
    let filter = if level.contains(['=', ',']) { EnvFilter::new(level) } else { filter };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was already set up");
    }
}
