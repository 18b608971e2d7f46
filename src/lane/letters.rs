//! Dead letters: the original bytes, where they were and what is wrong with them, in the transaction that steps over
//! the record.

use super::LaneConfig;
use crate::codec::headers;
use crate::codec::letter::{self, Origin};
use crate::core::error::RejectCode;
use crate::log::{NewRecord, Record};
use bytes::Bytes;

/// The dead letter of a record.
pub(super) fn of_record(config: &LaneConfig, record: &Record, code: RejectCode, text: &str) -> NewRecord {
    tracing::warn!(
        code = code.code(),
        topic = %config.topics.commands,
        partition = record.partition,
        offset = record.offset,
        "a record went to {}: {text}",
        config.topics.dlq
    );
    let origin = Origin {
        topic: &config.topics.commands,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
    };
    NewRecord {
        topic: config.topics.dlq.clone(),
        partition: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: letter::headers(&record.headers, origin, code.code(), text),
    }
}

/// The dead letter of a fact that fits no instance.
pub(super) fn of_stray(config: &LaneConfig, text: &str) -> NewRecord {
    tracing::error!(app = %config.app, lane = config.partition, code = RejectCode::Stray.code(), "{text}");
    let all = [
        (headers::ORIGIN_TOPIC, config.topics.journal.to_string()),
        (headers::ORIGIN_PARTITION, config.partition.to_string()),
        (headers::ERROR_CODE, RejectCode::Stray.code().to_string()),
        (headers::ERROR, text.to_string()),
    ];
    NewRecord {
        topic: config.topics.dlq.clone(),
        partition: None,
        key: None,
        value: None,
        headers: all.map(|(name, value)| (name.to_string(), Bytes::from(value))).to_vec(),
    }
}
