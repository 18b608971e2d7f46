//! The lane's clock: never behind the lane's time, and never standing still.
//!
//! The lane's time is the latest that any of its inputs carried, so it does not go back; but the clock of its owner may:
//! it is set back, or the owner before, or a client, was ahead. Timers are armed in the lane's time. If they were compared
//! with an owner's clock that is an hour behind it, each would be an hour late.

use super::Host;
use crate::core::ids::Millis;
use std::sync::Arc;

/// The owner's clock, moved ahead by as much as it is behind.
pub(super) struct LaneClock {
    host: Arc<dyn Host>,
    /// By how much.
    ahead: Millis,
    last: Millis,
}

impl LaneClock {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        LaneClock { host, ahead: 0, last: 0 }
    }

    /// The time now, given the lane's time.
    pub(super) fn now(&mut self, lane: Millis) -> Millis {
        let host = self.host.now();
        let floor = self.last.max(lane);
        self.ahead = if host >= floor { 0 } else { self.ahead.max(floor - host) };
        self.last = host.saturating_add(self.ahead);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::host::At;

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
        let wall = Arc::new(At::new(0));
        let mut clock = LaneClock::new(wall.clone());
        wall.set(5_000);
        assert_eq!(clock.now(0), 5_000);
        wall.set(1_000);
        assert_eq!(clock.now(0), 5_000);
        wall.set(1_100);
        assert_eq!(clock.now(0), 5_100);
        wall.set(6_000);
        assert_eq!(clock.now(0), 6_000, "once it has caught up it is right again");
    }

    #[test]
    fn a_lane_that_is_ahead_of_its_owner_goes_on_in_its_own_time() {
        let wall = Arc::new(At::new(0));
        let mut clock = LaneClock::new(wall.clone());
        wall.set(1_000);
        assert_eq!(clock.now(3_600_000), 3_600_000);
        wall.set(1_100);
        assert_eq!(clock.now(3_600_000), 3_600_100);
    }
}
