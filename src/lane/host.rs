//! The machine under a lane: its clocks, its threads, and how a thread waits. The simulator is another such machine.

use crate::core::ids::Millis;
use std::time::Duration;

/// Waits for the end of a thread.
pub type Join = Box<dyn FnOnce() + Send>;

/// What a lane needs of its machine.
pub trait Host: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. Only facts carry it; the core sees it as the time of an input.
    fn now(&self) -> Millis;
    /// Time since a moment of the host's choice. Unlike [`now`](Host::now) it is never set back.
    fn uptime(&self) -> Duration;
    /// Waits until `ready` is true, at most `limit`; says whether it is. `ready` may block as long as it is told. Every
    /// wait of a lane goes through here, so that a simulator can let others go on meanwhile.
    fn wait(&self, limit: Duration, ready: &mut dyn FnMut(Duration) -> bool) -> bool {
        ready(limit)
    }
    /// Runs work on a thread of its own.
    ///
    /// # Errors
    /// If the machine has no room for another thread.
    fn spawn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<Join>;
}

/// A machine whose clock is set by hand.
#[cfg(test)]
pub(super) struct At(std::sync::atomic::AtomicU64);

#[cfg(test)]
impl At {
    pub(super) fn new(now: Millis) -> Self {
        At(now.into())
    }

    pub(super) fn set(&self, now: Millis) {
        self.0.store(now, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Host for At {
    fn now(&self) -> Millis {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
    fn spawn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<Join> {
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Box::new(move || thread.join().unwrap()))
    }
}
