//! Restore: brings a store up to its changelog. Refuses a checkpoint that is torn (rule B).

use super::fault::crash_point;
use super::progress::Progress;
use super::restore_budget::Share;
use super::{Host, LaneConfig, LaneEnd};
use crate::codec::group::Group;
use crate::codec::{headers, key, row};
use crate::core::ids::Millis;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Position, Row};
use crate::log::{Isolation, Lent, Log, OffsetRange};
use crate::store::{Batch, Store};
use std::time::Duration;

/// Records between two looks at the clock.
const LOOK_EVERY: u64 = 256;
/// How long the log may stay silent before the restore gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Behind the last record of a checkpoint there is always the marker of its transaction.
const MARKER: i64 = 1;

/// How far the changelog goes. Asked behind the fence: nothing that an earlier owner wrote comes later.
pub(super) fn changelog(config: &LaneConfig, log: &dyn Log) -> Result<OffsetRange, LaneEnd> {
    Ok(log.offsets(&config.topics.changelog, config.partition, isolation())?)
}

/// Reads the changelog from where the store is to its end. How far the lane is then; `None` if it never wrote a checkpoint.
pub(super) fn restore(
    config: &LaneConfig,
    log: &dyn Log,
    store: &mut dyn Store,
    host: &dyn Host,
    range: OffsetRange,
) -> Result<Option<Position>, LaneEnd> {
    nothing_open(config, log, store, range.end)?;
    let written = position(store)?.map_or(0, |p| p.now);
    let from = begin(config, store, host, range, written)?;
    if from < range.end {
        read(config, log, store, host, (from, range))?;
    }
    position(store)
}

/// Behind the fence no transaction is open on the changelog, as only owners write there. If one is, a later owner has begun,
/// or Kafka called a transaction complete whose markers it never wrote, and forgot it: the lane's first commit would make
/// that visible too, after its work was done again. What a store has of such a one may still be taken back.
fn nothing_open(
    config: &LaneConfig,
    log: &dyn Log,
    store: &mut dyn Store,
    stable: i64,
) -> Result<(), LaneEnd> {
    let (topic, lane) = (&config.topics.changelog, config.partition);
    let written = log.offsets(topic, lane, Isolation::Uncommitted)?.end;
    let ignored = [Mutation::OpenIgnored, Mutation::FenceJournalLast, Mutation::EndBeforeFence];
    if written <= stable || ignored.into_iter().any(mutated) {
        return Ok(());
    }
    if store.next_changelog_offset()? > stable {
        tracing::warn!(
            lane,
            "the store is emptied: it holds a checkpoint of which Kafka says that it is open"
        );
        store.wipe()?;
    }
    Err(LaneEnd::Lost(format!(
        "SAKIA-L07: a transaction is open on {topic} partition {lane}, behind the fence of all its producers: committed up \
         to offset {stable}, written up to {written}. The lane waits for its end; if none comes, Kafka has forgotten it"
    )))
}

/// The position in the state is the authority (rule C). The group's offset is committed after it, so it is never ahead
/// unless state was lost, or a later owner has let compaction take the position that was to be read.
pub(super) fn compare_with_group(
    config: &LaneConfig,
    position: Option<&Position>,
    group_offset: Option<i64>,
) -> Result<(), LaneEnd> {
    let state = position.map_or(0, |p| p.next_command);
    match group_offset {
        Some(group) if group > state => Err(LaneEnd::Broken(format!(
            "SAKIA-L06: group {} has committed offset {group} of {} partition {}, but the changelog {} only goes to {state}: \
             state was lost. The lane stops rather than apply commands twice",
            config.app, config.topics.commands, config.partition, config.topics.changelog
        ))),
        _ => Ok(()),
    }
}

/// With another number of lanes, ids belong to lanes that do not know them.
pub(super) fn compare_with_layout(config: &LaneConfig, position: Option<&Position>) -> Result<(), LaneEnd> {
    let LaneConfig { app, partition, partitions, .. } = config;
    let then = position.map_or(0, |p| p.partitions);
    let what = if partition >= partitions {
        format!(
            "app {app} had {partitions} lanes when this process began, there is none for partition {partition}"
        )
    } else if then != 0 && then != *partitions {
        format!(
            "the state of lane {partition} was written when app {app} had {then} lanes, it has {partitions} now"
        )
    } else {
        return Ok(());
    };
    Err(LaneEnd::Broken(format!(
        "SAKIA-L08: {what}: partitions were added to its topics. The lane stops rather than begin instances a second time"
    )))
}

/// What is broken may be the work of a later owner, which compacts and trims behind its checkpoints: behind the fence only
/// such a one writes to the changelog. Then the lane is lost, and nothing is broken. Read uncommitted: it may have
/// trimmed already although the marker of its commit is not there yet.
pub(super) fn unless_lost<T>(
    found: Result<T, LaneEnd>,
    config: &LaneConfig,
    log: &dyn Log,
    end: i64,
) -> Result<T, LaneEnd> {
    match found {
        Err(LaneEnd::Broken(why)) => {
            let now = log.offsets(&config.topics.changelog, config.partition, Isolation::Uncommitted)?.end;
            Err(if now > end { LaneEnd::Lost(why) } else { LaneEnd::Broken(why) })
        }
        found => found,
    }
}

fn isolation() -> Isolation {
    if mutated(Mutation::ChangelogUncommitted) { Isolation::Uncommitted } else { Isolation::Committed }
}

/// The offset from which the store has to be brought up to date. One that cannot be, is emptied.
fn begin(
    config: &LaneConfig,
    store: &mut dyn Store,
    host: &dyn Host,
    range: OffsetRange,
    written: Millis,
) -> Result<i64, LaneEnd> {
    let topic = &config.topics.changelog;
    let from = store.next_changelog_offset()?;
    if from > range.end {
        return Err(LaneEnd::Broken(format!(
            "SAKIA-L01: the store of lane {} holds the changelog {topic} up to offset {from}, but it ends at {}: the \
             topic was deleted or truncated, or the state folder is of another cluster",
            config.partition, range.end
        )));
    }
    let why = if from > 0 && from < range.start {
        format!("{topic} begins at {} now, the store ends at {from}", range.start)
    } else if from > 0 && range.end > from + MARKER && is_outdated(config, written, host) {
        "it is so old that it may have missed deletions".to_string()
    } else {
        return Ok(from);
    };
    tracing::warn!(lane = config.partition, "the store is rebuilt: {why}");
    store.wipe()?;
    Ok(0)
}

/// Whether deletions behind a store that was written then may be gone from the changelog without a trace. Half of the
/// time that they are kept is left for clocks that differ.
fn is_outdated(config: &LaneConfig, written: Millis, host: &dyn Host) -> bool {
    let kept = u64::try_from(config.keep_deletes.as_millis()).unwrap_or(u64::MAX);
    written.saturating_add(kept / 2) < host.now() && !mutated(Mutation::StaleStoreKept)
}

fn read(
    config: &LaneConfig,
    log: &dyn Log,
    store: &mut dyn Store,
    host: &dyn Host,
    (from, range): (i64, OffsetRange),
) -> Result<(), LaneEnd> {
    let topic = &config.topics.changelog;
    let start = from.max(range.start);
    let mut run = Run::new(config, store, host, (from, range.end))?;
    let mut reader = log.read(topic, config.partition, start, isolation())?;
    let mut progress = Progress::new(config, start, range.end);
    let mut count = start;
    let mut silent_since = None;
    while (if mutated(Mutation::CountRecords) { count } else { reader.position()? }) < range.end {
        let (mut taken, mut beyond) = (Ok(()), false);
        let came = reader.lend(Duration::from_millis(100), headers::GROUP, &mut |record| {
            // Of a later owner, which has fenced this one: its checkpoint may be cut here.
            beyond = record.offset >= range.end;
            if !beyond {
                progress.at(record.offset);
                taken = run.take(record);
            }
        })?;
        taken?;
        if beyond {
            break;
        }
        if came {
            count += 1;
            silent_since = None;
            continue;
        }
        run.look_at_the_clock();
        let since = *silent_since.get_or_insert_with(|| host.uptime());
        if host.uptime().saturating_sub(since) > SILENCE_MAX {
            return Err(LaneEnd::Lost(format!(
                "the changelog {topic} partition {} gave nothing for {SILENCE_MAX:?}, short of its end {}",
                config.partition, range.end
            )));
        }
    }
    progress.done();
    run.finish()
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
    host: &'a dyn Host,
    /// The changelog's end.
    end: i64,
    /// The last record seen, its offset and its time.
    last: Option<(Group, i64, Millis)>,
    /// The store's last checkpoint and its time.
    stored: Option<(u64, Millis)>,
    /// Deletions since then must still be on the changelog: the time of the store, or of now if it is empty.
    since: Millis,
    batch: Batch,
    /// What the batch before may still hold, while it is written.
    writing_bytes: usize,
    /// Records younger than this cannot have been compacted away.
    strict_from: Option<Millis>,
    records: u64,
    share: Share,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a LaneConfig,
        store: &'a mut dyn Store,
        host: &'a dyn Host,
        (from, end): (i64, i64),
    ) -> Result<Self, LaneEnd> {
        let stored = if from > 0 { position(store)?.map(|p| (p.checkpoint, p.now)) } else { None };
        let since = stored.map_or(host.now(), |(_, written)| written);
        let share = config.restore_budget.enter(config.partition);
        let mut run = Run {
            config,
            store,
            host,
            end,
            last: None,
            stored,
            since,
            batch: Batch::default(),
            writing_bytes: 0,
            strict_from: None,
            records: 0,
            share,
        };
        run.look_at_the_clock();
        Ok(run)
    }

    /// By the time of now, as compaction goes on during a restore; half of the lag is left for clocks that differ, and
    /// for the moment since the last look: one for each record would be a tenth of the restore.
    fn look_at_the_clock(&mut self) {
        let lag = u64::try_from(self.config.min_compaction_lag.as_millis()).unwrap_or(u64::MAX);
        // Without a lag compaction may have touched anything.
        self.strict_from = (lag > 0).then(|| self.host.now().saturating_sub(lag / 2));
    }

    /// Whether nothing since then can have been compacted away: such records form complete checkpoints.
    fn is_strict(&self, time: Millis) -> bool {
        self.strict_from.is_some_and(|from| time >= from)
    }

    fn take(&mut self, record: Lent<'_>) -> Result<(), LaneEnd> {
        self.records += 1;
        if self.records.is_multiple_of(LOOK_EVERY) {
            self.look_at_the_clock();
        }
        let group = match record.header.map(Group::decode) {
            Some(Ok(group)) => group,
            Some(Err(error)) => return Err(self.broken(record.offset, &error.to_string())),
            None => return Err(self.broken(record.offset, "a record that no lane wrote")),
        };
        let time = Millis::try_from(record.timestamp_ms).unwrap_or(0);
        if self.check(group, time).is_err() {
            // Since the last look this process may have stood still for long, and compaction not.
            self.look_at_the_clock();
        }
        if let Err(why) = self.check(group, time)
            && !mutated(Mutation::TornIsWhole)
        {
            return Err(self.broken(record.offset, &why));
        }
        let Some(key) = record.key else {
            return Err(self.broken(record.offset, "a record without a key"));
        };
        if let Err(error) = key::check(key) {
            return Err(self.broken(record.offset, &error.to_string()));
        }
        if self.batch.is_empty() {
            self.batch = Batch::with_room(self.share.batch_bytes());
        }
        self.batch.push(key, record.value);
        let bytes = self.batch.memory_bytes();
        self.share.read(self.writing_bytes + bytes, self.end - record.offset - 1);
        self.last = Some((group, record.offset, time));
        // Only whole checkpoints where they can be told: then a store that was interrupted resumes between two.
        if bytes >= self.share.batch_bytes() && (group.is_last() || !self.is_strict(time)) {
            self.flush(record.offset + 1)?;
        }
        Ok(())
    }

    /// Compares a record with the one before it.
    fn check(&self, group: Group, time: Millis) -> Result<(), String> {
        let Some((last, _, last_time)) = self.last else {
            return match self.stored {
                Some((number, stored))
                    if (group.index, group.checkpoint) != (0, number + 1)
                        && self.is_strict(stored.min(time)) =>
                {
                    Err(format!(
                        "checkpoint {} record {} follows checkpoint {number}",
                        group.checkpoint, group.index
                    ))
                }
                _ => Ok(()),
            };
        };
        if group.epoch < last.epoch || group.checkpoint < last.checkpoint {
            return Err(format!(
                "checkpoint {} of epoch {} follows checkpoint {} of epoch {}",
                group.checkpoint, group.epoch, last.checkpoint, last.epoch
            ));
        }
        let next = if last.is_last() { (last.checkpoint + 1, 0) } else { (last.checkpoint, last.index + 1) };
        // The record before may be the last that compaction reached; from then on there is no gap.
        if (group.checkpoint, group.index) != next && self.is_strict(time.min(last_time)) {
            return Err(format!(
                "checkpoint {} record {} of {} follows checkpoint {} record {} of {}",
                group.checkpoint, group.index, group.count, last.checkpoint, last.index, last.count
            ));
        }
        Ok(())
    }

    fn flush(&mut self, next_offset: i64) -> Result<(), LaneEnd> {
        if is_outdated(self.config, self.since, self.host) {
            self.store.wipe()?;
            return Err(LaneEnd::Lost("the restore took longer than deletions are kept".into()));
        }
        crash_point!("restore:before-batch");
        self.writing_bytes = self.batch.memory_bytes();
        self.store.load(std::mem::take(&mut self.batch), next_offset)?;
        crash_point!("restore:after-batch");
        Ok(())
    }

    /// The offset is that of a live store: behind the last record, not behind the marker that follows it.
    fn finish(mut self) -> Result<(), LaneEnd> {
        let Some((last, offset, _)) = self.last else { return Ok(()) };
        if !last.is_last() && !mutated(Mutation::TornIsWhole) {
            return Err(self.broken(offset, "the last checkpoint has no position: it is torn"));
        }
        self.flush(offset + 1)?;
        Ok(self.store.settle()?)
    }

    fn broken(&self, offset: i64, why: &str) -> LaneEnd {
        LaneEnd::Broken(format!(
            "SAKIA-L02: the changelog {} partition {} is not whole at offset {offset}: {why}. The lane stops rather than \
             run on torn state",
            self.config.topics.changelog, self.config.partition
        ))
    }
}
