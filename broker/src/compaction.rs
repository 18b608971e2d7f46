//! Compaction: of each key only the newest committed record stays. Offsets, timestamps and the bounds of
//! batches do not change; records of aborted transactions and end markers go.
//!
//! Two passes. The first reads what is new since the last time and notes the newest offset of each key
//! (hashed to 16 bytes, as Kafka's cleaner does); the second goes over the whole clean range and drops what
//! has a newer record, a piece at a time. Every piece is correct by itself, so a crash between two of them
//! loses nothing; aborted ranges are forgotten only with the last piece.
use crate::log::batch::{self, BatchHeader};
use crate::log::{AbortedTxn, records};
use crate::mistake::{Mistake, makes};
use crate::node::Node;
use crate::state::{State, TopicPartition};
use crate::store::Changes;
use crate::topic_config;
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

/// Bound on the memory of the first pass, about 50 MB; what is beyond waits for the next run.
const MAX_KEYS: usize = 1_000_000;
/// Size of one write of the second pass.
const PIECE_BYTES: usize = 4 << 20;
/// Remembered cleanings of one partition; the two newest are merged beyond that.
const MAX_CLEANINGS: usize = 64;

/// Compacts every partition that is worth it.
pub(crate) fn run(node: &Node) {
    let compacted: Vec<TopicPartition> = {
        let state = node.state();
        let topics = state.topics.iter().filter(|(_, t)| topic_config::is_compacted(&t.meta.configs));
        topics.flat_map(|(name, t)| (0..t.partitions.len()).map(|i| (name.clone(), i as i32))).collect()
    };
    for tp in compacted {
        if node.is_stopping() {
            return;
        }
        let planned = Job::plan(&node.state(), &tp, node.config.compaction_min_records, node.time.now_ms());
        let Some(job) = planned else { continue };
        if let Err(error) = job.run(node) {
            tracing::error!(topic = tp.0, partition = tp.1, ?error, "compaction failed");
        }
    }
}

/// One run over one partition.
struct Job {
    tp: TopicPartition,
    number: u32,
    start: i64,
    cleaned_to: i64,
    /// Committed for certain below here.
    stable_end: i64,
    aborted: BTreeMap<i64, AbortedTxn>,
    /// Records younger than this stay (`min.compaction.lag.ms`).
    not_after_ms: i64,
    /// Tombstones below here have been seen long enough (`delete.retention.ms`).
    tombstones_end_below: i64,
    now_ms: i64,
}

/// What one run did.
#[derive(Default)]
struct Outcome {
    records: u64,
    tombstones: u64,
    bytes_removed: u64,
}

impl Job {
    fn plan(state: &State, tp: &TopicPartition, min_records: u64, now_ms: i64) -> Option<Self> {
        let configs = &state.topics.get(&tp.0)?.meta.configs;
        let partition = state.partition(&tp.0, tp.1)?;
        let meta = &partition.meta;
        let delete_retention = topic_config::number(configs, topic_config::DELETE_RETENTION_MS);
        let over = |(_, at): &&(i64, i64)| at.saturating_add(delete_retention) <= now_ms;
        let tombstones_end_below = meta.cleanings.iter().filter(over).map(|(to, _)| *to).max().unwrap_or(0);
        let stable_end = partition.visible_end(!makes(Mistake::CompactsBeyondStable));
        let dirty = u64::try_from(stable_end - meta.cleaned_to.max(meta.start)).unwrap_or(0);
        let ratio = dirty as f64 / (dirty + meta.clean_records).max(1) as f64;
        let worth = dirty >= min_records.max(1)
            && ratio >= topic_config::ratio(configs, topic_config::MIN_CLEANABLE_DIRTY_RATIO);
        let tombstones_due = meta.clean_tombstones > 0 && tombstones_end_below > 0;
        (worth || tombstones_due).then(|| Self {
            tp: tp.clone(),
            number: partition.number,
            start: meta.start,
            cleaned_to: meta.cleaned_to,
            stable_end,
            aborted: partition.aborted.clone(),
            not_after_ms: now_ms
                .saturating_sub(topic_config::number(configs, topic_config::MIN_COMPACTION_LAG_MS)),
            tombstones_end_below,
            now_ms,
        })
    }

    fn run(&self, node: &Node) -> Result<(), ResponseError> {
        let (newest, end) = self.newest_offsets(node)?;
        if end <= self.start || (end <= self.cleaned_to && self.tombstones_end_below == 0) {
            return Ok(());
        }
        let mut outcome = Outcome::default();
        let mut piece = Vec::new();
        let mut piece_bytes = 0;
        let mut failed = None;
        node.store.scan(self.number, self.start, end, |base, bytes| {
            if base >= end {
                return ControlFlow::Break(());
            }
            let last_of_range = base + last_delta(&bytes) + 1 >= end;
            if let Some(change) = self.clean(base, &bytes, &newest, last_of_range, &mut outcome) {
                piece_bytes += change.as_ref().map_or(0, Bytes::len) + 16;
                piece.push((base, change));
            }
            if piece_bytes >= PIECE_BYTES {
                piece_bytes = 0;
                failed = self.write(node, std::mem::take(&mut piece), None).err();
            }
            if failed.is_some() || node.is_stopping() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        match failed {
            Some(error) => Err(error),
            // everything written so far is right by itself; the run is done again after the restart
            None if node.is_stopping() => self.write(node, piece, None),
            None => self.write(node, piece, Some((end, &outcome))),
        }
    }

    /// The newest committed offset of each key in the dirty range, and where that range ends.
    fn newest_offsets(&self, node: &Node) -> Result<(HashMap<u128, i64>, i64), ResponseError> {
        let mut newest = HashMap::new();
        let mut end = self.cleaned_to.max(self.start);
        let mut unreadable = false;
        node.store.scan(self.number, end, self.stable_end, |_, bytes| {
            let Ok(header) = BatchHeader::parse(&bytes) else {
                unreadable = true;
                return ControlFlow::Break(());
            };
            let too_young = header.max_timestamp > self.not_after_ms;
            if too_young || header.last_offset() >= self.stable_end || newest.len() >= MAX_KEYS {
                return ControlFlow::Break(());
            }
            end = header.last_offset() + 1;
            if header.is_control() || self.is_aborted(&header) {
                return ControlFlow::Continue(());
            }
            let Ok(body) = records::uncompressed(&header, &bytes) else {
                unreadable = true;
                return ControlFlow::Break(());
            };
            for record in records::records(&header, &body).flatten() {
                if let Some(key) = record.key {
                    newest.insert(hashed(key), record.offset);
                }
            }
            ControlFlow::Continue(())
        })?;
        // A batch that cannot be read is never dropped: the log below it is not cleaned any further.
        if unreadable { Err(ResponseError::CorruptMessage) } else { Ok((newest, end)) }
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && !makes(Mistake::CompactsAbortedAsCommitted)
            && self
                .aborted
                .range(header.base_offset..)
                .any(|(_, txn)| txn.producer_id == header.producer_id && txn.first <= header.base_offset)
    }

    /// `None` if the batch stays as it is; `Some(None)` if it goes; else its new bytes.
    fn clean(
        &self,
        base: i64,
        bytes: &Bytes,
        newest: &HashMap<u128, i64>,
        last_of_range: bool,
        outcome: &mut Outcome,
    ) -> Option<Option<Bytes>> {
        let header = BatchHeader::parse(bytes).ok()?;
        let dropped = header.is_control() || self.is_aborted(&header);
        let mut kept = BytesMut::new();
        let (mut count, mut all) = (0, 0);
        if !dropped {
            let body = records::uncompressed(&header, bytes).ok()?;
            for record in records::records(&header, &body) {
                let record = record.ok()?;
                all += 1;
                let outdated = record
                    .key
                    .is_some_and(|key| newest.get(&hashed(key)).is_some_and(|last| *last > record.offset));
                let ended = !record.has_value
                    && (record.offset < self.tombstones_end_below || makes(Mistake::DropsTombstonesAtOnce));
                if outdated || ended {
                    continue;
                }
                kept.extend_from_slice(record.raw);
                count += 1;
                outcome.tombstones += u64::from(!record.has_value);
            }
        }
        outcome.records += count as u64;
        if count > 0 && count == all {
            return None;
        }
        // The last batch of the range stays as an empty one: a reader that has come to it must be able to
        // go on to the end of the partition, also if nothing follows.
        if count == 0 && (!last_of_range || makes(Mistake::DropsEmptyEndOfLog)) {
            outcome.bytes_removed += bytes.len() as u64;
            return Some(None);
        }
        if count == 0 && header.record_count == 0 {
            return None;
        }
        debug_assert_eq!(header.base_offset, base);
        let rewritten = batch::rewritten(&header, &kept, count);
        outcome.bytes_removed += (bytes.len() as u64).saturating_sub(rewritten.len() as u64);
        Some(Some(rewritten))
    }

    /// Writes a piece, and with the last one what the partition must know. The partition may have been
    /// deleted or cut meanwhile: nothing of it may come back.
    fn write(
        &self,
        node: &Node,
        piece: Vec<(i64, Option<Bytes>)>,
        done: Option<(i64, &Outcome)>,
    ) -> Result<(), ResponseError> {
        let mut state = node.state();
        let store = state.store.clone();
        let Some(partition) = state.partition_mut(&self.tp.0, self.tp.1).filter(|p| p.number == self.number)
        else {
            return Ok(());
        };
        let mut changes = Changes::default();
        for (base, change) in piece {
            match change {
                Some(bytes) if base + last_delta(&bytes) >= partition.meta.start => {
                    changes.batch(self.number, base, &bytes);
                }
                _ => changes.delete_batch(self.number, base),
            }
        }
        if let Some((end, outcome)) = done {
            store.note_removed(outcome.bytes_removed);
            let meta = &mut partition.meta;
            meta.bytes = meta.bytes.saturating_sub(outcome.bytes_removed);
            meta.clean_records = outcome.records;
            meta.clean_tombstones = outcome.tombstones;
            if end > meta.cleaned_to {
                meta.cleaned_to = end;
                note_cleaning(&mut meta.cleanings, end, self.now_ms);
            }
            let below = self.tombstones_end_below;
            meta.cleanings.retain(|(to, _)| *to > below);
            let from = if makes(Mistake::ForgetsAbortsTooEarly) { i64::MAX } else { end };
            let kept = partition.aborted.split_off(&from);
            for last in std::mem::replace(&mut partition.aborted, kept).into_keys() {
                changes.delete_aborted(self.number, last);
            }
            changes.partition(partition);
        }
        store.commit(changes)
    }
}

/// Times only grow, so merging the two newest keeps tombstones longer, never shorter.
fn note_cleaning(cleanings: &mut Vec<(i64, i64)>, to: i64, at_ms: i64) {
    if cleanings.len() >= MAX_CLEANINGS {
        cleanings.pop();
    }
    cleanings.push((to, at_ms));
}

fn last_delta(batch: &[u8]) -> i64 {
    batch.get(23..27).and_then(|b| b.try_into().ok()).map_or(0, |b| i64::from(i32::from_be_bytes(b)))
}

/// Two hashes of 64 bits, the second over the key with a byte before it.
fn hashed(key: &[u8]) -> u128 {
    let mut first = DefaultHasher::new();
    key.hash(&mut first);
    let mut second = DefaultHasher::new();
    1u8.hash(&mut second);
    key.hash(&mut second);
    u128::from(first.finish()) << 64 | u128::from(second.finish())
}
