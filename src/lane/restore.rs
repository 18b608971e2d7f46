//! Restore: brings a store up to its changelog. Refuses a checkpoint that is torn (rule B).

use super::fault::crash_point;
use super::mutation::{Mutation, mutated};
use super::{Host, LaneConfig, LaneEnd};
use crate::codec::group::Group;
use crate::codec::{headers, key, row};
use crate::core::ids::Millis;
use crate::core::state::{Key, Position, Row};
use crate::log::{Isolation, Log, Record};
use crate::store::{Store, Write};
use std::time::{Duration, Instant};

/// Bytes that one batch of the restore puts into the store.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long the log may stay silent before the restore gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Reads the changelog from where the store is to its end, which is asked behind the fence. Returns the position.
pub(super) fn restore(
    config: &LaneConfig,
    log: &dyn Log,
    store: &mut dyn Store,
    host: &dyn Host,
) -> Result<Option<Position>, LaneEnd> {
    let topic = &config.topics.changelog;
    let isolation =
        if mutated(Mutation::ChangelogUncommitted) { Isolation::Uncommitted } else { Isolation::Committed };
    let range = log.offsets(topic, config.partition, isolation)?;
    let mut from = store.next_changelog_offset()?;
    if from > range.end {
        return Err(LaneEnd::Broken(format!(
            "SAKIA-L01: the store of lane {} holds the changelog {topic} up to offset {from}, but it ends at {}: the \
             topic was deleted or truncated, or the state folder is of another cluster",
            config.partition, range.end
        )));
    }
    if from > 0 && from < range.start {
        tracing::warn!("{topic} begins at {} now, the store ends at {from}: it is rebuilt", range.start);
        store.wipe()?;
        from = 0;
    }
    let mut run = Run::new(config, store, host.now(), from)?;
    if from < range.end {
        let mut reader = log.read(topic, config.partition, from.max(range.start), isolation)?;
        let mut progress = Progress::new(config, from.max(range.start), range.end);
        let mut count = from.max(range.start);
        let mut heard = host.uptime();
        let counts = mutated(Mutation::CountRecords);
        while (if counts { count } else { reader.position()? }) < range.end {
            match reader.next(Duration::from_millis(100))? {
                // Of a later owner, which has fenced this one: its checkpoint may be cut here.
                Some(record) if record.offset >= range.end => break,
                Some(record) => {
                    heard = host.uptime();
                    progress.at(record.offset);
                    count += 1;
                    run.take(record)?;
                }
                None if host.uptime().saturating_sub(heard) > SILENCE_MAX => {
                    return Err(LaneEnd::Lost(format!(
                        "the changelog {topic} partition {} gave nothing for {SILENCE_MAX:?}, short of its end {}",
                        config.partition, range.end
                    )));
                }
                None => {}
            }
        }
        progress.done();
        run.finish()?;
    }
    position(store)
}

/// The position that a store holds.
pub(super) fn position(store: &dyn Store) -> Result<Option<Position>, LaneEnd> {
    let Some(bytes) = store.get(&key::encode(&Key::Position))? else { return Ok(None) };
    match row::decode(&Key::Position, &bytes) {
        Ok(Row::Position(position)) => Ok(Some(position)),
        Ok(_) => Ok(None),
        Err(error) => Err(LaneEnd::Broken(error.to_string())),
    }
}

struct Run<'a> {
    config: &'a LaneConfig,
    store: &'a mut dyn Store,
    /// Records younger than this must form complete checkpoints: compaction has not touched them.
    strict_from: Millis,
    /// The last record seen, and its offset.
    last: Option<(Group, i64)>,
    /// Whether that one was too young to have been compacted.
    last_strict: bool,
    /// Number of the store's last checkpoint, if nothing behind it can have been compacted.
    complete: Option<u64>,
    batch: Vec<Write>,
    bytes: usize,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a LaneConfig,
        store: &'a mut dyn Store,
        now: Millis,
        from: i64,
    ) -> Result<Self, LaneEnd> {
        let lag = u64::try_from(config.min_compaction_lag.as_millis()).unwrap_or(u64::MAX);
        // Without a lag compaction may have touched anything.
        let strict_from = if lag == 0 { u64::MAX } else { now.saturating_sub(lag) };
        // Behind a store that is younger than the lag nothing can have been compacted away.
        let stored = if from > 0 { position(store)?.filter(|p| p.now >= strict_from) } else { None };
        let complete = stored.map(|p| p.checkpoint);
        Ok(Run {
            config,
            store,
            strict_from,
            last: None,
            last_strict: false,
            complete,
            batch: Vec::new(),
            bytes: 0,
        })
    }

    fn take(&mut self, record: Record) -> Result<(), LaneEnd> {
        let group = match record.header(headers::GROUP).map(|h| Group::decode(h)) {
            Some(Ok(group)) => group,
            Some(Err(error)) => return Err(self.broken(record.offset, &error.to_string())),
            None => return Err(self.broken(record.offset, "a record that no lane wrote")),
        };
        let strict = u64::try_from(record.timestamp_ms).is_ok_and(|t| t >= self.strict_from);
        if let Err(why) = self.check(group, strict)
            && !mutated(Mutation::TornIsWhole)
        {
            return Err(self.broken(record.offset, &why));
        }
        let Some(key) = record.key else {
            return Err(self.broken(record.offset, "a record without a key"));
        };
        if let Err(error) = key::decode(&key) {
            return Err(self.broken(record.offset, &error.to_string()));
        }
        self.bytes += key.len() + record.value.as_ref().map_or(0, bytes::Bytes::len);
        self.batch.push((key, record.value));
        self.last = Some((group, record.offset));
        self.last_strict = strict;
        // Only whole checkpoints where they can be told: then a store that was interrupted resumes between two.
        if self.bytes >= BATCH_BYTES && (group.is_last() || !strict) {
            self.flush(record.offset + 1)?;
        }
        Ok(())
    }

    /// Compares a record with the one before it.
    fn check(&self, group: Group, strict: bool) -> Result<(), String> {
        let Some((last, _)) = self.last else {
            return match self.complete {
                Some(number) if strict && (group.index, group.checkpoint) != (0, number + 1) => Err(format!(
                    "checkpoint {} record {} follows checkpoint {number}",
                    group.checkpoint, group.index
                )),
                _ => Ok(()),
            };
        };
        if group.epoch < last.epoch || group.checkpoint < last.checkpoint {
            return Err(format!(
                "checkpoint {} of epoch {} follows checkpoint {} of epoch {}",
                group.checkpoint, group.epoch, last.checkpoint, last.epoch
            ));
        }
        // The record before may be the last that compaction reached; from then on there is no gap.
        if !strict || !self.last_strict {
            return Ok(());
        }
        let next = if last.is_last() { (last.checkpoint + 1, 0) } else { (last.checkpoint, last.index + 1) };
        if (group.checkpoint, group.index) != next {
            return Err(format!(
                "checkpoint {} record {} of {} follows checkpoint {} record {} of {}",
                group.checkpoint, group.index, group.count, last.checkpoint, last.index, last.count
            ));
        }
        Ok(())
    }

    fn flush(&mut self, next_offset: i64) -> Result<(), LaneEnd> {
        crash_point!("restore:before-batch");
        self.store.apply(&self.batch, next_offset)?;
        crash_point!("restore:after-batch");
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    /// The offset is that of a live store: behind the last record, not behind the marker that follows it.
    fn finish(mut self) -> Result<(), LaneEnd> {
        let Some((last, offset)) = self.last else { return Ok(()) };
        if !last.is_last() && !mutated(Mutation::TornIsWhole) {
            return Err(self.broken(offset, "the last checkpoint has no position: it is torn"));
        }
        self.flush(offset + 1)
    }

    fn broken(&self, offset: i64, why: &str) -> LaneEnd {
        LaneEnd::Broken(format!(
            "SAKIA-L02: the changelog {} partition {} is not whole at offset {offset}: {why}. The lane stops rather than \
             run on torn state",
            self.config.topics.changelog, self.config.partition
        ))
    }
}

/// Says how far a restore is.
struct Progress<'a> {
    config: &'a LaneConfig,
    start: i64,
    end: i64,
    records: u64,
    began: Instant,
    said: Instant,
}

impl<'a> Progress<'a> {
    fn new(config: &'a LaneConfig, start: i64, end: i64) -> Self {
        Progress { config, start, end, records: 0, began: Instant::now(), said: Instant::now() }
    }

    fn at(&mut self, offset: i64) {
        self.records += 1;
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            let done = (offset - self.start) as f64 / (self.end - self.start).max(1) as f64;
            let seconds = self.began.elapsed().as_secs_f64();
            tracing::info!(
                lane = self.config.partition,
                "restoring: {:.0} % of the changelog, {:.0} records/s, about {:.0} s to go",
                done * 100.0,
                self.records as f64 / seconds,
                seconds * (1.0 - done) / done.max(0.001)
            );
        }
    }

    fn done(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::debug!(
            lane = self.config.partition,
            records = self.records,
            "restored in {seconds:.2} s ({:.0} records/s)",
            self.records as f64 / seconds.max(0.000_001)
        );
    }
}
