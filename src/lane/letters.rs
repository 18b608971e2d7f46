//! Dead letters: the original bytes, where they were and what is wrong with them, in the transaction that steps over
//! the record.

use super::LaneConfig;
use crate::codec::headers;
use crate::codec::letter::{self, Letter, Origin};
use crate::core::error::RejectCode;
use crate::log::{NewRecord, Record};

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
    let whole = (record.key.as_ref(), record.value.as_ref(), &record.headers[..]);
    let Letter { key, value, headers } = Letter::new(whole, origin, code.code(), text);
    NewRecord { topic: config.topics.dlq.clone(), partition: None, key, value, headers }
}

/// The dead letter of a fact that fits no instance.
pub(super) fn of_stray(config: &LaneConfig, text: &str) -> NewRecord {
    tracing::error!(app = %config.app, lane = config.partition, code = RejectCode::Stray.code(), "{text}");
    let mut all = Vec::new();
    letter::add(
        &mut all,
        &[
            (headers::ORIGIN_TOPIC, &config.topics.journal),
            (headers::ORIGIN_PARTITION, &config.partition.to_string()),
            (headers::ERROR_CODE, RejectCode::Stray.code()),
            (headers::ERROR, text),
        ],
    );
    NewRecord { topic: config.topics.dlq.clone(), partition: None, key: None, value: None, headers: all }
}

/// A dead letter that Kafka refuses goes without its value, and says so. `false` if it had none.
fn without_value(config: &LaneConfig, letter: &mut NewRecord, text: &str) -> bool {
    let Some(value) = letter.value.take() else { return false };
    let text = format!("its value of {} bytes is not in this letter: {text}", value.len());
    tracing::error!(app = %config.app, lane = config.partition, "a dead letter was refused; {text}");
    letter::add(&mut letter.headers, &[(headers::ERROR, &text)]);
    true
}

/// Turns a record that Kafka refused into its dead letter, and every other one for its topic if they would be refused as
/// well. A reply may become one, as whoever asked can ask again. A letter that is refused itself loses its value. `false`
/// for a record that must not be replaced: those of the app's own topics.
pub(super) fn replace_refused(
    config: &LaneConfig,
    records: &mut [NewRecord],
    index: usize,
    topic_wide: bool,
    text: &str,
) -> bool {
    let Some(topic) = records.get(index).map(|r| r.topic.clone()) else { return false };
    let own = &config.topics;
    if topic == own.dlq && !topic_wide {
        return without_value(config, &mut records[index], text);
    }
    let is_reply = topic == own.replies && !topic_wide;
    if [&own.commands, &own.journal, &own.changelog, &own.replies, &own.dlq].contains(&&topic) && !is_reply {
        return false;
    }
    let code = RejectCode::Refused.code();
    let mut replaced = 0;
    for (at, record) in records.iter_mut().enumerate() {
        if at == index || (topic_wide && record.topic == topic) {
            letter::add(
                &mut record.headers,
                &[(headers::ORIGIN_TOPIC, &topic), (headers::ERROR_CODE, code), (headers::ERROR, text)],
            );
            record.topic = own.dlq.clone();
            record.partition = None;
            replaced += 1;
        }
    }
    tracing::error!(
        app = %config.app,
        lane = config.partition,
        code,
        "{replaced} records for {topic} went to {} instead: {text}",
        own.dlq
    );
    true
}
