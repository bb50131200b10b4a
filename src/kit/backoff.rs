//! Waits longer after each failure, with jitter so that a thousand clients do not return at once.

use std::time::Duration;

/// Doubles from `first` to `most`; each wait is drawn evenly from zero up to the bound (Swarm's agents do the same).
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    bound: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, bound: first }
    }

    /// Starts over: the last try went well.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }

    /// How long to wait before the next try. `random` is any number; its value picks the jitter.
    pub fn next_wait(&mut self, random: u32) -> Duration {
        let wait = self.bound.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.bound = (self.bound * 2).min(self.most);
        wait
    }

    /// Sleeps for the next wait.
    pub async fn wait(&mut self) {
        let random = getrandom::u32().expect("the kernel gives randomness once booted");
        tokio::time::sleep(self.next_wait(random)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_until_its_ceiling_and_reset_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        assert_eq!(backoff.next_wait(u32::MAX), Duration::from_millis(100));
        assert_eq!(backoff.next_wait(u32::MAX), Duration::from_millis(200));
        assert_eq!(backoff.next_wait(u32::MAX), Duration::from_millis(300));
        assert_eq!(backoff.next_wait(u32::MAX), Duration::from_millis(300));
        backoff.reset();
        assert_eq!(backoff.next_wait(0), Duration::ZERO);
        assert_eq!(backoff.next_wait(u32::MAX), Duration::from_millis(200));
    }
}
