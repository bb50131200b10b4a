//! Reads the values of flags: references, mounts, environment, labels, each with docker's short syntax.

mod mount;
mod pairs;
mod reference;

pub(crate) use mount::mount;
pub(crate) use pairs::{csv, env_entries, filter, key_value, labels};
pub(crate) use reference::{ReferenceFlag, reference};

use crate::kit::duration::parse_duration;
use std::time::Duration;

/// Reads `10s`, `1m30s`.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// As [`duration`], and in days: `90d`.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        Some(Err(_)) => Err("an age is a whole number of days, 90d, or a duration, 36h".to_owned()),
        None => duration(text),
    }
}

/// Reads a placement constraint, `node.labels.zone==a`.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn constraint(text: &str) -> Result<crate::model::constraint::Constraint, String> {
    text.parse().map_err(|error: crate::model::constraint::BadConstraint| error.to_string())
}

/// Reads a size in bytes: `64m`, `1.5GiB`, `1024`; units are powers of 1024, as docker's are for memory.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().map_err(|_| bad())?;
    let shift = match lower[digits..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    let bytes =
        number * f64::from(1_u32 << (shift % 30)) * if shift >= 30 { 1073741824.0 } else { 1.0 };
    // Below 2^53 every whole number is exact.
    if bytes < 9_007_199_254_740_992.0 {
        format!("{bytes:.0}").parse().map_err(|_| bad())
    } else {
        Err(bad())
    }
}

/// Reads a number of CPUs, `0.5`, as billionths.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid number of CPUs: '{text}'");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(fraction)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_cpus_read_as_docker_reads_them() {
        for (text, size) in
            [("0", 0), ("1024", 1024), ("64m", 64 << 20), ("1.5GiB", 3 << 29), ("2t", 2 << 40)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1..2", "99999999t"] {
            bytes(text).expect_err(text);
        }
        assert_eq!(cpus("0.5"), Ok(500_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        for text in ["", ".", "x", "1.x", "-1", "1.0000000001", "99999999999999"] {
            cpus(text).expect_err(text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_flag_panics(text in "([a-z0-9=,.\"/:é -]|source=|target=|mode=0|type=bind|tmpfs-size=){0,16}") {
            reference(crate::model::object::Kind::Secret, &text).ok();
            mount(&text).ok();
            bytes(&text).ok();
            cpus(&text).ok();
            duration(&text).ok();
            filter(&text).ok();
            key_value(&text).ok();
            constraint(&text).ok();
        }
    }
}
