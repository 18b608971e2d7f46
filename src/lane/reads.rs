//! Rows that were read from the store and will be wanted again before the store changes.

use crate::core::state::{Key, Row};
use foldhash::HashMap;

/// Bytes of encoded rows that are kept; beyond it all are dropped.
const BYTES_MAX: usize = 4 << 20;
/// The same as a number of rows.
const ROWS_MAX: usize = 10_000;

/// Rows as the store has them.
#[derive(Default)]
pub(super) struct Reads {
    rows: HashMap<Key, Row>,
    bytes: usize,
}

impl Reads {
    /// Keeps a row, which has so many bytes in the store.
    pub(super) fn keep(&mut self, key: Key, row: Row, bytes: usize) {
        if self.bytes + bytes > BYTES_MAX || self.rows.len() >= ROWS_MAX {
            self.clear();
        }
        self.bytes += bytes;
        self.rows.insert(key, row);
    }

    /// A row that is kept. It stays: a history is read to replay the code, and again when the instance ends.
    pub(super) fn get(&self, key: &Key) -> Option<Row> {
        self.rows.get(key).cloned()
    }

    /// The store changes.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }
}
