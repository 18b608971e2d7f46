//! What compaction keeps.
use super::*;
use crate::compaction;
use crate::retention;
use std::time::{Duration, Instant};

const COMPACT: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("delete.retention.ms", "0")];

fn compacted(configs: &[(&str, &str)]) -> Node {
    let config = BrokerConfig { compaction_min_records: 1, ..BrokerConfig::default() };
    with_topic(Node::open(config, 0).unwrap(), configs)
}

fn keys(node: &Node) -> Vec<(i64, String)> {
    committed(node).into_iter().map(|r| (r.0, r.2)).collect()
}

fn expected(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(offset, key)| (*offset, (*key).to_owned())).collect()
}

#[test]
fn the_newest_record_of_each_key_stays_with_its_offset_and_timestamp() {
    let node = compacted(COMPACT);
    produce(&node, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))], None, None).unwrap();
    produce(&node, &[("c", Some("1")), ("b", Some("2"))], None, None).unwrap();
    compaction::run(&node);
    let seen = committed(&node);
    assert_eq!(keys(&node), expected(&[(2, "a"), (3, "c"), (4, "b")]));
    assert_eq!(seen[0].1, 1002, "the timestamp of the third record of the first batch");
    assert_eq!(node.state().partition(TOPIC, 0).unwrap().meta.next, 5);
}

#[test]
fn an_aborted_record_never_replaces_a_committed_one() {
    let node = compacted(COMPACT);
    let p = init(&node, "x", EndMode::default()).unwrap();
    transaction(&node, "x", p, 0, &[("a", Some("kept"))], true);
    transaction(&node, "x", p, 1, &[("a", Some("gone")), ("b", Some("gone"))], false);
    produce(&node, &[("c", Some("1"))], None, None).unwrap();
    let before = committed(&node);
    compaction::run(&node);
    assert_eq!(committed(&node), before);
    let state = node.state();
    assert!(state.partition(TOPIC, 0).unwrap().aborted.is_empty(), "nothing is left that they would hide");
}

#[test]
fn nothing_at_or_after_an_open_transaction_is_touched() {
    let node = compacted(COMPACT);
    produce(&node, &[("a", Some("1"))], None, None).unwrap();
    let p = init(&node, "x", EndMode::default()).unwrap();
    begin(&node, "x", p).unwrap();
    produce(&node, &[("a", Some("open"))], Some((p.id, p.epoch, 0)), Some("x")).unwrap();
    produce(&node, &[("a", Some("3"))], None, None).unwrap();
    compaction::run(&node);
    assert_eq!(batches(&node).len(), 3);
    end(&node, "x", p, false, EndMode::default()).unwrap();
    compaction::run(&node);
    assert_eq!(keys(&node), expected(&[(2, "a")]));
}

#[test]
fn a_tombstone_first_removes_its_key_and_then_itself() {
    let node = compacted(COMPACT);
    produce(&node, &[("a", Some("1"))], None, None).unwrap();
    produce(&node, &[("a", None)], None, None).unwrap();
    produce(&node, &[("b", Some("1"))], None, None).unwrap();
    compaction::run(&node);
    assert_eq!(keys(&node), expected(&[(1, "a"), (2, "b")]));
    compaction::run(&node);
    assert_eq!(keys(&node), expected(&[(2, "b")]));
}

#[test]
fn a_tombstone_stays_for_its_retention() {
    let mut configs = COMPACT.to_vec();
    configs[2].1 = "60000";
    let node = compacted(&configs);
    produce(&node, &[("a", None)], None, None).unwrap();
    produce(&node, &[("b", Some("1"))], None, None).unwrap();
    compaction::run(&node);
    compaction::run(&node);
    assert_eq!(keys(&node), expected(&[(0, "a"), (1, "b")]));
}

#[test]
fn a_reader_in_a_gap_finds_what_comes_next_and_the_end() {
    let node = compacted(COMPACT);
    let p = init(&node, "x", EndMode::default()).unwrap();
    transaction(&node, "x", p, 0, &[("a", Some("gone"))], false);
    compaction::run(&node);
    // nothing committed at all: an empty batch still leads past the end
    assert_eq!(committed(&node), []);
    let left = batches(&node);
    assert_eq!(left.len(), 1);
    assert_eq!(BatchHeader::parse_untrusted_or_empty(&left[0].1).last_offset(), 1);
}

#[test]
fn young_records_wait_for_their_lag() {
    let mut configs = COMPACT.to_vec();
    let never = i64::MAX.to_string();
    configs.push(("min.compaction.lag.ms", &never));
    let node = compacted(&configs);
    produce(&node, &[("a", Some("1"))], None, None).unwrap();
    produce(&node, &[("a", Some("2"))], None, None).unwrap();
    compaction::run(&node);
    assert_eq!(keys(&node).len(), 2);
}

#[test]
fn compressed_batches_are_compacted_too() {
    let node = compacted(COMPACT);
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Snappy] {
        let bytes = testing::batch(&[("a", Some("1")), ("b", Some("1"))], None, false, compression);
        let mut state = node.state();
        let next = state.partition(TOPIC, 0).unwrap().meta.next;
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.place(next, None);
        let stored = crate::log::batch::stored(&bytes, &header);
        let mut changes = Changes::default();
        state.append(&tp(), &header, &stored, &mut changes);
        node.store.commit(changes).unwrap();
    }
    compaction::run(&node);
    assert_eq!(keys(&node), expected(&[(4, "a"), (5, "b")]));
}

#[test]
fn retention_by_size_drops_the_oldest_batches() {
    let node = node(&[("retention.bytes", "200"), ("retention.ms", "-1")]);
    for _ in 0..10 {
        produce(&node, &[("k", Some("v"))], None, None).unwrap();
    }
    retention::run(&node);
    let state = node.state();
    let meta = &state.partition(TOPIC, 0).unwrap().meta;
    assert!(meta.bytes <= 200 && meta.bytes > 0, "{meta:?}");
    assert_eq!(meta.start, 8);
}

#[test]
fn retention_by_time_drops_old_batches_and_spares_compacted_topics() {
    let old = node(&[("retention.ms", "1000")]);
    produce(&old, &[("k", Some("v"))], None, None).unwrap();
    retention::run(&old);
    assert_eq!(old.state().partition(TOPIC, 0).unwrap().meta.start, 1);
    let compact = node(&[("retention.ms", "1000"), ("cleanup.policy", "compact")]);
    produce(&compact, &[("k", Some("v"))], None, None).unwrap();
    retention::run(&compact);
    assert_eq!(compact.state().partition(TOPIC, 0).unwrap().meta.start, 0);
}

#[test]
fn the_space_of_replaced_records_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig {
        compaction_min_records: 1,
        data_dir: Some(dir.path().to_owned()),
        ..BrokerConfig::default()
    };
    let node = with_topic(Node::open(config, 0).unwrap(), COMPACT);
    let big = "x".repeat(1 << 20);
    for _ in 0..80 {
        produce(&node, &[("a", Some(&big[..1_000_000]))], None, None).unwrap();
    }
    let size = || -> u64 {
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().map_or(0, |m| m.len())).sum()
    };
    let before = size();
    compaction::run(&node);
    node.store.reclaim();
    // RocksDB's threads delete the files, on a slow disk some seconds after the compaction has returned, and tell
    // nobody: the condition is asked for until it holds.
    let deadline = Instant::now() + Duration::from_secs(60);
    while size() >= before / 2 {
        assert!(Instant::now() < deadline, "{} of {before} left", size());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(keys(&node), expected(&[(79, "a")]));
}
