//! Values of rows. What kind a value is follows from its key.

use super::{CodecError, pack_into, unpack};
use crate::core::state::{Key, Row};
use bytes::Bytes;

/// The bytes of a row.
pub fn encode(row: &Row) -> Bytes {
    let mut out = Vec::with_capacity(128);
    encode_into(&mut out, row);
    Bytes::from(out)
}

/// The same, behind what is there.
pub fn encode_into(out: &mut Vec<u8>, row: &Row) {
    match row {
        Row::Position(v) => pack_into(out, v),
        Row::Instance(v) => pack_into(out, v),
        Row::Turn(v) => pack_into(out, v),
        Row::Step(v) => pack_into(out, v),
        Row::Timer(v) => pack_into(out, v),
        Row::Signal(v) => pack_into(out, v),
        Row::Inbox(v) => pack_into(out, v),
    }
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
