//! State as the core sees it.

use crate::core::history::{History, MissingTurn};
use crate::core::ids::InstanceKey;
use crate::core::state::{Key, Row};

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

/// The first `turns` turns of an instance's history, in order.
///
/// # Errors
/// One of them is not there: what comes after it says nothing about the instance.
pub fn history(tables: &mut dyn Tables, key: &InstanceKey, turns: u32) -> History {
    let turn = |number| match tables.get(&Key::Turn(key.clone(), number)) {
        Some(Row::Turn(turn)) => Ok(turn),
        _ => Err(MissingTurn(number)),
    };
    (0..turns).map(turn).collect()
}
