//! Sets up the log: lines for people, or JSON for machines, on standard error. Never a value, only ids.

use super::settings::LogFormat;
use crate::kit::text;
use std::{fmt::Debug, io::IsTerminal};
use tracing::field::Field;
use tracing_subscriber::{EnvFilter, field::MakeExt as _, fmt, fmt::format};

/// Writes one field of a line: what others said of themselves is in them, so they are one line of text.
fn field(out: &mut format::Writer<'_>, name: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    let value = text::line(&value);
    if name.name() == "message" { write!(out, "{value}") } else { write!(out, "{name}={value}") }
}

/// Starts logging for the process. A second call does nothing.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::new(format!("warn,secretd={level}"));
    // A level with a target or a list stands for itself.
    let filter = if level.contains(['=', ',']) { EnvFilter::new(level) } else { filter };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder
            .fmt_fields(format::debug_fn(field).delimited(" "))
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was already set up");
    }
}
