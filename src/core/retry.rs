//! When a failed step runs again.

use crate::core::ids::Millis;
use std::time::Duration;

/// How often and how fast a step is retried: exponential back-off, each wait `factor` times the one before, up to
/// `max_wait`.
///
/// ```
/// use sakia::Retry;
/// use std::time::Duration;
/// let r = Retry::times(8).starting_at(Duration::from_secs(1));
/// assert_eq!(r.wait_after(3), Some(Duration::from_secs(4)));
/// assert_eq!(r.wait_after(8), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    attempts: Option<u32>,
    first: Duration,
    factor: f64,
    max_wait: Duration,
}

impl Retry {
    /// At most `attempts` attempts, the first included; then the step's last error is its result. 0 counts as 1.
    pub const fn times(attempts: u32) -> Self {
        Retry { attempts: Some(attempts), ..Retry::forever() }
    }
    /// Until it succeeds or fails permanently. Waits 200 ms, 400 ms … up to a minute.
    pub const fn forever() -> Self {
        Retry {
            attempts: None,
            first: Duration::from_millis(200),
            factor: 2.0,
            max_wait: Duration::from_secs(60),
        }
    }
    /// The wait after the first failure.
    pub const fn starting_at(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }
    /// By how much each wait is longer than the one before. Below 1 counts as 1.
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }
    /// The longest wait.
    pub const fn at_most(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }
    /// The wait after attempt number `attempt` (from 1) failed, or `None` if that was the last one.
    pub fn wait_after(&self, attempt: u32) -> Option<Duration> {
        if self.attempts.is_some_and(|n| attempt >= n.max(1)) {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.first.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        Some(Duration::try_from_secs_f64(wait).unwrap_or(self.max_wait).min(self.max_wait))
    }
    /// The time of the next attempt, if there is one.
    pub fn due_after(&self, attempt: u32, now: Millis) -> Option<Millis> {
        let wait = self.wait_after(attempt)?;
        Some(now.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Retry::forever()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_up_to_the_maximum() {
        let r = Retry::forever().starting_at(Duration::from_millis(100)).at_most(Duration::from_millis(350));
        let waits: Vec<_> = (1..5).map(|n| r.wait_after(n).map(|d| d.as_millis())).collect();
        assert_eq!(waits, [Some(100), Some(200), Some(350), Some(350)]);
    }

    #[test]
    fn the_last_attempt_has_no_wait_after_it() {
        assert_eq!(Retry::times(3).wait_after(2), Some(Duration::from_millis(400)));
        assert_eq!(Retry::times(3).wait_after(3), None);
        assert_eq!(Retry::times(0).wait_after(1), None);
    }

    #[test]
    fn a_huge_attempt_number_waits_the_maximum_and_does_not_overflow() {
        assert_eq!(Retry::forever().wait_after(u32::MAX), Some(Duration::from_secs(60)));
        assert_eq!(Retry::forever().due_after(5, u64::MAX), Some(u64::MAX));
    }
}
