//! What a broker finds after its process was killed. The folder of a running broker is copied as it is: that
//! is what `kill -9` leaves.
use super::*;
use std::time::Duration;
use tempfile::TempDir;

/// A broker opened on a copy of the folder, while the first one still runs.
fn killed_and_started(dir: &TempDir) -> (TempDir, Node) {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let node = open(Some(copy.path()));
    (copy, node)
}

fn start() -> (TempDir, Node) {
    let dir = TempDir::new().unwrap();
    let node = with_topic(open(Some(dir.path())), &[("cleanup.policy", "compact")]);
    (dir, node)
}

#[test]
fn records_topics_and_the_next_offset_survive() {
    let (dir, node) = start();
    produce(&node, &[("a", Some("1")), ("b", Some("2"))], None, None).unwrap();
    let (_copy, after) = killed_and_started(&dir);
    assert_eq!(committed(&after), committed(&node));
    assert_eq!(after.state().topics[TOPIC].meta.configs["cleanup.policy"], "compact");
    assert_eq!(after.state().topics[TOPIC].meta.id, node.state().topics[TOPIC].meta.id);
    assert_eq!(produce(&after, &[("c", Some("3"))], None, None), Ok(2));
}

#[test]
fn an_idempotent_retry_is_recognised_after_a_restart() {
    let (dir, node) = start();
    for i in 0..3 {
        assert_eq!(produce(&node, &[("k", Some("v"))], Some((9, 0, i)), None), Ok(i64::from(i)));
    }
    let (_copy, after) = killed_and_started(&dir);
    assert_eq!(produce(&after, &[("k", Some("v"))], Some((9, 0, 1)), None), Ok(1));
    assert_eq!(produce(&after, &[("k", Some("v"))], Some((9, 0, 3)), None), Ok(3));
    let gap = produce(&after, &[("k", Some("v"))], Some((9, 0, 9)), None);
    assert_eq!(gap, Err(ResponseError::OutOfOrderSequenceNumber));
}

#[test]
fn a_kill_at_any_step_of_a_transaction_leaves_all_of_it_or_nothing() {
    let (dir, node) = start();
    let p = init(&node, "x", EndMode::default()).unwrap();
    let visible = |dir: &TempDir| killed_and_started(dir).1;
    begin(&node, "x", p).unwrap();
    assert_eq!(committed(&visible(&dir)).len(), 0);
    produce(&node, &[("k", Some("v"))], Some((p.id, p.epoch, 0)), Some("x")).unwrap();
    let open = visible(&dir);
    assert_eq!(committed(&open).len(), 0);
    assert_eq!(open.state().partition(TOPIC, 0).unwrap().last_stable_offset(), 0, "still open, as in Kafka");
    assert_eq!(end(&open, "x", p, true, EndMode::default()), Ok(()), "its owner may go on");
    assert_eq!(committed(&open).len(), 1);
    end(&node, "x", p, true, EndMode::default()).unwrap();
    assert_eq!(committed(&visible(&dir)).len(), 1);
}

#[test]
fn a_kill_between_the_two_steps_of_an_end_carries_out_the_decision() {
    for commit in [true, false] {
        let (dir, node) = start();
        let frozen = EndMode { window: Duration::ZERO, frozen: true };
        let p = init(&node, "x", frozen).unwrap();
        begin(&node, "x", p).unwrap();
        produce(&node, &[("k", Some("v"))], Some((p.id, p.epoch, 0)), Some("x")).unwrap();
        end(&node, "x", p, commit, frozen).unwrap();
        assert_eq!(committed(&node).len(), 0, "frozen");
        let (_copy, after) = killed_and_started(&dir);
        assert_eq!(committed(&after).len(), usize::from(commit));
        let state = after.state();
        let partition = state.partition(TOPIC, 0).unwrap();
        assert_eq!(partition.last_stable_offset(), partition.meta.next);
    }
}

#[test]
fn aborted_ranges_survive() {
    let (dir, node) = start();
    let p = init(&node, "x", EndMode::default()).unwrap();
    transaction(&node, "x", p, 0, &[("gone", Some("v"))], false);
    transaction(&node, "x", p, 1, &[("kept", Some("v"))], true);
    let (_copy, after) = killed_and_started(&dir);
    assert_eq!(committed(&after), committed(&node));
    assert_eq!(committed(&after).len(), 1);
}

#[test]
fn deleted_records_and_topics_do_not_come_back() {
    let (dir, node) = start();
    for _ in 0..4 {
        produce(&node, &[("k", Some("v")), ("k", Some("w"))], None, None).unwrap();
    }
    let mut changes = Changes::default();
    node.state().advance_start(&tp(), 5, &mut changes);
    node.store.commit(changes).unwrap();
    let (_copy, after) = killed_and_started(&dir);
    assert_eq!(after.state().partition(TOPIC, 0).unwrap().meta.start, 5);
    assert_eq!(batches(&after)[0].0, 4, "the batch that holds offset 5 stays whole");
    let mut changes = Changes::default();
    assert!(node.state().delete_topic(TOPIC, &mut changes));
    node.store.commit(changes).unwrap();
    let (_copy, after) = killed_and_started(&dir);
    let after = with_topic(after, &[]);
    assert_eq!(batches(&after), []);
    assert_eq!(produce(&after, &[("k", Some("v"))], None, None), Ok(0));
}
