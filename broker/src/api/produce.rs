//! Produce.
use super::{Call, code};
use crate::log::batch::{self, BatchError};
use crate::log::{BatchHeader, records};
use crate::state::{State, TopicPartition};
use crate::store::Changes;
use crate::topic_config;
use crate::txn::{Phase, ProducerIdentity};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use std::collections::BTreeSet;

const ACKS_ALL: i16 = -1;

/// A batch whose bytes are good, before the log has been asked.
struct Incoming {
    tp: TopicPartition,
    checked: Result<(BatchHeader, Bytes), ResponseError>,
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
    if header.is_control() { Err(ResponseError::InvalidRecord) } else { Ok((header, bytes)) }
}

/// Checks the batch against everything that may refuse it, then appends it; gives its base offset.
fn append(
    state: &mut State,
    tp: &TopicPartition,
    transactional_id: Option<&str>,
    acks: i16,
    mut header: BatchHeader,
    bytes: &Bytes,
    changes: &mut Changes,
) -> Result<i64, ResponseError> {
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
        if let Some(first_copy) = partition.check_sequence(&header)? {
            return Ok(first_copy);
        }
    }
    header.base_offset = next;
    state.append(tp, &header, &batch::with_offset(bytes, next), changes);
    Ok(next)
}

/// One process is coordinator and leader, so the transaction's table is asked directly: an old epoch or an
/// unlisted partition never enters the log.
fn check_transaction(
    state: &State,
    tp: &TopicPartition,
    transactional_id: Option<&str>,
    header: &BatchHeader,
) -> Result<(), ResponseError> {
    let id = transactional_id.ok_or(ResponseError::InvalidProducerIdMapping)?;
    let producer = ProducerIdentity { id: header.producer_id, epoch: header.producer_epoch };
    let txn = state.checked_txn(id, producer).map_err(|error| match error {
        // Kafka's partition leaders know epochs, not fencing
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    })?;
    if txn.meta.phase == Phase::Ongoing && txn.meta.partitions.contains(tp) {
        Ok(())
    } else {
        Err(ResponseError::InvalidTxnState)
    }
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
    appended: &Result<i64, ResponseError>,
) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(tp.1)
        .with_error_code(code(appended))
        .with_base_offset(*appended.as_ref().unwrap_or(&-1))
        .with_log_append_time_ms(-1)
        .with_log_start_offset(state.partition(&tp.0, tp.1).map_or(-1, |p| p.meta.start))
}

fn refuse_all(answers: &mut [TopicProduceResponse], error: ResponseError) {
    for partition in answers.iter_mut().flat_map(|t| &mut t.partition_responses) {
        partition.error_code = error.code();
        partition.base_offset = -1;
    }
}
