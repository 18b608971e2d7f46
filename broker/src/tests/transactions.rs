//! The table at the top of `txn.rs`.
use super::*;
use crate::state::CommittedOffset;
use std::time::{Duration, Instant};

const AT_ONCE: EndMode = EndMode { window: Duration::ZERO, frozen: false };
const SLOW: EndMode = EndMode { window: Duration::from_secs(60), frozen: false };

fn one() -> [(&'static str, Option<&'static str>); 1] {
    [("k", Some("v"))]
}

#[test]
fn records_are_visible_after_commit_and_never_after_abort() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    transaction(&node, "x", p, 0, &[("kept", Some("v"))], true);
    transaction(&node, "x", p, 1, &[("gone", Some("v"))], false);
    begin(&node, "x", p).unwrap();
    produce(&node, &[("open", Some("v"))], Some((p.id, p.epoch, 2)), Some("x")).unwrap();
    produce(&node, &[("behind", Some("v"))], None, None).unwrap();
    let keys: Vec<_> = committed(&node).into_iter().map(|r| r.2).collect();
    assert_eq!(keys, ["kept"]);
}

#[test]
fn a_partition_that_was_not_added_takes_no_transactional_record() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    let refused = produce(&node, &one(), Some((p.id, p.epoch, 0)), Some("x"));
    assert_eq!(refused, Err(ResponseError::InvalidTxnState));
    let unknown = produce(&node, &one(), Some((4711, 0, 0)), Some("x"));
    assert_eq!(unknown, Err(ResponseError::InvalidProducerIdMapping));
    assert!(batches(&node).is_empty());
}

#[test]
fn a_new_owner_aborts_the_open_transaction_and_fences_the_old_one() {
    let node = node(&[]);
    let old = init(&node, "x", AT_ONCE).unwrap();
    begin(&node, "x", old).unwrap();
    produce(&node, &one(), Some((old.id, old.epoch, 0)), Some("x")).unwrap();
    let new = init(&node, "x", AT_ONCE).unwrap();
    assert_eq!(new.id, old.id);
    assert!(new.epoch > old.epoch);
    assert_eq!(end(&node, "x", old, true, AT_ONCE), Err(ResponseError::ProducerFenced));
    assert_eq!(begin(&node, "x", old), Err(ResponseError::ProducerFenced));
    let late = produce(&node, &one(), Some((old.id, old.epoch, 1)), Some("x"));
    assert_eq!(late, Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(committed(&node), []);
    transaction(&node, "x", new, 0, &one(), true);
    assert_eq!(committed(&node).len(), 1);
}

#[test]
fn ending_twice_is_fine_if_it_is_the_same_end() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    assert_eq!(end(&node, "x", p, true, AT_ONCE), Err(ResponseError::InvalidTxnState));
    transaction(&node, "x", p, 0, &one(), true);
    assert_eq!(end(&node, "x", p, true, AT_ONCE), Ok(()));
    assert_eq!(end(&node, "x", p, false, AT_ONCE), Err(ResponseError::InvalidTxnState));
}

#[test]
fn within_the_window_the_same_id_is_told_to_come_back() {
    let node = node(&[]);
    let p = init(&node, "x", SLOW).unwrap();
    begin(&node, "x", p).unwrap();
    produce(&node, &one(), Some((p.id, p.epoch, 0)), Some("x")).unwrap();
    assert_eq!(end(&node, "x", p, true, SLOW), Ok(()));
    let busy = Err(ResponseError::ConcurrentTransactions);
    assert_eq!(begin(&node, "x", p), busy);
    assert_eq!(end(&node, "x", p, true, SLOW), busy);
    assert_eq!(init(&node, "x", SLOW), Err(ResponseError::ConcurrentTransactions));
    assert_eq!(committed(&node), [], "no marker yet");
    node.state().complete_due_txns(Instant::now() + SLOW.window).unwrap();
    assert_eq!(committed(&node).len(), 1);
    assert_eq!(begin(&node, "x", p), Ok(()));
}

#[test]
fn taking_over_an_open_transaction_is_first_answered_with_come_back() {
    let node = node(&[]);
    let old = init(&node, "x", SLOW).unwrap();
    begin(&node, "x", old).unwrap();
    assert_eq!(init(&node, "x", SLOW), Err(ResponseError::ConcurrentTransactions));
    assert_eq!(begin(&node, "x", old), Err(ResponseError::ProducerFenced));
    node.state().complete_due_txns(Instant::now() + SLOW.window).unwrap();
    assert!(init(&node, "x", SLOW).unwrap().epoch > old.epoch);
}

#[test]
fn a_transaction_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    begin(&node, "x", p).unwrap();
    produce(&node, &one(), Some((p.id, p.epoch, 0)), Some("x")).unwrap();
    node.state().expire_txns(AT_ONCE).unwrap();
    assert_eq!(begin(&node, "x", p), Ok(()), "not yet");
    node.state().txns.get_mut("x").unwrap().meta.started_ms -= 61_000;
    node.state().expire_txns(AT_ONCE).unwrap();
    assert_eq!(end(&node, "x", p, true, AT_ONCE), Err(ResponseError::ProducerFenced));
    assert_eq!(committed(&node), []);
}

#[test]
fn a_producer_that_asks_twice_for_a_new_epoch_gets_the_same() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    let again = |known| {
        let mut changes = Changes::default();
        let result = node.state().init_txn("x", 60_000, Some(known), AT_ONCE, &mut changes);
        node.store.commit(changes).unwrap();
        result
    };
    let bumped = again(p).unwrap();
    assert_eq!(bumped.epoch, p.epoch + 1);
    assert_eq!(again(p), Ok(bumped), "KIP-360: a retry");
    let stranger = ProducerIdentity { id: p.id, epoch: p.epoch + 7 };
    assert_eq!(again(stranger), Err(ResponseError::ProducerFenced));
}

#[test]
fn offsets_of_a_transaction_count_from_its_commit() {
    let node = node(&[]);
    let p = init(&node, "x", AT_ONCE).unwrap();
    for (offset, commit) in [(5, true), (8, false)] {
        begin(&node, "x", p).unwrap();
        let number = node.state().new_commit();
        let value = CommittedOffset { offset, leader_epoch: -1, metadata: String::new(), number };
        node.state()
            .offsets
            .entry(GROUP.into())
            .or_default()
            .pending
            .entry(p.id)
            .or_default()
            .insert(tp(), value);
        end(&node, "x", p, commit, AT_ONCE).unwrap();
        let state = node.state();
        assert_eq!(state.offsets[GROUP].committed[&tp()].offset, 5);
        assert!(state.offsets[GROUP].pending.is_empty());
    }
}

#[test]
fn an_exhausted_epoch_gives_a_new_producer_id() {
    let node = node(&[]);
    let first = init(&node, "x", AT_ONCE).unwrap();
    node.state().txns.get_mut("x").unwrap().meta.epoch = i16::MAX - 1;
    let next = init(&node, "x", AT_ONCE).unwrap();
    assert!(next.id > first.id);
    assert_eq!(next.epoch, 0);
}

#[test]
fn a_frozen_end_is_answered_and_completes_after_the_thaw() {
    let node = node(&[]);
    node.faults.freeze_end_txn();
    let p = init(&node, "x", node.end_mode()).unwrap();
    begin(&node, "x", p).unwrap();
    produce(&node, &one(), Some((p.id, p.epoch, 0)), Some("x")).unwrap();
    assert_eq!(end(&node, "x", p, true, node.end_mode()), Ok(()));
    assert_eq!(committed(&node), []);
    node.faults.thaw_end_txn();
    node.state().complete_due_txns(Instant::now()).unwrap();
    assert_eq!(committed(&node).len(), 1);
}

#[test]
fn a_refused_request_changes_nothing() {
    let node = node(&[]);
    let refused = ResponseError::NotCoordinator.code();
    node.faults.refuse_next(crate::Api::InitProducerId, 1, refused);
    let ask = || {
        let refusal = node.faults.admit(crate::Api::InitProducerId);
        let call = Call { node: &node, version: 4, client_id: "test", refusal };
        call.init_producer_id(
            kafka_protocol::messages::InitProducerIdRequest::default().with_transactional_id(None),
        )
    };
    assert_eq!(ask().error_code, refused);
    let answer = ask();
    assert_eq!((answer.error_code, answer.producer_id.0), (0, 1000), "the first id was not used up");
}
