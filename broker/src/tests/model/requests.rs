//! What a client of the broker sends, and how it reads what it fetched: with the decoder of `kafka-protocol`, not
//! with the broker's own.
use super::ids::Answer;
use super::log::{Row, Sent};
use crate::api::Call;
use crate::node::Node;
use crate::state::TopicPartition;
use crate::txn::ProducerIdentity;
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::collections::BTreeSet;

pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn result(code: i16) -> Answer<()> {
    ResponseError::try_from_code(code).map_or(Ok(()), Err)
}

fn call(node: &Node, version: i16) -> Call<'_> {
    Call { node, version, client_id: "model", refusal: None }
}

pub(super) type NewRow = (String, Option<String>, i64);

pub(super) fn encode(rows: &[NewRow], sent: Option<Sent>, compression: Compression) -> Bytes {
    let record = |(i, (key, value, time)): (usize, &NewRow)| Record {
        transactional: sent.is_some_and(|s| s.transactional),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: sent.map_or(-1, |s| s.producer_id),
        producer_epoch: sent.map_or(-1, |s| s.epoch),
        timestamp_type: TimestampType::Creation,
        offset: i as i64,
        sequence: sent.map_or(-1, |s| s.first_sequence).wrapping_add(i as i32)
            & sent.map_or(-1, |_| i32::MAX),
        timestamp: *time,
        key: Some(Bytes::from(key.clone())),
        value: value.clone().map(Bytes::from),
        headers: Default::default(),
    };
    let records: Vec<Record> = rows.iter().enumerate().map(record).collect();
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &RecordEncodeOptions { version: 2, compression }).unwrap();
    out.freeze()
}

/// Base offset and append time.
pub(super) fn produce(
    node: &Node,
    tp: &TopicPartition,
    batch: Bytes,
    id: Option<&str>,
) -> Answer<(i64, i64)> {
    let partition = PartitionProduceData::default().with_index(tp.1).with_records(Some(batch));
    let data = TopicProduceData::default().with_name(topic(&tp.0)).with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(id.map(|id| TransactionalId(text(id))))
        .with_topic_data(vec![data]);
    let row = call(node, 9).produce(request).responses.remove(0).partition_responses.remove(0);
    result(row.error_code).map(|()| (row.base_offset, row.log_append_time_ms))
}

pub(super) fn init(
    node: &Node,
    id: Option<&str>,
    known: Option<ProducerIdentity>,
) -> Answer<ProducerIdentity> {
    let known = known.unwrap_or(ProducerIdentity { id: -1, epoch: -1 });
    let request = InitProducerIdRequest::default()
        .with_transactional_id(id.map(|id| TransactionalId(text(id))))
        .with_transaction_timeout_ms(super::TIMEOUT_MS)
        .with_producer_id(ProducerId(known.id))
        .with_producer_epoch(known.epoch);
    let answer = call(node, 4).init_producer_id(request);
    result(answer.error_code)
        .map(|()| ProducerIdentity { id: answer.producer_id.0, epoch: answer.producer_epoch })
}

pub(super) fn add_partitions(
    node: &Node,
    id: &str,
    who: ProducerIdentity,
    partitions: &[TopicPartition],
) -> Answer<()> {
    let row = |tp: &TopicPartition| {
        AddPartitionsToTxnTopic::default().with_name(topic(&tp.0)).with_partitions(vec![tp.1])
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(id)))
        .with_v3_and_below_producer_id(ProducerId(who.id))
        .with_v3_and_below_producer_epoch(who.epoch)
        .with_v3_and_below_topics(partitions.iter().map(row).collect());
    let answer = call(node, 3).add_partitions_to_txn(request);
    let rows = answer.results_by_topic_v3_and_below.iter().flat_map(|t| &t.results_by_partition);
    let codes: BTreeSet<i16> = rows.map(|p| p.partition_error_code).collect();
    assert_eq!(codes.len(), 1, "all or none: {codes:?}");
    result(codes.first().copied().unwrap_or(0))
}

pub(super) fn add_group(node: &Node, id: &str, who: ProducerIdentity, group: &str) -> Answer<()> {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.id))
        .with_producer_epoch(who.epoch)
        .with_group_id(GroupId(text(group)));
    result(call(node, 3).add_offsets_to_txn(request).error_code)
}

pub(super) fn end(node: &Node, id: &str, who: ProducerIdentity, commit: bool) -> Answer<()> {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.id))
        .with_producer_epoch(who.epoch)
        .with_committed(commit);
    result(call(node, 3).end_txn(request).error_code)
}

pub(super) fn remember_in_transaction(
    node: &Node,
    id: &str,
    who: ProducerIdentity,
    group: &str,
    tp: &TopicPartition,
    offset: i64,
) -> Answer<()> {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(tp.1)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1);
    let topic =
        TxnOffsetCommitRequestTopic::default().with_name(topic(&tp.0)).with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.id))
        .with_producer_epoch(who.epoch)
        .with_group_id(GroupId(text(group)))
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    result(call(node, 3).txn_offset_commit(request).topics.remove(0).partitions.remove(0).error_code)
}

/// An offset committed by a member, or by nobody in particular (generation -1).
pub(super) fn remember(
    node: &Node,
    group: &str,
    member: (&str, Option<&str>, i32),
    tp: &TopicPartition,
    offset: i64,
) -> Answer<()> {
    use kafka_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(tp.1).with_committed_offset(offset);
    let row = OffsetCommitRequestTopic::default().with_name(topic(&tp.0)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(text(member.0))
        .with_group_instance_id(member.1.map(text))
        .with_generation_id_or_member_epoch(member.2)
        .with_topics(vec![row]);
    result(call(node, 8).offset_commit(request).topics.remove(0).partitions.remove(0).error_code)
}

/// The group's offset, -1 if it has none.
pub(super) fn remembered(node: &Node, group: &str, tp: &TopicPartition, stable: bool) -> Answer<i64> {
    use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
    let row = OffsetFetchRequestTopic::default().with_name(topic(&tp.0)).with_partition_indexes(vec![tp.1]);
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_require_stable(stable)
        .with_topics(Some(vec![row]));
    let partition = call(node, 7).offset_fetch(request).topics.remove(0).partitions.remove(0);
    result(partition.error_code).map(|()| partition.committed_offset)
}

pub(super) fn delete_records(node: &Node, tp: &TopicPartition, before: i64) -> Answer<i64> {
    let partition = DeleteRecordsPartition::default().with_partition_index(tp.1).with_offset(before);
    let row = DeleteRecordsTopic::default().with_name(topic(&tp.0)).with_partitions(vec![partition]);
    let answer = call(node, 2).delete_records(DeleteRecordsRequest::default().with_topics(vec![row]));
    let row = &answer.topics[0].partitions[0];
    result(row.error_code).map(|()| row.low_watermark)
}

pub(super) fn list_offset(node: &Node, tp: &TopicPartition, time: i64, committed: bool) -> Answer<i64> {
    let partition = ListOffsetsPartition::default().with_partition_index(tp.1).with_timestamp(time);
    let row = ListOffsetsTopic::default().with_name(topic(&tp.0)).with_partitions(vec![partition]);
    let request =
        ListOffsetsRequest::default().with_isolation_level(i8::from(committed)).with_topics(vec![row]);
    let row = call(node, 7).list_offsets(request).topics.remove(0).partitions.remove(0);
    result(row.error_code).map(|()| row.offset)
}

pub(super) fn fetch(
    node: &Node,
    tp: &TopicPartition,
    from: i64,
    committed: bool,
    max_bytes: i32,
) -> PartitionData {
    let partition = FetchPartition::default()
        .with_partition(tp.1)
        .with_fetch_offset(from)
        .with_partition_max_bytes(max_bytes);
    let row = FetchTopic::default().with_topic(topic(&tp.0)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed))
        .with_topics(vec![row]);
    call(node, 12).fetch(request).responses.remove(0).partitions.remove(0)
}

/// What a client makes of an answer: its records, and where it goes on. As the Java client and librdkafka do it:
/// a batch of an aborted transaction is skipped from the first offset of that transaction to its marker.
pub(super) fn read(answer: &PartitionData, from: i64, committed: bool) -> (Vec<Row>, i64) {
    let mut aborted: Vec<(i64, i64)> =
        answer.aborted_transactions.iter().flatten().map(|a| (a.first_offset, a.producer_id.0)).collect();
    aborted.sort_unstable();
    let mut skipping = BTreeSet::new();
    let mut bytes = answer.records.clone().unwrap_or_default();
    let (mut rows, mut next) = (Vec::new(), from);
    while !bytes.is_empty() {
        let length = 12 + usize::try_from((&bytes[8..12]).get_i32()).unwrap();
        let mut batch = bytes.split_to(length);
        let base = (&batch[..8]).get_i64();
        let last = base + i64::from((&batch[23..27]).get_i32());
        let (attributes, producer_id) = ((&batch[21..23]).get_i16(), (&batch[43..51]).get_i64());
        // the decoder leaves this to its caller
        let append_time = (attributes & 0x08 != 0).then(|| (&batch[35..43]).get_i64());
        assert!(base >= 0 && last >= next, "batch {base}..={last} does not lead on from {next}");
        next = last + 1;
        while aborted.first().is_some_and(|(first, _)| *first <= last) {
            skipping.insert(aborted.remove(0).1);
        }
        let empty = (&batch[57..61]).get_i32() == 0;
        let records =
            if empty { Vec::new() } else { RecordBatchDecoder::decode(&mut batch).unwrap().records };
        if attributes & 0x20 != 0 {
            let is_abort = records[0].key.as_ref().is_some_and(|k| k[3] == 0);
            if is_abort {
                skipping.remove(&producer_id);
            }
            continue;
        }
        if committed && attributes & 0x10 != 0 && skipping.contains(&producer_id) {
            continue;
        }
        let string = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
        rows.extend(records.iter().filter(|r| r.offset >= from).map(|r| Row {
            offset: r.offset,
            time: append_time.unwrap_or(r.timestamp),
            key: r.key.as_ref().map(string).unwrap_or_default(),
            value: r.value.as_ref().map(string),
        }));
    }
    (rows, next)
}
