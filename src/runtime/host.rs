//! The machine as it is.

use crate::core::ids::Millis;
use crate::lane::{Host, Join};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clocks and threads.
pub(super) struct SystemHost {
    began: Instant,
}

impl SystemHost {
    pub(super) fn new() -> Self {
        SystemHost { began: Instant::now() }
    }
}

impl Host for SystemHost {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    fn spawn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<Join> {
        let thread = std::thread::Builder::new().name(name.clone()).spawn(work)?;
        Ok(Box::new(move || {
            if thread.join().is_err() {
                tracing::error!("the thread {name} panicked");
            }
        }))
    }
}
