//! Memory for restores: the lanes of a process that are restored at the same time share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Least and most that one batch of a restore may hold. Smaller ones make many small files, larger ones gain nothing.
const SHARE_MIN_BYTES: usize = 1024 * 1024;
const SHARE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that all restores of a process may hold together, about.
#[derive(Debug)]
pub struct RestoreBudget {
    bytes: usize,
    lanes: AtomicUsize,
}

/// One lane's share, as long as it is restored. It shrinks when others begin.
pub(super) struct Share(Arc<RestoreBudget>);

impl RestoreBudget {
    /// So many bytes for all lanes together.
    pub fn new(bytes: usize) -> Self {
        RestoreBudget { bytes, lanes: AtomicUsize::new(0) }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Share {
        self.lanes.fetch_add(1, Ordering::Relaxed);
        Share(self.clone())
    }
}

impl Share {
    /// What this lane may hold now.
    pub(super) fn bytes(&self) -> usize {
        let lanes = self.0.lanes.load(Ordering::Relaxed).max(1);
        (self.0.bytes / lanes).clamp(SHARE_MIN_BYTES, SHARE_MAX_BYTES)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_are_restored_at_once_share_the_budget() {
        let budget = Arc::new(RestoreBudget::new(100 << 20));
        let first = budget.enter();
        assert_eq!(first.bytes(), SHARE_MAX_BYTES);
        let others: Vec<Share> = (0..9).map(|_| budget.enter()).collect();
        assert_eq!(first.bytes(), 10 << 20);
        drop(others);
        assert_eq!(first.bytes(), SHARE_MAX_BYTES);
    }

    #[test]
    fn however_many_there_are_each_can_go_on() {
        let budget = Arc::new(RestoreBudget::new(0));
        assert_eq!(budget.enter().bytes(), SHARE_MIN_BYTES);
    }
}
