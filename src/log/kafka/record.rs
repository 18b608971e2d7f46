//! Between our records and rdkafka's.

use crate::log::{Lent, NewRecord, Record};
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

/// Copies a message out of librdkafka's memory: one allocation for key and value together, as restores are bound by
/// the allocator.
pub(crate) fn from_message(m: &BorrowedMessage<'_>) -> Record {
    let (key, value) = match (m.key(), m.payload()) {
        (Some(k), Some(v)) => {
            let mut both = Vec::with_capacity(k.len() + v.len());
            both.extend_from_slice(k);
            both.extend_from_slice(v);
            let mut key = Bytes::from(both);
            let value = key.split_off(k.len());
            (Some(key), Some(value))
        }
        (k, v) => (k.map(Bytes::copy_from_slice), v.map(Bytes::copy_from_slice)),
    };
    let headers = m.headers().map_or_else(Vec::new, |h| {
        h.iter()
            .map(|h| (h.key.to_owned(), h.value.map_or_else(Bytes::new, Bytes::copy_from_slice)))
            .collect()
    });
    Record {
        partition: m.partition(),
        offset: m.offset(),
        timestamp_ms: m.timestamp().to_millis().unwrap_or(-1),
        key,
        value,
        headers,
    }
}

/// A message as it lies in librdkafka's memory, with one of its headers.
pub(crate) fn lend<'a>(m: &'a BorrowedMessage<'_>, header: &str) -> Lent<'a> {
    let found = m.headers().and_then(|all| all.iter().find(|h| h.key == header));
    Lent {
        offset: m.offset(),
        timestamp_ms: m.timestamp().to_millis().unwrap_or(-1),
        key: m.key(),
        value: m.payload(),
        header: found.map(|h| h.value.unwrap_or_default()),
    }
}

/// Borrows a record for librdkafka, which copies it.
pub(crate) fn to_base<D: IntoOpaque>(r: &NewRecord, opaque: D) -> BaseRecord<'_, [u8], [u8], D> {
    let mut b: BaseRecord<'_, [u8], [u8], D> = BaseRecord::with_opaque_to(&r.topic, opaque);
    b.partition = r.partition;
    b.key = r.key.as_deref();
    b.payload = r.value.as_deref();
    if !r.headers.is_empty() {
        let mut h = OwnedHeaders::new_with_capacity(r.headers.len());
        for (key, value) in &r.headers {
            h = h.insert(Header { key, value: Some(value.as_ref()) });
        }
        b.headers = Some(h);
    }
    b
}

/// Size of a record as limits count it.
pub(crate) fn size(r: &NewRecord) -> usize {
    r.key.as_ref().map_or(0, Bytes::len)
        + r.value.as_ref().map_or(0, Bytes::len)
        + r.headers.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
}
