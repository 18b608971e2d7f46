//! The state of a lane as of the inputs applied: what is not yet committed, over what is being committed, over the
//! store. The store never sees a write whose transaction has not committed.

use super::reads::Reads;
use crate::codec::{key, row};
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Row};
use crate::core::tables::Tables;
use crate::store::{Store, StoreError, Write};
use bytes::Bytes;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::ops::{ControlFlow, Range};

/// Rows in memory over a store.
pub(super) struct Overlay {
    store: Box<dyn Store>,
    /// Written since the last checkpoint began.
    active: HashMap<Key, Written>,
    /// Written by the checkpoints that are under way, the oldest first.
    frozen: VecDeque<Frozen>,
    /// What the store was asked for lately.
    reads: Reads,
    failed: Option<String>,
}

/// What was written to a key.
struct Written {
    /// `None` deletes a row that exists below.
    row: Option<Row>,
    /// It is nowhere below: if it dies before the next checkpoint, it leaves nothing on the changelog. Without knowing
    /// that, every delete would have to look into the store, for a row that is mostly not there.
    born: bool,
}

struct Frozen {
    rows: HashMap<Key, Written>,
    writes: Vec<Write>,
}

/// How many rows of the store one read of a scan takes.
const SCAN_PAGE: usize = 1_000;
/// What a key and its row may have, for a first guess.
const ROW_BYTES: usize = 128;

impl Overlay {
    pub(super) fn new(store: Box<dyn Store>) -> Self {
        Overlay {
            store,
            active: HashMap::default(),
            frozen: VecDeque::new(),
            reads: Reads::default(),
            failed: None,
        }
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
        // The next one will be of this size; to grow there again would move every row several times.
        let next = HashMap::with_capacity_and_hasher(self.active.len(), RandomState::default());
        let rows = std::mem::replace(&mut self.active, next);
        let writes = encode(&rows);
        self.frozen.push_back(Frozen { rows, writes });
        self.frozen.back().map_or(&[], |frozen| &frozen.writes)
    }

    /// The oldest checkpoint is committed: its writes go to the store, with the offset of the changelog behind it.
    pub(super) fn committed(&mut self, next_changelog_offset: i64) -> Result<(), StoreError> {
        self.reads.clear();
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
            return found.row.clone();
        }
        if let Some(kept) = self.reads.get(key) {
            return Some(kept);
        }
        let read = self.store.get(&key::encode(key)).map_err(|e| e.to_string());
        let decoded = read.and_then(|bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let row = row::decode(key, &bytes).map_err(|e| e.to_string())?;
            if let Key::Turns(..) = key {
                self.reads.keep(key.clone(), row.clone(), bytes.len());
            }
            Ok(Some(row))
        });
        decoded.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            None
        })
    }

    /// Over a row that was written before, or over the tombstone of one that is still below, nothing is born.
    fn write(&mut self, key: Key, row: Row, born: bool) {
        let row = Some(row);
        match self.active.entry(key) {
            Entry::Occupied(mut written) => written.get_mut().row = row,
            Entry::Vacant(new) => drop(new.insert(Written { row, born })),
        }
    }

    /// What lies over the store, the newest first: what one layer says of a key hides what those after it say.
    fn layers(&self) -> impl Iterator<Item = &HashMap<Key, Written>> {
        std::iter::once(&self.active).chain(self.frozen.iter().rev().map(|frozen| &frozen.rows))
    }

    /// All rows whose key has the tag, until `each` breaks it off.
    pub(super) fn scan(
        &self,
        tag: u8,
        mut each: impl FnMut(Key, Row) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut from = vec![tag];
        loop {
            let page = self.store.scan(&[tag], &from, SCAN_PAGE).map_err(|e| e.to_string())?;
            let full = page.len() == SCAN_PAGE;
            for (bytes, value) in page {
                from.clear();
                from.extend_from_slice(&bytes);
                from.push(0);
                let key = key::decode(&bytes).map_err(|e| e.to_string())?;
                if !self.layers().any(|rows| rows.contains_key(&key)) {
                    let row = row::decode(&key, &value).map_err(|e| e.to_string())?;
                    if each(key, row).is_break() {
                        return Ok(());
                    }
                }
            }
            if !full {
                break;
            }
        }
        for (depth, layer) in self.layers().enumerate() {
            for (key, written) in layer {
                let hidden = || self.layers().take(depth).any(|newer| newer.contains_key(key));
                if let Some(row) = &written.row
                    && key::encode(key).first() == Some(&tag)
                    && !hidden()
                    && each(key.clone(), row.clone()).is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The writes of a checkpoint, in the order of their keys: the same state is the same checkpoint, whatever order a hash
/// map has today; and RocksDB likes order. All lie in one piece of memory, as an allocation for each would be felt.
fn encode(rows: &HashMap<Key, Written>) -> Vec<Write> {
    let mut buffer = Vec::with_capacity(rows.len() * ROW_BYTES);
    let mut places: Vec<Place> = rows
        .iter()
        .map(|(key, Written { row, .. })| {
            let begin = buffer.len();
            key::encode_into(&mut buffer, key);
            let key = begin..buffer.len();
            if let Some(row) = row {
                row::encode_into(&mut buffer, row);
            }
            Place { value: row.is_some().then_some(key.end..buffer.len()), key }
        })
        .collect();
    places.sort_unstable_by(|a, b| buffer[a.key.clone()].cmp(&buffer[b.key.clone()]));
    let buffer = Bytes::from(buffer);
    places.into_iter().map(|at| (buffer.slice(at.key), at.value.map(|value| buffer.slice(value)))).collect()
}

/// Where a key and its value are.
struct Place {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

impl Tables for Overlay {
    fn get(&mut self, key: &Key) -> Option<Row> {
        match self.active.get(key) {
            Some(written) => written.row.clone(),
            None => self.below(key),
        }
    }

    fn put(&mut self, key: Key, row: Row) {
        self.write(key, row, false);
    }

    fn create(&mut self, key: Key, row: Row) {
        debug_assert!(self.failed.is_some() || self.get(&key).is_none(), "{key:?} was used before");
        self.write(key, row, true);
    }

    fn delete(&mut self, key: &Key) {
        match self.active.get_mut(key) {
            Some(written) if written.born => drop(self.active.remove(key)),
            Some(written) => written.row = None,
            None => drop(self.active.insert(key.clone(), Written { row: None, born: false })),
        }
    }

    fn take(&mut self, key: &Key) -> Option<Row> {
        match self.active.get_mut(key) {
            Some(written) if written.born => self.active.remove(key).and_then(|written| written.row),
            Some(written) => written.row.take(),
            None => {
                let row = self.below(key)?;
                self.active.insert(key.clone(), Written { row: None, born: false });
                Some(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::{Turn, TurnInput};
    use crate::core::ids::InstanceKey;
    use crate::store::Stores;
    use crate::store::memory::MemoryStores;

    fn turn(number: u32) -> Key {
        Key::Turns(InstanceKey::new("w", "a"), number)
    }

    fn row(at: u64) -> Row {
        Row::Turns(vec![Turn { at, input: TurnInput::Cancel, asked: Vec::new() }])
    }

    fn empty() -> Overlay {
        Overlay::new(MemoryStores::default().open(0).unwrap())
    }

    /// Commits what was written; the keys that it wrote and whether each has a row.
    fn checkpoint(overlay: &mut Overlay) -> Vec<(Key, bool)> {
        let writes = overlay.freeze().iter().map(|(k, v)| (key::decode(k).unwrap(), v.is_some())).collect();
        overlay.committed(1).unwrap();
        writes
    }

    #[test]
    fn a_row_that_is_born_and_dies_between_two_checkpoints_leaves_nothing() {
        let mut overlay = empty();
        overlay.create(turn(0), row(1));
        overlay.put(turn(0), row(2));
        overlay.delete(&turn(0));
        assert_eq!(overlay.get(&turn(0)), None);
        assert_eq!(checkpoint(&mut overlay), []);
    }

    #[test]
    fn a_row_that_a_checkpoint_has_is_deleted_by_the_next_one() {
        let mut overlay = empty();
        overlay.create(turn(0), row(1));
        overlay.freeze();
        overlay.delete(&turn(0));
        overlay.committed(1).unwrap();
        assert_eq!(overlay.get(&turn(0)), None);
        assert_eq!(checkpoint(&mut overlay), [(turn(0), false)]);
        assert_eq!(overlay.get(&turn(0)), None);
    }

    #[test]
    fn a_row_is_taken_from_wherever_it_is_and_is_gone_then() {
        let mut overlay = empty();
        overlay.create(turn(0), row(0));
        checkpoint(&mut overlay);
        overlay.create(turn(1), row(1));
        overlay.freeze();
        overlay.create(turn(2), row(2));
        for number in 0..3 {
            assert_eq!(overlay.take(&turn(number)), Some(row(u64::from(number))));
            assert_eq!(overlay.take(&turn(number)), None);
        }
        overlay.committed(1).unwrap();
        assert_eq!(checkpoint(&mut overlay), [(turn(0), false), (turn(1), false)]);
    }

    #[test]
    fn a_scan_sees_the_newest_of_each_row_while_checkpoints_are_under_way() {
        let mut overlay = empty();
        for number in 0..3 {
            overlay.create(turn(number), row(0));
        }
        checkpoint(&mut overlay);
        overlay.put(turn(0), row(1));
        overlay.delete(&turn(1));
        overlay.create(turn(3), row(1));
        overlay.create(turn(4), row(1));
        overlay.freeze();
        overlay.put(turn(0), row(2));
        overlay.delete(&turn(3));
        overlay.freeze();
        overlay.put(turn(0), row(3));
        let mut seen = Vec::new();
        let tag = *key::encode(&turn(0)).first().unwrap();
        let each = |key, row| {
            seen.push((key::encode(&key), row));
            ControlFlow::Continue(())
        };
        overlay.scan(tag, each).unwrap();
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [(turn(0), row(3)), (turn(2), row(0)), (turn(4), row(1))];
        assert_eq!(seen, expected.map(|(key, row)| (key::encode(&key), row)));
    }

    #[test]
    fn a_row_that_was_read_is_forgotten_when_a_checkpoint_changes_it() {
        let mut overlay = empty();
        overlay.create(turn(0), row(1));
        checkpoint(&mut overlay);
        assert_eq!(overlay.get(&turn(0)), Some(row(1)));
        overlay.put(turn(0), row(2));
        assert_eq!(checkpoint(&mut overlay), [(turn(0), true)]);
        assert_eq!(overlay.get(&turn(0)), Some(row(2)));
    }
}
