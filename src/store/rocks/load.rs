//! Large batches of a restore become sorted files, which RocksDB takes over as they are, with the offset in them: nothing
//! goes through a memtable, and either all of a batch is there or nothing.
//!
//! One batch is sorted and written while the next is read: on one thread the two took turns.

use super::super::{Batch, StoreError};
use super::{OFFSET_KEY, io};
use rocksdb::{DB, IngestExternalFileOptions, Options, SstFileWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Fewer writes are cheaper through a memtable than as a file of their own.
pub(super) const FILE_WRITES_MIN: usize = 20_000;
/// Settings of RocksDB while a store is live. Every new file overlaps all of the first level, as each checkpoint writes the
/// position and the next offset, the least and the greatest key: so that level is small, and what lies below it is left
/// alone. Four files above it are RocksDB's default.
pub(super) const LIVE: &[(&str, &str)] = &[
    ("level0_file_num_compaction_trigger", "4"),
    ("max_bytes_for_level_base", "67108864"),
    ("target_file_size_base", "16777216"),
];
/// The same during a restore. Keys come in no order, so each file spans all of them, and each merge rewrites everything
/// that is there: with four files it took as long as reading the log, and with a small first level a restore of ten million
/// rows took half as long again. Sixteen are below the twenty at which RocksDB slows down writes; 256 and 64 MB are its
/// defaults.
const LOADING: &[(&str, &str)] = &[
    ("level0_file_num_compaction_trigger", "16"),
    ("max_bytes_for_level_base", "268435456"),
    ("target_file_size_base", "67108864"),
];

/// One batch on its way to the disk.
pub(super) struct Job {
    pub(super) db: Arc<DB>,
    pub(super) options: Options,
    /// Of the store.
    pub(super) path: PathBuf,
    pub(super) batch: Batch,
    pub(super) next_changelog_offset: i64,
}

/// The batch that is under way, if one is.
#[derive(Default)]
pub(super) struct Loading {
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    db: Option<Arc<DB>>,
    path: PathBuf,
}

impl Loading {
    pub(super) fn is_under_way(&self) -> bool {
        self.db.is_some()
    }

    /// Begins with the next batch as soon as the last one is there.
    pub(super) fn begin(&mut self, job: Job) -> Result<(), StoreError> {
        if self.db.is_none() {
            job.db.set_options(LOADING).map_err(|e| io(&job.path, e))?;
            self.db = Some(Arc::clone(&job.db));
            self.path.clone_from(&job.path);
        }
        self.join()?;
        let path = job.path.clone();
        let thread = std::thread::Builder::new().name("restore-writer".into()).spawn(move || job.ingest());
        self.thread = Some(thread.map_err(|e| io(&path, e))?);
        Ok(())
    }

    /// Waits for the last batch; after that the store is as any other.
    pub(super) fn end(&mut self) -> Result<(), StoreError> {
        let done = self.join();
        match self.db.take() {
            Some(db) => {
                let back = db.set_options(LIVE).map_err(|e| io(&self.path, e));
                done.and(back)
            }
            None => done,
        }
    }

    fn join(&mut self) -> Result<(), StoreError> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(io(&self.path, "the thread that writes a restore panicked")),
        }
    }
}

impl Job {
    fn ingest(self) -> Result<(), StoreError> {
        // Within the store's folder, so that whoever wipes that leaves nothing behind.
        let path = self.path.join("restore.load");
        let done = self.ingest_by(&path);
        if done.is_err() {
            // It may not even be there; and if the disk is full, the next attempt needs its room.
            drop(std::fs::remove_file(&path));
        }
        done
    }

    fn ingest_by(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |e: rocksdb::Error| io(&self.path, e);
        let mut file = SstFileWriter::create(&self.options);
        file.open(path).map_err(failed)?;
        self.batch
            .in_order(|key, value| {
                assert!(*key != *OFFSET_KEY, "no table may write the reserved key");
                match value {
                    Some(value) => file.put(key, value),
                    None => file.delete(key),
                }
            })
            .map_err(failed)?;
        // Behind all others, as no table's keys begin with 0xFF.
        file.put(OFFSET_KEY, self.next_changelog_offset.to_be_bytes()).map_err(failed)?;
        file.finish().map_err(failed)?;
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        self.db.ingest_external_file_opts(&how, vec![path]).map_err(failed)
    }
}
