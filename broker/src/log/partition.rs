//! What is kept in memory of a partition: bounds, producers, aborted ranges, waiting readers. Its size
//! follows the number of producers and of aborted transactions, never the length of the log.
use super::BatchHeader;
use crate::mistake::{Mistake, makes};
use crate::wait::Waiter;
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// librdkafka and the Java client keep at most five requests in flight, so a retry is one of the last five.
const REMEMBERED_BATCHES: usize = 5;

/// Bounds and cleaning state; one small stored value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionMeta {
    pub(crate) start: i64,
    pub(crate) next: i64,
    pub(crate) bytes: u64,
    /// Compaction has seen everything below.
    pub(crate) cleaned_to: i64,
    /// Records that the last compaction left, and how many of them have no value.
    pub(crate) clean_records: u64,
    pub(crate) clean_tombstones: u64,
    /// When offsets were first cleaned: (everything below, at ms). A tombstone lives `delete.retention.ms`
    /// from there, so that a reader who began before still meets it.
    pub(crate) cleanings: Vec<(i64, i64)>,
}

/// A batch that an idempotent producer wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
}

/// What a partition knows of one producer id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    pub(crate) recent: VecDeque<SentBatch>,
    /// First offset of its open transaction here.
    pub(crate) txn_first: Option<i64>,
    pub(crate) last_ms: i64,
}

/// Records of one aborted transaction: those of this producer from `first` to the marker at `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AbortedTxn {
    pub(crate) producer_id: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// Names the partition in keys; never used again, so that a topic made anew starts empty.
    pub(crate) number: u32,
    pub(crate) meta: PartitionMeta,
    pub(crate) producers: HashMap<i64, ProducerState>,
    /// First offsets of open transactions.
    open: BTreeSet<i64>,
    /// By offset of the marker, which is unique.
    pub(crate) aborted: BTreeMap<i64, AbortedTxn>,
    waiters: Vec<Arc<Waiter>>,
}

impl Partition {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }

    pub(crate) fn restored(
        number: u32,
        meta: PartitionMeta,
        producers: HashMap<i64, ProducerState>,
        aborted: BTreeMap<i64, AbortedTxn>,
    ) -> Self {
        let open = producers.values().filter_map(|p| p.txn_first).collect();
        Self { number, meta, producers, open, aborted, waiters: Vec::new() }
    }

    /// Readers of committed data see nothing from here on.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        if makes(Mistake::IgnoresOpenTransactions) {
            return self.meta.next;
        }
        let first =
            if makes(Mistake::StopsAtNewestTransaction) { self.open.last() } else { self.open.first() };
        // records of an open transaction may have been deleted
        first.map_or(self.meta.next, |first| (*first).max(self.meta.start))
    }

    /// Where a reader's data ends.
    pub(crate) fn visible_end(&self, committed_only: bool) -> i64 {
        if committed_only { self.last_stable_offset() } else { self.meta.next }
    }

    /// Checks epoch and sequence of an idempotent batch (KIP-98); gives the offset of the first copy when it
    /// is a retry of one of the last five.
    pub(crate) fn check_sequence(&self, header: &BatchHeader) -> Result<Option<i64>, ResponseError> {
        // A producer unknown here may start anywhere: its state may have expired (KAFKA-3.x accepts it too).
        let Some(known) = self.producers.get(&header.producer_id) else { return Ok(None) };
        if header.producer_epoch < known.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > known.epoch {
            return match header.base_sequence {
                0 => Ok(None),
                _ => Err(ResponseError::OutOfOrderSequenceNumber),
            };
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        if let Some(sent) = known.recent.iter().find(|s| s.first_sequence == first && s.last_sequence == last)
        {
            return Ok(if makes(Mistake::AppendsRetries) { None } else { Some(sent.base_offset) });
        }
        let expected = known.recent.back().map_or(0, |sent| sent.last_sequence.wrapping_add(1) & i32::MAX);
        if first != expected && !makes(Mistake::AcceptsGaps) {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        // no plain record in the middle of the producer's own transaction
        if known.txn_first.is_some() && !header.is_transactional() {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(None)
    }

    /// Takes note of a batch that is being written; its base offset must be the next one.
    pub(crate) fn note_append(
        &mut self,
        header: &BatchHeader,
        bytes: usize,
        now_ms: i64,
    ) -> Option<AbortedTxn> {
        debug_assert_eq!(header.base_offset, self.meta.next);
        self.meta.next = header.last_offset() + 1;
        self.meta.bytes += bytes as u64;
        if header.producer_id < 0 {
            return None;
        }
        let producer = self.producers.entry(header.producer_id).or_default();
        producer.last_ms = now_ms;
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.recent.clear();
        }
        if header.is_control() {
            let first = producer.txn_first.take()?;
            self.open.remove(&first);
            if header.marker == Some(true) {
                return None;
            }
            let aborted = AbortedTxn { producer_id: header.producer_id, first, last: header.base_offset };
            self.aborted.insert(aborted.last, aborted);
            return Some(aborted);
        }
        let remembered = REMEMBERED_BATCHES - usize::from(makes(Mistake::RemembersFourBatches));
        if producer.recent.len() == remembered {
            producer.recent.pop_front();
        }
        producer.recent.push_back(SentBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
        });
        if header.is_transactional() && producer.txn_first.is_none() {
            producer.txn_first = Some(header.base_offset);
            self.open.insert(header.base_offset);
        }
        None
    }

    /// Aborted transactions with records in `from..=to`.
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> impl Iterator<Item = &AbortedTxn> {
        let told =
            move |txn: &&AbortedTxn| !makes(Mistake::TellsOnlyAbortsThatBeginLater) || txn.first >= from;
        self.aborted.range(from..).map(|(_, txn)| txn).filter(move |txn| txn.first <= to).filter(told)
    }

    pub(crate) fn add_waiter(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.push(waiter.clone());
    }

    pub(crate) fn remove_waiter(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.retain(|w| !Arc::ptr_eq(w, waiter));
    }

    /// Wakes the readers that wait for this partition, and only those.
    pub(crate) fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch;
    use crate::log::records::testing;
    use kafka_protocol::records::Compression;

    fn data(partition: &Partition, producer: (i64, i16, i32), transactional: bool) -> BatchHeader {
        let bytes = testing::batch(
            &[("k", Some("v")), ("k", Some("w"))],
            Some(producer),
            transactional,
            Compression::None,
        );
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.place(partition.meta.next, None);
        header
    }

    fn marker(partition: &Partition, producer_id: i64, epoch: i16, commit: bool) -> BatchHeader {
        BatchHeader::parse(&batch::end_marker(partition.meta.next, producer_id, epoch, commit, 0)).unwrap()
    }

    #[test]
    fn a_retry_of_one_of_the_last_five_batches_is_answered_with_its_first_offset() {
        let mut p = Partition::new(1);
        for i in 0..6 {
            let header = data(&p, (9, 0, i * 2), false);
            assert_eq!(p.check_sequence(&header), Ok(None));
            p.note_append(&header, 10, 0);
        }
        assert_eq!(p.check_sequence(&data(&p, (9, 0, 2), false)), Ok(Some(2)));
        assert_eq!(p.check_sequence(&data(&p, (9, 0, 10), false)), Ok(Some(10)));
        let forgotten = p.check_sequence(&data(&p, (9, 0, 0), false));
        assert_eq!(forgotten, Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_gap_and_an_old_epoch_are_refused_and_a_new_epoch_starts_at_zero() {
        let mut p = Partition::new(1);
        let header = data(&p, (9, 1, 0), false);
        p.note_append(&header, 10, 0);
        assert_eq!(
            p.check_sequence(&data(&p, (9, 1, 4), false)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(p.check_sequence(&data(&p, (9, 0, 2), false)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(
            p.check_sequence(&data(&p, (9, 2, 2), false)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(p.check_sequence(&data(&p, (9, 2, 0), false)), Ok(None));
    }

    #[test]
    fn the_stable_offset_stays_at_the_oldest_open_transaction() {
        let mut p = Partition::new(1);
        let (a, plain) = (data(&p, (1, 0, 0), true), (5, 0, 0));
        p.note_append(&a, 10, 0);
        let header = data(&p, plain, false);
        p.note_append(&header, 10, 0);
        let b = data(&p, (2, 0, 0), true);
        p.note_append(&b, 10, 0);
        assert_eq!((p.last_stable_offset(), p.meta.next), (0, 6));
        let end = marker(&p, 1, 0, false);
        let aborted = p.note_append(&end, 78, 0);
        assert_eq!(aborted, Some(AbortedTxn { producer_id: 1, first: 0, last: 6 }));
        assert_eq!(p.last_stable_offset(), 4);
        let end = marker(&p, 2, 0, true);
        assert_eq!(p.note_append(&end, 78, 0), None);
        assert_eq!(p.last_stable_offset(), 8);
        assert_eq!(p.aborted_between(0, 0).count(), 1);
        assert_eq!(p.aborted_between(7, 9).count(), 0);
    }
}
