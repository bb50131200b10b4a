//! Time as a value that is handed in: whoever needs the time takes a [`Clock`], and tests hold the hands.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time that has passed since `earlier`; nothing if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `by` later, or the last one there is.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The calendar form, when the year has four digits.
    pub fn calendar(self) -> Option<time::OffsetDateTime> {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok()
    }
}

/// Writes RFC 3339 in UTC with milliseconds: `2026-11-23T06:35:17.250Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(t) = self.calendar() else { return write!(f, "@{}ms", self.0) };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

/// Where the time comes from: the system, or a test.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Reads the system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Stands still at `start` until [`Clock::advance`] is called; clones share the hands.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
                Timestamp(now.saturating_add(off()))
            }
            Source::Manual(hands) => Timestamp(hands.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock back, as an operator may; the system's clock takes no orders.
    #[cfg(test)]
    pub(crate) fn go_back(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.fetch_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Moves a manual clock forward; the system's clock takes no orders.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// By how many milliseconds the system's clock is wrong because a test wants it so: `SECRETD_CLOCK_OFF_MS`. A release build
/// does not look.
fn off() -> i64 {
    #[cfg(debug_assertions)]
    {
        static OFF: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
        let read = || std::env::var("SECRETD_CLOCK_OFF_MS").ok();
        *OFF.get_or_init(|| read().map_or(0, |text| text.parse().expect("a test gives a number")))
    }
    #[cfg(not(debug_assertions))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp(1_000_000_000_123).to_string(), "2001-09-09T01:46:40.123Z");
    }

    #[test]
    fn time_that_has_not_come_yet_has_not_passed() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp(10));
        let same = clock.clone();
        clock.advance(Duration::from_millis(5));
        assert_eq!(same.now(), Timestamp(15));
    }
}
