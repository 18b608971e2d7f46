//! `message.timestamp.type`: whose time records have.
use super::*;
use crate::compaction;
use crate::log::batch;
use tempfile::TempDir;

const APPEND_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

fn send(node: &Node, bytes: Bytes) -> PartitionProduceResponse {
    answer_to(node, bytes, None)
}

fn row(key: &str, producer: testing::TestProducer) -> Bytes {
    testing::batch(&[(key, Some("v")), (key, Some("w"))], producer, false, Compression::None)
}

#[test]
fn all_records_of_a_batch_take_the_time_that_the_producer_is_told() {
    let node = node(&[APPEND_TIME]);
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let bytes = testing::batch(&[("a", Some("v")), ("b", None)], None, false, compression);
        let answer = send(&node, bytes);
        assert_eq!(answer.error_code, 0);
        let times: Vec<i64> = committed(&node).iter().rev().take(2).map(|r| r.1).collect();
        assert_eq!(times, [answer.log_append_time_ms; 2]);
    }
}

#[test]
fn a_retry_is_told_the_time_of_its_first_copy_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let node = with_topic(open(Some(dir.path())), &[APPEND_TIME]);
    let first = send(&node, row("k", Some((9, 0, 0))));
    drop(node);
    let node = open(Some(dir.path()));
    assert_eq!(send(&node, row("k", Some((9, 0, 0)))), first);
    assert_eq!(committed(&node).len(), 2);
    assert_eq!(committed(&node)[0].1, first.log_append_time_ms);
    assert!(send(&node, row("k", Some((9, 0, 2)))).log_append_time_ms >= first.log_append_time_ms);
}

#[test]
fn without_the_setting_no_append_time_is_told() {
    let node = node(&[]);
    let first = send(&node, row("k", Some((9, 0, 0))));
    assert_eq!(first.log_append_time_ms, -1);
    assert_eq!(send(&node, row("k", Some((9, 0, 0)))).log_append_time_ms, -1, "its retry");
}

/// As Kafka's `LogValidator`.
#[test]
fn a_batch_that_claims_the_brokers_time_is_refused_or_loses_the_claim() {
    let bytes = row("k", None);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.place(0, Some(77));
    let claiming = || Bytes::from(batch::stored(&bytes, &header));
    let refused = send(&node(&[APPEND_TIME]), claiming());
    assert_eq!(refused.error_code, ResponseError::InvalidTimestamp.code());
    let node = node(&[]);
    assert_eq!(send(&node, claiming()).error_code, 0);
    let times: Vec<i64> = committed(&node).iter().map(|r| r.1).collect();
    assert_eq!(times, [1000, 1001], "the records' own times");
}

#[test]
fn compaction_keeps_the_brokers_time() {
    let config = BrokerConfig { compaction_min_records: 1, ..BrokerConfig::default() };
    let node = with_topic(
        Node::open(config, 0).unwrap(),
        &[APPEND_TIME, ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")],
    );
    let first = send(&node, row("a", None));
    send(&node, row("b", None));
    compaction::run(&node);
    let seen: Vec<_> = committed(&node).into_iter().map(|r| r.0).collect();
    assert_eq!(seen, [1, 3]);
    assert_eq!(committed(&node)[0].1, first.log_append_time_ms);
}
