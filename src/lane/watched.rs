//! A value that one thread changes and others wait for, by the clock of the host.

use super::Host;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub(super) fn new(value: T) -> Self {
        Watched { value: Mutex::new(value), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and wakes all who wait.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until it is settled, but no longer than the limit, and returns it as it is then.
    pub(super) fn wait(
        &self,
        host: &dyn Host,
        limit: Duration,
        settled: impl Fn(&T) -> bool,
    ) -> MutexGuard<'_, T> {
        host.wait(limit, &mut |block| {
            let waiting = self.changed.wait_timeout_while(self.lock(), block, |value| !settled(value));
            settled(&waiting.unwrap_or_else(PoisonError::into_inner).0)
        });
        self.lock()
    }
}
