//! The time as the broker sees it. Everything that decides by time asks here, so that a test can move it.
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Clones show the same time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Time {
    #[cfg(test)]
    by_hand: Option<by_hand::ByHand>,
}

impl Time {
    /// Wall clock, for what has to make sense after a restart.
    pub(crate) fn now_ms(&self) -> i64 {
        #[cfg(test)]
        if let Some(time) = &self.by_hand {
            return time.now_ms();
        }
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    /// Never goes back, for what ends with the process.
    pub(crate) fn instant(&self) -> Instant {
        #[cfg(test)]
        if let Some(time) = &self.by_hand {
            return time.instant();
        }
        Instant::now()
    }
}

#[cfg(test)]
mod by_hand {
    use super::Time;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::{Duration, Instant};

    #[derive(Clone, Debug)]
    pub(super) struct ByHand {
        start: Instant,
        ms: Arc<AtomicI64>,
    }

    impl ByHand {
        pub(super) fn now_ms(&self) -> i64 {
            self.ms.load(Ordering::Relaxed)
        }

        pub(super) fn instant(&self) -> Instant {
            self.start + Duration::from_millis(self.now_ms().unsigned_abs())
        }
    }

    impl Time {
        /// Stands still until it is moved.
        pub(crate) fn standing(at_ms: i64) -> Self {
            Self { by_hand: Some(ByHand { start: Instant::now(), ms: Arc::new(AtomicI64::new(at_ms)) }) }
        }

        pub(crate) fn pass(&self, ms: i64) {
            if let Some(time) = &self.by_hand {
                time.ms.fetch_add(ms, Ordering::Relaxed);
            }
        }
    }
}
