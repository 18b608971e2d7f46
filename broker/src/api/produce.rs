//! Produce.
use super::{Call, code};
use crate::log::batch::{self, BatchError};
use crate::log::{BatchHeader, records};
use crate::mistake::{Mistake, makes};
use crate::state::{State, Topic, TopicPartition};
use crate::store::Changes;
use crate::topic_config;
use crate::txn::{Phase, ProducerIdentity};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

const ACKS_ALL: i16 = -1;
const NO_TIMESTAMP: i64 = -1;

/// A batch whose bytes are good, before the log has been asked.
struct Incoming {
    tp: TopicPartition,
    checked: Result<(BatchHeader, Bytes), ResponseError>,
}

/// Where a batch is, now or since its first copy came.
struct Appended {
    base_offset: i64,
    /// The broker's time, where it is the records' time.
    append_time_ms: Option<i64>,
}

impl Call<'_> {
    pub(crate) fn produce(&self, request: ProduceRequest) -> ProduceResponse {
        let transactional_id = request.transactional_id.as_ref().map(|id| id.to_string());
        // checksums are computed before the lock is taken
        let mut topics = Vec::with_capacity(request.topic_data.len());
        for topic in request.topic_data {
            let incoming: Vec<Incoming> = topic
                .partition_data
                .into_iter()
                .map(|p| Incoming {
                    tp: (topic.name.to_string(), p.index),
                    checked: self.admitted().and_then(|()| check_bytes(p.records)),
                })
                .collect();
            topics.push((topic.name, incoming));
        }
        let mut changes = Changes::default();
        let mut written = BTreeSet::new();
        let mut state = self.node.state();
        let mut answers = Vec::with_capacity(topics.len());
        for (name, incoming) in topics {
            let partitions = incoming
                .into_iter()
                .map(|batch| {
                    let tp = batch.tp.clone();
                    let appended = batch.checked.and_then(|(header, bytes)| {
                        let id = transactional_id.as_deref();
                        append(&mut state, &tp, id, request.acks, header, &bytes, &mut changes)
                    });
                    written.insert(tp.clone());
                    partition_answer(&state, &tp, &appended)
                })
                .collect();
            answers
                .push(TopicProduceResponse::default().with_name(name).with_partition_responses(partitions));
        }
        match state.store.commit(changes) {
            Ok(()) => state.wake_partitions(&written),
            Err(error) => refuse_all(&mut answers, error),
        }
        ProduceResponse::default().with_responses(answers)
    }
}

fn check_bytes(records: Option<Bytes>) -> Result<(BatchHeader, Bytes), ResponseError> {
    let bytes = records.ok_or(ResponseError::InvalidRecord)?;
    let header = BatchHeader::parse_untrusted(&bytes).map_err(|error| match error {
        BatchError::WrongMagic => ResponseError::UnsupportedForMessageFormat,
        // more than one batch per partition also ends here: since version 3 there is exactly one
        BatchError::WrongLength | BatchError::WrongCount => ResponseError::InvalidRecord,
        BatchError::TooShort | BatchError::WrongChecksum => ResponseError::CorruptMessage,
    })?;
    // only the broker writes control records
    if header.is_control() || (header.producer_id >= 0 && header.base_sequence < 0) {
        return Err(ResponseError::InvalidRecord);
    }
    Ok((header, bytes))
}

/// Checks the batch against everything that may refuse it, then appends it.
fn append(
    state: &mut State,
    tp: &TopicPartition,
    transactional_id: Option<&str>,
    acks: i16,
    mut header: BatchHeader,
    bytes: &Bytes,
    changes: &mut Changes,
) -> Result<Appended, ResponseError> {
    let partition = state.partition(&tp.0, tp.1).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let next = partition.meta.next;
    if let Some(topic) = state.topics.get(&tp.0) {
        let configs = &topic.meta.configs;
        if bytes.len() as i64 > topic_config::number(configs, topic_config::MAX_MESSAGE_BYTES) {
            return Err(ResponseError::MessageTooLarge);
        }
        if acks == ACKS_ALL && topic_config::number(configs, topic_config::MIN_INSYNC_REPLICAS) > 1 {
            return Err(ResponseError::NotEnoughReplicas);
        }
        if topic_config::is_compacted(configs) {
            require_keys(&header, bytes)?;
        }
    }
    if header.producer_id >= 0 {
        if header.is_transactional() {
            check_transaction(state, tp, transactional_id, &header)?;
        }
        if let Some(base_offset) = partition.check_sequence(&header)? {
            return first_copy(state, tp, base_offset);
        }
    }
    let now = state.time.now_ms();
    let append_time_ms = state.append_time(&tp.0, now);
    if append_time_ms.is_none() && is_too_far_ahead(state, tp, &header, now) {
        return Err(ResponseError::InvalidTimestamp);
    }
    // only the broker sets this, and a record without a time of its own has none to fall back to
    let claims_append_time = header.append_time().is_some();
    if claims_append_time && (append_time_ms.is_some() || header.base_timestamp == NO_TIMESTAMP) {
        return Err(ResponseError::InvalidTimestamp);
    }
    header.place(next, append_time_ms);
    state.append(tp, &header, &batch::stored(bytes, &header), changes);
    Ok(Appended { base_offset: next, append_time_ms })
}

/// A clock that is wrong by more than this would keep its records from ever growing old.
fn is_too_far_ahead(state: &State, tp: &TopicPartition, header: &BatchHeader, now: i64) -> bool {
    let limit =
        |topic: &Topic| topic_config::number(&topic.meta.configs, topic_config::TIMESTAMP_AFTER_MAX_MS);
    state.topics.get(&tp.0).is_some_and(|topic| header.max_timestamp.saturating_sub(now) > limit(topic))
}

/// A retry is told what its first copy was told; that one's time stands in the log, if it is still there.
fn first_copy(state: &State, tp: &TopicPartition, base_offset: i64) -> Result<Appended, ResponseError> {
    let mut append_time_ms = None;
    if let Some(partition) = state.partition(&tp.0, tp.1) {
        state.store.scan(partition.number, base_offset, base_offset + 1, |_, bytes| {
            append_time_ms = BatchHeader::parse(&bytes).ok().and_then(|header| header.append_time());
            ControlFlow::Break(())
        })?;
    }
    Ok(Appended { base_offset, append_time_ms })
}

/// One process is coordinator and leader, so the transaction's table is asked directly: an old epoch or an
/// unlisted partition never enters the log.
fn check_transaction(
    state: &State,
    tp: &TopicPartition,
    transactional_id: Option<&str>,
    header: &BatchHeader,
) -> Result<(), ResponseError> {
    let id = transactional_id.ok_or(ResponseError::TransactionalIdAuthorizationFailed)?;
    let producer = ProducerIdentity { id: header.producer_id, epoch: header.producer_epoch };
    let txn = state.checked_txn(id, producer).map_err(|error| match error {
        // Kafka's partition leaders know epochs, not fencing
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    })?;
    let listed = txn.meta.partitions.contains(tp) || makes(Mistake::TakesUnlistedPartitions);
    if txn.meta.phase == Phase::Ongoing && listed { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
}

/// A compacted topic takes no record without a key: nothing could ever replace it.
fn require_keys(header: &BatchHeader, bytes: &Bytes) -> Result<(), ResponseError> {
    let body = records::uncompressed(header, bytes).map_err(|_| ResponseError::CorruptMessage)?;
    for record in records::records(header, &body) {
        if record.map_err(|_| ResponseError::CorruptMessage)?.key.is_none() {
            return Err(ResponseError::InvalidRecord);
        }
    }
    Ok(())
}

fn partition_answer(
    state: &State,
    tp: &TopicPartition,
    appended: &Result<Appended, ResponseError>,
) -> PartitionProduceResponse {
    let (base_offset, append_time_ms) =
        appended.as_ref().map_or((-1, None), |a| (a.base_offset, a.append_time_ms));
    PartitionProduceResponse::default()
        .with_index(tp.1)
        .with_error_code(code(appended))
        .with_base_offset(base_offset)
        .with_log_append_time_ms(append_time_ms.unwrap_or(NO_TIMESTAMP))
        .with_log_start_offset(state.partition(&tp.0, tp.1).map_or(-1, |p| p.meta.start))
}

fn refuse_all(answers: &mut [TopicProduceResponse], error: ResponseError) {
    for partition in answers.iter_mut().flat_map(|t| &mut t.partition_responses) {
        partition.error_code = error.code();
        partition.base_offset = -1;
        partition.log_append_time_ms = NO_TIMESTAMP;
    }
}
