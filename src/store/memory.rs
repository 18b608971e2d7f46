//! Stores in memory, for tests. A store keeps its content when it is dropped and opened again, as a disk would.

use super::{Store, StoreError, Stores, Write};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Content {
    entries: BTreeMap<Bytes, Bytes>,
    next_changelog_offset: i64,
}

/// The stores of a test's process.
#[derive(Default)]
pub struct MemoryStores {
    lanes: Mutex<HashMap<i32, MemoryStore>>,
}

impl Stores for MemoryStores {
    fn open(&self, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(lanes.entry(partition).or_default().clone()))
    }
}

/// The state of one lane in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

impl MemoryStore {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every key and value in key order.
    pub fn dump(&self) -> Vec<(Bytes, Bytes)> {
        self.content().entries.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content().entries.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let start = Bytes::copy_from_slice(prefix.max(from));
        let content = self.content();
        let found = content.entries.range(start..).take_while(|(k, _)| k.starts_with(prefix)).take(limit);
        Ok(found.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn apply(&mut self, writes: &[Write], next_changelog_offset: i64) -> Result<(), StoreError> {
        let mut content = self.content();
        for (key, value) in writes {
            match value {
                Some(v) => content.entries.insert(key.clone(), v.clone()),
                None => content.entries.remove(key),
            };
        }
        content.next_changelog_offset = next_changelog_offset;
        Ok(())
    }

    fn next_changelog_offset(&self) -> Result<i64, StoreError> {
        Ok(self.content().next_changelog_offset)
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        *self.content() = Content::default();
        Ok(())
    }
}
