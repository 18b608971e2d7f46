//! State as the core sees it.

use crate::core::history::{History, MissingTurn};
use crate::core::ids::InstanceKey;
use crate::core::state::{Instance, Key, Row, count};
use std::iter;

/// Keyed rows, as of the inputs applied so far. The core is their only writer.
///
/// Reading cannot fail here: an implementation that cannot read remembers that, answers `None`, and the lane stops
/// before anything that the core then decides can leave. So the core stays free of outside failures.
pub trait Tables {
    /// The row of a key.
    fn get(&mut self, key: &Key) -> Option<Row>;
    /// Writes a row.
    fn put(&mut self, key: Key, row: Row);
    /// Writes a row whose key was never used before: nobody has to look whether it is anywhere already.
    fn create(&mut self, key: Key, row: Row) {
        self.put(key, row);
    }
    /// Deletes a row; it need not exist.
    fn delete(&mut self, key: &Key);
    /// Deletes a row and returns it.
    fn take(&mut self, key: &Key) -> Option<Row> {
        let row = self.get(key);
        self.delete(key);
        row
    }
}

/// The history of an instance, in order. One that has ended has none any more.
///
/// # Errors
/// One of its turns is not there: what comes after it says nothing about the instance.
pub fn history(tables: &mut dyn Tables, key: &InstanceKey, instance: &Instance) -> History {
    let mut turns = Vec::new();
    if instance.status.has_ended() {
        return Ok(turns);
    }
    for row in turn_rows(key, instance, |row| tables.get(row)) {
        turns.append(&mut row?);
    }
    turns.extend_from_slice(&instance.recent);
    Ok(turns)
}

/// The turns that the row of an instance no longer holds, row by row. After one that is missing it goes on with the next
/// that is there.
pub(super) fn turn_rows(
    key: &InstanceKey,
    instance: &Instance,
    mut row: impl FnMut(&Key) -> Option<Row>,
) -> impl Iterator<Item = History> {
    let end = instance.first_recent();
    let mut next = 0;
    iter::from_fn(move || {
        let first = next;
        (first < end).then(|| match row(&Key::Turns(key.clone(), first)) {
            Some(Row::Turns(turns)) if !turns.is_empty() => {
                next += count(&turns);
                Ok(turns)
            }
            _ => {
                next += 1;
                Err(MissingTurn(first))
            }
        })
    })
}
