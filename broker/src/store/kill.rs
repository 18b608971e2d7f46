//! The end of a process at a chosen write, for tests.
use super::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts writes and ends the store before one of them.
#[derive(Debug)]
pub(super) struct Kill {
    written: AtomicU64,
    before: AtomicU64,
}

impl Default for Kill {
    fn default() -> Self {
        Self { written: AtomicU64::new(0), before: AtomicU64::new(u64::MAX) }
    }
}

impl Kill {
    /// Whether the process dies instead of making this write.
    pub(super) fn strikes(&self) -> bool {
        if self.written.load(Ordering::Relaxed) >= self.before.load(Ordering::Relaxed) {
            return true;
        }
        self.written.fetch_add(1, Ordering::Relaxed);
        false
    }
}

impl Store {
    /// Writes made since the store was opened.
    pub(crate) fn written(&self) -> u64 {
        self.kill.written.load(Ordering::Relaxed)
    }

    /// Lets `count` more writes through; the next one is not made, and nothing after it.
    pub(crate) fn kill_after(&self, count: u64) {
        self.kill.before.store(self.written() + count, Ordering::Relaxed);
    }

    /// What the next process finds: exactly the writes that were made. A write batch is atomic in RocksDB, so
    /// there is no half of one to find.
    pub(crate) fn after_kill(&self) -> Self {
        Self {
            db: Arc::clone(&self.db),
            write: super::write_options(None),
            removed_bytes: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            kill: Kill::default(),
        }
    }
}
