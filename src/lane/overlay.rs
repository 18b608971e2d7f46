//! The state of a lane as of the inputs applied: what is not yet committed, over what is being committed, over the
//! store. The store never sees a write whose transaction has not committed.

use super::mutation::{Mutation, mutated};
use crate::codec::{key, row};
use crate::core::state::{Key, Row};
use crate::core::tables::Tables;
use crate::store::{Store, StoreError, Write};
use std::collections::{HashMap, VecDeque};

/// Rows in memory over a store.
pub(super) struct Overlay {
    store: Box<dyn Store>,
    /// Written since the last checkpoint began. `None` deletes a row that exists below.
    active: HashMap<Key, Option<Row>>,
    /// Written by the checkpoints that are under way, the oldest first.
    frozen: VecDeque<Frozen>,
    failed: Option<String>,
}

struct Frozen {
    rows: HashMap<Key, Option<Row>>,
    writes: Vec<Write>,
}

/// How many rows of the store one read of a scan takes.
const SCAN_PAGE: usize = 1_000;

impl Overlay {
    pub(super) fn new(store: Box<dyn Store>) -> Self {
        Overlay { store, active: HashMap::new(), frozen: VecDeque::new(), failed: None }
    }

    /// Rows that the next checkpoint has to write.
    pub(super) fn dirty(&self) -> usize {
        self.active.len()
    }

    /// Why a read failed since the last call. What was decided since is worthless.
    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Closes what was written so far into a checkpoint and returns its writes.
    pub(super) fn freeze(&mut self) -> &[Write] {
        let rows = std::mem::take(&mut self.active);
        let mut writes: Vec<Write> =
            rows.iter().map(|(k, r)| (key::encode(k), r.as_ref().map(row::encode))).collect();
        // The same state is the same checkpoint, whatever order a hash map has today; and RocksDB likes order.
        writes.sort_unstable();
        self.frozen.push_back(Frozen { rows, writes });
        self.frozen.back().map_or(&[], |frozen| &frozen.writes)
    }

    /// The oldest checkpoint is committed: its writes go to the store, with the offset of the changelog behind it.
    pub(super) fn committed(&mut self, next_changelog_offset: i64) -> Result<(), StoreError> {
        match self.frozen.pop_front() {
            Some(_) if mutated(Mutation::OffsetWithoutRows) => self.store.apply(&[], next_changelog_offset),
            Some(frozen) => self.store.apply(&frozen.writes, next_changelog_offset),
            None => Ok(()),
        }
    }

    /// The mistake [`Mutation::StoreBeforeCommit`].
    pub(super) fn write_early(&mut self) {
        if let (Some(frozen), Ok(next)) = (self.frozen.back(), self.store.next_changelog_offset()) {
            drop(self.store.apply(&frozen.writes, next));
        }
    }

    fn below(&mut self, key: &Key) -> Option<Row> {
        if let Some(found) = self.frozen.iter().rev().find_map(|f| f.rows.get(key)) {
            return found.clone();
        }
        let read = self.store.get(&key::encode(key)).map_err(|e| e.to_string());
        let decoded = read.and_then(|bytes| match bytes {
            None => Ok(None),
            Some(bytes) => row::decode(key, &bytes).map(Some).map_err(|e| e.to_string()),
        });
        decoded.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            None
        })
    }

    /// All rows whose key has the tag. Only before the first checkpoint.
    pub(super) fn scan(&self, tag: u8, mut each: impl FnMut(Key, Row)) -> Result<(), String> {
        debug_assert!(self.frozen.is_empty(), "what is being committed is not scanned");
        let mut from = vec![tag];
        loop {
            let page = self.store.scan(&[tag], &from, SCAN_PAGE).map_err(|e| e.to_string())?;
            let full = page.len() == SCAN_PAGE;
            for (bytes, value) in page {
                from.clear();
                from.extend_from_slice(&bytes);
                from.push(0);
                let key = key::decode(&bytes).map_err(|e| e.to_string())?;
                if !self.active.contains_key(&key) {
                    let row = row::decode(&key, &value).map_err(|e| e.to_string())?;
                    each(key, row);
                }
            }
            if !full {
                break;
            }
        }
        for (key, row) in &self.active {
            if let (Some(row), true) = (row, key::encode(key).first() == Some(&tag)) {
                each(key.clone(), row.clone());
            }
        }
        Ok(())
    }
}

impl Tables for Overlay {
    fn get(&mut self, key: &Key) -> Option<Row> {
        match self.active.get(key) {
            Some(row) => row.clone(),
            None => self.below(key),
        }
    }

    fn put(&mut self, key: Key, row: Row) {
        self.active.insert(key, Some(row));
    }

    fn delete(&mut self, key: &Key) {
        // A row that was born and dies between two checkpoints leaves nothing on the changelog.
        if self.below(key).is_some() {
            self.active.insert(key.clone(), None);
        } else {
            self.active.remove(key);
        }
    }
}
