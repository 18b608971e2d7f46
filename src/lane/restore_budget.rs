//! Memory for restores: the lanes of a process that are restored at the same time share it.

use crate::telemetry::RestorePicture;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the reader of the changelog holds ahead, about: librdkafka's queue, with records of a hundred bytes.
const READER_BYTES: usize = 16 * 1024 * 1024;
/// Least and most that a restore may hold beside that, in two batches: one is read while the other is written. Smaller
/// ones make many small files, larger ones gain nothing.
const SHARE_MIN_BYTES: usize = 2 * 1024 * 1024;
const SHARE_MAX_BYTES: usize = 128 * 1024 * 1024;

/// Bytes that all restores of a process may hold together, about.
#[derive(Debug)]
pub struct RestoreBudget {
    bytes: usize,
    lanes: Mutex<Vec<Arc<UnderWay>>>,
    /// How many those are, for whoever asks at each record.
    count: AtomicUsize,
}

/// How far one lane is.
#[derive(Debug)]
struct UnderWay {
    partition: i32,
    records: AtomicU64,
    offsets_left: AtomicU64,
    held_bytes: AtomicUsize,
}

/// One lane's share, as long as it is restored. It shrinks when others begin.
pub(super) struct Share {
    budget: Arc<RestoreBudget>,
    lane: Arc<UnderWay>,
}

impl RestoreBudget {
    /// So many bytes for all lanes together.
    pub fn new(bytes: usize) -> Self {
        RestoreBudget { bytes, lanes: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// What all restores of the process may hold.
    pub fn limit(&self) -> usize {
        self.bytes
    }

    /// Those that are under way.
    pub fn restores(&self) -> Vec<RestorePicture> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let picture = |lane: &Arc<UnderWay>| RestorePicture {
            partition: lane.partition,
            records: lane.records.load(Ordering::Relaxed),
            offsets_left: lane.offsets_left.load(Ordering::Relaxed),
            bytes: lane.held_bytes.load(Ordering::Relaxed) + READER_BYTES,
        };
        lanes.iter().map(picture).collect()
    }

    pub(super) fn enter(self: &Arc<Self>, partition: i32) -> Share {
        let lane = Arc::new(UnderWay {
            partition,
            records: AtomicU64::new(0),
            offsets_left: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
        });
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.push(lane.clone());
        self.count.store(lanes.len(), Ordering::Relaxed);
        Share { budget: self.clone(), lane }
    }
}

impl Share {
    /// What this lane's batches may hold now.
    fn bytes(&self) -> usize {
        let lanes = self.budget.count.load(Ordering::Relaxed).max(1);
        (self.budget.bytes / lanes).saturating_sub(READER_BYTES).clamp(SHARE_MIN_BYTES, SHARE_MAX_BYTES)
    }

    /// How large a batch may become.
    pub(super) fn batch_bytes(&self) -> usize {
        self.bytes() / 2
    }

    /// A record was read: the batches hold that many bytes now, and that many offsets are left.
    pub(super) fn read(&self, held_bytes: usize, offsets_left: i64) {
        self.lane.records.fetch_add(1, Ordering::Relaxed);
        self.lane.held_bytes.store(held_bytes, Ordering::Relaxed);
        self.lane.offsets_left.store(u64::try_from(offsets_left).unwrap_or(0), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut lanes = self.budget.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| !Arc::ptr_eq(lane, &self.lane));
        self.budget.count.store(lanes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_are_restored_at_once_share_the_budget() {
        let budget = Arc::new(RestoreBudget::new(300 << 20));
        let first = budget.enter(0);
        assert_eq!(first.bytes(), SHARE_MAX_BYTES);
        let others: Vec<Share> = (1..10).map(|lane| budget.enter(lane)).collect();
        assert_eq!(first.bytes(), (30 << 20) - READER_BYTES);
        drop(others);
        assert_eq!(first.bytes(), SHARE_MAX_BYTES);
    }

    #[test]
    fn however_many_there_are_each_can_go_on() {
        let budget = Arc::new(RestoreBudget::new(0));
        assert_eq!(budget.enter(0).bytes(), SHARE_MIN_BYTES);
    }

    #[test]
    fn a_restore_is_shown_as_long_as_it_lasts() {
        let budget = Arc::new(RestoreBudget::new(100));
        let share = budget.enter(3);
        share.read(10, 5);
        share.read(20, 4);
        let restores = budget.restores();
        let [restore] = restores.as_slice() else { panic!("{restores:?}") };
        assert_eq!((restore.partition, restore.records, restore.offsets_left), (3, 2, 4));
        assert_eq!(restore.bytes, READER_BYTES + 20);
        drop(share);
        assert!(budget.restores().is_empty());
    }
}
