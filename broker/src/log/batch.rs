//! Record batch format 2: the header only. Offsets of the fields are those of the Kafka protocol guide.
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Everything from here on is covered by the checksum; base offset and leader epoch are not, which is what
/// lets a broker assign offsets without touching the rest.
const CRC_COVERS_FROM: usize = 21;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const ATTRIBUTE_COMPRESSION: i16 = 0x07;
/// Every record has the time at which the broker took the batch, `max_timestamp`.
const ATTRIBUTE_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;
const MAGIC: i8 = 2;
const CONTROL_TYPE_AT: usize = HEADER_BYTES + 8;
const CONTROL_COMMIT: u8 = 1;

/// The fields of a batch that the broker decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    pub(crate) last_offset_delta: i32,
    pub(crate) attributes: i16,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    /// `Some(true)` commit, `Some(false)` abort, `None` for data.
    pub(crate) marker: Option<bool>,
}

/// Why bytes are not a batch that may enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    TooShort,
    WrongLength,
    WrongMagic,
    WrongChecksum,
    WrongCount,
}

impl BatchHeader {
    /// Reads a header that is already known to be good.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::TooShort);
        }
        let mut b = bytes;
        let base_offset = b.get_i64();
        let length = b.get_i32();
        b.advance(4);
        if b.get_i8() != MAGIC {
            return Err(BatchError::WrongMagic);
        }
        if usize::try_from(length).ok() != Some(bytes.len() - 12) {
            return Err(BatchError::WrongLength);
        }
        b.advance(4);
        let attributes = b.get_i16();
        let control = attributes & ATTRIBUTE_CONTROL != 0;
        Ok(Self {
            base_offset,
            attributes,
            last_offset_delta: b.get_i32(),
            base_timestamp: b.get_i64(),
            max_timestamp: b.get_i64(),
            producer_id: b.get_i64(),
            producer_epoch: b.get_i16(),
            base_sequence: b.get_i32(),
            record_count: b.get_i32(),
            marker: if control {
                bytes.get(CONTROL_TYPE_AT).map(|kind| *kind == CONTROL_COMMIT)
            } else {
                None
            },
        })
    }

    /// Reads and checks a batch that comes from a client.
    pub(crate) fn parse_untrusted(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        let mut stored = &bytes[CRC_COVERS_FROM - 4..];
        if stored.get_u32() != crc32c::crc32c(&bytes[CRC_COVERS_FROM..]) {
            return Err(BatchError::WrongChecksum);
        }
        if header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
            return Err(BatchError::WrongCount);
        }
        Ok(header)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Sequence numbers wrap to 0 after `i32::MAX`, not to a negative number.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    pub(crate) fn compression(&self) -> i16 {
        self.attributes & ATTRIBUTE_COMPRESSION
    }

    /// The broker's time, if that is the time of every record.
    pub(crate) fn append_time(&self) -> Option<i64> {
        (self.attributes & ATTRIBUTE_APPEND_TIME != 0).then_some(self.max_timestamp)
    }

    /// Gives the batch its place and, if there is one, the broker's time instead of the client's.
    pub(crate) fn place(&mut self, base_offset: i64, append_time_ms: Option<i64>) {
        self.base_offset = base_offset;
        self.attributes &= !ATTRIBUTE_APPEND_TIME;
        if let Some(now_ms) = append_time_ms {
            self.attributes |= ATTRIBUTE_APPEND_TIME;
            self.max_timestamp = now_ms;
        }
    }
}

/// The batch as it is stored: the client's bytes with leader epoch 0 and what [`BatchHeader::place`] decided.
pub(crate) fn stored(bytes: &[u8], header: &BatchHeader) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[..8].copy_from_slice(&header.base_offset.to_be_bytes());
    out[12..16].copy_from_slice(&0i32.to_be_bytes());
    let attributes = header.attributes.to_be_bytes();
    let max_timestamp = header.max_timestamp.to_be_bytes();
    if out[ATTRIBUTES_AT..][..2] != attributes || out[MAX_TIMESTAMP_AT..][..8] != max_timestamp {
        out[ATTRIBUTES_AT..][..2].copy_from_slice(&attributes);
        out[MAX_TIMESTAMP_AT..][..8].copy_from_slice(&max_timestamp);
        write_checksum(&mut out);
    }
    out
}

fn write_checksum(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
    batch[CRC_COVERS_FROM - 4..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// A batch with one control record, as KIP-98 wants it at the end of a transaction.
pub(crate) fn end_marker(offset: i64, producer_id: i64, epoch: i16, commit: bool, now_ms: i64) -> Bytes {
    let header = BatchHeader {
        base_offset: offset,
        last_offset_delta: 0,
        attributes: ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch: epoch,
        base_sequence: -1,
        record_count: 1,
        marker: Some(commit),
    };
    // record: length 16, no attributes, deltas 0; key of 4 bytes (version 0, type), value of 6 (version 0,
    // coordinator epoch 0), no headers; lengths are zig-zag.
    let record = [32, 0, 0, 0, 8, 0, 0, 0, u8::from(commit), 12, 0, 0, 0, 0, 0, 0, 0];
    encode(&header, &record)
}

/// The batch of a compacted log: same offsets and timestamps, other records, no producer and no
/// transaction any more (its outcome has been applied by choosing the records).
pub(crate) fn rewritten(original: &BatchHeader, records: &[u8], count: i32) -> Bytes {
    let header = BatchHeader {
        attributes: original.attributes
            & !(ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL | ATTRIBUTE_COMPRESSION),
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
        marker: None,
        ..original.clone()
    };
    encode(&header, records)
}

/// Bytes of a batch from header and encoded records.
pub(crate) fn encode(header: &BatchHeader, records: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + records.len());
    out.put_i64(header.base_offset);
    out.put_i32((HEADER_BYTES - 12 + records.len()) as i32);
    out.put_i32(0);
    out.put_i8(MAGIC);
    out.put_u32(0);
    out.put_i16(header.attributes);
    out.put_i32(header.last_offset_delta);
    out.put_i64(header.base_timestamp);
    out.put_i64(header.max_timestamp);
    out.put_i64(header.producer_id);
    out.put_i16(header.producer_epoch);
    out.put_i32(header.base_sequence);
    out.put_i32(header.record_count);
    out.put_slice(records);
    write_checksum(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_as_what_it_says() {
        for commit in [true, false] {
            let header = BatchHeader::parse_untrusted(&end_marker(7, 11, 3, commit, 99)).unwrap();
            assert_eq!((header.base_offset, header.last_offset()), (7, 7));
            assert_eq!((header.producer_id, header.producer_epoch), (11, 3));
            assert!(header.is_control() && header.is_transactional());
            assert_eq!(header.marker, Some(commit));
        }
    }

    #[test]
    fn a_place_in_the_log_keeps_the_checksum_valid() {
        let bytes = end_marker(0, 1, 0, true, 5);
        for (time, expected) in [(None, (None, 5)), (Some(99), (Some(99), 99))] {
            let mut header = BatchHeader::parse(&bytes).unwrap();
            header.place(1234, time);
            let stored = BatchHeader::parse_untrusted(&stored(&bytes, &header)).unwrap();
            assert_eq!(stored, header);
            assert_eq!(stored.base_offset, 1234);
            assert_eq!((stored.append_time(), stored.max_timestamp), expected);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_for_the_right_reason() {
        let good = end_marker(0, 1, 0, true, 5).to_vec();
        let flip = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            BatchHeader::parse_untrusted(&bad)
        };
        assert_eq!(flip(16), Err(BatchError::WrongMagic));
        assert_eq!(flip(11), Err(BatchError::WrongLength));
        assert_eq!(flip(70), Err(BatchError::WrongChecksum));
        assert_eq!(BatchHeader::parse_untrusted(&good[..40]), Err(BatchError::TooShort));
    }

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        let mut header = BatchHeader::parse(&end_marker(0, 1, 0, true, 5)).unwrap();
        header.base_sequence = i32::MAX;
        header.last_offset_delta = 1;
        assert_eq!(header.last_sequence(), 0);
    }
}
