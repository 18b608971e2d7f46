//! Records of the journal.

use super::{CodecError, SECOND, pack_version_into, unpack_second};
use crate::core::fact::JournalRecord;
use bytes::Bytes;

/// The bytes of a journal record.
pub fn encode(record: &JournalRecord) -> Bytes {
    let mut out = Vec::with_capacity(64);
    pack_version_into(&mut out, SECOND, record);
    Bytes::from(out)
}

/// The journal record of bytes. Those of version 1 are the same, but mean something else: see [`is_current`].
pub fn decode(bytes: &[u8]) -> Result<JournalRecord, CodecError> {
    unpack_second("journal record", bytes, <[u8]>::to_vec)
}

/// Whether its facts were decided by the rules of today, which its version stands for, so that they may be applied once more.
pub fn is_current(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_version_1_is_read_but_not_current() {
        let record = JournalRecord { epoch: 3, seq: 7, next_command: 40, at: 1_000, facts: Vec::new() };
        let now = encode(&record);
        let then = [&[1], &now[1..]].concat();
        assert_eq!((decode(&now), is_current(&now)), (Ok(record.clone()), true));
        assert_eq!((decode(&then), is_current(&then)), (Ok(record), false));
        let later = decode(&[SECOND + 1]).unwrap_err().to_string();
        assert!(later.contains("format version 3 is not known"), "{later}");
    }
}
