//! Headers of a dead letter: where the record was and what is wrong with it. Key, value and own headers stay as they
//! were, so that it can be sent again.

use super::headers::{self, Header};
use bytes::Bytes;

/// Where a record was.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// The record's own headers, with those of a dead letter behind them.
pub fn headers(own: &[Header], origin: Origin<'_>, code: &str, text: &str) -> Vec<Header> {
    let mut all = own.to_vec();
    add(
        &mut all,
        &[
            (headers::ORIGIN_TOPIC, origin.topic),
            (headers::ORIGIN_PARTITION, &origin.partition.to_string()),
            (headers::ORIGIN_OFFSET, &origin.offset.to_string()),
            (headers::ORIGIN_TIME, &origin.timestamp_ms.to_string()),
            (headers::ERROR_CODE, code),
            (headers::ERROR, text),
        ],
    );
    all
}

/// Puts headers behind those that are there: for what never was in a topic and so has no [`Origin`].
pub fn add(all: &mut Vec<Header>, more: &[(&str, &str)]) {
    all.extend(more.iter().map(|(name, value)| (headers::name(name), Bytes::from(value.to_string()))));
}
