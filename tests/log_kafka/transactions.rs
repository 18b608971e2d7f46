//! Transactions on the ids of a lane's checkpoints.

use super::{WAIT, acks, broker, lane, read_visible, record, values};
use bytes::Bytes;
use sakia::log::kafka::{KafkaConfig, KafkaLog};
use sakia::log::{Checkpoints, Committed, Log, LogError, NewRecord};
use std::time::Instant;

/// Both ids, used in turn.
struct InTurn([Box<dyn Checkpoints>; 2]);

impl InTurn {
    fn commit(&mut self, records: &[NewRecord]) -> Result<i64, LogError> {
        self.0.swap(0, 1);
        let last = self.0[1].produce(records)?;
        assert_eq!(self.0[1].commit()?, Committed::Once, "no connection broke");
        Ok(last)
    }
}

/// KAFKA-17754: librdkafka repeats a commit whose connection breaks, and does not say so.
#[test]
fn a_commit_that_was_sent_twice_is_told_from_others() {
    let broker = sakia_broker::Broker::start(sakia_broker::BrokerConfig::default()).unwrap();
    let c = KafkaConfig::new(broker.bootstrap());
    let log = KafkaLog::new(c.clone()).unwrap();
    let names = lane(&c);
    let (a, _rx) = acks();
    let [mut id, mut other] = log.open_lane(&names, a, WAIT).unwrap().checkpoints;
    let commit = |id: &mut Box<dyn Checkpoints>| {
        id.produce(&[record(&names.changelog, Some(1), "k", "v")]).unwrap();
        id.commit().unwrap() == Committed::MayComeAgain
    };
    assert!(!commit(&mut id));
    for _ in 0..5 {
        let seen = broker.faults().requests_seen(sakia_broker::Api::EndTxn);
        broker.faults().drop_next_answers(sakia_broker::Api::EndTxn, 1);
        assert!(commit(&mut id));
        assert_eq!(broker.faults().requests_seen(sakia_broker::Api::EndTxn), seen + 2);
        assert!(!commit(&mut id), "the connection is good again");
        assert!(!commit(&mut other));
    }
    assert_eq!(read_visible(&log, &names.changelog, 16).len(), 16);
}

#[test]
fn checkpoints_are_atomic() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let names = lane(&c);
    let (a, _rx) = acks();
    let mut in_turn = InTurn(log.open_lane(&names, a, WAIT).unwrap().checkpoints);
    let t = &names.changelog;
    let batch = |n: i32| vec![record(t, Some(0), "other", "o"), record(t, Some(1), "k", &format!("{n}"))];
    assert_eq!(in_turn.commit(&batch(1)).unwrap(), 0);
    // The marker of the first may come before or after it: another id writes the second.
    assert!(in_turn.commit(&batch(2)).unwrap() >= 1);
    let [id, _] = &mut in_turn.0;
    id.produce(&batch(3)).unwrap();
    id.produce(&batch(3)).unwrap();
    id.abort().unwrap();
    let mut huge = batch(4);
    huge[1].value = Some(Bytes::from(vec![7; 3 << 20]));
    let e = in_turn.commit(&huge).unwrap_err();
    assert!(
        matches!(&e, LogError::RefusedRecord { index: 1, topic_wide: false, text } if text.contains("partition 1")),
        "{e}"
    );
    // Larger than the topic allows, but not than the producer does: the broker refuses it.
    let mut large = batch(4);
    large[1].value = Some(Bytes::from(
        (0..1_500_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>(),
    ));
    let e = in_turn.commit(&large).unwrap_err();
    assert!(matches!(&e, LogError::RefusedRecord { index: 1, topic_wide: false, .. }), "{e}");
    for (wrong, of_topic) in [
        (record("no-such-topic", Some(0), "k", "v"), true),
        (record("no-such-topic", None, "k", "v"), true),
        (record(t, Some(77), "k", "v"), false),
    ] {
        let began = Instant::now();
        let e = in_turn.commit(&[record(t, Some(0), "k", "never"), wrong]).unwrap_err();
        assert!(
            matches!(&e, LogError::RefusedRecord { index: 1, topic_wide, .. } if *topic_wide == of_topic),
            "{e}"
        );
        println!("refused after {:?}: {e}", began.elapsed());
    }
    let last = in_turn.commit(&batch(5)).unwrap();
    // In two goes.
    let [id, _] = &mut in_turn.0;
    id.produce(&batch(6)).unwrap();
    let more = id.produce(&batch(7)).unwrap();
    let e = id.produce(&huge).unwrap_err();
    assert!(matches!(&e, LogError::RefusedRecord { index: 1, .. }), "{e}");
    id.produce(&batch(6)).unwrap();
    assert!(id.produce(&batch(7)).unwrap() > more, "what was written before it is aborted");
    assert_eq!(id.commit().unwrap(), Committed::Once);
    let found = read_visible(&log, t, 5);
    assert_eq!(values(&found), ["1", "2", "5", "6", "7"]);
    assert_eq!(found[2].offset, last);
    assert_eq!(found[0].headers.len(), 2);
    assert!(found[0].timestamp_ms > 0);
    let mut tomb = batch(8);
    tomb[1].value = None;
    in_turn.commit(&tomb).unwrap();
    assert_eq!(read_visible(&log, t, 6).last().unwrap().value, None);
}
