//! Keyed state on disk. `rocks` is the only place that imports `rocksdb`.
//!
//! A store holds what the changelog says up to an offset, and the offset is in the same batch as the writes: it may
//! lag the log, it never leads it.

mod batch;
#[cfg(feature = "engine")]
mod identity;
pub mod memory;
#[cfg(feature = "engine")]
pub mod rocks;

pub use batch::Batch;
#[cfg(feature = "engine")]
pub use identity::Identity;

use bytes::Bytes;
use std::path::PathBuf;

/// One write of a batch: key and value, or key and `None` to delete.
pub type Write = (Bytes, Option<Bytes>);

/// What went wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the folder open.
    #[error(
        "the state folder {path} is in use by another process ({detail}); give each process its own `state_dir`"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who, as far as known.
        detail: String,
    },
    /// The folder belongs to something else: another app, another partition count, another cluster, another format.
    #[error(
        "the state folder {path} belongs to {found}, not to {expected}; choose another `state_dir`, or delete it: it is only a cache and is restored from the changelog"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What the identity file says.
        found: String,
        /// What this process is.
        expected: String,
    },
    /// A write failed earlier. The store must be closed and rebuilt; nothing is written to it any more.
    #[error("the store at {path} is poisoned by an earlier failed write: {cause}")]
    Poisoned {
        /// The folder.
        path: PathBuf,
        /// The first error.
        cause: String,
    },
    /// Disk full, permission, corruption.
    #[error("the store at {path}: {cause}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The error as the system words it.
        cause: String,
    },
}

/// The state of one lane on disk.
pub trait Store: Send {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Up to `limit` entries with the prefix, in key order, from `from` on (inclusive).
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
    /// Applies all writes and the next changelog offset in one atomic batch. After a failure the store is poisoned.
    fn apply(&mut self, writes: &[Write], next_changelog_offset: i64) -> Result<(), StoreError>;
    /// The same for a batch of any size; of several writes to one key the last counts. It may go on when this returns:
    /// nothing may be read before [`Store::settle`]. Batches become visible in order.
    fn load(&mut self, batch: Batch, next_changelog_offset: i64) -> Result<(), StoreError> {
        self.apply(&batch.writes(), next_changelog_offset)
    }
    /// Waits until everything that was loaded is there. If one could not be, the store is poisoned.
    fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// The changelog offset from which the store has to be brought up to date; 0 if it is empty.
    fn next_changelog_offset(&self) -> Result<i64, StoreError>;
    /// Removes everything, also a poisoned state, so that it can be restored from offset 0.
    fn wipe(&mut self) -> Result<(), StoreError>;
}

/// Opens the stores of the lanes that a process owns.
pub trait Stores: Send + Sync + 'static {
    /// Opens (or creates) the store of a partition.
    fn open(&self, partition: i32) -> Result<Box<dyn Store>, StoreError>;
}
