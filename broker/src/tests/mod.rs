//! The broker without its wire: requests go straight to the handlers.
mod compaction;
mod model;
mod recovery;
mod timestamps;
mod transactions;
mod versions;

use crate::api::Call;
use crate::config::BrokerConfig;
use crate::log::records::{self, testing};
use crate::log::{AbortedTxn, BatchHeader};
use crate::node::Node;
use crate::state::TopicPartition;
use crate::store::Changes;
use crate::topic_config::Configs;
use crate::txn::{EndMode, ProducerIdentity};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use std::ops::ControlFlow;
use std::path::Path;

const TOPIC: &str = "t";
const GROUP: &str = "g";

/// A record as a reader sees it: offset, timestamp, key, whether it has a value.
type Seen = (i64, i64, String, bool);

fn tp() -> TopicPartition {
    (TOPIC.to_owned(), 0)
}

/// A node with one topic of one partition.
fn node(configs: &[(&str, &str)]) -> Node {
    with_topic(open(None), configs)
}

fn open(dir: Option<&Path>) -> Node {
    let config = BrokerConfig { data_dir: dir.map(Path::to_owned), ..BrokerConfig::default() };
    Node::open(config, 0).unwrap()
}

fn with_topic(node: Node, configs: &[(&str, &str)]) -> Node {
    let configs: Configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut changes = Changes::default();
    node.state().grow_topic(TOPIC, 1, Some(configs), &mut changes);
    node.store.commit(changes).unwrap();
    node
}

/// Writes one batch; gives its base offset.
fn produce(
    node: &Node,
    rows: &[(&str, Option<&str>)],
    producer: testing::TestProducer,
    txn: Option<&str>,
) -> Result<i64, ResponseError> {
    let row = answer_to(node, testing::batch(rows, producer, txn.is_some(), Compression::None), txn);
    ResponseError::try_from_code(row.error_code).map_or(Ok(row.base_offset), Err)
}

/// What a producer of this batch is answered.
fn answer_to(node: &Node, bytes: Bytes, txn: Option<&str>) -> PartitionProduceResponse {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(bytes));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(txn.map(|id| TransactionalId(StrBytes::from_string(id.to_owned()))))
        .with_topic_data(vec![topic]);
    let call = Call { node, version: 9, client_id: "test", refusal: None };
    call.produce(request).responses.remove(0).partition_responses.remove(0)
}

fn init(node: &Node, id: &str, mode: EndMode) -> Result<ProducerIdentity, ResponseError> {
    let mut changes = Changes::default();
    let result = node.state().init_txn(id, 60_000, None, mode, &mut changes);
    node.store.commit(changes).unwrap();
    result
}

/// Begins a transaction on the partition, and on the group with offset `offset` if there is one.
fn begin(node: &Node, id: &str, producer: ProducerIdentity) -> Result<(), ResponseError> {
    let mut changes = Changes::default();
    let result = node.state().add_to_txn(id, producer, [tp()], Some(GROUP), &mut changes);
    node.store.commit(changes).unwrap();
    result
}

fn end(
    node: &Node,
    id: &str,
    producer: ProducerIdentity,
    commit: bool,
    mode: EndMode,
) -> Result<(), ResponseError> {
    let mut changes = Changes::default();
    let result = node.state().end_txn(id, producer, commit, mode, &mut changes);
    node.store.commit(changes).unwrap();
    result
}

/// A whole transaction with one batch whose first sequence number is `sequence`.
fn transaction(
    node: &Node,
    id: &str,
    p: ProducerIdentity,
    sequence: i32,
    rows: &[(&str, Option<&str>)],
    commit: bool,
) {
    begin(node, id, p).unwrap();
    produce(node, rows, Some((p.id, p.epoch, sequence)), Some(id)).unwrap();
    end(node, id, p, commit, EndMode::default()).unwrap();
}

/// Stored batches of the partition.
fn batches(node: &Node) -> Vec<(i64, Bytes)> {
    let (number, start, next) = {
        let state = node.state();
        let p = state.partition(TOPIC, 0).unwrap();
        (p.number, p.meta.start, p.meta.next)
    };
    let mut out = Vec::new();
    node.store
        .scan(number, start, next, |base, bytes| {
            out.push((base, bytes));
            ControlFlow::Continue(())
        })
        .unwrap();
    out
}

/// What a reader of committed data sees, worked out as a client does it: from batches and aborted ranges.
fn committed(node: &Node) -> Vec<Seen> {
    let state = node.state();
    let partition = state.partition(TOPIC, 0).unwrap();
    let (end, aborted): (i64, Vec<AbortedTxn>) =
        (partition.last_stable_offset(), partition.aborted.values().copied().collect());
    drop(state);
    let mut out = Vec::new();
    for (base, bytes) in batches(node) {
        let header = BatchHeader::parse_untrusted_or_empty(&bytes);
        let hidden = header.is_transactional()
            && aborted
                .iter()
                .any(|a| a.producer_id == header.producer_id && a.first <= base && base <= a.last);
        if base >= end || header.is_control() || hidden {
            continue;
        }
        let body = records::uncompressed(&header, &bytes).unwrap();
        out.extend(records::records(&header, &body).map(|r| {
            let r = r.unwrap();
            (r.offset, r.timestamp, String::from_utf8(r.key.unwrap().to_vec()).unwrap(), r.has_value)
        }));
    }
    out
}

impl BatchHeader {
    /// Checks the checksum also of batches that compaction has emptied.
    fn parse_untrusted_or_empty(bytes: &[u8]) -> Self {
        let header = Self::parse(bytes).unwrap();
        assert_eq!(bytes[17..21], crc32c::crc32c(&bytes[21..]).to_be_bytes());
        header
    }
}
