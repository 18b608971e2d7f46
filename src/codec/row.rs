//! Values of rows. What kind a value is follows from its key.

use super::{CodecError, pack, unpack};
use crate::core::state::{Key, Row};
use bytes::Bytes;

/// The bytes of a row.
pub fn encode(row: &Row) -> Bytes {
    Bytes::from(match row {
        Row::Position(v) => pack(v),
        Row::Instance(v) => pack(v),
        Row::Turn(v) => pack(v),
        Row::Step(v) => pack(v),
        Row::Timer(v) => pack(v),
        Row::Signal(v) => pack(v),
        Row::Inbox(v) => pack(v),
    })
}

/// The row of bytes, by its key.
pub fn decode(key: &Key, bytes: &[u8]) -> Result<Row, CodecError> {
    Ok(match key {
        Key::Position => Row::Position(unpack("position row", bytes)?),
        Key::Instance(_) => Row::Instance(unpack("instance row", bytes)?),
        Key::Turn(..) => Row::Turn(unpack("turn row", bytes)?),
        Key::Step(..) => Row::Step(unpack("step row", bytes)?),
        Key::Timer(..) => Row::Timer(unpack("timer row", bytes)?),
        Key::Signal(..) => Row::Signal(unpack("signal row", bytes)?),
        Key::Inbox(..) => Row::Inbox(unpack("inbox row", bytes)?),
    })
}
