//! Restore from a changelog in memory: whole, torn, compacted.

use super::Host as _;
use super::host::At;
use super::restore::{changelog, compare_with_group, compare_with_layout, unless_lost};
use super::{LaneConfig, LaneEnd, RestoreBudget, Topics};
use crate::codec::group::Group;
use crate::codec::{headers, key, row};
use crate::core::ids::InstanceKey;
use crate::core::limits::Limits;
use crate::core::state::{Key, Position, Row};
use crate::log::{
    Isolation, JournalAcks, LaneNames, LaneWriter, Log, LogError, LogReader, OffsetRange, Record,
};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Store};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const NOW: u64 = 10_000_000;
const YOUNG: i64 = 9_999_000;
const LAG: Duration = Duration::from_secs(60);

/// A changelog that somebody wrote; offsets are as given.
struct Changelog(Vec<Record>);

struct Reader {
    rest: VecDeque<Record>,
    position: i64,
    end: i64,
}

impl LogReader for Reader {
    fn next(&mut self, _: Duration) -> Result<Option<Record>, LogError> {
        let next = self.rest.pop_front();
        self.position = next.as_ref().map_or(self.end, |r| r.offset + 1);
        Ok(next)
    }
    fn position(&mut self) -> Result<i64, LogError> {
        Ok(self.position)
    }
}

impl Log for Changelog {
    fn open_lane(&self, _: &LaneNames, _: Arc<dyn JournalAcks>, _: Duration) -> Result<LaneWriter, LogError> {
        Err(LogError::Unavailable("a changelog in memory has no writer".into()))
    }
    fn offsets(&self, _: &str, _: i32, _: Isolation) -> Result<OffsetRange, LogError> {
        let start = self.0.first().map_or(0, |r| r.offset);
        // A control record follows the last one.
        Ok(OffsetRange { start, end: self.0.last().map_or(0, |r| r.offset + 2) })
    }
    fn read(&self, _: &str, _: i32, from: i64, _: Isolation) -> Result<Box<dyn LogReader>, LogError> {
        let rest = self.0.iter().filter(|r| r.offset >= from).cloned().collect();
        let end = self.offsets("", 0, Isolation::Committed)?.end;
        Ok(Box::new(Reader { rest, position: from, end }))
    }
    fn trim(&self, _: &str, _: i32, _: i64) -> Result<(), LogError> {
        Ok(())
    }
}

impl Changelog {
    /// Appends a checkpoint that writes these signals (by number) and its position.
    fn checkpoint(&mut self, number: u64, signals: &[u64]) {
        let count = u32::try_from(signals.len() + 1).unwrap();
        let place = |index: usize| Group {
            epoch: 1,
            checkpoint: number,
            index: u32::try_from(index).unwrap(),
            count,
        };
        for (index, n) in signals.iter().enumerate() {
            self.push(signal(*n), Some(value(*n)), place(index));
        }
        let position = Position { epoch: 1, checkpoint: number, now: NOW, ..Position::default() };
        self.push(Key::Position, Some(row::encode(&Row::Position(position))), place(signals.len()));
    }

    fn push(&mut self, key: Key, value: Option<Bytes>, group: Group) {
        let offset = self.0.last().map_or(0, |r| r.offset + 1);
        self.0.push(Record {
            partition: 0,
            offset,
            timestamp_ms: YOUNG,
            key: Some(key::encode(&key)),
            value,
            headers: vec![(headers::GROUP.into(), group.encode())],
        });
    }

    fn restore(&self, store: &mut MemoryStore) -> Result<Option<Position>, LaneEnd> {
        restore(self, store, &At::new(NOW))
    }

    fn error(&self) -> String {
        let found = self.restore(&mut MemoryStore::default());
        assert!(matches!(found, Err(LaneEnd::Broken(_))), "{found:?}");
        found.unwrap_err().to_string()
    }
}

/// As a take-over does it.
fn restore(log: &dyn Log, store: &mut MemoryStore, host: &At) -> Result<Option<Position>, LaneEnd> {
    let range = changelog(&config(), log)?;
    unless_lost(super::restore::restore(&config(), log, store, host, range), &config(), log, range.end)
}

fn signal(n: u64) -> Key {
    Key::Signal(InstanceKey::new("w", "i"), n)
}

fn value(n: u64) -> Bytes {
    row::encode(&Row::Signal(Bytes::from(n.to_string())))
}

pub(super) fn config() -> LaneConfig {
    LaneConfig {
        app: "a".into(),
        partition: 0,
        partitions: 1,
        reply_partitions: 1,
        topics: Topics::of("a"),
        limits: Limits::default(),
        partition_for: |_, _| 0,
        commit_interval: LAG,
        journal_roll: LAG,
        min_compaction_lag: LAG,
        keep_deletes: LAG * 24,
        cache_bytes: 0,
        outbox_len: 100,
        busy_steps: 100,
        restore_budget: Arc::new(RestoreBudget::new(0)),
        fence_timeout: LAG,
    }
}

#[test]
fn whole_checkpoints_are_restored_and_a_store_that_is_behind_reads_only_the_tail() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1, 2]);
    let mut store = MemoryStore::default();
    assert_eq!(log.restore(&mut store).unwrap().unwrap().checkpoint, 1);
    log.checkpoint(2, &[3]);
    assert_eq!(log.restore(&mut store).unwrap().unwrap().checkpoint, 2);
    let mut fresh = MemoryStore::default();
    log.restore(&mut fresh).unwrap();
    assert_eq!(store.dump(), fresh.dump(), "the tail gives the same bytes as all of it");
    assert_eq!(store.get(&key::encode(&signal(2))).unwrap(), Some(value(2)));
}

/// A changelog whose reader stands still for long before the first record, and to which a later owner writes.
struct Overtaken {
    log: Changelog,
    host: Arc<At>,
}

impl Log for Overtaken {
    fn open_lane(
        &self,
        names: &LaneNames,
        acks: Arc<dyn JournalAcks>,
        wait: Duration,
    ) -> Result<LaneWriter, LogError> {
        self.log.open_lane(names, acks, wait)
    }
    fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<OffsetRange, LogError> {
        let OffsetRange { start, end } = self.log.offsets(topic, partition, isolation)?;
        // The later owner writes while this one reads.
        let written = isolation == Isolation::Uncommitted && self.host.now() > NOW;
        Ok(OffsetRange { start, end: end + i64::from(written) })
    }
    fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<Box<dyn LogReader>, LogError> {
        self.host.set(NOW + 10 * u64::try_from(LAG.as_millis()).unwrap());
        self.log.read(topic, partition, from, isolation)
    }
    fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError> {
        self.log.trim(topic, partition, before)
    }
}

#[test]
fn no_lane_begins_while_a_transaction_is_open_behind_its_fence() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    let end = log.offsets("changelog", 0, Isolation::Committed).unwrap().end;
    // It is open from the first question on.
    let host = Arc::new(At::new(NOW + 1));
    let mut store = MemoryStore::default();
    store.load(Batch::default(), end + 1).unwrap();
    let found = restore(&Overtaken { log, host: host.clone() }, &mut store, &host);
    assert!(matches!(&found, Err(LaneEnd::Lost(why)) if why.contains("SAKIA-L07")), "{found:?}");
    assert_eq!(store.next_changelog_offset().unwrap(), 0, "the store has what may be taken back");
}

/// Seed 1381 of the simulator.
#[test]
fn what_a_later_owner_does_to_the_log_is_no_damage() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.checkpoint(2, &[2, 3]);
    log.0.pop();
    let host = Arc::new(At::new(NOW));
    let log = Overtaken { log, host: host.clone() };
    let found = restore(&log, &mut MemoryStore::default(), &host);
    assert!(matches!(found, Err(LaneEnd::Lost(_))), "{found:?}");
}

/// Seed 40005812 of the simulator.
#[test]
fn a_position_that_a_later_owner_has_replaced_is_no_lost_state() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    let end = log.offsets("changelog", 0, Isolation::Committed).unwrap().end;
    let compared = || compare_with_group(&config(), None, Some(4));
    let alone = unless_lost(compared(), &config(), &log, end);
    assert!(matches!(&alone, Err(LaneEnd::Broken(why)) if why.contains("SAKIA-L06")), "{alone:?}");
    let host = Arc::new(At::new(NOW + 1));
    let overtaken = unless_lost(compared(), &config(), &Overtaken { log, host }, end);
    assert!(matches!(overtaken, Err(LaneEnd::Lost(_))), "{overtaken:?}");
}

#[test]
fn a_lane_does_not_begin_on_the_state_of_another_number_of_lanes() {
    let ends = |partition: i32, then: Option<i32>| {
        let config = LaneConfig { partition, partitions: 4, ..config() };
        let position = then.map(|partitions| Position { partitions, ..Position::default() });
        compare_with_layout(&config, position.as_ref()).map_err(|end| end.to_string())
    };
    for then in [None, Some(0), Some(4)] {
        assert_eq!(ends(3, then), Ok(()));
    }
    let grown = ends(3, Some(2)).unwrap_err();
    assert!(grown.contains("SAKIA-L08") && grown.contains("had 2 lanes, it has 4 now"), "{grown}");
    let new = ends(4, None).unwrap_err();
    assert!(new.contains("SAKIA-L08") && new.contains("none for partition 4"), "{new}");
}

/// Seed 3015010 of the simulator.
#[test]
fn what_compaction_took_away_while_a_restore_stood_still_is_not_missed() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.0.pop();
    log.checkpoint(2, &[2]);
    assert!(log.error().contains("SAKIA-L02"), "at once it would be torn");
    let host = Arc::new(At::new(NOW));
    let log = Overtaken { log, host: host.clone() };
    restore(&log, &mut MemoryStore::default(), &host).unwrap();
}

#[test]
fn a_checkpoint_without_its_position_is_torn() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.checkpoint(2, &[2, 3]);
    log.0.pop();
    assert!(log.error().contains("SAKIA-L02"), "{}", log.error());
}

#[test]
fn a_checkpoint_with_a_hole_is_torn() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.checkpoint(2, &[2, 3, 4]);
    log.0.remove(3);
    assert!(log.error().contains("checkpoint 2 record 2 of 4 follows"), "{}", log.error());
}

#[test]
fn a_missing_checkpoint_is_noticed_also_right_behind_the_store() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    let mut store = MemoryStore::default();
    log.restore(&mut store).unwrap();
    log.checkpoint(3, &[3]);
    assert!(log.error().contains("checkpoint 3"), "{}", log.error());
    let end = log.restore(&mut store).unwrap_err().to_string();
    assert!(end.contains("SAKIA-L02"), "{end}");
}

#[test]
fn what_compaction_took_away_is_not_missed() {
    let mut log = Changelog(Vec::new());
    for number in 1..=4 {
        log.checkpoint(number, &[number, 99]);
    }
    // Compaction keeps the last record of a key: all but the last position and the last 99 are gone from the old part.
    let old = log.0.len() - 3;
    for record in &mut log.0[..old] {
        record.timestamp_ms = 1;
    }
    let mut at = 0;
    log.0.retain(|r| {
        at += 1;
        at > old || (r.key.as_deref() != Some(&key::encode(&Key::Position)[..]) && at % 3 == 1)
    });
    let mut store = MemoryStore::default();
    let position = log.restore(&mut store).unwrap().unwrap();
    assert_eq!(position.checkpoint, 4);
    assert_eq!(store.get(&key::encode(&signal(1))).unwrap(), Some(value(1)));
}

#[test]
fn an_old_store_does_not_miss_what_compaction_took_away_behind_it() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    let mut store = MemoryStore::default();
    log.restore(&mut store).unwrap();
    // Checkpoints 2 to 4 were superseded while the store was away.
    log.checkpoint(5, &[1]);
    log.0.drain(..2);
    let long_after = NOW + 1_000_000;
    for record in &mut log.0 {
        record.timestamp_ms = i64::try_from(long_after).unwrap();
    }
    let position = restore(&log, &mut store, &At::new(long_after)).unwrap().unwrap();
    assert_eq!(position.checkpoint, 5);
}

#[test]
fn a_record_that_no_lane_wrote_stops_the_lane() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.0[0].headers.clear();
    assert!(log.error().contains("no lane wrote"), "{}", log.error());
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    log.0[0].key = Some(Bytes::from_static(&[250, 1]));
    assert!(log.error().contains("tag 250"), "an unknown tag is never skipped: {}", log.error());
}

#[test]
fn a_store_that_is_ahead_of_its_changelog_is_refused() {
    let mut log = Changelog(Vec::new());
    log.checkpoint(1, &[1]);
    let mut store = MemoryStore::default();
    store.apply(&[], 1_000).unwrap();
    let end = log.restore(&mut store).unwrap_err().to_string();
    assert!(end.contains("SAKIA-L01"), "{end}");
}
