//! What the stores of a process share in memory, and how much of it they use.

use super::Budget;
use crate::telemetry::StoreMemory;
use rocksdb::{Cache, WriteBufferManager};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One cache and one manager of write buffers for all stores of the process, however many lanes it gets.
pub(super) struct Memory {
    pub(super) cache: Cache,
    pub(super) write_buffers: WriteBufferManager,
    cache_limit: usize,
    /// What the open files of each store need, as it said last.
    readers: Mutex<Vec<Weak<AtomicUsize>>>,
}

impl Memory {
    pub(super) fn new(budget: Budget) -> Self {
        Memory {
            cache: Cache::new_lru_cache(budget.cache_bytes),
            // No stall by the manager: it would stop all lanes for one; RocksDB flushes instead.
            write_buffers: WriteBufferManager::new_write_buffer_manager(budget.write_buffers_bytes, false),
            cache_limit: budget.cache_bytes,
            readers: Mutex::default(),
        }
    }

    /// Where a new store says what its open files need. It counts as long as the store lives.
    pub(super) fn readers(&self) -> Arc<AtomicUsize> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|store| store.strong_count() > 0);
        let new = Arc::default();
        readers.push(Arc::downgrade(&new));
        new
    }

    pub(super) fn now(&self) -> StoreMemory {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = readers.iter().filter_map(Weak::upgrade);
        StoreMemory {
            cache: self.cache.get_usage(),
            cache_pinned: self.cache.get_pinned_usage(),
            cache_limit: self.cache_limit,
            write_buffers: self.write_buffers.get_usage(),
            write_buffers_limit: self.write_buffers.get_buffer_size(),
            table_readers: open.map(|bytes| bytes.load(Ordering::Relaxed)).sum(),
        }
    }
}
