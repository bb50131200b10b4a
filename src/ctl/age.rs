//! Lengths of time as docker tells them to people: `5 seconds`, `About a minute`, `3 weeks`.

use crate::kit::clock::Timestamp;
use std::{fmt, time::Duration};

/// `Less than a second` up to `n years`, in docker's words and with its roundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Human(pub(crate) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let minutes = seconds / 60;
        // Docker rounds hours to the nearest, everything else down.
        let hours = (seconds + 1800) / 3600;
        match () {
            () if seconds < 1 => f.write_str("Less than a second"),
            () if seconds == 1 => f.write_str("1 second"),
            () if seconds < 60 => write!(f, "{seconds} seconds"),
            () if minutes == 1 => f.write_str("About a minute"),
            () if minutes < 60 => write!(f, "{minutes} minutes"),
            () if hours == 1 => f.write_str("About an hour"),
            () if hours < 48 => write!(f, "{hours} hours"),
            () if hours < 24 * 7 * 2 => write!(f, "{} days", hours / 24),
            () if hours < 24 * 30 * 2 => write!(f, "{} weeks", hours / 24 / 7),
            () if hours < 24 * 365 * 2 => write!(f, "{} months", hours / 24 / 30),
            () => write!(f, "{} years", seconds / 3600 / 24 / 365),
        }
    }
}

/// `5 seconds ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", Human(now.since(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_docker_tells_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (2 * 365 * 86400, "2 years"),
        ] {
            assert_eq!(Human(Duration::from_secs(seconds)).to_string(), text, "{seconds}");
        }
    }

    #[test]
    fn a_clock_that_lags_behind_does_not_matter() {
        assert_eq!(ago(Timestamp(9000), Timestamp(5000)), "Less than a second ago");
    }
}
