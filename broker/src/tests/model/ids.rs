//! Transactional ids, producers and offsets of groups as Kafka defines them.
use super::log::{Log, Sent};
use crate::state::TopicPartition;
use crate::txn::ProducerIdentity;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Answer<T> = Result<T, ResponseError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Empty,
    Ongoing,
    /// Decided, not yet carried out.
    Ending(bool),
    Ended(bool),
}

impl Stage {
    /// As Kafka's tools name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Ending(true) => "PrepareCommit",
            Self::Ending(false) => "PrepareAbort",
            Self::Ended(true) => "CompleteCommit",
            Self::Ended(false) => "CompleteAbort",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Id {
    pub(super) owner: ProducerIdentity,
    /// The epoch before the last bump, if its owner may still come back with it: after a bump that it asked for
    /// itself (KIP-360), or after its transaction was aborted over its head (KIP-588).
    bumped_from: Option<i16>,
    pub(super) stage: Stage,
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) groups: BTreeSet<String>,
    started: i64,
    timeout_ms: i32,
    due: i64,
}

/// An offset of a group. Who was told to remember it later wins, whenever its transaction ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub(super) offset: i64,
    told: u64,
}

/// Everything that a broker must remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) now: i64,
    /// How long an end takes to be carried out.
    pub(super) window_ms: i64,
    pub(super) logs: BTreeMap<TopicPartition, Log>,
    pub(super) ids: BTreeMap<String, Id>,
    pub(super) offsets: BTreeMap<(String, TopicPartition), Remembered>,
    pub(super) pending: BTreeMap<(i64, String, TopicPartition), Remembered>,
    next_producer_id: i64,
    told: u64,
}

impl Model {
    pub(super) fn new(now: i64, partitions: impl IntoIterator<Item = TopicPartition>) -> Self {
        let logs = partitions.into_iter().map(|tp| (tp, Log::default())).collect();
        Self { now, logs, next_producer_id: 1000, ..Self::default() }
    }

    pub(super) fn new_producer(&mut self) -> ProducerIdentity {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        ProducerIdentity { id, epoch: 0 }
    }

    pub(super) fn init(&mut self, name: &str, known: Option<ProducerIdentity>) -> Answer<ProducerIdentity> {
        let timeout_ms = super::TIMEOUT_MS;
        let Some(id) = self.ids.get_mut(name) else {
            let owner = self.new_producer();
            let id = Id {
                owner,
                bumped_from: None,
                stage: Stage::Empty,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
                started: 0,
                timeout_ms,
                due: 0,
            };
            self.ids.insert(name.to_owned(), id);
            return Ok(owner);
        };
        if known.is_some_and(|k| k.id != id.owner.id) {
            return Err(ResponseError::ProducerFenced);
        }
        match id.stage {
            Stage::Ending(_) => return Err(ResponseError::ConcurrentTransactions),
            Stage::Ongoing => {
                self.fence(name);
                if self.window_ms > 0 {
                    return Err(ResponseError::ConcurrentTransactions);
                }
            }
            Stage::Empty | Stage::Ended(_) => {}
        }
        let Some(id) = self.ids.get_mut(name) else { return Err(ResponseError::UnknownServerError) };
        match known {
            Some(known) if known.epoch == id.owner.epoch => id.bumped_from = Some(known.epoch),
            Some(known) if id.bumped_from == Some(known.epoch) => return Ok(id.owner),
            Some(_) => return Err(ResponseError::ProducerFenced),
            None => id.bumped_from = None,
        }
        id.owner.epoch += 1;
        id.stage = Stage::Empty;
        Ok(id.owner)
    }

    fn owned(&mut self, name: &str, who: ProducerIdentity) -> Answer<&mut Id> {
        let id = self.ids.get_mut(name).filter(|id| id.owner.id == who.id);
        let id = id.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if id.owner.epoch == who.epoch { Ok(id) } else { Err(ResponseError::ProducerFenced) }
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        group: Option<&str>,
    ) -> Answer<()> {
        let now = self.now;
        let id = self.owned(name, who)?;
        match id.stage {
            Stage::Ending(_) => return Err(ResponseError::ConcurrentTransactions),
            Stage::Ongoing => {}
            Stage::Empty | Stage::Ended(_) => {
                id.stage = Stage::Ongoing;
                id.started = now;
            }
        }
        id.partitions.extend(partitions.iter().cloned());
        id.groups.extend(group.map(str::to_owned));
        Ok(())
    }

    /// Whether a transactional batch may enter the log at all.
    pub(super) fn may_write(&mut self, name: &str, sent: Sent, tp: &TopicPartition) -> Answer<()> {
        let who = ProducerIdentity { id: sent.producer_id, epoch: sent.epoch };
        let id = self.owned(name, who).map_err(to_leader)?;
        let listed = id.stage == Stage::Ongoing && id.partitions.contains(tp);
        if listed { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    pub(super) fn remember_in_transaction(
        &mut self,
        name: &str,
        who: ProducerIdentity,
        group: &str,
        tp: &TopicPartition,
        offset: i64,
    ) -> Answer<()> {
        let id = self.owned(name, who).map_err(to_leader)?;
        if id.stage != Stage::Ongoing || !id.groups.contains(group) {
            return Err(ResponseError::InvalidTxnState);
        }
        self.told += 1;
        let remembered = Remembered { offset, told: self.told };
        self.pending.insert((who.id, group.to_owned(), tp.clone()), remembered);
        Ok(())
    }

    pub(super) fn remember(&mut self, group: &str, tp: &TopicPartition, offset: i64) {
        self.told += 1;
        self.offsets.insert((group.to_owned(), tp.clone()), Remembered { offset, told: self.told });
    }

    pub(super) fn is_unstable(&self, group: &str, tp: &TopicPartition) -> bool {
        self.pending.keys().any(|(_, g, p)| g == group && p == tp)
    }

    pub(super) fn end(&mut self, name: &str, who: ProducerIdentity, commit: bool) -> Answer<()> {
        match self.owned(name, who)?.stage {
            Stage::Ongoing => {
                self.decide(name, commit);
                Ok(())
            }
            Stage::Ended(before) if before == commit => Ok(()),
            Stage::Ending(before) if before == commit => Err(ResponseError::ConcurrentTransactions),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// An abort that the owner did not ask for.
    fn fence(&mut self, name: &str) {
        if let Some(id) = self.ids.get_mut(name) {
            id.bumped_from = Some(id.owner.epoch);
            id.owner.epoch += 1;
            self.decide(name, false);
        }
    }

    fn decide(&mut self, name: &str, commit: bool) {
        let Some(id) = self.ids.get_mut(name) else { return };
        id.stage = Stage::Ending(commit);
        id.due = self.now + self.window_ms;
        if self.window_ms == 0 {
            self.carry_out(name);
        }
    }

    fn carry_out(&mut self, name: &str) {
        let Some(id) = self.ids.get_mut(name) else { return };
        let Stage::Ending(commit) = id.stage else { return };
        id.stage = Stage::Ended(commit);
        let owner = id.owner;
        for tp in std::mem::take(&mut id.partitions) {
            if let Some(log) = self.logs.get_mut(&tp) {
                log.mark(owner.id, owner.epoch, commit, self.now);
            }
        }
        id.groups.clear();
        let (own, others) = std::mem::take(&mut self.pending).into_iter().partition(|(k, _)| k.0 == owner.id);
        self.pending = others;
        let own: BTreeMap<(i64, String, TopicPartition), Remembered> = own;
        for ((_, group, tp), offset) in own.into_iter().filter(|_| commit) {
            let old = self.offsets.entry((group, tp)).or_insert(offset);
            if old.told < offset.told {
                *old = offset;
            }
        }
    }

    /// Ids whose transaction has been open for too long.
    pub(super) fn timed_out(&self) -> Vec<String> {
        let late = |id: &Id| id.stage == Stage::Ongoing && self.now - id.started > i64::from(id.timeout_ms);
        self.ids.iter().filter(|(_, id)| late(id)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn time_out(&mut self, name: &str) {
        self.fence(name);
    }

    /// Ids whose end is to be carried out now, or all of them after a restart.
    pub(super) fn due(&self, all: bool) -> Vec<String> {
        let due = |id: &Id| matches!(id.stage, Stage::Ending(_)) && (all || id.due <= self.now);
        self.ids.iter().filter(|(_, id)| due(id)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn complete(&mut self, name: &str) {
        self.carry_out(name);
    }
}

/// Leaders of partitions, and coordinators of groups, know epochs and not fencing.
fn to_leader(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}
