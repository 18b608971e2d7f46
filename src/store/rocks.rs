//! Stores on RocksDB: one database per lane, so that a lane that leaves takes its files with it.
//!
//! The WAL is off, as Kafka is the log: it would double the bytes and give nothing. What is not flushed is replayed
//! from the changelog. Everything lives in ONE column family, so that each batch and each flush is atomic: with three
//! families and no `atomic_flush`, 12 of 12 stores were torn by kill -9.

mod load;
mod memory;

use super::identity::{Folder, Identity, io};
use super::{Batch, Store, StoreError, Stores, Write};
use crate::telemetry::StoreMemory;
use bytes::Bytes;
use load::Loading;
use memory::Memory;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, DB, DBCompressionType, Direction, FlushOptions, IteratorMode,
    LogLevel, Options, PrefixRange, ReadOptions, WriteBatch, WriteOptions, properties,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Holds the next changelog offset. No table's keys begin with 0xFF.
pub const OFFSET_KEY: &[u8] = b"\xFFnext-changelog-offset";
/// Bounds what a restart replays: after a crash at most this much of applied writes is missing on disk.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// For each key, in a filter: one look-up in a hundred of a key that is not there reads a block in vain.
const FILTER_BITS: f64 = 10.0;

/// Memory of all stores of a process together.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Cache of blocks, shared by all lanes.
    pub cache_bytes: usize,
    /// Unflushed writes of all lanes together.
    pub write_buffers_bytes: usize,
    /// Unflushed writes of one lane.
    pub write_buffer_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { cache_bytes: 128 << 20, write_buffers_bytes: 256 << 20, write_buffer_bytes: 32 << 20 }
    }
}

/// The stores of one process, in one locked folder.
pub struct RocksStores {
    folder: Arc<Folder>,
    options: Options,
    restore_options: Options,
    memory: Memory,
}

/// Every key and value of a partition's store that no process has open, in key order, with the reserved one: to compare
/// stores byte by byte. `dir` is the state folder.
pub fn dump_folder(dir: &Path, partition: i32) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let (path, db) = open_folder(dir, partition)?;
    db.iterator(IteratorMode::Start)
        .map(|e| e.map(|(k, v)| (Bytes::from(k), Bytes::from(v))).map_err(|e| io(&path, e)))
        .collect()
}

/// One value of a partition's store that no process has open; the rest of it may be damaged.
pub fn read_folder(dir: &Path, partition: i32, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let (path, db) = open_folder(dir, partition)?;
    db.get(key).map(|value| value.map(Bytes::from)).map_err(|e| io(&path, e))
}

/// Where the store of a partition lies in the state folder.
fn folder_of(dir: &Path, partition: i32) -> PathBuf {
    dir.join(format!("p-{partition:04}"))
}

fn open_folder(dir: &Path, partition: i32) -> Result<(PathBuf, DB), StoreError> {
    let path = folder_of(dir, partition);
    let db = DB::open_for_read_only(&Options::default(), &path, false).map_err(|e| io(&path, e))?;
    Ok((path, db))
}

impl RocksStores {
    /// Claims the folder (creating it if need be).
    pub fn open(dir: impl AsRef<Path>, identity: &Identity) -> Result<RocksStores, StoreError> {
        RocksStores::with_budget(dir, identity, Budget::default())
    }

    /// The same with limits of one's own.
    pub fn with_budget(
        dir: impl AsRef<Path>,
        identity: &Identity,
        budget: Budget,
    ) -> Result<RocksStores, StoreError> {
        let folder = Arc::new(Folder::claim(dir.as_ref(), identity)?);
        let memory = Memory::new(budget);
        let options = options(budget, &memory);
        let restore_options = restore_options(&options, &memory);
        Ok(RocksStores { folder, options, restore_options, memory })
    }

    /// What all stores of the process hold in memory.
    pub fn memory(&self) -> StoreMemory {
        self.memory.now()
    }

    /// Deletes the store of a partition that cannot be opened. It is only a cache: it is restored from the changelog.
    pub fn wipe(&self, partition: i32) -> Result<(), StoreError> {
        let path = self.path_of(partition);
        remove(&path).map_err(|e| io(&path, e))
    }

    fn path_of(&self, partition: i32) -> PathBuf {
        folder_of(&self.folder.path, partition)
    }

    /// The store of a partition, with what only tests and tools need.
    pub fn open_rocks(&self, partition: i32) -> Result<RocksStore, StoreError> {
        let path = self.path_of(partition);
        let db = open_db(&self.options, &path)?;
        let store = RocksStore {
            db: Some(Arc::new(db)),
            path,
            options: self.options.clone(),
            restore_options: self.restore_options.clone(),
            loading: Loading::default(),
            poisoned: None,
            last_flush: Instant::now(),
            readers: self.memory.readers(),
            _folder: Arc::clone(&self.folder),
        };
        store.tell_memory();
        Ok(store)
    }
}

impl Stores for RocksStores {
    fn open(&self, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.open_rocks(partition)?))
    }
}

/// How files are laid out, but for their filters.
fn table(memory: &Memory) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&memory.cache);
    table.set_block_size(16 << 10);
    table.set_cache_index_and_filter_blocks(true);
    // Filter and index in small pieces: the cache has 64 shards, and a filter of millions of keys in one piece does not
    // fit into a shard. Each look-up then read megabytes again, 90 % of a lane's CPU with a million instances.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

/// Made once: every store of the process has a copy that shares cache and write buffers with all others.
fn options(budget: Budget, memory: &Memory) -> Options {
    let mut table = table(memory);
    // Files that merge others have Ribbon filters, which take 30 % less memory and more time to build.
    table.set_hybrid_ribbon_filter(FILTER_BITS, 1);
    let mut o = Options::default();
    o.create_if_missing(true);
    o.set_block_based_table_factory(&table);
    o.set_write_buffer_manager(&memory.write_buffers);
    o.set_write_buffer_size(budget.write_buffer_bytes);
    o.set_max_write_buffer_number(4);
    // Absent keys are the common case: every start asks for its id first.
    o.set_memtable_whole_key_filtering(true);
    o.set_memtable_prefix_bloom_ratio(0.02);
    o.set_compression_type(DBCompressionType::Lz4);
    o.set_atomic_flush(true);
    o.set_max_open_files(256);
    o.set_max_background_jobs(2);
    o.set_log_level(LogLevel::Warn);
    o.set_keep_log_file_num(2);
    o.set_max_log_file_size(1 << 20);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o
}

/// The files of a restore are merged soon: they have Bloom filters, which are quick to build.
fn restore_options(live: &Options, memory: &Memory) -> Options {
    let mut table = table(memory);
    table.set_bloom_filter(FILTER_BITS, false);
    let mut o = live.clone();
    o.set_block_based_table_factory(&table);
    o
}

/// Compaction writes all files anew. Unless told so, RocksDB keeps the filters and blocks of those that are gone in the cache
/// until it is full. (300 is what its authors recommend; the setting has no function of its own in the `rocksdb` crate.)
const FORGET_DELETED_FILES: (&str, &str) = ("uncache_aggressiveness", "300");

fn open_db(options: &Options, path: &Path) -> Result<DB, StoreError> {
    let db = DB::open(options, path).map_err(|e| io(path, e))?;
    let settings = [&[FORGET_DELETED_FILES], load::LIVE].concat();
    db.set_options(&settings).map_err(|e| io(path, e))?;
    Ok(db)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn unlogged() -> WriteOptions {
    let mut w = WriteOptions::default();
    w.disable_wal(true);
    w
}

/// The state of one lane in RocksDB. Dropping it flushes.
pub struct RocksStore {
    /// `None` only inside and after a failed `wipe`.
    db: Option<Arc<DB>>,
    path: PathBuf,
    options: Options,
    restore_options: Options,
    loading: Loading,
    poisoned: Option<String>,
    last_flush: Instant,
    readers: Arc<AtomicUsize>,
    /// The folder stays locked as long as a store of it lives.
    _folder: Arc<Folder>,
}

impl RocksStore {
    fn db(&self) -> Result<&DB, StoreError> {
        assert!(!self.loading.is_under_way(), "nothing may be read or written before the store is settled");
        self.db
            .as_deref()
            .ok_or_else(|| io(&self.path, "it could not be opened again after a wipe; restart the lane"))
    }

    fn io(&self, e: impl std::fmt::Display) -> StoreError {
        io(&self.path, e)
    }

    /// Every key and value, with the reserved one, in key order: to compare stores byte by byte.
    pub fn dump(&self) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.db()?
            .iterator(IteratorMode::Start)
            .map(|e| e.map(|(k, v)| (Bytes::from(k), Bytes::from(v))).map_err(|e| self.io(e)))
            .collect()
    }

    /// Writes what is in memory to disk and waits for it.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db()?.flush().map_err(|e| self.io(e))
    }

    fn check_sound(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            Some(cause) => Err(StoreError::Poisoned { path: self.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn poison_after(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(e) = &done {
            self.poisoned = Some(e.to_string());
        }
        done
    }

    /// For whoever asks: a store is open on its lane's thread only.
    fn tell_memory(&self) {
        let readers =
            self.db.as_ref().map(|db| db.property_int_value(properties::ESTIMATE_TABLE_READERS_MEM));
        // An estimate that cannot be had is no reason to stop.
        if let Some(Ok(Some(bytes))) = readers {
            self.readers.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
        }
    }

    /// Begins a flush from time to time; RocksDB does it in the background.
    fn flush_sometimes(&mut self) {
        if self.last_flush.elapsed() < FLUSH_INTERVAL {
            return;
        }
        self.tell_memory();
        self.last_flush = Instant::now();
        let mut how = FlushOptions::default();
        how.set_wait(false);
        if let Some(db) = &self.db
            && let Err(e) = db.flush_opt(&how)
        {
            // Nothing is lost: the tail on the changelog gets longer. A real fault shows in the next write.
            tracing::warn!(path = %self.path.display(), error = %e, "background flush");
        }
    }
}

impl Store for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.db()?.get_pinned(key).map_err(|e| self.io(e))?;
        Ok(found.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let start = prefix.max(from);
        let mut read = ReadOptions::default();
        // An upper bound, so that the iterator does not crawl over tombstones behind the prefix.
        read.set_iterate_range(PrefixRange(prefix));
        let entries = self.db()?.iterator_opt(IteratorMode::From(start, Direction::Forward), read);
        let mut found = Vec::new();
        for e in entries {
            if found.len() == limit {
                break;
            }
            let (k, v) = e.map_err(|e| self.io(e))?;
            if !k.starts_with(prefix) {
                break;
            }
            if *k != *OFFSET_KEY {
                found.push((Bytes::from(k), Bytes::from(v)));
            }
        }
        Ok(found)
    }

    fn apply(&mut self, writes: &[Write], next_changelog_offset: i64) -> Result<(), StoreError> {
        self.settle()?;
        self.check_sound()?;
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            assert!(**key != *OFFSET_KEY, "no table may write the reserved key");
            match value {
                Some(v) => batch.put(key, v),
                None => batch.delete(key),
            }
        }
        batch.put(OFFSET_KEY, next_changelog_offset.to_be_bytes());
        let done = self.db().and_then(|db| db.write_opt(batch, &unlogged()).map_err(|e| self.io(e)));
        self.poison_after(done)?;
        self.flush_sometimes();
        Ok(())
    }

    /// A large batch becomes one sorted file, on a thread of its own, while the next is gathered.
    fn load(&mut self, batch: Batch, next_changelog_offset: i64) -> Result<(), StoreError> {
        if batch.len() < load::FILE_WRITES_MIN {
            return self.apply(&batch.writes(), next_changelog_offset);
        }
        self.check_sound()?;
        let db = match &self.db {
            Some(db) => Arc::clone(db),
            None => return self.db().map(drop),
        };
        let job = load::Job {
            db,
            options: self.restore_options.clone(),
            path: self.path.clone(),
            batch,
            next_changelog_offset,
        };
        let begun = self.loading.begin(job);
        self.poison_after(begun)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        if !self.loading.is_under_way() {
            return Ok(());
        }
        let done = self.loading.end();
        self.tell_memory();
        self.poison_after(done)
    }

    fn next_changelog_offset(&self) -> Result<i64, StoreError> {
        match self.get(OFFSET_KEY)? {
            None => Ok(0),
            Some(b) => <[u8; 8]>::try_from(&b[..]).map(i64::from_be_bytes).map_err(|_| {
                self.io(format!("the next changelog offset has {} bytes; wipe the store", b.len()))
            }),
        }
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        // Whatever became of it, it goes.
        drop(self.loading.end());
        self.db = None;
        remove(&self.path).map_err(|e| self.io(e))?;
        self.db = Some(Arc::new(open_db(&self.options, &self.path)?));
        self.poisoned = None;
        self.last_flush = Instant::now();
        Ok(())
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        if self.poisoned.is_some() || self.loading.end().is_err() {
            return;
        }
        if let Some(db) = &self.db
            && let Err(e) = db.flush()
        {
            // The next owner replays the tail from the changelog.
            tracing::warn!(path = %self.path.display(), error = %e, "flush while closing");
        }
    }
}

#[cfg(test)]
mod tests;
