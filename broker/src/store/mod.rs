//! The store: RocksDB, on disk or in memory. One request is one atomic write batch.
pub(crate) mod changes;
pub(crate) mod keys;
#[cfg(test)]
mod kill;
pub(crate) mod load;

pub(crate) use changes::Changes;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::patience;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use rocksdb::{BlockBasedOptions, Cache, DB, Env, LogLevel, Options, ReadOptions, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Layout of keys and values in this program.
pub(crate) const FORMAT_VERSION: u32 = 2;

const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Less garbage than this is left where it is.
const RECLAIM_FROM_BYTES: u64 = 32 << 20;
/// Values from here on go to blob files: batches are written once and not moved by RocksDB's compactions.
const MIN_BLOB_BYTES: u64 = 2048;

/// An open store.
pub(crate) struct Store {
    db: Arc<DB>,
    write: WriteOptions,
    /// Log bytes that were deleted or replaced since the last `reclaim`.
    removed_bytes: AtomicU64,
    /// Set by a failed write: memory may then be ahead of the disk, so nothing is served any more.
    poisoned: AtomicBool,
    #[cfg(test)]
    kill: kill::Kill,
}

impl Store {
    pub(crate) fn open(config: &BrokerConfig) -> Result<Self, BrokerError> {
        let mut options = options(config);
        let db = match &config.data_dir {
            Some(dir) => {
                let not_writable = |e: std::io::Error| BrokerError::DataDirNotWritable {
                    dir: dir.clone(),
                    reason: e.to_string(),
                };
                std::fs::create_dir_all(dir).map_err(not_writable)?;
                let open = || DB::open(&options, dir).map_err(|e| open_error(dir, &e));
                patience::outlast(open, |e| matches!(e, BrokerError::DataDirLocked { .. }))?
            }
            None => {
                let env = Env::mem_env().map_err(|e| BrokerError::Storage(e.to_string()))?;
                options.set_env(&env);
                DB::open(&options, "/memory").map_err(|e| BrokerError::Storage(e.to_string()))?
            }
        };
        let store = Self {
            db: Arc::new(db),
            write: write_options(config.data_dir.as_ref().map(|_| config.sync_writes)),
            removed_bytes: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            #[cfg(test)]
            kill: kill::Kill::default(),
        };
        store.check_format(config.data_dir.clone().unwrap_or_default())?;
        Ok(store)
    }

    fn check_format(&self, dir: PathBuf) -> Result<(), BrokerError> {
        let storage = |e: rocksdb::Error| BrokerError::Storage(e.to_string());
        if let Some(bytes) = self.db.get(keys::FORMAT).map_err(storage)? {
            let found = bytes.try_into().map(u32::from_be_bytes).unwrap_or(0);
            if found == FORMAT_VERSION {
                return Ok(());
            }
            return Err(BrokerError::FormatVersion { dir, found, expected: FORMAT_VERSION });
        }
        if self.db.iterator(rocksdb::IteratorMode::Start).next().is_some() {
            // somebody else's RocksDB folder
            return Err(BrokerError::FormatVersion { dir, found: 0, expected: FORMAT_VERSION });
        }
        self.db.put_opt(keys::FORMAT, FORMAT_VERSION.to_be_bytes(), &self.write).map_err(storage)
    }

    /// All of it or nothing after a crash.
    pub(crate) fn commit(&self, changes: Changes) -> Result<(), ResponseError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(ResponseError::KafkaStorageError);
        }
        if changes.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        if self.kill.strikes() {
            self.poisoned.store(true, Ordering::Release);
            return Err(ResponseError::KafkaStorageError);
        }
        self.db.write_opt(changes.into_batch(), &self.write).map_err(|error| {
            tracing::error!(%error, "a write failed; the broker refuses everything until it is restarted");
            self.poisoned.store(true, Ordering::Release);
            ResponseError::KafkaStorageError
        })
    }

    /// Takes note of log bytes that are garbage now.
    pub(crate) fn note_removed(&self, bytes: u64) {
        self.removed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives the space of deleted batches back. RocksDB does so by itself only when keys pile up, and the
    /// keys of a log are few and small while its batches lie in files of their own.
    pub(crate) fn reclaim(&self) {
        if self.removed_bytes.load(Ordering::Relaxed) < RECLAIM_FROM_BYTES {
            return;
        }
        self.removed_bytes.store(0, Ordering::Relaxed);
        self.db.compact_range(Some([keys::LOG]), Some([keys::LOG + 1]));
        // A compaction of RocksDB's own that ends while the line above looks for the range leaves its old
        // files where they are, until the next one. Allowing deletions again has all of them looked for.
        let deleted = self.db.disable_file_deletions().and_then(|()| self.db.enable_file_deletions());
        if let Err(error) = deleted {
            tracing::warn!(%error, "the space of deleted batches is given back later");
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Calls `each` with (base offset, batch) for the batches of `partition` that hold offsets from `from`
    /// on and begin below `end`, until it says stop.
    pub(crate) fn scan(
        &self,
        partition: u32,
        from: i64,
        end: i64,
        mut each: impl FnMut(i64, Bytes) -> std::ops::ControlFlow<()>,
    ) -> Result<(), ResponseError> {
        if from >= end {
            return Ok(());
        }
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(keys::in_partition(keys::LOG, partition, 0));
        read.set_iterate_upper_bound(keys::in_partition(keys::LOG, partition, end));
        let mut at = self.db.raw_iterator_opt(read);
        // the batch that holds `from` may begin before it
        at.seek_for_prev(keys::in_partition(keys::LOG, partition, from));
        if !at.valid() {
            at.seek(keys::in_partition(keys::LOG, partition, from));
        }
        while let (Some(key), Some(value)) = (at.key(), at.value()) {
            let base = base_offset(key);
            if last_offset(base, value) >= from && each(base, Bytes::copy_from_slice(value)).is_break() {
                return Ok(());
            }
            at.next();
        }
        at.status().map_err(|error| {
            tracing::error!(%error, partition, "a read failed");
            ResponseError::KafkaStorageError
        })
    }
}

/// On disk, waiting for it or not; in memory (`None`) there is nothing to recover, so no log of writes.
fn write_options(sync: Option<bool>) -> WriteOptions {
    let mut write = WriteOptions::default();
    match sync {
        Some(sync) => write.set_sync(sync),
        None => write.disable_wal(true),
    }
    write
}

fn base_offset(key: &[u8]) -> i64 {
    key.get(5..13).and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes)
}

/// From the header field, so that batches before the wanted offset need not be copied.
fn last_offset(base: i64, batch: &[u8]) -> i64 {
    let delta = batch.get(23..27).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes);
    base + i64::from(delta)
}

fn options(config: &BrokerConfig) -> Options {
    let mut table = BlockBasedOptions::default();
    let cache = Cache::new_lru_cache(config.block_cache_bytes);
    table.set_block_cache(&cache);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_max_total_wal_size(2 * WRITE_BUFFER_BYTES as u64);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(MIN_BLOB_BYTES);
    options.set_blob_file_size(64 << 20);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(0.25);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Error);
    options
}

fn open_error(dir: &Path, error: &rocksdb::Error) -> BrokerError {
    let (dir, reason) = (dir.to_owned(), error.to_string());
    // RocksDB gives no error kind for its lock file, only this text.
    if reason.contains("lock file") || reason.contains("lock hold by current process") {
        BrokerError::DataDirLocked { dir }
    } else if reason.contains("Permission denied")
        || reason.contains("Read-only")
        || reason.contains("No space")
    {
        BrokerError::DataDirNotWritable { dir, reason }
    } else {
        BrokerError::Storage(reason)
    }
}
