//! Everything that survives a restart, under one lock: topics, partitions' bounds, transactions, offsets of
//! groups. Each change is made here and put into a `Changes` in the same breath; a failed write poisons the
//! store, so that memory which ran ahead of the disk is never served.
use crate::error::BrokerError;
use crate::log::{BatchHeader, Partition, batch};
use crate::mistake::{Mistake, makes};
use crate::store::{Changes, Store};
use crate::time::Time;
use crate::topic_config;
use crate::txn::Txn;
use crate::wait::Waiter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Topic and partition index.
pub(crate) type TopicPartition = (String, i32);
/// Offsets of one group in one open transaction.
pub(crate) type PendingOffsets = BTreeMap<TopicPartition, CommittedOffset>;

const FIRST_PRODUCER_ID: i64 = 1000;

/// Numbers that are given out once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) next_producer_id: i64,
    pub(crate) next_partition_number: u32,
}

impl Default for Counters {
    fn default() -> Self {
        Self { next_producer_id: FIRST_PRODUCER_ID, next_partition_number: 1 }
    }
}

/// What is stored of a topic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TopicMeta {
    pub(crate) id: u128,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) partitions: Vec<u32>,
}

/// A topic.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub(crate) meta: TopicMeta,
    pub(crate) partitions: Vec<Partition>,
}

/// An offset that a group committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    /// Grows with each commit. The later one wins, also over one whose transaction ends after it.
    pub(crate) number: u64,
}

/// The offsets of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupOffsets {
    pub(crate) committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// By producer id, until its transaction ends.
    pub(crate) pending: BTreeMap<i64, PendingOffsets>,
}

impl GroupOffsets {
    /// Greater than the number of every commit here.
    fn next_commit(&self) -> u64 {
        let all = self.committed.values().chain(self.pending.values().flat_map(BTreeMap::values));
        all.map(|offset| offset.number + 1).max().unwrap_or(0)
    }

    /// Takes a commit that counts from now on, unless a later one is there already; says whether it was taken.
    pub(crate) fn take(&mut self, tp: TopicPartition, offset: CommittedOffset) -> bool {
        let newer = self.committed.get(&tp).is_none_or(|known| known.number < offset.number)
            || makes(Mistake::LetsOlderOffsetsWin);
        if newer {
            self.committed.insert(tp, offset);
        }
        newer
    }
}

/// The broker's durable state in memory.
pub(crate) struct State {
    pub(crate) store: Arc<Store>,
    pub(crate) time: Time,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) txns: BTreeMap<String, Txn>,
    /// Transactional ids whose end was decided and not yet carried out.
    pub(crate) ending: BTreeSet<String>,
    pub(crate) offsets: BTreeMap<String, GroupOffsets>,
    counters: Counters,
    next_commit: u64,
}

impl State {
    /// Loads the state and finishes what a crash left half done.
    pub(crate) fn open(store: Arc<Store>, time: Time) -> Result<Self, BrokerError> {
        let mut state = Self {
            topics: store.load_topics()?,
            txns: store.load_txns()?,
            offsets: store.load_offsets()?,
            counters: store.load_counters()?,
            ending: BTreeSet::new(),
            next_commit: 0,
            store,
            time,
        };
        state.next_commit = state.offsets.values().map(GroupOffsets::next_commit).max().unwrap_or(0);
        // The decision of these was stored and perhaps answered: it stands, whatever happened since.
        let half_done = |t: &Txn| t.meta.phase.is_ending() && !makes(Mistake::ForgetsDecisionAtRestart);
        let half_done: Vec<String> =
            state.txns.iter().filter(|(_, t)| half_done(t)).map(|(id, _)| id.clone()).collect();
        let mut changes = Changes::default();
        for id in &half_done {
            state.complete_txn(id, &mut changes);
        }
        state.store.commit(changes).map_err(|_| BrokerError::Storage("cannot finish transactions".into()))?;
        Ok(state)
    }

    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, index: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(index).ok()?)
    }

    pub(crate) fn new_producer_id(&mut self, changes: &mut Changes) -> i64 {
        let id = self.counters.next_producer_id;
        self.counters.next_producer_id += 1;
        changes.counters(&self.counters);
        id
    }

    pub(crate) fn new_commit(&mut self) -> u64 {
        self.next_commit += 1;
        self.next_commit - 1
    }

    /// Gives a topic `count` partitions in all, and makes it if it is not there.
    pub(crate) fn grow_topic(
        &mut self,
        name: &str,
        count: usize,
        configs: Option<BTreeMap<String, String>>,
        changes: &mut Changes,
    ) -> Uuid {
        let topic = self.topics.entry(name.to_owned()).or_default();
        if topic.meta.id == 0 {
            topic.meta.id = Uuid::new_v4().as_u128();
        }
        if let Some(configs) = configs {
            topic.meta.configs = configs;
        }
        while topic.partitions.len() < count {
            let partition = Partition::new(self.counters.next_partition_number);
            self.counters.next_partition_number += 1;
            topic.meta.partitions.push(partition.number);
            topic.partitions.push(partition);
        }
        changes.topic(name, &topic.meta);
        changes.counters(&self.counters);
        Uuid::from_u128(topic.meta.id)
    }

    /// Removes a topic with its log and the offsets that groups have on it; false if there is none.
    pub(crate) fn delete_topic(&mut self, name: &str, changes: &mut Changes) -> bool {
        let Some(mut topic) = self.topics.remove(name) else { return false };
        changes.delete_topic(name, &topic.partitions);
        for partition in &mut topic.partitions {
            self.store.note_removed(partition.meta.bytes);
            partition.wake();
        }
        for (group, offsets) in &mut self.offsets {
            offsets.committed.retain(|tp, _| {
                if tp.0 == name {
                    changes.delete_offset(group, tp);
                }
                tp.0 != name
            });
            for (producer_id, pending) in &mut offsets.pending {
                let before = pending.len();
                pending.retain(|tp, _| tp.0 != name);
                if pending.len() != before {
                    changes.pending(group, *producer_id, pending);
                }
            }
        }
        for (id, txn) in &mut self.txns {
            let before = txn.meta.partitions.len();
            txn.meta.partitions.retain(|tp| tp.0 != name);
            if txn.meta.partitions.len() != before {
                changes.txn(id, &txn.meta);
            }
        }
        true
    }

    /// Appends a batch whose bytes already carry the partition's next offset. The caller has checked that
    /// the partition is there.
    pub(crate) fn append(
        &mut self,
        tp: &TopicPartition,
        header: &BatchHeader,
        bytes: &[u8],
        changes: &mut Changes,
    ) {
        let now = self.time.now_ms();
        let Some(partition) = self.partition_mut(&tp.0, tp.1) else { return };
        changes.batch(partition.number, header.base_offset, bytes);
        if let Some(aborted) = partition.note_append(header, bytes.len(), now)
            && !makes(Mistake::LosesAbortsAtRestart)
        {
            changes.aborted(partition.number, &aborted);
        }
        if let Some(producer) = partition.producers.get(&header.producer_id)
            && !makes(Mistake::LosesSequencesAtRestart)
        {
            changes.producer(partition.number, header.producer_id, producer);
        }
        changes.partition(partition);
    }

    pub(crate) fn append_marker(
        &mut self,
        tp: &TopicPartition,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        changes: &mut Changes,
    ) {
        let Some(next) = self.partition(&tp.0, tp.1).map(|p| p.meta.next) else { return };
        let now = self.time.now_ms();
        let bytes: Bytes = batch::end_marker(next, producer_id, epoch, commit, now);
        match BatchHeader::parse(&bytes) {
            Ok(mut header) => {
                header.place(next, self.append_time(&tp.0, now));
                self.append(tp, &header, &batch::stored(&bytes, &header), changes);
            }
            Err(error) => tracing::error!(?error, "an end marker does not parse"),
        }
    }

    /// The broker's time, if records of this topic take it instead of their producer's.
    pub(crate) fn append_time(&self, topic: &str, now_ms: i64) -> Option<i64> {
        let topic = self.topics.get(topic)?;
        topic_config::stamps_append_time(&topic.meta.configs).then_some(now_ms)
    }

    /// Forgets everything below `offset`. A batch that holds it stays whole, as in Kafka.
    pub(crate) fn advance_start(&mut self, tp: &TopicPartition, offset: i64, changes: &mut Changes) {
        let store = self.store.clone();
        let Some(partition) = self.partition_mut(&tp.0, tp.1) else { return };
        if offset <= partition.meta.start {
            return;
        }
        let mut removed = 0;
        let mut keep_from = offset;
        let scanned = store.scan(partition.number, partition.meta.start, offset, |base, bytes| {
            match BatchHeader::parse(&bytes) {
                Ok(header) if header.last_offset() >= offset && !makes(Mistake::CutsBatchesInHalf) => {
                    keep_from = base;
                }
                _ => removed += bytes.len() as u64,
            }
            std::ops::ControlFlow::Continue(())
        });
        if scanned.is_err() {
            return;
        }
        store.note_removed(removed);
        partition.meta.start = offset;
        partition.meta.bytes = partition.meta.bytes.saturating_sub(removed);
        changes.delete_batches(partition.number, 0, keep_from);
        let kept = partition.aborted.split_off(&offset);
        for last in std::mem::replace(&mut partition.aborted, kept).into_keys() {
            changes.delete_aborted(partition.number, last);
        }
        if !makes(Mistake::ForgetsStartAtRestart) {
            changes.partition(partition);
        }
        partition.wake();
    }

    pub(crate) fn add_waiter(&mut self, partitions: &[TopicPartition], waiter: &Arc<Waiter>) {
        for tp in partitions {
            if let Some(partition) = self.partition_mut(&tp.0, tp.1) {
                partition.add_waiter(waiter);
            }
        }
    }

    pub(crate) fn remove_waiter(&mut self, partitions: &[TopicPartition], waiter: &Arc<Waiter>) {
        for tp in partitions {
            if let Some(partition) = self.partition_mut(&tp.0, tp.1) {
                partition.remove_waiter(waiter);
            }
        }
    }

    pub(crate) fn wake_all(&mut self) {
        for partition in self.topics.values_mut().flat_map(|t| &mut t.partitions) {
            partition.wake();
        }
    }
}
