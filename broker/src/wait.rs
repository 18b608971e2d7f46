//! A reader that waits for data on some partitions.
use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// Woken by whoever appends to one of the partitions that it was added to.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waiter {
    pub(crate) fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }

    /// Before the waiter is added again: an old wake-up must not count.
    pub(crate) fn rearm(&self) {
        *self.woken.lock() = false;
    }

    pub(crate) fn wait_until(&self, end: Instant) {
        let mut woken = self.woken.lock();
        while !*woken && !self.changed.wait_until(&mut woken, end).timed_out() {}
    }
}
