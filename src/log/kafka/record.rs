//! Between our records and rdkafka's.

use crate::codec::headers::name;
use crate::log::{Lent, NewRecord, Record};
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

/// Copies a message out of librdkafka's memory: one allocation for key, value and headers together, as restores and
/// the feed of commands are bound by the allocator.
pub(crate) fn from_message(m: &BorrowedMessage<'_>) -> Record {
    let (key, value, headers) = (m.key(), m.payload(), m.headers());
    let of_headers = || headers.iter().flat_map(|h| h.iter()).filter_map(|h| h.value);
    let parts = || key.into_iter().chain(value).chain(of_headers());
    let mut all = Vec::with_capacity(parts().map(<[u8]>::len).sum());
    parts().for_each(|part| all.extend_from_slice(part));
    let mut rest = Bytes::from(all);
    let mut next = |part: &[u8]| rest.split_to(part.len());
    let (key, value) = (key.map(&mut next), value.map(&mut next));
    let headers = headers.map_or_else(Vec::new, |h| {
        h.iter().map(|h| (name(h.key), h.value.map_or_else(Bytes::new, &mut next))).collect()
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
