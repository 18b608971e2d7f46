//! The machine's clock.

use crate::core::ids::Millis;
use crate::lane::Clock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the system's time.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }
}
