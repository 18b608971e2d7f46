//! The transaction coordinator (KIP-98, KIP-360, KIP-588).
//!
//! | phase | EndTxn | InitProducerId | timeout | markers written | first partition or group |
//! |---|---|---|---|---|---|
//! | Empty | INVALID_TXN_STATE | Empty, epoch + 1 | - | - | Ongoing |
//! | Ongoing | Prepare… | PrepareAbort, epoch + 1 | PrepareAbort, epoch + 1 | - | Ongoing |
//! | Prepare… | CONCURRENT_TRANSACTIONS | CONCURRENT_TRANSACTIONS | - | Complete… | CONCURRENT_TRANSACTIONS |
//! | Complete… | ok if the same, else INVALID_TXN_STATE | Empty, epoch + 1 | - | - | Ongoing |
//!
//! One process is coordinator and leader of every partition, so with a window of zero Prepare and Complete
//! are one atomic write. With a window, or frozen by a test, Prepare is stored and answered first, as Kafka
//! does it, and the timer thread completes.
use crate::mistake::{Mistake, makes};
use crate::state::{State, TopicPartition};
use crate::store::Changes;
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// From here on an epoch is not bumped but for fencing: the id gets a new producer id.
const EXHAUSTED_FROM: i16 = i16::MAX - 1;
/// `transaction.max.timeout.ms`.
pub(crate) const MAX_TIMEOUT_MS: i32 = 900_000;

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    #[default]
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl Phase {
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// As Kafka's tools print it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What is stored of a transactional id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TxnMeta {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// Epoch before a bump that the producer itself asked for, so that its retry does not bump again (KIP-360);
    /// or before one that ended its transaction.
    pub(crate) epoch_before_bump: Option<i16>,
    pub(crate) timeout_ms: i32,
    pub(crate) phase: Phase,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<String>,
    /// Wall clock, so that the timeout goes on over a restart.
    pub(crate) started_ms: i64,
}

/// A transactional id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    pub(crate) meta: TxnMeta,
    completes_at: Option<Instant>,
}

impl Txn {
    pub(crate) fn restored(meta: TxnMeta) -> Self {
        Self { meta, completes_at: None }
    }
}

/// How the end of a transaction is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndMode {
    pub(crate) window: Duration,
    pub(crate) frozen: bool,
}

/// Who a producer says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl State {
    /// The transaction of a producer that is who it says it is.
    pub(crate) fn checked_txn(&self, id: &str, producer: ProducerIdentity) -> Result<&Txn, ResponseError> {
        let txn = self.txns.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if txn.meta.producer_id != producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if txn.meta.epoch != producer.epoch && !makes(Mistake::IgnoresEpoch) {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(txn)
    }

    /// `InitProducerId` with a transactional id. `known` is what the producer already has (KIP-360).
    pub(crate) fn init_txn(
        &mut self,
        id: &str,
        timeout_ms: i32,
        known: Option<ProducerIdentity>,
        mode: EndMode,
        changes: &mut Changes,
    ) -> Result<ProducerIdentity, ResponseError> {
        if timeout_ms <= 0 || timeout_ms > MAX_TIMEOUT_MS {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        // An id that nobody knows is new, whatever its producer remembers, as in Kafka.
        let Some(txn) = self.txns.get(id) else {
            let producer_id = self.new_producer_id(changes);
            let meta = TxnMeta { producer_id, timeout_ms, ..TxnMeta::default() };
            return Ok(self.set_txn(id, meta, changes));
        };
        let mut meta = txn.meta.clone();
        if known.is_some_and(|known| known.id != meta.producer_id) {
            return Err(ResponseError::ProducerFenced);
        }
        if meta.phase.is_ending() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        // Kafka aborts before it compares epochs
        if meta.phase == Phase::Ongoing && !makes(Mistake::TakesOverWithoutAbort) {
            self.fence_and_abort(id, mode, changes);
            if self.ending.contains(id) {
                return Err(ResponseError::ConcurrentTransactions);
            }
            meta = self.txns.get(id).map(|t| t.meta.clone()).unwrap_or_default();
        }
        if let Some(known) = known.filter(|known| known.epoch != meta.epoch) {
            return if meta.epoch_before_bump == Some(known.epoch) {
                Ok(ProducerIdentity { id: meta.producer_id, epoch: meta.epoch })
            } else {
                Err(ResponseError::ProducerFenced)
            };
        }
        meta.epoch_before_bump = known.map(|k| k.epoch);
        meta.timeout_ms = timeout_ms;
        meta.phase = Phase::Empty;
        if meta.epoch >= EXHAUSTED_FROM {
            meta.producer_id = self.new_producer_id(changes);
            meta.epoch = 0;
            meta.epoch_before_bump = None;
        } else if !makes(Mistake::KeepsEpochAtTakeOver) {
            meta.epoch += 1;
        }
        Ok(self.set_txn(id, meta, changes))
    }

    fn set_txn(&mut self, id: &str, meta: TxnMeta, changes: &mut Changes) -> ProducerIdentity {
        changes.txn(id, &meta);
        let identity = ProducerIdentity { id: meta.producer_id, epoch: meta.epoch };
        self.txns.insert(id.to_owned(), Txn::restored(meta));
        identity
    }

    /// Adds partitions or a group; the first one begins the transaction.
    pub(crate) fn add_to_txn(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        partitions: impl IntoIterator<Item = TopicPartition>,
        group: Option<&str>,
        changes: &mut Changes,
    ) -> Result<(), ResponseError> {
        if self.checked_txn(id, producer)?.meta.phase.is_ending() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let now = self.time.now_ms();
        let Some(txn) = self.txns.get_mut(id) else { return Err(ResponseError::InvalidProducerIdMapping) };
        let meta = &mut txn.meta;
        if meta.phase != Phase::Ongoing {
            meta.phase = Phase::Ongoing;
            meta.started_ms = now;
        } else if makes(Mistake::RestartsTimeoutWithEachPartition) {
            meta.started_ms = now;
        }
        meta.partitions.extend(partitions);
        meta.groups.extend(group.map(str::to_owned));
        changes.txn(id, meta);
        Ok(())
    }

    /// `EndTxn`.
    pub(crate) fn end_txn(
        &mut self,
        id: &str,
        producer: ProducerIdentity,
        commit: bool,
        mode: EndMode,
        changes: &mut Changes,
    ) -> Result<(), ResponseError> {
        match (self.checked_txn(id, producer)?.meta.phase, commit) {
            (Phase::Ongoing, _) => {
                self.prepare_end(id, commit, mode, changes);
                Ok(())
            }
            (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false) => Ok(()),
            (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Ends an open transaction against the will of its producer, whose epoch is worth nothing from here on. It
    /// may come back for the next one unless somebody else does first (KIP-588).
    fn fence_and_abort(&mut self, id: &str, mode: EndMode, changes: &mut Changes) {
        if let Some(txn) = self.txns.get_mut(id) {
            txn.meta.epoch_before_bump = Some(txn.meta.epoch);
            txn.meta.epoch = txn.meta.epoch.saturating_add(1);
            self.prepare_end(id, makes(Mistake::CommitsOnTimeout), mode, changes);
        }
    }

    fn prepare_end(&mut self, id: &str, commit: bool, mode: EndMode, changes: &mut Changes) {
        let now = self.time.instant();
        let Some(txn) = self.txns.get_mut(id) else { return };
        txn.meta.phase = if commit { Phase::PrepareCommit } else { Phase::PrepareAbort };
        if mode.window.is_zero() && !mode.frozen {
            return self.complete_txn(id, changes);
        }
        txn.completes_at = Some(now + mode.window);
        changes.txn(id, &txn.meta);
        self.ending.insert(id.to_owned());
    }

    /// Markers, offsets and the coordinator's own state, in one write.
    pub(crate) fn complete_txn(&mut self, id: &str, changes: &mut Changes) {
        self.ending.remove(id);
        let Some(txn) = self.txns.get_mut(id) else { return };
        let commit = txn.meta.phase == Phase::PrepareCommit;
        let producer = ProducerIdentity { id: txn.meta.producer_id, epoch: txn.meta.epoch };
        txn.meta.phase = if commit { Phase::CompleteCommit } else { Phase::CompleteAbort };
        txn.completes_at = None;
        let partitions = std::mem::take(&mut txn.meta.partitions);
        let groups = std::mem::take(&mut txn.meta.groups);
        changes.txn(id, &txn.meta);
        for tp in &partitions {
            self.append_marker(tp, producer.id, producer.epoch, commit, changes);
        }
        if makes(Mistake::EndsInTwoWrites) {
            // a failure is met again by the second write
            let _ = self.store.commit(std::mem::take(changes));
        }
        for group in &groups {
            self.settle_offsets(group, producer.id, commit, changes);
        }
    }

    /// Makes the pending offsets of a transaction the group's own, or forgets them.
    fn settle_offsets(&mut self, group: &str, producer_id: i64, commit: bool, changes: &mut Changes) {
        let Some(offsets) = self.offsets.get_mut(group) else { return };
        let Some(pending) = offsets.pending.remove(&producer_id) else { return };
        changes.delete_pending(group, producer_id);
        if commit || makes(Mistake::CommitsOffsetsOnAbort) {
            for (tp, offset) in pending {
                if offsets.take(tp.clone(), offset.clone()) {
                    changes.offset(group, &tp, &offset);
                }
            }
        }
    }

    /// Wakes the readers of partitions that `complete_txn` is about to touch. Called after the commit of the
    /// changes, with the partitions taken before.
    pub(crate) fn wake_partitions(&mut self, partitions: &BTreeSet<TopicPartition>) {
        for tp in partitions {
            if let Some(partition) = self.partition_mut(&tp.0, tp.1) {
                partition.wake();
            }
        }
    }

    pub(crate) fn txn_partitions(&self, id: &str) -> BTreeSet<TopicPartition> {
        self.txns.get(id).map(|t| t.meta.partitions.clone()).unwrap_or_default()
    }

    /// Aborts transactions that have been open longer than their timeout.
    pub(crate) fn expire_txns(&mut self, mode: EndMode) -> Result<(), ResponseError> {
        let now = self.time.now_ms();
        let late: Vec<String> = self
            .txns
            .iter()
            .filter(|(_, t)| t.meta.phase == Phase::Ongoing)
            .filter(|(_, t)| now - t.meta.started_ms > i64::from(t.meta.timeout_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            tracing::info!(transactional_id = id, "transaction timed out and is aborted");
            let partitions = self.txn_partitions(&id);
            let mut changes = Changes::default();
            self.fence_and_abort(&id, mode, &mut changes);
            self.store.commit(changes)?;
            self.wake_partitions(&partitions);
        }
        Ok(())
    }

    /// Completes transactions whose time has come; gives the time of the next one.
    pub(crate) fn complete_due_txns(&mut self, now: Instant) -> Result<Option<Instant>, ResponseError> {
        let due = |t: &Txn| t.completes_at.is_none_or(|at| at <= now);
        let ids: Vec<String> =
            self.ending.iter().filter(|id| self.txns.get(*id).is_none_or(due)).cloned().collect();
        for id in ids {
            let partitions = self.txn_partitions(&id);
            let mut changes = Changes::default();
            self.complete_txn(&id, &mut changes);
            self.store.commit(changes)?;
            self.wake_partitions(&partitions);
        }
        Ok(self.ending.iter().filter_map(|id| self.txns.get(id)?.completes_at).min())
    }
}
