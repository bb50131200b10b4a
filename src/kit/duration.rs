//! Durations as Compose files and the docker CLI write them: `10s`, `1m30s`, `1h5m`, `300ms`, `500us`.

use std::{fmt, time::Duration};

/// A text that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a number with a unit (us, ms, s, m, h), or several: 1m30s")]
pub struct BadDuration;

/// Reads `1h5m30s20ms`; each number may have a fraction, and a bare `0` is zero.
///
/// # Errors
/// An empty text, a number without unit, an unknown unit, a negative or an overflowing value.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(BadDuration);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(BadDuration)?;
        let number: f64 = rest[..digits].parse().map_err(|_| BadDuration)?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(BadDuration),
        };
        rest = &rest[unit_end..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| BadDuration)?;
        total = total.checked_add(part).ok_or(BadDuration)?;
    }
    Ok(total)
}

/// Writes the shortest form that reads back the same: `1m30s`.
#[derive(Debug, Clone, Copy)]
pub struct Compact(pub Duration);

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let nanos = self.0.subsec_nanos();
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        for (value, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s")] {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        for (value, unit) in
            [(nanos / 1_000_000, "ms"), (nanos / 1000 % 1000, "us"), (nanos % 1000, "ns")]
        {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_docker_reads_them() {
        for (text, ms) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h5m", 3_900_000),
            ("300ms", 300),
            ("1.5s", 1500),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn numbers_without_a_unit_and_nonsense_are_refused() {
        for text in ["", "10", "s", "5x", "-1s", "1..2s", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), Err(BadDuration), "{text}");
        }
    }

    #[test]
    fn the_compact_form_reads_back() {
        for ms in [0, 1, 999, 1000, 61_001, 3_600_000, 90_000] {
            let d = Duration::from_millis(ms);
            assert_eq!(parse_duration(&Compact(d).to_string()), Ok(d));
        }
    }
}
