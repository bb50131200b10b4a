//! `secretctl service logs`: lines of all tasks of a service, each with the name of its task in front.

use super::args::LogsArgs;
use crate::{
    client::Client,
    ctl::{
        connect::{Context, explain},
        exit::Failure,
        node::host_names,
        output,
    },
    kit::{clock::Timestamp, duration::parse_duration, id::NodeId, text},
    wire::v1::{LogLine, LogOptions, Output, ServiceLogsResponse},
};
use std::collections::BTreeMap;
use time::{Date, Month, Time};

pub(super) async fn run(args: LogsArgs, context: &Context) -> Result<(), Failure> {
    let tail = match args.tail.as_str() {
        "all" => None,
        number => Some(number.parse().map_err(|_| {
            Failure::usage(format!("invalid --tail '{number}': must be a number or 'all'"))
        })?),
    };
    let since = match &args.since {
        None => None,
        Some(text) => Some(
            moment(text, context.clock.now())
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "invalid --since '{text}': must be a time (2026-01-02T13:23:37Z) or an age (42m)"
                    ))
                })?
                .0,
        ),
    };
    let options =
        LogOptions { follow: args.follow, tail, since_ms: since, stdout: true, stderr: true };
    let client = context.connect().await?;
    let doing = format!("cannot read the logs of '{}'", args.reference);
    let mut stream = match client.logs(&args.reference, options).await {
        Ok(stream) => stream,
        Err(error) => return Err(explain(&client, error).await.doing(doing)),
    };
    let mut names = Names { client: &client, args: &args, hosts: None, width: 0 };
    loop {
        match stream.next().await {
            Ok(Some(part)) => names.print(part).await?,
            Ok(None) => return Ok(()),
            Err(error) => return Err(explain(&client, error).await.doing(doing)),
        }
    }
}

/// What stands in front of lines.
struct Names<'a> {
    client: &'a Client,
    args: &'a LogsArgs,
    /// Asked for when the first line needs it.
    hosts: Option<BTreeMap<NodeId, String>>,
    /// Digits of the highest slot so far, so that the bars stand below each other.
    width: usize,
}

impl Names<'_> {
    async fn print(&mut self, part: ServiceLogsResponse) -> Result<(), Failure> {
        let ServiceLogsResponse { task_id, node_id, service_name, slot, lines, warning } = part;
        let prefix = if self.args.raw {
            String::new()
        } else {
            let host = self.host(&node_id).await?;
            let id = match task_id.get(..12) {
                Some(short) if !self.args.no_trunc => short,
                _ => &task_id,
            };
            let place = if slot == 0 { node_id.clone() } else { slot.to_string() };
            self.width = self.width.max(place.len());
            let pad = " ".repeat(self.width - place.len());
            let task = if self.args.no_task_ids { String::new() } else { format!(".{id}") };
            // Ours, unlike what follows: the line itself is the task's, and goes through as it is.
            text::line(&format!("{service_name}.{place}{task}@{host}{pad}    | ")).into_owned()
        };
        for line in lines {
            let stderr = line.output() == Output::Stderr;
            output::bytes(stderr, &render(&line, &prefix, self.args.timestamps))?;
        }
        if !warning.is_empty() {
            output::warning(format_args!("{service_name}.{slot}.{task_id}: {warning}"));
        }
        // Whoever follows wants to see a line when it is written, not when a buffer is full.
        output::flush()
    }

    async fn host(&mut self, node: &str) -> Result<String, Failure> {
        let Ok(id) = node.parse::<NodeId>() else { return Ok(node.to_owned()) };
        if self.args.no_resolve {
            return Ok(node.to_owned());
        }
        if self.hosts.as_ref().is_none_or(|hosts| !hosts.contains_key(&id)) {
            self.hosts = Some(host_names(self.client).await?);
        }
        let known = self.hosts.as_ref().and_then(|hosts| hosts.get(&id));
        Ok(known.cloned().unwrap_or_else(|| node.to_owned()))
    }
}

fn render(line: &LogLine, prefix: &str, timestamps: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.line.len() + prefix.len() + 32);
    if timestamps {
        out.extend_from_slice(Timestamp(line.at_ms).to_string().as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(&line.line);
    out.push(b'\n');
    out
}

/// Reads a moment: an age (`42m`), seconds since 1970, or RFC 3339, also without its time or zone (then UTC).
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(age) = parse_duration(text) {
        let age = i64::try_from(age.as_millis()).ok()?;
        return Some(Timestamp(now.0.saturating_sub(age)));
    }
    if let Some(seconds) = text.split('.').next().and_then(|whole| whole.parse::<i64>().ok())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return seconds.checked_mul(1000).map(Timestamp);
    }
    let (date, rest) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = date.splitn(3, '-');
    let year = parts.next()?.parse().ok()?;
    let month = Month::try_from(parts.next()?.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, parts.next()?.parse().ok()?).ok()?;
    let (clock, offset_minutes) = zone(rest)?;
    let mut parts = clock.splitn(3, ':');
    let mut number = || match parts.next() {
        None | Some("") => Some(0.0),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            text.parse::<f64>().ok()
        }
        Some(_) => None,
    };
    let (hours, minutes, seconds) = (number()?, number()?, number()?);
    if hours >= 24.0 || minutes >= 60.0 || seconds >= 61.0 {
        return None;
    }
    let millis = format!("{:.0}", (hours * 3600.0 + minutes * 60.0 + seconds) * 1000.0);
    let start = date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp() - offset_minutes * 60;
    Some(Timestamp(start.checked_mul(1000)?.checked_add(millis.parse().ok()?)?))
}

/// Splits `13:00:00+02:00` into the time and the minutes its zone is ahead.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let sign = if text[at..].starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes))
        .then_some((&text[..at], sign * (hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_ages_and_times() {
        let now = Timestamp(1_000_000_000_000);
        for (text, ms) in [
            ("42s", 999_999_958_000),
            ("1000000000", 1_000_000_000_000),
            ("2001-09-09T01:46:40Z", 1_000_000_000_000),
            ("2001-09-09T01:46:40.250Z", 1_000_000_000_250),
            ("2001-09-09T03:46:40+02:00", 1_000_000_000_000),
            ("2001-09-08T20:46:40-05:00", 1_000_000_000_000),
            ("2001-09-09T01:46", 999_999_960_000),
            ("2001-09-09", 999_993_600_000),
        ] {
            assert_eq!(moment(text, now), Some(Timestamp(ms)), "{text}");
        }
        for text in
            ["", "x", "2001-13-01", "2001-09-09T25:00", "2001-09-09T01:99", "2001-09-09T01:46+x"]
        {
            assert_eq!(moment(text, now), None, "{text}");
        }
    }

    #[test]
    fn a_line_has_its_time_then_its_task_then_itself() {
        let line = LogLine { at_ms: 1_000_000_000_123, output: 1, line: b"hi".to_vec() };
        assert_eq!(
            render(&line, "web.1.abc@node    | ", true),
            b"2001-09-09T01:46:40.123Z web.1.abc@node    | hi\n"
        );
        assert_eq!(render(&line, "", false), b"hi\n");
    }

    proptest::proptest! {
        #[test]
        fn no_moment_panics(text in "[0-9TZ:+.é smh-]{0,30}") {
            moment(&text, Timestamp(0));
        }
    }
}
