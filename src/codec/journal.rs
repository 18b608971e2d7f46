//! Records of the journal.

use super::{CodecError, VERSION as FIRST, pack_version_into, parse, split_version, unknown_version};
use crate::core::fact::JournalRecord;
use bytes::Bytes;

/// Version of the rules by which facts are decided, and so of what a record means: since this one the first call of a
/// workflow goes through the log. The bytes are those of version 1.
const VERSION: u8 = 2;
const WHAT: &str = "journal record";

/// The bytes of a journal record.
pub fn encode(record: &JournalRecord) -> Bytes {
    let mut out = Vec::with_capacity(64);
    pack_version_into(&mut out, VERSION, record);
    Bytes::from(out)
}

/// The journal record of bytes.
pub fn decode(bytes: &[u8]) -> Result<JournalRecord, CodecError> {
    match split_version(WHAT, bytes)? {
        (FIRST | VERSION, record) => parse(WHAT, record),
        (version, _) => unknown_version(WHAT, version),
    }
}

/// Whether its facts were decided by the rules of today, so that they may be applied once more.
pub fn is_current(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
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
        let later = decode(&[VERSION + 1]).unwrap_err().to_string();
        assert!(later.contains("format version 3 is not known"), "{later}");
    }
}
