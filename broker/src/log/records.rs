//! The records inside a batch, without copying them: needed for compaction, for offsets by time, and to
//! refuse records without a key on compacted topics.
use super::batch::{BatchHeader, HEADER_BYTES};
use bytes::Bytes;
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy};
use std::io::Read;

const COMPRESSION_NONE: i16 = 0;
const COMPRESSION_GZIP: i16 = 1;
const COMPRESSION_SNAPPY: i16 = 2;
const COMPRESSION_LZ4: i16 = 3;
const COMPRESSION_ZSTD: i16 = 4;

/// The records of a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadableRecords(pub(crate) String);

/// One record; `raw` is its encoding, length first, so that it can be copied into another batch with the
/// same base offset and base timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) has_value: bool,
    pub(crate) raw: &'a [u8],
}

/// The uncompressed records part of a batch.
pub(crate) fn uncompressed(header: &BatchHeader, batch: &Bytes) -> Result<Bytes, UnreadableRecords> {
    let mut body = batch.slice(HEADER_BYTES..);
    let keep = |plain: &mut Bytes| Ok(plain.clone());
    let plain = match header.compression() {
        COMPRESSION_NONE => return Ok(body),
        COMPRESSION_GZIP => Gzip::decompress(&mut body, keep),
        COMPRESSION_SNAPPY => Snappy::decompress(&mut body, keep),
        COMPRESSION_LZ4 => Lz4::decompress(&mut body, keep),
        COMPRESSION_ZSTD => return unzstd(&body),
        other => return Err(UnreadableRecords(format!("unknown compression {other}"))),
    };
    plain.map_err(|e| UnreadableRecords(e.to_string()))
}

fn unzstd(body: &[u8]) -> Result<Bytes, UnreadableRecords> {
    let mut out = Vec::new();
    let mut decoder =
        ruzstd::decoding::StreamingDecoder::new(body).map_err(|e| UnreadableRecords(e.to_string()))?;
    decoder.read_to_end(&mut out).map_err(|e| UnreadableRecords(e.to_string()))?;
    Ok(out.into())
}

/// Walks over the records of an uncompressed body.
pub(crate) fn records<'a>(
    header: &BatchHeader,
    body: &'a [u8],
) -> impl Iterator<Item = Result<RecordView<'a>, UnreadableRecords>> {
    let (base_offset, base_timestamp) = (header.base_offset, header.base_timestamp);
    let append_time = header.append_time();
    let mut left = body;
    let mut count = header.record_count;
    std::iter::from_fn(move || {
        if count <= 0 {
            return None;
        }
        count -= 1;
        let Some((mut view, rest)) = one(left, base_offset, base_timestamp) else {
            count = 0;
            return Some(Err(UnreadableRecords("a record ends outside its batch".into())));
        };
        left = rest;
        view.timestamp = append_time.unwrap_or(view.timestamp);
        Some(Ok(view))
    })
}

fn one(bytes: &[u8], base_offset: i64, base_timestamp: i64) -> Option<(RecordView<'_>, &[u8])> {
    let mut at = bytes;
    let length = usize::try_from(varint(&mut at)?).ok()?;
    let head = bytes.len() - at.len();
    let mut at = at.get(..length)?;
    let (raw, rest) = bytes.split_at(head + length);
    at = at.get(1..)?;
    let timestamp = base_timestamp.checked_add(varint(&mut at)?)?;
    let offset = base_offset.checked_add(varint(&mut at)?)?;
    let key_length = varint(&mut at)?;
    let key = match usize::try_from(key_length) {
        Ok(n) => {
            let key = at.get(..n)?;
            at = &at[n..];
            Some(key)
        }
        Err(_) => None,
    };
    let has_value = varint(&mut at)? >= 0;
    Some((RecordView { offset, timestamp, key, has_value, raw }, rest))
}

/// Zig-zag variable-length integer.
fn varint(at: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = at.split_first()?;
        *at = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod testing {
    //! Batches for tests, made by the independent encoder of `kafka-protocol`.
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    /// Producer of a test batch: id, epoch, first sequence number.
    pub(crate) type TestProducer = Option<(i64, i16, i32)>;

    /// One batch with these keys and values; timestamps are 1000, 1001, …
    pub(crate) fn batch(
        rows: &[(&str, Option<&str>)],
        producer: TestProducer,
        transactional: bool,
        compression: Compression,
    ) -> Bytes {
        let (producer_id, producer_epoch, first) = producer.unwrap_or((-1, -1, 0));
        let records: Vec<Record> = rows
            .iter()
            .enumerate()
            .map(|(i, (key, value))| Record {
                transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id,
                producer_epoch,
                timestamp_type: TimestampType::Creation,
                offset: i as i64,
                sequence: first + i as i32,
                timestamp: 1000 + i as i64,
                key: Some(Bytes::copy_from_slice(key.as_bytes())),
                value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())),
                headers: Default::default(),
            })
            .collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::Compression;

    #[test]
    fn records_of_every_compression_read_back() {
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4] {
            let bytes = testing::batch(&[("a", Some("1")), ("b", None)], None, false, compression);
            let header = BatchHeader::parse_untrusted(&bytes).unwrap();
            let body = uncompressed(&header, &bytes).unwrap();
            let seen: Vec<_> = records(&header, &body).map(Result::unwrap).collect();
            assert_eq!(seen.len(), 2);
            assert_eq!((seen[0].key, seen[0].has_value, seen[0].timestamp), (Some(&b"a"[..]), true, 1000));
            assert_eq!((seen[1].key, seen[1].has_value, seen[1].offset), (Some(&b"b"[..]), false, 1));
        }
    }

    #[test]
    fn a_cut_batch_is_an_error_and_not_a_panic() {
        let bytes = testing::batch(&[("key", Some("value"))], None, false, Compression::None);
        let header = BatchHeader::parse(&bytes).unwrap();
        for cut in 0..bytes.len() - HEADER_BYTES {
            let seen: Vec<_> = records(&header, &bytes[HEADER_BYTES..HEADER_BYTES + cut]).collect();
            assert!(seen.iter().all(Result::is_err) && seen.len() == 1);
        }
    }
}
