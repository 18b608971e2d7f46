//! Records of the journal.

use super::{CodecError, pack, unpack};
use crate::core::fact::JournalRecord;
use bytes::Bytes;

/// The bytes of a journal record.
pub fn encode(record: &JournalRecord) -> Bytes {
    Bytes::from(pack(record))
}

/// The journal record of bytes.
pub fn decode(bytes: &[u8]) -> Result<JournalRecord, CodecError> {
    unpack("journal record", bytes)
}
